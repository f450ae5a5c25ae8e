"""Slots that move from node to node: nobody notices, nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rapyer_core import (
    Conflict,
    NotFound,
    Session,
    append,
    assign,
    count,
    delete,
    delete_many,
    exists,
    find,
    get,
    get_many,
    increment,
    insert,
    iterate,
    lock,
    modify,
    open_session,
    pipeline,
    put,
    ref,
    save,
    save_many,
    sync,
    top,
    transact,
    transaction,
)
from tests.cluster.models import NAMES, Player, Ranked
from tests.support.clusters import Cluster, Node, slot_of

pytestmark = pytest.mark.usefixtures("session")

P = ref(Player, "p")
SLOT = slot_of("Player:p")
MANY = 50


async def moved(cluster: Cluster, slot: int = SLOT) -> Node:
    """A whole move, while the event loop goes on."""
    return await asyncio.to_thread(cluster.move, slot)


async def _increment() -> None:
    await increment(P, Player.coins, 1)


async def _increment_once() -> None:
    await increment(P, Player.coins, 1, exactly_once=True)


async def _modify() -> None:
    await modify(P, Player.coins, lambda coins: coins + 1)


async def _save_whole() -> None:
    await save(Player("p", coins=1))


async def _save_loaded() -> None:
    player = await get(Player, "p")
    player.coins += 1
    await save(player)


async def _save_many() -> None:
    await save_many([Player(name, coins=1) for name in ("p", *NAMES)])


async def _pipeline() -> None:
    async with pipeline(P) as draft:
        draft.coins += 1


async def _transaction() -> None:
    async with transaction() as tx:
        (await tx.get(Player, "p")).coins += 1


async def _lock() -> None:
    async with lock(P) as draft:
        draft.coins += 1


async def _delete_and_insert() -> None:
    assert await delete(P)
    await insert(Player("p", coins=1))


WRITES: list[Callable[[], Awaitable[None]]] = [
    *(_increment, _increment_once, _modify, _save_whole, _save_loaded, _save_many),
    *(_pipeline, _transaction, _lock, _delete_and_insert),
]


@pytest.mark.parametrize("write", WRITES)
async def test_a_slot_has_moved_since_the_last_operation(cluster: Cluster, write: Any) -> None:
    await save(Player("p"))
    await moved(cluster)
    await write()
    assert (await get(Player, "p")).coins == 1
    await moved(cluster)
    assert (await get(Player, "p")).coins == 1


async def test_reads_after_a_move(cluster: Cluster) -> None:
    await save_many([Player(name, coins=number) for number, name in enumerate(NAMES)])
    for name in NAMES[::6]:
        await moved(cluster, slot_of(f"Player:{name}"))
    assert [player and player.coins for player in await get_many(Player, NAMES)] == list(range(len(NAMES)))
    for name in NAMES[::7]:
        await moved(cluster, slot_of(f"Player:{name}"))
    assert await count(Player) == len(NAMES)
    for name in NAMES[::8]:
        await moved(cluster, slot_of(f"Player:{name}"))
    assert len(await find(Player, Player.coins > 9)) == len(NAMES) - 10
    assert await exists(Player, NAMES[0])
    with pytest.raises(NotFound):
        await get(Player, "p")
    for name in NAMES[::9]:
        await moved(cluster, slot_of(f"Player:{name}"))
    assert await delete_many([ref(Player, name) for name in NAMES]) == len(NAMES)


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("write", WRITES)
async def test_a_slot_that_is_half_moved(cluster: Cluster, write: Any, gone: bool) -> None:
    """With the object there already, or still here. What needs two keys waits until both are on one node."""
    await save(Player("p"))
    target = _other(cluster)
    cluster.begin_move(SLOT, target)
    assert cluster.move_keys(SLOT, target, int(gone)) == [b"Player:p"] * gone
    assert (await get(Player, "p")).coins == 0
    writing = asyncio.ensure_future(write())
    await asyncio.wait([writing], timeout=0.3)
    await _finish(cluster, target)
    await writing
    assert (await get(Player, "p")).coins == 1


async def test_reads_and_blind_writes_of_a_half_moved_object_do_not_wait_for_the_end(cluster: Cluster) -> None:
    await save_many([Player(name) for name in ("p", *NAMES)])
    target = _other(cluster)
    cluster.begin_move(SLOT, target)
    cluster.move_keys(SLOT, target)
    assert await increment(P, Player.coins, 1) == 1
    await assign(P, Player.motto, "here")
    await put(P, Player.notes, "k", "v")
    expected = Player("p", coins=1, motto="here", notes={"k": "v"})
    assert await get(Player, "p") == expected
    assert (await get_many(Player, [*NAMES, "p", "nobody"]))[-2:] == [expected, None]
    assert await exists(P)
    assert not await exists(Player, "nobody")
    assert await delete(P)
    await save(Player("p", level=9))
    assert (await get(Player, "p")).level == 9
    cluster.move_keys(SLOT, target)
    cluster.end_move(SLOT, target)
    assert (await get(Player, "p")).level == 9


def _other(cluster: Cluster) -> Node:
    source = cluster.owners()[SLOT]
    return next(node for node in cluster.masters if node is not source)


async def test_nothing_is_lost_and_nothing_comes_twice_while_slots_move(cluster: Cluster) -> None:
    """50 tasks increment, append, put and use blocks, while the slots of their objects go round and round."""
    names = NAMES[:4]
    await save_many([Player(name) for name in names])
    done = asyncio.Event()

    async def moves() -> int:
        rounds = 0
        while not done.is_set():
            await moved(cluster, slot_of(f"Player:{names[rounds % len(names)]}"))
            rounds += 1
        return rounds

    async def work(number: int) -> None:
        who = ref(Player, names[number % len(names)])
        for turn in range(5):
            await increment(who, Player.coins, 1)
            await append(who, Player.awards, f"{number} {turn}")
            await put(who, Player.notes, f"{number} {turn}", "x")
            async with pipeline(who) as draft:
                draft.stats.wins += 1
            await increment(who, Player.level, 1, exactly_once=True)

    moving = asyncio.create_task(moves())
    await asyncio.gather(*(work(number) for number in range(MANY)))
    done.set()
    assert await moving > 4
    for place, name in enumerate(names):
        player = await get(Player, name)
        steps = [f"{number} {turn}" for number in range(place, MANY, len(names)) for turn in range(5)]
        assert sorted(player.awards) == sorted(player.notes) == sorted(steps)
        assert player.coins == player.stats.wins == player.level - 1 == len(steps)


async def test_the_same_for_threads(cluster: Cluster, cluster_url: str) -> None:
    await save(Player("p"))
    done = threading.Event()

    def moves() -> int:
        rounds = 0
        while not done.is_set():
            cluster.move(SLOT)
            rounds += 1
        return rounds

    def work(number: int) -> None:
        for turn in range(3):
            sync.increment(P, Player.coins, 1, session=session)
            sync.append(P, Player.awards, f"{number} {turn}", session=session)
            with sync.pipeline(P, session=session) as draft:
                draft.stats.wins += 1

    def all_of_them() -> int:
        with ThreadPoolExecutor(MANY + 1) as threads:
            moving = threads.submit(moves)
            try:
                list(threads.map(work, range(MANY)))
            finally:
                done.set()
            return moving.result()

    with sync.open_session(cluster_url) as session:
        assert await asyncio.to_thread(all_of_them) > 3
    player = await get(Player, "p")
    assert player.coins == player.stats.wins == MANY * 3
    assert sorted(player.awards) == sorted(f"{number} {turn}" for number in range(MANY) for turn in range(3))


async def test_a_slot_moves_inside_a_block(cluster: Cluster) -> None:
    await save(Player("p", coins=10))
    async with pipeline(P) as draft:
        assert draft.coins == 10
        await moved(cluster)
        draft.coins -= 1
        draft.awards.append("pipeline")
    async with transaction() as tx:
        in_tx = await tx.get(Player, "p")
        assert in_tx.coins == 9
        await moved(cluster)
        in_tx.coins -= 1
    async with lock(P, name="t") as held:
        assert held.coins == 8
        await moved(cluster)
        held.coins -= 1
        async with lock(P, name="t") as again:
            await moved(cluster)
            again.coins -= 1

    async def work(tx: Any) -> int:
        player = await tx.get(Player, "p")
        await moved(cluster)
        player.coins -= 1
        return int(player.coins)

    assert await transact(work) == 5
    assert await get(Player, "p") == Player("p", coins=5, awards=["pipeline"])
    assert [key for key in cluster.dump() if b"lock" in key] == []


async def test_a_slot_moves_inside_a_block_and_somebody_else_writes_there(
    cluster: Cluster, session: Session, cluster_url: str
) -> None:
    """What was read is compared on the new node as on the old one."""
    await save(Player("p", coins=10))
    async with open_session(cluster_url) as other:
        with pytest.raises(Conflict) as caught:
            async with pipeline(P) as draft:
                if draft.coins == 10:
                    await moved(cluster)
                    await increment(P, Player.coins, 1, session=other)
                    draft.coins = 0
        assert caught.value.fields == ("coins",)
        async with pipeline(P) as draft:
            await moved(cluster)
            await increment(P, Player.coins, 1, session=other)
            draft.coins += 1
    assert (await get(Player, "p")).coins == 13


async def test_a_slot_is_half_moved_inside_a_block(cluster: Cluster) -> None:
    await save(Player("p", coins=10))
    target = _other(cluster)
    async with lock(P, name="t") as held:
        cluster.begin_move(SLOT, target)
        assert len(cluster.move_keys(SLOT, target, 1)) == 1
        held.coins -= 1
        finishing = asyncio.create_task(_finish(cluster, target, after=0.2))
    await finishing
    assert (await get(Player, "p")).coins == 9
    assert [key for key in cluster.dump() if b"lock" in key] == []


async def _finish(cluster: Cluster, target: Node, after: float = 0) -> None:
    await asyncio.sleep(after)
    await asyncio.to_thread(cluster.move_keys, SLOT, target)
    await asyncio.to_thread(cluster.end_move, SLOT, target)


async def test_whoever_waits_for_a_lock_gets_it_although_its_slot_moves(cluster: Cluster, cluster_url: str) -> None:
    await save(Player("p"))
    order: list[str] = []

    async def wait(session: Session) -> None:
        async with lock(P, name="t", timeout=20, session=session) as held:
            order.append("second")
            held.coins += 1

    async with open_session(cluster_url) as other:
        async with lock(P, name="t", lease=1) as held:
            waiting = asyncio.create_task(wait(other))
            await moved(cluster)
            # Longer than the lease: it is renewed where it is now.
            await asyncio.sleep(1.5)
            assert not waiting.done()
            order.append("first")
            held.coins += 1
        await waiting
    assert order == ["first", "second"]
    assert (await get(Player, "p")).coins == 2


async def test_a_walk_meets_all_that_was_there_although_slots_move(cluster: Cluster) -> None:
    """Those of moved slots, too, wherever the walk is then."""
    await save_many([Player(f"w{number}") for number in range(600)])
    seen = set()
    place = 0
    async for player in iterate(Player):
        seen.add(player.name)
        if len(seen) % 100 == 50:
            await moved(cluster, slot_of(f"Player:w{place}"))
            place += 37
    assert seen == {f"w{number}" for number in range(600)}


async def test_the_one_slot_of_a_tagged_prefix_moves_with_objects_and_indexes(
    cluster: Cluster, cluster_url: str
) -> None:
    async with open_session(cluster_url, prefix="{game}:") as session:
        await save_many([Ranked(name, score=place) for place, name in enumerate(NAMES)], session=session)
        for turn in range(3):
            await moved(cluster, slot_of("game"))
            await asyncio.gather(
                *(increment(ref(Ranked, name), Ranked.score, 1, session=session) for name in NAMES),
                moved(cluster, slot_of("game")),
            )
            best = await top(Ranked, Ranked.score, 2, session=session)
            assert [player.score for player in best] == [60 + turn, 59 + turn]
