"""What the sorted indexes answer by themselves (top, rank), and the care for them (purge, verify). Generators; no I/O.

A score is a double: ints beyond 2**53 can share one. Where that could matter, those with the same score are loaded
and compared as Python does.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection as Collected
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from rapyer_codecs.lean import dataclass
from rapyer_core.arguments import check_count
from rapyer_core.collection import EXISTS, Collection, Context, Target
from rapyer_core.errors import NotFound, PathError
from rapyer_core.expressions import Path, as_path, parts_of
from rapyer_core.models import Model, model_of
from rapyer_core.operations.candidates import (
    Cursor,
    is_complete,
    next_keys,
    objects_at,
    replies_of,
    seen_at,
    targets_of,
)
from rapyer_core.operations.commands import reindexed
from rapyer_core.operations.commit import commit
from rapyer_core.operations.query import Query, as_score, check_owner
from rapyer_core.operations.reading import CHUNK, chunks, read
from rapyer_core.operations.units import Change, Seen, Unit, whole
from rapyer_core.places import is_stored_formerly, way_to
from rapyer_core.plans import IndexField
from rapyer_core.requests import EXEC, MULTI, Batch, Command, Lost, Operation, Reply, ServerError, outcome

T = TypeVar("T")

EXACT = 2.0**53
"""Up to here every int has a score of its own."""

GROUP = 100
"""Objects whose entries are compared or settled together."""


def indexed(ctx: Context, model: Model[Any], path: Any) -> tuple[Collection[Any], IndexField]:
    """The collection and index of an Index field; PathError if the path is none."""
    if isinstance(path, str):
        path = Path(model, model.mapper.parse(path))
    found = as_path(path, "an Index field's path")
    check_owner(model, found)
    collection = ctx.collection(model)
    index = collection.plan.index(parts_of(found)[1])
    if index is None:
        raise PathError(
            f"{found!r} has no index: declare it as Index[int] or Index[float], or use find(order_by=...)",
            model=model.name,
        )
    return collection, index


def top(ctx: Context, cls: type[T], path: Any, n: int) -> Operation[list[T]]:
    """The n objects with the highest values of an Index field, highest first. O(log objects + n)."""
    check_count("n", n, "objects")
    collection, index = indexed(ctx, model_of(cls), path)
    if not (yield from is_complete(ctx, collection, index)):
        best = yield from _all_by_value(ctx, collection, index, n)
        return [obj for _, _, obj in best]
    yield from purge(ctx, collection)
    hits: dict[bytes, Any] = {}
    start = 0
    while len(hits) < n:
        want = min(n - len(hits), CHUNK)
        command: Command = (b"ZRANGE", collection.index_key(index), start, start + want - 1, b"REV", b"WITHSCORES")
        pairs = _pairs((yield from replies_of(ctx, collection, [command]))[0])
        yield from _load_into(ctx, collection, hits, pairs)
        if len(pairs) < want:
            break
        start += want
        if len(hits) >= n and abs(pairs[-1][1]) > EXACT:
            yield from _load_into(ctx, collection, hits, (yield from _tied(ctx, collection, index, pairs[-1][1])))
    # Members break ties of the index; a stable sort leaves them so.
    return sorted(hits.values(), key=index.slot.get, reverse=True)[:n]


def _pairs(reply: Sequence[bytes]) -> list[tuple[bytes, float]]:
    """Members and scores of a reply WITHSCORES."""
    return [(member, float(score)) for member, score in zip(reply[::2], reply[1::2], strict=True)]


def _tied(
    ctx: Context, collection: Collection[Any], index: IndexField, score: float
) -> Operation[list[tuple[bytes, float]]]:
    """All members with this score, in the order of the index, highest first."""
    end = repr(score).encode()
    command: Command = (b"ZRANGE", collection.index_key(index), end, end, b"BYSCORE", b"REV")
    members = (yield from replies_of(ctx, collection, [command]))[0]
    return [(member, score) for member in members]


def _load_into(
    ctx: Context, collection: Collection[Any], hits: dict[bytes, Any], pairs: Iterable[tuple[bytes, float]]
) -> Operation[None]:
    """Load the objects of the members that are not there yet."""
    keys = [target.key for target in targets_of(collection, [member for member, _ in pairs])]
    for pk, obj in (yield from objects_at(ctx, collection, [key for key in keys if key not in hits])):
        hits[collection.key(pk)] = obj


def rank(ctx: Context, obj: Any, path: Any) -> Operation[int]:
    """The object's place among all by an Index field, as stored: 0 is the highest. NotFound. O(log objects)."""
    target = ctx.target(obj)
    collection, index = indexed(ctx, model_of(target.collection.model.cls), path)
    if not (yield from is_complete(ctx, collection, index)):
        return (yield from _rank_of_all(ctx, target, index))
    yield from purge(ctx, collection)
    key, member = collection.index_key(index), target.pk.encode()
    commands: list[Command] = [
        (b"ZREVRANK", key, member),
        (b"ZSCORE", key, member),
        (b"HEXISTS", target.key, EXISTS),
    ]
    place, score, exists = yield from replies_of(ctx, collection, commands)
    if not exists:
        raise NotFound(**target.data)
    if place is None or score is None:
        raise NotFound("its value is not in the index (None, nan)", **target.data)
    if abs(float(score)) <= EXACT:
        return int(place)
    return (yield from _exact_rank(ctx, target, index, float(score)))


def _exact_rank(ctx: Context, target: Target, index: IndexField, score: float) -> Operation[int]:
    collection = target.collection
    above: Command = (b"ZCOUNT", collection.index_key(index), b"(" + repr(score).encode(), b"+inf")
    higher = int((yield from replies_of(ctx, collection, [above]))[0])
    hits: dict[bytes, Any] = {}
    yield from _load_into(ctx, collection, hits, (yield from _tied(ctx, collection, index, score)))
    order = sorted(hits, key=lambda key: index.slot.get(hits[key]), reverse=True)
    if target.key not in order:
        raise NotFound(**target.data)
    return higher + order.index(target.key)


# -- without the index, which some objects of an older form are not in --


def _all_by_value(
    ctx: Context, collection: Collection[Any], index: IndexField, n: int | None
) -> Operation[list[tuple[Any, bytes, Any]]]:
    """Value, member and object of those that belong into the index, highest first: the first n, or all of them."""
    everything: Query[Any] = Query(collection, None)
    cursor = Cursor()
    best: list[tuple[Any, bytes, Any]] = []
    while keys := (yield from next_keys(ctx, everything, cursor)):
        for pk, obj in (yield from objects_at(ctx, collection, keys)):
            value = index.slot.get(obj)
            if index.score_of(value) is not None:
                best.append((value, pk.encode(), obj if n is not None else None))
        if n is not None:
            best = heapq.nlargest(n, best, key=itemgetter(0, 1))
    return sorted(best, key=itemgetter(0, 1), reverse=True)


def _rank_of_all(ctx: Context, target: Target, index: IndexField) -> Operation[int]:
    order = [member for _, member, _ in (yield from _all_by_value(ctx, target.collection, index, None))]
    if target.pk.encode() not in order:
        raise NotFound("it is not stored, or its value is not in the index (None, nan)", **target.data)
    return order.index(target.pk.encode())


# -- care for the indexes --


@dataclass(slots=True)
class Settle(Unit):
    """One object's index entries become what the object says; of an object that is gone, they go."""

    target: Target
    needs: Sequence[bytes] | None = None

    def decide(self, seen: Seen) -> Change:
        """No field changes; only index entries do."""
        if not seen.exists:
            return Change(erase=True)
        with self.target.collection.named(self.target.pk):
            return Change(extra=reindexed(self.target, seen.fields))


def purge(ctx: Context, collection: Collection[Any]) -> Operation[None]:
    """Take objects whose ttl has run out of the indexes. Nothing to do for models without a ttl."""
    if not collection.keeps_expiry:
        return
    first: Command = (b"ZRANGE", collection.expiry_key, 0, GROUP - 1, b"WITHSCORES")
    while True:
        now, reply = yield from replies_of(ctx, collection, [_TIME, first])
        stamp = int(now[0]) * 1000 + int(now[1]) // 1000
        due = [member for member, when in _pairs(reply) if when <= stamp]
        if not due or not (yield from _settle_due(ctx, collection, due, stamp)):
            return


_TIME: Command = (b"TIME",)


def _settle_due(ctx: Context, collection: Collection[Any], due: Sequence[bytes], now: int) -> Operation[bool]:
    """Take those that are gone out of the indexes; note for the others when they really end. Whether it was done."""
    targets = targets_of(collection, due)
    ends = yield from replies_of(ctx, collection, [(b"PEXPIRETIME", target.key) for target in targets])
    gone = [target for target, end in zip(targets, ends, strict=True) if end == -2]
    if gone:
        yield from commit(ctx, [Settle(target) for target in gone])
    later: list[Command] = []
    for member, end in zip(due, ends, strict=True):
        if end != -2:
            # Somebody else changed its ttl, or the clocks differ. XX: it may have been deleted meanwhile.
            when = end if end > now else math.ceil(now + (collection.model.ttl or 0) * 1000)
            later.append((b"ZADD", collection.expiry_key, b"XX", when, member))
    if later:
        try:
            yield Batch(later)
        except Lost:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Report:
    """What ``verify`` found. objects: how many there are. phantoms: index entries without an object (index, pk).

    missing: objects that are not, or with another value, in an index (index, pk). repaired: whether that was mended.
    older: objects of an older version. They need not be in an index before ``upgrade_all`` has been through.
    """

    objects: int
    phantoms: tuple[tuple[str, str], ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    repaired: bool = False
    older: int = 0

    @property
    def ok(self) -> bool:
        """Whether index and objects agree."""
        return not self.phantoms and not self.missing


def verify(ctx: Context, cls: type[Any], repair: bool) -> Operation[Report]:
    """Compare every index entry with its object. repair: make the entries what the objects say.

    What looks wrong is looked at once more, object and entries in one moment: writers may be at work meanwhile.
    """
    collection = ctx.collection(model_of(cls))
    total, older, wanted = yield from _wanted(ctx, collection)
    incomplete: set[str] = set()
    suspects: dict[str, None] = {}
    for index in collection.indexes:
        command: Command = (b"ZRANGE", collection.index_key(index), 0, -1, b"WITHSCORES")
        pairs = _pairs((yield from replies_of(ctx, collection, [command]))[0])
        entries = {member.decode(errors="replace"): score for member, score in pairs}
        scores = wanted[index.name]
        if not (yield from is_complete(ctx, collection, index)):
            incomplete.add(index.name)
        suspects.update(dict.fromkeys(pk for pk in scores.keys() | entries.keys() if scores.get(pk) != entries.get(pk)))
    phantoms: list[tuple[str, str]] = []
    missing: list[tuple[str, str]] = []
    for group in chunks(sorted(suspects), GROUP):
        for pk, name, has, should in (yield from _compared(ctx, collection, group, incomplete)):
            if has is not None and should is None:
                phantoms.append((name, pk))
            elif has != should:
                missing.append((name, pk))
    wrong = sorted({pk for _, pk in phantoms + missing})
    if repair:
        for group in chunks(wrong, GROUP):
            yield from commit(ctx, [Settle(Target(collection, pk, collection.key(pk))) for pk in group])
    return Report(total, tuple(phantoms), tuple(missing), repair and bool(wrong), older)


def _wanted(ctx: Context, collection: Collection[Any]) -> Operation[tuple[int, int, dict[str, dict[str, float]]]]:
    """How many objects there are, how many older ones, and the scores they should have: index -> pk -> score."""
    wanted: dict[str, dict[str, float]] = {index.name: {} for index in collection.indexes}
    everything: Query[Any] = Query(collection, None)
    cursor, total, older = Cursor(), 0, 0
    while keys := (yield from next_keys(ctx, everything, cursor)):
        for pk, seen in (yield from seen_at(ctx, collection, keys)):
            total += 1
            older += seen.former is not None
            for index in collection.indexes:
                score = _score(collection, index, pk, seen)
                if score is not None:
                    wanted[index.name][pk] = score
    return total, older, wanted


def is_older(index: IndexField, seen: Seen) -> bool:
    """Whether an object is of an older version, or has the indexed field under a former name."""
    return seen.former is not None or any(is_stored_formerly(place, seen.fields) for place in way_to(index.slot))


def _score(collection: Collection[Any], index: IndexField, pk: str, seen: Seen) -> float | None:
    with collection.named(pk):
        return index.score(seen.fields) if seen.exists else None


def _compared(
    ctx: Context, collection: Collection[Any], pks: Sequence[str], incomplete: Collected[str]
) -> Operation[list[tuple[str, str, float | None, float | None]]]:
    """Of each object and index: primary key, index, the score there is, the score there should be; of one moment.

    Objects of an older form are left out where an index is incomplete: they are in it or not.
    """
    commands: list[Command] = []
    for pk in pks:
        commands.append((b"HGETALL", collection.key(pk)))
        commands += [(b"ZSCORE", collection.index_key(index), pk.encode()) for index in collection.indexes]
    both = yield from read(ctx, [MULTI, *commands, EXEC], model=collection.model.name)
    replies: list[Reply] | ServerError | None = outcome(both, 0, len(commands), alone=True)
    if not isinstance(replies, list):
        replies = yield from replies_of(ctx, collection, commands)
    found: list[tuple[str, str, float | None, float | None]] = []
    rest = iter(replies)
    for pk in pks:
        reply = next(rest)
        target = Target(collection, pk, collection.key(pk))
        seen = Seen(False, {}, True) if isinstance(reply, ServerError) else whole(target, reply)
        for index in collection.indexes:
            raw = next(rest)
            if index.name in incomplete and is_older(index, seen):
                continue
            has = None if raw is None or isinstance(raw, ServerError) else as_score(float(raw))
            found.append((pk, index.name, has, _score(collection, index, pk, seen)))
    return found
