"""Models by inheritance: what a base class such as AtomicRedisModel makes of its subclasses. No I/O.

A subclass becomes a dataclass and a model when it is defined. Mutable defaults are copied per instance.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import sys
from abc import ABCMeta
from collections.abc import Callable, Iterable
from typing import Any, cast

from rapyer_core.drafts import recorder_of
from rapyer_core.models import ModelMeta, define, pk_of
from rapyer_core.upgrades import Upgrade

Descriptor = Callable[[str, Any], Any]
"""Makes what stands on the class for a field: (name, default or MISSING) -> descriptor."""

_OWN = "__rapyer_base__"


class InheritedModelMeta(ModelMeta, ABCMeta):
    """The type of classes that are models by inheritance.

    Class keywords: name, ttl, version, oldest, upgrades, as of ``redis_model``. A base class that sets
    ``__rapyer_base__`` is no model itself; its public names cannot be field names.
    """

    def __new__(
        mcs,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        name: str | None = None,
        ttl: float | None = None,
        version: int = 1,
        oldest: int | None = None,
        upgrades: Iterable[Upgrade] = (),
        **options: Any,
    ) -> InheritedModelMeta:
        """Make the class, then the dataclass, then the model."""
        if _OWN in namespace:
            return super().__new__(mcs, class_name, bases, namespace, **options)
        cls = super().__new__(mcs, class_name, bases, namespace, **options)
        reserved = next(frozenset(vars(base)) for base in cls.__mro__ if _OWN in vars(base))
        _copy_mutable_defaults(cls)
        made: InheritedModelMeta = cast(Any, dataclasses.dataclass)(cls)
        _refuse_reserved(made, reserved)
        _install(made)
        define(cast(Any, made), name, ttl, version, oldest, upgrades)
        return made

    def __init__(
        cls,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        **options: Any,
    ) -> None:
        super().__init__(class_name, bases, namespace)


def _own_annotations(cls: type) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(cls)


def _copy_mutable_defaults(cls: type) -> None:
    for name in _own_annotations(cls):
        if name not in cls.__dict__:
            continue
        value = cls.__dict__[name]
        if not isinstance(value, dataclasses.Field) and type(value).__hash__ is None:
            type.__setattr__(cls, name, dataclasses.field(default_factory=_Copies(value)))


class _Copies:
    """Makes copies of a default value."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __call__(self) -> Any:
        return copy.deepcopy(self._value)

    def __repr__(self) -> str:
        return f"copies of {self._value!r}"


def _refuse_reserved(cls: type[Any], reserved: frozenset[str]) -> None:
    for field in dataclasses.fields(cls):
        if field.name in reserved and not field.name.startswith("_"):
            raise TypeError(
                f"the field {cls.__qualname__}.{field.name} has the name of a method of its base class; "
                "rename it, or use @redis_model, which reserves no names"
            )


def _install(cls: type[Any]) -> None:
    """Put the base's descriptors where dataclass left the defaults of this class's own fields."""
    make: Descriptor | None = getattr(cls, "__rapyer_field__", None)
    if make is None:
        return
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in _own_annotations(cls):
        if name in fields:
            type.__setattr__(cls, name, make(name, fields[name].default))


class OnEither:
    """A method that works on an object, and on the class with a primary key."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, obj: Any, owner: type) -> Any:
        return functools.partial(self._function, owner if obj is None else obj)


def assign_all(draft: Any, values: dict[str, Any]) -> None:
    """Assign fields of a draft by name."""
    for name, value in values.items():
        setattr(draft, name, value)


def in_draft(base: type, *, update: str, recorded: Callable[[Any, dict[str, Any]], Any]) -> None:
    """Say what drafts answer for the method names of a base class: pk, key and update; the others are refused.

    recorded: called with the draft and the keywords of update; what it returns is update's result.
    """

    def answer(draft: Any, name: str) -> Any:
        if name == update:
            return lambda **values: recorded(draft, values)
        recorder = recorder_of(draft)
        if recorder is not None and name == "pk":
            return pk_of(recorder.work)
        if recorder is not None and name == "key":
            return recorder.target.key.decode()
        raise TypeError(f"{name} is not for drafts: inside a block, change the fields; the block's end commits them")

    type.__setattr__(base, "__rapyer_in_drafts__", staticmethod(answer))
