"""Many tasks and threads at once, on objects of all nodes and on one object: every update is kept, and once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rapyer_core import (
    append,
    get,
    get_many,
    get_or_create,
    increment,
    lock,
    modify,
    open_session,
    pipeline,
    put,
    ref,
    save,
    save_many,
    sync,
    transact,
)
from tests.cluster.models import NAMES, Player
from tests.support.clusters import Cluster

pytestmark = pytest.mark.usefixtures("session")

MANY = 50


async def at_once(work: Callable[[int], Awaitable[Any]], times: int) -> list[Any]:
    return await asyncio.gather(*(work(number) for number in range(times)))


async def coins() -> list[int | None]:
    return [None if player is None else player.coins for player in await get_many(Player, NAMES)]


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize(("tasks", "each"), [(64, 16), (1000, 2)])
async def test_increments_on_objects_of_all_nodes(tasks: int, each: int, once: bool) -> None:
    await save_many([Player(name) for name in NAMES])

    async def work(number: int) -> None:
        for turn in range(each):
            name = NAMES[(number + turn * 7) % len(NAMES)]
            assert await increment(ref(Player, name), Player.coins, 1, exactly_once=once) > 0

    await at_once(work, tasks)
    expected = [0] * len(NAMES)
    for number in range(tasks):
        for turn in range(each):
            expected[(number + turn * 7) % len(NAMES)] += 1
    assert await coins() == expected


async def test_appends_to_one_object() -> None:
    await save(Player("p"))
    await at_once(lambda number: append(ref(Player, "p"), Player.awards, str(number)), MANY)
    assert sorted((await get(Player, "p")).awards, key=int) == [str(number) for number in range(MANY)]


async def test_everything_at_once_on_objects_of_all_nodes() -> None:
    await save_many([Player(name, coins=100) for name in NAMES])

    async def doubled(tx: Any, name: str) -> None:
        player = await tx.get(Player, name)
        player.level += player.level

    async def work(number: int) -> None:
        name = NAMES[number % 6]
        who = ref(Player, name)
        await increment(who, Player.stats.wins, 1)
        await modify(who, Player.coins, lambda coins: coins - 1)
        await put(who, Player.notes, str(number), "x")
        async with pipeline(who) as draft:
            draft.awards.append(str(number))
            draft.stats.wins += 1
        await transact(doubled, name)
        async with lock(who, name="t", timeout=60) as held:
            held.coins = held.coins - 1
        assert (await get(Player, name)).stats.wins > 0

    await at_once(work, 60)
    for player in await get_many(Player, NAMES[:6]):
        assert player is not None
        assert (player.coins, player.level, player.stats.wins) == (80, 2**10, 20)
        assert len(player.awards) == len(player.notes) == 10


async def test_one_of_many_creates() -> None:
    made = await at_once(lambda number: get_or_create(Player, NAMES[number % 5], coins=number), MANY)
    assert sum(created for _, created in made) == 5


async def test_a_lock_serves_one_at_a_time_and_wakes_the_next_of_another_session(cluster_url: str) -> None:
    await save(Player("p"))
    inside = 0

    async def work(session: Any) -> None:
        nonlocal inside
        async with lock(ref(Player, "p"), name="t", timeout=60, session=session) as held:
            inside += 1
            assert inside == 1
            held.coins = held.coins + 1
            await asyncio.sleep(0)
            inside -= 1

    async with open_session(cluster_url) as one, open_session(cluster_url) as other:
        await asyncio.gather(*(work(session) for session in (one, other) for _ in range(25)))
    assert (await get(Player, "p")).coins == MANY


async def test_threads(cluster: Cluster, cluster_url: str) -> None:
    await save_many([Player(name) for name in NAMES])

    def work(number: int) -> None:
        for turn in range(4):
            who = ref(Player, NAMES[(number + turn) % len(NAMES)])
            sync.increment(who, Player.coins, 1, session=session)
            sync.append(ref(Player, NAMES[0]), Player.awards, f"{number} {turn}", session=session)
            with sync.pipeline(who, session=session) as draft:
                draft.stats.wins += 1

    with sync.open_session(cluster_url) as session, ThreadPoolExecutor(MANY) as threads:
        list(threads.map(work, range(MANY)))
    players = [player for player in await get_many(Player, NAMES) if player]
    assert sum(player.coins for player in players) == sum(player.stats.wins for player in players) == MANY * 4
    assert sorted(players[0].awards) == sorted(f"{number} {turn}" for number in range(MANY) for turn in range(4))
