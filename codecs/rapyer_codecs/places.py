"""Names of elements and entries for generated code, made once for what is met again and again.

The names of a container in a fixed place are few and come with every object: those of the first elements are
kept, and those of the keys seen last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from .errors import LimitExceeded
from .recall import Recall
from .shape import Key

__all__ = ["COUNTS", "FEW", "MANY", "Entries", "Met", "NameLists", "Pickers", "few", "numbered"]

FEW = 64
"""Elements of a list whose names are kept; characters of a key, or bytes of a name, that is kept."""

MANY = 512
"""Entries of a dict of which so many would push each other out of what is kept."""

COUNTS = tuple(b"%d" % count for count in range(FEW + 1))
"""The texts of small lengths."""

Pick = Callable[[Mapping[bytes, bytes]], Sequence[bytes]]


def numbered(name: bytes, length: int) -> list[bytes]:
    """The names of the elements of a list."""
    prefix = name + b"."
    return [prefix + b"%d" % position for position in range(length)]


def few(name: bytes) -> tuple[bytes, ...]:
    """The names of the first elements of a list in a fixed place."""
    return tuple(numbered(name, FEW))


class Pickers(dict[int, Pick]):
    """Length -> the function that takes the texts of so many elements of one list out of stored fields.

    It raises KeyError if one is missing.
    """

    def __init__(self, name: bytes) -> None:
        self._name = name

    def __missing__(self, length: int) -> Pick:
        names = numbered(self._name, length)
        pick: Pick = itemgetter(*names) if length > 1 else lambda fields: [fields[name] for name in names]
        if length <= FEW:
            self[length] = pick
        return pick


class NameLists(dict[int, list[bytes]]):
    """Length -> the names of so many elements of one list."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def __missing__(self, length: int) -> list[bytes]:
        names = numbered(self._name, length)
        if length <= FEW:
            self[length] = names
        return names


class Entries:
    """The entries of one dict with text keys: key -> name and back. `prefix`: of the names, with its dot.

    Of a dict whose place is not fixed the prefix is empty, and a name here is a segment.
    """

    def __init__(self, key: Key, prefix: bytes) -> None:
        self._key = key
        self._prefix = prefix
        self._names: Recall[str, bytes] = Recall()
        self._keys: Recall[bytes, Any] = Recall()
        self.known_name = self._names.known
        self.known_key = self._keys.known

    def name(self, key: str) -> bytes:
        """The name of a key. LimitExceeded if it leaves less than half of the limit to what lies below."""
        # An identifier has nothing to escape.
        name = self._prefix + (key.encode() if key.isidentifier() else self._key.segment(key))
        if len(name) > self._key.shape.limits.name // 2:
            raise LimitExceeded
        return self._names.keep(key, name) if len(key) <= FEW else name

    def key(self, name: bytes) -> Any:
        """The key of a stored name; False of a name that is no entry's. ValueError if the key is not one."""
        key: Any = False
        if name.startswith(self._prefix):
            segment = name[len(self._prefix) :]
            key = segment.decode()
            if not key.isidentifier():
                key = False if b"." in segment else self._key.of(segment)
        return self._keys.keep(name, key) if len(name) <= FEW else key


class Met:
    """The entries of one dict as they were met last: `last`, the names in their order, and a dict with the keys.

    Objects of a class often have the same keys; then a copy of that dict takes the values.
    """

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last: tuple[list[bytes], dict[Any, Any]] = [], {}

    def note(self, names: list[bytes], entries: Mapping[Any, Any]) -> None:
        """Note the names of these entries, if they are few and short."""
        if 0 < len(names) == len(entries) <= FEW and max(map(len, names)) <= 4 * FEW:
            self.last = names, dict.fromkeys(entries)
