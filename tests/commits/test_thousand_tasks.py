"""A thousand tasks of every kind of operation on default settings, and many tasks on hardly any connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from rapyer_core import (
    LockLost,
    PoolTimeout,
    append,
    assign,
    delete,
    find,
    get,
    get_many,
    get_or_create,
    increment,
    insert,
    lock,
    modify,
    open_session,
    pipeline,
    put,
    ref,
    save,
    save_many,
    transact,
    transaction,
)
from rapyer_core.sessions import Session
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Player

pytestmark = pytest.mark.one_server

TASKS, OBJECTS = 1000, 20
Work = Callable[[int], Awaitable[Any]]


@pytest.fixture(autouse=True)
async def _stored(session: Session) -> None:
    await save_many([Player(f"p{number}") for number in range(OBJECTS)])
    await save_many([Account(f"a{number}", 100) for number in range(OBJECTS)])


def player(number: int) -> Player:
    return ref(Player, f"p{number % OBJECTS}")


def account(number: int) -> Account:
    return ref(Account, f"a{number % OBJECTS}")


async def _in_pipeline(number: int) -> None:
    async with pipeline(player(number)) as p:
        p.coins += 1


async def _decided_in_pipeline(number: int) -> None:
    async with pipeline(ref(Account, f"own{number}"), player(number)) as (own, p):
        if own.coins == 0:
            own.coins = 1
            p.coins += 1


async def _in_transaction(number: int) -> None:
    async with transaction() as tx:
        p = await tx.get(Player, f"p{number % OBJECTS}")
        p.coins += 1
        await tx.insert(Account(f"new{number}"))


async def _transacted(number: int) -> None:
    async def work(tx: Transaction) -> None:
        p, a = await tx.get(Player, f"p{number % OBJECTS}"), await tx.get(Account, f"a{number % 7}")
        if a.coins > -TASKS:
            p.coins += 1
            a.coins -= 1

    await transact(work)


async def _locked(number: int) -> None:
    async with lock(player(number), timeout=100) as p:
        p.coins = p.coins + 1


async def _locked_twice(number: int) -> None:
    async with lock(player(number), account(number + 1), timeout=100) as (p, _):
        p.coins += 1
        async with lock(player(number), name="other", timeout=100) as same:
            same.wins += 1


async def _inserted_and_deleted(number: int) -> None:
    await insert(Account(f"new{number}", number))
    assert await delete(Account, f"new{number}")
    await increment(player(number), Player.coins, 1)


async def _created(number: int) -> None:
    _, created = await get_or_create(Account, f"new{number % 500}")
    await increment(player(number), Player.coins, 1)
    await increment(player(0), Player.wins, int(created))


async def _saved(number: int) -> None:
    p = await get(Player, f"p{number % OBJECTS}")
    p.meta[f"k{number}"] = "x"
    await save(p)
    await increment(p, Player.coins, 1)


async def _fields(number: int) -> None:
    p = player(number)
    await increment(p, Player.coins, 1)
    await increment(p, Player.ratio, 0.5)
    await append(p, Player.numbers, number)
    await put(p, Player.meta, f"k{number}", "x")
    await modify(p, Player.wins, lambda wins: wins + 1)
    await assign(p, Player.motto, "x")


async def _read(number: int) -> None:
    await increment(player(number), Player.coins, 1)
    assert len(await get_many(Player, ["p1", "p2", "p3"])) == 3
    if number % 20 == 0:
        assert len(await find(Player, Player.score == 0)) == OBJECTS


KINDS: dict[str, Work] = {
    work.__name__[1:]: work
    for work in (
        *(_in_pipeline, _decided_in_pipeline, _in_transaction, _transacted, _locked, _locked_twice),
        *(_inserted_and_deleted, _created, _saved, _fields, _read),
    )
}


@pytest.mark.parametrize("work", KINDS.values(), ids=KINDS.keys())
async def test_a_thousand_tasks_on_default_settings(session: Session, work: Work) -> None:
    if work is _decided_in_pipeline:
        await save_many([Account(f"own{number}") for number in range(TASKS)])
    await asyncio.gather(*(work(number) for number in range(TASKS)))
    players: Any = await get_many(Player, [f"p{number}" for number in range(OBJECTS)])
    assert [p.coins for p in players] == [TASKS // OBJECTS] * OBJECTS
    if work is _transacted:
        accounts: Any = await get_many(Account, [f"a{number}" for number in range(OBJECTS)])
        assert sum(a.coins for a in accounts) == 100 * OBJECTS - TASKS
    if work is _fields:
        assert sum(len(p.numbers) for p in players) == sum(len(p.meta) for p in players) == TASKS
        assert sum(p.ratio for p in players) == TASKS / 2


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_calls_nested_in_one_task_on_hardly_any_connections(url: str, size: int) -> None:
    """Blocks in blocks in blocks, with single writes in them, by 64 tasks at once: nobody waits for himself."""
    async with open_session(url, max_connections=size, pool_timeout=60) as small:
        options: Any = {"session": small}

        async def inner(tx: Transaction) -> None:
            (await tx.get(Player, "p2")).coins += 1
            await increment(player(3), Player.coins, 1, **options)

        async def work(number: int) -> None:
            async with pipeline(player(0), **options) as p:
                p.coins += 1
                async with lock(player(1), timeout=60, **options) as locked:
                    locked.coins += 1
                    async with lock(account(number), timeout=60, **options):
                        async with pipeline(player(4), account(0), **options) as (deep, _):
                            deep.coins += 1
                            await transact(inner, **options)
                            await modify(player(5), Player.coins, lambda coins: coins + 1, **options)

        await asyncio.gather(*(work(number) for number in range(64)))
        assert len(small.loop.node.pool._links) <= size
        assert len(small.loop.node.pool._idle) == len(small.loop.node.pool._links)
    players: Any = await get_many(Player, [f"p{number}" for number in range(6)])
    assert [p.coins for p in players] == [64] * 6


async def test_a_hanging_holder_is_a_typed_error_for_the_others_in_time(url: str) -> None:
    """Of two connections one is shared, and somebody sits on the other: whoever needs it is told after pool_timeout."""
    async with open_session(url, max_connections=2, pool_timeout=0.3) as small:
        options: Any = {"session": small}
        hanging = await small.loop.node.pool.acquire()

        async def nested(number: int) -> None:
            async with pipeline(player(number), **options) as p:
                p.coins += 1

        async def work(tx: Transaction) -> None:
            (await tx.get(Player, "p1")).coins += 1

        async def locked(number: int) -> None:
            async with lock(player(number), timeout=60, lease=0.5, **options) as p:
                p.coins += 1

        kinds: list[Callable[[int], Awaitable[Any]]] = [
            lambda number: increment(player(number), Player.coins, 1, exactly_once=True, **options),
            lambda number: append(player(number), Player.numbers, 1, **options),
            lambda number: insert(Account(f"new{number}"), **options),
            lambda number: transact(work, **options),
            nested,
            locked,
        ]
        start = time.monotonic()
        results = await asyncio.gather(*(kinds[n % 6](n) for n in range(64)), return_exceptions=True)
        assert {type(result) for result in results} <= {PoolTimeout, LockLost}
        assert sum(isinstance(result, PoolTimeout) and result.size == 2 for result in results) > 50
        assert time.monotonic() - start < 20
        # What needs no connection of its own goes on all the while.
        await asyncio.gather(*(increment(player(0), Player.wins, 1, **options) for _ in range(64)))
        small.loop.node.pool.release(hanging)
        await asyncio.gather(*(kinds[n % 6](n) for n in range(64)))
        assert len(small.loop.node.pool._idle) == len(small.loop.node.pool._links) == 1
    assert (await get(Player, "p0")).wins == 64
    assert sum(p.coins for p in await find(Player)) == 11 + 11 + 10 + 10


async def test_who_gives_up_for_want_of_a_connection_has_no_lock(url: str, redis_client: redis.Redis) -> None:
    async with open_session(url, max_connections=1, pool_timeout=0.2) as single:
        link = await single.loop.node.pool.acquire()
        start = time.monotonic()
        with pytest.raises(PoolTimeout):
            async with lock(player(0), session=single, timeout=60):
                pytest.fail("there is no connection to take it with")
        assert time.monotonic() - start < 2
        single.loop.node.pool.release(link)
        assert redis_client.keys("~*lock*") == []
        assert single.loop.turns._locks == {}
        async with lock(player(0), session=single, timeout=1) as p:
            p.coins += 1
    assert (await get(Player, "p0")).coins == 1
