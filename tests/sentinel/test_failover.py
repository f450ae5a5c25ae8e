"""The primary dies, or is replaced: sessions go on with its successor, and what they said stays true."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import rapyer_core as rc
from rapyer_core import (
    ConnectionFailed,
    Key,
    LockLost,
    NotApplied,
    OutcomeUnknown,
    RapyerError,
    Retry,
    Session,
    open_session,
    redis_model,
    ref,
    sync,
)
from tests.faults.history import check, prepare, recorded, told
from tests.support.sentinels import SERVICE, Deployment


@redis_model
@dataclass
class Tally:
    name: Key[str]
    count: int = 0
    seen: set[int] = field(default_factory=set)


T = ref(Tally, "t")


@dataclass
class Book:
    """What callers were told. acked: when, of each."""

    acked: dict[int, float] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    failed: list[RapyerError] = field(default_factory=list)

    def check(self, stored: Tally, *, died: float | None = None) -> None:
        """Whether what is stored agrees: each acknowledged effect once, each doubtful one once or not.

        died: when a primary did, of which the last acknowledged effects may be lost; no later ones.
        """
        assert stored.count == len(stored.seen), "half a commit, or one twice"
        assert stored.seen <= {*self.acked, *self.unknown}, "refused, and there all the same"
        lost = self.acked.keys() - stored.seen
        if died is None:
            assert not lost, "acknowledged, and lost"
        # A reply may have been on its way when its sender died.
        assert all(self.acked[number] < (died or 0) + 0.2 for number in lost), "lost by the successor"
        assert len(self.acked) - len(lost) <= stored.count <= len(self.acked) - len(lost) + len(self.unknown)


async def _count(number: int, session: Session, book: Book, once: bool) -> None:
    """One effect that can be told apart from all others."""
    try:
        async with rc.pipeline(T, exactly_once=once, session=session) as t:
            t.count += 1
            t.seen.add(number)
    except OutcomeUnknown:
        book.unknown.add(number)
    except RapyerError as error:
        book.failed.append(error)
    else:
        book.acked[number] = time.monotonic()


class Traffic:
    """50 tasks that write 200 times a second together, until they are told to stop."""

    def __init__(self, session: Session, once: bool = False) -> None:
        self.book = Book()
        self._session, self._once, self._stop = session, once, asyncio.Event()

    async def __aenter__(self) -> Book:
        self._tasks = [asyncio.create_task(self._work(number)) for number in range(50)]
        await self._more(50)
        return self.book

    async def __aexit__(self, *exc_info: object) -> None:
        # The successor has to have done something.
        await self._more(100)
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _work(self, number: int) -> None:
        while not self._stop.is_set():
            await _count(number, self._session, self.book, self._once)
            number += 50
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.25)

    async def _more(self, writes: int) -> None:
        before = len(self.book.acked)
        async with asyncio.timeout(20):
            while len(self.book.acked) < before + writes:  # noqa: ASYNC110  # nothing tells
                await asyncio.sleep(0.01)


async def _killed(deployment: Deployment) -> float:
    """Kill the primary and wait for its successor; when it was killed."""
    former = await asyncio.to_thread(deployment.kill_primary)
    died = time.monotonic()
    await asyncio.to_thread(deployment.wait_for_failover, former)
    return died


@pytest.mark.parametrize("once", [False, True], ids=["", "exactly_once"])
async def test_the_primary_is_killed_amid_200_writes_a_second(
    deployment: Deployment, session: Session, once: bool
) -> None:
    """Only what was under way is in doubt, and nothing with exactly_once; the others wait for the successor."""
    await rc.save(Tally("t"))
    async with Traffic(session, once) as book:
        died = await _killed(deployment)
    book.check(await rc.get(Tally, "t"), died=died)
    assert [error for error in book.failed if not isinstance(error, ConnectionFailed)] == []
    assert len(book.unknown) <= (0 if once else 50)


def test_the_primary_is_killed_under_threads(deployment: Deployment) -> None:
    book = Book()
    stop = threading.Event()

    def work(number: int) -> None:
        while not stop.is_set():
            try:
                with sync.pipeline(T, session=session) as t:
                    t.count += 1
                    t.seen.add(number)
            except OutcomeUnknown:
                book.unknown.add(number)
            except RapyerError as error:
                book.failed.append(error)
            else:
                book.acked[number] = time.monotonic()
            number += 8
            stop.wait(0.02)

    def more(writes: int) -> None:
        end, before = time.monotonic() + 20, len(book.acked)
        while len(book.acked) < before + writes:
            assert time.monotonic() < end, "no progress"
            time.sleep(0.01)

    with sync.open_session(deployment.url) as session:
        sync.save(Tally("t"), session=session)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        try:
            more(50)
            former = deployment.kill_primary()
            died = time.monotonic()
            deployment.wait_for_failover(former)
            more(100)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        book.check(sync.get(Tally, "t", session=session), died=died)
    assert [error for error in book.failed if not isinstance(error, ConnectionFailed)] == []
    assert len(book.unknown) <= 8


@pytest.mark.parametrize("once", [False, True], ids=["", "exactly_once"])
async def test_in_a_coordinated_failover_nothing_is_lost(
    deployment: Deployment, session: Session, tmp_path: Path, once: bool
) -> None:
    """All kinds of work, checked from what each caller was told; with exactly_once nobody notices anything."""
    log = tmp_path / "log"
    await prepare(session)
    working = asyncio.create_task(recorded(log, 0, once, session=session, tasks=50))
    await asyncio.sleep(0.2)
    former = await asyncio.to_thread(deployment.fail_over)
    await asyncio.to_thread(deployment.wait_for_failover, former)
    before = len(log.read_bytes())
    async with asyncio.timeout(20):
        while len(log.read_bytes()) < before + 10_000 and not working.done():  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.01)
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    await check(session, told([log]), certain=once)


async def test_idle_connections_find_the_successor(deployment: Deployment) -> None:
    """Each of them, not only the first: the sentinels end most, and are asked now and then for the sake of the rest."""
    async with open_session(deployment.url, timeout=1) as session:
        await rc.save(Tally("t"), session=session)
        await asyncio.gather(*(_count(number, session, Book(), once=False) for number in range(50)))
        former = await asyncio.to_thread(deployment.fail_over)
        new = await asyncio.to_thread(deployment.wait_for_failover, former)
        await _change_and_see(deployment, new, session)
        await asyncio.gather(*(_count(number, session, Book(), once=False) for number in range(50, 100)))
        assert {link._connection.port for link in session.loop.node.pool._every if link.ready} == {new}


async def _change_and_see(deployment: Deployment, new: int, session: Session) -> None:
    """Until a session that only reads sees what is written at this primary."""
    with deployment.client(new) as client:
        client.hset("Tally:t", "count", "1234")
    async with asyncio.timeout(20):
        while (await rc.get(Tally, "t", session=session)).count != 1234:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.01)


# -- a primary that became a replica without anybody being told --


def _demote(deployment: Deployment) -> int:
    """Let the primary and its replica change places, past the sentinels, which notice later; the former one's port."""
    former = deployment.primary
    (other,) = set(deployment.servers) - {former}
    with deployment.client(other) as client:
        client.execute_command("REPLICAOF", "NO", "ONE")
    with deployment.client(former) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", other)
    return former


async def test_what_a_demoted_primary_refuses_is_done_once_by_its_successor(
    deployment: Deployment, session: Session
) -> None:
    """READONLY proves that nothing was written: of 64 tasks at once, on one connection or several, each waits for the
    successor.
    """
    await rc.save_many([Tally("t"), Tally("b")])
    book = Book()
    former = await asyncio.to_thread(_demote, deployment)
    commits = [_count(number, session, book, once=False) for number in range(32)]
    blind = [rc.increment(ref(Tally, "b"), Tally.count, 1) for _ in range(32)]
    done: Any = await asyncio.gather(*commits, *blind)
    assert sorted(done[32:]) == list(range(1, 33))
    assert (len(book.acked), book.unknown, book.failed) == (32, set(), [])
    assert not deployment.is_primary(former)
    await asyncio.to_thread(deployment.wait_until_settled)
    with deployment.client(deployment.primary) as client:
        assert client.hget("Tally:t", "count") == client.hget("Tally:b", "count") == b"32"


def test_the_same_among_threads(deployment: Deployment) -> None:
    with sync.open_session(deployment.url) as session:
        sync.save(Tally("t"), session=session)
        _demote(deployment)
        assert sync.increment(T, Tally.count, 1, session=session) == 1
        with sync.pipeline(T, session=session) as t:
            t.count += 1
        assert sync.get(Tally, "t", session=session).count == 2


async def test_who_only_reads_leaves_a_demoted_primary(deployment: Deployment) -> None:
    """It answers as before, and nobody need end the connections to it: the sentinels are asked now and then."""
    async with open_session(deployment.url, timeout=1) as session:
        with sync.open_session(deployment.url, timeout=1) as blocking:
            await rc.save(Tally("t"), session=session)
            former = await asyncio.to_thread(_demote, deployment)
            async with asyncio.timeout(20):
                while True:
                    await rc.get(Tally, "t", session=session)
                    sync.get(Tally, "t", session=blocking)
                    links: list[Any] = [session.loop.node.pool._every[0], blocking.loop.node.pool._idle[0]]
                    if former not in [link._connection.port for link in links]:
                        break
                    await asyncio.sleep(0.01)


async def test_who_does_not_wait_is_told_and_the_next_operation_finds_the_successor(
    deployment: Deployment, session: Session
) -> None:
    await rc.save(Tally("t"))
    former = await asyncio.to_thread(_demote, deployment)
    with pytest.raises(NotApplied) as caught:
        await rc.increment(T, Tally.count, 1, retry=Retry(attempts=1))
    assert (caught.value.code, caught.value.passing) == ("READONLY", True)
    assert not session.loop.node.pool._every[0].ready, "the connection can still be used"
    await asyncio.to_thread(deployment.wait_for_failover, former)
    assert await rc.increment(T, Tally.count, 1, retry=Retry(attempts=1)) == 1


async def test_a_connection_that_comes_by_an_old_answer_is_not_used(deployment: Deployment) -> None:
    """A sentinel may not have heard of a failover: the server itself is asked for its role."""
    former = await asyncio.to_thread(_demote, deployment)

    def in_a_thread() -> None:
        with sync.open_session(deployment.url) as session:
            sync.save(Tally("b"), session=session)
            assert [link._connection.port for link in session.loop.node.pool._idle] != [former]

    blocking = asyncio.create_task(asyncio.to_thread(in_a_thread))
    async with open_session(deployment.url) as session:
        await rc.save(Tally("t"), session=session)
        assert session.loop.node.pool._every[0]._connection.port != former
    await blocking


# -- blocks and locks --


async def test_a_block_that_was_open_is_checked_against_the_successor(deployment: Deployment, session: Session) -> None:
    """What it read there is compared with what the successor has; it commits, and is told."""
    await rc.save(Tally("t"))
    async with rc.transaction() as tx:
        t = await tx.get(Tally, "t")
        await _killed(deployment)
        t.count = t.count + 7 if t.count == 0 else -1
        t.seen.add(1)
    assert await rc.get(Tally, "t") == Tally("t", 7, {1})


async def test_a_block_whose_reading_is_not_true_any_more_at_the_successor(
    deployment: Deployment, session: Session
) -> None:
    await rc.save(Tally("t"))
    with pytest.raises(rc.Conflict):
        async with rc.transaction() as tx:
            t = await tx.get(Tally, "t")
            if t.count == 0:
                former = await asyncio.to_thread(deployment.fail_over)
                new = await asyncio.to_thread(deployment.wait_for_failover, former)
                with deployment.client(new) as client:
                    client.hset("Tally:t", "count", "5")
                t.count = 1
    assert (await rc.get(Tally, "t")).count == 5


async def test_a_lock_is_known_to_the_successor(deployment: Deployment, session: Session) -> None:
    """It was taken long before the primary died, so that the replica has it: nobody else gets it meanwhile."""

    async def also() -> None:
        async with rc.lock(T, name="l", timeout=0.2):
            pass

    await rc.save(Tally("t"))
    async with rc.lock(T, name="l", lease=60) as t:
        await asyncio.to_thread(deployment.wait_until_settled)
        await _killed(deployment)
        with pytest.raises(rc.LockTimeout):
            await asyncio.create_task(also())
        t.count += 1
    async with rc.lock(T, name="l", timeout=5) as t:
        t.count += 1
    assert (await rc.get(Tally, "t")).count == 2


async def test_a_lock_that_the_successor_does_not_know_is_lost(deployment: Deployment, session: Session) -> None:
    """As if the primary had died before the replica heard of it: the commit is refused."""
    await rc.save(Tally("t"))
    with pytest.raises(LockLost):
        async with rc.lock(T, name="l", lease=60) as t:
            t.count += 1
            former = await asyncio.to_thread(deployment.fail_over)
            new = await asyncio.to_thread(deployment.wait_for_failover, former)
            with deployment.client(new) as client:
                for key in client.scan_iter("~*"):
                    client.delete(key)
    assert (await rc.get(Tally, "t")).count == 0


async def test_holders_of_a_lock_exclude_each_other_across_a_failover(deployment: Deployment, session: Session) -> None:
    """50 tasks, each of which extends a sequence by what it read under the lock."""
    await rc.save(Tally("t"))
    book = Book()

    async def extend(number: int) -> None:
        try:
            async with rc.lock(T, name="l", timeout=20, lease=2) as t:
                now = int(t.count)
                t.count = now + 1
                t.seen.add(number)
        except OutcomeUnknown:
            book.unknown.add(number)
        except (LockLost, ConnectionFailed) as error:
            book.failed.append(error)
        else:
            book.acked[number] = time.monotonic()

    tasks = [asyncio.create_task(extend(number)) for number in range(50)]
    async with asyncio.timeout(20):
        while not book.acked:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.001)
    died = await _killed(deployment)
    await asyncio.gather(*tasks)
    book.check(await rc.get(Tally, "t"), died=died)
    assert len(book.acked) > 1


async def test_listeners_follow(deployment: Deployment, session: Session) -> None:
    """What wakes who waits for a lock comes from the successor."""
    ear = session.loop.listener.ear(b"channel")
    try:
        async with asyncio.timeout(20):
            while not await ear.wait(1):
                pass
        former = await asyncio.to_thread(deployment.kill_primary)
        new = await asyncio.to_thread(deployment.wait_for_failover, former)
        with deployment.client(new) as client:
            async with asyncio.timeout(20):
                while client.publish("channel", b"") == 0:
                    await ear.wait(0.1)
                assert await ear.wait(5)
    finally:
        ear.close()


def test_listeners_of_threads_follow(deployment: Deployment) -> None:
    with sync.open_session(deployment.url) as session:
        ear = session.loop.listener.ear(b"channel")
        end = time.monotonic() + 20
        while not ear.wait(1):
            assert time.monotonic() < end
        former = deployment.kill_primary()
        new = deployment.wait_for_failover(former)
        with deployment.client(new) as client:
            while client.publish("channel", b"") == 0:
                assert time.monotonic() < end
                ear.wait(0.1)
            assert ear.wait(5)
        ear.close()


# -- what is left --


async def test_a_failover_with_a_sentinel_less(deployment: Deployment, session: Session) -> None:
    """The one that sessions ask first is dead; the other two are enough."""
    await rc.save(Tally("t"))
    deployment.kill_sentinel()
    await _killed(deployment)
    assert await rc.increment(T, Tally.count, 1) == 1


async def test_a_service_without_any_primary_is_named(deployment: Deployment) -> None:
    async with open_session(deployment.url, timeout=0.5) as session:
        await rc.save(Tally("t"), session=session)
        with deployment.stopped():
            with pytest.raises((ConnectionFailed, OutcomeUnknown)):
                await rc.increment(T, Tally.count, 1, session=session)
            with pytest.raises(ConnectionFailed, match=f"no primary of '{SERVICE}' could be reached within 0.5 s"):
                await rc.increment(T, Tally.count, 1, session=session)
            with pytest.raises(ConnectionFailed, match=f"no primary of '{SERVICE}' could be reached within 0.5 s"):
                await rc.get(Tally, "t", session=session)
        async with asyncio.timeout(20):
            while True:
                with suppress(ConnectionFailed):
                    assert (await rc.get(Tally, "t", session=session)).count in (0, 1)
                    break
