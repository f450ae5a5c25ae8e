"""Random faults under random work for a while; checked from what each caller was told."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import redis

from rapyer_core import get, open_session, save, transact
from rapyer_core.embedded import EmbeddedServer
from rapyer_core.transactions import Transaction
from tests.commits.models import Player
from tests.faults.history import WORK, Told, check, prepare, recorded, told
from tests.faults.processes import worker
from tests.support.proxy import Proxy

SECONDS = float(os.environ.get("RAPYER_SOAK_SECONDS", "1"))
KINDS = ("cut_before", "half_request", "cut_after", "eat_reply", "half_reply")


async def _faults(proxy: Proxy, until: float) -> None:
    while time.monotonic() < until:
        getattr(proxy, random.choice(KINDS))(random.choice((b"EXEC", b"MULTI", b"HGETALL", b"WATCH", b"HMGET")))
        await asyncio.sleep(random.uniform(0.005, 0.05))


async def _histories(proxy: Proxy, path: Path, once: bool) -> set[str]:
    """One after the other, each with fresh objects: a list has an end. The kinds of work that came through."""
    end = time.monotonic() + SECONDS
    done: set[str] = set()
    for number in itertools.count():
        left = end - time.monotonic()
        histories = await _history(proxy, path / f"{number}", once, min(max(left, 0.5), 3.0))
        done |= {kind for kind, one in histories.items() if one.ok}
        if time.monotonic() >= end:
            return done
    raise AssertionError


async def _history(proxy: Proxy, log: Path, once: bool, seconds: float) -> dict[str, Told]:
    proxy.clear()
    async with open_session(proxy.url, timeout=2) as session:
        await prepare(session)
        working = asyncio.create_task(recorded(log, 0, once, session=session, tasks=12))
        failing = asyncio.create_task(_faults(proxy, time.monotonic() + seconds))
        await asyncio.wait([working, failing], return_when="FIRST_COMPLETED")
        proxy.clear()
        for task in (failing, working):
            task.cancel()
            # Work ends by itself only when it met what must not be.
            with suppress(asyncio.CancelledError):
                await task
    async with open_session(proxy.url) as session:
        histories = told([log])
        await check(session, histories, certain=once)
    return histories


async def test_what_was_acknowledged_is_there_once(proxy: Proxy, tmp_path: Path) -> None:
    assert await _histories(proxy, tmp_path, once=False) == set(WORK)


async def test_exactly_once_is_never_unknown_while_the_server_is_reachable(proxy: Proxy, tmp_path: Path) -> None:
    assert await _histories(proxy, tmp_path, once=True) == set(WORK)


@pytest.mark.parametrize("once", [False, True], ids=["", "exactly_once"])
async def test_processes_killed_connections_killed_and_the_server_stopped(
    server: EmbeddedServer, url: str, redis_client: redis.Redis, tmp_path: Path, once: bool
) -> None:
    """Each process is killed at some moment and replaced by another."""
    async with open_session(url) as session:
        await prepare(session)
    fresh = itertools.count(1)
    with ExitStack() as stack:

        def start() -> subprocess.Popen[str]:
            number = next(fresh)
            argument = f"{tmp_path / str(number)},{number * 1_000_000},{'once' if once else ''}"
            return stack.enter_context(worker("history", url, argument))

        workers = [start() for _ in range(8 if SECONDS > 10 else 3)]
        await asyncio.to_thread(_wait_for, [tmp_path / str(number) for number in range(1, len(workers) + 1)])
        end = time.monotonic() + max(SECONDS, 2)
        while time.monotonic() < end:
            await asyncio.sleep(random.uniform(0.02, 0.3))
            match random.choice(["process", "connections", "server"]):
                case "process":
                    index = random.randrange(len(workers))
                    workers[index].kill()
                    workers[index] = start()
                case "connections":
                    redis_client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]
                case _:
                    os.kill(server.pid, signal.SIGSTOP)
                    await asyncio.sleep(random.uniform(0.01, 0.2))
                    os.kill(server.pid, signal.SIGCONT)
        for process in workers:
            process.kill()
            process.wait()
    histories = told(tmp_path / str(number) for number in range(1, next(fresh)))
    async with open_session(url) as session:
        await check(session, histories, certain=once)
    assert all(one.ok for one in histories.values())


def _wait_for(logs: list[Path]) -> None:
    end = time.monotonic() + 30
    while not all(log.exists() for log in logs):
        assert time.monotonic() < end
        time.sleep(0.01)


async def test_64_writers_of_one_object(url: str) -> None:
    until = time.monotonic() + SECONDS
    done = 0
    async with open_session(url) as session:
        await save(Player("p"), session=session)

        async def one_more(tx: Transaction) -> None:
            p = await tx.get(Player, "p")
            if p.wins >= 0:
                p.wins += 1

        async def work() -> None:
            nonlocal done
            while time.monotonic() < until:
                await transact(one_more, session=session)
                done += 1

        await asyncio.gather(*(work() for _ in range(64)))
        assert (await get(Player, "p", session=session)).wins == done
