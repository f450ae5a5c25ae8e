"""Operations on whole objects: save, insert, get, reload, exists, delete. Generators; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any, ClassVar, TypeVar, cast

from rapyer_codecs import Diff, Slot
from rapyer_codecs.framing import unframed
from rapyer_codecs.lean import dataclass, field
from rapyer_core import packing
from rapyer_core.arguments import check_function, several
from rapyer_core.collection import EXISTS, Collection, Context, Fields, OnError, Target
from rapyer_core.errors import (
    AlreadyExists,
    Conflict,
    ConstraintError,
    DecodeError,
    NotApplied,
    NotFound,
    RapyerError,
    WrongKeyType,
)
from rapyer_core.models import Model, Ref, model_of
from rapyer_core.operations.blind import Whole, Wholes, blind_delete, key_of_whole, write_many, write_whole
from rapyer_core.operations.commit import commit
from rapyer_core.operations.edits import after_change
from rapyer_core.operations.indexes import Settle
from rapyer_core.operations.reading import commits, insist, parts_of, read, read_many
from rapyer_core.operations.refusals import refused, unknown
from rapyer_core.operations.units import Change, Seen, Unit
from rapyer_core.places import comes_and_goes, places_of, with_holders
from rapyer_core.requests import (
    FIRST,
    READ,
    UNUSUAL,
    WRITE,
    Batch,
    Lost,
    Operation,
    Reply,
    ServerError,
    Straight,
    straight,
)
from rapyer_core.retries import Retry, check_options
from rapyer_core.states import (
    BLANK,
    Notes,
    Shown,
    State,
    attach,
    follow,
    notes_of,
    remember_whole,
    see_stored,
    state_of,
)

T = TypeVar("T")


# -- reading --


def get(ctx: Context, cls: type[T], pk: Any, on_error: OnError | None = None) -> Straight[T]:
    """Load one object. One round trip. NotFound, DecodeError. on_error: told of fields that cannot be read instead."""
    collection: Collection[T] = ctx.collection_of(cls)
    if on_error is not None:
        check_function("on_error", on_error)
    text, key = collection.address(pk)
    return straight(Straight, (READ, packing.hgetall(key), 1, (ctx, collection, text, key, on_error), _loaded, _get))


Wanted = tuple[Context, Collection[T], str, bytes, OnError | None]
"""An object that is to be loaded: the text of its primary key, its key, and as of ``get``."""


def _loaded(wanted: Wanted[T], replies: list[Reply]) -> Any:
    _, collection, pk, _, on_error = wanted
    reply = replies[0]
    if type(reply) is not list:
        return UNUSUAL
    found = collection.load_reply(reply, pk, on_error)
    if found is None:
        raise NotFound(model=collection.model.name, pk=pk)
    return found


def _get(wanted: Wanted[T]) -> Operation[T]:
    ctx, collection, pk, key, _ = wanted
    found: T = _loaded(wanted, [(yield from _read_whole(ctx, collection, pk, key))])
    return found


def get_many(
    ctx: Context, cls: type[T], pks: Iterable[Any], on_error: OnError | None = None
) -> Operation[list[T | None]]:
    """Load several objects, in the order asked, None where there is none."""
    collection: Collection[T] = ctx.collection_of(cls)
    if on_error is not None:
        check_function("on_error", on_error)
    addresses = [collection.address(pk) for pk in several(pks, "primary keys", "get")]
    objects: list[T | None] = []
    coming, load = iter(addresses), collection.load_reply

    def take(replies: list[Reply]) -> None:
        for reply, (text, key) in zip(replies, coming, strict=False):
            if type(reply) is not list:
                raise refused(Target(collection, text, key), reply)
            objects.append(load(reply, text, on_error))

    yield from read_many(ctx, parts_of([packing.hgetall(key) for _, key in addresses]), take)
    return objects


def reload(ctx: Context, obj: T) -> Operation[T]:
    """Read the object again: in place, or, for a frozen one, as the returned object. NotFound."""
    target = ctx.target(obj)
    fresh = yield from _load(ctx, target)
    if fresh is None:
        raise NotFound(**target.data)
    if isinstance(obj, Ref) or target.collection.model.frozen:
        return cast(T, fresh)
    for info in target.collection.mapper.fields:
        object.__setattr__(obj, info.name, getattr(fresh, info.name))
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


def targets_of(ctx: Context, objs: Any, pks: Any) -> list[Target]:
    """The targets of ``delete_many([obj, ...])`` or ``delete_many(Player, [pk, ...])``."""
    if pks is None:
        return [ctx.target(obj) for obj in several(objs, "objects", "delete")]
    return [target_of(ctx, objs, pk) for pk in several(pks, "primary keys", "delete")]


def _load(ctx: Context, target: Target) -> Operation[Any]:
    """The object as it is stored, None if it is not."""
    reply = yield from _read_whole(ctx, target.collection, target.pk, target.key)
    return target.collection.load_reply(reply, target.pk)


def _read_whole(ctx: Context, collection: Collection[Any], pk: str, key: bytes) -> Operation[list[bytes]]:
    """The reply to HGETALL."""
    commands = (packing.hgetall(key),)
    answer: list[Reply] | Lost
    try:
        replies: list[Reply] = yield Batch(commands)
    except Lost as lost:
        answer = lost
    else:
        if type(replies[0]) is list:
            return replies[0]
        answer = replies
    (reply,) = yield from insist(ctx, commands, answer, model=collection.model.name, pk=pk)
    if isinstance(reply, ServerError):
        raise refused(Target(collection, pk, key), reply)
    return cast("list[bytes]", reply)


# -- writing --


@dataclass(slots=True)
class SaveWhole(Unit):
    """Replaces what is stored under the key. state: what the instance remembered when its fields were taken."""

    any_version: ClassVar[bool] = True
    target: Target
    fields: Fields
    needs: Sequence[bytes] | None = ()
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.state = state_of(self.target.obj)

    def decide(self, seen: Seen) -> Change:
        """Whatever is there, replace it."""
        return Change(put=self.fields, replace=True)


@dataclass(slots=True)
class Insert(Unit):
    """Creates the object, if it is not there."""

    any_version: ClassVar[bool] = True
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
    """Writes what changed locally, if the server still holds what the object was loaded with.

    stored: what it was loaded with. fields: what it is now. overwrite: write it whatever the server holds.
    notes, noted: what operations write to the instance meanwhile, and how many notes there were when its fields were
    taken. ruled: what changes lie in and has rules of its own.
    """

    target: Target
    stored: Fields
    fields: Fields
    diff: Diff
    overwrite: bool = False
    needs: Sequence[bytes] | None = field(init=False)
    notes: Notes = field(init=False)
    noted: int = field(init=False)
    ruled: Sequence[Slot] = field(init=False)

    def __post_init__(self) -> None:
        self.notes = follow(self.target.obj)
        self.noted = self.notes.last
        # Of a whole list or entry all fields count, also those that are not known yet.
        all_of_it = any(tree or self._may_miss_its_holder(name) for name, tree in self.diff.units)
        self.ruled = self._holders_with_rules()
        self.needs = None if all_of_it or self.ruled else [name for name, _ in self.diff.units]

    def decide(self, seen: Seen) -> Change:
        """Conflict names the fields that another writer changed."""
        if not seen.exists:
            raise NotFound(**self.target.data)
        if self.overwrite:
            return self._keeping_rules(seen, self._overwriting(seen))
        changed = [name for name, tree in self.diff.units if self._was_changed(name, tree, seen)]
        if changed:
            raise Conflict(**self.target.data, fields=tuple(name.decode(errors="replace") for name in changed))
        return self._keeping_rules(seen, Change(put=self.diff.put, drop=self.diff.drop, renew=True))

    def _holders_with_rules(self) -> list[Slot]:
        """What the changed places lie in: whether it keeps its own rules is told by all that is stored of it."""
        if not self.target.collection.mapper.ruled:
            return []
        found: dict[bytes, Slot] = {}
        for name, _ in self.diff.units:
            for place in places_of(self.target.collection.mapper.root, name):
                if place.name != name and place.shape.own_rules():
                    found[place.name] = place
        return list(found.values())

    def _keeping_rules(self, seen: Seen, change: Change) -> Change:
        """The change; ConstraintError if it makes something that it changes a part of break its own rules."""
        if self.ruled:
            after = after_change(seen.fields, change.put, change.drop)
            with self.target.collection.named(self.target.pk):
                for place in self.ruled:
                    place.check_itself(place.load(after))
        return change

    def _was_changed(self, name: bytes, tree: bool, seen: Seen) -> bool:
        if _part(self.stored, name, tree) != _part(seen.fields, name, tree):
            return True
        return seen.whole and not tree and self._changed_holder(name, seen) is not None

    def _overwriting(self, seen: Seen) -> Change:
        """A list whole, and whole every entry or alternative that is another one by now: never half of two."""
        put, drop = dict(self.diff.put), set(self.diff.drop)
        for name, tree in self.diff.units:
            holder = self._changed_holder(name, seen)
            if tree or holder is not None:
                ours = _part(self.fields, holder or name, True)
                put.update(ours)
                drop.update(other for other in _part(seen.fields, holder or name, True) if other not in ours)
        return Change(put=put, drop=sorted(drop.difference(put)), renew=True)

    def _may_miss_its_holder(self, name: bytes) -> bool:
        """Whether the value of the field alone does not tell if the entry that it lies in is still there."""
        if not (self.overwrite or name not in self.stored):
            return False
        return any(map(comes_and_goes, places_of(self.target.collection.mapper.root, name)))

    def _changed_holder(self, name: bytes, seen: Seen) -> bytes | None:
        """The outermost entry or alternative around a field that is another one than it was at loading."""
        if not seen.whole:
            return None
        for place in places_of(self.target.collection.mapper.root, name):
            if not comes_and_goes(place) or place.name == name:
                continue
            before, now = self.stored, seen.fields
            if before.get(place.name) != now.get(place.name) or place.present(before) != place.present(now):
                return place.name
        return None


def _part(fields: Fields, name: bytes, tree: bool) -> Fields:
    """The fields of one unit of change: exactly this one, or it and all below it."""
    if not tree:
        return {name: fields[name]} if name in fields else {}
    below = name + b"."
    return {other: value for other, value in fields.items() if other == name or other.startswith(below)}


def save(
    ctx: Context, obj: Any, *, overwrite: bool = False, exactly_once: bool | None = None, retry: Retry | None = None
) -> Operation[None] | Straight[None]:
    """Write a never loaded object whole (one round trip), of a loaded one what changed (two)."""
    target = _own_target(ctx, obj)
    if retry is not None or exactly_once is not None:
        check_options(retry, exactly_once)
    state = state_of(obj)
    if state is not BLANK and state.loaded:
        return _save_loaded(ctx, target, overwrite, exactly_once, retry)
    framed = target.collection.frame(obj, target.pk, target.key)
    whole = target, framed
    if exactly_once or (exactly_once is None and ctx.exactly_once):
        return _save_whole_once(ctx, whole, state, retry)
    if target.collection.is_accompanied:
        return _save_whole((ctx, whole, state))
    packed = packing.delete(target.key) + framed
    return straight(Straight, (WRITE, packed, 2, (ctx, whole, state), _saved_whole, _save_whole))


Saving = tuple[Context, Whole, State]
"""An object that is to be written whole, and what its instance remembered when its fields were taken."""


def _saved_whole(saving: Saving, replies: list[Reply]) -> Any:
    if ServerError in map(type, replies):
        return UNUSUAL
    target, framed = saving[1]
    if not remember_whole(target.obj, target.pk, framed):
        _note_beside(target, framed, saving[2])
    return None


def _save_whole(saving: Saving) -> Operation[None]:
    ctx, whole, before = saving
    yield from write_whole(ctx, (whole,))
    _note_written((whole,), {id(whole[0].obj): before})


def _save_whole_once(ctx: Context, whole: Whole, before: State, retry: Retry | None) -> Operation[None]:
    yield from _replace_once(ctx, (whole,), retry)
    _note_written((whole,), {id(whole[0].obj): before})


def _save_loaded(
    ctx: Context, target: Target, overwrite: bool, exactly_once: bool | None, retry: Retry | None
) -> Operation[None]:
    """Write what changed since the object was loaded."""
    obj = target.obj
    state = state_of(obj)
    fields = target.collection.dump(obj, target.pk)
    unit = save_changes(target, dict(state.stored or {}), fields, overwrite)
    yield from commit(ctx, [unit], retry=retry, exactly_once=exactly_once)
    note_saved(unit)


def _replace_once(ctx: Context, wholes: Wholes, retry: Retry | None = None) -> Operation[None]:
    """Write objects that were never loaded whole, in one EXEC, exactly once."""
    units = [SaveWhole(target, unframed(framed)) for target, framed in wholes]
    yield from commit(ctx, units, retry=retry, exactly_once=True)


Earlier = Mapping[int, State]
"""What instances remembered when their fields were taken, by their ids: those for which that was anything."""


def _note_written(wholes: Wholes, earlier: Earlier) -> None:
    for target, framed in wholes:
        if not remember_whole(target.obj, target.pk, framed):
            _note_beside(target, framed, earlier.get(id(target.obj), BLANK))


def _note_beside(target: Target, framed: bytes, before: State) -> None:
    """Note what is known to be stored of an instance that was written whole while other tasks worked on it."""
    note_whole(target, unframed(framed), before)


def note_whole(target: Target, fields: Fields, before: State) -> None:
    """Note what is known to be stored of an instance that was written whole and had not been loaded before.

    What another task found on the server meanwhile may be older or newer. The instance shows it, and so it is what it
    remembers: never would its next save write what nobody changed. before: its State when the fields were taken.
    """
    state = state_of(target.obj)
    if isinstance(state, Shown):
        for change in state.since(before):
            fields = dict(change(fields))
    elif state.stored is not None and state is not before:
        fields = _as_left(target, state.stored, fields)
    see_stored(target.obj, target.pk, fields)


def _as_left(target: Target, stored: Mapping[bytes, bytes], written: Fields) -> Fields:
    """What is remembered by now, with the fields that a save wrote whole, if it is not known to be newer.

    What the instance shows as it remembers it was found on the server meanwhile, and stays. Where it shows something
    else, that was assigned since, and the save is what it follows.
    """
    try:
        shows = target.collection.dump(target.obj, target.pk)
    except RapyerError:
        return written
    kept = {name: value for name, value in stored.items() if shows.get(name) == value}
    return kept | {name: value for name, value in written.items() if shows.get(name) != stored.get(name)}


def _save_all_whole(ctx: Context, wholes: Wholes, once: bool, earlier: Earlier) -> Operation[None]:
    """Write any number of objects that were never loaded whole, in several EXECs."""

    def written(part: Wholes) -> None:
        _note_written(part, earlier)

    if once or len(wholes) <= FIRST or len({target.key for target, _ in wholes}) < len(wholes):
        for part in commits(ctx, wholes, key_of_whole):
            yield from _replace_once(ctx, part) if once else write_whole(ctx, part)
            written(part)
    else:
        yield from write_many(ctx, wholes, written)


def save_changes(target: Target, stored: Fields, fields: Fields, overwrite: bool) -> SaveChanges:
    """What of a loaded object is to be written. ConstraintError if that breaks a rule."""
    diff = target.collection.mapper.diff(stored, fields)
    target.collection.check_changed(target.obj, target.pk, [name for name, _ in diff.units])
    return SaveChanges(target, stored, fields, diff, overwrite)


def note_saved(unit: SaveChanges) -> None:
    """Note what is known to be stored of an instance after its changes were saved.

    What other tasks found on the server meanwhile stays as it is: of a place that they wrote, that is what they wrote
    after the save, or the instance shows what was there before; and so it is after a reload, or when it was deleted.
    """
    obj, stored = unit.target.obj, state_of(unit.target.obj).stored
    if stored is None or notes_of(obj) is not unit.notes:
        return
    put, drop = unit.diff.put, unit.diff.drop
    meanwhile = unit.notes.since(unit.noted)
    if meanwhile:
        put = {name: value for name, value in put.items() if meanwhile.isdisjoint(with_holders(name))}
        drop = [name for name in drop if meanwhile.isdisjoint(with_holders(name))]
    see_stored(obj, unit.target.pk, after_change(dict(stored), put, drop))


GROUP = 100
"""Loaded objects that are saved in one EXEC. Each has a key to be watched and fields to be compared."""


def save_many(
    ctx: Context, objects: Iterable[Any], *, overwrite: bool = False, exactly_once: bool | None = None
) -> Operation[None]:
    """Save several objects, each all or nothing, in few round trips.

    One that cannot be saved keeps none of the others from it; its error is raised at the end (of several, the first,
    refusals of the server before others). Where the server refuses, it is asked for no more of that kind: never loaded
    ones, and loaded ones.
    """
    check_options(None, exactly_once)
    once = ctx.exactly_once if exactly_once is None else exactly_once
    fresh: list[Whole] = []
    loaded: list[SaveChanges] = []
    earlier: dict[int, State] = {}
    for obj in several(objects, "objects", "save"):
        target = _own_target(ctx, obj)
        collection, pk, key, _ = target
        state = state_of(obj)
        if state is not BLANK:
            if state.loaded:
                fields = collection.dump(obj, pk)
                loaded.append(save_changes(target, dict(state.stored or {}), fields, overwrite))
                continue
            earlier[id(obj)] = state
        fresh.append((target, collection.frame(obj, pk, key)))
    refusals: list[RapyerError] = []
    failed: list[RapyerError] = []
    try:
        yield from _save_all_whole(ctx, fresh, once, earlier)
    except NotApplied as error:
        refusals.append(error)
    try:
        for group in _groups(ctx, loaded):
            failed += yield from _save_group(ctx, group, once)
    except RapyerError as error:
        refusals.append(error)
    errors = [*refusals, *failed]
    if errors:
        for other in errors[1:]:
            errors[0].add_note(f"not saved either: {other}")
        raise errors[0]


def _groups(ctx: Context, units: Sequence[SaveChanges]) -> Iterator[list[SaveChanges]]:
    """Units that can share a commit: two handles of one object must see each other's changes, so they do not."""
    for share in ctx.shares(units, attrgetter("target.key")):
        group: dict[bytes, SaveChanges] = {}
        for unit in share:
            if len(group) == GROUP or unit.target.key in group:
                yield list(group.values())
                group = {}
            group[unit.target.key] = unit
        if group:
            yield list(group.values())


def _save_group(ctx: Context, units: Sequence[SaveChanges], once: bool) -> Operation[list[RapyerError]]:
    """Save all in one commit if nobody interferes, else one by one; the errors of those that could not be saved."""
    together = Retry(attempts=1) if len(units) > 1 else None
    try:
        yield from commit(ctx, units, exactly_once=once, retry=together)
    except (Conflict, NotFound, WrongKeyType, ConstraintError, DecodeError) as error:
        if len(units) == 1:
            return [error]
        failed: list[RapyerError] = []
        for unit in units:
            failed += yield from _save_group(ctx, [unit], once)
        return failed
    for unit in units:
        note_saved(unit)
    return []


def insert(ctx: Context, obj: Any, *, exactly_once: bool | None = None, retry: Retry | None = None) -> Operation[None]:
    """Create the object; AlreadyExists if one is stored under its key."""
    target = _own_target(ctx, obj)
    check_options(retry, exactly_once)
    fields = target.collection.dump(obj, target.pk)
    target.collection.check_rules(obj, target.pk)
    before = state_of(obj)
    yield from commit(ctx, [Insert(target, fields)], exactly_once=exactly_once, retry=retry)
    note_whole(target, fields, before)


def get_or_create(
    ctx: Context, obj: Any, pk: Any = None, values: dict[str, Any] | None = None, *, exactly_once: bool | None = None
) -> Operation[tuple[Any, bool]]:
    """The stored object, or the given one (or one made of pk and values), created; and whether it was created."""
    check_options(None, exactly_once)
    if not isinstance(obj, type) and (pk is not None or values):
        raise TypeError("a primary key and values go with a model class, not with an object")
    made = obj
    if isinstance(obj, type):
        model, values = model_of(obj), values or {}
        missing: TypeError | None = None
        try:
            made = build(model, pk, values)
        except TypeError as error:
            missing = error
        if missing is not None:
            return (yield from _get_existing(ctx, model, pk, values, missing)), False
    target = _own_target(ctx, made)
    for _ in range(1000):
        found = yield from _load(ctx, target)
        if found is not None:
            return found, False
        try:
            yield from insert(ctx, made, exactly_once=exactly_once)
        except AlreadyExists:
            continue
        return made, True
    raise Conflict(**target.data, attempts=1000, fields=())


def _get_existing(ctx: Context, model: Model[T], pk: Any, values: dict[str, Any], missing: TypeError) -> Operation[T]:
    """The stored object, which needs no values; if there is none, what was missing to make a new one is the error."""
    import inspect  # not with the package: it takes long

    if pk is None:
        raise missing
    inspect.signature(model.cls).bind_partial(**values)  # no such field, whatever is stored
    found: T | None = yield from _load(ctx, ctx.collection(model).target(pk))
    if found is None:
        raise missing
    return found


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
    """Delete several objects; how many were there. One that is named twice counts once."""
    check_options(None, exactly_once)
    once = ctx.exactly_once if exactly_once is None else exactly_once
    gone = 0
    different = list({target.key: target for target in targets}.values())
    for part in commits(ctx, different, attrgetter("key")):
        if once:
            outcome = yield from commit(ctx, [Delete(target) for target in part], exactly_once=True)
            gone += sum(seen.exists for seen in outcome.seen)
        else:
            gone += yield from _delete_part(ctx, part)
    for target in targets:
        if target.obj is not None:
            attach(target.obj, State(target.pk))
    return gone


def _delete_part(ctx: Context, targets: Sequence[Target]) -> Operation[int]:
    try:
        return (yield from blind_delete(ctx, targets))
    except NotApplied as error:
        # A server without memory queues nothing at all, and deleting is how it gets some.
        if error.code != "OOM":
            raise
    return (yield from _delete_without_exec(ctx, targets))


def _delete_without_exec(ctx: Context, targets: Sequence[Target]) -> Operation[int]:
    """Each object by itself; then, with the memory that this gave back, what the indexes still say of them."""
    commands = [command for target in targets for command in ((b"HEXISTS", target.key, EXISTS), (b"DEL", target.key))]
    try:
        replies = yield Batch(commands)
    except Lost as lost:
        raise unknown(targets, lost) from None
    for target, reply in zip(targets, replies[1::2], strict=True):
        if isinstance(reply, ServerError):
            raise refused(target, reply)
    indexed = [target for target in targets if target.collection.indexes]
    if indexed:
        with suppress(NotApplied):
            yield from commit(ctx, [Settle(target) for target in indexed])
    return sum(there == 1 and gone == 1 for there, gone in zip(replies[::2], replies[1::2], strict=True))


@dataclass(slots=True)
class Delete(Unit):
    """Deletes the object, if it is there."""

    any_version: ClassVar[bool] = True
    target: Target
    needs: Sequence[bytes] | None = ()

    def decide(self, seen: Seen) -> Change:
        """Erase it; debris under the key too."""
        return Change(erase=True)


def _own_target(ctx: Context, obj: Any) -> Target:
    target = ctx.target(obj)
    if target.obj is None:
        raise TypeError(
            "a ref stands for a stored object and has no values to write: load the object, or change fields"
        )
    return target
