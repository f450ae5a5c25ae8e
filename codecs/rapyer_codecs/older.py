"""StoredFields: the stored fields of one object of an older form, as an upgrade function reads and edits them.

Everything goes through the codecs of the types that the function names; what it does not mention stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar, overload

from .default import default_registry
from .errors import ConstraintError, LimitExceeded, RapyerError
from .names import is_own
from .registry import Registry
from .shape import Fields
from .stored import BAD, Stored

__all__ = ["StoredFields"]

T = TypeVar("T")
D = TypeVar("D")
_NONE: Any = object()


class StoredFields:
    """The stored fields of an object, by name: `gold`, `stats.wins`, `metadata.city`.

    A name stands for the field and everything below it. Values are read and written as the types given with them;
    bytes that are not a value of the type are a DecodeError, which leaves the stored object as it is.
    """

    __slots__ = ("_fields", "_may_change", "_registry")

    def __init__(
        self,
        fields: Mapping[bytes, bytes],
        *,
        registry: Registry = default_registry,
        may_change: Collection[str] | None = None,
    ) -> None:
        """`fields`: stored name -> text; they are copied. `may_change`: top names that may be written; None: all."""
        self._fields: Fields = dict(fields)
        self._registry = registry
        self._may_change = may_change

    def __repr__(self) -> str:
        return f"StoredFields({', '.join(self)})"

    def __iter__(self) -> Iterator[str]:
        """The names of the top fields, each once."""
        return iter(dict.fromkeys(_text(name.partition(b".")[0]) for name in self._fields))

    def __contains__(self, name: str) -> bool:
        """Whether something is stored under a name."""
        return bool(self._below(_bytes(name)))

    @property
    def fields(self) -> Fields:
        """The fields as they are now: stored name -> text."""
        return dict(self._fields)

    @overload
    def get(self, name: str, type: type[T]) -> T: ...
    @overload
    def get(self, name: str, type: type[T], default: D) -> T | D: ...
    @overload
    def get(self, name: str, type: Any, default: Any = ...) -> Any: ...
    def get(self, name: str, type: Any, default: Any = _NONE) -> Any:
        """The value stored under a name, or the default where nothing is. DecodeError if there is neither."""
        shape, place, stored = self._registry.shape(type), _bytes(name), Stored(self._fields)
        if default is not _NONE and not shape.present(place, stored):
            return default
        value = shape.read(place, stored)
        if value is not BAD:
            return value
        found = tuple(stored.errors)
        for error in found:
            error.path = _text(error.field or place)
        raise found[0].__class__(**{**vars(found[0]), "errors": found})

    @overload
    def take(self, name: str, type: type[T]) -> T: ...
    @overload
    def take(self, name: str, type: type[T], default: D) -> T | D: ...
    @overload
    def take(self, name: str, type: Any, default: Any = ...) -> Any: ...
    def take(self, name: str, type: Any, default: Any = _NONE) -> Any:
        """As `get`, and what was stored under the name is gone."""
        value = self.get(name, type, default)
        self.drop(name)
        return value

    def put(self, name: str, type: Any, value: Any) -> None:
        """Store a value under a name, in place of whatever was there. EncodeError if it is not of the type."""
        place = self._changing(name)
        out: Fields = {}
        try:
            self._registry.shape(type).write(value, place, out)
        except RapyerError as error:
            error.path = _text(error.field or place)
            raise
        self.drop(name)
        self._fields.update(out)

    def rename(self, old: str, new: str) -> None:
        """Give what is stored under a name, if anything is, another name, in place of whatever was there."""
        before, after = self._changing(old), self._changing(new)
        moved = {after + name[len(before) :]: self._fields[name] for name in self._below(before)}
        if moved and before != after:
            self.drop(old)
            self.drop(new)
            self._fields.update(moved)

    def drop(self, name: str) -> None:
        """Remove what is stored under a name, if anything is."""
        for found in self._below(self._changing(name)):
            del self._fields[found]

    def _below(self, place: bytes) -> list[bytes]:
        start = place + b"."
        return [name for name in self._fields if name == place or name.startswith(start)]

    def _changing(self, name: str) -> bytes:
        place = _bytes(name)
        if not place or is_own(place):
            raise ConstraintError("a stored name is not empty and does not start with ~", path=name)
        if len(place) > self._registry.limits.name:
            raise LimitExceeded(f"a field name longer than {self._registry.limits.name} bytes")
        if self._may_change is not None and name.partition(".")[0] not in self._may_change:
            raise ConstraintError("the upgrade does not list this field among those that it changes", path=name)
        return place


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
