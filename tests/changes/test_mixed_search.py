"""Searches while objects of several versions are stored: right answers before, during and after the rewriting."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import redis

import rapyer_core as rc
from rapyer_core import Alias, Index, Key, StoredFields, desc, redis_model, upgrade_from
from tests.objects.conftest import Trips


@redis_model(name="Score")
@dataclass
class Old:
    """Points as tenths, in an index of the same name; level without an index; speed as it will be."""

    name: Key[str]
    points: Index[int] = 0
    level: int = 0
    speed: Index[float] = 0.0


@upgrade_from(1, fields=["points", "level"])
def tenths(stored: StoredFields) -> None:
    stored.put("points", float | None, stored.take("points", int, 0) / 10 or None)


@redis_model(name="Score", version=2, upgrades=[tenths])
@dataclass
class New:
    name: Key[str]
    points: Index[float | None] = None
    level: Index[int] = 0
    speed: Index[float] = 0.0


@pytest.fixture
async def objects() -> list[New]:
    """Sixty objects, every other one of version 1; what all of them are today."""
    choose = random.Random(7)
    found = []
    for number in range(60):
        points, level, speed = choose.randrange(20), choose.randrange(5), choose.random()
        if number % 2:
            await rc.save(Old(f"n{number:02}", points, level, speed))
        else:
            await rc.save(New(f"n{number:02}", points / 10 or None, level, speed))
        found.append(New(f"n{number:02}", points / 10 or None, level, speed))
    return found


def by(objects: list[New], name: str) -> list[New]:
    """Those that an index holds, highest first, ties as the index has them."""
    held = [obj for obj in objects if getattr(obj, name) is not None]
    return sorted(held, key=lambda obj: (getattr(obj, name), obj.name), reverse=True)


async def check(objects: list[New]) -> None:
    """Every kind of search against plain Python."""
    for name in ("points", "level", "speed"):
        path: Any = getattr(New, name)
        order = by(objects, name)
        assert await rc.top(New, path, 7) == order[:7]
        assert await rc.top(New, path, 100) == order
        for place in (0, 11, len(order) - 1):
            assert await rc.rank(order[place], path) == place
        hits = await rc.find(New, path >= getattr(order[20], name))
        assert sorted(hits, key=lambda obj: obj.name) == sorted(
            (obj for obj in order if getattr(obj, name) >= getattr(order[20], name)), key=lambda obj: obj.name
        )
        limited = await rc.find(New, order_by=desc(path), limit=9)
        assert [getattr(obj, name) for obj in limited] == [getattr(obj, name) for obj in order[:9]]
        assert await rc.count(New, path > 0) == sum(getattr(obj, name) > 0 for obj in order)
        assert len([obj async for obj in rc.iterate(New, path > 0)]) == sum(getattr(obj, name) > 0 for obj in order)
    assert await rc.count(New) == 60
    assert len(await rc.find(New, rc.is_none(New.points))) == 60 - len(by(objects, "points"))


async def test_searches_before_and_after(objects: list[New], redis_client: redis.Redis) -> None:
    await check(objects)
    report = await rc.verify(New)
    assert (report.ok, report.objects, report.older) == (True, 60, 30)
    for obj in objects[:20]:
        await rc.increment(obj, New.level, 1)
    await check(objects)
    progress = await rc.upgrade_all(New)
    assert (progress.done, progress.upgraded, progress.failed) == (True, 20, 0)
    await check(objects)
    report = await rc.verify(New)
    assert (report.ok, report.older) == (True, 0)


async def test_the_index_is_used_where_it_is_known_to_be_right(objects: list[New], trips: Trips) -> None:
    await rc.top(New, New.speed, 5)
    assert b"SCAN" not in trips.commands
    await rc.top(New, New.points, 5)
    assert b"SCAN" in trips.commands
    await rc.upgrade_all(New)
    trips.batches.clear()
    await rc.top(New, New.points, 5)
    await rc.find(New, New.level > 2)
    await rc.rank(objects[0], New.level)
    assert b"SCAN" not in trips.commands
    assert not rc.explain(New, New.speed > 1).doubtful
    assert str(rc.explain(New, New.level > 2)) == (
        "index level (New.level > …), a scan of all objects before upgrade_all"
    )


async def test_what_verify_finds_wrong_among_mixed_versions(objects: list[New], redis_client: redis.Redis) -> None:
    redis_client.zrem("~Score:index:speed", "n01")
    redis_client.zrem("~Score:index:points", "n02")
    redis_client.zadd("~Score:index:level", {"ghost": 1})
    report = await rc.verify(New, repair=True)
    assert set(report.missing) == {("speed", "n01"), ("points", "n02")}
    assert report.phantoms == (("level", "ghost"),)
    assert (await rc.verify(New)).ok


async def test_an_older_object_that_came_after_the_rewriting_is_found_by_verify(objects: list[New]) -> None:
    await rc.upgrade_all(New)
    await rc.save(Old("late", 5, 3, 0.5))
    report = await rc.verify(New)
    assert set(report.missing) == {("level", "late"), ("points", "late")}
    await rc.upgrade_all(New)
    assert (await rc.verify(New)).ok
    assert [obj.name for obj in await rc.find(New, New.points == 0.5, New.level == 3, New.speed == 0.5)] == ["late"]


@redis_model(name="Named")
@dataclass
class Before:
    name: Key[str]
    value: Index[int] = 0


@redis_model(name="Named")
@dataclass
class After:
    name: Key[str]
    worth: Annotated[Index[int], Alias("value")] = 0


async def test_an_index_of_a_renamed_field(redis_client: redis.Redis) -> None:
    for number in range(20):
        await rc.save(Before(f"n{number}", number) if number % 2 else After(f"n{number}", number))
    for _ in range(2):
        assert [obj.worth for obj in await rc.top(After, After.worth, 3)] == [19, 18, 17]
        assert await rc.rank(rc.ref(After, "n15"), After.worth) == 4
        assert {obj.worth for obj in await rc.find(After, After.worth >= 15)} == {15, 16, 17, 18, 19}
        assert (await rc.verify(After)).ok
        await rc.upgrade_all(After)
    assert redis_client.zcard("~Named:index:worth") == 20
    assert redis_client.hgetall("Named:n15") == {b"~": b"1", b"name": b"n15", b"worth": b"15"}
