"""`upgrade_all`: every object in today's form, beside other writers, broken off and gone on with."""

from __future__ import annotations

import asyncio
import itertools
import threading
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
import redis

import rapyer_core as rc
from rapyer_core import Alias, Index, Key, StoredFields, UpgradeProgress, redis_model, sync, upgrade_from
from tests.objects.conftest import Hash
from tests.support.servers import running_server


@redis_model(name="Doc")
@dataclass
class Old:
    name: Key[str]
    hits: int = 0
    words: str = ""


@upgrade_from(1)
def split(stored: StoredFields) -> None:
    stored.put("words", list[str], stored.take("words", str, "").split())


@redis_model(name="Doc", version=2, upgrades=[split])
@dataclass
class New:
    name: Key[str]
    hits: Index[int] = 0
    words: list[str] = field(default_factory=list)


async def fill(count: int) -> None:
    await rc.save_many([Old(f"n{number}", number, f"a b{number}") for number in range(count)])


def versions(client: redis.Redis) -> set[Any]:
    return {client.hget(key, "~") for key in client.scan_iter("Doc:*", count=1000)}


async def test_it_rewrites_every_object_once(redis_client: redis.Redis, stored: Hash) -> None:
    await fill(1200)
    redis_client.hset("Doc:n5", "extra", "x")
    redis_client.expire("Doc:n6", 1000)
    redis_client.hset("Doc:debris", "hits", "1")
    told: list[UpgradeProgress] = []
    progress = await rc.upgrade_all(New, on_progress=told.append)
    assert (progress.upgraded, progress.failed, progress.cursor) == (1200, 0, None)
    assert progress.seen >= 1200
    assert len(told) > 1
    assert told[-1] == progress
    assert all(one.upgraded <= other.upgraded for one, other in itertools.pairwise(told))
    assert all(not one.done for one in told[:-1])
    assert stored("Doc:n5") == {
        "~": "2",
        "name": "n5",
        "hits": "5",
        "words": "2",
        "words.0": "a",
        "words.1": "b5",
        "extra": "x",
    }
    assert 0 < redis_client.ttl("Doc:n6") <= 1000
    redis_client.delete("Doc:debris")
    assert versions(redis_client) == {b"2"}
    assert (await rc.verify(New)).ok
    assert (await rc.upgrade_all(New)).upgraded == 0


async def test_it_can_be_broken_off_and_gone_on_with(redis_client: redis.Redis) -> None:
    await fill(2500)
    first = await rc.upgrade_all(New, limit=400)
    assert first.cursor is not None
    assert 0 < first.upgraded < 2500
    second = await rc.upgrade_all(New, cursor=first.cursor, limit=400)
    assert second.cursor is not None
    last: list[UpgradeProgress] = []

    class Stop(Exception):
        pass

    def stop(progress: UpgradeProgress) -> None:
        last.append(progress)
        raise Stop

    with pytest.raises(Stop):
        await rc.upgrade_all(New, cursor=second.cursor, on_progress=stop)
    rest = await rc.upgrade_all(New, cursor=last[0].cursor)
    assert rest.done
    assert first.upgraded + second.upgraded + last[0].upgraded + rest.upgraded == 2500
    assert rest.seen < 1500
    assert versions(redis_client) == {b"2"}
    assert await rc.count(New, New.hits >= 0) == 2500


async def test_it_can_be_cancelled_anywhere(redis_client: redis.Redis) -> None:
    await fill(300)
    told: list[UpgradeProgress] = []
    for steps in range(1, 60, 3):
        task = asyncio.create_task(
            rc.upgrade_all(New, cursor=told[-1].cursor if told else None, on_progress=told.append)
        )
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert (await rc.upgrade_all(New, cursor=told[-1].cursor if told else None)).done
    await rc.upgrade_all(New)
    assert versions(redis_client) == {b"2"}
    assert {tuple(obj.words) for obj in await rc.find(New)} == {("a", f"b{number}") for number in range(300)}


async def test_beside_many_writers_nothing_is_lost(redis_client: redis.Redis) -> None:
    """Sixty tasks of the new code write all the time; each object is upgraded by whoever comes first."""
    await fill(400)
    added: dict[str, int] = {}
    appended: dict[str, list[str]] = {}
    stop = asyncio.Event()

    async def write(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            pk = f"n{(number * 7 + turn) % 40}"
            kind = (number + turn) % 3
            if kind == 0:
                await rc.increment(rc.ref(New, pk), New.hits, 1)
                added[pk] = added.get(pk, 0) + 1
            elif kind == 1:
                word = f"w{number}.{turn}"
                await rc.append(rc.ref(New, pk), New.words, word)
                appended.setdefault(pk, []).append(word)
            else:
                async with rc.pipeline(rc.ref(New, pk)) as draft:
                    draft.hits += 1
                added[pk] = added.get(pk, 0) + 1

    writers = [asyncio.create_task(write(number)) for number in range(60)]
    progress = await rc.upgrade_all(New)
    for _ in range(3):
        progress = await rc.upgrade_all(New)
    stop.set()
    await asyncio.gather(*writers)
    assert (progress.done, progress.failed) == (True, 0)
    assert sum(added.values()) > 100
    for number in range(400):
        obj = await rc.get(New, f"n{number}")
        assert obj.hits == number + added.get(obj.name, 0)
        assert sorted(obj.words) == sorted(["a", f"b{number}", *appended.get(obj.name, [])])
    assert versions(redis_client) == {b"2"}
    assert (await rc.verify(New)).ok


async def test_objects_that_come_and_go_meanwhile(redis_client: redis.Redis) -> None:
    await fill(300)
    stop = asyncio.Event()

    async def churn(number: int) -> None:
        while not stop.is_set():
            await rc.delete(New, f"n{number}")
            await rc.save(New(f"n{number}", words=["new"]))

    tasks = [asyncio.create_task(churn(number)) for number in range(60)]
    progress = await rc.upgrade_all(New)
    stop.set()
    await asyncio.gather(*tasks)
    assert (progress.done, progress.failed) == (True, 0)
    assert versions(redis_client) == {b"2"}
    assert {tuple(obj.words) for obj in await rc.get_many(New, [f"n{number}" for number in range(60)]) if obj} == {
        ("new",)
    }


async def test_an_object_that_cannot_be_read_is_left_and_told_of(redis_client: redis.Redis, stored: Hash) -> None:
    await fill(50)
    redis_client.hset("Doc:n7", "hits", "canary")
    redis_client.set("Doc:other", "a string of somebody else's")
    await rc.save(New("newer"))
    redis_client.hset("Doc:newer", "~", "3")
    before = stored("Doc:n7")
    progress = await rc.upgrade_all(New)
    assert (progress.upgraded, progress.failed, progress.done) == (49, 3, True)
    kinds = {(type(error), error.pk) for error in progress.errors}
    assert kinds == {(rc.DecodeError, "n7"), (rc.WrongKeyType, "other"), (rc.UnknownVersion, "newer")}
    assert stored("Doc:n7") == before
    assert not redis_client.exists("~Doc:complete")
    redis_client.delete("Doc:other", "Doc:newer")
    redis_client.hset("Doc:n7", "hits", "7")
    assert (await rc.upgrade_all(New)).upgraded == 1
    assert redis_client.hgetall("~Doc:complete") == {b"hits": b"2"}


async def test_a_walk_with_failures_does_not_vouch_for_the_indexes_later(redis_client: redis.Redis) -> None:
    await fill(1200)
    for number in range(1200):
        redis_client.hset(f"Doc:n{number}", "hits", "x")
    first = await rc.upgrade_all(New, limit=100)
    assert first.failed
    for number in range(1200):
        redis_client.hset(f"Doc:n{number}", "hits", str(number))
    rest = await rc.upgrade_all(New, cursor=first.cursor)
    assert rest.done
    assert rest.upgraded < 1200
    assert not redis_client.exists("~Doc:complete")
    assert len(await rc.find(New, New.hits >= 0)) == 1200


async def test_after_a_restart_of_the_server_the_walk_begins_again() -> None:
    """The positions of SCAN mean nothing to another run of the server."""
    with running_server() as one, running_server() as two:
        await rc.init_rapyer(one.url)
        await fill(1200)
        cursor = (await rc.upgrade_all(New, limit=300)).cursor
        await rc.init_rapyer(two.url)
        await fill(1200)
        progress = await rc.upgrade_all(New, cursor=cursor)
        assert (progress.upgraded, progress.done) == (1200, True)
        await rc.close_rapyer()


async def test_a_cursor_of_another_version_begins_again(redis_client: redis.Redis) -> None:
    @upgrade_from(2)
    def shout(stored: StoredFields) -> None:
        stored.put("words", list[str], [word.upper() for word in stored.get("words", list[str])])

    @redis_model(name="Doc", version=3, upgrades=[split, shout])
    @dataclass
    class Newest:
        name: Key[str]
        words: list[str] = field(default_factory=list)

    await fill(1200)
    cursor = (await rc.upgrade_all(New, limit=300)).cursor
    assert (await rc.upgrade_all(Newest, cursor=cursor)).upgraded == 1200
    assert versions(redis_client) == {b"3"}


@pytest.mark.parametrize("cursor", ["", "7", "a:b:c:d", "2:run:7:maybe", "2:run:x:clean"])
async def test_what_is_no_cursor(cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        await rc.upgrade_all(New, cursor=cursor)


async def test_it_moves_renamed_fields_too(stored: Hash) -> None:
    @redis_model(name="Doc")
    @dataclass
    class Renamed:
        name: Key[str]
        clicks: Annotated[int, Alias("hits")] = 0
        words: str = ""
        added: int = 9

    await rc.save(Old("a", 5, "x"))
    await rc.save(Renamed("b"))
    assert (await rc.upgrade_all(Renamed)).upgraded == 1
    assert stored("Doc:a") == {"~": "1", "name": "a", "clicks": "5", "words": "x"}
    assert (await rc.upgrade_all(Renamed)).upgraded == 0


def test_without_asyncio_beside_threads(url: str, redis_client: redis.Redis) -> None:
    sync.init_rapyer(url)
    try:
        sync.save_many([Old(f"n{number}", 0, "a b") for number in range(400)])
        stop = threading.Event()
        done = [0] * 50

        def write(number: int) -> None:
            while not stop.is_set():
                sync.increment(sync.ref(New, f"n{number % 10}"), New.hits, 1)
                done[number] += 1

        threads = [threading.Thread(target=write, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        told: list[UpgradeProgress] = []
        first = sync.upgrade_all(New, limit=100, on_progress=told.append)
        last = sync.upgrade_all(New, cursor=first.cursor, on_progress=told.append) if first.cursor else first
        stop.set()
        for thread in threads:
            thread.join()
        assert last.done
        assert told[-1] == last
        assert versions(redis_client) == {b"2"}
        assert sum(obj.hits for obj in sync.find(New)) == sum(done) > 0
    finally:
        sync.close_rapyer()
