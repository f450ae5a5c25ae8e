"""Stored: the fields of one object while it is read. Finds what lies below a name, and collects what is
wrong.

Reading goes on after a bad field, so that all bad fields of an object are reported at once: whoever meets
one calls `bad`, gets BAD back and hands it on in place of the value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .errors import DecodeError
from .names import is_own

__all__ = ["BAD", "Stored"]


class _Bad:
    def __repr__(self) -> str:
        return "BAD"


BAD: Final[Any] = _Bad()
"""Stands for a value that could not be read; the reason is in `Stored.errors`."""


class Stored:
    """The stored fields of one object, name -> text."""

    __slots__ = ("_children", "_scans", "errors", "fields", "get")

    def __init__(self, fields: Mapping[bytes, bytes]) -> None:
        self.fields = fields
        self.get = fields.get
        self.errors: list[DecodeError] = []
        self._children: dict[bytes, dict[bytes, None]] | None = None
        self._scans = 0

    def below(self, name: bytes) -> Iterable[bytes]:
        """The segments directly below a name, in stored order."""
        if self._children is None:
            if name and self._scans < _FEW:
                self._scans += 1
                return _segments(self.fields, name + b".")
            self._children = _children_of(self.fields)
        return self._children.get(name, ())

    def bad(
        self,
        name: bytes,
        target: str,
        raw: bytes | None,
        reason: str,
        error: type[DecodeError] = DecodeError,
    ) -> Any:
        """Note that the place `name` cannot be read; gives BAD."""
        self.errors.append(error(reason, field=name, target=target, raw=raw))
        return BAD


_FEW = 3
"""Scans of all names that cost less than an index of them."""


def _segments(fields: Iterable[bytes], prefix: bytes) -> dict[bytes, None]:
    start = len(prefix)
    return dict.fromkeys([name[start:].partition(b".")[0] for name in fields if name.startswith(prefix)])


def _children_of(fields: Iterable[bytes]) -> dict[bytes, dict[bytes, None]]:
    children: dict[bytes, dict[bytes, None]] = {}
    for name in fields:
        if is_own(name):
            continue
        while True:
            parent, _, segment = name.rpartition(b".")
            siblings = children.setdefault(parent, {})
            if segment in siblings:
                break
            siblings[segment] = None
            if not parent:
                break
            name = parent
    return children
