"""Lists of drafts: each operation is recorded."""

from __future__ import annotations

import sys
from collections.abc import Iterable, MutableSequence
from typing import Any, cast

from rapyer_core.drafts.handles import opened, plain
from rapyer_core.drafts.records import handed_out
from rapyer_core.drafts.views import VIEWS, View
from rapyer_core.drafts.writing import assign, store
from rapyer_core.operations.edits import Call


class DraftList(View, MutableSequence[Any]):
    """A list of a draft."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(len(self._all))[index]]
        recorder, _ = opened(self)
        position = self._position(index)
        child = self._child(position)
        recorder.note(child, tree=True)
        return handed_out(recorder, child, sys._getframe(1))

    def __setitem__(self, index: Any, value: Any) -> None:
        recorder, slot = opened(self)
        if isinstance(index, slice):
            make = self._fresh(list(plain(value)))
            _ = self._all
            recorder.record(Call(slot, "__setitem__", lambda: (index, make())))
            return
        child = self._child(self._position(index))
        recorder.note(child, tree=True)
        store(recorder, child, value, sys._getframe(1))

    def __delitem__(self, index: Any) -> None:
        if isinstance(index, slice):
            _ = self._all
            self._call("__delitem__", index)
            return
        position = self._position(index)
        opened(self)[0].note(self._child(position), tree=True)
        self._call("__delitem__", position)

    def _position(self, index: Any) -> int:
        """The index counted from 0, the length of the list read; of the whole list, if the block moved elements."""
        recorder, slot = opened(self)
        recorder.note(slot, tree=recorder.rearranged(slot))
        held = self._unread
        try:
            return int(range(len(held))[index])
        except IndexError:
            raise IndexError("list index out of range") from None

    def insert(self, index: int, value: Any) -> None:
        """Insert before the index. Only the length counts as read."""
        recorder, slot = opened(self)
        recorder.note(slot, tree=recorder.rearranged(slot))
        make = self._fresh([value])
        recorder.record(Call(slot, "insert", lambda: (index, make()[0])))

    def append(self, value: Any) -> None:
        """Add at the end. Reads nothing."""
        self.extend([value])

    def extend(self, values: Iterable[Any]) -> None:
        """Add at the end. Reads nothing."""
        recorder, slot = opened(self)
        make = self._fresh(plain(values))
        recorder.record(Call(slot, "extend", lambda: (make(),)))

    def __iadd__(self, values: Iterable[Any]) -> DraftList:  # type: ignore[misc]  # `+` gives an ordinary list
        self.extend(values)
        return self

    def __imul__(self, count: int) -> DraftList:  # type: ignore[misc]  # `*` gives an ordinary list
        _ = self._all
        self._call("__imul__", count)
        return self

    def __add__(self, other: Any) -> list[Any]:
        return cast(list[Any], plain(self) + plain(other))

    def __radd__(self, other: Any) -> list[Any]:
        return cast(list[Any], plain(other) + plain(self))

    def __mul__(self, count: Any) -> list[Any]:
        return cast(list[Any], plain(self) * plain(count))

    def __rmul__(self, count: Any) -> list[Any]:
        return cast(list[Any], plain(self) * plain(count))

    def __lt__(self, other: Any) -> bool:
        return bool(plain(self) < plain(other))

    def __le__(self, other: Any) -> bool:
        return bool(plain(self) <= plain(other))

    def __gt__(self, other: Any) -> bool:
        return bool(plain(self) > plain(other))

    def __ge__(self, other: Any) -> bool:
        return bool(plain(self) >= plain(other))

    def copy(self) -> list[Any]:
        """An ordinary list of the elements. The whole list counts as read."""
        return cast(list[Any], plain(self))

    def pop(self, index: int = -1) -> Any:
        """Take out an element. The length and the element count as read."""
        position = self._position(index)
        opened(self)[0].note(self._child(position), tree=True)
        return self._call("pop", position)

    def remove(self, value: Any) -> None:
        """Remove the first equal element. The whole list counts as read."""
        _ = self._all
        self._call("remove", plain(value))

    def clear(self) -> None:
        """Empty it. Reads nothing."""
        self._call("clear")

    def sort(self, *, key: Any = None, reverse: bool = False) -> None:
        """Sort in place. The whole list counts as read."""
        (recorder, slot), make = opened(self), self._fresh(sorted(plain(self), key=key, reverse=reverse))
        recorder.record(Call(slot, "__setitem__", lambda: (slice(None), make())))

    def reverse(self) -> None:
        """Turn round in place. The whole list counts as read."""
        _ = self._all
        self._call("reverse")

    async def aappend(self, value: Any) -> None:
        """Record an append."""
        self.append(value)

    async def aextend(self, values: Iterable[Any]) -> None:
        """Record an extension."""
        self.extend(values)

    async def ainsert(self, index: int, value: Any) -> None:
        """Record an insertion."""
        self.insert(index, value)

    async def apop(self, index: int = -1) -> Any:
        """Record that an element is taken out; the element."""
        return self.pop(index)

    async def aset(self, values: Iterable[Any]) -> None:
        """Record that the list gets these elements."""
        recorder, slot = opened(self)
        assign(recorder, slot, list(values))

    async def aclear(self) -> None:
        """Record that it is emptied."""
        self.clear()


VIEWS[list] = DraftList
