"""What the engine knows of a class: its fields with hints and defaults, and how an instance is made.

One reader for each family (dataclass, attrs, NamedTuple, TypedDict, pydantic, msgspec). No stored forms here.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Any

from . import hints
from .errors import UnsupportedType
from .lean import dataclass

__all__ = ["ClassPlan", "FieldPlan", "Unresolved", "is_record_class", "read_class"]

Default = Callable[[], Any] | None


@dataclass(frozen=True, slots=True)
class Unresolved:
    """In place of a hint in which a name is not there yet. `name`: it, if it is known."""

    name: str | None


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """One field of a class. `default`: makes its default value, or None."""

    name: str
    hint: Any
    default: Default = None
    init: str | None = None
    """The name of its __init__ parameter; None if __init__ does not take it."""
    required: bool = True
    derived: bool = False
    """Without a default of its own, the class works it out when an instance is made."""


@dataclass(frozen=True, slots=True)
class ClassPlan:
    """The fields of a class in order, and its construction.

    `calls_init`: an instance is made by calling the class with the fields that have `init`, else by
    `__new__` and setting. `puts_back`: every stored field is set again after that, because code of the
    user ran (`__post_init__`). `subscript`: fields are items, not attributes (TypedDict). `immutable`: a
    tuple, with nothing to set.
    """

    cls: type
    fields: tuple[FieldPlan, ...]
    calls_init: bool = True
    puts_back: bool = False
    subscript: bool = False
    immutable: bool = False
    only_assigns: bool = False
    """`__init__` does nothing but assign its parameters to the fields, all of them, in the usual way."""
    construct: Callable[..., Any] | None = None
    """Makes an instance of all field values, in place of the above."""

    def get(self, value: Any, name: str) -> Any:
        """A field of an instance."""
        return value[name] if self.subscript else getattr(value, name)

    def make(self, values: Mapping[str, Any]) -> Any:
        """An instance with these field values; a field without one is left to the class."""
        if self.construct is not None:
            return self.construct(**values)
        if self.subscript:
            return dict(values)
        if not self.calls_init:
            return self.make_bare(values)
        arguments = {f.init: values[f.name] for f in self.fields if f.init is not None and f.name in values}
        made = self.cls(**arguments)
        if not self.immutable:
            late = {f.name for f in self.fields if self.puts_back or f.init is None}
            self._set(made, {name: value for name, value in values.items() if name in late})
        return made

    def make_bare(self, values: Mapping[str, Any]) -> Any:
        """An instance with these attributes and no others, whose `__init__` did not run."""
        made: Any = object.__new__(self.cls)
        self._set(made, values)
        return made

    def _set(self, made: Any, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            object.__setattr__(made, name, value)


def is_record_class(cls: Any) -> bool:
    """Whether a class has fields that the engine can read."""
    if not isinstance(cls, type):
        return False
    return any(is_one(cls) for is_one, _ in FAMILIES)


def read_class(cls: type, arguments: tuple[Any, ...], names: Mapping[str, Any]) -> ClassPlan:
    """The plan of a record class with type arguments. A hint that cannot be resolved yet is Unresolved."""
    resolved = _Hints(cls, arguments, names)
    read = next(read for is_one, read in FAMILIES if is_one(cls))
    return read(cls, resolved)


class _Hints:
    """The hints of the fields of a class, each resolved by itself."""

    def __init__(self, cls: type, arguments: tuple[Any, ...], names: Mapping[str, Any]) -> None:
        self.cls = cls
        self.names = names
        self.annotations = hints.annotations_of(cls)
        self.variables = hints.variables_of(cls, arguments)

    def of(self, field: str, fallback: Any = Any) -> Any:
        owner, annotation = self.annotations.get(field, (self.cls, fallback))
        try:
            hint = hints.resolve(self.cls, owner, annotation, self.names)
        except NameError as error:
            return Unresolved(error.name)
        except TypeError as error:
            raise UnsupportedType(
                "the annotation is not a type",
                model=self.cls.__name__,
                path=field,
                target=type(error).__name__,
            ) from None
        return hints.substitute(hint, self.variables.get(owner, {}))


def _dataclass(cls: Any, resolved: _Hints) -> ClassPlan:
    every = [f for f in cls.__dataclass_fields__.values() if f._field_type.name != "_FIELD_CLASSVAR"]
    init_only = [f for f in every if f._field_type.name == "_FIELD_INITVAR"]
    open_init = any(f.default is MISSING and f.default_factory is MISSING for f in init_only)
    calls_init = not open_init and _is_generated(cls.__init__, [f.name for f in every if f.init], "<string>")
    runs_code = hasattr(cls, "__post_init__")
    fields = tuple(
        FieldPlan(
            f.name,
            resolved.of(f.name, f.type),
            _dataclass_default(f),
            f.name if f.init else None,
            derived=calls_init and runs_code and not f.init,
        )
        for f in dataclasses.fields(cls)
    )
    only_assigns = (
        calls_init
        and not runs_code
        and not init_only
        and all(f.init is not None for f in fields)
        and cls.__new__ is object.__new__
        and cls.__setattr__ is object.__setattr__
        and type(cls).__call__ is type.__call__
    )
    return ClassPlan(cls, fields, calls_init, puts_back=runs_code, only_assigns=only_assigns)


def _dataclass_default(field: dataclasses.Field[Any]) -> Default:
    if field.default_factory is not MISSING:
        return field.default_factory
    if field.default is not MISSING:
        value = field.default
        return lambda: value
    return None


def _attrs(cls: Any, resolved: _Hints) -> ClassPlan:
    import attrs  # not before there is a class of it

    known = attrs.fields(cls)
    calls_init = _is_generated(cls.__init__, [f.alias for f in known if f.init], "<attrs generated")
    fields = tuple(
        FieldPlan(
            f.name,
            resolved.of(f.name, f.type or Any),
            _attrs_default(f),
            f.alias if f.init else None,
            derived=calls_init and (hasattr(f.default, "takes_self") or not f.init),
        )
        for f in known
    )
    converts = any(f.converter is not None for f in known)
    return ClassPlan(cls, fields, calls_init, puts_back=converts or hasattr(cls, "__attrs_post_init__"))


def _attrs_default(field: Any) -> Default:
    default = field.default
    if default is sys.modules["attr"].NOTHING:
        return None
    if hasattr(default, "takes_self"):
        # A factory that takes the instance needs the other fields: only __init__ can call it.
        return None if default.takes_self else default.factory
    return lambda: default


def _is_generated(init: Any, parameters: list[str], origin: str) -> bool:
    """Whether an __init__ was generated, by the file its code says it is from and by its parameters."""
    code = getattr(init, "__code__", None)
    if code is None:
        return not parameters
    taken = list(inspect.signature(init).parameters)[1:]
    return code.co_filename.startswith(origin) and sorted(taken) == sorted(parameters)


def _namedtuple(cls: Any, resolved: _Hints) -> ClassPlan:
    defaults = cls._field_defaults
    fields = tuple(
        FieldPlan(name, resolved.of(name), _constant(defaults[name]) if name in defaults else None, name)
        for name in cls._fields
    )
    return ClassPlan(cls, fields, immutable=True)


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def _typeddict(cls: Any, resolved: _Hints) -> ClassPlan:
    fields = []
    for name in cls.__annotations__:
        hint = resolved.of(name)
        # Python looks for NotRequired only where annotations are no strings; the resolved hint knows.
        required = hints.is_required(hint, default=name in cls.__required_keys__)
        fields.append(FieldPlan(name, hint, required=required))
    return ClassPlan(cls, tuple(fields), subscript=True)


def _is_attrs(cls: type) -> bool:
    return hasattr(cls, "__attrs_attrs__")


def _is_namedtuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_field_defaults")


def _is_typeddict(cls: type) -> bool:
    return typing.is_typeddict(cls) or type(cls).__name__ == "_TypedDictMeta"  # of typing_extensions


def _is_pydantic(cls: type) -> bool:
    return hints.descends_from(cls, "pydantic", "BaseModel")


def _pydantic(cls: Any, resolved: _Hints) -> ClassPlan:
    """Made by `model_construct`: what was stored was valid, and validators of today need not like it."""
    fields = tuple(
        FieldPlan(name, resolved.of(name, info.annotation), _pydantic_default(info), derived=not info.is_required())
        for name, info in cls.model_fields.items()
    )
    return ClassPlan(cls, fields, construct=cls.model_construct)


def _pydantic_default(info: Any) -> Default:
    if info.is_required():
        return None
    if info.default_factory is None:
        return functools.partial(copy.deepcopy, info.default)
    # A factory that takes the other values can only be called by the model.
    takes_values = info.default_factory_takes_validated_data
    factory: Callable[[], Any] = info.default_factory
    return None if takes_values else factory


def _is_struct(cls: type) -> bool:
    return hints.descends_from(cls, "msgspec", "Struct")


def _struct(cls: Any, resolved: _Hints) -> ClassPlan:
    structs = sys.modules["msgspec"].structs
    missing = sys.modules["msgspec"].NODEFAULT
    fields = []
    for info in structs.fields(cls):
        default = None if info.default_factory is missing else info.default_factory
        if info.default is not missing:
            default = _constant(info.default)
        fields.append(FieldPlan(info.name, resolved.of(info.name, info.type), default))

    def construct(**values: Any) -> Any:
        made = cls(**values)
        if hasattr(cls, "__post_init__"):
            for name, value in values.items():
                structs.force_setattr(made, name, value)
        return made

    return ClassPlan(cls, tuple(fields), construct=construct)


FAMILIES: tuple[tuple[Callable[[type], bool], Callable[[Any, _Hints], ClassPlan]], ...] = (
    (dataclasses.is_dataclass, _dataclass),
    (_is_attrs, _attrs),
    (_is_namedtuple, _namedtuple),
    (_is_typeddict, _typeddict),
    (_is_pydantic, _pydantic),
    (_is_struct, _struct),
)
"""Which classes, and who reads them. Those of other packages are known by name, and not imported."""
