"""Repository functions (blocking): what users call. Each runs one operation; all logic is in ``operations``.

Made of ``rapyer_core.repository`` by ``make sync``: change that, not this file.

Every function takes ``session=`` (by default the one of ``init_rapyer``). Every write takes ``exactly_once=``: after a
lost reply the library finds out what happened, instead of raising OutcomeUnknown; and ``retry=``: how long a write
that met other writers is tried again. Beyond what each says, all can raise ConnectionFailed, PoolTimeout,
WrongKeyType, NotApplied and SessionClosed; reads DecodeError; writes OutcomeUnknown, and EncodeError or
ConstraintError for bad values, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSequence, MutableSet
from decimal import Decimal
from fractions import Fraction
from typing import Any, LiteralString, TypeVar, overload

from rapyer_core.arguments import check_count, check_function
from rapyer_core.collection import OnError
from rapyer_core.operations import fields, objects, search
from rapyer_core.operations.fields import UNSET
from rapyer_core.operations.search import Explanation, Report, UpgradeProgress
from rapyer_core.retries import Retry
from rapyer_core.sync.sessions import Session, current

T = TypeVar("T")
V = TypeVar("V")
E = TypeVar("E")
K = TypeVar("K")
D = TypeVar("D")
N = TypeVar("N", int, float, complex, Decimal, Fraction)


# -- whole objects --


def save(
    obj: Any,
    *,
    overwrite: bool = False,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> None:
    """Store the object.

    Never loaded: whole, over whatever is stored under its key. Loaded or saved before: only what changed since; if
    another writer changed the same leaf, dict entry, set member or list meanwhile, Conflict names it and nothing is
    written (overwrite=True writes it all the same). NotFound if a loaded object is stored no more.
    """
    chosen = current(session)
    chosen.run(objects.save(chosen.context, obj, overwrite=overwrite, exactly_once=exactly_once, retry=retry))


def save_many(
    objs: Iterable[Any],
    *,
    overwrite: bool = False,
    exactly_once: bool | None = None,
    session: Session | None = None,
) -> None:
    """Store several objects as ``save`` does, in few round trips. Each is all or nothing; not all of them together.

    A value that cannot be stored: nothing is written. An object that cannot be saved (Conflict, NotFound, WrongKeyType)
    keeps none of the others from it; its error is raised at the end, with those of others as notes. A server that
    refuses (NotApplied), or is lost, ends it. What was stored by then stays, and is not written again by the next call.
    """
    chosen = current(session)
    chosen.run(objects.save_many(chosen.context, objs, overwrite=overwrite, exactly_once=exactly_once))


def insert(
    obj: Any, *, exactly_once: bool | None = None, retry: Retry | None = None, session: Session | None = None
) -> None:
    """Store a new object. AlreadyExists if there is one under its key."""
    chosen = current(session)
    chosen.run(objects.insert(chosen.context, obj, exactly_once=exactly_once, retry=retry))


def get(cls: type[T], pk: Any, *, on_error: OnError | None = None, session: Session | None = None) -> T:
    """Load the object with this primary key. NotFound.

    on_error: called with a DecodeError for each place that cannot be read, instead of raising one for all of them:
    ``bad = []``, ``on_error=bad.append``. A field that could not be read has its default then; a field without a
    default is missing on the object. Later saves leave such a field as it is stored, unless it was given a value.
    """
    chosen = current(session)
    return chosen.run(objects.get(chosen.context, cls, pk, on_error))


def get_many(
    cls: type[T], pks: Iterable[Any], *, on_error: OnError | None = None, session: Session | None = None
) -> list[T | None]:
    """Load several objects, in the order of pks, None where there is none. on_error: as of ``get``."""
    chosen = current(session)
    return chosen.run(objects.get_many(chosen.context, cls, pks, on_error))


@overload
def get_or_create(
    obj: type[T], pk: Any = ..., /, *, exactly_once: bool | None = ..., session: Session | None = ..., **values: Any
) -> tuple[T, bool]: ...
@overload
def get_or_create(obj: T, /, *, exactly_once: bool | None = ..., session: Session | None = ...) -> tuple[T, bool]: ...
def get_or_create(
    obj: Any, pk: Any = None, /, *, exactly_once: bool | None = None, session: Session | None = None, **values: Any
) -> tuple[Any, bool]:
    """The stored object and False, or a new one, stored now, and True. Of many callers at once, one creates.

    ``get_or_create(Player(username="alice"))``, or ``get_or_create(Player, "alice", coins=5)``. TypeError if one has to
    be created and a field without a default has no value.
    """
    chosen = current(session)
    return chosen.run(objects.get_or_create(chosen.context, obj, pk, values, exactly_once=exactly_once))


def reload(obj: T, *, session: Session | None = None) -> T:
    """Read the object again, in place; a frozen one is returned anew. NotFound."""
    chosen = current(session)
    return chosen.run(objects.reload(chosen.context, obj))


def exists(obj: Any, pk: Any = None, *, session: Session | None = None) -> bool:
    """Whether the object is stored: ``exists(player)`` or ``exists(Player, "alice")``."""
    chosen = current(session)
    return chosen.run(objects.exists(chosen.context, objects.target_of(chosen.context, obj, pk)))


def delete(obj: Any, pk: Any = None, *, exactly_once: bool | None = None, session: Session | None = None) -> bool:
    """Delete the object, ``delete(player)`` or ``delete(Player, "alice")``; whether it was there."""
    chosen = current(session)
    target = objects.target_of(chosen.context, obj, pk)
    return chosen.run(objects.delete(chosen.context, target, exactly_once=exactly_once))


def delete_many(
    objs: Iterable[Any] | type[Any],
    pks: Iterable[Any] | None = None,
    *,
    exactly_once: bool | None = None,
    session: Session | None = None,
) -> int:
    """Delete several objects (or refs), or ``delete_many(Player, ["alice", "bob"])``; how many were there."""
    chosen = current(session)
    targets = objects.targets_of(chosen.context, objs, pks)
    return chosen.run(objects.delete_many(chosen.context, targets, exactly_once=exactly_once))


# -- one field --


def assign(
    obj: Any,
    path: V,
    value: V,
    *,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> None:
    """Give a field a value, whatever it held."""
    chosen = current(session)
    chosen.run(fields.assign(chosen.context, obj, path, value, (retry, exactly_once)))


@overload
def increment(
    obj: Any,
    path: N,
    by: N,
    *,
    exactly_once: bool | None = ...,
    retry: Retry | None = ...,
    session: Session | None = ...,
) -> N: ...
@overload
def increment(
    obj: Any,
    path: LiteralString,
    by: Any,
    *,
    exactly_once: bool | None = ...,
    retry: Retry | None = ...,
    session: Session | None = ...,
) -> Any: ...
def increment(
    obj: Any,
    path: Any,
    by: Any,
    *,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> Any:
    """Add to a number, with Python's result (ints of any size, Decimal, nan); the new value."""
    chosen = current(session)
    return chosen.run(fields.increment(chosen.context, obj, path, by, (retry, exactly_once)))


def modify(
    obj: Any,
    path: V,
    fn: Callable[[V], V],
    *,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> V:
    """Replace a field's value by ``fn(value)``; the new value. Called again if another writer came first."""
    chosen = current(session)
    result: V = chosen.run(fields.modify(chosen.context, obj, path, fn, (retry, exactly_once)))
    return result


def append(
    obj: Any,
    path: MutableSequence[E],
    value: E,
    *,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> None:
    """Add an element at the end of a list."""
    chosen = current(session)
    chosen.run(fields.extend(chosen.context, obj, path, [value], (retry, exactly_once)))


def extend(
    obj: Any,
    path: MutableSequence[E],
    values: Iterable[E],
    *,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> None:
    """Add elements at the end of a list."""
    chosen = current(session)
    chosen.run(fields.extend(chosen.context, obj, path, values, (retry, exactly_once)))


def insert_at(
    obj: Any,
    path: MutableSequence[E],
    index: int,
    value: E,
    *,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> None:
    """Insert an element before an index of a list, with the rules of ``list.insert``."""
    chosen = current(session)
    chosen.run(fields.insert_at(chosen.context, obj, path, index, value, (retry, exactly_once)))


@overload
def pop(
    obj: Any,
    path: MutableSequence[E],
    key: int = ...,
    *,
    exactly_once: bool | None = ...,
    retry: Retry | None = ...,
    session: Session | None = ...,
) -> E: ...
@overload
def pop(
    obj: Any,
    path: MutableMapping[K, V],
    key: K,
    *,
    exactly_once: bool | None = ...,
    retry: Retry | None = ...,
    session: Session | None = ...,
) -> V: ...
@overload
def pop(
    obj: Any,
    path: MutableSequence[E],
    key: int = ...,
    *,
    default: D,
    exactly_once: bool | None = ...,
    retry: Retry | None = ...,
    session: Session | None = ...,
) -> E | D: ...
@overload
def pop(
    obj: Any,
    path: MutableSequence[E],
    key: int,
    default: D,
    *,
    exactly_once: bool | None = ...,
    retry: Retry | None = ...,
    session: Session | None = ...,
) -> E | D: ...
@overload
def pop(
    obj: Any,
    path: MutableMapping[K, V],
    key: K,
    default: D,
    *,
    exactly_once: bool | None = ...,
    retry: Retry | None = ...,
    session: Session | None = ...,
) -> V | D: ...
def pop(
    obj: Any,
    path: Any,
    key: Any = UNSET,
    default: Any = UNSET,
    *,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> Any:
    """Take out and return an element of a list (the last, or the one at index key) or the entry of a dict.

    MissingEntry (a KeyError and IndexError) if there is none, unless a default is given.
    """
    chosen = current(session)
    return chosen.run(fields.pop(chosen.context, obj, path, key, default, (retry, exactly_once)))


@overload
def remove(
    obj: Any,
    path: MutableSequence[E] | MutableSet[E],
    item: E,
    *,
    exactly_once: bool | None = ...,
    retry: Retry | None = ...,
    session: Session | None = ...,
) -> None: ...
@overload
def remove(
    obj: Any,
    path: MutableMapping[K, Any],
    item: K,
    *,
    exactly_once: bool | None = ...,
    retry: Retry | None = ...,
    session: Session | None = ...,
) -> None: ...
def remove(
    obj: Any,
    path: Any,
    item: Any,
    *,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> None:
    """Remove a list's first equal element (MissingValue), a set's member or a dict key's entry (MissingEntry)."""
    chosen = current(session)
    chosen.run(fields.remove(chosen.context, obj, path, item, (retry, exactly_once)))


def clear(
    obj: Any,
    path: MutableSequence[Any] | MutableMapping[Any, Any] | MutableSet[Any],
    *,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> None:
    """Empty a list, dict or set."""
    chosen = current(session)
    chosen.run(fields.clear(chosen.context, obj, path, (retry, exactly_once)))


def put(
    obj: Any,
    path: MutableMapping[K, V],
    key: K,
    value: V,
    *,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> None:
    """Set the entry of a dict's key. Puts of different keys never meet."""
    chosen = current(session)
    chosen.run(fields.put(chosen.context, obj, path, ((key, value),), (retry, exactly_once)))


def merge(
    obj: Any,
    path: MutableMapping[K, V],
    values: Mapping[K, V],
    *,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> None:
    """Set several entries of a dict in one commit; the others stay."""
    chosen = current(session)
    chosen.run(fields.merge(chosen.context, obj, path, values, (retry, exactly_once)))


def add(
    obj: Any,
    path: MutableSet[E],
    *members: E,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> None:
    """Add members to a set."""
    chosen = current(session)
    chosen.run(fields.add(chosen.context, obj, path, members, (retry, exactly_once)))


def discard(
    obj: Any,
    path: MutableSet[E],
    *members: E,
    exactly_once: bool | None = None,
    retry: Retry | None = None,
    session: Session | None = None,
) -> None:
    """Remove members from a set, those that are there."""
    chosen = current(session)
    chosen.run(fields.discard(chosen.context, obj, path, members, (retry, exactly_once)))


# -- search --


def find(
    cls: type[T],
    *conditions: bool,
    order_by: Any = None,
    limit: int | None = None,
    on_error: OnError | None = None,
    session: Session | None = None,
) -> list[T]:
    """All objects of the model that fulfil every condition, in the order asked for, at most limit.

    ``find(Player, Player.score > 100, order_by=desc(Player.score), limit=10)``. A record that cannot be read is
    a DecodeError, never left out. on_error: as of ``get``; an object is no hit then if a field that is asked for could
    not be read.
    """
    chosen = current(session)
    made = search.query(chosen.context, cls, conditions, order_by, limit, on_error)
    return chosen.run(search.find(chosen.context, made))


def find_one(
    cls: type[T],
    *conditions: bool,
    order_by: Any = None,
    on_error: OnError | None = None,
    session: Session | None = None,
) -> T | None:
    """The first hit of ``find``, None if there is none. on_error: as there."""
    hits = find(cls, *conditions, order_by=order_by, limit=1, on_error=on_error, session=session)
    return hits[0] if hits else None


def count(cls: type[Any], *conditions: bool, session: Session | None = None) -> int:
    """How many objects of the model fulfil every condition."""
    chosen = current(session)
    return chosen.run(search.count(chosen.context, search.query(chosen.context, cls, conditions)))


def iterate(
    cls: type[T], *conditions: bool, on_error: OnError | None = None, session: Session | None = None
) -> Iterator[T]:
    """The hits of ``find`` one after the other, in no order, a page of them in memory at a time. on_error: as there."""
    chosen = current(session)
    made = search.query(chosen.context, cls, conditions, on_error=on_error)
    cursor = search.Cursor()
    while (page := chosen.run(search.page(chosen.context, made, cursor))) is not None:
        yield from page


def explain(
    cls: type[Any],
    *conditions: bool,
    order_by: Any = None,
    limit: int | None = None,
    session: Session | None = None,
) -> Explanation:
    """How ``find`` would search: by which index, and what it filters and sorts itself. Nothing is sent."""
    chosen = current(session)
    return search.explain(search.query(chosen.context, cls, conditions, order_by, limit))


def top(cls: type[T], path: int | float | None, n: int = 10, *, session: Session | None = None) -> list[T]:
    """The n objects with the highest values of an Index field, highest first. O(log objects + n)."""
    chosen = current(session)
    return chosen.run(search.top(chosen.context, cls, path, n))


def rank(obj: Any, path: int | float | None, *, session: Session | None = None) -> int:
    """The object's place by an Index field, as stored; 0 is the highest. NotFound. O(log objects)."""
    chosen = current(session)
    return chosen.run(search.rank(chosen.context, obj, path))


def verify(cls: type[Any], *, repair: bool = False, session: Session | None = None) -> Report:
    """Compare the indexes of a model with its objects; with repair=True, mend them."""
    chosen = current(session)
    return chosen.run(search.verify(chosen.context, cls, repair))


def upgrade_all(
    cls: type[Any],
    *,
    cursor: str | None = None,
    limit: int | None = None,
    on_progress: Callable[[UpgradeProgress], None] | None = None,
    session: Session | None = None,
) -> UpgradeProgress:
    """Rewrite all objects of the model that are stored in an older form: an older version, a former name of a field.

    Each is rewritten by a checked commit, so that nothing is lost beside other writers. An object that cannot be read
    is left as it is, and told of in the result. Run it once no older code writes any more.

    cursor: of the progress of an earlier call that was broken off; the walk goes on there. limit: return after about
    so many objects, with the cursor to go on from. on_progress: called after each page of some hundred objects; what
    it raises ends the walk.
    """
    chosen = current(session)
    if limit is not None:
        check_count("limit", limit, "objects")
    if on_progress is not None:
        check_function("on_progress", on_progress)
    walk = search.Walk.of(chosen.context, cls, cursor)
    while True:
        progress = chosen.run(walk.page())
        if on_progress is not None:
            on_progress(progress)
        if progress.done or (limit is not None and progress.seen >= limit):
            return progress
