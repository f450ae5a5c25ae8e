"""Constraints (`Annotated[int, Ge(0)]`) on every function: what breaks a rule is refused before anything is written."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any

import pytest
import redis
from annotated_types import Ge, Interval, Len, MaxLen, MinLen, MultipleOf, Predicate

import rapyer_core as rc
from rapyer_core import AtomicRedisModel, ConstraintError, Index, Key, Packed, redis_model
from tests.objects.conftest import Hash, Trips

Natural = Annotated[int, Ge(0)]


@dataclass
class Unit:
    hp: Natural = 10
    name: str = ""


def is_full(pair: Pair) -> bool:
    return pair.a + pair.b <= 10


@dataclass
class Pair:
    a: int = 0
    b: int = 0


@redis_model
@dataclass
class Player:
    name: Key[Annotated[str, MinLen(2)]]
    coins: Natural = 0
    score: Index[Annotated[int, Interval(ge=0, le=100)]] = 0
    price: Annotated[Decimal, Ge(0), MultipleOf(Decimal("0.01"))] = Decimal(0)
    rate: Annotated[float, Interval(ge=0, le=1)] = 0.5
    best: Natural | None = None
    title: Annotated[str, Len(0, 5)] = ""
    free: int = 0
    unit: Unit = field(default_factory=Unit)
    pet: Unit | None = None
    pair: Annotated[Pair, Predicate(is_full)] = field(default_factory=Pair)
    marks: list[Natural] = field(default_factory=list)
    few: Annotated[list[int], MaxLen(2)] = field(default_factory=list)
    some: Annotated[list[int], MinLen(1)] = field(default_factory=lambda: [1])
    squad: list[Unit] = field(default_factory=list)
    counts: dict[Annotated[str, MinLen(2)], Natural] = field(default_factory=dict)
    maybe: dict[Annotated[str, MinLen(2)], int | None] = field(default_factory=dict)
    slots: Annotated[dict[str, int], Len(0, 2)] = field(default_factory=dict)
    bench: dict[str, Unit] = field(default_factory=dict)
    order: OrderedDict[str, Natural] = field(default_factory=OrderedDict)
    tags: set[Annotated[str, MinLen(2)]] = field(default_factory=set)
    pair_of: Annotated[set[str], MaxLen(2)] = field(default_factory=set)
    recent: deque[Natural] = field(default_factory=deque)
    packed: Packed[list[Natural]] = field(default_factory=list)


def player(name: str = "alice", **values: Any) -> Player:
    made: dict[str, Any] = {
        "coins": 5,
        "score": 50,
        "price": Decimal("1.50"),
        "best": 3,
        "pet": Unit(1),
        "pair": Pair(5, 5),
        "marks": [1, 2],
        "few": [1, 2],
        "squad": [Unit(1), Unit(2)],
        "counts": {"aa": 1},
        "slots": {"a": 1, "b": 2},
        "bench": {"x": Unit(1)},
        "order": OrderedDict(a=1),
        "tags": {"tt"},
        "pair_of": {"a", "b"},
        "recent": deque([1]),
    }
    return Player(name, **{**made, **values})


Write = Callable[[Player], Awaitable[Any]]

REFUSED: dict[str, tuple[str, Write]] = {
    "assign": ("coins", lambda p: rc.assign(p, Player.coins, -1)),
    "assign indexed": ("score", lambda p: rc.assign(p, Player.score, 101)),
    "assign nested": ("unit.hp", lambda p: rc.assign(p, Player.unit.hp, -1)),
    "assign a record": ("unit.hp", lambda p: rc.assign(p, Player.unit, Unit(-1))),
    "assign optional": ("best", lambda p: rc.assign(p, Player.best, -1)),
    "assign in optional": ("pet.hp", lambda p: rc.assign(p, "pet.hp", -1)),
    "assign in a ruled record": ("pair", lambda p: rc.assign(p, Player.pair.a, 6)),
    "assign an element": ("marks[0]", lambda p: rc.assign(p, Player.marks[0], -1)),
    "assign in an element": ("squad[1].hp", lambda p: rc.assign(p, Player.squad[1].hp, -1)),
    "assign an entry": ('counts["aa"]', lambda p: rc.assign(p, Player.counts["aa"], -1)),
    "assign an entry of a bad key": ('counts["b"]', lambda p: rc.assign(p, Player.counts["b"], 1)),
    "assign one entry too many": ("slots", lambda p: rc.assign(p, Player.slots["c"], 3)),
    "assign a list": ("few", lambda p: rc.assign(p, Player.few, [1, 2, 3])),
    "assign packed": ("packed", lambda p: rc.assign(p, Player.packed, [-1])),
    "assign Decimal": ("price", lambda p: rc.assign(p, Player.price, Decimal("0.001"))),
    "increment": ("coins", lambda p: rc.increment(p, Player.coins, -6)),
    "increment indexed": ("score", lambda p: rc.increment(p, Player.score, 51)),
    "increment past 64 bit": ("score", lambda p: rc.increment(p, Player.score, 2**70)),
    "increment Decimal": ("price", lambda p: rc.increment(p, Player.price, Decimal("-1.51"))),
    "increment float": ("rate", lambda p: rc.increment(p, Player.rate, 0.75)),
    "increment optional": ("best", lambda p: rc.increment(p, "best", -4)),
    "increment nested": ("unit.hp", lambda p: rc.increment(p, Player.unit.hp, -11)),
    "increment in optional": ("pet.hp", lambda p: rc.increment(p, "pet.hp", -2)),
    "increment in a ruled record": ("pair", lambda p: rc.increment(p, Player.pair.b, 1)),
    "increment an element": ("marks[1]", lambda p: rc.increment(p, Player.marks[1], -3)),
    "increment in an element": ("squad[0].hp", lambda p: rc.increment(p, Player.squad[0].hp, -2)),
    "increment an entry": ('counts["aa"]', lambda p: rc.increment(p, Player.counts["aa"], -2)),
    "increment in an entry": ('bench["x"].hp', lambda p: rc.increment(p, Player.bench["x"].hp, -2)),
    "modify": ("coins", lambda p: rc.modify(p, Player.coins, lambda n: n - 6)),
    "modify a list": ("few", lambda p: rc.modify(p, Player.few, lambda few: [*few, 3])),
    "modify in a ruled record": ("pair", lambda p: rc.modify(p, Player.pair.a, lambda n: n + 1)),
    "append": ("marks[0]", lambda p: rc.append(p, Player.marks, -1)),
    "append one too many": ("few", lambda p: rc.append(p, Player.few, 3)),
    "append to a deque": ("recent[0]", lambda p: rc.append(p, Player.recent, -1)),
    "extend": ("marks[1]", lambda p: rc.extend(p, Player.marks, [1, -1])),
    "extend records": ("squad[0].hp", lambda p: rc.extend(p, Player.squad, [Unit(-1)])),
    "insert_at": ("marks[0]", lambda p: rc.insert_at(p, Player.marks, 0, -1)),
    "insert_at one too many": ("few", lambda p: rc.insert_at(p, Player.few, 0, 1)),
    "pop the last": ("some", lambda p: rc.pop(p, Player.some)),
    "remove the last": ("some", lambda p: rc.remove(p, Player.some, 1)),
    "clear": ("some", lambda p: rc.clear(p, Player.some)),
    "put": ('counts["aa"]', lambda p: rc.put(p, Player.counts, "aa", -1)),
    "put a bad key": ('counts["b"]', lambda p: rc.put(p, Player.counts, "b", 1)),
    "put one too many": ("slots", lambda p: rc.put(p, Player.slots, "c", 1)),
    "put a record": ('bench["y"].hp', lambda p: rc.put(p, Player.bench, "y", Unit(-1))),
    "put ordered": ('order["b"]', lambda p: rc.put(p, Player.order, "b", -1)),
    "put None under a bad key": ('maybe["a"]', lambda p: rc.put(p, Player.maybe, "a", None)),
    "merge": ('counts["bb"]', lambda p: rc.merge(p, Player.counts, {"cc": 1, "bb": -1})),
    "add": ("tags", lambda p: rc.add(p, Player.tags, "ok", "x")),
    "add one too many": ("pair_of", lambda p: rc.add(p, Player.pair_of, "c")),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("once", [False, True], ids=["", "exactly once"])
async def test_what_breaks_a_rule_is_refused_and_nothing_is_written(
    name: str, once: bool, redis_client: redis.Redis, url: str
) -> None:
    path, write = REFUSED[name]
    p = player()
    await rc.save(p)
    before, shown = redis_client.dump("Player:alice"), repr(p)
    keys = sorted(redis_client.keys())
    if once:
        await rc.init_rapyer(url, exactly_once=True)
    with pytest.raises(ConstraintError) as caught:
        await write(p)
    error = caught.value
    assert (error.model, error.pk, error.path) == ("Player", "alice", path)
    assert str(error).startswith(f"Player(alice).{path}: must be ")
    assert isinstance(error, ValueError)
    assert error.__cause__ is None
    assert redis_client.dump("Player:alice") == before
    assert sorted(redis_client.keys()) == keys
    assert repr(p) == shown


ALLOWED: dict[str, Write] = {
    "increment": lambda p: rc.increment(p, Player.coins, -5),
    "increment indexed": lambda p: rc.increment(p, Player.score, 50),
    "increment in a ruled record": lambda p: rc.increment(p, Player.pair.b, -1),
    "replace an entry of a full dict": lambda p: rc.put(p, Player.slots, "a", 9),
    "remove from a full dict": lambda p: rc.remove(p, Player.slots, "a"),
    "pop from a full list": lambda p: rc.pop(p, Player.few),
    "discard from a full set": lambda p: rc.discard(p, Player.pair_of, "a"),
    "add who is there": lambda p: rc.add(p, Player.pair_of, "a"),
    "None": lambda p: rc.assign(p, Player.best, None),
    "append": lambda p: rc.append(p, Player.marks, 0),
}


@pytest.mark.parametrize("name", ALLOWED)
async def test_what_keeps_the_rules_goes_through(name: str, redis_client: redis.Redis) -> None:
    p = player()
    await rc.save(p)
    before = redis_client.dump("Player:alice")
    await ALLOWED[name](p)
    assert name == "add who is there" or redis_client.dump("Player:alice") != before
    assert await rc.get(Player, "alice") == p


async def test_new_objects_are_checked_before_anything_is_sent(trips: Trips) -> None:
    bad, good = player("bad", coins=-1), player("good")
    with trips.expect(0):
        for write in (rc.save(bad), rc.insert(bad), rc.save_many([good, bad])):
            with pytest.raises(ConstraintError, match=r"Player\(bad\)\.coins: must be >= 0"):
                await write
        with pytest.raises(ConstraintError, match=r"Player\(a\)\.name: must be at least 2 long"):
            await rc.save(player("a"))
    with pytest.raises(ConstraintError):
        await rc.get_or_create(bad)
    with pytest.raises(ConstraintError):
        await rc.get_or_create(Player, "bad", coins=-1)
    assert not await rc.exists(bad)
    assert not await rc.exists(good)


async def test_save_of_a_loaded_object_checks_what_it_writes(stored: Hash) -> None:
    await rc.save(player())
    p = await rc.get(Player, "alice")
    p.free, p.squad[0].hp = 1, -1
    with pytest.raises(ConstraintError) as caught:
        await rc.save(p)
    assert caught.value.path == "squad[0].hp"
    with pytest.raises(ConstraintError):
        await rc.save(p, overwrite=True)
    with pytest.raises(ConstraintError):
        await rc.save_many([p])
    assert stored("Player:alice")["free"] == "0"


async def test_a_rule_of_a_whole_is_checked_with_what_others_wrote() -> None:
    """Each of the two adds one entry to one; the dict may have two."""
    await rc.save(player(slots={"a": 1}))
    one, two = await rc.get(Player, "alice"), await rc.get(Player, "alice")
    one.slots["b"], two.slots["c"] = 2, 3
    await rc.save(one)
    with pytest.raises(ConstraintError) as caught:
        await rc.save(two)
    assert caught.value.path == "slots"
    with pytest.raises(ConstraintError):
        await rc.save(two, overwrite=True)
    three = player("carol")
    await rc.save(three)
    three.free = 1
    with pytest.raises(ConstraintError):
        await rc.save_many([two, three])
    assert (await rc.get(Player, "carol")).free == 1, "one that cannot be saved keeps no other from it"
    assert (await rc.get(Player, "alice")).slots == {"a": 1, "b": 2}


async def test_an_increment_is_checked_with_the_stored_value_not_the_local_one() -> None:
    await rc.save(player())
    stale = await rc.get(Player, "alice")
    await rc.assign(rc.ref(Player, "alice"), Player.coins, 100)
    assert await rc.increment(stale, Player.coins, -50) == 50
    assert stale.coins == 50
    await rc.assign(rc.ref(Player, "alice"), Player.coins, 10)
    with pytest.raises(ConstraintError):
        await rc.increment(stale, Player.coins, -11)


async def test_fifty_buyers_never_make_the_balance_negative() -> None:
    await rc.save(player(coins=20))

    async def buy() -> bool:
        try:
            await rc.increment(rc.ref(Player, "alice"), Player.coins, -1)
        except ConstraintError:
            return False
        return True

    assert sum(await asyncio.gather(*[buy() for _ in range(50)])) == 20
    assert (await rc.get(Player, "alice")).coins == 0


async def test_what_breaks_a_rule_can_be_loaded_and_repaired(redis_client: redis.Redis) -> None:
    """Rules come later than data: a stored value that breaks one does not lock its object."""
    await rc.save(player())
    redis_client.hset("Player:alice", mapping={"coins": "-7", "marks.0": "-1", "tags.x": "", "best": "-1"})
    p = await rc.get(Player, "alice")
    assert (p.coins, p.marks, p.best) == (-7, [-1, 2], -1)
    p.free = 1
    await rc.save(p)
    await rc.increment(p, Player.free, 1)
    await rc.append(p, Player.marks, 3)
    await rc.discard(p, Player.tags, "x")
    async with rc.pipeline(p) as draft:
        assert draft.coins == -7
        assert list(draft.marks) == [-1, 2, 3]
        draft.free += 1
    with pytest.raises(ConstraintError):
        await rc.increment(p, Player.coins, 1)
    with pytest.raises(ConstraintError):
        await rc.insert_at(p, Player.marks, 3, 4)  # it writes the list anew
    assert await rc.increment(p, Player.coins, 8) == 1
    p.marks, p.best = [0], None
    await rc.save(p)
    assert await rc.get(Player, "alice") == p == player(coins=1, free=3, marks=[0], best=None)


async def test_writes_that_the_rule_does_not_concern_stay_blind(trips: Trips) -> None:
    p = player()
    await rc.save(p)
    with trips.expect(4):
        await rc.assign(p, Player.coins, 7)
        await rc.increment(p, Player.free, 1)
        await rc.put(p, Player.counts, "bb", 7)
        await rc.add(p, Player.tags, "uu")
    with trips.expect(2):
        assert await rc.increment(p, Player.coins, 1) == 8


class Hero(AtomicRedisModel):
    name: Key[str]
    hp: Natural = 10
    unit: Unit = field(default_factory=Unit)
    marks: list[Natural] = field(default_factory=list)
    few: Annotated[list[int], MaxLen(1)] = field(default_factory=list)
    counts: dict[str, Natural] = field(default_factory=dict)
    tags: set[Annotated[str, MinLen(2)]] = field(default_factory=set)


@pytest.mark.parametrize(
    "write",
    [
        lambda h: h.hp.aset(-1),
        lambda h: h.hp.aincrease(-11),
        lambda h: h.unit.hp.aincrease(-11),
        lambda h: h.aupdate(hp=-1),
        lambda h: h.aupdate(unit=Unit(-1)),
        lambda h: h.marks.aappend(-1),
        lambda h: h.marks.aextend([1, -1]),
        lambda h: h.marks.ainsert(0, -1),
        lambda h: h.marks.aset([-1]),
        lambda h: h.few.aextend([1, 2]),
        lambda h: h.counts.aset_item("a", -1),
        lambda h: h.counts.aupdate(a=-1),
        lambda h: h.tags.aadd("x"),
        lambda h: Hero("other", hp=-1).asave(),
        lambda h: Hero("other", hp=-1).ainsert(),
        lambda h: Hero.aget_or_create("other", hp=-1),
    ],
)
async def test_methods_of_the_object_check_as_the_functions_do(
    write: Callable[[Any], Awaitable[Any]], redis_client: redis.Redis
) -> None:
    hero = Hero("h")
    await hero.asave()
    before = redis_client.hgetall("Hero:h")
    with pytest.raises(ConstraintError):
        await write(hero)
    assert redis_client.hgetall("Hero:h") == before
    assert not redis_client.exists("Hero:other")
    assert hero == Hero("h")
