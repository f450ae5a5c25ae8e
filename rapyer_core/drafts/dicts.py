"""Dicts of drafts: each operation is recorded."""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from typing import Any, cast

from rapyer_codecs import RapyerError
from rapyer_core.drafts.handles import opened, plain
from rapyer_core.drafts.records import handed_out
from rapyer_core.drafts.views import VIEWS, View
from rapyer_core.drafts.writing import assign, storable, store, whole
from rapyer_core.operations.edits import Assign, Call
from rapyer_core.recorders import Record


class DraftDict(View, MutableMapping[Any, Any]):
    """A dict of a draft."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        recorder, _ = opened(self)
        child = self._child(key)
        if plain(key) not in self._unread:
            recorder.note(child)
            raise KeyError(key)
        return handed_out(recorder, child, sys._getframe(1))

    def __setitem__(self, key: Any, value: Any) -> None:
        store(opened(self)[0], self._child(key), value, sys._getframe(1))

    def __delitem__(self, key: Any) -> None:
        recorder, slot = opened(self)
        child = self._child(key)
        recorder.note(child)
        key = plain(key)
        recorder.record(Call(slot, "__delitem__", lambda: (key,), child))

    def __contains__(self, key: object) -> bool:
        try:
            child = self._child(key)
        except RapyerError:
            return False
        opened(self)[0].note(child)
        return plain(key) in self._unread

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def __ior__(self, other: Any) -> DraftDict:
        self.update(other)
        return self

    def __or__(self, other: Any) -> dict[Any, Any]:
        return cast(dict[Any, Any], plain(self) | plain(other))

    def __ror__(self, other: Any) -> dict[Any, Any]:
        return cast(dict[Any, Any], plain(other) | plain(self))

    def copy(self) -> dict[Any, Any]:
        """An ordinary dict of the entries. The whole dict counts as read."""
        return cast(dict[Any, Any], plain(self))

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """The entry, made of the default if there is none. The key counts as read."""
        if key not in self:
            self[key] = default
        return self[key]

    def popitem(self) -> tuple[Any, Any]:
        """Take out the last entry. The whole dict counts as read."""
        keys = list(self._all)
        if not keys:
            raise KeyError("popitem(): dictionary is empty")
        return keys[-1], self.pop(keys[-1])

    def pop(self, key: Any, *default: Any) -> Any:
        """Take out an entry. The key counts as read."""
        recorder, slot = opened(self)
        child = self._child(key)
        recorder.note(child)
        key = plain(key)
        if key not in self._unread:
            if default:
                return default[0]
            raise KeyError(key)
        return recorder.record(Call(slot, "pop", lambda: (key,), child))

    def update(self, *others: Any, **values: Any) -> None:
        """Set entries, all or none of them. Reads nothing."""
        entries = dict(*map(plain, others), **values) if others else values
        recorder = self.__recorder__
        if recorder.moved:
            opened(self)
        known = self.__slot__.entries
        alone: list[Record] = []
        wide: list[Assign] = []
        for key, value in entries.items():
            place = known.get(key) if type(key) is str else None
            if place is None:
                place = self._child(key)
            if place.is_field:
                alone.append(storable(recorder, place, value))
            else:
                wide.append(whole(recorder, place, value))
        recorder.record_fields(alone)
        for edit in wide:
            recorder.record(edit)

    def clear(self) -> None:
        """Empty it. Reads nothing."""
        self._call("clear")

    async def aset_item(self, key: Any, value: Any) -> None:
        """Record an entry."""
        self[key] = value

    async def adel_item(self, key: Any) -> None:
        """Record that an entry is removed."""
        del self[key]

    async def aupdate(self, *others: Any, **values: Any) -> None:
        """Record several entries."""
        self.update(*others, **values)

    async def apop(self, key: Any, *default: Any) -> Any:
        """Record that an entry is taken out; its value."""
        return self.pop(key, *default)

    async def aset(self, values: Any) -> None:
        """Record that the dict gets these entries."""
        recorder, slot = opened(self)
        assign(recorder, slot, dict(values))

    async def aclear(self) -> None:
        """Record that it is emptied."""
        self.clear()


VIEWS[dict] = DraftDict
