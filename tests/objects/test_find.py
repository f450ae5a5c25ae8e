"""find and its kin give what a brute-force search over the same objects gives."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import redis

import rapyer_core as rc
from rapyer_core import Index, Key, Packed, asc, contains, desc, in_, is_none, not_, redis_model, some
from rapyer_core.expressions import MISSING, parts_of, value_at
from tests.objects.conftest import Trips
from tests.objects.models import Player

pytestmark = pytest.mark.one_server


@dataclass
class Part:
    level: int = 0
    depth: Index[float] = 0.0


@redis_model
@dataclass
class Thing:
    name: Key[str]
    score: Index[int] = 0
    ratio: Index[float] = 0.0
    maybe: Index[int] | None = None
    plain: int = 0
    text: str = ""
    flag: bool = False
    day: date | None = None
    money: Decimal = Decimal(0)
    tags: set[str] = field(default_factory=set)
    items: list[int] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)
    part: Part = field(default_factory=Part)
    other: Part | None = None
    packed: Packed[list[int]] = field(default_factory=list)


def things(rng: random.Random, count: int) -> list[Thing]:
    def one(n: int) -> Thing:
        return Thing(
            f"t{n}",
            score=rng.choice([0, 1, -1, 5, 10, 2**53, 2**53 + 1, 10**20, rng.randint(-20, 20)]),
            ratio=rng.choice([0.0, -0.0, 0.1, 1e300, math.inf, -math.inf, math.nan, rng.random()]),
            maybe=rng.choice([None, 0, 1, rng.randint(-5, 5)]),
            plain=rng.randint(0, 5),
            text=rng.choice(["", "a", "b", "ab", "null", "é"]),
            flag=rng.random() < 0.5,
            day=rng.choice([None, date(2024, 1, rng.randint(1, 28))]),
            money=Decimal(rng.randint(0, 300)) / 100,
            tags=set(rng.sample(["x", "y", "z"], rng.randint(0, 3))),
            items=[rng.randint(0, 3) for _ in range(rng.randint(0, 3))],
            table={key: rng.randint(0, 3) for key in rng.sample(["k", "l", "a.b"], rng.randint(0, 3))},
            part=Part(rng.randint(0, 3), rng.random()),
            other=rng.choice([None, Part(rng.randint(0, 3))]),
            packed=[rng.randint(0, 2)],
        )

    return [one(n) for n in range(count)]


def conditions(rng: random.Random) -> Any:
    """A random condition, and the same as a test of an object."""
    choices: list[tuple[Any, list[Any]]] = [
        (Thing.score, [0, 1, 5, 2**53, 2**53 + 1, 10**20, 0.5, True, Decimal(5), math.inf, math.nan, -(10**400)]),
        (Thing.ratio, [0.0, 0.1, 0.5, math.inf, -math.inf, math.nan, 1, 10**400]),
        (Thing.maybe, [None, 0, 1, 3, 2.5]),
        (Thing.plain, [0, 2, 5, "2"]),
        (Thing.text, ["", "a", "ab", "zz", 5]),
        (Thing.flag, [True, False, 1]),
        (some(Thing.day), [date(2024, 1, 10), None, 3]),
        (Thing.money, [Decimal("1.5"), 2, 0.5]),
        (Thing.part.level, [0, 1, 3]),
        (Thing.part.depth, [0.25, 0.75]),
        (some(Thing.other).level, [0, 1, 2]),
        (Thing.table["k"], [0, 1, 2]),
        (Thing.items[0], [0, 1, 2]),
        (Thing.items, [[], [1]]),
        (Thing.packed, [[0], [1]]),
    ]
    path, values = rng.choice(choices)
    untyped: Any = path
    steps = parts_of(untyped)[1]
    value = rng.choice(values)
    kind = rng.choice(["==", "!=", "<", "<=", ">", ">=", "in", "none"])
    if kind == "in":
        # `in` takes the very same nan for a member, but a loaded nan is another one.
        values = [member for member in values if member == member]
        members = rng.sample(values, min(2, len(values)))
        return in_(untyped, members), lambda obj: (at := value_at(obj, steps)) is not MISSING and at in members
    if kind == "none":
        return is_none(untyped), lambda obj: value_at(obj, steps) is None
    return _compared(untyped, kind, value), lambda obj: _holds(value_at(obj, steps), kind, value)


def _compared(path: Any, kind: str, value: Any) -> Any:
    match kind:
        case "==":
            return path == value
        case "!=":
            return path != value
        case "<":
            return path < value
        case "<=":
            return path <= value
        case ">":
            return path > value
    return path >= value


def _holds(found: Any, kind: str, value: Any) -> bool:
    if found is MISSING:
        return kind == "!="
    try:
        return bool(_compared(found, kind, value))
    except TypeError:
        return False


def combined(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.choice(["one", "and", "or", "not", "and"]) if depth < 3 else "one"
    if kind == "one":
        return conditions(rng)
    left, left_test = combined(rng, depth + 1)
    if kind == "not":
        return rng.choice([~left, not_(left)]), lambda obj: not left_test(obj)
    right, right_test = combined(rng, depth + 1)
    if kind == "and":
        return left & right, lambda obj: left_test(obj) and right_test(obj)
    return left | right, lambda obj: left_test(obj) or right_test(obj)


@pytest.mark.parametrize("seed", range(12))
async def test_find_equals_brute_force(seed: int) -> None:
    rng = random.Random(seed)
    everything = things(rng, 60)
    await rc.save_many(everything)
    for _ in range(25):
        parts = [combined(rng) for _ in range(rng.randint(1, 2))]
        wanted = {one.name for one in everything if all(test(one) for _, test in parts)}
        asked = [condition for condition, _ in parts]
        found = await rc.find(Thing, *asked)
        assert {one.name for one in found} == wanted, asked
        assert len(found) == len(wanted)
        assert await rc.count(Thing, *asked) == len(wanted)
        assert {one.name async for one in rc.iterate(Thing, *asked)} == wanted
        one = await rc.find_one(Thing, *asked)
        assert (one is None) == (not wanted)
        assert one is None or one.name in wanted
        limited = await rc.find(Thing, *asked, limit=3)
        assert len(limited) == min(3, len(wanted))
        await _check_order(rng, everything, wanted, asked)
    assert (await rc.verify(Thing)).ok


async def _check_order(rng: random.Random, everything: list[Thing], wanted: set[str], asked: list[Any]) -> None:
    """Sorted by one or two paths, None and nan last, cut to a limit: the values are those of a sorted list."""
    paths: list[Any] = rng.sample([Thing.score, Thing.ratio, Thing.maybe, Thing.plain, Thing.text, Thing.part.depth], 2)
    paths = paths[: rng.randint(1, 2)]
    downs = [rng.random() < 0.5 for _ in paths]
    limit = rng.choice([None, 0, 1, 4, 100])
    hits = [one for one in everything if one.name in wanted]
    for path, down in reversed(list(zip(paths, downs, strict=True))):
        steps = parts_of(path)[1]
        known = [one for one in hits if _is_known(value_at(one, steps))]
        rest = [one for one in hits if not _is_known(value_at(one, steps))]
        hits = sorted(known, key=lambda one: value_at(one, steps), reverse=down) + rest
    order = [desc(path) if down else asc(path) for path, down in zip(paths, downs, strict=True)]
    found = await rc.find(Thing, *asked, order_by=order, limit=limit)
    for path in paths[: 1 if limit is not None else 2]:
        steps = parts_of(path)[1]
        assert [repr(value_at(one, steps)).replace("-0.0", "0.0") for one in found] == [
            repr(value_at(one, steps)).replace("-0.0", "0.0") for one in hits[:limit]
        ]


def _is_known(value: Any) -> bool:
    return value is not None and value == value


async def test_contains_looks_into_lists_sets_dicts_and_text() -> None:
    await rc.save_many(
        [Thing("a", tags={"x"}, items=[1, 2], table={"k": 0}, text="hello"), Thing("b", tags={"y"}), Thing("c")]
    )
    searches: list[tuple[Any, set[str]]] = [
        (contains(Thing.tags, "x"), {"a"}),
        (contains(Thing.items, 2), {"a"}),
        (contains(Thing.table, "k"), {"a"}),
        (contains(Thing.text, "ell"), {"a"}),
        (not_(contains(Thing.tags, "x")), {"b", "c"}),
        (Thing.flag, set()),
        (~rc.paths(Thing).flag, {"a", "b", "c"}),
        (in_(Thing.text, {"hello", "x"}), {"a"}),
    ]
    for condition, names in searches:
        assert {one.name for one in await rc.find(Thing, condition)} == names, condition


def test_explain_says_what_the_index_answers(session: rc.Session) -> None:
    found = rc.explain(Thing, Thing.score > 3, Thing.plain == 1, order_by=desc(Thing.text))
    assert (found.index, len(found.indexed), len(found.filtered), len(found.sorted_by)) == ("score", 1, 1, 1)
    assert "index score" in str(found)
    assert rc.explain(Thing, Thing.plain == 1).index is None
    assert rc.explain(Thing).index is None
    assert rc.explain(Thing, (Thing.score > 3) & (Thing.score < 9)).index == "score"
    assert rc.explain(Thing, (Thing.score > 3) | (Thing.plain == 1)).index is None
    assert rc.explain(Thing, Thing.score != 3).index is None


@pytest.mark.parametrize(
    "condition",
    [
        True,
        None,
        "score > 3",
        5,
        Thing("a").score > 3,
        Thing.score,
        Player.score > 3,
    ],
    ids=repr,
)
async def test_what_is_no_condition_is_refused(condition: Any) -> None:
    with pytest.raises(TypeError):
        await rc.find(Thing, condition)
    with pytest.raises(TypeError):
        await rc.count(Thing, condition)


async def test_and_or_not_and_chains_raise() -> None:
    path: Any = Thing.score
    for use in (
        lambda: path > 1 and path < 3,
        lambda: 1 < path < 3,
        lambda: not (path > 1),
        lambda: bool(path),
        lambda: 3 in path,
        lambda: path == Thing.plain,
    ):
        with pytest.raises(TypeError):
            use()


@pytest.mark.parametrize("limit", [-1, True, 1.5, "3"])
async def test_a_limit_counts(limit: Any) -> None:
    with pytest.raises(ValueError):
        await rc.find(Thing, limit=limit)


@pytest.mark.parametrize("order", ["score", 5, Thing.score > 3, Player.score])
async def test_what_is_no_order_is_refused(order: Any) -> None:
    with pytest.raises(TypeError):
        await rc.find(Thing, order_by=order)


async def test_a_corrupt_record_is_reported_by_every_search(redis_client: redis.Redis) -> None:
    await rc.save_many([Thing(f"t{n}", score=n) for n in range(5)])
    redis_client.hset("Thing:t3", "plain", "secret")
    searches: list[Any] = [
        lambda: rc.find(Thing),
        lambda: rc.find(Thing, Thing.score == 3),
        lambda: rc.find(Thing, order_by=desc(Thing.score), limit=2),
        lambda: rc.count(Thing, Thing.score > 1),
        lambda: rc.top(Thing, Thing.score, 2),
    ]
    for search in searches:
        with pytest.raises(rc.DecodeError) as caught:
            await search()
        assert (caught.value.pk, caught.value.path, caught.value.raw) == ("t3", "plain", b"secret")
        assert "secret" not in str(caught.value)
    assert await rc.count(Thing) == 5
    redis_client.hset("Thing:t3", "score", "secret")
    with pytest.raises(rc.DecodeError) as caught:
        await rc.verify(Thing)
    assert (caught.value.model, caught.value.pk, caught.value.path) == ("Thing", "t3", "score")


async def test_iterate_holds_a_page_at_a_time_and_can_be_left(trips: Trips) -> None:
    await rc.save_many([Thing(f"t{n}") for n in range(1200)])
    trips.batches.clear()
    async for _ in rc.iterate(Thing):
        break
    assert len(trips.batches) <= 3
    assert len([one async for one in rc.iterate(Thing)]) == 1200


@pytest.mark.parametrize("how", ["find", "find_one", "top", "iterate"])
async def test_a_found_object_is_a_loaded_one(how: str) -> None:
    await rc.save(Thing("a"))
    found: dict[str, list[Thing | None]] = {
        "find": [*await rc.find(Thing)],
        "find_one": [await rc.find_one(Thing)],
        "top": [*await rc.top(Thing, Thing.score, 1)],
        "iterate": [one async for one in rc.iterate(Thing)],
    }
    (thing,) = found[how]
    assert thing is not None
    await rc.increment(rc.ref(Thing, "a"), Thing.plain, 1)
    thing.score += 1
    await rc.save(thing)
    stored = await rc.get(Thing, "a")
    assert (stored.plain, stored.score) == (1, 1)
    thing.plain = 7
    with pytest.raises(rc.Conflict):
        await rc.save(thing)


async def test_chains_of_conditions_may_be_long() -> None:
    await rc.save_many([Thing("a", plain=7), Thing("b", plain=7000)])
    some_of: Any = Thing.plain == -1
    none_of: Any = Thing.plain != -1
    for number in range(3000):
        some_of = some_of | (Thing.plain == number)
        none_of = none_of & (Thing.plain != number)
    assert [thing.name for thing in await rc.find(Thing, some_of)] == ["a"]
    assert [thing.name for thing in await rc.find(Thing, none_of)] == ["b"]
