"""A process that dies in the middle of the post's transfer, at each of the commands that it sends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
import redis

from rapyer_core import Transaction, close_rapyer, init_rapyer, transaction
from tests.post.players import Player
from tests.support.proxy import Proxy

ITEMS, MOVED = 10, 3


@pytest_asyncio.fixture(autouse=True)
async def _session(url: str) -> AsyncIterator[None]:
    await init_rapyer(url)
    yield
    await close_rapyer()


def transfer(url: str, giver: Player, taker: Player) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.post.transfer", url, giver.pk, taker.pk, str(MOVED)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)


@transaction()
async def counts(tx: Transaction, *players: Player) -> list[int]:
    """Both at one moment: a commit that was held on its way may arrive just now."""
    return [(await tx.get(Player, player.pk)).inventory_count for player in players]


async def test_both_saves_or_none_wherever_the_process_is_killed(proxy: Proxy, redis_client: redis.Redis) -> None:
    whole = half = 0
    for nth in range(1, 100):
        giver, taker = Player(username="giver", inventory_count=ITEMS), Player(username="taker")
        await giver.asave()
        await taker.asave()
        fault = proxy.hold(nth=nth)
        process = transfer(proxy.url, giver, taker)
        while fault.hits == 0:
            try:
                process.wait(timeout=0.05)
                break
            except subprocess.TimeoutExpired:
                continue
        process.kill()
        process.wait()
        fault.release()
        proxy.clear()
        found = await counts(giver, taker)
        assert found in ([ITEMS, 0], [ITEMS - MOVED, MOVED]), f"killed at command {nth}"
        whole += found[1] == MOVED
        half += found[1] == 0
        if fault.hits == 0:
            break
    assert half > 5, "it was killed before the commit at several places"
    assert whole >= 1, "it came through when it was left alone"
    # What a killed holder leaves are locks, and these end by themselves.
    assert all(redis_client.pttl(key) > 0 for key in redis_client.scan_iter("~*lock:*"))
