"""Writing: what an assignment to a place of a draft is recorded as."""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from rapyer_codecs import Slot
from rapyer_core.drafts.handles import Handle, opened, plain
from rapyer_core.errors import ConstraintError
from rapyer_core.operations.edits import Assign, after_steps
from rapyer_core.recorders import Record, Recorder
from rapyer_core.tracking import Step, Tracked, comes_back

IMMUTABLE = frozenset({int, float, str, bytes, bool})
"""Types of values that nobody can change, so that they need no copy."""


def store(recorder: Recorder, slot: Slot, value: Any, frame: FrameType) -> None:
    """An assignment in the block: an adjustment if the value came straight back, else an assignment.

    frame: of the code that assigns.
    """
    if isinstance(value, Tracked):
        mark = value.mark
        if mark is not None and comes_back(mark, frame):
            reading, _, _, steps, now = mark
            if reading.recorder() is recorder and reading.slot.name == slot.name:
                if not (reading.counts and recorder.take_back(slot, now, steps)):
                    adjust(recorder, slot, steps)
                    if reading.counts:
                        recorder.unread(slot)
                return
    elif isinstance(value, Handle) and opened(value)[0] is recorder and value.__slot__.name == slot.name:
        # The rest of ``d.items += [x]``, which was recorded already.
        return
    assign(recorder, slot, value)


def assign(recorder: Recorder, slot: Slot, value: Any) -> None:
    """Record that the place gets this value, whatever it held."""
    if slot.name == recorder.key:
        _refuse_key(recorder, slot)
    if slot.is_field:
        recorder.record_field(storable(recorder, slot, value))
    else:
        recorder.record(whole(recorder, slot, value))


def storable(recorder: Recorder, slot: Slot, value: Any) -> Record:
    """The assignment of a value to a place that is one field, as it will be read, and its text.

    An error if it cannot be stored there, or breaks a rule whatever is stored.
    """
    direct, kind = slot.shape.direct, type(value)
    if direct is not None and kind is direct.type and kind in IMMUTABLE and not slot.may_break:
        try:
            return slot, value, direct.encode(value), None
        except Exception:
            pass  # said below, outside of the handler, what is wrong
    value = plain(value)
    raw = recorder.encoded(slot, value)
    recorder.check(slot, value)
    if type(value) is not slot.shape.type or type(value) not in IMMUTABLE:
        value = slot.decode(raw)
    return slot, value, raw, None


def whole(recorder: Recorder, slot: Slot, value: Any) -> Assign:
    """The assignment of a value of several fields. The same errors."""
    value = plain(value)
    fields = recorder.dumped(slot, value)
    recorder.check(slot, value)
    return Assign(slot, fields)


def adjust(recorder: Recorder, slot: Slot, steps: Sequence[Step]) -> Any:
    """Record that the steps are done to what is stored; what they come to in this block."""
    if slot.name == recorder.key:
        _refuse_key(recorder, slot)
    value = after_steps(steps, recorder.held(slot))
    recorder.record_field((slot, value, recorder.encoded(slot, value), steps))
    return value


def _refuse_key(recorder: Recorder, slot: Slot) -> NoReturn:
    reason = "the key field of a stored object cannot change"
    raise ConstraintError(**recorder.target.data, path=slot.text, reason=reason)
