"""Dataclasses that cost little at import: each method that `dataclasses.dataclass` generates is generated at its
first use.

For the classes of this project, of which one process uses a part. `fields`, `replace` and `asdict` work as usual.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, field
from typing import Any, NoReturn, TypeVar, cast, dataclass_transform, overload

__all__ = ["dataclass", "field"]

C = TypeVar("C", bound=type)


@overload
def dataclass(cls: C, /) -> C: ...
@overload
def dataclass(
    *, frozen: bool = False, eq: bool = True, repr: bool = True, slots: bool = False, weakref_slot: bool = False
) -> Callable[[C], C]: ...
@dataclass_transform(field_specifiers=(field,))
def dataclass(
    cls: C | None = None,
    /,
    *,
    frozen: bool = False,
    eq: bool = True,
    repr: bool = True,
    slots: bool = False,
    weakref_slot: bool = False,
) -> C | Callable[[C], C]:
    """As `dataclasses.dataclass`, with these options of it."""

    def decorate(plain: C) -> C:
        own = vars(plain)
        # Neither methods nor a note that it is frozen: that would generate two.
        lean = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, weakref_slot=weakref_slot)
        made: Any = lean(plain)
        options = {"__init__": True, "__repr__": repr, "__eq__": eq, "__hash__": eq and frozen}
        for name, wanted in options.items():
            if wanted and name not in own:
                setattr(made, name, _Later(made, name, frozen))
        if eq and not frozen and "__hash__" not in own:
            made.__hash__ = None
        if frozen:
            made.__setattr__ = made.__delattr__ = _refuse
            made.__getstate__, made.__setstate__ = _state, _set_state
        return cast(C, made)

    return decorate if cls is None else decorate(cls)


class _Later:
    """Stands for a method of a class until one like it is asked for."""

    __slots__ = ("cls", "frozen", "name")

    def __init__(self, cls: type[Any], name: str, frozen: bool) -> None:
        self.cls = cls
        self.name = name
        self.frozen = frozen

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Any:
        if self.name == "__init__":
            made = _init(self.cls, self.frozen)
        else:
            made = vars(_twin(self.cls, self.name))[self.name]
        setattr(self.cls, self.name, made)
        return made.__get__(instance, owner)


def _init(cls: type[Any], frozen: bool) -> Callable[..., None]:
    """An `__init__` as the standard library makes it, without the four functions that come with that of a frozen
    class.
    """
    fields = dataclasses.fields(cls)
    names: dict[str, Any] = {"assign_": object.__setattr__, "FACTORY_": _FACTORY}
    parameters, lines = ["self"], []
    if any(known.kw_only for known in fields):
        raise TypeError(f"{cls.__qualname__}: keyword-only fields are not supported here")
    for known in fields:
        name, value = known.name, known.name
        if known.default_factory is not MISSING:
            names[f"{name}_factory_"] = known.default_factory
            made = f"{name}_factory_()"
            value = f"{made} if {name} is FACTORY_ else {name}" if known.init else made
        elif not known.init:
            continue
        default = ""
        if known.default is not MISSING:
            names[f"{name}_default_"] = known.default
            default = f"={name}_default_"
        elif known.default_factory is not MISSING:
            default = "=FACTORY_"
        if known.init:
            parameters.append(name + default)
        lines.append(f"assign_(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    text = f"def __init__({', '.join(parameters)}):\n" + "".join(f"    {line}\n" for line in lines or ["pass"])
    exec(text, names)
    init: Any = names["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    init.__annotations__ = {known.name: known.type for known in fields if known.init} | {"return": None}
    return cast("Callable[..., None]", init)


def _twin(cls: type[Any], method: str) -> type[Any]:
    """An ordinary dataclass with the fields of a lean one, and this method."""
    body: dict[str, Any] = {known.name: _copy(known) for known in dataclasses.fields(cls)}
    body["__annotations__"] = {known.name: known.type for known in dataclasses.fields(cls)}
    body.update(__module__=cls.__module__, __qualname__=cls.__qualname__, __doc__=cls.__doc__)
    make = dataclasses.dataclass(
        init=False, repr=method == "__repr__", eq=method != "__repr__", unsafe_hash=method == "__hash__"
    )
    return make(type(cls.__name__, (), body))


def _copy(given: dataclasses.Field[Any]) -> Any:
    """What a method needs to know of a field."""
    return field(repr=given.repr, hash=given.hash, compare=given.compare)


class _Factory:
    def __repr__(self) -> str:
        return "<factory>"


_FACTORY = _Factory()


def _refuse(instance: object, name: str, *value: Any) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _state(instance: Any) -> list[Any]:
    return [getattr(instance, known.name) for known in dataclasses.fields(instance)]


def _set_state(instance: Any, state: list[Any]) -> None:
    for known, value in zip(dataclasses.fields(instance), state, strict=True):
        object.__setattr__(instance, known.name, value)
