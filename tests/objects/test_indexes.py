"""Index fields: kept in the EXEC of every way of writing, and what top, rank and find answer from them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import redis

import rapyer_core as rc
from rapyer_core import Index, Key, redis_model
from rapyer_core.operations import commands
from tests.objects.conftest import Hash


@dataclass
class Part:
    level: Index[int] = 0
    other: int = 0


@redis_model
@dataclass
class Item:
    name: Key[str]
    score: Index[int] = 0
    ratio: Index[float] = 0.0
    maybe: Index[int] | None = None
    part: Part = field(default_factory=Part)
    plain: int = 0


def entries(client: redis.Redis, index: str, model: str = "Item") -> dict[str, float]:
    """Member -> score of one index."""
    pairs: Any = client.zrange(f"~{model}:index:{index}", 0, -1, withscores=True)
    return {member.decode(): score for member, score in pairs}


async def _transaction(item: Item, score: int) -> None:
    async with rc.transaction() as tx:
        draft = await tx.get(Item, item.name)
        draft.score = score


async def _pipeline(item: Item, score: int) -> None:
    async with rc.pipeline(item) as draft:
        draft.score += score


async def _lock(item: Item, score: int) -> None:
    async with rc.lock(item, name="x") as draft:
        draft.score = score


async def _save(item: Item, score: int) -> None:
    item.score = score
    await rc.save(item)


async def _overwrite(item: Item, score: int) -> None:
    item.score = score
    await rc.save(item, overwrite=True)


WRITES: list[Callable[[Item, int], Awaitable[Any]]] = [
    lambda item, score: rc.save(replace(item, score=score)),
    lambda item, score: rc.save_many([replace(item, score=score)]),
    _save,
    _overwrite,
    lambda item, score: rc.assign(item, Item.score, score),
    lambda item, score: rc.assign(rc.ref(Item, "a"), Item.score, score, exactly_once=True),
    lambda item, score: rc.increment(item, Item.score, score),
    lambda item, score: rc.increment(item, Item.score, score, exactly_once=True),
    lambda item, score: rc.modify(item, Item.score, lambda _: score),
    _transaction,
    _pipeline,
    _lock,
]


@pytest.mark.parametrize("number", range(len(WRITES)))
async def test_every_way_of_writing_keeps_the_index(number: int, redis_client: redis.Redis) -> None:
    item = Item("a")
    await rc.save_many([item, Item("b", score=10)])
    await WRITES[number](item, 50)
    assert entries(redis_client, "score") == {"a": 50.0, "b": 10.0}
    assert await rc.rank(item, Item.score) == 0
    assert [found.name for found in await rc.top(Item, Item.score, 2)] == ["a", "b"]
    assert (await rc.verify(Item)).ok


@pytest.mark.parametrize("exactly_once", [False, True])
async def test_insert_and_delete_keep_the_index(exactly_once: bool, redis_client: redis.Redis) -> None:
    await rc.insert(Item("a", score=3), exactly_once=exactly_once)
    await rc.get_or_create(Item, "b", score=4)
    assert entries(redis_client, "score") == {"a": 3.0, "b": 4.0}
    await rc.delete(Item, "a", exactly_once=exactly_once)
    await rc.delete_many([rc.ref(Item, "b")], exactly_once=exactly_once)
    keys: Any = redis_client.keys()
    assert [key for key in keys if b"token:" not in key] == []


async def test_an_index_in_a_nested_record(redis_client: redis.Redis) -> None:
    item = Item("a")
    await rc.save(item)
    await rc.increment(item, Item.part.level, 4)
    assert entries(redis_client, "part.level") == {"a": 4.0}
    await rc.assign(item, Item.part, Part(9))
    assert entries(redis_client, "part.level") == {"a": 9.0}
    item.part.level = 11
    await rc.save(item)
    assert entries(redis_client, "part.level") == {"a": 11.0}
    assert await rc.find(Item, Item.part.level > 10) == [item]
    assert rc.explain(Item, Item.part.level > 10).index == "part.level"


async def test_none_and_nan_are_in_no_index(redis_client: redis.Redis) -> None:
    item = Item("a", ratio=math.nan)
    await rc.save(item)
    assert entries(redis_client, "ratio") == entries(redis_client, "maybe") == {}
    await rc.assign(item, Item.ratio, 1.5)
    await rc.assign(item, Item.maybe, 3)
    assert (entries(redis_client, "ratio"), entries(redis_client, "maybe")) == ({"a": 1.5}, {"a": 3.0})
    await rc.increment(item, Item.ratio, math.nan)
    item.maybe = None
    await rc.save(item, overwrite=True)
    assert entries(redis_client, "ratio") == entries(redis_client, "maybe") == {}
    await rc.assign(item, Item.ratio, math.inf)
    assert await rc.rank(item, Item.ratio) == 0
    with pytest.raises(rc.NotFound):
        await rc.rank(item, Item.maybe)
    assert await rc.top(Item, Item.maybe, 3) == []
    assert (await rc.verify(Item)).ok
    await rc.save(Item("a"))
    assert entries(redis_client, "ratio") == {"a": 0.0}


async def test_limited_searches_find_those_that_are_in_no_index_too() -> None:
    items = [Item("a", maybe=1), Item("b"), Item("c", maybe=5), Item("d", ratio=math.nan)]
    await rc.save_many(items)
    found = await rc.find(Item, order_by=rc.desc(Item.maybe), limit=3)
    assert [item.name for item in found][:2] == ["c", "a"]
    assert found[2].maybe is None
    assert len(await rc.find(Item, order_by=rc.asc(Item.ratio), limit=10)) == 4
    assert [item.name for item in await rc.find(Item, order_by=rc.asc(Item.ratio))][-1] == "d"
    assert {item.name for item in await rc.find(Item, rc.is_none(Item.maybe))} == {"b", "d"}


async def test_ints_that_share_a_score_are_told_apart() -> None:
    """2**53 and 2**53 + 1 are one double."""
    top = 2**53
    values = [top + n for n in range(6)] + [10**400, 10**400 + 1, -(10**400), 5]
    items = [Item(f"i{(n * 7) % 10}", score=value) for n, value in enumerate(values)]
    await rc.save_many(items)
    best = sorted(items, key=lambda item: item.score, reverse=True)
    for n in range(len(items) + 1):
        assert await rc.top(Item, Item.score, n) == best[:n]
        assert await rc.find(Item, order_by=rc.desc(Item.score), limit=n) == best[:n]
        assert await rc.find(Item, order_by=Item.score, limit=n) == best[::-1][:n]
    for place, item in enumerate(best):
        assert await rc.rank(item, Item.score) == place
    for value in values:
        assert await rc.count(Item, Item.score == value) == 1
        assert await rc.count(Item, Item.score > value) == sum(other > value for other in values)
        assert await rc.count(Item, Item.score <= value) == sum(other <= value for other in values)
    assert (await rc.verify(Item)).ok


async def test_an_object_deleted_behind_our_back_is_a_phantom_that_verify_repairs(redis_client: redis.Redis) -> None:
    items = [Item(f"i{n}", score=n) for n in range(4)]
    await rc.save_many(items)
    redis_client.delete("Item:i3")
    redis_client.zadd("~Item:index:score", {"i0": 77})
    redis_client.zrem("~Item:index:ratio", "i1")
    assert len(await rc.top(Item, Item.score, 4)) == 3
    assert await rc.find(Item, Item.score > 2) == []
    with pytest.raises(rc.NotFound):
        await rc.rank(items[3], Item.score)
    report = await rc.verify(Item)
    assert not report.ok
    assert report.objects == 3
    assert set(report.phantoms) == {("score", "i3"), ("ratio", "i3"), ("part.level", "i3")}
    assert set(report.missing) == {("score", "i0"), ("ratio", "i1")}
    assert not report.repaired
    assert (await rc.verify(Item, repair=True)).repaired
    assert (await rc.verify(Item)).ok
    assert [item.name for item in await rc.top(Item, Item.score, 9)] == ["i2", "i1", "i0"]


async def test_verify_among_writers_reports_nothing() -> None:
    await rc.save_many([Item(f"i{n}", score=n) for n in range(30)])
    done = False

    async def write(number: int) -> None:
        while not done:
            await rc.increment(rc.ref(Item, f"i{number}"), Item.score, 1)
            await rc.save(Item(f"x{number}", score=number))
            await rc.delete(Item, f"x{number}")

    writers = [asyncio.create_task(write(number)) for number in range(6)]
    try:
        reports = [await rc.verify(Item) for _ in range(20)]
    finally:
        done = True
        await asyncio.gather(*writers)
    assert all(report.ok for report in reports)


async def test_top_and_rank_among_equals_agree() -> None:
    await rc.save_many([Item(f"i{n}", score=n % 3) for n in range(12)])
    best = await rc.top(Item, Item.score, 12)
    assert [await rc.rank(item, Item.score) for item in best] == list(range(12))
    assert await rc.top(Item, Item.score, 5) == best[:5]
    assert await rc.top(Item, Item.score, 0) == []


@redis_model(ttl=0.15)
@dataclass
class Brief:
    name: Key[str]
    score: Index[int] = 0


async def _gone(client: redis.Redis, *keys: str) -> None:
    async with asyncio.timeout(10):
        # The server's clock is what is waited for: nothing here can tell.
        while client.exists(*keys):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_an_expired_object_leaves_no_phantom(redis_client: redis.Redis) -> None:
    await rc.save_many([Brief(f"b{n}", n) for n in range(250)])
    kept = Brief("kept", 1000)
    await rc.insert(kept)
    redis_client.persist("Brief:kept")
    await _gone(redis_client, *[f"Brief:b{n}" for n in range(250)])
    assert await rc.find(Brief, Brief.score >= 0) == [kept]
    assert await rc.top(Brief, Brief.score, 3) == [kept]
    assert await rc.rank(kept, Brief.score) == 0
    assert entries(redis_client, "score", "Brief") == {"kept": 1000.0}
    assert (await rc.verify(Brief)).ok
    with pytest.raises(rc.NotFound):
        await rc.rank(rc.ref(Brief, "b0"), Brief.score)


@pytest.mark.parametrize("clock", [-3600.0, 3600.0])
async def test_a_wrong_clock_neither_hangs_nor_hides_an_object(
    clock: float, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time

    class Clock:
        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def time() -> float:
            return now() + clock

    monkeypatch.setattr(commands, "time", Clock)

    @redis_model(name="Skewed", ttl=1000)
    @dataclass
    class Skewed:
        name: Key[str]
        score: Index[int] = 0

    await rc.save_many([Skewed(f"s{n}", n) for n in range(150)])
    async with asyncio.timeout(20):
        assert [one.score for one in await rc.top(Skewed, Skewed.score, 3)] == [149, 148, 147]
        assert await rc.rank(rc.ref(Skewed, "s0"), Skewed.score) == 149


async def test_only_an_index_field_has_ranks() -> None:
    item = Item("a")
    await rc.save(item)
    wrong: Any = rc
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: wrong.top(Item, Item.plain, 3),
        lambda: wrong.rank(item, Item.plain),
        lambda: wrong.rank(item, Brief.score),
        lambda: wrong.top(Item, 5, 3),
        lambda: wrong.top(Item, item.score, 3),
    ]
    for call in calls:
        with pytest.raises(rc.PathError):
            await call()
    for n in (-1, True, "3", 1.5):
        with pytest.raises(ValueError):
            await wrong.top(Item, Item.score, n)
    assert await wrong.top(Item, "score", 3) == [item]
    assert await wrong.rank(item, "part.level") == 0


async def test_a_refused_write_leaves_the_index_alone(redis_client: redis.Redis, stored: Hash) -> None:
    item = Item("a", score=5)
    await rc.save(item)
    stale = await rc.get(Item, "a")
    await rc.increment(item, Item.score, 1)
    stale.score = 100
    wrong: Any = rc
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: wrong.save(stale),
        lambda: wrong.insert(Item("a", score=9)),
        lambda: wrong.assign(item, "score", "x"),
        lambda: wrong.assign(item, "score", None),
        lambda: wrong.modify(item, "score", lambda n: n / 0),
    ]
    for call in calls:
        with pytest.raises((rc.RapyerError, ZeroDivisionError)):
            await call()
    assert entries(redis_client, "score") == {"a": 6.0}
    assert stored("Item:a")["score"] == "6"
