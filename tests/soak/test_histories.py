"""Random faults under random work for a while; checked from what each caller was told."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

import redis

from rapyer_core import (
    ConnectionFailed,
    OutcomeUnknown,
    append,
    get,
    increment,
    open_session,
    ref,
    save,
    sync,
    transact,
)
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Player
from tests.faults.processes import line, worker
from tests.support.proxy import Proxy

SECONDS = float(os.environ.get("RAPYER_SOAK_SECONDS", "1"))
KINDS = ("cut_before", "cut_after", "eat_reply", "half_reply")


async def _faults(proxy: Proxy, until: float) -> None:
    while time.monotonic() < until:
        getattr(proxy, random.choice(KINDS))(random.choice((b"EXEC", b"MULTI", b"HGETALL", b"WATCH", b"HMGET")))
        await asyncio.sleep(random.uniform(0.005, 0.05))


async def _histories(proxy: Proxy, once: bool) -> Counter[str]:
    """One after the other, each with a fresh object: a list has an end."""
    told: Counter[str] = Counter()
    end = time.monotonic() + SECONDS
    while (left := end - time.monotonic()) > 0:
        told += await _history(proxy, once, min(left, 3.0))
    return told


async def _history(proxy: Proxy, once: bool, seconds: float) -> Counter[str]:
    until = time.monotonic() + seconds
    told: Counter[str] = Counter()
    acknowledged: list[int] = []
    unknown: list[int] = []
    await _prepare(proxy)
    async with open_session(proxy.url, timeout=2) as session:

        async def work(worker: int) -> None:
            number = worker
            while time.monotonic() < until:
                number += 8
                try:
                    if number % 3:
                        await append(ref(Player, "p"), Player.numbers, number, exactly_once=once, session=session)
                        acknowledged.append(number)
                    else:
                        await increment(ref(Player, "p"), Player.coins, 1, exactly_once=once, session=session)
                        told["incremented"] += 1
                except ConnectionFailed:
                    told["failed"] += 1
                except OutcomeUnknown:
                    told["unknown"] += 1
                    if number % 3:
                        unknown.append(number)
                    else:
                        told["unknown increments"] += 1

        await asyncio.gather(_faults(proxy, until), *(work(worker) for worker in range(8)))
    proxy.clear()
    async with open_session(proxy.url) as session:
        found = await get(Player, "p", session=session)
    assert len(found.numbers) == len(set(found.numbers)), "applied twice"
    assert set(acknowledged) <= set(found.numbers), "acknowledged, and lost"
    assert set(found.numbers) <= set(acknowledged) | set(unknown), "said to have failed, and applied"
    assert told["incremented"] <= found.coins <= told["incremented"] + told["unknown increments"]
    return told


async def _prepare(proxy: Proxy) -> None:
    proxy.clear()
    async with open_session(proxy.url) as session:
        await save(Player("p"), session=session)


async def test_what_was_acknowledged_is_there_once(proxy: Proxy) -> None:
    told = await _histories(proxy, once=False)
    assert told["incremented"]


async def test_exactly_once_is_never_unknown_while_the_server_is_reachable(proxy: Proxy) -> None:
    told = await _histories(proxy, once=True)
    assert told["unknown"] == 0
    assert told["incremented"]


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


def test_processes_killed_again_and_again(url: str, redis_client: redis.Redis) -> None:
    until = time.monotonic() + SECONDS
    with sync.open_session(url) as session:
        for name in "abcd":
            sync.save(Account(name, 1000), session=session)
        while time.monotonic() < until:
            with ExitStack() as stack:
                workers: list[Any] = [stack.enter_context(worker("transfers", url)) for _ in range(3)]
                assert [line(process) for process in workers] == ["ready"] * 3
                time.sleep(random.uniform(0.01, 0.5))
            assert sum(sync.get(Account, name, session=session).coins for name in "abcd") == 4000
