"""Constraints in blocks: a value that can never be right is refused at once, all else by what is stored at commit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
import redis
from annotated_types import Ge, MaxLen, MinLen, Predicate

from rapyer_core import (
    Conflict,
    ConstraintError,
    Key,
    append,
    assign,
    get,
    lock,
    pipeline,
    redis_model,
    ref,
    save,
    sync,
    transact,
    transaction,
)
from rapyer_core.transactions import Transaction

pytestmark = pytest.mark.one_server

Natural = Annotated[int, Ge(0)]


@dataclass
class Unit:
    hp: Natural = 10


@dataclass
class Range:
    low: int = 0
    high: int = 10


@redis_model
@dataclass
class Player:
    name: Key[str]
    coins: Natural = 0
    best: Natural | None = None
    ratio: Annotated[float, Ge(0)] = 0.0
    free: int = 0
    unit: Unit = field(default_factory=Unit)
    range: Annotated[Range, Predicate(lambda r: r.low <= r.high)] = field(default_factory=Range)
    marks: list[Natural] = field(default_factory=list)
    few: Annotated[list[int], MaxLen(2)] = field(default_factory=list)
    squad: list[Unit] = field(default_factory=list)
    counts: dict[str, Natural] = field(default_factory=dict)
    slots: Annotated[dict[str, int], MaxLen(1)] = field(default_factory=dict)
    tags: set[Annotated[str, MinLen(2)]] = field(default_factory=set)
    recent: deque[Natural] = field(default_factory=deque)


def player(**values: Any) -> Player:
    made: dict[str, Any] = {
        "coins": 5,
        "best": 3,
        "marks": [1, 2],
        "few": [1],
        "squad": [Unit(1)],
        "counts": {"a": 1},
        "slots": {"a": 1},
        "tags": {"tt"},
        "recent": deque([1]),
    }
    return Player("alice", **{**made, **values})


def _add(d: Any) -> None:
    d.coins -= 6


def _in_optional(d: Any) -> None:
    d.best -= 4


def _by_way_of_a_sum(d: Any) -> None:
    d.coins = d.coins - 6


def _float(d: Any) -> None:
    d.ratio -= 0.5


def _nested(d: Any) -> None:
    d.unit.hp -= 11


def _element(d: Any) -> None:
    d.marks[0] -= 2


def _in_element(d: Any) -> None:
    d.squad[0].hp -= 2


def _entry(d: Any) -> None:
    d.counts["a"] -= 2


def _in_ruled(d: Any) -> None:
    d.range.low += 11


def _too_many(d: Any) -> None:
    d.few.append(2)
    d.few.append(3)


def _too_many_by_slice(d: Any) -> None:
    d.few[1:] = [2, 3]


def _too_many_entries(d: Any) -> None:
    d.slots["b"] = 2


def _own_copy(d: Any) -> None:
    d.recent.append(-1)


AT_COMMIT = [
    _add,
    _in_optional,
    _by_way_of_a_sum,
    _float,
    _nested,
    _element,
    _in_element,
    _entry,
    _in_ruled,
    _too_many,
    _too_many_by_slice,
    _too_many_entries,
    _own_copy,
]

AT_ONCE: list[Callable[[Any], Any]] = [
    lambda d: setattr(d, "coins", -1),
    lambda d: setattr(d, "best", -1),
    lambda d: setattr(d, "unit", Unit(-1)),
    lambda d: setattr(d.unit, "hp", -1),
    lambda d: setattr(d, "few", [1, 2, 3]),
    lambda d: d.marks.append(-1),
    lambda d: d.marks.extend([1, -1]),
    lambda d: d.marks.insert(0, -1),
    lambda d: d.marks.__setitem__(0, -1),
    lambda d: d.marks.__setitem__(slice(0, 1), [-1]),
    lambda d: d.squad.append(Unit(-1)),
    lambda d: setattr(d.squad[0], "hp", -1),
    lambda d: d.counts.__setitem__("b", -1),
    lambda d: d.counts.update(b=-1),
    lambda d: d.counts.setdefault("b", -1),
    lambda d: d.tags.add("x"),
    lambda d: d.tags.update(["yy", "x"]),
    lambda d: d.tags.__ior__({"x"}),
]


@pytest.mark.parametrize("change", AT_COMMIT)
async def test_what_depends_on_the_stored_value_is_refused_at_commit(
    change: Callable[[Any], None], redis_client: redis.Redis
) -> None:
    p = player()
    await save(p)
    before, shown = redis_client.dump("Player:alice"), repr(p)
    reached = False
    for door in (pipeline(p), lock(p)):
        with pytest.raises(ConstraintError) as caught:
            async with door as d:
                change(d)
                d.free = 1
                reached = True
        assert reached
        assert (caught.value.model, caught.value.pk) == ("Player", "alice")
    assert redis_client.dump("Player:alice") == before
    assert repr(p) == shown


@pytest.mark.parametrize("change", AT_ONCE)
async def test_a_value_that_can_never_be_right_is_refused_where_it_is_given(
    change: Callable[[Any], None], redis_client: redis.Redis
) -> None:
    p = player()
    await save(p)
    before, shown = redis_client.dump("Player:alice"), repr(p)
    async with pipeline(p) as d:
        with pytest.raises(ConstraintError) as caught:
            change(d)
        assert (caught.value.model, caught.value.pk) == ("Player", "alice")
    assert redis_client.dump("Player:alice") == before
    assert repr(p) == shown


async def test_only_the_value_at_the_end_of_the_block_counts() -> None:
    await save(player())
    async with pipeline(ref(Player, "alice")) as d:
        d.coins -= 20
        if d.coins < 0:
            d.coins = 0
        d.range.high += 90
        d.range.low += 50
        d.slots["b"] = 2
        del d.slots["a"]
    found = await get(Player, "alice")
    assert (found.coins, found.range, found.slots) == (0, Range(50, 100), {"b": 2})


async def test_a_recorded_increment_meets_the_value_that_is_stored_by_then() -> None:
    await save(player(coins=5))
    with pytest.raises(ConstraintError):
        async with pipeline(ref(Player, "alice")) as d:
            d.coins -= 5
            await assign(ref(Player, "alice"), Player.coins, 4)
    async with pipeline(ref(Player, "alice")) as d:
        d.coins -= 5
        await assign(ref(Player, "alice"), Player.coins, 40)
    assert (await get(Player, "alice")).coins == 35
    with pytest.raises(ConstraintError):
        async with pipeline(ref(Player, "alice")) as d:
            d.few.append(2)
            await append(ref(Player, "alice"), Player.few, 3)
    assert (await get(Player, "alice")).few == [1, 3]


async def test_transactions_check_all_their_objects() -> None:
    await save(player())
    with pytest.raises(ConstraintError):
        async with transaction() as tx:
            await tx.insert(Player("bob", coins=-1))
    with pytest.raises(ConstraintError):
        async with transaction() as tx:
            bob = await tx.insert(Player("bob"))
            bob.coins -= 1
    with pytest.raises(ConstraintError):
        async with transaction() as tx:
            await tx.save(Player("bob", coins=-1))
    loaded = await get(Player, "alice")
    with pytest.raises(ConstraintError):
        async with transaction() as tx:
            loaded.marks.append(-1)
            await tx.save(loaded)
    with pytest.raises(ConstraintError):
        async with transaction() as tx:
            alice = await tx.get(Player, "alice")
            await tx.insert(Player("bob"))
            alice.coins -= 6
    assert await get(Player, "alice") == player()
    with pytest.raises(LookupError):
        await get(Player, "bob")


async def test_fifty_transfers_share_what_there_is() -> None:
    """Nobody reads the balance: the rule alone keeps it."""
    await save(player(coins=20))
    await save(Player("bob"))

    async def pay(tx: Transaction) -> None:
        a, b = await tx.get(Player, "alice"), await tx.get(Player, "bob")
        a.coins -= 1
        b.coins += 1

    done = await asyncio.gather(*[transact(pay) for _ in range(50)], return_exceptions=True)
    assert sum(isinstance(result, ConstraintError) for result in done) == 30
    assert sum(result is None for result in done) == 20
    assert ((await get(Player, "alice")).coins, (await get(Player, "bob")).coins) == (0, 20)


async def test_a_read_that_changed_is_a_conflict_before_it_is_a_broken_rule() -> None:
    await save(player(coins=5))
    with pytest.raises(Conflict):
        async with pipeline(ref(Player, "alice")) as d:
            if d.coins >= 5:
                d.coins -= 5
            await assign(ref(Player, "alice"), Player.coins, 4)


async def test_the_blocking_functions_check_as_well(url: str, redis_client: redis.Redis) -> None:
    def work() -> None:
        with sync.open_session(url) as session:
            p = player()
            sync.save(p, session=session)
            before = redis_client.hgetall("Player:alice")
            attempts: list[Callable[[], Any]] = [
                lambda: sync.save(Player("x", coins=-1), session=session),
                lambda: sync.insert(Player("x", coins=-1), session=session),
                lambda: sync.assign(p, Player.coins, -1, session=session),
                lambda: sync.increment(p, Player.coins, -6, session=session),
                lambda: sync.append(p, Player.marks, -1, session=session),
                lambda: sync.put(p, Player.slots, "b", 1, session=session),
                lambda: sync.add(p, Player.tags, "x", session=session),
            ]
            for attempt in attempts:
                with pytest.raises(ConstraintError):
                    attempt()
            with pytest.raises(ConstraintError), sync.pipeline(p, session=session) as d:
                d.coins -= 6
            with pytest.raises(ConstraintError), sync.lock(p, session=session) as d:
                d.unit.hp -= 11
            assert redis_client.hgetall("Player:alice") == before
            assert not redis_client.exists("Player:x")

    await asyncio.to_thread(work)
