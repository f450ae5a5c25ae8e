"""Cancelled at every await: the n-th step of each operation, for all n. No connection, WATCH, lock or turn is left, no
reply reaches the wrong caller, and the commit is there as a whole or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis

from rapyer_core import (
    SessionClosed,
    append,
    close_rapyer,
    get,
    increment,
    init_rapyer,
    insert,
    lock,
    modify,
    open_session,
    pipeline,
    ref,
    reload,
    save,
    transact,
)
from rapyer_core.sessions import Session, current
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Player
from tests.faults.held import assert_nothing_held, assert_replies_are_ones_own
from tests.support.cancelling import CancelledAtStep

pytestmark = pytest.mark.one_server


def default() -> Session:
    return current(None)


async def _save_new() -> None:
    await save(Account("new", 7))


async def _save_loaded() -> None:
    p = await get(Player, "p")
    p.coins += 5
    p.wins += 5
    await save(p)


async def _increment() -> None:
    await increment(ref(Player, "p"), Player.coins, 5)


async def _append() -> None:
    await append(ref(Player, "p"), Player.numbers, 5)


async def _once() -> None:
    await modify(ref(Player, "p"), Player.coins, lambda coins: coins + 5, exactly_once=True)


async def _pipeline() -> None:
    async with pipeline(ref(Player, "p")) as d:
        d.coins += 5
        d.wins += 5
        await asyncio.sleep(0)


async def _pipeline_met() -> None:
    async with pipeline(ref(Player, "p")) as d:
        d.coins += 5
        d.wins += 5
        await increment(ref(Player, "p"), Player.score, 1)


async def _transact() -> None:
    runs = 0

    async def work(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        p, a = await tx.get(Player, "p"), await tx.get(Account, "a")
        if p.score >= 0:
            p.coins += 5
            p.wins += 5
        a.coins -= 5
        if runs == 1:
            await increment(ref(Player, "p"), Player.score, 1)

    await transact(work)


async def _lock() -> None:
    async with lock(ref(Player, "p"), ref(Account, "a"), name="x", lease=2) as (p, a):
        p.coins += 5
        p.wins += 5
        async with lock(ref(Account, "b"), lease=2) as b:
            b.coins += 5
        a.coins -= 5


async def _lock_waited() -> None:
    """Somebody else, who does not say when he leaves, has the lock for a moment."""
    link = await default().loop.node.pool.acquire()
    try:
        await link.roundtrip([(b"SET", b"~{Player:p}lock:lock", b"another", b"PX", 40)])
    finally:
        default().loop.node.pool.release(link)
    async with lock(ref(Player, "p"), lease=2) as p:
        p.coins += 5
        p.wins += 5


async def _insert() -> None:
    await insert(Account("new", 7))


OPERATIONS: dict[str, Callable[[], Awaitable[None]]] = {
    name[1:]: work
    for name, work in globals().items()
    if name
    in {"_save_new", "_save_loaded", "_increment", "_append", "_once", "_insert"}
    | {"_pipeline", "_pipeline_met", "_transact", "_lock", "_lock_waited"}
}


async def _check(session: Session, client: redis.Redis, known: Player) -> None:
    await assert_nothing_held(session)
    for _ in range(100):
        if not client.exists("~{Player:p}lock:lock"):
            break
        await asyncio.sleep(0.002)
    assert client.keys("~*lock*") == []
    found = await get(Player, "p")
    assert found.coins - 100 in (found.wins, 5)
    assert found.coins in (100, 105)
    a = client.hget("Account:a", "coins")
    assert a in (b"100", b"95")
    if a == b"95":
        assert found.coins == 105
    await assert_replies_are_ones_own(session, client, "Player:p", "Account:a", "Account:b", "Account:new")
    await reload(known)
    assert known.name == "p"


@pytest.fixture
async def opened(url: str) -> AsyncIterator[Session]:
    """The default session, without the network between."""
    yield await init_rapyer(url)
    await close_rapyer()


@pytest.mark.parametrize("cold", [False, True], ids=["connected", "connecting"])
@pytest.mark.parametrize("work", OPERATIONS.values(), ids=OPERATIONS.keys())
async def test_cancelled_at_every_step(
    opened: Session, redis_client: redis.Redis, work: Callable[[], Awaitable[None]], cold: bool
) -> None:
    step = 0
    while True:
        step += 1
        redis_client.flushdb()
        for name in ("a", "b"):
            await save(Account(name, 100))
        known = Player("p", coins=100)
        await save(known)
        if cold:
            for link in opened.loop.node.pool._every:
                await link.close()
        running = CancelledAtStep(work(), step)

        async def task(running: CancelledAtStep = running) -> None:
            await running

        try:
            await asyncio.create_task(task())
        except asyncio.CancelledError:
            assert running.struck
        await _check(opened, redis_client, known)
        if not running.struck:
            break
    assert step > 1


async def test_cancelled_waiters_for_a_connection_take_none(opened: Session) -> None:
    await save(Account("a", 100))
    pool = opened.loop.node.pool
    pool._lent = 1
    link = await pool.acquire()

    async def one_more() -> Any:
        mine = await pool.acquire()
        try:
            return (await mine.roundtrip([(b"HINCRBY", b"Account:a", b"coins", 1)]))[0]
        finally:
            pool.release(mine)

    waiting = [asyncio.create_task(one_more()) for _ in range(20)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    pool.release(link)
    # Cancelled in the very moment in which the connection is handed over.
    waiting[1].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(result, int) for result in results) == 9
    assert len(pool._idle) == 1
    assert (await get(Account, "a")).coins == 109


async def test_a_session_closed_while_in_use_leaves_nothing_open(url: str) -> None:
    async with open_session(url, max_connections=1) as session:
        await save(Account("a", 1), session=session)
        block = pipeline(ref(Account, "a"), session=session)
        async with open_session(url) as spare:
            await get(Account, "a", session=spare)
        link = await session.loop.node.pool.acquire()
        waiting = asyncio.create_task(get(Account, "a", session=session))
        await asyncio.sleep(0)
        pool = session.loop.node.pool
        await session.close()
        with pytest.raises(SessionClosed):
            await waiting
        pool.release(link)
        assert not link._connection.is_connected
        with pytest.raises(SessionClosed):
            await block.__aenter__()


def test_a_second_event_loop_just_works(url: str) -> None:
    async def first() -> None:
        session = await init_rapyer(url)
        await save(Account("a", 1))
        await session.loop.node.pool.close()

    async def second() -> int:
        try:
            return await increment(ref(Account, "a"), Account.coins, 1)
        finally:
            await close_rapyer()

    asyncio.run(first())
    assert asyncio.run(second()) == 2
