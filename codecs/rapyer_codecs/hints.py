"""Type hints: resolving annotations, taking Annotated and aliases off, substituting type variables.

Knows Python's typing and nothing of codecs. Everything is done with `include_extras=True`, because one string
annotation in a class makes most tools drop every Annotated of that class.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import InitVar
from typing import Annotated, Any, Final, Literal, NewType, TypeVar, Union

__all__ = [
    "annotations_of",
    "classes_in",
    "descends_from",
    "former_names_of",
    "identity",
    "imported",
    "is_exactly",
    "is_literal",
    "is_required",
    "is_union",
    "metadata_of",
    "name_of",
    "origin_of",
    "peel",
    "resolve",
    "substitute",
    "variables_of",
]


def _named(name: str) -> tuple[Any, ...]:
    """What `typing` and `typing_extensions` have under a name. The latter is not imported: a hint from there has
    done it.
    """
    homes = (typing, sys.modules.get("typing_extensions"))
    return tuple(getattr(home, name) for home in homes if hasattr(home, name))


def _is_one(origin: Any, *names: str) -> bool:
    return origin is not None and any(origin is form for name in names for form in _named(name))


_WRAPPERS = ("Final", "Required", "NotRequired", "ReadOnly")
Variables = Mapping[Any, Any]


def resolve(cls: type, owner: type, annotation: Any, names: Mapping[str, Any]) -> Any:
    """The hint of one annotation written in the body of `owner`, a base of `cls`. NameError if a name is not
    there yet.

    A throwaway class carries the one annotation, so that a bad neighbour does not matter; names of the
    class body are looked up last, because a field called `date` must not hide the type. `names`: looked up
    first.
    """
    carrier = type(owner.__name__, (), {"__annotations__": {"it": annotation}, "__module__": owner.__module__})
    module = vars(sys.modules[owner.__module__]) if owner.__module__ in sys.modules else {}
    inner = {**module, owner.__name__: owner, cls.__name__: cls, **names}
    return typing.get_type_hints(carrier, dict(vars(owner)), inner, include_extras=True)["it"]


def annotations_of(cls: type) -> dict[str, tuple[type, Any]]:
    """Field name -> (class whose body it is written in, annotation as written), bases first."""
    found: dict[str, tuple[type, Any]] = {}
    for owner in reversed(cls.__mro__):
        for name, annotation in inspect.get_annotations(owner).items():
            found[name] = (owner, annotation)
    return found


def variables_of(cls: type, arguments: tuple[Any, ...]) -> dict[type, Variables]:
    """Class -> what its type variables stand for, for a class with type arguments and for each of its bases.

    By class, because a base and its heir may use one variable for two things.
    """
    found: dict[type, Variables] = {cls: dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))}
    _bind_bases(cls, found)
    return found


def _bind_bases(cls: type, found: dict[type, Variables]) -> None:
    for base in vars(cls).get("__orig_bases__", cls.__bases__):
        origin = origin_of(base)
        if not isinstance(origin, type) or origin in found:
            continue
        bound = [substitute(argument, found[cls]) for argument in typing.get_args(base)]
        found[origin] = dict(zip(getattr(origin, "__parameters__", ()), bound, strict=False))
        _bind_bases(origin, found)


def substitute(hint: Any, variables: Variables) -> Any:
    """The hint with type variables replaced."""
    if not variables:
        return hint
    if isinstance(hint, TypeVar):
        return variables.get(hint, hint)
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if not arguments or origin is Literal:
        return hint
    if origin is Annotated:
        return Annotated[(substitute(arguments[0], variables), *hint.__metadata__)]
    replaced = tuple(substitute(argument, variables) for argument in arguments)
    if all(new is old for new, old in zip(replaced, arguments, strict=True)):
        return hint
    if origin is types.UnionType:
        return Union[replaced]  # noqa: UP007  # of as many as there are
    return hint.copy_with(replaced) if hasattr(hint, "copy_with") else origin[replaced]


def peel(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The hint without Annotated, NewType, aliases, Final, Required and InitVar; and the metadata, outermost
    first.
    """
    metadata: tuple[Any, ...] = ()
    while True:
        origin = typing.get_origin(hint)
        if origin is Annotated:
            metadata += hint.__metadata__
            hint = hint.__origin__
        elif _is_one(origin, *_WRAPPERS):
            (hint,) = typing.get_args(hint)
        elif isinstance(hint, NewType):
            hint = hint.__supertype__
        elif isinstance(hint, _named("TypeAliasType")):
            hint = hint.__value__
        elif isinstance(origin, _named("TypeAliasType")):
            variables = dict(zip(origin.__type_params__, typing.get_args(hint), strict=False))
            hint = substitute(origin.__value__, variables)
        elif isinstance(hint, InitVar):
            hint = hint.type
        elif isinstance(hint, TypeVar):
            hint = _of_variable(hint)
        elif hint is Final:
            return Any, metadata
        elif hint is None:
            return type(None), metadata
        else:
            return hint, metadata


def metadata_of(hint: Any) -> tuple[Any, ...]:
    """What the Annotated of a field carries, outermost first; that inside of an Optional included."""
    peeled, metadata = peel(hint)
    if is_union(peeled):
        members = [member for member in typing.get_args(peeled) if member is not type(None)]
        if len(members) == 1:
            return metadata + metadata_of(members[0])
    return metadata


def is_required(hint: Any, *, default: bool) -> bool:
    """Whether a TypedDict key must be there: by its Required or NotRequired, else the default."""
    while (origin := typing.get_origin(hint)) is Annotated or _is_one(origin, *_WRAPPERS):
        if _is_one(origin, "NotRequired"):
            return False
        if _is_one(origin, "Required"):
            return True
        hint = typing.get_args(hint)[0]
    return default


def _of_variable(variable: TypeVar) -> Any:
    if variable.__constraints__:
        return Union[variable.__constraints__]  # noqa: UP007  # of as many as there are
    return Any if variable.__bound__ is None else variable.__bound__


def is_union(hint: Any) -> bool:
    """Whether a peeled hint is a Union or Optional, in either spelling."""
    return typing.get_origin(hint) in (Union, types.UnionType)


def is_literal(hint: Any) -> bool:
    """Whether a peeled hint is a Literal."""
    origin: Any = typing.get_origin(hint)
    return origin is Literal


def identity(hint: Any) -> Any:
    """A hashable that differs whenever stored forms may differ.

    Hints themselves will not do as keys: `int | str == str | int`, and the order of a union is part of the
    form.
    """
    arguments = typing.get_args(hint)
    if not arguments:
        return _hashable(hint)
    if is_literal(hint):
        return (Literal, *((type(value), value) for value in arguments))
    if typing.get_origin(hint) is Annotated:
        return (Annotated, identity(hint.__origin__), *(_hashable(extra) for extra in hint.__metadata__))
    return (typing.get_origin(hint), *(identity(argument) for argument in arguments))


def _hashable(part: Any) -> Any:
    try:
        hash(part)
    except TypeError:
        return object()  # equal to nothing: found anew each time
    return part


def origin_of(hint: Any) -> Any:
    """The class of a parametrised hint; the hint itself if it has no parameters."""
    origin: Any = typing.get_origin(hint)
    return hint if origin is None else origin


def descends_from(hint: Any, package: str, name: str) -> bool:
    """Whether a hint is a class `name` of a package or of its submodules, or has it as a base; nothing is
    imported.
    """
    bases = getattr(origin_of(hint), "__mro__", ())
    return any(base.__name__ == name and base.__module__.partition(".")[0] == package for base in bases)


def is_exactly(cls: type | str) -> Callable[[Any], bool]:
    """A test whether a hint is a class; of one given as text (`module.Class`), without importing it."""
    if not isinstance(cls, str):
        return lambda hint: hint is cls
    module, _, name = cls.rpartition(".")
    return lambda hint: hint is vars(sys.modules.get(module, sys)).get(name, _NOTHING)


_NOTHING = object()


def imported(hint: Any) -> Any:
    """A hint; of a class given as text, the class."""
    if not isinstance(hint, str):
        return hint
    module, _, name = hint.rpartition(".")
    return getattr(importlib.import_module(module), name)


def name_of(hint: Any) -> str:
    """The short name of a type, for tags and messages."""
    if hint is type(None):
        return "None"
    named = origin_of(hint)
    given = vars(named).get("__rapyer_tag__") if isinstance(named, type) else None
    return given or getattr(named, "__name__", None) or str(named)


def former_names_of(cls: type) -> tuple[str, ...]:
    """The names that a class once had in tags: `__rapyer_former_tags__` in its own body."""
    names = vars(cls).get("__rapyer_former_tags__", ())
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{cls.__qualname__}.__rapyer_former_tags__ is a tuple of former class names")
    return names


def classes_in(hint: Any) -> Iterator[type]:
    """All classes that a hint names, its parameters included."""
    hint, _ = peel(hint)
    if isinstance(origin_of(hint), type):
        yield origin_of(hint)
    if not is_literal(hint):
        for argument in typing.get_args(hint):
            yield from classes_in(argument)
