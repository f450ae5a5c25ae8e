"""Versions: objects of older versions are upgraded when they are loaded and by every write, whole, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
import redis

import rapyer_core as rc
from rapyer_core import Alias, Index, Key, StoredFields, redis_model, upgrade_from
from tests.objects.conftest import Hash, Trips


@redis_model(name="Account")
@dataclass
class First:
    """Version 1: gold as a float of pieces, and a list of names."""

    name: Key[str]
    gold: Index[float] = 0.0
    friends: str = ""
    wins: int = 0
    notes: dict[str, str] = field(default_factory=dict)


@upgrade_from(1)
def gold_to_cents(stored: StoredFields) -> None:
    stored.put("cents", int, round(stored.take("gold", float, 0.0) * 100))


@redis_model(name="Account", version=2, upgrades=[gold_to_cents])
@dataclass
class Second:
    """Version 2: whole cents."""

    name: Key[str]
    cents: Index[int] = 0
    friends: str = ""
    wins: int = 0
    notes: dict[str, str] = field(default_factory=dict)


@upgrade_from(2)
def friends_as_list(stored: StoredFields) -> None:
    names = stored.take("friends", str, "")
    stored.put("friends", list[str], names.split(",") if names else [])
    stored.rename("wins", "stats.wins")


@dataclass
class Stats:
    wins: int = 0
    losses: int = 7


@redis_model(name="Account", version=3, upgrades=[friends_as_list, gold_to_cents])
@dataclass
class Third:
    """Version 3: a list of friends, and wins among the stats."""

    name: Key[str]
    cents: Index[int] = 0
    friends: list[str] = field(default_factory=list)
    stats: Stats = field(default_factory=Stats)
    notes: dict[str, str] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)


OLD = {"~": "1", "name": "a", "gold": "1.5", "friends": "b,c", "wins": "4", "notes": "{}", "notes.k": "v", "extra": "x"}
RENEWED = {
    "~": "3",
    "name": "a",
    "cents": "150",
    "friends": "2",
    "friends.0": "b",
    "friends.1": "c",
    "stats.wins": "4",
    "notes": "{}",
    "notes.k": "v",
    "extra": "x",
}


@pytest.fixture
async def old(redis_client: redis.Redis) -> str:
    """An object of version 1, with a field that no class knows. Its key."""
    await rc.save(First("a", 1.5, "b,c", 4, {"k": "v"}))
    redis_client.hset("Account:a", "extra", "x")
    return "Account:a"


def loaded() -> Third:
    return Third("a", 150, ["b", "c"], Stats(4), {"k": "v"})


async def test_loading_upgrades_step_by_step_and_writes_nothing(old: str, stored: Hash) -> None:
    assert await rc.get(Second, "a") == Second("a", 150, "b,c", 4, {"k": "v"})
    obj = await rc.get(Third, "a")
    assert obj == loaded()
    assert rc.extra_fields(obj) == {"extra": b"x"}
    assert await rc.get_many(Third, ["a", "b"]) == [loaded(), None]
    assert await rc.reload(obj) == loaded()
    assert await rc.get_or_create(Third, "a") == (loaded(), False)
    assert await rc.exists(Third, "a")
    assert stored(old) == OLD


async def test_the_next_save_writes_the_object_whole_though_nothing_else_changed(old: str, stored: Hash) -> None:
    obj = await rc.get(Third, "a")
    await rc.save(obj)
    assert stored(old) == RENEWED
    assert await rc.get(Third, "a") == obj
    obj.cents = 1
    await rc.save(obj)
    assert stored(old) == RENEWED | {"cents": "1"}


Operation = Callable[[Third], Awaitable[Any]]
OPERATIONS: dict[str, tuple[Operation, dict[str, str | None]]] = {
    "increment": (lambda a: rc.increment(a, Third.stats.wins, 1), {"stats.wins": "5"}),
    "increment of an index": (lambda a: rc.increment(a, Third.cents, 1), {"cents": "151"}),
    "increment of an added field": (lambda a: rc.increment(a, Third.stats.losses, 1), {"stats.losses": "8"}),
    "assign": (lambda a: rc.assign(a, Third.stats.wins, 9), {"stats.wins": "9"}),
    "assign a container": (
        lambda a: rc.assign(a, Third.friends, ["z"]),
        {"friends": "1", "friends.0": "z", "friends.1": None},
    ),
    "modify": (lambda a: rc.modify(a, Third.stats.wins, lambda n: n * 2), {"stats.wins": "8"}),
    "append": (lambda a: rc.append(a, Third.friends, "d"), {"friends": "3", "friends.2": "d"}),
    "insert_at": (
        lambda a: rc.insert_at(a, Third.friends, 1, "d"),
        {"friends": "3", "friends.1": "d", "friends.2": "c"},
    ),
    "pop": (lambda a: rc.pop(a, Third.friends), {"friends": "1", "friends.1": None}),
    "remove": (lambda a: rc.remove(a, Third.friends, "b"), {"friends": "1", "friends.0": "c", "friends.1": None}),
    "clear": (lambda a: rc.clear(a, Third.friends), {"friends": "0", "friends.0": None, "friends.1": None}),
    "put": (lambda a: rc.put(a, Third.notes, "n", "w"), {"notes.n": "w"}),
    "merge": (lambda a: rc.merge(a, Third.notes, {"k": "1", "n": "w"}), {"notes.k": "1", "notes.n": "w"}),
    "pop of an entry": (lambda a: rc.pop(a, Third.notes, "k"), {"notes.k": None}),
    "remove an entry": (lambda a: rc.remove(a, Third.notes, "k"), {"notes.k": None}),
    "assign an entry": (lambda a: rc.assign(a, Third.notes["n"], "w"), {"notes.n": "w"}),
    "add": (lambda a: rc.add(a, Third.tags, "t"), {"tags": "{}", "tags.t": ""}),
}


async def changed(obj: Third, change: Callable[[Third], None]) -> None:
    change(obj)
    await rc.save(obj)


async def in_pipeline(obj: Third) -> None:
    async with rc.pipeline(obj) as draft:
        draft.stats.wins += 1
        draft.friends.append("d")


async def in_lock(obj: Third) -> None:
    async with rc.lock(obj, name="test") as draft:
        draft.cents += 1
        del draft.notes["k"]


async def in_transaction(obj: Third) -> None:
    async with rc.transaction() as tx:
        draft = await tx.get(Third, rc.pk_of(obj))
        if draft.stats.losses == 7:
            draft.cents -= 50
        await tx.insert(Third("other"))


async def saved_in_transaction(obj: Third) -> None:
    async with rc.transaction() as tx:
        await tx.save(obj)


def _cents(obj: Third) -> None:
    obj.cents = 7


def _friends(obj: Third) -> None:
    obj.friends.append("d")


OPERATIONS |= {
    "save of a field": (lambda a: changed(a, _cents), {"cents": "7"}),
    "save of a list": (lambda a: changed(a, _friends), {"friends": "3", "friends.2": "d"}),
    "save over": (lambda a: rc.save(a, overwrite=True), {}),
    "save_many": (lambda a: rc.save_many([a, Third("other")]), {}),
    "pipeline": (in_pipeline, {"stats.wins": "5", "friends": "3", "friends.2": "d"}),
    "lock": (in_lock, {"cents": "151", "notes.k": None}),
    "transaction": (in_transaction, {"cents": "100"}),
    "save in a transaction": (saved_in_transaction, {}),
}


BY_REF = [name for name in OPERATIONS if not name.startswith("save")]


@pytest.mark.parametrize("once", [False, True], ids=["", "once"])
@pytest.mark.parametrize(
    ("name", "by_ref"), [*((name, False) for name in OPERATIONS), *((name, True) for name in BY_REF)]
)
async def test_every_write_writes_the_upgraded_object_whole(
    name: str, once: bool, by_ref: bool, old: str, url: str, stored: Hash, redis_client: redis.Redis
) -> None:
    operation, expected = OPERATIONS[name]
    await rc.init_rapyer(url, exactly_once=once)
    obj = rc.ref(Third, "a") if by_ref else await rc.get(Third, "a")
    redis_client.expire(old, 1000)
    await operation(obj)
    want = {name: value for name, value in (RENEWED | expected).items() if value is not None}
    assert stored(old) == want
    assert 0 < redis_client.ttl(old) <= 1000
    fresh = await rc.get(Third, "a")
    assert redis_client.zscore("~Account:index:cents", "a") == fresh.cents
    if not by_ref and name != "transaction":
        assert obj == fresh
        obj.cents += 1
        await rc.save(obj)
        assert await rc.get(Third, "a") == obj


async def test_a_refused_operation_leaves_the_old_object_as_it_is(old: str, stored: Hash) -> None:
    with pytest.raises(rc.MissingEntry):
        await rc.pop(rc.ref(Third, "a"), Third.notes, "nothing")
    with pytest.raises(rc.MissingValue):
        await rc.remove(rc.ref(Third, "a"), Third.friends, "nobody")
    with pytest.raises(RuntimeError):
        async with rc.pipeline(rc.ref(Third, "a")) as draft:
            draft.cents = 0
            raise RuntimeError
    assert await rc.pop(rc.ref(Third, "a"), Third.notes, "nothing", default="") == ""
    await rc.discard(rc.ref(Third, "a"), Third.tags, "none")
    async with rc.transaction() as tx:
        assert (await tx.get(Third, "a")).cents == 150
    assert stored(old) == OLD


async def test_whole_writes_do_not_look_at_the_old_object(old: str, url: str, stored: Hash) -> None:
    with pytest.raises(rc.AlreadyExists):
        await rc.insert(Third("a"))
    assert stored(old) == OLD
    await rc.save(Third("a"))
    assert stored(old)["~"] == "3"
    await rc.save(First("a"), exactly_once=True)
    assert stored(old)["~"] == "1"
    assert await rc.delete(Third, "a", exactly_once=True)
    assert stored(old) == {}


async def test_conflicts_are_found_by_the_value_in_todays_form(
    old: str, stored: Hash, redis_client: redis.Redis
) -> None:
    mine = await rc.get(Third, "a")
    redis_client.hset(old, "gold", "2.0")
    mine.cents = 7
    with pytest.raises(rc.Conflict) as caught:
        await rc.save(mine)
    assert caught.value.fields == ("cents",)
    assert stored(old) == OLD | {"gold": "2.0"}
    mine = await rc.get(Third, "a")
    redis_client.hset(old, "wins", "5")
    mine.cents = 8
    await rc.save(mine)
    assert stored(old) == RENEWED | {"cents": "8", "stats.wins": "5"}


async def test_somebody_else_upgraded_it_meanwhile(old: str, stored: Hash) -> None:
    mine = await rc.get(Third, "a")
    async with rc.pipeline(mine) as draft:
        assert draft.friends == ["b", "c"]
        await rc.save(await rc.get(Third, "a"))
        draft.cents += 1
    mine.stats.wins = 10
    await rc.save(mine)
    assert stored(old) == RENEWED | {"cents": "151", "stats.wins": "10"}


async def test_a_read_of_a_block_is_checked_in_todays_form(old: str, redis_client: redis.Redis, stored: Hash) -> None:
    with pytest.raises(rc.Conflict) as caught:
        async with rc.pipeline(rc.ref(Third, "a")) as draft:
            if draft.cents > 100:
                draft.stats.wins += 1
            redis_client.hset(old, "gold", "0.25")
    assert caught.value.fields == ("cents",)
    assert stored(old) == OLD | {"gold": "0.25"}


async def test_many_writers_of_an_old_object_lose_nothing(old: str, stored: Hash) -> None:
    async def work(number: int) -> None:
        match number % 4:
            case 0:
                await rc.increment(rc.ref(Third, "a"), Third.cents, 1)
            case 1:
                await rc.append(rc.ref(Third, "a"), Third.friends, str(number))
            case 2:
                await rc.put(rc.ref(Third, "a"), Third.notes, str(number), "n")
            case _:
                async with rc.pipeline(rc.ref(Third, "a")) as draft:
                    draft.stats.wins += 1

    await asyncio.gather(*(work(number) for number in range(100)))
    found = await rc.get(Third, "a")
    assert found.cents == 175
    assert sorted(found.friends[2:]) == sorted(str(number) for number in range(1, 100, 4))
    assert found.notes == {"k": "v"} | {str(number): "n" for number in range(2, 100, 4)}
    assert found.stats.wins == 29
    assert stored(old)["~"] == "3"


async def test_old_and_new_code_write_side_by_side(old: str, stored: Hash) -> None:
    """Old code replaces the object by one of its own version; new code goes on from there."""
    new = await rc.get(Third, "a")
    await rc.save(new)
    await rc.save(First("a", 9.0, "z"))
    assert await rc.increment(new, Third.cents, 1) == 901
    assert new.cents == 901
    assert (await rc.get(Third, "a")).friends == ["z"]


async def test_a_version_that_is_newer_than_the_class_is_refused_everywhere(url: str, stored: Hash) -> None:
    await rc.save(Third("a", 5, ["b"]))
    before = stored("Account:a")
    second = rc.ref(Second, "a")
    refused: list[Callable[[], Awaitable[Any]]] = [
        lambda: rc.get(Second, "a"),
        lambda: rc.get_many(Second, ["a"]),
        lambda: rc.find(Second),
        lambda: rc.get_or_create(Second, "a"),
        lambda: rc.increment(second, Second.wins, 1),
        lambda: rc.increment(second, Second.cents, 1),
        lambda: rc.assign(second, Second.friends, "x"),
        lambda: rc.put(second, Second.notes, "k", "v"),
        lambda: rc.modify(second, Second.wins, lambda n: n + 1),
        lambda: rc.increment(rc.ref(First, "a"), First.gold, 0.5),
    ]
    for operation in refused:
        with pytest.raises(rc.UnknownVersion) as caught:
            await operation()
        assert (caught.value.model, caught.value.pk, caught.value.version) == ("Account", "a", 3)
        assert caught.value.raw == b"3"
    for door in (rc.pipeline, rc.lock):
        with pytest.raises(rc.UnknownVersion):
            async with door(second) as draft:
                draft.wins += 1
    with pytest.raises(rc.UnknownVersion):
        async with rc.transaction() as tx:
            await tx.get(Second, "a")
    assert stored("Account:a") == before


async def test_an_object_that_became_newer_meanwhile_is_not_written(stored: Hash) -> None:
    await rc.save(Second("a", 5))
    mine = await rc.get(Second, "a")
    await rc.save(await rc.get(Third, "a"))
    before = stored("Account:a")
    mine.wins = 7
    with pytest.raises(rc.UnknownVersion) as caught:
        await rc.save(mine)
    assert str(caught.value).startswith(
        "Account(a).~: the object is stored in version 3, and the class is of version 2"
    )
    assert stored("Account:a") == before


async def test_a_version_before_the_oldest_is_refused(old: str, stored: Hash) -> None:
    @redis_model(name="Account", version=3, oldest=2, upgrades=[friends_as_list])
    @dataclass
    class Later:
        name: Key[str]
        cents: int = 0

    with pytest.raises(rc.UnknownVersion) as caught:
        await rc.get(Later, "a")
    assert caught.value.known == (2, 3)
    with pytest.raises(rc.UnknownVersion):
        await rc.increment(rc.ref(Later, "a"), Later.cents, 1)
    assert stored(old) == OLD


@pytest.mark.parametrize("version", ["x", "", "01", "-1", "1.0", "9" * 30])
async def test_a_version_that_is_none(version: str, old: str, redis_client: redis.Redis) -> None:
    redis_client.hset(old, "~", version)
    for operation in (rc.get(Third, "a"), rc.increment(rc.ref(Third, "a"), Third.stats.wins, 1), rc.get(First, "a")):
        with pytest.raises(rc.DecodeError) as caught:
            await operation
        assert (caught.value.path, caught.value.raw) == ("~", version.encode())


async def test_an_upgrade_that_fails_is_an_error_that_shows_no_value(stored: Hash) -> None:
    @upgrade_from(1)
    def broken(stored: StoredFields) -> None:
        raise ValueError(f"secret {stored.get('friends', str)}")

    @upgrade_from(1)
    def wrong_type(stored: StoredFields) -> None:
        stored.take("friends", int)

    @upgrade_from(1)
    def wrong_value(stored: StoredFields) -> None:
        stored.put("wins", Any, object())

    @upgrade_from(1, fields=["gold"])
    def undeclared(stored: StoredFields) -> None:
        stored.put("wins", int, 1)

    await rc.save(First("a", 1.5, "canary"))
    before = stored("Account:a")
    for step, kind in (
        (broken, rc.DecodeError),
        (wrong_type, rc.DecodeError),
        (wrong_value, rc.EncodeError),
        (undeclared, rc.ConstraintError),
    ):

        @redis_model(name="Account", version=2, upgrades=[step])
        @dataclass
        class Later:
            name: Key[str]
            wins: int = 0

        for operation in (rc.get(Later, "a"), rc.increment(rc.ref(Later, "a"), Later.wins, 1)):
            with pytest.raises(kind) as caught:
                await operation
            assert (caught.value.model, caught.value.pk) == ("Account", "a")
            assert "canary" not in str(caught.value)
            assert caught.value.__cause__ is None
            assert caught.value.__context__ is None or "canary" not in str(caught.value.__context__)
    assert stored("Account:a") == before


async def test_what_a_class_with_versions_costs(trips: Trips) -> None:
    await rc.save(Third("a"))
    with trips.expect(2):
        await rc.increment(rc.ref(Third, "a"), Third.stats.wins, 1)
    assert b"HGETALL" not in trips.commands
    await rc.save(First("b"))
    with trips.expect(1):
        await rc.increment(rc.ref(First, "b"), First.wins, 1)

    @redis_model(name="Account", version=3, oldest=3)
    @dataclass
    class Settled:
        name: Key[str]
        wins: int = 0

    with trips.expect(2):
        await rc.save(Settled("a"))
        await rc.increment(rc.ref(Settled, "a"), Settled.wins, 1)


def test_the_steps_of_a_class_are_checked_when_it_is_decorated() -> None:
    @dataclass
    class Plain:
        name: Key[str]

    @upgrade_from(1)
    def again(stored: StoredFields) -> None: ...

    @upgrade_from(3)
    def third(stored: StoredFields) -> None: ...

    def a_function(stored: StoredFields) -> None: ...

    bad: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, "two upgrades from version 1", {"version": 2, "upgrades": [gold_to_cents, again]}),
        (ValueError, "no upgrade from version 2", {"version": 3, "upgrades": [gold_to_cents]}),
        (ValueError, "no upgrade from version 1", {"version": 3, "upgrades": [friends_as_list]}),
        (ValueError, "no upgrade from version 1, 2", {"version": 3, "oldest": 1}),
        (ValueError, "nothing to upgrade from version 3", {"version": 2, "upgrades": [gold_to_cents, third]}),
        (ValueError, "nothing to upgrade from version 1", {"version": 1, "upgrades": [gold_to_cents]}),
        (ValueError, "nothing to upgrade from version 1", {"version": 3, "oldest": 2, "upgrades": [gold_to_cents]}),
        (ValueError, "oldest version", {"version": 2, "oldest": 3}),
        (ValueError, "counts from 1", {"version": 0}),
        (TypeError, "upgrade_from", {"version": 2, "upgrades": [a_function]}),
    ]
    for kind, words, options in bad:
        with pytest.raises(kind, match=words):
            redis_model(**options)(Plain)


def test_a_class_with_methods_takes_the_same_options() -> None:
    class Live(rc.AtomicRedisModel, name="Account", version=2, upgrades=[gold_to_cents]):
        name: Key[str] = ""
        cents: int = 0

    with pytest.raises(ValueError, match="no upgrade"):

        class Missing(rc.AtomicRedisModel, name="Account", version=3, upgrades=[gold_to_cents]):
            name: Key[str] = ""


async def test_live_values_of_an_old_object(old: str, stored: Hash) -> None:
    class Live(rc.AtomicRedisModel, name="Account", version=3, upgrades=[gold_to_cents, friends_as_list]):
        name: Key[str] = ""
        cents: int = 0
        friends: list[str] = field(default_factory=list)

    obj: Any = await Live.aget("a")
    await obj.cents.aincrease(1)
    await obj.friends.aappend("d")
    assert stored(old) == RENEWED | {"cents": "151", "friends": "3", "friends.2": "d"}


@upgrade_from(1)
def nothing(stored: StoredFields) -> None:
    """Only the number changes."""


async def test_an_alias_and_an_upgrade_together(old: str, stored: Hash) -> None:
    @redis_model(name="Account", version=2, upgrades=[nothing])
    @dataclass
    class Renamed:
        name: Key[str]
        victories: Annotated[int, Alias("wins")] = 0

    assert await rc.increment(rc.ref(Renamed, "a"), Renamed.victories, 1) == 5
    kept = {name: value for name, value in OLD.items() if name != "wins"}
    assert stored(old) == kept | {"~": "2", "victories": "5"}


async def test_an_index_that_came_with_the_version_leaves_no_phantom(redis_client: redis.Redis) -> None:
    @redis_model(name="Short", ttl=100)
    @dataclass
    class Before:
        name: Key[str]
        points: int = 0

    @redis_model(name="Short", ttl=100, version=2, upgrades=[nothing])
    @dataclass
    class After:
        name: Key[str]
        points: Index[int] = 0

    await rc.save(Before("a", 5))
    await rc.increment(rc.ref(After, "a"), After.points, 1)
    assert redis_client.zscore("~Short:index:points", "a") == 6
    assert (await rc.upgrade_all(After)).done
    assert (await rc.top(After, After.points))[0].points == 6
    assert redis_client.zscore("~Short:expiry", "a") == redis_client.pexpiretime("Short:a")
    # As if its time had come, by the server's clock.
    redis_client.pexpireat("Short:a", 1)
    redis_client.zadd("~Short:expiry", {"a": 1})
    assert await rc.top(After, After.points) == []
    assert redis_client.zcard("~Short:index:points") == 0
