"""Sets of drafts: each operation is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet, Set
from typing import Any, cast

from rapyer_codecs import RapyerError
from rapyer_core.drafts.handles import opened, plain
from rapyer_core.drafts.views import VIEWS, View
from rapyer_core.drafts.writing import assign


class DraftSet(View, MutableSet[Any]):
    """A set of a draft."""

    __slots__ = ()

    def __contains__(self, member: object) -> bool:
        recorder, slot = opened(self)
        member = plain(member)
        try:
            recorder.note_field(slot.entry_name(member))
        except RapyerError:
            return False
        return member in self._unread

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> Any:
        return set(it)

    def add(self, value: Any) -> None:
        """Add a member. Reads nothing."""
        self._call("add", self._checked(value))

    def discard(self, value: Any) -> None:
        """Remove a member if it is there. Reads nothing."""
        self._call("discard", self._member(value))

    def _checked(self, value: Any) -> Any:
        member, (recorder, slot) = self._member(value), opened(self)
        recorder.check_parts(slot, {member})
        return member

    def _member(self, value: Any) -> Any:
        member, (recorder, slot) = plain(value), opened(self)
        recorder.dumped(slot, {member})
        return member

    def remove(self, value: Any) -> None:
        """Remove a member. That it is there counts as read."""
        if value not in self:
            raise KeyError(value)
        self.discard(value)

    # Operators take sets only, the methods of the same meaning anything that can be iterated: as those of set.

    def __ior__(self, other: Any) -> DraftSet:
        if not isinstance(other, Set):
            return NotImplemented
        self.update(other)
        return self

    def __iand__(self, other: Any) -> DraftSet:
        if not isinstance(other, Set):
            return NotImplemented
        self.intersection_update(other)
        return self

    def __isub__(self, other: Any) -> DraftSet:
        if not isinstance(other, Set):
            return NotImplemented
        self.difference_update(list(other))
        return self

    def __ixor__(self, other: Any) -> DraftSet:
        if not isinstance(other, Set):
            return NotImplemented
        self.symmetric_difference_update(other)
        return self

    def __or__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(self) | plain(other))

    def __and__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(self) & plain(other))

    def __sub__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(self) - plain(other))

    def __xor__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(self) ^ plain(other))

    def __ror__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(other) | plain(self))

    def __rand__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(other) & plain(self))

    def __rsub__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(other) - plain(self))

    def __rxor__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(other) ^ plain(self))

    def update(self, *others: Iterable[Any]) -> None:
        """Add members. Reads nothing."""
        members = [self._checked(member) for other in others for member in other]
        for member in members:
            self._call("add", member)

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove members. Reads nothing."""
        for other in others:
            for member in list(other):
                self.discard(member)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep only what all the others have too. The whole set counts as read."""
        self.difference_update(plain(self) - plain(self).intersection(*others))

    def symmetric_difference_update(self, other: Iterable[Any]) -> None:
        """Keep what only one of the two has. These members count as read."""
        for member in set(plain(other)):
            if member in self:
                self.discard(member)
            else:
                self.add(member)

    def union(self, *others: Iterable[Any]) -> set[Any]:
        """An ordinary set. The whole set counts as read; so for the following."""
        return cast(set[Any], plain(self).union(*others))

    def intersection(self, *others: Iterable[Any]) -> set[Any]:
        """An ordinary set."""
        return cast(set[Any], plain(self).intersection(*others))

    def difference(self, *others: Iterable[Any]) -> set[Any]:
        """An ordinary set."""
        return cast(set[Any], plain(self).difference(*others))

    def symmetric_difference(self, other: Iterable[Any]) -> set[Any]:
        """An ordinary set."""
        return cast(set[Any], plain(self).symmetric_difference(other))

    def issubset(self, other: Iterable[Any]) -> bool:
        """Whether the other has all members."""
        return bool(plain(self).issubset(other))

    def issuperset(self, other: Iterable[Any]) -> bool:
        """Whether it has all members of the other."""
        return bool(plain(self).issuperset(other))

    def copy(self) -> set[Any]:
        """An ordinary set."""
        return cast(set[Any], plain(self))

    def clear(self) -> None:
        """Empty it. Reads nothing."""
        self._call("clear")

    async def aadd(self, value: Any) -> None:
        """Record that a member is added."""
        self.add(value)

    async def aremove(self, value: Any) -> None:
        """Record that a member is removed."""
        self.remove(value)

    async def adiscard(self, value: Any) -> None:
        """Record that a member is removed if it is there."""
        self.discard(value)

    async def aset(self, values: Iterable[Any]) -> None:
        """Record that the set gets these members."""
        recorder, slot = opened(self)
        assign(recorder, slot, set(values))

    async def aclear(self) -> None:
        """Record that it is emptied."""
        self.clear()


VIEWS[set] = DraftSet
