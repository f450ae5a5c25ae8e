"""Models with methods, live values and times to live, on all nodes of a cluster."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rapyer_core import (
    Conflict,
    NotFound,
    append,
    assign,
    get,
    get_or_create,
    increment,
    lock,
    open_session,
    pipeline,
    ref,
    save,
    save_many,
    sync,
)
from tests.cluster.models import NAMES, Hero, Player, Season, Stats, Visit
from tests.support.clusters import Cluster, slot_of

pytestmark = pytest.mark.usefixtures("session")


async def test_methods_and_live_values_of_objects_on_all_nodes(cluster: Cluster) -> None:
    for name in NAMES[:20]:
        hero: Any = Hero(name)
        await hero.asave()
        assert await hero.coins.aincrease(5) == 5
        await hero.friends.aappend("x")
        await hero.friends.aextend(["y", "z"])
        await hero.notes.aset_item("k", "v")
        await hero.stats.wins.aincrease(2)
        await hero.aupdate(coins=7)
        async with hero.apipeline() as draft:
            draft.coins += 1
            await draft.friends.aappend("by a pipeline")
        async with hero.alock("t") as held:
            held.coins += 1
        other: Any = await Hero.aget(name)
        assert other == Hero(name, 9, ["x", "y", "z", "by a pipeline"], {"k": "v"}, Stats(wins=2))
        await other.stats.wins.aincrease(1)
        await hero.aload()
        assert hero.stats.wins == 3
        assert await hero.aexists()
    assert len(await Hero.afind(Hero.coins == 9)) == 20
    assert {slot_of(f"Hero:{name}") for name in NAMES[:20]} == {slot_of(key) for key in cluster.dump()}
    for name in NAMES[:20]:
        assert await Hero(name).adelete()
    assert cluster.dump() == {}


async def test_times_to_live(cluster: Cluster, cluster_url: str) -> None:
    await save_many([Visit(name) for name in NAMES])
    await get_or_create(Visit, "late")
    for name in (*NAMES[:10], "late"):
        key = f"Visit:{name}"
        client = cluster.client_of(key)
        assert 590 < client.ttl(key) <= 600
        client.expire(key, 100)
        await increment(ref(Visit, name), Visit.seen, 1)
        async with pipeline(ref(Visit, name)) as draft:
            draft.seen += 1
        assert 90 < client.ttl(key) <= 100
        client.persist(key)
        await assign(ref(Visit, name), Visit.seen, 9)
        assert client.ttl(key) == -1
        client.pexpire(key, 1)
    await asyncio.sleep(0.05)
    for name in NAMES[:10]:
        with pytest.raises(NotFound):
            await increment(ref(Visit, name), Visit.seen, 1)
        assert cluster.client_of(f"Visit:{name}").exists(f"Visit:{name}") == 0
    async with open_session(cluster_url, prefix="{game}:") as session:
        await save_many([Season(name) for name in NAMES], session=session)
        assert 590 < cluster.client_of("{game}:Season:p1").ttl("{game}:Season:p1") <= 600


async def test_a_saved_object_that_somebody_else_has_changed_is_a_conflict_on_every_node() -> None:
    await save_many([Player(name) for name in NAMES[:10]])
    for name in NAMES[:10]:
        mine = await get(Player, name)
        await increment(ref(Player, name), Player.coins, 1)
        mine.coins = 5
        with pytest.raises(Conflict) as caught:
            await save(mine)
        assert caught.value.fields == ("coins",)
        await save(mine, overwrite=True)
        assert (await get(Player, name)).coins == 5


async def test_lock_and_token_are_in_the_slot_of_their_object(cluster: Cluster) -> None:
    for name in NAMES[:10]:
        await save(Player(name), exactly_once=True)
        async with lock(ref(Player, name), name="t"):
            await append(ref(Player, name), Player.awards, "x", exactly_once=True)
            own = {key for key in cluster.dump() if f"Player:{name}}}".encode() in key}
            assert any(b"lock:t" in key for key in own)
            assert len(own) > 1
            assert {slot_of(key) for key in own} == {slot_of(f"Player:{name}")}


class TestBlocking:
    """The same without an event loop."""

    def test_objects_on_all_nodes(self, cluster: Cluster, cluster_url: str) -> None:
        with sync.open_session(cluster_url) as session:
            for name in NAMES[:20]:
                who = Player(name)
                sync.save(who, session=session)
                with sync.pipeline(who, session=session) as draft:
                    draft.coins += 1
                with sync.lock(who, name="t", session=session) as held:
                    held.coins += 1
                with sync.transaction(session=session) as tx:
                    tx.get(Player, name).coins += 1
                assert sync.reload(who, session=session).coins == 3
            assert sync.count(Player, Player.coins == 3, session=session) == 20
        assert len(cluster.dump()) == 20
