"""Operations on whole objects: save, insert, get, reload, exists, delete. Generators; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from rapyer_codecs import Diff

from rapyer_core.collection import EXISTS, Collection, Context, Fields, Target
from rapyer_core.errors import AlreadyExists, Conflict, NotFound
from rapyer_core.models import Model, Ref, model_of
from rapyer_core.operations.commit import (
    Change,
    Seen,
    Unit,
    blind_delete,
    commit,
    refused,
    whole,
    write_whole,
)
from rapyer_core.operations.reading import chunks, read
from rapyer_core.requests import Command, Operation, Reply, ServerError
from rapyer_core.retries import Retry
from rapyer_core.states import State, attach, state_of

T = TypeVar("T")


# -- reading --


def get(ctx: Context, cls: type[T], pk: Any) -> Operation[T]:
    """Load one object. One round trip. NotFound, DecodeError."""
    target = ctx.collection(model_of(cls)).target(pk)
    found = yield from _read_whole(ctx, target)
    if not found.exists:
        raise NotFound(**target.data)
    return cast(T, target.collection.load(found.fields, target.pk))


def get_many(ctx: Context, cls: type[T], pks: Iterable[Any]) -> Operation[list[T | None]]:
    """Load several objects, in the order asked, None where there is none."""
    collection: Collection[T] = ctx.collection(model_of(cls))
    targets = [collection.target(pk) for pk in pks]
    return (yield from load_targets(ctx, targets))


def load_targets(ctx: Context, targets: Sequence[Target]) -> Operation[list[Any]]:
    """The objects of the targets, in order, None where there is none."""
    objects: list[Any] = []
    for part in chunks(targets):
        commands: list[Command] = [(b"HGETALL", target.key) for target in part]
        replies = yield from read(ctx, commands)
        for target, reply in zip(part, replies, strict=True):
            found = _whole(target, reply)
            objects.append(target.collection.load(found.fields, target.pk) if found.exists else None)
    return objects


def reload(ctx: Context, obj: T) -> Operation[T]:
    """Read the object again: in place, or, for a frozen one, as the returned object. NotFound."""
    target = ctx.target(obj)
    found = yield from _read_whole(ctx, target)
    if not found.exists:
        raise NotFound(**target.data)
    fresh = target.collection.load(found.fields, target.pk)
    if isinstance(obj, Ref) or target.collection.model.frozen:
        return cast(T, fresh)
    for field in target.collection.mapper.fields:
        object.__setattr__(obj, field.name, getattr(fresh, field.name))
    attach(obj, state_of(fresh))
    return obj


def exists(ctx: Context, target: Target) -> Operation[bool]:
    """Whether the object is stored."""
    replies = yield from read(ctx, [(b"HEXISTS", target.key, EXISTS)], **target.data)
    if isinstance(replies[0], ServerError):
        raise refused(target, replies[0])
    return bool(replies[0])


def target_of(ctx: Context, obj: Any, pk: Any) -> Target:
    """The target of ``f(obj)`` or ``f(Player, pk)``."""
    if isinstance(obj, type):
        return ctx.collection(model_of(obj)).target(pk)
    if pk is not None:
        raise TypeError("a primary key goes with a model class, not with an object")
    return ctx.target(obj)


def _read_whole(ctx: Context, target: Target) -> Operation[Seen]:
    replies = yield from read(ctx, [(b"HGETALL", target.key)], **target.data)
    return _whole(target, replies[0])


def _whole(target: Target, reply: Reply) -> Seen:
    if isinstance(reply, ServerError):
        raise refused(target, reply)
    return whole(reply)


# -- writing --


@dataclass(slots=True)
class SaveWhole(Unit):
    """Replaces what is stored under the key."""

    target: Target
    fields: Fields
    needs: Sequence[bytes] | None = ()

    def decide(self, seen: Seen) -> Change:
        """Whatever is there, replace it."""
        return Change(put=self.fields, replace=True)


@dataclass(slots=True)
class Insert(Unit):
    """Creates the object, if it is not there."""

    target: Target
    fields: Fields
    needs: Sequence[bytes] | None = ()

    def decide(self, seen: Seen) -> Change:
        """AlreadyExists when there is one."""
        if seen.exists:
            raise AlreadyExists(**self.target.data)
        return Change(put=self.fields, replace=True)


@dataclass(slots=True)
class SaveChanges(Unit):
    """Writes what changed locally, if the server still holds what the object was loaded with."""

    target: Target
    stored: Fields
    fields: Fields
    diff: Diff
    overwrite: bool = False

    @property
    def needs(self) -> Sequence[bytes] | None:
        """Only the changed leaves, unless a whole list or entry changed."""
        if any(tree for _, tree in self.diff.units):
            return None
        return [name for name, _ in self.diff.units]

    def decide(self, seen: Seen) -> Change:
        """Conflict names the fields that another writer changed."""
        if not seen.exists:
            raise NotFound(**self.target.data)
        if not self.overwrite:
            changed = [name for name, tree in self.diff.units if _part(self.stored, name, tree) != _part(seen.fields, name, tree)]
            if changed:
                raise Conflict(**self.target.data, fields=tuple(name.decode(errors="replace") for name in changed))
            return Change(put=self.diff.put, drop=self.diff.drop)
        drop = set(self.diff.drop)
        for name, tree in self.diff.units:
            drop.update(field for field in _part(seen.fields, name, tree) if field not in self.fields)
        return Change(put=self.diff.put, drop=sorted(drop))


def _part(fields: Fields, name: bytes, tree: bool) -> Fields:
    """The fields of one unit of change: exactly this one, or it and all below it."""
    if not tree:
        return {name: fields[name]} if name in fields else {}
    below = name + b"."
    return {field: value for field, value in fields.items() if field == name or field.startswith(below)}




def save(
    ctx: Context, obj: Any, *, overwrite: bool = False, exactly_once: bool | None = None, retry: Retry | None = None
) -> Operation[None]:
    """Write a never loaded object whole (one round trip), of a loaded one what changed (two)."""
    target = _own_target(ctx, obj)
    stored = state_of(obj).stored
    fields = target.collection.dump(obj, target.pk)
    if stored is None:
        if exactly_once or (exactly_once is None and ctx.exactly_once):
            yield from commit(ctx, [SaveWhole(target, fields)], retry=retry, exactly_once=True)
        else:
            yield from write_whole(ctx, [(target, fields)])
        attach(obj, State(target.pk, fields))
        return
    unit = save_changes(target, dict(stored), fields, overwrite)
    yield from commit(ctx, [unit], retry=retry, exactly_once=exactly_once)
    attach(obj, State(target.pk, after_save(unit)))


def save_changes(target: Target, stored: Fields, fields: Fields, overwrite: bool) -> SaveChanges:
    """What of a loaded object is to be written."""
    return SaveChanges(target, stored, fields, target.collection.mapper.diff(stored, fields), overwrite)


def after_save(unit: SaveChanges) -> Fields:
    """The stored fields an object is known to have after its changes were saved."""
    gone = set(unit.diff.drop)
    return {**{name: value for name, value in unit.stored.items() if name not in gone}, **unit.diff.put}


def save_many(
    ctx: Context, objects: Iterable[Any], *, overwrite: bool = False, exactly_once: bool | None = None
) -> Operation[None]:
    """Save several objects, each all or nothing, in few round trips."""
    once = ctx.exactly_once if exactly_once is None else exactly_once
    fresh: list[tuple[Any, Target, Fields]] = []
    loaded: list[tuple[Any, SaveChanges]] = []
    for obj in objects:
        target = _own_target(ctx, obj)
        fields = target.collection.dump(obj, target.pk)
        stored = state_of(obj).stored
        if stored is None:
            fresh.append((obj, target, fields))
        else:
            loaded.append((obj, save_changes(target, dict(stored), fields, overwrite)))
    for part in chunks(fresh):
        if once:
            units = [SaveWhole(target, fields) for _, target, fields in part]
            yield from commit(ctx, units, exactly_once=True)
        else:
            yield from write_whole(ctx, [(target, fields) for _, target, fields in part])
        for obj, target, fields in part:
            attach(obj, State(target.pk, fields))
    for obj, unit in loaded:
        yield from commit(ctx, [unit], exactly_once=once)
        attach(obj, State(unit.target.pk, after_save(unit)))


def insert(
    ctx: Context, obj: Any, *, exactly_once: bool | None = None, retry: Retry | None = None
) -> Operation[None]:
    """Create the object; AlreadyExists if one is stored under its key."""
    target = _own_target(ctx, obj)
    fields = target.collection.dump(obj, target.pk)
    yield from commit(ctx, [Insert(target, fields)], exactly_once=exactly_once, retry=retry)
    attach(obj, State(target.pk, fields))


def get_or_create(
    ctx: Context, obj: Any, pk: Any = None, values: dict[str, Any] | None = None, *, exactly_once: bool | None = None
) -> Operation[tuple[Any, bool]]:
    """The stored object, or the given one (or one made of pk and values), created; and whether it was created."""
    made = build(model_of(obj), pk, values or {}) if isinstance(obj, type) else obj
    target = _own_target(ctx, made)
    for _ in range(1000):
        found = yield from _read_whole(ctx, target)
        if found.exists:
            return target.collection.load(found.fields, target.pk), False
        try:
            yield from insert(ctx, made, exactly_once=exactly_once)
        except AlreadyExists:
            continue
        return made, True
    raise Conflict(**target.data, attempts=1000, fields=())


def build(model: Model[T], pk: Any, values: dict[str, Any]) -> T:
    """A new object of the model with this primary key."""
    slot = model.key_slot
    if slot is not None:
        name = slot.steps[0]
        assert isinstance(name, str)
        return model.cls(**{name: pk, **values})
    obj = model.cls(**values)
    if pk is not None:
        attach(obj, State(pk))
    return obj


def delete(ctx: Context, target: Target, *, exactly_once: bool | None = None) -> Operation[bool]:
    """Delete the object with all the library keeps for it; whether it was there. One round trip."""
    return (yield from delete_many(ctx, [target], exactly_once=exactly_once)) == 1


def delete_many(ctx: Context, targets: Sequence[Target], *, exactly_once: bool | None = None) -> Operation[int]:
    """Delete several objects; how many were there."""
    once = ctx.exactly_once if exactly_once is None else exactly_once
    gone = 0
    for part in chunks(targets):
        if once:
            outcome = yield from commit(ctx, [Delete(target) for target in part], exactly_once=True)
            gone += sum(seen.exists for seen in outcome.seen)
        else:
            gone += yield from blind_delete(ctx, part)
    for target in targets:
        if target.obj is not None:
            attach(target.obj, State(target.pk))
    return gone


@dataclass(slots=True)
class Delete(Unit):
    """Deletes the object, if it is there."""

    target: Target
    needs: Sequence[bytes] | None = ()

    def decide(self, seen: Seen) -> Change:
        """Erase it; debris under the key too."""
        return Change(erase=True)


def _own_target(ctx: Context, obj: Any) -> Target:
    if isinstance(obj, Ref):
        raise TypeError("a ref stands for a stored object and has no values to write: load the object, or change fields")
    return ctx.target(obj)


