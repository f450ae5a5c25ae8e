"""Nodes that die: objects of other nodes are reached all the same, and a replica that takes over is found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis
import redis.asyncio

from rapyer_core import (
    ConnectionFailed,
    NotApplied,
    OutcomeUnknown,
    Session,
    count,
    find,
    get,
    get_many,
    increment,
    lock,
    open_session,
    pipeline,
    ref,
    save,
    save_many,
    sync,
)
from tests.cluster.models import NAMES, Player
from tests.support.builds import Build
from tests.support.clusters import Cluster, Node, running_cluster, slot_of, wait_until

DOUBTFUL = (OutcomeUnknown, ConnectionFailed, NotApplied)
MANY = 50


@pytest.fixture
def replicated(build: Build) -> Iterator[Cluster]:
    """Three masters with a replica each."""
    with running_cluster(replicas=True, binary=build.binary) as cluster:
        yield cluster


@pytest.fixture
def bare(build: Build) -> Iterator[Cluster]:
    """Three masters without replicas, which go on when one is missing."""
    settings: dict[str, Any] = {"cluster_require_full_coverage": "no", "cluster_node_timeout": 1000}
    with running_cluster(binary=build.binary, **settings) as cluster:
        yield cluster


def names_on(cluster: Cluster, node: Node) -> list[str]:
    owners = cluster.owners()
    return [name for name in NAMES if owners[slot_of(f"Player:{name}")] is node]


async def until_it_works(work: Callable[[], Any], within: float = 20) -> Any:
    """Again and again, as a program does that is told that nothing was written."""
    async with asyncio.timeout(within):
        while True:
            try:
                return await work()
            except DOUBTFUL:
                await asyncio.sleep(0.05)


async def test_a_replica_takes_over_while_50_tasks_increment(replicated: Cluster) -> None:
    """The session goes on with the new master. Nothing comes twice; what was acknowledged and replicated is there."""
    dead = replicated.masters[1]
    async with open_session(replicated.url, timeout=1) as session:
        await save_many([Player(name) for name in NAMES], session=session)
        replicated.wait_until_replicated()
        mine, others = names_on(replicated, dead), set(NAMES) - set(names_on(replicated, dead))
        acked, unknown = dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, 0)
        refused_elsewhere: list[BaseException] = []
        stop = asyncio.Event()

        async def work(number: int) -> None:
            turn = 0
            while not stop.is_set():
                name = NAMES[(number + turn) % len(NAMES)]
                turn += 1
                try:
                    await increment(ref(Player, name), Player.coins, 1, session=session)
                except OutcomeUnknown:
                    unknown[name] += 1
                except DOUBTFUL as error:
                    if name in others:
                        refused_elsewhere.append(error)
                    await asyncio.sleep(0.01)
                else:
                    acked[name] += 1
                await asyncio.sleep(0.001)

        tasks = [asyncio.create_task(work(number)) for number in range(MANY)]
        await asyncio.sleep(0.3)
        await asyncio.to_thread(dead.kill)
        await asyncio.sleep(0.2)
        await asyncio.to_thread(replicated.promote, replicated.replica_of(dead), "TAKEOVER")
        before = dict(acked)
        async with asyncio.timeout(20):
            while not all(acked[name] > before[name] for name in NAMES):  # noqa: ASYNC110  # it stays a poll
                await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*tasks)
        stored = await get_many(Player, NAMES, session=session)
    assert refused_elsewhere == []
    for name, player in zip(NAMES, stored, strict=True):
        assert player is not None
        assert player.coins <= acked[name] + unknown[name]
        if name in others:
            assert player.coins == acked[name]
            assert unknown[name] == 0
    # The link to the replica is milliseconds long: of what was acknowledged, it has nearly all.
    lost = sum(acked[name] - player.coins for name, player in zip(NAMES, stored, strict=True) if player)
    assert lost <= MANY
    assert sum(acked[name] - before[name] for name in mine) > 0


async def test_a_planned_failover_loses_nothing(replicated: Cluster) -> None:
    """The old master lives on as a replica, and whoever asks it is sent on."""
    async with open_session(replicated.url) as session:
        await save_many([Player(name) for name in NAMES], session=session)
        replicated.wait_until_replicated()
        turns = dict.fromkeys(NAMES, 0)
        stop = asyncio.Event()

        async def work(number: int) -> None:
            turn = 0
            while not stop.is_set():
                name = NAMES[(number + turn) % len(NAMES)]
                await until_it_works(partial(increment, ref(Player, name), Player.coins, 1, session=session))
                turns[name] += 1
                turn += 1
                await asyncio.sleep(0.001)

        tasks = [asyncio.create_task(work(number)) for number in range(MANY)]
        for master in replicated.masters[:2]:
            await asyncio.to_thread(replicated.promote, replicated.replica_of(master), "")
        await asyncio.sleep(0.3)
        stop.set()
        await asyncio.gather(*tasks)
        found = await get_many(Player, NAMES, session=session)
    assert {player.name: player.coins for player in found if player} == turns


async def test_blocks_and_locks_go_on_with_the_new_master(replicated: Cluster) -> None:
    dead = replicated.masters[2]
    async with open_session(replicated.url, timeout=1) as session:
        await save_many([Player(name) for name in NAMES], session=session)
        replicated.wait_until_replicated()
        (name, *_) = names_on(replicated, dead)
        who = ref(Player, name)
        await asyncio.to_thread(dead.kill)
        with pytest.raises(DOUBTFUL):
            async with pipeline(who, session=session) as draft:
                draft.coins += 1
        with pytest.raises(DOUBTFUL):
            async with lock(who, session=session, timeout=1) as draft:
                draft.coins += 1
        await asyncio.to_thread(replicated.promote, replicated.replica_of(dead), "TAKEOVER")

        async def both() -> None:
            async with pipeline(who, session=session) as draft:
                draft.coins = 5
            async with lock(who, session=session) as draft:
                draft.coins = 7

        await until_it_works(both)
        assert (await get(Player, name, session=session)).coins == 7
        assert await count(Player, session=session) == len(NAMES)


async def test_objects_of_a_dead_master_fail_and_others_go_on(bare: Cluster) -> None:
    dead = bare.masters[1]
    async with open_session(bare.url, timeout=1) as session:
        await save_many([Player(name) for name in NAMES], session=session)
        mine = names_on(bare, dead)
        others = [name for name in NAMES if name not in mine]
        await asyncio.to_thread(dead.kill)
        for round_ in range(2):
            for name in mine[:3]:
                with pytest.raises(DOUBTFUL) as caught:
                    await increment(ref(Player, name), Player.coins, 1, session=session)
                assert name in str(caught.value)
                with pytest.raises((ConnectionFailed, NotApplied)):
                    await get(Player, name, session=session)
            done = await asyncio.gather(
                *(increment(ref(Player, name), Player.coins, 1, session=session) for name in others)
            )
            assert done == [round_ + 1] * len(others)
        # By now the other nodes have noticed, too, and say so.
        await asyncio.to_thread(_wait_until_noticed, bare, dead)
        for name in mine[:3]:
            with pytest.raises((ConnectionFailed, NotApplied)):
                await get(Player, name, session=session)
        for name in others:
            assert await increment(ref(Player, name), Player.coins, 1, session=session) == 3
        found = await get_many(Player, others, session=session)
        assert [player and player.coins for player in found] == [3] * len(others)
        # What has to meet all objects says that it cannot; a part would look like all.
        for walk in (lambda: count(Player, session=session), lambda: find(Player, session=session)):
            with pytest.raises((ConnectionFailed, NotApplied)):
                await walk()
        with pytest.raises(DOUBTFUL):
            await save_many([Player(name, coins=9) for name in NAMES], session=session)


def _wait_until_noticed(cluster: Cluster, dead: Node) -> None:
    for node in cluster.nodes:
        wait_until(f"{node} to notice", _has_noticed, node, dead)


def _has_noticed(node: Node, dead: Node) -> bool:
    line = next(line for line in node.table().splitlines() if line.startswith(dead.id))
    return "fail" in line.split()[2].split(",")


async def test_the_node_that_was_named_dies_and_the_rest_is_reached_all_the_same(bare: Cluster) -> None:
    seed = bare.masters[0]
    async with open_session(seed.url, timeout=1) as session:
        await save_many([Player(name) for name in NAMES], session=session)
        others = [name for name in NAMES if name not in names_on(bare, seed)]
        slot = next(iter(slot for slot, node in bare.owners().items() if node is bare.masters[1]))
        await asyncio.to_thread(seed.kill)
        for name in others:
            assert await increment(ref(Player, name), Player.coins, 1, session=session) == 1
        # What is to be learnt about the cluster from now on comes from the others.
        await asyncio.to_thread(bare.move, slot, bare.masters[2])
        found = await get_many(Player, others, session=session)
        assert [player and player.coins for player in found] == [1] * len(others)

        async def in_another_event_loop() -> int:
            done = await increment(ref(Player, others[0]), Player.coins, 1, session=session)
            await session.loop.server.close()
            return done

        assert await asyncio.to_thread(asyncio.run, in_another_event_loop()) == 2


async def test_a_node_that_is_down_at_the_opening_is_missed_only_by_its_objects(bare: Cluster) -> None:
    dead = bare.masters[2]
    mine = names_on(bare, dead)
    others = [name for name in NAMES if name not in mine]
    await asyncio.to_thread(dead.kill)
    async with open_session(bare.url, timeout=1) as session:
        await asyncio.gather(*(save(Player(name), session=session) for name in others))
        assert await get_many(Player, others, session=session) == [Player(name) for name in others]
        with pytest.raises((ConnectionFailed, NotApplied)):
            await get(Player, mine[0], session=session)
    with sync.open_session(bare.url, timeout=1) as blocking:
        assert sync.get_many(Player, others, session=blocking) == [Player(name) for name in others]
        with pytest.raises((ConnectionFailed, NotApplied)):
            sync.get(Player, mine[0], session=blocking)
    with pytest.raises(ConnectionFailed):
        async with open_session(dead.url, timeout=1):
            pass


async def test_whoever_waits_for_a_lock_gets_it_although_the_node_that_was_named_is_dead(bare: Cluster) -> None:
    """Notifications come through another node, or it is looked again; long before the timeout."""
    (name, *_) = names_on(bare, bare.masters[1])
    async with open_session(bare.url, timeout=1) as one, open_session(bare.url, timeout=1) as other:
        await save(Player(name), session=one)
        await asyncio.to_thread(bare.masters[0].kill)

        async def work(session: Session) -> None:
            async with lock(ref(Player, name), name="t", timeout=30, session=session) as held:
                held.coins = held.coins + 1

        await asyncio.gather(*(work(session) for session in (one, other) for _ in range(25)))
        assert (await get(Player, name, session=one)).coins == MANY


async def test_a_client_that_knows_other_nodes_opens_a_session_although_its_first_is_dead(bare: Cluster) -> None:
    dead = bare.masters[0]
    others = [name for name in NAMES if name not in names_on(bare, dead)]
    async with redis.asyncio.RedisCluster.from_url(dead.url) as client:
        await client.ping()
        with redis.RedisCluster.from_url(dead.url) as plain:
            await asyncio.to_thread(dead.kill)
            for lent in (client, plain):
                async with open_session(client=lent, timeout=1) as session:
                    await asyncio.gather(*(save(Player(name), session=session) for name in others))
                with sync.open_session(client=lent, timeout=1) as blocking:
                    assert sync.get_many(Player, others, session=blocking) == [Player(name) for name in others]


async def test_exactly_once_waits_for_the_replica(replicated: Cluster) -> None:
    """Increments of 50 tasks with exactly_once, while a replica takes over: each is done, or said not to be known."""
    dead = replicated.masters[0]
    names = names_on(replicated, dead)[:5]
    async with open_session(replicated.urls[1], timeout=1, exactly_once=True) as session:
        await save_many([Player(name) for name in NAMES], session=session)
        replicated.wait_until_replicated()
        said: dict[str, int] = dict.fromkeys(["done", "unknown", "not"], 0)

        async def work(number: int) -> None:
            try:
                await increment(ref(Player, names[number % 5]), Player.coins, 1, session=session)
            except OutcomeUnknown:
                said["unknown"] += 1
            except DOUBTFUL:
                said["not"] += 1
            else:
                said["done"] += 1

        await asyncio.to_thread(dead.kill)
        working = asyncio.gather(*(work(number) for number in range(MANY)))
        await asyncio.to_thread(replicated.promote, replicated.replica_of(dead), "TAKEOVER")
        await working
        found = await until_it_works(lambda: get_many(Player, names, session=session))
    assert said["done"] <= sum(player.coins for player in found) <= said["done"] + said["unknown"]
