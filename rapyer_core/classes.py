"""Models by inheritance: what a base class such as AtomicRedisModel makes of its subclasses. No I/O.

A subclass becomes a dataclass and a model when it is defined. Mutable defaults are copied per instance.
"""

from __future__ import annotations

import copy
import dataclasses
from abc import ABCMeta
from collections.abc import Callable
from typing import Any, ClassVar, get_origin

from rapyer_core.models import ModelMeta, define, model_of
from rapyer_core.states import ATTRIBUTE

Descriptor = Callable[[str, Any], Any]
"""Makes what stands on the class for a field: (name, default or MISSING) -> descriptor."""

_OWN = "__rapyer_base__"


class InheritedModelMeta(ModelMeta, ABCMeta):
    """The type of classes that are models by inheritance.

    Class keywords: name, ttl, version, as of ``redis_model``. A base class that sets ``__rapyer_base__`` is no model
    itself; its public names cannot be field names.
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
        **options: Any,
    ) -> InheritedModelMeta:
        """Make the class, then the dataclass, then the model."""
        if _OWN in namespace:
            return super().__new__(mcs, class_name, bases, namespace, **options)
        _copy_mutable_defaults(namespace)
        cls = super().__new__(mcs, class_name, bases, namespace, **options)
        reserved = next(vars(base)[_OWN] for base in cls.__mro__ if _OWN in vars(base))
        made = dataclasses.dataclass(cls)
        _refuse_reserved(made, reserved)
        _install(made)
        define(made, name, ttl, version)
        return made

    def __init__(
        cls,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        **options: Any,
    ) -> None:
        super().__init__(class_name, bases, namespace)


def _copy_mutable_defaults(namespace: dict[str, Any]) -> None:
    for name in namespace.get("__annotations__", {}):
        if name not in namespace:
            continue
        value = namespace[name]
        if isinstance(value, dataclasses.Field) or type(value).__hash__ is not None:
            continue
        namespace[name] = dataclasses.field(default_factory=_Copies(value))


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
        if field.name in reserved:
            raise TypeError(
                f"the field {cls.__qualname__}.{field.name} has the name of a method of its base class; "
                "rename it, or use @redis_model, which reserves no names"
            )


def _install(cls: type[Any]) -> None:
    """Put the base's descriptors where dataclass left the defaults of this class's own fields."""
    make: Descriptor | None = getattr(cls, "__rapyer_field__", None)
    if make is None:
        return
    for name, hint in cls.__dict__.get("__annotations__", {}).items():
        field = cls.__dataclass_fields__.get(name)
        if field is None or get_origin(hint) is ClassVar or field._field_type is not dataclasses._FIELD:  # type: ignore[attr-defined]  # how dataclasses itself tells fields from ClassVar and InitVar
            continue
        type.__setattr__(cls, name, make(name, field.default))


def raw_of(obj: Any) -> dict[str, Any]:
    """The instance's own values, by field name."""
    return {name: value for name, value in vars(obj).items() if name != ATTRIBUTE}


__all__ = ["InheritedModelMeta", "model_of", "raw_of"]
