"""Queries: the parts of a search, checked and planned. Pure values; nothing here reads or sends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf
from typing import Any, Generic, TypeVar

from rapyer_codecs.lean import dataclass
from rapyer_core.arguments import check_count, check_function
from rapyer_core.collection import Collection, Context, OnError
from rapyer_core.errors import PathError
from rapyer_core.expressions import (
    MISSING,
    All,
    Comparison,
    Condition,
    Order,
    Path,
    as_condition,
    as_order,
    parts_of,
    value_at,
)
from rapyer_core.models import Model, model_of
from rapyer_core.plans import IndexField
from rapyer_core.states import state_of

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
        score = as_score(value)
        low = score if op in ("==", ">", ">=") else -inf
        high = score if op in ("==", "<", "<=") else inf
        return Range(max(self.low, low), min(self.high, high))

    @property
    def bounds(self) -> tuple[bytes, bytes]:
        """Both ends as ZRANGE takes them."""
        return repr(self.low).encode(), repr(self.high).encode()


def as_score(value: int | float) -> float:
    """The score of a number in an index: the nearest double. The order is kept; neighbours may be equal."""
    try:
        return float(value)
    except OverflowError:
        return inf if value > 0 else -inf


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a search would be done. index: the Index field used, None for a scan of all objects of the model.

    indexed: conditions that narrow the candidates by it. filtered: conditions tested on loaded objects.
    doubtful: older objects may not be in the index, so that it is not used before ``upgrade_all`` has been through.
    """

    index: str | None
    indexed: tuple[str, ...]
    filtered: tuple[str, ...]
    sorted_by: tuple[str, ...]
    doubtful: bool = False

    def __str__(self) -> str:
        how = f"index {self.index}" if self.index else "scan of all objects"
        parts = [f"{how} ({', '.join(self.indexed)})" if self.indexed else how]
        if self.doubtful:
            parts[0] += ", a scan of all objects before upgrade_all"
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
    on_error: OnError | None = None

    def matches(self, obj: Any) -> bool:
        """Whether a loaded object is a hit. One is not if a field that it is judged or sorted by could not be read."""
        unread = state_of(obj).unread
        if unread and any(parts_of(path)[1][0] in unread for path in self._paths()):
            return False
        return self.condition is None or self.condition.matches(obj)

    def _paths(self) -> Iterator[Path]:
        yield from self.condition.paths() if self.condition is not None else ()
        yield from (order.path for order in self.orders)

    def sorted(self, objects: list[T]) -> list[T]:
        """The hits in the order asked for, cut to the limit. None, nan and absent values come last."""
        for order in reversed(self.orders):
            steps = parts_of(order.path)[1]
            keyed = [(value_at(obj, steps), obj) for obj in objects]
            known = [pair for pair in keyed if _has_order(pair[0])]
            rest = [pair for pair in keyed if not _has_order(pair[0])]
            known.sort(key=lambda pair: pair[0], reverse=order.descending)
            objects = [obj for _, obj in known + rest]
        return objects if self.limit is None else objects[: self.limit]

    @property
    def order_index(self) -> IndexField | None:
        """The index that has the hits in the order asked for, if that is one of a single Index field."""
        if len(self.orders) != 1:
            return None
        return self.collection.plan.index(parts_of(self.orders[0].path)[1])


def _has_order(value: Any) -> bool:
    return value is not None and value is not MISSING and value == value


def query(
    ctx: Context,
    cls: type[T],
    conditions: Sequence[Any],
    order_by: Any = None,
    limit: int | None = None,
    on_error: OnError | None = None,
) -> Query[T]:
    """Check the parts of a search and decide how it is done. TypeError, PathError, ValueError."""
    model: Model[T] = model_of(cls)
    if limit is not None:
        check_count("limit", limit, "objects")
    if on_error is not None:
        check_function("on_error", on_error)
    parts = [as_condition(condition) for condition in conditions]
    orders = _orders(order_by)
    for path in [path for part in parts for path in part.paths()] + [order.path for order in orders]:
        check_owner(model, path)
    condition = All(tuple(parts)) if parts else None
    made = Query(ctx.collection(model), condition, orders, limit, on_error=on_error)
    return _with_index(made, list(_conjuncts(parts)))


def _orders(order_by: Any) -> tuple[Order, ...]:
    if order_by is None:
        return ()
    return tuple(as_order(one) for one in (order_by if isinstance(order_by, list | tuple) else [order_by]))


def check_owner(model: Model[Any], path: Path) -> None:
    """PathError if the path is another model's, unless that is a parent."""
    owner: Model[Any] = parts_of(path)[0]
    if not issubclass(model.cls, owner.cls):
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
        found = Range()
        used: list[Condition] = []
        for part in conjuncts:
            if isinstance(part, Comparison) and part.op != "!=" and parts_of(part.path)[1] == index.slot.steps:
                narrowed = found.narrowed(part.op, part.value)
                if narrowed is not None:
                    found = narrowed
                    used.append(part)
        if len(used) > len(best.indexed):
            best = replace(made, index=index, range=found, indexed=tuple(used))
    return best


def explain(made: Query[Any]) -> Explanation:
    """How the search would be done."""
    parts = list(_conjuncts([made.condition] if made.condition is not None else []))
    return Explanation(
        made.index.name if made.index is not None else None,
        tuple(repr(part) for part in made.indexed),
        tuple(repr(part) for part in parts if part not in made.indexed),
        tuple(f"{order.path!r} {'desc' if order.descending else 'asc'}" for order in made.orders),
        made.index is not None and made.index.name in made.collection.doubtful,
    )
