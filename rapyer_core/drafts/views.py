"""Views of containers: what those of lists, dicts and sets share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rapyer_codecs import RapyerError, Slot
from rapyer_core.drafts.handles import Copied, opened, plain
from rapyer_core.operations.edits import Call
from rapyer_core.places import value_of


class View(Copied):
    """What the views of containers share."""

    __slots__ = ()
    __rapyer_draft__ = True

    @property
    def _all(self) -> Any:
        """The container itself, all of it read."""
        recorder, slot = opened(self)
        recorder.note(slot, tree=True)
        return slot.get(recorder.work)

    @property
    def _unread(self) -> Any:
        """The container itself, not counted as read."""
        recorder, slot = opened(self)
        return slot.get(recorder.work)

    def _child(self, key: Any) -> Slot:
        try:
            return self.__slot__.entry(key if type(key) is str else plain(key))
        except RapyerError:
            target = opened(self)[0].target
            with target.collection.named(target.pk):
                raise

    def _call(self, method: str, *arguments: Any) -> Any:
        recorder, slot = opened(self)
        return recorder.record(Call(slot, method, lambda: arguments))

    def _fresh(self, values: Iterable[Any]) -> Callable[[], list[Any]]:
        """Makes the elements anew at each call; refuses now what cannot be stored."""
        recorder, place = opened(self)[0], self._child(0)
        dumped = []
        for value in map(plain, values):
            dumped.append(recorder.dumped(place, value))
            recorder.check(place, value)
        return lambda: [value_of(place, fields) for fields in dumped]

    def __eq__(self, other: object) -> bool:
        return bool(self._all == plain(other))

    __hash__ = None  # type: ignore[assignment]  # like the container that it stands for

    def __repr__(self) -> str:
        return repr(self._all)

    def __bool__(self) -> bool:
        return bool(self._all)


VIEWS: dict[type, type[View]] = {}
"""The view of each type of container. Filled by the modules that have them: they need what hands them out."""
