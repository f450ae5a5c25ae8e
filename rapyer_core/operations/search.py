"""Search: find, count, iterate, top, rank, and the care for indexes. Generators; no I/O.

Conditions on an Index field are answered from its sorted set, which narrows the candidates; every candidate is then
loaded and tested, so the answer is Python's own. Without one, all objects of the model are met by SCAN (never KEYS).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Generic, TypeVar

from rapyer_core.collection import EXISTS, Collection, Context, Target
from rapyer_core.errors import NotFound, PathError
from rapyer_core.expressions import (
    MISSING,
    All,
    Comparison,
    Condition,
    Order,
    Path,
    as_condition,
    as_order,
    as_path,
    parts_of,
    value_at,
)
from rapyer_core.keys import escape_glob
from rapyer_core.models import IndexField, Model, model_of
from rapyer_core.operations.commit import Change, Seen, Unit, commit, refused, reindexed, whole
from rapyer_core.operations.reading import CHUNK, chunks, read
from rapyer_core.requests import Command, Operation, Reply, ServerError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Range:
    """Scores from low to high, both included: never narrower than the condition, whose own test comes after."""

    low: float = -inf
    high: float = inf

    def narrowed(self, op: str, value: Any) -> Range | None:
        """The range with one more comparison; None if the comparison says nothing about scores."""
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            return None
        try:
            score = float(value)
        except OverflowError:
            score = inf if value > 0 else -inf
        low = score if op in ("==", ">", ">=") else -inf
        high = score if op in ("==", "<", "<=") else inf
        return Range(max(self.low, low), min(self.high, high))

    @property
    def bounds(self) -> tuple[bytes, bytes]:
        """Both ends as ZRANGE takes them."""
        return repr(self.low).encode(), repr(self.high).encode()


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a search would be done. index: the Index field used, None for a scan of all objects of the model.

    indexed: conditions that narrow the candidates by it. filtered: conditions tested on loaded objects.
    """

    index: str | None
    indexed: tuple[str, ...]
    filtered: tuple[str, ...]
    sorted_by: tuple[str, ...]

    def __str__(self) -> str:
        how = f"index {self.index}" if self.index else "scan of all objects"
        parts = [f"{how} ({', '.join(self.indexed)})" if self.indexed else how]
        if self.filtered:
            parts.append(f"filter {', '.join(self.filtered)}")
        if self.sorted_by:
            parts.append(f"sort by {', '.join(self.sorted_by)}")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """One search, checked and planned."""

    collection: Collection[T]
    condition: Condition | None
    orders: tuple[Order, ...] = ()
    limit: int | None = None
    index: IndexField | None = None
    range: Range = Range()
    indexed: tuple[Condition, ...] = ()

    def matches(self, obj: Any) -> bool:
        """Whether a loaded object is a hit."""
        return self.condition is None or self.condition.matches(obj)

    def sorted(self, objects: list[T]) -> list[T]:
        """The hits in the order asked for, cut to the limit."""
        for order in reversed(self.orders):
            steps = parts_of(order.path)[1]
            keyed = [(value_at(obj, steps), obj) for obj in objects]
            known = [pair for pair in keyed if pair[0] is not None and pair[0] is not MISSING]
            rest = [pair for pair in keyed if pair[0] is None or pair[0] is MISSING]
            known.sort(key=lambda pair: pair[0], reverse=order.descending)
            objects = [obj for _, obj in known + rest]
        return objects if self.limit is None else objects[: self.limit]


def query(
    ctx: Context, cls: type[T], conditions: Sequence[Any], order_by: Any = None, limit: int | None = None
) -> Query[T]:
    """Check the parts of a search and decide how it is done."""
    model: Model[T] = model_of(cls)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise ValueError("limit counts objects: 0 or more, or None")
    parts = [as_condition(condition) for condition in conditions]
    orders = _orders(order_by)
    for path in [path for part in parts for path in part.paths()] + [order.path for order in orders]:
        _check_owner(model, path)
    collection = ctx.collection(model)
    condition = All(tuple(parts)) if parts else None
    made = Query(collection, condition, orders, limit)
    return _with_index(made, list(_conjuncts(parts)))


def _orders(order_by: Any) -> tuple[Order, ...]:
    if order_by is None:
        return ()
    return tuple(as_order(one) for one in (order_by if isinstance(order_by, list | tuple) else [order_by]))


def _check_owner(model: Model[Any], path: Path) -> None:
    owner = parts_of(path)[0]
    if owner is not model and not issubclass(model.cls, owner.cls):
        raise PathError(f"the path {path!r} belongs to {owner.cls.__qualname__}", model=model.name)


def _conjuncts(parts: Iterable[Condition]) -> Iterator[Condition]:
    for part in parts:
        if isinstance(part, All):
            yield from _conjuncts(part.parts)
        else:
            yield part


def _with_index(made: Query[T], conjuncts: Sequence[Condition]) -> Query[T]:
    best = made
    for index in made.collection.indexes:
        found, used = Range(), []
        for part in conjuncts:
            if isinstance(part, Comparison) and part.op != "!=" and parts_of(part.path)[1] == index.slot.steps:
                narrowed = found.narrowed(part.op, part.value)
                if narrowed is not None:
                    found = narrowed
                    used.append(part)
        if len(used) > len(best.indexed):
            best = Query(
                made.collection, made.condition, made.orders, made.limit, index, found, tuple(used)
            )
    return best


def explain(made: Query[Any]) -> Explanation:
    """How the search would be done."""
    parts = list(_conjuncts([made.condition] if made.condition is not None else []))
    return Explanation(
        made.index.name if made.index else None,
        tuple(repr(part) for part in made.indexed),
        tuple(repr(part) for part in parts if part not in made.indexed),
        tuple(f"{order.path!r} {'desc' if order.descending else 'asc'}" for order in made.orders),
    )


# -- candidates --


@dataclass(slots=True)
class Cursor:
    """Where a search stands. scan: SCAN's cursor, None once it is at its end. met: keys already seen."""

    scan: int | None = 0
    pending: list[bytes] = field(default_factory=list)
    met: set[bytes] = field(default_factory=set)
    listed: bool = False


def _next_keys(ctx: Context, made: Query[Any], cursor: Cursor) -> Operation[list[bytes]]:
    """The next keys to look at; none at the end. SCAN may name a key twice; this does not."""
    collection = made.collection
    if made.index is not None:
        if not cursor.listed:
            low, high = made.range.bounds
            if made.range.low > made.range.high:
                return []
            command: Command = (b"ZRANGE", collection.index_key(made.index), low, high, b"BYSCORE")
            members = (yield from _replies(ctx, collection, [command]))[0]
            cursor.pending = [collection.key(member.decode()) for member in members]
            cursor.listed = True
        keys, cursor.pending = cursor.pending[:CHUNK], cursor.pending[CHUNK:]
        return keys
    while cursor.scan is not None:
        pattern = escape_glob(collection.head) + b"*"
        reply = (yield from _replies(ctx, collection, [(b"SCAN", cursor.scan, b"MATCH", pattern, b"COUNT", CHUNK)]))[0]
        position = int(reply[0])
        cursor.scan = position or None
        keys = [key for key in dict.fromkeys(reply[1]) if key not in cursor.met]
        cursor.met.update(keys)
        if keys:
            return keys
    return []


def _replies(ctx: Context, collection: Collection[Any], commands: Sequence[Command]) -> Operation[list[Reply]]:
    replies = yield from read(ctx, commands, model=collection.model.name)
    for reply in replies:
        if isinstance(reply, ServerError):
            raise refused(Target(collection, "*", commands[0][1] if isinstance(commands[0][1], bytes) else b""), reply)
    return replies


def page(ctx: Context, made: Query[T], cursor: Cursor) -> Operation[list[T] | None]:
    """The hits among the next candidates; None at the end."""
    keys = yield from _next_keys(ctx, made, cursor)
    if not keys:
        return None
    targets = [Target(made.collection, made.collection.pk_from_key(key), key) for key in keys]
    objects = yield from _load(ctx, targets)
    return [obj for obj in objects if obj is not None and made.matches(obj)]


def _load(ctx: Context, targets: Sequence[Target]) -> Operation[list[Any]]:
    objects: list[Any] = []
    for part in chunks(targets):
        commands: list[Command] = [(b"HGETALL", target.key) for target in part]
        for target, reply in zip(part, (yield from read(ctx, commands)), strict=True):
            if isinstance(reply, ServerError):
                raise refused(target, reply)
            found = whole(reply)
            objects.append(target.collection.load(found.fields, target.pk) if found.exists else None)
    return objects


# -- the searches --


def find(ctx: Context, made: Query[T]) -> Operation[list[T]]:
    """All hits, sorted, cut to the limit."""
    if made.limit == 0:
        return []
    fast = yield from _in_index_order(ctx, made)
    if fast is not None:
        return fast
    hits: list[T] = []
    cursor = Cursor()
    while (more := (yield from page(ctx, made, cursor))) is not None:
        hits += more
        if not made.orders and made.limit is not None and len(hits) >= made.limit:
            break
    return made.sorted(hits)


def _in_index_order(ctx: Context, made: Query[T]) -> Operation[list[T] | None]:
    """A limited search sorted by an Index field alone: walk the index and stop early. None: not such a search."""
    if made.limit is None or len(made.orders) != 1:
        return None
    order = made.orders[0]
    index = made.collection.model.index(parts_of(order.path)[1])
    if index is None:
        return None
    bounds = made.range if made.index is index else Range()
    hits: list[T] = []
    start = 0
    while True:
        low, high = bounds.bounds
        ends = (high, low, b"BYSCORE", b"REV") if order.descending else (low, high, b"BYSCORE")
        command: Command = (b"ZRANGE", made.collection.index_key(index), *ends, b"LIMIT", start, CHUNK)
        members = (yield from _replies(ctx, made.collection, [command]))[0]
        targets = _targets(made.collection, members)
        hits += [obj for obj in (yield from _load(ctx, targets)) if obj is not None and made.matches(obj)]
        if len(hits) >= made.limit:
            return made.sorted(hits)
        if len(members) < CHUNK:
            # Objects whose value is None or nan are in no index; only a scan meets them.
            return None
        start += CHUNK


def _targets(collection: Collection[Any], members: Iterable[bytes]) -> list[Target]:
    pks = [member.decode() for member in members]
    return [Target(collection, pk, collection.key(pk)) for pk in pks]


def count(ctx: Context, made: Query[Any]) -> Operation[int]:
    """How many hits there are."""
    total = 0
    cursor = Cursor()
    if made.condition is not None:
        while (more := (yield from page(ctx, made, cursor))) is not None:
            total += len(more)
        return total
    while keys := (yield from _next_keys(ctx, made, cursor)):
        commands: list[Command] = [(b"HEXISTS", key, EXISTS) for key in keys]
        total += sum((yield from _replies(ctx, made.collection, commands)))
    return total


def indexed(ctx: Context, cls_or_model: Model[Any], path: Any) -> tuple[Collection[Any], IndexField]:
    """The collection and index of an Index field; PathError if the path is none."""
    if isinstance(path, str):
        path = Path(cls_or_model, cls_or_model.mapper.parse(path))
    found = as_path(path, "an Index field's path")
    _check_owner(cls_or_model, found)
    index = cls_or_model.index(parts_of(found)[1])
    if index is None:
        raise PathError(
            f"{found!r} has no index: declare it as Index[int] or Index[float], or use find(order_by=...)",
            model=cls_or_model.name,
        )
    return ctx.collection(cls_or_model), index


def top(ctx: Context, cls: type[T], path: Any, n: int) -> Operation[list[T]]:
    """The n objects with the highest values of an Index field, highest first. O(log objects + n)."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ValueError("n counts objects: 0 or more")
    collection, index = indexed(ctx, model_of(cls), path)
    yield from purge(ctx, collection)
    hits: list[Any] = []
    start = 0
    while len(hits) < n:
        want = n - len(hits)
        command: Command = (b"ZRANGE", collection.index_key(index), start, start + want - 1, b"REV")
        members = (yield from _replies(ctx, collection, [command]))[0]
        objects = yield from _load(ctx, _targets(collection, members))
        hits += [obj for obj in objects if obj is not None]
        if len(members) < want:
            break
        start += want
    # Scores are doubles: beyond 2**53 the index alone does not tell neighbours apart.
    hits.sort(key=lambda obj: value_at(obj, index.slot.steps), reverse=True)
    return hits


def rank(ctx: Context, obj: Any, path: Any) -> Operation[int]:
    """The object's place among all by an Index field, as stored: 0 is the highest. NotFound. O(log objects)."""
    target = ctx.target(obj)
    collection, index = indexed(ctx, target.collection.model, path)
    yield from purge(ctx, collection)
    command: Command = (b"ZREVRANK", collection.index_key(index), target.pk.encode())
    found = (yield from _replies(ctx, collection, [command]))[0]
    if found is None:
        raise NotFound("no such object is stored, or its value is not in the index (None, nan)", **target.data)
    return int(found)


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
        return Change(extra=reindexed(self.target, seen.fields))


def purge(ctx: Context, collection: Collection[Any]) -> Operation[None]:
    """Take objects whose ttl has run out of the indexes. Nothing to do for models without a ttl."""
    if not collection.keeps_expiry:
        return
    while True:
        now = (yield from _replies(ctx, collection, [(b"TIME",)]))[0]
        stamp = int(now[0]) * 1000 + int(now[1]) // 1000
        command: Command = (b"ZRANGE", collection.expiry_key, b"-inf", stamp, b"BYSCORE", b"LIMIT", 0, CHUNK)
        members = (yield from _replies(ctx, collection, [command]))[0]
        if not members:
            return
        for target in _targets(collection, members):
            yield from commit(ctx, [Settle(target)])


@dataclass(frozen=True, slots=True)
class Report:
    """What ``verify`` found. objects: how many there are. phantoms: index entries without an object (index, pk).

    missing: objects that are not, or with another value, in an index (index, pk). repaired: whether that was mended.
    """

    objects: int
    phantoms: tuple[tuple[str, str], ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    repaired: bool = False

    @property
    def ok(self) -> bool:
        """Whether index and objects agree."""
        return not self.phantoms and not self.missing


def verify(ctx: Context, cls: type[Any], repair: bool) -> Operation[Report]:
    """Compare every index entry with its object. repair: make the entries what the objects say."""
    collection = ctx.collection(model_of(cls))
    expected: dict[str, dict[str, float]] = {index.name: {} for index in collection.indexes}
    made: Query[Any] = Query(collection, None)
    cursor, total = Cursor(), 0
    while keys := (yield from _next_keys(ctx, made, cursor)):
        commands: list[Command] = [(b"HGETALL", key) for key in keys]
        for key, reply in zip(keys, (yield from _replies(ctx, collection, commands)), strict=True):
            found = whole(reply)
            total += found.exists
            for index in collection.indexes:
                score = index.score(found.fields) if found.exists else None
                if score is not None:
                    expected[index.name][collection.pk_from_key(key)] = score
    phantoms: list[tuple[str, str]] = []
    missing: list[tuple[str, str]] = []
    for index in collection.indexes:
        wanted = expected[index.name]
        command: Command = (b"ZRANGE", collection.index_key(index), 0, -1, b"WITHSCORES")
        reply = (yield from _replies(ctx, collection, [command]))[0]
        stored = {pk.decode(): float(score) for pk, score in zip(reply[::2], reply[1::2], strict=True)}
        phantoms += [(index.name, pk) for pk in stored if pk not in wanted]
        missing += [(index.name, pk) for pk, score in wanted.items() if stored.get(pk) != score]
    if repair:
        for target in _targets(collection, sorted({pk.encode() for _, pk in phantoms + missing})):
            yield from commit(ctx, [Settle(target)])
    return Report(total, tuple(phantoms), tuple(missing), repair and bool(phantoms or missing))
