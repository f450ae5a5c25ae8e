"""The server stops and goes on later, is killed, or loads its data: deadlines hold, and what comes late comes once."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from rapyer_core import (
    ConnectionFailed,
    NotApplied,
    OutcomeUnknown,
    Retry,
    append,
    assign,
    get,
    increment,
    insert,
    lock,
    open_session,
    pipeline,
    ref,
    save,
    save_many,
    transact,
)
from rapyer_core.embedded import EmbeddedServer
from rapyer_core.sessions import Session
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Player
from tests.faults.held import assert_nothing_held
from tests.support.builds import Build
from tests.support.servers import command, free_port, running_server

TIMEOUT = 0.5
DURABLE: dict[str, str | int] = {"appendonly": "yes", "appendfsync": "always"}


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def stoppable(build: Build, timeout: float = TIMEOUT) -> AsyncIterator[tuple[Session, EmbeddedServer]]:
    with running_server(binary=build.binary) as server:
        async with open_session(server.url, timeout=timeout) as session:
            await save(Account("a", 100), session=session)
            yield session, server


async def test_a_write_to_a_stopped_server_ends_in_time_and_is_applied_late_once(build: Build) -> None:
    async with stoppable(build) as (session, server):
        with stopped(server.pid):
            start = time.monotonic()
            with pytest.raises(OutcomeUnknown):
                await increment(ref(Account, "a"), Account.coins, 1, session=session)
            assert TIMEOUT <= time.monotonic() - start < 3 * TIMEOUT
            # A read gives up, too: in time, and not twice.
            start = time.monotonic()
            with pytest.raises(ConnectionFailed) as failed:
                await get(Account, "a", session=session)
            assert failed.value.timed_out
            assert time.monotonic() - start < 3 * TIMEOUT
        assert command(server.url, "PING") == b"+PONG\r\n"
        assert (await get(Account, "a", session=session)).coins == 101
        await assert_nothing_held(session)


@pytest.mark.one_server
async def test_many_tasks_at_a_stopped_server_all_end_in_time(build: Build) -> None:
    async with stoppable(build, 1.5) as (session, server):
        await asyncio.gather(*(get(Account, "a", session=session) for _ in range(50)))
        with stopped(server.pid):
            start = time.monotonic()
            told = await asyncio.gather(
                *(increment(ref(Account, "a"), Account.coins, 1, session=session) for _ in range(50)),
                return_exceptions=True,
            )
            assert time.monotonic() - start < 5
            assert {type(one) for one in told} <= {OutcomeUnknown, ConnectionFailed}
        unknown = sum(isinstance(one, OutcomeUnknown) for one in told)
        assert command(server.url, "PING") == b"+PONG\r\n"
        assert 100 <= (await get(Account, "a", session=session)).coins <= 100 + unknown
        await assert_nothing_held(session)


@pytest.mark.one_server
async def test_exactly_once_waits_for_a_stopped_server_and_applies_once(build: Build) -> None:
    async with stoppable(build, 1.5) as (session, server):

        async def work(tx: Transaction) -> None:
            a = await tx.get(Account, "a")
            a.coins += 1 if a.coins >= 100 else 1000

        # Connections that have sent nothing yet at the stop, and some whose EXEC is under way.
        await asyncio.gather(*(get(Account, "a", session=session) for _ in range(20)))
        tasks = [
            asyncio.create_task(
                increment(ref(Account, "a"), Account.coins, 1, exactly_once=True, session=session)
                if number % 2
                else transact(work, exactly_once=True, session=session)
            )
            for number in range(20)
        ]
        while (await get(Account, "a", session=session)).coins == 100:
            pass
        with stopped(server.pid):
            await asyncio.sleep(2)
        told = await asyncio.gather(*tasks, return_exceptions=True)
        # Who had nothing under way may be told that the server did not answer; nobody is left in doubt.
        assert {type(one) for one in told if isinstance(one, Exception)} <= {ConnectionFailed}
        done = sum(not isinstance(one, Exception) for one in told)
        assert (await get(Account, "a", session=session)).coins == 100 + done
        await assert_nothing_held(session)


async def test_nothing_is_in_doubt_when_nothing_was_sent(build: Build) -> None:
    """With exactly_once the keys are watched first: a server that was stopped before has seen no write."""
    async with stoppable(build) as (session, server):
        with stopped(server.pid):
            start = time.monotonic()
            with pytest.raises(ConnectionFailed) as failed:
                await increment(ref(Account, "a"), Account.coins, 1, exactly_once=True, session=session)
            assert failed.value.timed_out
            assert time.monotonic() - start < 3 * TIMEOUT
        assert command(server.url, "PING") == b"+PONG\r\n"
        assert (await get(Account, "a", session=session)).coins == 100


# -- kill -9 --


class Books:
    """What was acknowledged, and what is in doubt, of one server that dies again and again."""

    def __init__(self) -> None:
        self.coins = self.doubtful_coins = 0
        self.numbers: list[int] = []
        self.doubtful_numbers: set[int] = set()
        self.fresh = itertools.count()

    async def work(self, session: Session) -> None:
        """Increments and appends until the server is gone."""
        while True:
            number = next(self.fresh)
            try:
                await increment(ref(Player, "p"), Player.coins, 1, session=session)
                self.coins += 1
            except OutcomeUnknown:
                self.doubtful_coins += 1
                return
            except ConnectionFailed:
                return
            try:
                await append(ref(Player, "p"), Player.numbers, number, session=session)
                self.numbers.append(number)
            except OutcomeUnknown:
                self.doubtful_numbers.add(number)
                return
            except ConnectionFailed:
                return

    async def transfer(self, session: Session) -> None:
        try:
            while True:
                async with pipeline(ref(Account, "a"), ref(Account, "b"), session=session) as (a, b):
                    a.coins -= 1
                    b.coins -= 1
        except (OutcomeUnknown, ConnectionFailed):
            return

    async def check(self, session: Session) -> None:
        p = await get(Player, "p", session=session)
        assert self.coins <= p.coins <= self.coins + self.doubtful_coins
        assert len(set(p.numbers)) == len(p.numbers)
        assert set(self.numbers) <= set(p.numbers) <= set(self.numbers) | self.doubtful_numbers
        a, b = await get(Account, "a", session=session), await get(Account, "b", session=session)
        assert a.coins == b.coins


@pytest.mark.one_server
async def test_nothing_acknowledged_is_lost_by_20_kills_of_the_server(tmp_path: Path, build: Build) -> None:
    options = {**DURABLE, "port": free_port(), "bind": "127.0.0.1"}
    books, rng = Books(), random.Random(11)
    # One session through all of it: its connections die with each server, and nothing else does.
    with running_server(tmp_path, binary=build.binary, **options):
        opened = open_session(f"redis://127.0.0.1:{options['port']}/0", timeout=2)
        session = await opened.__aenter__()
        await save_many([Player("p"), Account("a"), Account("b")], session=session)
    for _ in range(20):
        with running_server(tmp_path, binary=build.binary, **options) as server:
            await books.check(session)
            work = [asyncio.create_task(books.work(session)) for _ in range(10)]
            work.append(asyncio.create_task(books.transfer(session)))
            await asyncio.sleep(rng.uniform(0.01, 0.08))
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.gather(*work)
    with running_server(tmp_path, binary=build.binary, **options):
        await books.check(session)
        await assert_nothing_held(session)
        await opened.__aexit__(None, None, None)
    assert books.coins > 100
    assert len(books.numbers) > 20


# -- loading --


@contextmanager
def loading_server(build: Build, directory: Path, url: str) -> Iterator[None]:
    """A server at the url that loads for more than three seconds, and has begun to."""
    port = int(url.rpartition(":")[2].partition("/")[0])
    options: dict[str, str | int] = {"port": port, "bind": "127.0.0.1"}
    with running_server(directory, binary=build.binary, appendonly="no", **options) as filling:
        for number in range(350):
            command(filling.url, "SET", f"filler:{number}", "x" * 1024)
        command(filling.url, "HSET", "Account:a", "~", "1", "owner", "a", "coins", "5")
        assert command(filling.url, "SAVE") == b"+OK\r\n"
    # Microseconds for each key; connections are served every so many bytes.
    slow: dict[str, str | int] = {"key-load-delay": 10_000, "loading-process-events-interval-bytes": 1024}
    server = EmbeddedServer(directory, binary=build.binary, options={**options, "appendonly": "no", **slow})
    starting = threading.Thread(target=server.start)
    starting.start()
    try:
        end = time.monotonic() + 10
        while not _is_loading(url):
            assert time.monotonic() < end
        yield
    finally:
        starting.join()
        server.stop()


def _is_loading(url: str) -> bool:
    try:
        return command(url, "PING").startswith(b"-LOADING")
    except OSError:
        return False


async def test_a_loading_server_is_waited_for_until_the_deadline(tmp_path: Path, build: Build) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    account, brief = ref(Account, "a"), Retry(deadline=0.3)
    with loading_server(build, tmp_path, url):
        async with open_session(url, retry=brief) as impatient:
            start = time.monotonic()
            told = await asyncio.gather(
                get(Account, "a", session=impatient),
                increment(account, Account.coins, 1, session=impatient),
                increment(account, Account.coins, 1, exactly_once=True, session=impatient),
                assign(account, Account.coins, 1, session=impatient),
                save(Account("a", 1), session=impatient, retry=brief),
                insert(Account("b", 1), session=impatient),
                _locked(impatient),
                return_exceptions=True,
            )
            assert time.monotonic() - start < 2
            assert [(type(one), getattr(one, "code", "")) for one in told] == [(NotApplied, "LOADING")] * len(told)
        async with open_session(url) as patient:
            assert await increment(account, Account.coins, 1, session=patient) == 6
            assert not await asyncio.to_thread(_is_loading, url)


async def _locked(session: Session) -> None:
    async with lock(ref(Account, "a"), timeout=0.3, session=session) as a:
        a.coins += 1
