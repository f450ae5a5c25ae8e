"""Live values: what the attributes of an AtomicRedisModel give. Equal to, and instances of, the plain types.

A live value knows the object and the field it came from, for its awaitable methods only. Everything else it does as
the plain value would: arithmetic gives plain results, and a change of a list is a change of the local object.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import functools
from collections.abc import Callable, Iterable
from typing import Any, Self, cast

from rapyer_codecs import Item, Steps
from rapyer_core import repository
from rapyer_core.expressions import Path
from rapyer_core.models import model_of
from rapyer_core.operations.fields import UNSET

BOUND = "__rapyer_bound__"


class Place:
    """The object and the field that a live value came from."""

    __slots__ = ("owner", "steps")

    def __init__(self, owner: Any, steps: Steps) -> None:
        self.owner = owner
        self.steps = steps

    @property
    def path(self) -> Any:
        """The field's path."""
        return Path(model_of(type(self.owner)), self.steps)

    def deeper(self, step: str | Item) -> Place:
        """A field of the nested object that is here."""
        return Place(self.owner, (*self.steps, step))


def place_of(value: Any) -> Place:
    """Where a live value came from. TypeError for one that was computed."""
    place = getattr(value, BOUND, None)
    if not isinstance(place, Place):
        raise TypeError("this value belongs to no field: it was computed or copied, not read from an object")
    return place


class _Live:
    """What all live values share."""

    __slots__ = ()

    async def aset(self, value: Any) -> None:
        """Give the field this value, whatever it held."""
        place = place_of(self)
        await repository.assign(place.owner, place.path, value)


class _Number(_Live):
    __slots__ = ()

    async def aincrease(self, by: Any = 1) -> Any:
        """Add to the stored number; the new value."""
        place = place_of(self)
        return await repository.increment(place.owner, place.path, by)


def _plainly(kind: type) -> Callable[[Any, Any], Any]:
    """``__reduce_ex__`` of a live scalar: copies and pickles are plain."""

    def __reduce_ex__(self: Any, protocol: Any) -> Any:
        return to_plain, (_bare(kind, self),)

    return __reduce_ex__


def to_plain(value: Any) -> Any:
    """The value itself; what copies and pickles of live values are made by."""
    return value


def _bare(kind: type, value: Any) -> Any:
    if kind is int:
        return int.__int__(value)
    if kind is float:
        return float.__float__(value)
    if kind is str:
        return str.__str__(value)
    if kind is bytes:
        return bytes.__getitem__(value, slice(None)) if type(value) is bytes else b"".join((value,))
    if kind is datetime.datetime:
        return _plain_datetime(value)
    return datetime.date(value.year, value.month, value.day)


def _plain_datetime(value: datetime.datetime) -> datetime.datetime:
    return datetime.datetime(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        value.tzinfo,
        fold=value.fold,
    )


class LiveInt(_Number, int):
    """A live int."""

    __rapyer_plain__ = int
    __reduce_ex__ = _plainly(int)


class LiveFloat(_Number, float):
    """A live float."""

    __rapyer_plain__ = float
    __reduce_ex__ = _plainly(float)


class LiveStr(_Live, str):
    """A live str."""

    __rapyer_plain__ = str
    __reduce_ex__ = _plainly(str)


class LiveBytes(_Live, bytes):
    """A live bytes."""

    __rapyer_plain__ = bytes
    __reduce_ex__ = _plainly(bytes)


class LiveDate(_Live, datetime.date):
    """A live date."""

    __rapyer_plain__ = datetime.date
    __reduce_ex__ = _plainly(datetime.date)


class LiveDatetime(_Live, datetime.datetime):
    """A live datetime."""

    __rapyer_plain__ = datetime.datetime
    __reduce_ex__ = _plainly(datetime.datetime)


def _live_date(value: datetime.date) -> LiveDate:
    return LiveDate(value.year, value.month, value.day)


def _live_datetime(value: datetime.datetime) -> LiveDatetime:
    return LiveDatetime(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        value.tzinfo,
        fold=value.fold,
    )


class _Container(_Live):
    """What live containers share. Made by ``bound``; calling the class makes a plain container, as copies do."""

    __slots__ = ()
    plain_type: type = object

    def __new__(cls, *arguments: Any) -> Any:
        """A plain container (asdict and friends call ``type(value)(...)``)."""
        return cls.plain_type(*arguments)

    @classmethod
    def bound(cls, values: Any, place: Place) -> Self:
        """A live container with these elements."""
        made = cast(Any, cls.plain_type).__new__(cls)
        cast(Any, cls.plain_type).__init__(made, values)
        setattr(made, BOUND, place)
        return cast(Self, made)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.plain_type, (self.plain_type(cast(Any, self)),)

    async def aclear(self) -> None:
        """Empty it."""
        place = place_of(self)
        await repository.clear(place.owner, place.path)


class LiveList(_Container, list[Any]):
    """A live list."""

    __rapyer_plain__ = plain_type = list

    async def aappend(self, value: Any) -> None:
        """Add an element at the end."""
        place = place_of(self)
        await repository.append(place.owner, place.path, value)

    async def aextend(self, values: Iterable[Any]) -> None:
        """Add elements at the end."""
        place = place_of(self)
        await repository.extend(place.owner, place.path, values)

    async def ainsert(self, index: int, value: Any) -> None:
        """Insert an element before an index."""
        place = place_of(self)
        await repository.insert_at(place.owner, place.path, index, value)

    async def apop(self, index: int = -1, default: Any = UNSET) -> Any:
        """Take out and return an element."""
        place = place_of(self)
        return await repository.pop(place.owner, place.path, index, default=default)

    async def aremove(self, value: Any) -> None:
        """Remove the first equal element."""
        place = place_of(self)
        await repository.remove(place.owner, place.path, value)


class LiveDict(_Container, dict[Any, Any]):
    """A live dict."""

    __rapyer_plain__ = plain_type = dict

    async def aset_item(self, key: Any, value: Any) -> None:
        """Set the entry of a key."""
        place = place_of(self)
        await repository.put(place.owner, place.path, key, value)

    async def adel_item(self, key: Any) -> None:
        """Remove the entry of a key."""
        place = place_of(self)
        await repository.remove(place.owner, place.path, key)

    async def aupdate(self, *others: Any, **values: Any) -> None:
        """Set several entries; the others stay."""
        place = place_of(self)
        await repository.merge(place.owner, place.path, dict(*others, **values))

    async def apop(self, key: Any, default: Any = UNSET) -> Any:
        """Take out and return an entry."""
        place = place_of(self)
        return await repository.pop(place.owner, place.path, key, default=default)


class LiveSet(_Container, set[Any]):
    """A live set."""

    __rapyer_plain__ = plain_type = set

    async def aadd(self, *members: Any) -> None:
        """Add members."""
        place = place_of(self)
        await repository.add(place.owner, place.path, *members)

    async def aremove(self, member: Any) -> None:
        """Remove a member."""
        place = place_of(self)
        await repository.remove(place.owner, place.path, member)

    async def adiscard(self, *members: Any) -> None:
        """Remove members, those that are there."""
        place = place_of(self)
        await repository.discard(place.owner, place.path, *members)


_SCALARS: dict[type, Callable[[Any], Any]] = {
    int: LiveInt,
    float: LiveFloat,
    str: LiveStr,
    bytes: LiveBytes,
    datetime.date: _live_date,
    datetime.datetime: _live_datetime,
}
_CONTAINERS: dict[type, type[_Container]] = {list: LiveList, dict: LiveDict, set: LiveSet}


def plain(value: Any) -> Any:
    """The plain value of a live one; any other value as it is."""
    if isinstance(value, _Container):
        return value.plain_type(cast(Any, value))
    if isinstance(value, _Live):
        return _bare(cast(Any, value).__rapyer_plain__, value)
    wrapped = getattr(type(value), "__rapyer_plain__", None)
    if wrapped is not None and dataclasses.is_dataclass(wrapped):
        return getattr(value, _WRAPPED)
    return value


class LiveField:
    """The descriptor of one field: keeps plain values, gives live ones."""

    __slots__ = ("_default", "_name")

    def __init__(self, name: str, default: Any) -> None:
        self._name = name
        self._default = default

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        if obj is None:
            if self._default is dataclasses.MISSING:
                raise AttributeError(self._name)
            return self._default
        namespace = vars(obj)
        try:
            value = namespace[self._name]
        except KeyError:
            raise AttributeError(f"{type(obj).__name__!r} object has no attribute {self._name!r}") from None
        return alive(value, Place(obj, (self._name,)), functools.partial(namespace.__setitem__, self._name))

    def __set__(self, obj: Any, value: Any) -> None:
        vars(obj)[self._name] = plain(value)


def alive(value: Any, place: Place, keep: Callable[[Any], None]) -> Any:
    """The live value of a plain one. keep: puts a container where the plain one was, so that changes of it are local
    changes of the object.
    """
    kind = type(value)
    scalar = _SCALARS.get(kind)
    if scalar is not None:
        made = scalar(value)
        setattr(made, BOUND, place)
        return made
    container = _CONTAINERS.get(kind)
    if container is not None:
        made = container.bound(value, place)
        keep(made)
        return made
    if isinstance(value, _Container) and place_of(value).owner is not place.owner:
        made = type(value).bound(value, place)
        keep(made)
        return made
    if dataclasses.is_dataclass(kind):
        return live_record(value, place)
    return value


# -- nested dataclasses --

_WRAPPED = "__rapyer_wrapped__"


def live_record(value: Any, place: Place) -> Any:
    """A view of a nested dataclass instance whose attributes are live."""
    cls = _live_class(cast(Any, type(value)))
    made = object.__new__(cls)
    object.__setattr__(made, _WRAPPED, value)
    object.__setattr__(made, BOUND, place)
    return made


@functools.cache
def _live_class(cls: Any) -> type[Any]:
    """A subclass that keeps nothing itself: every field is the wrapped instance's."""

    def __reduce_ex__(self: Any, protocol: Any) -> Any:
        return to_plain, (copy.copy(getattr(self, _WRAPPED)),)

    namespace: dict[str, Any] = {
        "__slots__": (_WRAPPED, BOUND),
        "__module__": cls.__module__,
        "__doc__": cls.__doc__,
        "__rapyer_plain__": cls,
        # Equality and repr of dataclasses ask the instance for its class; it says the plain one.
        "__class__": property(lambda self: cls),
        "__reduce_ex__": __reduce_ex__,
        "__hash__": cls.__hash__,
    }
    if not hasattr(cls, "aset"):
        namespace["aset"] = _Live.aset
    for field in dataclasses.fields(cls):
        namespace[field.name] = NestedField(field.name)
    return cast(type[Any], cast(Any, type(cls))(cls.__name__, (cls,), namespace))


class NestedField:
    """The descriptor of a field of a nested dataclass's view."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        if obj is None:
            raise AttributeError(self._name)
        wrapped = getattr(obj, _WRAPPED)
        value = getattr(wrapped, self._name)
        keep = functools.partial(object.__setattr__, wrapped, self._name)
        return alive(value, getattr(obj, BOUND).deeper(self._name), keep)

    def __set__(self, obj: Any, value: Any) -> None:
        object.__setattr__(getattr(obj, _WRAPPED), self._name, plain(value))
