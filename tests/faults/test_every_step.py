"""Cancelled at each await of each operation: the n-th step, for all n.

The stored world is the one before or the one after, whole, and the local object too; no connection, WATCH, lock or turn
is left, and no reply reaches the wrong caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from rapyer_core import close_rapyer, init_rapyer
from rapyer_core.sessions import Session
from tests.faults.held import assert_nothing_held, assert_replies_are_ones_own
from tests.faults.operations import READS, WRITES, Work, expected, prepare, world
from tests.support.cancelling import CancelledAtStep

pytestmark = pytest.mark.one_server


@pytest.fixture
async def session(url: str) -> AsyncIterator[Session]:
    """The default session, without the network between."""
    yield await init_rapyer(url)
    await close_rapyer()


TOUCHED = ("Player:p", "Account:a", "Account:b", "Account:new")

CASES = [
    *(pytest.param(work, False, id=name) for name, work in (READS | WRITES).items()),
    *(pytest.param(work, True, id=f"{name}-exactly_once") for name, work in WRITES.items()),
]


@pytest.mark.parametrize(("work", "once"), CASES)
async def test_cancelled(session: Session, redis_client: redis.Redis, work: Work, once: bool) -> None:
    known = await expected(redis_client, work, once)
    step = 0
    while True:
        step += 1
        p = await prepare(redis_client)
        running = CancelledAtStep(work(p, once), step)
        try:
            assert await asyncio.create_task(_run(running)) == known.result
        except asyncio.CancelledError:
            assert running.struck
        await assert_nothing_held(session)
        assert redis_client.keys("~*}lock:*") == []
        assert world(redis_client) in (known.before, known.after), step
        if not running.struck:
            assert world(redis_client) == known.after
            assert p == known.local_after
            break
        assert p in (known.local_before, known.local_after), step
        await assert_replies_are_ones_own(session, redis_client, *TOUCHED)
    assert step > 1


async def _run(running: CancelledAtStep) -> Any:
    return await running
