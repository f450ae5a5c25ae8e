"""Locks when the network, the server or the holder fails: who has lost the lock is told and writes nothing, nobody's
lock is harmed, and no lock is ever without an end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from rapyer_core import LockLost, OutcomeUnknown, close_rapyer, get, init_rapyer, lock, open_session, ref, save, sync
from rapyer_core.sessions import Session
from tests.commits.models import Account, Player
from tests.faults.held import assert_nothing_held
from tests.faults.processes import line, worker
from tests.support.proxy import Proxy
from tests.support.rights import as_admin
from tests.support.servers import running_server

KEY = b"~{Account:a}lock:lock"
A = ref(Account, "a")
CUTS = ["cut_before", "cut_after", "eat_reply", "half_reply"]


@pytest.fixture
async def _stored(session: Session, proxy: Proxy) -> None:
    await save(Account("a", 100))
    proxy.clear()


def stored(client: redis.Redis) -> Any:
    return client.hget("Account:a", "coins")


async def add_one(**options: Any) -> None:
    async with lock(A, **options) as a:
        a.coins += 1


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that comes by itself."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


# -- taking --


@pytest.mark.usefixtures("_stored")
@pytest.mark.parametrize("kind", CUTS)
@pytest.mark.parametrize("command", [b"SET", b"GET", b"PTTL"])
async def test_a_lock_taken_by_a_lost_request_is_ours_and_its_lease_begins_anew(
    proxy: Proxy, redis_client: redis.Redis, kind: str, command: bytes
) -> None:
    getattr(proxy, kind)(command)
    async with lock(A, timeout=30, lease=30) as a:
        a.coins += 1
        assert redis_client.pttl(KEY) > 20_000
        # Only who cannot know since when he has had it renews it at once.
        assert proxy.count(b"PEXPIRE") <= 1
    assert redis_client.keys("~*") == []
    assert stored(redis_client) == b"101"


@pytest.mark.usefixtures("_stored")
async def test_a_request_to_take_the_lock_that_comes_late_frees_it_by_itself(
    proxy: Proxy, redis_client: redis.Redis
) -> None:
    held = proxy.hold(b"SET")
    await add_one(timeout=5, lease=0.5)
    held.release()
    await until(lambda: redis_client.exists(KEY))
    assert 0 < redis_client.pttl(KEY) <= 500
    await add_one(timeout=5)
    assert stored(redis_client) == b"102"


# -- renewing --


@pytest.mark.usefixtures("_stored")
@pytest.mark.parametrize("kind", CUTS)
async def test_renewals_that_are_cut_are_tried_again_in_time(
    proxy: Proxy, redis_client: redis.Redis, kind: str
) -> None:
    async with lock(A, lease=3) as a:
        a.coins += 1
        for command in (b"WATCH", b"GET", b"PEXPIRE", b"EXEC"):
            fault = getattr(proxy, kind)(command)
            await until(lambda fault=fault: fault.hits)  # type: ignore[misc]  # a default of the lambda
            assert redis_client.exists(KEY)
    assert stored(redis_client) == b"101"


@pytest.mark.usefixtures("_stored")
async def test_a_holder_that_cannot_renew_is_told_when_its_lease_is_over_and_not_later(
    proxy: Proxy, redis_client: redis.Redis, session: Session
) -> None:
    """The renewal alone would wait for its reply for longer."""
    # Two are of the entry: the object is watched, and the lock once it is taken.
    held = proxy.hold(b"WATCH", nth=3, times=100)
    start = time.monotonic()
    with pytest.raises(LockLost):
        async with lock(A, lease=0.6) as a:
            a.coins += 1
            await asyncio.sleep(30)
    # Neither for the renewal, nor for a release.
    assert 0.5 < time.monotonic() - start < 0.95
    held.release()
    proxy.clear()
    await assert_nothing_held(session)
    assert stored(redis_client) == b"100"


@pytest.mark.usefixtures("_stored")
async def test_a_full_pool_does_not_keep_the_loss_from_being_told(
    redis_client: redis.Redis, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.monotonic()
    with pytest.raises(LockLost):
        async with lock(A, lease=0.6) as a:
            a.coins += 1
            pool = session.loop.node.pool
            taken = await pool.acquire()
            monkeypatch.setattr(pool, "_lent", 1)
            try:
                await asyncio.sleep(30)
            finally:
                pool.release(taken)
    assert time.monotonic() - start < 5
    await assert_nothing_held(session)
    assert stored(redis_client) == b"100"


@pytest.mark.usefixtures("_stored")
async def test_a_late_renewal_does_nothing_to_the_lock_of_another(proxy: Proxy, redis_client: redis.Redis) -> None:
    held = proxy.hold(b"EXEC")
    with pytest.raises(LockLost):
        async with lock(A, lease=0.6) as a:
            a.coins += 1
            await asyncio.sleep(30)
    await until(lambda: redis_client.set(KEY, "another", px=5000, nx=True))
    held.release()
    await asyncio.sleep(0.2)
    assert redis_client.get(KEY) == b"another"
    assert redis_client.pttl(KEY) <= 5000
    assert stored(redis_client) == b"100"


# -- giving back --


@pytest.mark.usefixtures("_stored")
async def test_a_late_release_does_nothing_to_the_lock_of_another(proxy: Proxy, redis_client: redis.Redis) -> None:
    held = proxy.hold(b"EXEC")
    with pytest.raises(ZeroDivisionError):
        async with lock(A, lease=0.7):
            raise ZeroDivisionError
    held.wait()
    await until(lambda: redis_client.set(KEY, "another", px=60_000, nx=True))
    held.release()
    await asyncio.sleep(0.2)
    assert redis_client.get(KEY) == b"another"


@pytest.mark.usefixtures("_stored")
async def test_a_late_commit_does_nothing_once_another_has_the_lock(proxy: Proxy, redis_client: redis.Redis) -> None:
    held = proxy.hold(b"EXEC")
    with pytest.raises(OutcomeUnknown):
        await add_one(lease=0.7)
    await until(lambda: redis_client.set(KEY, "another", px=60_000, nx=True))
    held.release()
    await asyncio.sleep(0.2)
    assert redis_client.get(KEY) == b"another"
    assert stored(redis_client) == b"100"


@pytest.mark.usefixtures("_stored")
@pytest.mark.parametrize("kind", CUTS)
async def test_a_release_sent_twice_is_one(proxy: Proxy, redis_client: redis.Redis, kind: str) -> None:
    for command in (b"WATCH", b"GET", b"DEL", b"PUBLISH", b"EXEC"):
        with pytest.raises(ZeroDivisionError):
            async with lock(A, lease=30):
                getattr(proxy, kind)(command)
                raise ZeroDivisionError
        assert redis_client.keys("~*") == []
        # At once, and not after the lease.
        await add_one(timeout=1)


@pytest.mark.usefixtures("_stored")
async def test_no_lock_is_ever_without_an_end(proxy: Proxy, redis_client: redis.Redis) -> None:
    """Whatever happens to the requests: each that makes a lock gives it an end in the same command, none takes it."""
    for number in range(12):
        getattr(proxy, CUTS[number % 4])(nth=3 + 7 * number)
    for _ in range(8):
        try:
            await add_one(timeout=3, lease=0.3)
        except (OutcomeUnknown, LockLost):
            continue
    requests = [words for words in proxy.requests if KEY in words]
    makers = [words for words in requests if words[0] == b"SET"]
    assert len(makers) >= 8
    assert all(words[3:5] == (b"NX", b"PX") and 0 < int(words[5]) <= 300 for words in makers)
    changing = {words[0] for words in requests} - {b"WATCH", b"GET", b"PTTL", b"SUBSCRIBE", b"UNSUBSCRIBE"}
    assert changing <= {b"SET", b"PEXPIRE", b"DEL", b"PUBLISH"}
    await until(lambda: redis_client.keys("~*") == [])


# -- a server that stands still, and holders that do --


@pytest.mark.one_server
async def test_a_holder_is_told_while_the_server_stands_still() -> None:
    with running_server() as server:
        await init_rapyer(server.url, timeout=5)
        try:
            await save(Account("a", 100))
            start = time.monotonic()
            with pytest.raises(LockLost):
                await _held_in_a_stopped(server.pid)
            assert 0.5 < time.monotonic() - start < 4
            os.kill(server.pid, signal.SIGCONT)
            assert (await get(Account, "a")).coins == 100
        finally:
            os.kill(server.pid, signal.SIGCONT)
            await close_rapyer()


async def _held_in_a_stopped(pid: int) -> None:
    async with lock(A, lease=0.6) as a:
        a.coins += 1
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(30)


@pytest.mark.one_server
def test_a_holder_that_was_stopped_is_told_as_soon_as_it_runs_again(url: str) -> None:
    with sync.open_session(url) as session:
        sync.save(Account("a", 100), session=session)
        with worker("sleeper", url) as process:
            assert line(process) == "holding"
            process.send_signal(signal.SIGSTOP)
            with sync.lock(sync.ref(Account, "a"), name="n", timeout=10, session=session) as a:
                a.coins += 1
            process.send_signal(signal.SIGCONT)
            start = time.monotonic()
            assert line(process) == "LockLost"
            assert time.monotonic() - start < 5
        assert sync.get(Account, "a", session=session).coins == 101


@pytest.mark.one_server
def test_commits_under_one_lock_come_in_the_order_of_its_holders(url: str) -> None:
    """Each holder has a larger number than the one before, and its commit appends it without reading anything."""
    with sync.open_session(url) as session, redis.Redis.from_url(as_admin(url)) as client:
        sync.save(Player("p"), session=session)
        with worker("links", url, as_admin(url)) as one, worker("links", url, as_admin(url)) as two:
            assert [line(process) for process in (one, two)] == ["ready"] * 2
            end = time.monotonic() + 4
            while time.monotonic() < end:
                for process in (one, two):
                    process.send_signal(signal.SIGSTOP)
                    time.sleep(0.15)
                    process.send_signal(signal.SIGCONT)
                    time.sleep(0.05)
        numbers = sync.get(Player, "p", session=session).numbers
        assert len(numbers) > 5
        assert numbers == sorted(set(numbers))
        fetched: Any = client.get("outside")
        assert int(fetched) > len(numbers), "nobody was stopped in a block: nothing was shown"


@pytest.mark.one_server
async def test_a_stopped_server_hands_the_locks_on_when_it_goes_on() -> None:
    """Fifty tasks of two sessions wait for a lock when the server stops past all timeouts; all get it in the end."""
    with running_server() as server:
        async with open_session(server.url, timeout=0.3) as one, open_session(server.url, timeout=0.3) as two:
            await save(Account("a", 0), session=one)
            done: list[int] = []

            async def work(number: int) -> None:
                while True:
                    try:
                        async with lock(A, session=(one, two)[number % 2], timeout=60, lease=1) as a:
                            a.coins += 1
                            await asyncio.sleep(0.01)
                    except (LockLost, OutcomeUnknown, ConnectionError):
                        continue
                    done.append(number)
                    return

            tasks: list[Awaitable[None]] = [asyncio.create_task(work(number)) for number in range(50)]
            await until(lambda: len(done) > 5)
            os.kill(server.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(1)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            await asyncio.gather(*tasks)
            assert sorted(done) == list(range(50))
            assert 50 <= (await get(Account, "a", session=one)).coins <= 52
