"""Somebody else deletes, expires, replaces or rewrites what an operation works on, at the worst moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis

from rapyer_core import (
    Conflict,
    NotFound,
    WrongKeyType,
    close_rapyer,
    get,
    increment,
    init_rapyer,
    open_session,
    pipeline,
    ref,
    save,
    transact,
)
from rapyer_core.sessions import Session
from rapyer_core.transactions import Transaction
from tests.commits.models import Player, full
from tests.faults.held import assert_nothing_held, held
from tests.faults.operations import WRITES, Work, prepare, world
from tests.support.builds import Build
from tests.support.servers import command, running_server

EXTRA = {"save_new", "save_several", "insert_new", "create", "transact_function", "delete_several", "lock_two"}
"""They do not touch the player."""

WHOLE = {"save_over", "delete_one"}
"""Whole writes take the key, whatever it holds."""

OF_THE_PLAYER = {name: work for name, work in WRITES.items() if name not in EXTRA | WHOLE}


@pytest.fixture
async def session(url: str) -> AsyncIterator[Session]:
    session = await init_rapyer(url)
    yield session
    assert held(session) == []
    await close_rapyer()


@pytest.mark.one_server
@pytest.mark.parametrize("once", [False, True], ids=["", "exactly_once"])
@pytest.mark.parametrize("how", ["deleted", "expired"])
@pytest.mark.parametrize("work", OF_THE_PLAYER.values(), ids=OF_THE_PLAYER)
async def test_an_object_that_is_gone_is_never_written_in_part(
    session: Session, redis_client: redis.Redis, work: Work, how: str, once: bool
) -> None:
    p = await prepare(redis_client)
    if how == "deleted":
        redis_client.delete("Player:p")
    else:
        redis_client.pexpire("Player:p", 1)
        _wait_until(lambda: not redis_client.exists("Player:p"))
    before = world(redis_client)
    if work.__name__ == "transaction_block":
        with pytest.raises((NotFound, Conflict)):
            # It deletes what is not there, which is no error of its own; the rest of it reads the accounts.
            await work(p, once)
            raise NotFound
        before = world(redis_client)
    else:
        with pytest.raises(NotFound):
            await work(p, once)
    assert not redis_client.exists("Player:p")
    assert world(redis_client) == before
    await assert_nothing_held(session)


FOREIGN: dict[str, Callable[[Any, str], Any]] = {
    "string": lambda client, key: client.set(key, "x"),
    "list": lambda client, key: client.rpush(key, "x"),
    "set": lambda client, key: client.sadd(key, "x"),
    "zset": lambda client, key: client.zadd(key, {"x": 1}),
    "stream": lambda client, key: client.xadd(key, {"x": 1}),
}


@pytest.mark.one_server
@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("work", OF_THE_PLAYER.values(), ids=OF_THE_PLAYER)
async def test_a_key_of_another_type_is_named_and_left_alone(
    session: Session, redis_client: redis.Redis, work: Work, kind: str
) -> None:
    if work.__name__ == "transaction_block":
        return
    p = await prepare(redis_client)
    redis_client.delete("Player:p")
    FOREIGN[kind](redis_client, "Player:p")
    stored = redis_client.dump("Player:p")
    index = redis_client.zrange("~Player:index:score", 0, -1, withscores=True)
    for once in (False, True):
        with pytest.raises(WrongKeyType) as caught:
            await work(p, once)
        assert caught.value.key == "Player:p"
    with pytest.raises(WrongKeyType):
        await get(Player, "p")
    assert redis_client.dump("Player:p") == stored
    assert redis_client.zrange("~Player:index:score", 0, -1, withscores=True) == index
    assert redis_client.keys("~*}*") == []


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


# -- a field's own time to live --


@pytest.fixture
async def lazy(build: Build) -> AsyncIterator[tuple[Session, Any]]:
    """A server that expires nothing before somebody looks."""
    with running_server(binary=build.binary, enable_debug_command="yes") as server:
        with redis.Redis.from_url(server.url) as client:
            if command(server.url, "COMMAND", "INFO", "HPEXPIRE").startswith((b"*1\r\n*-1", b"*1\r\n$-1")):
                pytest.skip("fields have no time to live on this server")
            client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
            async with open_session(server.url) as session:
                yield session, client


def _fading(client: Any, *fields: str) -> None:
    """The fields end in 150 ms."""
    client.execute_command("HPEXPIRE", "Player:p", 150, "FIELDS", len(fields), *fields)


@pytest.mark.parametrize("once", [False, True])
async def test_no_decision_on_a_field_that_expired_in_the_block(lazy: tuple[Session, Any], once: bool) -> None:
    session, client = lazy
    await save(full(coins=100), session=session)
    _fading(client, "coins")
    with pytest.raises(Conflict) as caught:
        async with pipeline(ref(Player, "p"), exactly_once=once, session=session) as d:
            if d.coins >= 100:
                # Nobody looks at the field meanwhile, so its end touches no WATCH.
                await asyncio.sleep(0.3)
                d.wins += 1
    assert caught.value.fields == ("coins",)
    assert client.hget("Player:p", "wins") == b"0"


async def test_a_transaction_runs_again_with_what_is_left(lazy: tuple[Session, Any]) -> None:
    session, client = lazy
    await save(full(coins=100), session=session)
    _fading(client, "coins")
    runs: list[int] = []

    async def work(tx: Transaction) -> None:
        p = await tx.get(Player, "p")
        runs.append(int(p.coins))
        if len(runs) == 1:
            await asyncio.sleep(0.3)
        p.wins += p.coins + 1

    await transact(work, session=session)
    assert runs == [100, 0]
    assert client.hget("Player:p", "wins") == b"1"


async def test_what_builds_on_a_field_that_expired_builds_on_its_default(lazy: tuple[Session, Any]) -> None:
    session, client = lazy
    p = full(coins=100, score=7)
    await save(p, session=session)
    _fading(client, "coins", "score")
    await asyncio.sleep(0.3)
    assert await increment(p, Player.coins, 5, session=session) == 5
    assert await increment(p, Player.score, 5, session=session) == 5
    found = client.zrange("~Player:index:score", 0, -1, withscores=True)
    assert found == [(b"p", 5.0)]


# -- a reader during rewrites --


@pytest.mark.one_server
async def test_a_reader_never_sees_a_part_of_a_large_object(session: Session, url: str) -> None:
    """1,000 rewrites of a 400 KB object; each version is of one text."""
    done = False
    seen: set[str] = set()

    def version(number: int) -> Player:
        text = f"{number % 10}" * 20_000
        return Player("p", coins=number, motto=text, meta={f"k{part}": text for part in range(19)})

    async def write() -> None:
        nonlocal done
        async with open_session(url) as other:
            for number in range(1000):
                await save(version(number), session=other)
        done = True

    async def read() -> None:
        while not done:
            p = await get(Player, "p")
            assert p == version(p.coins)
            seen.add(p.motto[0])

    await save(version(0))
    await asyncio.gather(write(), *(read() for _ in range(4)))
    assert len(seen) > 5
