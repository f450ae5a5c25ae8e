"""Several event loops, threads with a loop each, and forked processes: they share nothing, or are refused clearly."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import traceback
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest
import redis

from rapyer_core import (
    Session,
    SessionClosed,
    append,
    close_rapyer,
    get,
    increment,
    init_rapyer,
    lock,
    pipeline,
    ref,
    transact,
)
from rapyer_core import sync as blocking
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Player
from tests.support.proxy import Proxy

pytestmark = pytest.mark.one_server

A, P = ref(Account, "a"), ref(Player, "p")
Work = Callable[[], Coroutine[Any, Any, Any]]


@pytest.fixture(autouse=True)
def _stored(url: str) -> None:
    with blocking.open_session(url) as session:
        blocking.save(Account("a", 0), session=session)
        blocking.save(Player("p"), session=session)


@pytest.fixture(autouse=True)
def _no_session_stays() -> Iterator[None]:
    yield
    asyncio.run(close_rapyer())


async def everything(times: int = 5) -> None:
    """One of each, at once with itself."""

    async def one_more(tx: Transaction) -> None:
        p = await tx.get(Player, "p")
        if p.wins >= 0:
            p.wins += 1

    async def in_pipeline() -> None:
        async with pipeline(P) as p:
            p.score += 1

    async def locked() -> None:
        async with lock(P, timeout=60) as p:
            p.stats.wins = p.stats.wins + 1

    work: list[Awaitable[Any]] = []
    for number in range(times):
        work += [increment(P, Player.coins, 1), append(P, Player.numbers, number), transact(one_more)]
        work += [in_pipeline(), locked()]
    await asyncio.gather(*work)


def counted(url: str) -> tuple[int, ...]:
    with blocking.open_session(url) as session:
        p = blocking.get(Player, "p", session=session)
    return (p.coins, p.wins, p.score, p.stats.wins, len(p.numbers))


# -- one after the other --


def test_event_loops_one_after_the_other_use_one_session(url: str) -> None:
    async def first() -> Session:
        session = await init_rapyer(url)
        await everything()
        await session.loop.node.pool.close()
        return session

    async def again(session: Session) -> None:
        await everything()
        await everything()
        await session.loop.node.pool.close()

    session = asyncio.run(first())
    for _ in range(3):
        asyncio.run(again(session))
    assert counted(url) == (35,) * 5


def test_a_loop_that_ends_while_somebody_waits_for_a_lock_leaves_nothing(url: str, redis_client: redis.Redis) -> None:
    redis_client.set("~{Player:p}lock:lock", "another", px=60_000)

    async def ends() -> None:
        session = await init_rapyer(url)
        waiting = asyncio.create_task(everything())
        for _ in range(1000):
            if session.loop.listener._standing:
                break
            await asyncio.sleep(0.005)
        waiting.cancel()
        await asyncio.wait([waiting])
        # A group of which everybody was cancelled still reads what it had asked for.
        pool = session.loop.node.pool
        for _ in range(1000):
            if len(pool._idle) == len(pool._links):
                break
            await asyncio.sleep(0.005)
        await pool.close()

    async def goes_on() -> None:
        redis_client.delete("~{Player:p}lock:lock")
        await everything()
        await close_rapyer()

    asyncio.run(ends())
    before = counted(url)
    asyncio.run(goes_on())
    assert counted(url) == tuple(count + 5 for count in before)
    assert redis_client.keys("~*lock*") == []


# -- at once, in threads --


def test_one_session_in_two_event_loops_at_once(url: str) -> None:
    """Each loop has connections of its own; replies never cross, and locks exclude."""
    sessions: list[Session] = []
    failed: list[BaseException] = []
    both = threading.Barrier(4)

    async def work(session: Session) -> None:
        await asyncio.to_thread(both.wait)
        await everything(20)
        # Who waited for a lock of another loop may listen for a while longer.
        await session.loop.listener.close()
        await session.loop.node.pool.close()

    def run() -> None:
        try:
            asyncio.run(work(sessions[0]))
        except BaseException as error:
            failed.append(error)

    async def opened() -> Session:
        session = await init_rapyer(url)
        await session.loop.node.pool.close()
        return session

    sessions.append(asyncio.run(opened()))
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert counted(url) == (80,) * 5


def test_a_session_closed_in_one_loop_is_refused_in_the_other(url: str) -> None:
    closed, used = threading.Event(), threading.Event()
    caught: list[BaseException] = []

    async def other(session: Session) -> None:
        await increment(A, Account.coins, 1, session=session)
        pool = session.loop.node.pool
        used.set()
        await asyncio.to_thread(closed.wait)
        try:
            await increment(A, Account.coins, 1, session=session)
        except SessionClosed as error:
            caught.append(error)
        await pool.close()

    async def main() -> None:
        session = await init_rapyer(url)
        thread = threading.Thread(target=lambda: asyncio.run(other(session)))
        thread.start()
        await asyncio.to_thread(used.wait)
        await close_rapyer()
        closed.set()
        await asyncio.to_thread(thread.join)

    asyncio.run(main())
    assert len(caught) == 1


# -- forked --


def forked(work: Callable[[], None]) -> int:
    """A child that does the work and exits, without cleaning up what it shares with its parent; its exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_of_an_open_session_connects_anew(proxy: Proxy, url: str) -> None:
    """Forked inside the running event loop, with connections of which one is under way."""

    async def main() -> None:
        session = await init_rapyer(proxy.url)
        await everything()
        connections = proxy.connections
        held = proxy.hold_reply(b"HINCRBY", b"Account:a")
        under_way = asyncio.create_task(increment(A, Account.coins, 1))
        await asyncio.to_thread(held.wait)
        assert await asyncio.to_thread(lambda: forked(lambda: asyncio.run(everything()))) == 0
        assert forked(lambda: asyncio.run(replaced(proxy.url))) == 0
        assert proxy.connections > connections
        held.release()
        assert await under_way == 1
        # The parent's connections are all as they were: its event loop still hears of every reply.
        connections = proxy.connections
        links = len(session.loop.node.pool._links)
        for _ in range(3):
            assert await asyncio.gather(*(coins() for _ in range(links))) == [1] * links
        assert proxy.connections == connections
        await everything()
        await close_rapyer()

    asyncio.run(main())
    assert counted(url) == (20,) * 5


async def coins() -> int:
    return (await get(Account, "a")).coins


async def replaced(url: str) -> None:
    """The child lets go of the session that it inherited."""
    await init_rapyer(url)
    await everything()
    await close_rapyer()


def test_a_child_that_goes_on_with_the_loop_of_its_parent_is_refused(url: str) -> None:
    loop = asyncio.new_event_loop()

    async def opened() -> None:
        await init_rapyer(url)
        await everything()

    def child() -> None:
        with pytest.raises(SessionClosed, match="parent process"):
            loop.run_until_complete(increment(A, Account.coins, 1))

    loop.run_until_complete(opened())
    assert forked(child) == 0
    loop.run_until_complete(everything())
    loop.run_until_complete(close_rapyer())
    loop.close()
    assert counted(url) == (10,) * 5


def _child_of_multiprocessing() -> None:
    asyncio.run(everything())


def test_processes_of_multiprocessing(url: str) -> None:
    context = multiprocessing.get_context("fork")

    async def main() -> None:
        await init_rapyer(url)
        await everything()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            children = [context.Process(target=_child_of_multiprocessing) for _ in range(3)]
            for child in children:
                child.start()
        await everything()
        for child in children:
            await asyncio.to_thread(child.join)
        assert [child.exitcode for child in children] == [0, 0, 0]
        await close_rapyer()

    asyncio.run(main())
    assert counted(url) == (25,) * 5
