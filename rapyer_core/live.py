"""Live values: what the attributes of an AtomicRedisModel give. Equal to, and instances of, the plain types.

A live value knows the object and the field it came from, for its awaitable methods only. Everything else it does as
the plain value would: arithmetic gives plain results, and a change of a list is a change of the local object.

Containers and nested objects belong to one place of one object, which keeps the live value once somebody asked for it:
they are copied when they come from anywhere else, and can therefore be changed where they are.
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

    def keeps(self, value: Any) -> bool:
        """Whether a live value is the one of this place."""
        place = getattr(value, BOUND, None)
        return place is not None and place.owner is self.owner and place.steps == self.steps


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


def _as_plain(kind: type, name: str) -> Callable[..., Any]:
    """A method of a live date that does what the plain one's does: that of its base would give a live result."""

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        return getattr(_bare(kind, self), name)(*arguments, **named)

    method.__name__ = name
    return method


class LiveDate(_Live, datetime.date):
    """A live date."""

    __rapyer_plain__ = datetime.date
    __reduce_ex__ = _plainly(datetime.date)
    __repr__ = _as_plain(datetime.date, "__repr__")
    __add__ = __radd__ = _as_plain(datetime.date, "__add__")
    __sub__ = _as_plain(datetime.date, "__sub__")
    replace = _as_plain(datetime.date, "replace")


class LiveDatetime(_Live, datetime.datetime):
    """A live datetime."""

    __rapyer_plain__ = datetime.datetime
    __reduce_ex__ = _plainly(datetime.datetime)
    __repr__ = _as_plain(datetime.datetime, "__repr__")
    __add__ = __radd__ = _as_plain(datetime.datetime, "__add__")
    __sub__ = _as_plain(datetime.datetime, "__sub__")
    replace = _as_plain(datetime.datetime, "replace")
    astimezone = _as_plain(datetime.datetime, "astimezone")


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
        return self.plain_type, (plain(self),)

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

    def __repr__(self) -> str:
        return repr(set(self))

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
    """The plain value of a live one, which shares no part with it that can be changed; any other value as it is."""
    if isinstance(value, _Container):
        if isinstance(value, dict):
            return {plain(key): plain(held) for key, held in value.items()}
        return value.plain_type(map(plain, cast("Iterable[Any]", value)))
    if isinstance(value, _Live):
        return _bare(cast(Any, value).__rapyer_plain__, value)
    if _is_record(value):
        made = copy.copy(getattr(value, _WRAPPED))
        for field in dataclasses.fields(made):
            if hasattr(made, field.name):
                object.__setattr__(made, field.name, plain(getattr(made, field.name)))
        return made
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
        namespace = vars(obj)
        # ``player.items += [x]`` gives back what is there.
        if value is not namespace.get(self._name, obj):
            namespace[self._name] = plain(value)


def alive(value: Any, place: Place, keep: Callable[[Any], None]) -> Any:
    """The live value of what is at a place. keep: puts a container or nested object where the plain one was, so that
    changes of it are local changes of the object.
    """
    kind = type(value)
    scalar = _SCALARS.get(kind)
    if scalar is not None:
        made = scalar(value)
        setattr(made, BOUND, place)
        return made
    if isinstance(value, _Container) or _is_record(value):
        if place.keeps(value):
            return value
        value = plain(value)
        kind = type(value)
    container = _CONTAINERS.get(kind)
    if container is not None:
        made = container.bound(value, place)
    elif dataclasses.is_dataclass(kind):
        made = live_record(copy.copy(value), place)
    else:
        return value
    keep(made)
    return made


# -- nested dataclasses --

_WRAPPED = "__rapyer_wrapped__"


class _Record:
    """What views of nested dataclass instances share. A hook of the class for its subclasses is not for them."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        pass


def _is_record(value: Any) -> bool:
    return issubclass(type(value), _Record)


def live_record(value: Any, place: Place) -> Any:
    """A view of a nested dataclass instance, which nobody else has, whose attributes are live."""
    cls = _live_class(cast(Any, type(value)))
    made = object.__new__(cls)
    object.__setattr__(made, _WRAPPED, value)
    object.__setattr__(made, BOUND, place)
    return made


@functools.cache
def _live_class(cls: Any) -> type[Any]:
    """A subclass that keeps nothing itself: every attribute is the wrapped instance's."""
    fields = {field.name for field in dataclasses.fields(cls)}

    def __reduce_ex__(self: Any, protocol: Any) -> Any:
        return to_plain, (plain(self),)

    def __getattr__(self: Any, name: str) -> Any:
        return getattr(getattr(self, _WRAPPED), name)

    def __setattr__(self: Any, name: str, value: Any) -> None:
        if name in fields:
            cls.__setattr__(self, name, value)
        else:
            setattr(getattr(self, _WRAPPED), name, value)

    namespace: dict[str, Any] = {
        "__slots__": (_WRAPPED, BOUND),
        "__module__": cls.__module__,
        "__doc__": cls.__doc__,
        "__rapyer_plain__": cls,
        # Equality and repr of dataclasses ask the instance for its class; it says the plain one.
        "__class__": property(lambda self: cls),
        "__reduce_ex__": __reduce_ex__,
        "__getattr__": __getattr__,
        "__setattr__": __setattr__,
        "__hash__": cls.__hash__,
    }
    if not hasattr(cls, "aset"):
        namespace["aset"] = _Live.aset
    for name in fields:
        namespace[name] = NestedField(name)
    return cast(type[Any], cast(Any, type(cls))(cls.__name__, (_Record, cls), namespace))


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
        wrapped = getattr(obj, _WRAPPED)
        if value is not getattr(wrapped, self._name, obj):
            object.__setattr__(wrapped, self._name, plain(value))
