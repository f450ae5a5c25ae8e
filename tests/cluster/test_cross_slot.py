"""What cannot share one EXEC is refused before anything is sent, and the error says what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from rapyer_core import (
    CrossSlot,
    Session,
    assign,
    close_rapyer,
    count,
    delete,
    delete_many,
    find,
    get,
    get_many,
    get_or_create,
    increment,
    init_rapyer,
    insert,
    lock,
    modify,
    open_session,
    pipeline,
    rank,
    ref,
    save,
    save_many,
    sync,
    top,
    transact,
    transaction,
    verify,
)
from tests.cluster.models import NAMES, Player, Ranked, Season
from tests.support.clusters import Cluster, slot_of

A, B = "p1", "p2"
ADVICE = "prefix='{game}:'"
HERE, THERE = ref(Player, A), ref(Player, B)


def test_the_two_objects_are_in_different_slots() -> None:
    assert slot_of(f"Player:{A}") != slot_of(f"Player:{B}")


@pytest.fixture(autouse=True)
async def _session(cluster: Cluster) -> AsyncIterator[Session]:
    session = await init_rapyer(cluster.url)
    await save_many([Player(name, coins=10) for name in (A, B)])
    yield session
    await close_rapyer()


async def _pipeline() -> None:
    async with pipeline(HERE, THERE) as (a, b):
        a.coins -= 1
        b.coins += 1


async def _lock() -> None:
    async with lock(HERE, THERE, name="t") as (a, b):
        a.coins -= 1
        b.coins += 1


async def _get() -> None:
    async with transaction() as tx:
        a = await tx.get(Player, A)
        a.coins -= 1
        (await tx.get(Player, B)).coins += 1


async def _get_many() -> None:
    async with transaction() as tx:
        await tx.get_many(Player, [A, B])


async def _get_or_none() -> None:
    async with transaction() as tx:
        await tx.get_or_none(Player, A)
        await tx.get_or_none(Player, B)


async def _insert() -> None:
    async with transaction() as tx:
        (await tx.get(Player, A)).coins -= 1
        await tx.insert(Player("p3"))


async def _save() -> None:
    async with transaction() as tx:
        await tx.save(Player(A, coins=1))
        await tx.save(Player(B, coins=1))


async def _delete() -> None:
    async with transaction() as tx:
        (await tx.get(Player, A)).coins -= 1
        await tx.delete(Player, B)


async def _transact() -> None:
    runs = 0

    async def pay(tx: Any) -> None:
        nonlocal runs
        runs += 1
        assert runs == 1, "it is no conflict, and not tried again"
        (await tx.get(Player, A)).coins -= 1
        (await tx.get(Player, B)).coins += 1

    await transact(pay)


async def _nested_locks() -> None:
    async with lock(HERE, name="t") as a:
        a.coins -= 1
        async with lock(THERE, name="t") as b:
            b.coins += 1


BLOCKS: list[Callable[[], Awaitable[None]]] = [
    *(_pipeline, _lock, _get, _get_many, _get_or_none),
    *(_insert, _save, _delete, _transact, _nested_locks),
]
WRITING = {"hset", "hincrby", "hdel", "hsetnx", "del", "set", "zadd", "exec", "publish"}
AT_ONCE = {_pipeline, _lock}
"""All of whose objects are named before anything is read."""


@pytest.mark.parametrize("block", BLOCKS)
async def test_a_block_of_objects_in_different_slots(cluster: Cluster, block: Any) -> None:
    with cluster.counting() as sent:
        with pytest.raises(CrossSlot) as caught:
            await block()
    said = str(caught.value)
    assert "Player" in said
    assert A in said or B in said or "p3" in said
    assert ADVICE in said
    assert f"Player:{A}" in said or f"Player({A})" in said or caught.value.pk in (A, B, "p3")
    assert not sent if block in AT_ONCE else not sent.keys() & (WRITING - {"set", "del", "exec", "publish"})
    assert [player and player.coins for player in await get_many(Player, [A, B, "p3"])] == [10, 10, None]


async def test_a_refused_block_leaves_no_lock_behind(cluster: Cluster) -> None:
    for block in (_lock, _nested_locks):
        with pytest.raises(CrossSlot):
            await block()
    assert [key for key in cluster.dump() if b"lock" in key] == []
    async with lock(HERE, name="t", timeout=1) as a:
        a.coins += 1
    assert (await get(Player, A)).coins == 11


async def test_refused_blocks_change_no_local_object() -> None:
    a, b = await get(Player, A), await get(Player, B)
    with pytest.raises(CrossSlot):
        async with pipeline(a, b) as (one, two):
            one.coins -= 1
            two.coins += 1
    async with transaction() as tx:
        draft = await tx.get(Player, A)
        draft.coins += 1
        with pytest.raises(CrossSlot):
            await tx.get(Player, B)
    assert (a.coins, b.coins) == (10, 10)
    assert (await get(Player, A)).coins == 11


def _blocking_pipeline() -> None:
    with sync.pipeline(HERE, THERE):
        pass


def _blocking_lock() -> None:
    with sync.lock(HERE, THERE, name="t"):
        pass


def _blocking_transaction() -> None:
    with sync.transaction() as tx:
        tx.get_many(Player, [A, B])


@pytest.mark.parametrize("block", [_blocking_pipeline, _blocking_lock, _blocking_transaction])
def test_a_blocking_block_of_objects_in_different_slots(cluster: Cluster, block: Any) -> None:
    sync.init_rapyer(cluster.url)
    try:
        with cluster.counting() as sent:
            with pytest.raises(CrossSlot, match="prefix"):
                block()
        assert not sent
    finally:
        sync.close_rapyer()


async def test_objects_that_happen_to_share_a_slot_share_blocks(cluster: Cluster) -> None:
    one = "p1"
    other = next(name for name in map("q{}".format, range(10**6)) if slot_of(f"Player:{name}") == slot_of("Player:p1"))
    await save(Player(other))
    async with pipeline(ref(Player, one), ref(Player, other)) as (a, b):
        a.coins -= 1
        b.coins += 1
    async with lock(ref(Player, one), ref(Player, other), name="t") as (a, b):
        a.coins -= 1
        b.coins += 1
    async with transaction() as tx:
        (await tx.get(Player, one)).coins -= 1
        (await tx.get(Player, other)).coins += 1
    assert [player and player.coins for player in await get_many(Player, [one, other])] == [7, 3]


INDEXED: list[Callable[[Any], Awaitable[Any]]] = [
    lambda cls: save(cls("a", 1)),
    lambda cls: insert(cls("a", 1)),
    lambda cls: save_many([cls(name) for name in NAMES]),
    lambda cls: get_or_create(cls, "a"),
    lambda cls: assign(ref(cls, "a"), cls.score, 5),
    lambda cls: increment(ref(cls, "a"), cls.score, 5),
    lambda cls: modify(ref(cls, "a"), cls.score, lambda score: score + 1),
    lambda cls: delete(cls, "a"),
    lambda cls: delete_many([ref(cls, "a")]),
    lambda cls: _in_a_pipeline(cls),
    lambda cls: _in_a_lock(cls),
    lambda cls: _in_a_transaction(cls),
    lambda cls: find(cls, cls.score > 3),
    lambda cls: find(cls, order_by=cls.score, limit=3),
    lambda cls: count(cls, cls.score > 3),
    lambda cls: top(cls, cls.score, 3),
    lambda cls: rank(ref(cls, "a"), cls.score),
    lambda cls: verify(cls),
]


async def _in_a_pipeline(cls: Any) -> None:
    async with pipeline(ref(cls, "a")) as draft:
        draft.score += 1


async def _in_a_lock(cls: Any) -> None:
    async with lock(ref(cls, "a")) as draft:
        draft.score += 1


async def _in_a_transaction(cls: Any) -> None:
    async with transaction() as tx:
        await tx.insert(cls("a"))


@pytest.mark.parametrize("cls", [Ranked, Season])
@pytest.mark.parametrize("number", range(len(INDEXED)))
async def test_a_model_with_an_index_needs_a_prefix_that_keeps_all_in_one_slot(
    cluster: Cluster, number: int, cls: Any
) -> None:
    before = cluster.dump()
    with cluster.counting() as sent:
        with pytest.raises(CrossSlot) as caught:
            await INDEXED[number](cls)
    assert cls.__name__ in str(caught.value)
    assert ADVICE in str(caught.value)
    assert not sent
    assert cluster.dump() == before


async def test_with_such_a_prefix_it_works(cluster: Cluster) -> None:
    async with open_session(cluster.url, prefix="{game}:") as session:
        await save(Ranked("a", 1), session=session)
        assert await top(Ranked, Ranked.score, session=session) == [Ranked("a", 1)]
    assert set(cluster.dump()) > {b"{game}:Ranked:a", b"{game}:~Ranked:index:score"}
