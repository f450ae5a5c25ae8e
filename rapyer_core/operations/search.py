"""Search: find, count, and the pages of iterate. Generators; no I/O. What the indexes answer alone: ``indexes``.

Conditions on an Index field are answered from its sorted set, which narrows the candidates; every candidate is then
loaded and tested, so the answer is Python's own. Without one, all objects of the model are met by SCAN (never KEYS).
This module is also where the layers above find all that has to do with search.
"""

from __future__ import annotations

from typing import Any, TypeVar

from rapyer_core.collection import EXISTS, Context
from rapyer_core.operations.candidates import Cursor, is_complete, load, next_keys, objects_at, replies_of, targets_of
from rapyer_core.operations.indexes import EXACT, Report, rank, top, verify
from rapyer_core.operations.query import Explanation, Query, Range, explain, query
from rapyer_core.operations.reading import CHUNK
from rapyer_core.operations.upgrading import UpgradeProgress, Walk
from rapyer_core.requests import Command, Operation

__all__ = [
    "Cursor",
    "Explanation",
    "Query",
    "Report",
    "UpgradeProgress",
    "Walk",
    "count",
    "explain",
    "find",
    "page",
    "query",
    "rank",
    "top",
    "verify",
]

T = TypeVar("T")


def page(ctx: Context, made: Query[T], cursor: Cursor) -> Operation[list[T] | None]:
    """The hits among the next candidates; None at the end."""
    keys = yield from next_keys(ctx, made, cursor)
    if not keys:
        return None
    return [obj for obj in (yield from load(ctx, made, keys)) if made.matches(obj)]


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
    index, collection = made.order_index, made.collection
    if made.limit is None or index is None or not (yield from is_complete(ctx, collection, index)):
        return None
    descending = made.orders[0].descending
    low, high = (made.range if made.index is index else Range()).bounds
    ends = (high, low, b"BYSCORE", b"REV") if descending else (low, high, b"BYSCORE")
    # By key: an object whose value changes meanwhile may be met twice.
    hits: dict[str, T] = {}
    start = 0
    while True:
        command: Command = (b"ZRANGE", collection.index_key(index), *ends, b"LIMIT", start, CHUNK, b"WITHSCORES")
        reply = (yield from replies_of(ctx, collection, [command]))[0]
        keys = [target.key for target in targets_of(collection, reply[::2])]
        for pk, obj in (yield from objects_at(ctx, collection, keys, made.on_error)):
            if made.matches(obj):
                hits[pk] = obj
        at_end = len(keys) < CHUNK
        # Ints beyond 2**53 can share a score, so that the best of them may still come.
        if len(hits) >= made.limit and (at_end or abs(float(reply[-1])) <= EXACT):
            return made.sorted(list(hits.values()))
        if at_end:
            # Objects whose value is None or nan are in no index; only a scan meets them.
            return None
        start += CHUNK


def count(ctx: Context, made: Query[Any]) -> Operation[int]:
    """How many hits there are."""
    total = 0
    cursor = Cursor()
    if made.condition is not None:
        while (more := (yield from page(ctx, made, cursor))) is not None:
            total += len(more)
        return total
    while keys := (yield from next_keys(ctx, made, cursor)):
        total += sum((yield from replies_of(ctx, made.collection, [(b"HEXISTS", key, EXISTS) for key in keys])))
    return total
