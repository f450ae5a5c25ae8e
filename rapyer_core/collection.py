"""Collections: one model's objects as one session sees them. Keys, stored forms, index keys. Pure values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from rapyer_codecs import (
    ConstraintError,
    LimitExceeded,
    Mapper,
    PathError,
    RapyerError,
    Registry,
    Slot,
    default_registry,
)
from rapyer_codecs.common import is_text
from rapyer_codecs.interrupts import is_interrupt
from rapyer_codecs.lean import dataclass, field
from rapyer_codecs.rules import Rule
from rapyer_core.arguments import kind_of_value
from rapyer_core.errors import CrossSlot, DecodeError, EncodeError
from rapyer_core.expressions import MISSING, Path, parts_of, value_at
from rapyer_core.keys import escape_pk, is_plain, own_key, unescape_pk
from rapyer_core.models import Model, Ref, model_of, not_an_object, own_model, pk_of, ref_parts
from rapyer_core.packing import end_of_front, front_of_object
from rapyer_core.places import is_below, stored_names
from rapyer_core.plans import IndexField, Plan
from rapyer_core.retries import DEFAULT_RETRY, Retry
from rapyer_core.slots import by_slot, is_tagged, slot_of
from rapyer_core.states import State, Unread, attach, remember_reply, state_of

T = TypeVar("T")
V = TypeVar("V")

EXISTS = b"~"
"""The field that is there exactly while the object exists; it holds the model's version."""

KEY_LIMIT = 1024
"""Bytes a key may have."""

ADDRESSES = 4096
"""Primary keys of one model that are remembered, at most."""

Fields = dict[bytes, bytes]
"""Stored fields of one object: name -> value, without the ``~`` field."""

OnError = Callable[[DecodeError], None]
"""Is told of a field that could not be read."""


@dataclass(eq=False)
class Context:
    """What every operation of a session knows. prefix: of every key. exactly_once: the default of its writes.

    registry: the session's own codecs; None: those that all share. clustered: whether the server is a cluster.
    """

    prefix: str = ""
    retry: Retry = DEFAULT_RETRY
    exactly_once: bool = False
    registry: Registry | None = None
    clustered: bool = False
    _collections: dict[type, Collection[Any]] = field(default_factory=dict, repr=False)
    _as_of: object = None

    def collection(self, model: Model[T]) -> Collection[T]:
        """The model's objects in this session. A codec registered since the last time counts from now on."""
        if self._as_of is not Registry.latest:
            self._drop_outdated()
        found = self._collections.get(model.cls)
        if found is None:
            found = Collection(model if self.registry is None else model.under(self.registry), self.prefix)
            if self.clustered:
                found.check_cluster()
            self._collections[model.cls] = found
        return found

    def collection_of(self, cls: Any) -> Collection[Any]:
        """The same for a model class, or a parametrized one. TypeError if it is none."""
        if self._as_of is not Registry.latest:
            self._drop_outdated()
        found = self._collections.get(cls) if isinstance(cls, type) else None
        return self.collection(model_of(cls)) if found is None else found

    def _drop_outdated(self) -> None:
        """Something was registered somewhere."""
        latest = Registry.latest
        self._collections = {cls: found for cls, found in self._collections.items() if found.plan.is_current}
        self._as_of = latest

    def own_registry(self) -> Registry:
        """The session's own codecs, on top of those that all share."""
        if self.registry is None:
            self.registry = default_registry.child()
            self._collections.clear()
        return self.registry

    def shares(self, values: Sequence[V], key: Callable[[V], bytes]) -> list[Sequence[V]]:
        """The values in parts, of which each can be one commit. key: of a value's object."""
        return [*by_slot(values, key)] if self.clustered else [values]

    def check_together(self, targets: Iterable[Target]) -> None:
        """Refuse objects that cannot share one commit. CrossSlot."""
        if not self.clustered:
            return
        first, *others = targets
        other = next((each for each in others if slot_of(each.key) != slot_of(first.key)), None)
        if other is not None:
            raise CrossSlot(**other.data, other=f"{first.collection.model.name}({first.pk})")

    def target(self, obj: Any) -> Target:
        """The stored object that an instance, or a ``ref``, stands for."""
        if self._as_of is not Registry.latest:
            self._drop_outdated()
        collection = self._collections.get(type(obj))
        if collection is None:
            model = own_model(type(obj))
            if model is None:
                return self._stand_in(obj)
            collection = self.collection(model)
        state, name = state_of(obj), collection.key_name
        pk = pk_of(obj) if name is None else getattr(obj, name)
        known = collection.addresses.get(pk) if type(pk) is str else None
        text, key = collection.address(pk) if known is None else known
        if state.pk != text and state.pk is not None and state.loaded:
            raise ConstraintError(
                model=collection.model.name,
                pk=state.pk,
                reason="the key field of a loaded object was changed; insert a new object and delete the old one",
            )
        return _new_target(Target, (collection, text, key, obj))

    def _stand_in(self, obj: Any) -> Target:
        """What a ``ref`` stands for. TypeError for whatever else is no instance of a model."""
        if isinstance(obj, Ref):
            model, pk = ref_parts(obj)
            return self.collection(model).target(pk)
        raise not_an_object(obj)


class Named:
    """A block whose errors learn which object they are about. A class: generator-made blocks cost ten times as much."""

    __slots__ = ("_model", "_pk")

    def __init__(self, model: str, pk: str | None) -> None:
        self._model = model
        self._pk = pk

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RapyerError):
            if getattr(error, "model", None) is None:
                error.model = self._model
            for each in (error, *getattr(error, "errors", ())):
                if each.pk is None:
                    each.pk = self._pk


class Collection(Generic[T]):
    """The objects of one model under one prefix, in the stored form that the class had when this was made.

    An operation or block holds one from its start to its end, so that a codec registered meanwhile changes all of it
    or nothing.
    """

    def __init__(self, model: Model[T], prefix: str) -> None:
        self.model = model
        self.plan: Plan[T] = model.plan
        self.mapper: Mapper[T] = self.plan.mapper
        self.prefix = prefix
        self.head = f"{prefix}{model.name}:".encode()
        self.version = b"%d" % model.version
        self._end_of_front = end_of_front(self.version)
        self._room = KEY_LIMIT - len(self.head)
        self.addresses: dict[str, tuple[str, bytes]] = {}
        self.sites: dict[Any, Any] = {}
        """What operations found out about places of the class."""
        self.settled = model.history.settled
        """Whether no object of an older version is stored, so that a write need not look."""

    @cached_property
    def key_slot(self) -> Slot | None:
        """The Key field, if the class has one."""
        return self.plan.key_slot

    @cached_property
    def key_name(self) -> str | None:
        """The attribute of the Key field, if the class has one."""
        return None if self.key_slot is None else str(self.key_slot.steps[0])

    @cached_property
    def _key_place(self) -> int | None:
        """Where the key field's text is in a flat reply with all fields in their places; 0: anywhere; None: nowhere."""
        return None if self.key_slot is None else self.mapper.place_in_pairs(self.key_slot.name) or 0

    @cached_property
    def indexes(self) -> tuple[IndexField, ...]:
        """The model's Index fields."""
        return self.plan.indexes

    @cached_property
    def expiry_key(self) -> bytes:
        """The sorted set of when (milliseconds since 1970) objects of an indexed model with a ttl expire."""
        return f"{self.prefix}~{self.model.name}:expiry".encode()

    @cached_property
    def doubtful(self) -> frozenset[str]:
        """The names of indexes that older objects may not be in: an upgrade may write the field, or it was renamed."""
        history = self.model.history
        return frozenset(
            index.name for index in self.indexes if index.slot.renamed or history.may_move(str(index.slot.steps[0]))
        )

    @property
    def complete_key(self) -> bytes:
        """The hash of doubtful indexes that have all objects: index name -> version of the class that saw to it."""
        return f"{self.prefix}~{self.model.name}:complete".encode()

    @cached_property
    def is_accompanied(self) -> bool:
        """Whether more is written with a whole object: its ttl, its indexes."""
        return self.model.ttl is not None or bool(self.indexes)

    @property
    def keeps_expiry(self) -> bool:
        """Whether index entries must be found again after their objects expired."""
        return self.model.ttl is not None and bool(self.indexes)

    def check_cluster(self) -> None:
        """Refuse to keep an index in a cluster where it does not share the slot of its objects. CrossSlot."""
        if self.indexes and not is_tagged(self.prefix):
            raise CrossSlot(
                model=self.model.name,
                reason="an index shares its commits with all objects of the model, and they are in different slots of "
                "this cluster: give the session a prefix with a hash tag, such as prefix='{game}:', or leave the "
                "Index out",
            )

    def index_key(self, index: IndexField) -> bytes:
        """The sorted set of one indexed field: member = primary key text, score = value."""
        return f"{self.prefix}~{self.model.name}:index:{index.name}".encode()

    def key(self, pk: str) -> bytes:
        """The Redis key of the object with this primary key text."""
        key = self.head + escape_pk(pk).encode()
        if len(key) > KEY_LIMIT:
            raise LimitExceeded(model=self.model.name, reason=f"the key has {len(key)} bytes, the limit is {KEY_LIMIT}")
        return key

    def own_key(self, key: bytes, name: str) -> bytes:
        """A key that the library keeps for one object, in that object's slot."""
        return own_key(self.prefix, key, name)

    def pk_from_key(self, key: bytes) -> str:
        """The primary key text in a Redis key. DecodeError for a key that no primary key has."""
        try:
            pk = unescape_pk(key[len(self.head) :].decode())
            if pk and self.key(pk) == key:
                return pk
        except (UnicodeDecodeError, LimitExceeded):
            pass
        raise DecodeError(
            model=self.model.name, path="pk", raw=key, target="str", reason="the object's key is not one of this model"
        )

    def pk_in(self, key: bytes) -> str:
        """The primary key text in a Redis key, for messages; of a key that is no object's, a ``*``."""
        try:
            return self.pk_from_key(key) if key.startswith(self.head) else "*"
        except DecodeError:
            return "*"

    def pk_text(self, pk: Any) -> str:
        """The text of a primary key given as the Key field's value, or as a generated id."""
        slot = self.key_slot
        text: str | None
        if slot is not None:
            try:
                text = slot.encode(pk).decode()
            except RapyerError:
                with self.named(None):
                    raise
            except UnicodeDecodeError:
                text = None  # refused below, so that no context quotes the key
        elif isinstance(pk, str):
            text = pk
        else:
            raise self._bad_pk(EncodeError, f"a primary key of type str is expected, not {type(pk).__name__}")
        if text is not None and not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                text = None
        if text is None:
            raise self._bad_pk(EncodeError, "a primary key must be encodable as UTF-8")
        if not text:
            raise self._bad_pk(ConstraintError, "a primary key cannot be empty")
        return text

    def _bad_pk(self, kind: type[RapyerError], reason: str) -> RapyerError:
        slot = self.key_slot
        return kind(reason, model=self.model.name, path=slot.text if slot else "pk", target="str")

    def target(self, pk: Any, obj: Any = None) -> Target:
        """The object with this primary key (the Key field's value)."""
        text, key = self.address(pk)
        return _new_target(Target, (self, text, key, obj))

    def address(self, pk: Any) -> tuple[str, bytes]:
        """The text of a primary key, and the Redis key. Those of keys met again are remembered."""
        if type(pk) is not str:
            text = self.pk_text(pk)
            return text, self.key(text)
        found = self.addresses.get(pk)
        if found is None:
            if self._key_is_text and len(pk) <= self._room and is_plain(pk):
                found = pk, self.head + pk.encode()
            else:
                text = self.pk_text(pk)
                found = text, self.key(text)
            if len(self.addresses) >= ADDRESSES:
                self.addresses.clear()
            self.addresses[pk] = found
        return found

    @cached_property
    def _key_is_text(self) -> bool:
        """Whether the text of a primary key of type str is that itself."""
        return self.key_slot is None or is_text(self.key_slot.shape)

    def named(self, pk: str | None) -> Named:
        """Errors of the engine that pass through learn the model and the primary key."""
        return Named(self.model.name, pk)

    def dump(self, obj: T, pk: str) -> Fields:
        """The stored form of an object, without ``~``."""
        if state_of(obj).unread:
            return self._dump_around(obj, pk)
        try:
            return self.mapper.dump(obj)
        except RapyerError:
            with self.named(pk):
                raise

    def frame(self, obj: T, pk: str, key: bytes) -> bytes:
        """The HSET of an object that was never loaded: all of its stored form, packed. EncodeError, ConstraintError."""
        front, mapper = front_of_object(key, self._end_of_front), self.mapper
        try:
            framed = mapper.frame_common(obj, front)
        except Exception as error:
            if is_interrupt(error):
                raise
            framed = None  # uncommon, or wrong
        if framed is None:
            try:
                framed = mapper.frame(obj, front)
            except RapyerError:
                with self.named(pk):
                    raise
        if mapper.ruled:
            self.check_rules(obj, pk)
        return framed

    def _dump_around(self, obj: T, pk: str) -> Fields:
        """The same for an object with fields that could not be read: as stored, unless somebody gave them a value."""
        state, fields = state_of(obj), Fields()
        unread, stored = state.unread or {}, state.stored or {}
        for slot in self.mapper.root.parts():
            value = value_at(obj, slot.steps)
            note = unread.get(str(slot.steps[0]))
            with self.named(pk):
                shown = {} if note is None else _shown(slot, value)
                if note is not None and _is_as_noted(note, shown, part := _part(stored, slot)):
                    # What was written beside it since may have been changed again.
                    kept = _beside(part, note.written)
                    shown = kept | {name: text for name, text in shown.items() if is_below(name, note.written)}
                elif value is not MISSING:
                    shown = shown or slot.dump(value)
                elif slot.child_of.required:
                    raise EncodeError("has no value: it could not be read, and nobody gave it one", path=slot.text)
            fields.update(shown)
        return fields

    def check_rules(self, obj: T, pk: str) -> None:
        """ConstraintError if an object that can be stored breaks a rule."""
        for name, rule in self._broken(obj):
            with self.named(pk):
                raise self.mapper.root.breach(name, rule)

    def check_changed(self, obj: T, pk: str, changed: Sequence[bytes]) -> None:
        """The same for the changed fields of an object, and for what these lie in."""
        root = self.mapper.root
        for name, rule in self._broken(obj):
            if any(is_below(name, [other]) or is_below(other, [name]) for other in changed):
                with self.named(pk):
                    raise root.breach(name, rule)

    def _broken(self, obj: T) -> Iterable[tuple[bytes, Rule]]:
        if not self.mapper.ruled:
            return ()
        root = self.mapper.root
        if not state_of(obj).unread:
            return root.shape.broken(obj, b"")
        found = ((slot, value_at(obj, slot.steps)) for slot in root.parts())
        return (each for slot, value in found if value is not MISSING for each in slot.shape.broken(value, slot.name))

    def load_reply(self, reply: list[bytes], pk: str, on_error: OnError | None = None) -> T | None:
        """The object of a reply to HGETALL, remembering what is stored; None where that is no object. As ``load``.

        UnknownVersion; DecodeError of an upgrade.
        """
        if reply and reply[0] == EXISTS and reply[1] == self.version:
            try:
                obj = self.mapper.load_pairs(reply)
                place = self._key_place
                if place is None or (place and reply[place] == pk.encode()):
                    remember_reply(obj, pk, reply)
                    return obj
            except Exception as error:
                # Not in the usual order, or wrong: found out, and worded, below.
                if is_interrupt(error):
                    raise
        fields = dict(zip(reply[::2], reply[1::2], strict=True))
        version = fields.pop(EXISTS, None)
        if version is None:
            return None
        if version != self.version:
            fields = self.upgraded(fields, version, pk)
        return self.load(fields, pk, on_error)

    def load(self, fields: Mapping[bytes, bytes], pk: str, on_error: OnError | None = None) -> T:
        """The object of stored fields, remembering them. DecodeError names what cannot be read.

        on_error: told of each field that cannot be read, instead of raising.
        """
        try:
            obj = self.mapper.load(fields)
        except RapyerError as error:
            if on_error is None or not isinstance(error, DecodeError):
                with self.named(pk):
                    raise
        else:
            return self._known(obj, fields, pk)
        return self._load_partly(fields, pk, on_error)

    def _known(self, obj: T, fields: Mapping[bytes, bytes], pk: str) -> T:
        slot = self.key_slot
        if slot is not None and fields.get(slot.name) != pk.encode() and self.pk_text(slot.get(obj)) != pk:
            raise self._bad_key(fields, pk, slot)
        attach(obj, State(pk, fields))
        return obj

    def _load_partly(self, fields: Mapping[bytes, bytes], pk: str, on_error: OnError) -> T:
        key = self.key_slot
        with self.named(pk):
            stand_ins = {} if key is None else {str(key.steps[0]): key.decode(pk.encode())}
            obj, names, errors = self.mapper.load_partly(fields, stand_ins)
        unread: dict[str, Unread] = {}
        for slot in map(self.mapper.slot, [(name,) for name in names]):
            value = value_at(obj, slot.steps)
            unread[str(slot.steps[0])] = Unread(_part(fields, slot), _shown(slot, value))
        self._known(obj, fields, pk)
        attach(obj, State(pk, fields, unread))
        for error in errors:
            error.pk = pk
            on_error(error)
        return obj

    def upgraded(self, fields: Fields, version: bytes, pk: str) -> Fields:
        """Stored fields of another version as those of today's. UnknownVersion; DecodeError of an upgrade."""
        with self.named(pk):
            return self.model.history.upgraded(fields, version, self.plan.registry)

    def check_key(self, fields: Mapping[bytes, bytes], pk: str) -> None:
        """DecodeError if stored fields name another object than their key does."""
        slot = self.key_slot
        if slot is None or fields.get(slot.name) == pk.encode():
            return
        with self.named(pk):
            named = self.pk_text(slot.load(fields))
        if named != pk:
            raise self._bad_key(fields, pk, slot)

    def _bad_key(self, fields: Mapping[bytes, bytes], pk: str, slot: Slot) -> DecodeError:
        return DecodeError(
            model=self.model.name,
            pk=pk,
            path=slot.text,
            raw=fields.get(slot.name),
            target=str(slot.shape.type),
            reason="the stored key field names another object",
        )

    def slot(self, path: Any) -> Slot:
        """The place a path names: a class attribute path of this model (or of a parent model), or text."""
        if isinstance(path, Path):
            model, steps = parts_of(path)
            if model is not self.model and not issubclass(self.model.cls, model.cls):
                raise PathError(
                    model=self.model.name, path=repr(path), reason=f"the path belongs to {model.cls.__qualname__}"
                )
        elif isinstance(path, str):
            with self.named(None):
                steps = self.mapper.parse(path)
        else:
            raise PathError(
                model=self.model.name,
                reason=f"a field path such as {self.model.cls.__name__}.field is expected, not {kind_of_value(path)}",
            )
        if not steps:
            raise PathError(model=self.model.name, reason="a path must name a field, not the whole object")
        with self.named(None):
            return self.mapper.slot(steps)


def _part(fields: Mapping[bytes, bytes], slot: Slot) -> Fields:
    """What is stored of a top field, under its own name or a former one."""
    names = stored_names(slot)
    return {name: text for name, text in fields.items() if is_below(name, names)}


def _shown(slot: Slot, value: Any) -> Fields:
    """The stored form of what an object shows of a field that could not be read. Nothing where it shows none, or a
    default that cannot be stored: None for an int.
    """
    if value is MISSING:
        return {}
    try:
        return slot.dump(value)
    except RapyerError:
        default = slot.child_of.default
        made = MISSING if default is None else default()
        if type(made) is not type(value) or made != value:
            raise
    return {}


def _is_as_noted(note: Unread, shown: Fields, stored: Fields) -> bool:
    """Whether nobody gave a field that could not be read a value. shown, stored: of it now."""
    written = note.written
    return _beside(shown, written) == _beside(note.shown, written) and _beside(stored, written) == _beside(
        note.raw, written
    )


def _beside(fields: Mapping[bytes, bytes], places: Sequence[bytes]) -> Fields:
    """Those that lie in none of the places."""
    return {name: text for name, text in fields.items() if not is_below(name, places)}


class Target(NamedTuple):
    """One stored object. pk: text. obj: the caller's instance, None for a ``ref``."""

    collection: Collection[Any]
    pk: str
    key: bytes
    obj: Any = None

    @property
    def data(self) -> dict[str, Any]:
        """What errors about this object say."""
        return {"model": self.collection.model.name, "pk": self.pk}


_new_target: Callable[[type[Target], tuple[Any, ...]], Target] = tuple.__new__
"""A named tuple's own way to be made costs twice as much."""
