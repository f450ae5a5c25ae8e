"""The server's clock jumps: no lock lasts for ever, a holder whose lock is gone is told, nobody's commit is doubled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from rapyer_core import (
    LockLost,
    OutcomeUnknown,
    Retry,
    close_rapyer,
    get,
    increment,
    init_rapyer,
    lock,
    modify,
    open_session,
    ref,
    save,
)
from rapyer_core.operations import locks
from rapyer_core.sessions import Session
from tests.commits.models import Account
from tests.support.clocks import ClockServer, clock_server
from tests.support.proxy import Proxy

pytestmark = pytest.mark.one_server

A = ref(Account, "a")
KEY = "~{Account:a}lock:lock"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClockServer]:
    with clock_server(tmp_path) as server:
        yield server


@pytest.fixture
def client(server: ClockServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
async def session(server: ClockServer) -> AsyncIterator[Session]:
    session = await init_rapyer(server.url)
    await save(Account("a", 100))
    yield session
    await close_rapyer()


@pytest.mark.usefixtures("session")
async def test_a_jump_forwards_ends_the_lock_and_its_holder_is_told(server: ClockServer, client: redis.Redis) -> None:
    start = time.monotonic()
    with pytest.raises(LockLost):
        async with lock(A, lease=3) as a:
            a.coins += 1
            server.jump(60)
            assert not client.exists(KEY)
            await asyncio.sleep(30)
    # By the first renewal; the holder's own clock would have said so only after three seconds.
    assert time.monotonic() - start < 20
    assert (await get(Account, "a")).coins == 100


async def test_of_two_holders_after_a_jump_the_later_one_commits(server: ClockServer, session: Session) -> None:
    """The first does not know yet. Neither of them reads anything that the other changes."""
    async with open_session(server.url) as other:
        with pytest.raises(LockLost):
            async with lock(A, lease=60, session=session) as first:
                first.coins += 1
                server.jump(120)
                async with lock(A, lease=60, session=other) as second:
                    second.coins += 10
    assert (await get(Account, "a")).coins == 110


@pytest.mark.usefixtures("session")
async def test_a_jump_backwards_is_mended_by_the_next_renewal(
    server: ClockServer, client: redis.Redis, session: Session
) -> None:
    async with lock(A, lease=1.5) as a:
        a.coins += 1
        server.jump(-3600)
        assert client.pttl(KEY) > 3_000_000
        for _ in range(1000):
            await asyncio.sleep(0.02)
            if client.pttl(KEY) <= 1500:
                break
        assert 0 < client.pttl(KEY) <= 1500
    assert (await get(Account, "a")).coins == 101
    assert client.keys("~*") == []


@pytest.mark.usefixtures("session")
async def test_whoever_waits_while_the_clock_jumps_gets_the_lock(server: ClockServer, client: redis.Redis) -> None:
    """Neither the waiter's patience nor the holder's lease is measured by the clock that jumps."""

    async def take() -> None:
        async with lock(A, timeout=60) as a:
            a.coins += 1

    async with open_session(server.url) as other:
        async with lock(A, lease=2, session=other) as a:
            a.coins += 1
            waiting = asyncio.create_task(take())
            await asyncio.sleep(0.2)
            server.jump(-3600)
            # Three leases by our clock: renewed all the while.
            await asyncio.sleep(3)
            assert not waiting.done()
        await asyncio.wait_for(waiting, locks.RELIED_WAIT + 10)
    assert (await get(Account, "a")).coins == 102


async def test_a_token_that_a_jump_has_ended_is_not_taken_for_one_that_never_was(
    server: ClockServer, client: redis.Redis, session: Session
) -> None:
    """The write was applied, and its token expired at once: a second try would apply it twice."""
    with Proxy(server.url) as proxy:
        async with open_session(proxy.url, exactly_once=True) as through:
            # Connects, and writes nothing.
            await modify(A, Account.coins, lambda coins: coins, session=through)
            cut = proxy.eat_reply(b"EXEC")
            proxy.refuse()
            writing = asyncio.create_task(increment(A, Account.coins, 5, session=through, retry=Retry(deadline=60)))
            await asyncio.to_thread(cut.wait)
            server.jump(3600)
            assert client.keys("*token*") == []
            proxy.refuse(False)
            with pytest.raises(OutcomeUnknown):
                await writing
    assert (await get(Account, "a", session=session)).coins == 105


async def test_exactly_once_bears_a_jump_backwards(server: ClockServer, session: Session) -> None:
    with Proxy(server.url) as proxy:
        async with open_session(proxy.url, exactly_once=True) as through:
            # Connects, and writes nothing.
            await modify(A, Account.coins, lambda coins: coins, session=through)
            cut = proxy.eat_reply(b"EXEC")
            proxy.refuse()
            writing = asyncio.create_task(increment(A, Account.coins, 5, session=through))
            await asyncio.to_thread(cut.wait)
            server.jump(-3600)
            proxy.refuse(False)
            assert await writing == 105
    assert (await get(Account, "a", session=session)).coins == 105
