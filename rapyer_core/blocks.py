"""Blocks: the objects, reads and writes of one ``pipeline``, ``transaction`` or ``lock``. No waiting, no I/O.

The doors (``transactions`` and its blocking twin) do the waiting; what a block knows and decides is here, once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from rapyer_codecs.lean import dataclass, field
from rapyer_core import packing
from rapyer_core.collection import Context, Target
from rapyer_core.drafts import draft_of, recorder_of
from rapyer_core.errors import ConstraintError
from rapyer_core.models import Ref
from rapyer_core.operations.commit import Commit, Fence
from rapyer_core.operations.locks import Hold, fence_for, release_commands
from rapyer_core.operations.objects import SaveChanges, SaveWhole, note_saved, note_whole, save_changes, target_of
from rapyer_core.operations.reading import read
from rapyer_core.operations.refusals import refused
from rapyer_core.operations.units import Seen, Unit, whole
from rapyer_core.recorders import LATER, Recorder
from rapyer_core.requests import Command, Operation, Reply, ServerError, Watch
from rapyer_core.retries import Retry
from rapyer_core.states import state_of


def enter(ctx: Context, targets: Sequence[Target]) -> Operation[list[Reply]]:
    """Read the objects."""
    return read(ctx, watch_of(targets)[1], **targets[0].data)


def watch_of(targets: Sequence[Target]) -> Watch:
    """Read the objects under a WATCH."""
    if len(targets) == 1:
        key = targets[0].key
        return (key,), (packing.hgetall(key),), False
    keys = [target.key for target in targets]
    return keys, [packing.hgetall(key) for key in keys], False


FRESH = 0.1
"""Seconds that the entry reading of a block serves its commit, too.

No WATCH tells that a field ended by a time to live of its own, until somebody looks at it: after that long, the commit
looks.
"""


@dataclass(slots=True)
class Block:
    """What one block knows.

    recorders: by key, in the order met.
    presence: whether an object is there counts as read (in transactions, which can be run again).
    """

    ctx: Context
    retry: Retry | None = None
    exactly_once: bool | None = None
    recorders: dict[bytes, Recorder] = field(default_factory=dict)
    saves: dict[bytes, tuple[Any, Any]] = field(default_factory=dict)
    presence: bool = False
    open: bool = True

    def check_open(self) -> None:
        """Refuse what comes after the end of the block."""
        if not self.open:
            raise ConstraintError("the block is over: nothing can be recorded any more")

    def check_together(self, targets: Sequence[Target]) -> None:
        """Refuse objects that cannot share the commit with those met before. CrossSlot."""
        if self.ctx.clustered:
            met = [recorder.target for recorder in self.recorders.values()]
            self.ctx.check_together([*met, *[target for _, target in self.saves.values()], *targets])

    def add(self, targets: Sequence[Target], replies: Sequence[Reply], shown: bool = False) -> list[Seen]:
        """Objects read for this block, if they are new to it. replies: to the reading; what was seen.

        shown: whether the instances given are to show the new values after the commit.
        WrongKeyType, UnknownVersion, DecodeError, NotApplied: none is added.
        """
        if not self.open:
            self.check_open()
        seen: list[Seen] = []
        for target, reply in zip(targets, replies, strict=True):
            if type(reply) is ServerError:
                raise refused(target, reply)
            found = whole(target, reply)
            if found.exists:
                target.collection.check_key(found.fields, target.pk)
            seen.append(found)
        recorders = self.recorders
        for target, found in zip(targets, seen, strict=True):
            if target.key not in recorders:
                entry, first = (found.fields, LATER) if found.exists else (None, None)
                recorders[target.key] = Recorder(target, entry, first, target.obj if shown else None, self.presence)
        return seen

    def drafts(self, targets: Sequence[Target]) -> Any:
        """The draft of one object; of several, a tuple of them. NotFound."""
        recorders = self.recorders
        if len(targets) == 1:
            return draft_of(recorders[targets[0].key])
        return tuple([draft_of(recorders[target.key]) for target in targets])

    def insert(self, obj: Any) -> Any:
        """The object as it is now is created at commit; its draft."""
        self.check_open()
        if isinstance(obj, Ref) or recorder_of(obj) is not None:
            raise TypeError("insert takes an object, not a ref or draft")
        target = self.ctx.target(obj)
        self.check_together([target])
        fields = target.collection.dump(obj, target.pk)
        target.collection.check_rules(obj, target.pk)
        known = self.recorders.get(target.key)
        if target.key in self.saves or (known is not None and known.is_there):
            raise TypeError(f"{target.collection.model.name}({target.pk}) is in this block already")
        recorder = Recorder(target, None, target.collection.load(fields, target.pk), obj, self.presence)
        recorder.created, recorder.inserted, recorder.former = True, fields, known
        self.recorders[target.key] = recorder
        return draft_of(recorder)

    def delete(self, recorder: Recorder) -> None:
        """The object is deleted at commit."""
        recorder.delete()
        if not recorder.created:
            return
        if recorder.former is None:
            del self.recorders[recorder.target.key]
        else:
            self.recorders[recorder.target.key] = recorder.former

    def save(self, obj: Any) -> None:
        """A plain object, as it is at commit, is saved with the block, under the rules of ``save``."""
        self.check_open()
        if recorder_of(obj) is not None:
            return
        if isinstance(obj, Ref):
            raise TypeError("a ref has no values to save")
        target = self.ctx.target(obj)
        self.check_together([target])
        if target.key in self.recorders:
            raise TypeError(f"{target.collection.model.name}({target.pk}) is in this block already: change its draft")
        if target.key in self.saves and self.saves[target.key][0] is not obj:
            raise TypeError(
                f"{target.collection.model.name}({target.pk}) is in this block already: another instance of it is saved"
            )
        target.collection.dump(obj, target.pk)
        self.saves[target.key] = (obj, target)

    def draft_saved(self, targets: Sequence[Target]) -> None:
        """New objects that were given to ``save`` before they were read are drafts from now on, as they are now."""
        for key in [target.key for target in targets if target.key in self.saves]:
            obj, target = self.saves[key]
            if state_of(obj).stored is not None:
                name = f"{target.collection.model.name}({target.pk})"
                raise TypeError(f"{name} was given to save in this block: change that object, or get the draft instead")
            del self.saves[key]
            if self.recorders[key].is_there:
                self.delete(self.recorders[key])
            self.insert(obj)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys of all objects met."""
        return tuple(sorted({*self.recorders, *self.saves}))

    def units(self) -> list[Unit]:
        """The parts of the commit. Nothing can be recorded from here on."""
        self.open = False
        units: list[Unit] = []
        for recorder in self.recorders.values():
            recorder.finish()
            units.append(recorder)
        for obj, target in self.saves.values():
            fields = target.collection.dump(obj, target.pk)
            stored = state_of(obj).stored
            if stored is None:
                target.collection.check_rules(obj, target.pk)
                units.append(SaveWhole(target, fields))
            else:
                units.append(save_changes(target, dict(stored), fields, False))
        return units

    def commit(self, units: Sequence[Unit], lead: list[Seen] | None = None, fences: Sequence[Fence] = ()) -> Commit:
        """One commit of all units; what comes next is to show them. fences: held locks, given back by the same EXEC."""
        releases: list[Command] = []
        for fence in fences:
            releases += release_commands(fence)
        return Commit(self.ctx, units, self.retry, self.exactly_once, fences, releases, lead)

    def show(self, units: Sequence[Unit]) -> None:
        """After the commit: drafts and instances carry the new values."""
        for recorder in self.recorders.values():
            recorder.show()
        for unit in units[len(self.recorders) :]:
            if isinstance(unit, SaveWhole):
                note_whole(unit.target, unit.fields, unit.state)
            elif isinstance(unit, SaveChanges):
                note_saved(unit)

    def close(self) -> None:
        """End the block; its drafts can still be read."""
        self.open = False
        for recorder in self.recorders.values():
            recorder.open = False


@dataclass(slots=True)
class Scope:
    """The nested lock blocks of one task: one commit, when the outermost ends. holds: held locks by lock key."""

    block: Block
    holds: dict[bytes, Hold] = field(default_factory=dict)

    @property
    def fences(self) -> list[Fence]:
        """What the commit must prove."""
        return [hold.fence for hold in self.holds.values()]

    @property
    def lost(self) -> Hold | None:
        """A lock that is not certainly held any more."""
        return next((hold for hold in self.holds.values() if hold.left <= 0), None)

    def wanted(self, targets: Sequence[Target], name: str) -> list[Fence]:
        """The locks still to take, in the order that all tasks take them in."""
        fences = [fence_for(target, name) for target in targets]
        return sorted((fence for fence in fences if fence.key not in self.holds), key=lambda fence: fence.key)

    def patience(self, fence: Fence, timeout: float) -> float:
        """Seconds to wait for it: less, at random, when a later lock is held, so that one of two gives way."""
        if any(key > fence.key for key in self.holds):
            return random.uniform(0, timeout)
        return timeout

    def unread(self, targets: Sequence[Target]) -> list[Target]:
        """The objects that no block of this task has read yet."""
        return [target for target in targets if target.key not in self.block.recorders]

    def marks(self) -> dict[bytes, int]:
        """A point to go back to when a nested block fails."""
        return {key: recorder.mark() for key, recorder in self.block.recorders.items()}

    def back(self, marks: dict[bytes, int]) -> None:
        """Forget what was recorded since the point."""
        for key, recorder in self.block.recorders.items():
            recorder.back(marks.get(key, 0))


def pipeline_targets(ctx: Context, objects: Sequence[Any]) -> list[Target]:
    """The targets of the objects given to ``pipeline`` or ``lock``."""
    if not objects:
        raise TypeError("at least one object is needed")
    if len(objects) == 1:
        return [ctx.target(objects[0])]
    targets = [ctx.target(obj) for obj in objects]
    if len({target.key for target in targets}) != len(targets):
        raise TypeError("the same object was given twice")
    return targets


def transaction_target(ctx: Context, obj: Any, pk: Any) -> Target:
    """The target of ``tx.delete(draft)``, ``tx.delete(obj)`` or ``tx.delete(Player, pk)``."""
    recorder = recorder_of(obj)
    if recorder is None:
        return target_of(ctx, obj, pk)
    if pk is not None:
        raise TypeError("a primary key goes with a model class, not with a draft")
    return recorder.target


def locals_of(obj: Any) -> Any:
    """The instance to show the new values after the commit, if the caller gave one."""
    return None if isinstance(obj, Ref) else obj
