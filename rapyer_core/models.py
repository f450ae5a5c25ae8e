"""Models: what ``@redis_model`` makes of a class. Names, key and index fields, and class attributes as field paths.

Nothing is opened, read or sent here. How instances are stored is the engine's work; how they are read and written
is the operations'.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import re
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar, cast, get_origin, overload

from rapyer_codecs import Mapper, Registry, Slot, default_registry
from rapyer_core.arguments import check_seconds, kind_of_value
from rapyer_core.expressions import MODEL, Condition, Path
from rapyer_core.keys import new_id
from rapyer_core.plans import Plan
from rapyer_core.retries import LONGEST
from rapyer_core.states import ATTRIBUTE, BLANK, State, attach, state_of
from rapyer_core.upgrades import History, Upgrade, history

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")


_dict_of: Callable[[type], Mapping[str, Any]] = type.__dict__["__dict__"].__get__
"""A class's own namespace, asked for without its metaclass."""


class ModelMeta(type):
    """The type of model classes: a field's name, asked of the class, is the field's path.

    Only on a class that is itself a model. What ``dataclass`` left on the class (defaults, slot descriptors) stays
    there, for instances and for subclasses.
    """

    def __getattribute__(cls, name: str) -> Any:
        model = _dict_of(cls).get(MODEL)
        if model is not None:
            path = model.paths.get(name)
            if path is not None:
                return path
        return type.__getattribute__(cls, name)


@functools.cache
def _metaclass(base: Any) -> Any:
    """The metaclass for a class whose own metaclass is base (ABCMeta, for one)."""
    if issubclass(base, ModelMeta):
        return base
    if base is type:
        return ModelMeta
    return types.new_class(f"Model{base.__name__}", (ModelMeta, base))


class Model(Generic[T]):
    """One class as a model: its name, ttl (seconds) and versions, and what its fields are."""

    def __init__(
        self, cls: type[T], name: str, ttl: float | None, history: History, registry: Registry = default_registry
    ) -> None:
        self.cls = cls
        self.name = name
        self.ttl = ttl
        self.history = history
        self.registry = registry
        self._plan: Plan[T] | None = None
        self.paths = {name: Path(self, (name,)) for name in _field_names(cls)}
        self.frozen = _is_frozen(cls)

    @property
    def version(self) -> int:
        """The version of the objects that are written."""
        return self.history.version

    def __repr__(self) -> str:
        return f"<Model {self.name} of {self.cls.__qualname__}>"

    @property
    def plan(self) -> Plan[T]:
        """The stored form of the class, with all codecs registered until now."""
        plan = self._plan
        if plan is None or not plan.is_current:
            plan = self._plan = Plan(self.cls, self.name, self.registry)
        return plan

    @property
    def mapper(self) -> Mapper[T]:
        """The engine's compiled plan of the class."""
        return self.plan.mapper

    @property
    def key_slot(self) -> Slot | None:
        """The Key field, if the class has one."""
        return self.plan.key_slot

    def under(self, registry: Registry) -> Model[T]:
        """The same model with the codecs of another registry."""
        made = copy.copy(self)
        made.registry, made._plan = registry, None
        return made


def _field_names(cls: type[Any]) -> list[str]:
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    if hasattr(cls, "__attrs_attrs__"):
        return [field.name for field in cls.__attrs_attrs__]
    raise TypeError(f"{cls.__qualname__} is neither a dataclass nor an attrs class: put @dataclass under @redis_model")


def _is_frozen(cls: type[Any]) -> bool:
    if dataclasses.is_dataclass(cls):
        return bool(cast(Any, cls).__dataclass_params__.frozen)
    # attrs keeps no note of it; its frozen classes share one setter.
    return getattr(cls.__setattr__, "__name__", "") == "_frozen_setattrs"


def define(
    cls: type[T],
    name: str | None = None,
    ttl: float | None = None,
    version: int = 1,
    oldest: int | None = None,
    upgrades: Iterable[Upgrade] = (),
) -> Model[T]:
    """Make the class, whose type is a ModelMeta, a model. Checks what can be checked without an instance."""
    name = cls.__name__ if name is None else name
    if not isinstance(name, str):
        raise TypeError(f"the model name of {cls.__qualname__} is a str, not {kind_of_value(name)}")
    if not _NAME.match(name):
        raise ValueError(
            f"the model name {name!r} of {cls.__qualname__} must be a letter or _, then letters, digits, _ . or -"
        )
    if ttl is not None:
        check_seconds(f"the ttl of {cls.__qualname__}", ttl, LONGEST)
    model = Model(cls, name, ttl, history(cls.__qualname__, version, oldest, upgrades))
    _note_local_names(cls)
    if default_registry.check(cls):
        model.plan.check()
    type.__setattr__(cls, MODEL, model)
    return model


def _note_local_names(cls: type) -> None:
    """Let annotations of a class defined in a function find the names of that function."""
    if "<locals>" not in cls.__qualname__:
        return
    outer = cls.__qualname__.rpartition(".<locals>.")[0]
    names: dict[str, Any] = {}
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code.co_qualname
        if outer == code or outer.startswith(f"{code}.<locals>."):
            names = {**frame.f_locals, **names}
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    for value in (cls, *names.values()):
        if isinstance(value, type) and "<locals>" in value.__qualname__:
            default_registry.names(value, names)


@overload
def redis_model(cls: type[T], /) -> type[T]: ...
@overload
def redis_model(
    *,
    name: str | None = None,
    ttl: float | None = None,
    version: int = 1,
    oldest: int | None = None,
    upgrades: Iterable[Upgrade] = (),
) -> Callable[[type[T]], type[T]]: ...
def redis_model(
    cls: type[T] | None = None,
    /,
    *,
    name: str | None = None,
    ttl: float | None = None,
    version: int = 1,
    oldest: int | None = None,
    upgrades: Iterable[Upgrade] = (),
) -> type[T] | Callable[[type[T]], type[T]]:
    """Make a dataclass (or attrs class) a Redis model. Its instances stay what they are.

    name: the first part of every key, by default the class's name. ttl: seconds that an object lives after it was
    written whole. version: of the stored form, written into every object. upgrades: how objects of each older version
    become such of the next, made by ``upgrade_from``. oldest: the oldest version that may still be stored, by default
    1; with oldest=version nothing older is left, and writes need not look for it.

    Raises TypeError for a class that is no dataclass, UnsupportedType for a field whose type has no codec, ValueError
    where an upgrade is missing or there are two from one version.
    """

    def decorate(plain: type[T]) -> type[T]:
        if not isinstance(plain, type):
            raise TypeError(f"@redis_model decorates a class, not {kind_of_value(plain)}")
        _field_names(plain)
        made = _rebuilt(plain)
        define(made, name, ttl, version, oldest, upgrades)
        return made

    return decorate if cls is None else decorate(cls)


def _rebuilt(cls: type[T]) -> type[T]:
    """The same class again, with ModelMeta as its type, and with a hidden slot where instances have no __dict__."""
    namespace = {name: value for name, value in cls.__dict__.items() if name not in ("__dict__", "__weakref__", MODEL)}
    if "__slots__" in namespace:
        slots = namespace["__slots__"]
        slots = (slots,) if isinstance(slots, str) else tuple(slots)
        for slot in slots:
            namespace.pop(slot, None)
        if not any("__dict__" in base.__dict__ or hasattr(base, ATTRIBUTE) for base in cls.__mro__[:-1]):
            slots += (ATTRIBUTE,)
        namespace["__slots__"] = slots
    namespace["__qualname__"] = cls.__qualname__
    metaclass = _metaclass(cast(Any, type(cls)))
    made = cast(type[T], metaclass(cls.__name__, cls.__bases__, namespace))
    if made.__dictoffset__ and not hasattr(made, ATTRIBUTE):
        # Found where an instance has none of its own: an AttributeError costs ten times as much.
        type.__setattr__(made, ATTRIBUTE, BLANK)
    _repoint_cells(cls, made)
    _keep_state_in_pickles(made)
    return made


def _repoint_cells(old: type, new: type) -> None:
    """Functions that mean their own class (``super()``, generated ``__setattr__``) must mean the new one.

    Source of the approach: attrs, which rebuilds slotted classes in the same way.
    """
    for value in list(new.__dict__.values()):
        if isinstance(value, classmethod | staticmethod):
            functions: list[Any] = [value.__func__]
        elif isinstance(value, property):
            functions = [value.fget, value.fset, value.fdel]
        else:
            functions = [value]
        for function in functions:
            function = getattr(function, "__wrapped__", function)
            for cell in getattr(function, "__closure__", None) or ():
                try:
                    points_at_old = cell.cell_contents is old
                except ValueError:
                    continue
                if points_at_old:
                    cell.cell_contents = new


def _keep_state_in_pickles(cls: type) -> None:
    """Where a class brings its own ``__getstate__``, carry our state beside what that returns."""
    own_get = getattr(cls, "__getstate__", None)
    if own_get is None or own_get is getattr(object, "__getstate__", None) or hasattr(own_get, "__rapyer_wraps__"):
        return
    own_set = getattr(cls, "__setstate__", None)

    def __getstate__(self: Any) -> Any:
        return own_get(self), state_of(self)

    def __setstate__(self: Any, pair: tuple[Any, State]) -> None:
        own, state = pair
        if own_set is not None:
            own_set(self, own)
        else:
            _default_setstate(self, own)
        attach(self, state)

    cast(Any, __getstate__).__rapyer_wraps__ = True
    type.__setattr__(cls, "__getstate__", __getstate__)
    type.__setattr__(cls, "__setstate__", __setstate__)


def _default_setstate(obj: object, state: Any) -> None:
    """What copy and pickle do with a state when a class has no ``__setstate__``."""
    parts: tuple[dict[str, Any] | None, ...] = state if isinstance(state, tuple) else (state,)
    for part in parts:
        for name, value in (part or {}).items():
            object.__setattr__(obj, name, value)


def own_model(cls: type) -> Model[Any] | None:
    """The model that a class itself is, if it is one."""
    found: Model[Any] | None = _dict_of(cls).get(MODEL)
    return found


def model_of(cls: Any) -> Model[Any]:
    """The model of a class (or of ``Box[int]``, which is Box's). TypeError if it is none."""
    if not isinstance(cls, type):
        cls = get_origin(cls) or cls
    model = _dict_of(cls).get(MODEL) if isinstance(cls, type) else None
    if model is None:
        raise not_a_model(cls)
    found: Model[Any] = model
    return found


def model_of_object(obj: object) -> Model[Any]:
    """The model of an instance. TypeError if it is none."""
    model = own_model(type(obj))
    if model is None:
        raise not_an_object(obj)
    return model


def not_an_object(obj: object) -> TypeError:
    """The error for whatever was given instead of an instance of a model."""
    if hasattr(type(obj), "__rapyer_draft__"):
        return TypeError("a draft belongs to its block, which commits what is done to it: give the object or a ref")
    if isinstance(obj, type):
        name = obj.__qualname__
        return TypeError(f"an object is expected, not the class {name}: give an instance, or ref({name}, pk)")
    if isinstance(obj, Path):
        return TypeError(f"an object comes first, then the field path {obj!r}")
    if type(obj).__module__ == "builtins" or isinstance(obj, Condition):
        return TypeError(f"an object of a model, or ref(Model, pk), is expected, not {kind_of_value(obj)}")
    return not_a_model(type(obj))


def not_a_model(cls: Any) -> TypeError:
    """The error for a class, or whatever was given instead of one, that is no model."""
    if not isinstance(cls, type):
        return TypeError(f"a model class is expected, not {kind_of_value(cls)}")
    parent = next((base for base in cls.__mro__[1:] if MODEL in _dict_of(base)), None)
    if parent is not None:
        return TypeError(
            f"{cls.__qualname__} is a subclass of the model {parent.__qualname__} but no model itself: "
            "decorate it with @redis_model (its objects then have keys of their own)"
        )
    return TypeError(f"{cls.__qualname__} is no model: decorate it with @redis_model")


def paths(cls: type[T]) -> T:
    """The field paths of a model, typed as one of its objects: ``P = paths(Player); P.username == "alice"``.

    The same as the class attributes, for fields to which type checkers refuse class access.
    """
    return cast(T, Path(model_of(cls), ()))


def pk_of(obj: object) -> Any:
    """The object's primary key: its Key field's value, else its id, generated now if it has none yet."""
    if isinstance(obj, Ref):
        return ref_parts(obj)[1]
    of_draft = getattr(type(obj), "__rapyer_pk_of__", None)
    if of_draft is not None:
        return of_draft(obj)
    model = model_of_object(obj)
    slot = model.key_slot
    if slot is not None:
        return slot.get(obj)
    state = state_of(obj)
    if state.pk is None:
        state = State(new_id(), state.stored, state.unread)
        attach(obj, state)
    return state.pk


class Ref:
    """Stands for a stored object that was not loaded. Has no attributes of its own; made by :func:`ref`."""

    __slots__ = ("__model", "__pk")

    def __init__(self, model: Model[Any], pk: Any) -> None:
        self.__model = model
        self.__pk = pk

    def __repr__(self) -> str:
        return f"ref({self.__model.cls.__name__}, …)"


_ref_model = cast(Any, Ref.__dict__["_Ref__model"]).__get__
_ref_pk = cast(Any, Ref.__dict__["_Ref__pk"]).__get__


def ref(cls: type[T], pk: Any) -> T:
    """A stand-in for the stored object with this primary key, for functions that need no loaded one.

    ``await increment(ref(Player, "alice"), Player.score, 5)`` costs no read.
    """
    return cast(T, Ref(model_of(cls), pk))


def ref_parts(stand_in: Ref) -> tuple[Model[Any], Any]:
    """The model and primary key of a stand-in."""
    return _ref_model(stand_in), _ref_pk(stand_in)


def extra_fields(obj: object) -> dict[str, bytes]:
    """The stored fields that a loaded object has and its class does not know: stored name -> stored text, as it is.

    They were written by another program or by an older or newer class. Every save leaves them as they are. Names are
    those of the stored form, ``old_score`` or ``stats.losses``; bytes of a name that are no UTF-8 become surrogates.
    Empty for an object that was never loaded or saved. Nothing is read from the server.
    """
    model = model_of_object(obj)
    stored = state_of(obj).stored
    if not stored:
        return {}
    return {name.decode("utf-8", "surrogateescape"): text for name, text in model.mapper.extras(stored).items()}


def evolve(obj: T, **changes: Any) -> T:
    """A copy of the object with these fields changed that keeps its identity: what it was loaded with, and its pk.

    ``dataclasses.replace`` makes a new, never loaded object instead. As there, a field that ``__init__`` does not take
    is left to ``__post_init__``; where a class has none, its value is kept.
    """
    if model_of_object(obj).key_slot is None:
        pk_of(obj)  # generated by now, so that both have it
    made: T
    if dataclasses.is_dataclass(obj):
        made = cast(T, dataclasses.replace(cast(Any, obj), **changes))
        kept = () if hasattr(obj, "__post_init__") else dataclasses.fields(obj)
    else:
        import attrs  # not before there is a class of it

        made = cast(T, attrs.evolve(cast(Any, obj), **changes))
        kept = () if hasattr(obj, "__attrs_post_init__") else attrs.fields(cast(Any, type(obj)))
    for field in kept:
        if not field.init and hasattr(obj, field.name) and not hasattr(field.default, "takes_self"):
            object.__setattr__(made, field.name, getattr(obj, field.name))
    attach(made, state_of(obj))
    return made
