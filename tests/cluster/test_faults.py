"""Broken connections, nodes that stand still, and cancellation on the way from node to node."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rapyer_core import (
    ConnectionFailed,
    OutcomeUnknown,
    Session,
    append,
    get,
    get_many,
    increment,
    lock,
    modify,
    open_session,
    pipeline,
    ref,
    save,
    save_many,
    transaction,
)
from tests.cluster.models import NAMES, Player
from tests.faults.held import assert_nothing_held
from tests.support.cancelling import CancelledAtStep
from tests.support.clusters import Cluster, slot_of

MANY = 50
P = ref(Player, "p")


async def kill_connections(cluster: Cluster, enough: asyncio.Event) -> None:
    """Those of one node after the other, again and again. enough: set once each node had its turn, and more."""
    for times in itertools.count():
        node = cluster.masters[times % len(cluster.masters)]
        await asyncio.to_thread(node.run, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(0.03)
        if times > 3:
            enough.set()


@pytest.mark.parametrize("once", [False, True])
async def test_connections_to_all_nodes_break_again_and_again(cluster: Cluster, session: Session, once: bool) -> None:
    await save_many([Player(name) for name in NAMES])
    acked, unknown, enough = dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, 0), asyncio.Event()
    turns = 10 if once else 60

    async def work(number: int) -> int:
        turn = 0
        while turn < turns or not enough.is_set():
            turn += 1
            name = NAMES[(number + turn * 7) % len(NAMES)]
            while True:
                try:
                    await increment(ref(Player, name), Player.coins, 1, exactly_once=once)
                except OutcomeUnknown:
                    assert not once
                    unknown[name] += 1
                except ConnectionFailed:
                    # Nothing was written, so that it may be done again.
                    await asyncio.sleep(0.01)
                    continue
                else:
                    acked[name] += 1
                break
        return turn

    killing = asyncio.create_task(kill_connections(cluster, enough))
    took = await asyncio.gather(*(work(number) for number in range(MANY)))
    killing.cancel()
    for player in await get_many(Player, NAMES):
        assert player is not None
        assert acked[player.name] <= player.coins <= acked[player.name] + unknown[player.name]
    assert sum(acked.values()) + sum(unknown.values()) == sum(took)


async def test_a_node_that_stands_still_holds_up_only_its_own_objects(cluster: Cluster, cluster_url: str) -> None:
    still = cluster.masters[1]
    owners = cluster.owners()
    others = [name for name in NAMES if owners[slot_of(f"Player:{name}")] is not still]
    mine = next(name for name in NAMES if name not in others)
    async with open_session(cluster_url, timeout=2) as session:
        await save_many([Player(name) for name in NAMES], session=session)
        still.pause()
        try:
            waiting = asyncio.create_task(get(Player, mine, session=session))
            began = time.monotonic()
            await asyncio.gather(
                *(increment(ref(Player, name), Player.coins, 1, session=session) for name in others for _ in range(10))
            )
            assert not waiting.done()
            assert time.monotonic() - began < 2
            with pytest.raises(ConnectionFailed, match=mine) as caught:
                await waiting
            assert caught.value.timed_out
            assert await increment(ref(Player, others[0]), Player.coins, 1, session=session) == 11
        finally:
            still.go_on()
        assert (await get(Player, mine, session=session)).coins == 0


async def _increment(once: bool) -> None:
    await increment(P, Player.coins, 1, exactly_once=once)


async def _modify(once: bool) -> None:
    await modify(P, Player.coins, lambda coins: coins + 1, exactly_once=once)


async def _save(once: bool) -> None:
    await save(Player("p", coins=1, awards=["a"] * 3), exactly_once=once)


async def _append(once: bool) -> None:
    await append(P, Player.awards, "a", exactly_once=once)


async def _pipeline(once: bool) -> None:
    async with pipeline(P, exactly_once=once) as draft:
        draft.coins += 1
        draft.awards.append("a")


async def _transaction(once: bool) -> None:
    async with transaction(exactly_once=once) as tx:
        player = await tx.get(Player, "p")
        if player.coins == 0:
            player.coins = 1


async def _lock(once: bool) -> None:
    async with lock(P, exactly_once=once) as draft:
        draft.coins += 1


WRITES: list[Callable[[bool], Awaitable[None]]] = [
    *(_increment, _modify, _save, _append),
    *(_pipeline, _transaction, _lock),
]


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("write", WRITES)
async def test_cancelled_at_each_step_after_a_slot_has_moved(
    cluster: Cluster, session: Session, write: Any, once: bool
) -> None:
    """The stored object is the one before or the one after, and nothing is held."""
    await save(Player("p"))
    await write(once)
    after = await get(Player, "p")
    slot, step, struck = slot_of("Player:p"), 0, True
    while struck:
        step += 1
        await save(Player("p"))
        cluster.move(slot)
        running = CancelledAtStep(write(once), step)
        try:
            await asyncio.create_task(_run(running))
        except asyncio.CancelledError:
            assert running.struck
        struck = running.struck
        await assert_nothing_held(session)
        found = await get(Player, "p")
        assert found == after or (struck and found == Player("p"))
        assert [key for key in cluster.dump() if b"lock" in key] == []
    assert step > 2


async def _run(running: CancelledAtStep) -> Any:
    return await running
