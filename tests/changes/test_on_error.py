"""`on_error=`: the fields that can be read, and a list of what cannot; and what later writes do with the latter."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, cast

import pytest
import redis

import rapyer_core as rc
from rapyer_core import Alias, DecodeError, Index, Key, desc, redis_model, sync
from tests.objects.conftest import Hash


@dataclass
class Stats:
    wins: int = 0
    losses: int = 0


@redis_model
@dataclass
class Player:
    name: Key[str]
    level: int
    score: Index[int] = 5
    money: Decimal = Decimal(1)
    stats: Stats = field(default_factory=Stats)
    items: list[int] = field(default_factory=lambda: [7])
    table: dict[str, int] = field(default_factory=dict)
    points: Annotated[int, Alias("old_points")] = 3


P = rc.paths(Player)

GOOD: dict[str, str] = {
    "~": "1",
    "name": "a",
    "level": "2",
    "score": "12",
    "money": "1.50",
    "stats.wins": "4",
    "stats.losses": "6",
    "items": "2",
    "items.0": "1",
    "items.1": "2",
    "table": "{}",
    "table.k": "1",
    "old_points": "8",
}


async def load(client: redis.Redis, bad: dict[str, str]) -> tuple[Player, list[DecodeError]]:
    """An object of which some stored fields are bad."""
    client.hset("Player:a", mapping=GOOD | bad)  # type: ignore[arg-type]  # str is what it takes
    errors: list[DecodeError] = []
    return await rc.get(Player, "a", on_error=errors.append), errors


MOVED = {name: text for name, text in GOOD.items() if name != "old_points"} | {"points": "8"}
"""The same once it was saved."""

BAD = {"score": "many", "stats.wins": "x", "items.1": "y", "table.k": "z", "old_points": "w"}


async def test_all_of_them_are_told_and_the_rest_is_there(redis_client: redis.Redis) -> None:
    player, errors = await load(redis_client, BAD)
    assert player == Player("a", 2, 5, Decimal("1.50"), Stats(), [7], {}, 3)
    assert {(error.path, error.raw) for error in errors} == {
        ("score", b"many"),
        ("stats.wins", b"x"),
        ("items[1]", b"y"),
        ('table["k"]', b"z"),
        ("points", b"w"),
    }
    assert {(error.model, error.pk, error.target) for error in errors} == {("Player", "a", "int")}
    with pytest.raises(DecodeError) as caught:
        await rc.get(Player, "a")
    assert {(error.path, error.pk) for error in caught.value.errors} == {(error.path, "a") for error in errors}


async def test_nothing_is_told_of_a_good_object(redis_client: redis.Redis) -> None:
    player, errors = await load(redis_client, {})
    assert errors == []
    assert player == await rc.get(Player, "a")


async def test_saves_leave_bad_fields_as_they_are_stored(redis_client: redis.Redis, stored: Hash) -> None:
    player, _ = await load(redis_client, BAD)
    await rc.save(player)
    assert stored("Player:a") == GOOD | BAD
    player.money = Decimal(9)
    await rc.save(player)
    await rc.save(player, overwrite=True)
    await rc.save_many([player])
    await rc.increment(player, P.level, 1)
    async with rc.pipeline(player) as draft:
        draft.level += 1
    async with rc.transaction() as tx:
        await tx.save(player)
    for handle in (copy.copy(player), copy.deepcopy(player), pickle.loads(pickle.dumps(player)), rc.evolve(player)):
        handle.money += 1
        await rc.save(handle, overwrite=True)
    assert stored("Player:a") == GOOD | BAD | {"money": "10", "level": "4"}
    with pytest.raises(DecodeError):
        await rc.get(Player, "a")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("score", 6, {"score": "6"}),
        ("stats", Stats(1, 2), {"stats.wins": "1", "stats.losses": "2"}),
        ("items", [3], {"items": "1", "items.0": "3", "items.1": None}),
        ("table", {"n": 1}, {"table.n": "1", "table.k": None}),
        ("points", 9, {"points": "9", "old_points": None}),
    ],
)
async def test_a_bad_field_that_was_given_a_value_is_saved(
    name: str, value: Any, expected: dict[str, str | None], redis_client: redis.Redis, stored: Hash
) -> None:
    player, _ = await load(redis_client, BAD)
    setattr(player, name, value)
    await rc.save(player)
    want = {place: text for place, text in (GOOD | BAD | expected).items() if text is not None}
    assert stored("Player:a") == want
    if name == "score":
        assert redis_client.zscore("~Player:index:score", "a") == 6
        # Back to what stood in for it: by now that is a value like any other.
        player.score = 5
        await rc.save(player)
        assert stored("Player:a") == want | {"score": "5"}


async def test_a_change_of_what_stands_in_is_a_value_too(redis_client: redis.Redis, stored: Hash) -> None:
    player, _ = await load(redis_client, BAD)
    player.items.append(8)
    player.stats.wins += 1
    await rc.save(player)
    assert stored("Player:a") == GOOD | BAD | {
        "items": "2",
        "items.0": "7",
        "items.1": "8",
        "stats.wins": "1",
        "stats.losses": "0",
    }


async def test_assign_mends_a_field_with_the_value_that_stood_in(redis_client: redis.Redis, stored: Hash) -> None:
    player, _ = await load(redis_client, {"score": "many"})
    await rc.assign(player, Player.score, 5)
    assert stored("Player:a") == GOOD | {"score": "5"}
    player.score = 6
    await rc.save(player)
    player.score = 5
    await rc.save(player)
    assert stored("Player:a")["score"] == "5"


async def test_somebody_else_mended_it_meanwhile(redis_client: redis.Redis, stored: Hash) -> None:
    player, _ = await load(redis_client, {"score": "many"})
    redis_client.hset("Player:a", "score", "99")
    player.level = 7
    await rc.save(player)
    assert stored("Player:a") == MOVED | {"score": "99", "level": "7"}
    player.score = 1
    with pytest.raises(rc.Conflict):
        await rc.save(player)
    await rc.reload(player)
    assert player.score == 99
    player.score = 5
    await rc.save(player)
    assert stored("Player:a")["score"] == "5"


async def test_a_field_without_a_default_is_missing(redis_client: redis.Redis, stored: Hash) -> None:
    player, errors = await load(redis_client, {"level": "high", "score": "many"})
    assert [error.path for error in errors] == ["level", "score"]
    assert not hasattr(player, "level")
    assert (player.name, player.score, player.items) == ("a", 5, [1, 2])
    player.money = Decimal(2)
    await rc.save(player)
    assert stored("Player:a") == MOVED | {"level": "high", "score": "many", "money": "2"}
    player.level = 3
    await rc.save(player)
    assert stored("Player:a") == MOVED | {"level": "3", "score": "many", "money": "2"}


async def test_a_field_that_is_not_stored_and_has_no_default(redis_client: redis.Redis, stored: Hash) -> None:
    redis_client.hset("Player:a", mapping={"~": "1", "name": "a"})
    errors: list[DecodeError] = []
    player = await rc.get(Player, "a", on_error=errors.append)
    assert [(error.path, error.raw) for error in errors] == [("level", None)]
    player.score = 6
    await rc.save(player)
    assert stored("Player:a") == {"~": "1", "name": "a", "score": "6"}
    del player.items
    with pytest.raises(rc.EncodeError, match="items"):
        await rc.save(player)


async def test_the_key_field_is_known_from_the_key(redis_client: redis.Redis, stored: Hash) -> None:
    redis_client.hset("Player:a", mapping=GOOD)  # type: ignore[arg-type]  # str is what it takes
    redis_client.hset("Player:a", "name", b"\xff")
    errors: list[DecodeError] = []
    player = await rc.get(Player, "a", on_error=errors.append)
    assert (player.name, [error.path for error in errors]) == ("a", ["name"])
    player.level = 3
    await rc.save(player)
    assert redis_client.hget("Player:a", "name") == b"\xff"
    assert redis_client.hget("Player:a", "level") == b"3"


async def test_of_several_objects(redis_client: redis.Redis) -> None:
    for number in range(6):
        await rc.save(Player(f"p{number}", number, score=number))
    redis_client.hset("Player:p2", "score", "x")
    redis_client.hset("Player:p3", "money", "y")
    errors: list[DecodeError] = []
    found = await rc.get_many(Player, ["p2", "none", "p3"], on_error=errors.append)
    assert [None if one is None else (one.score, one.money) for one in found] == [
        (5, Decimal(1)),
        None,
        (3, Decimal(1)),
    ]
    assert [(error.pk, error.path) for error in errors] == [("p2", "score"), ("p3", "money")]
    searches: list[Callable[[], Awaitable[list[Player]]]] = [
        lambda: rc.find(Player, on_error=errors.append),
        lambda: _listed(errors),
        lambda: rc.find(Player, P.level >= 0, order_by=desc(P.level), on_error=errors.append),
    ]
    for search in searches:
        errors.clear()
        assert {one.name for one in await search()} == {f"p{number}" for number in range(6)}
        assert {(error.pk, error.path) for error in errors} == {("p2", "score"), ("p3", "money")}
    errors.clear()
    hits = await rc.find(Player, Player.money == 1, on_error=errors.append)
    assert {one.name for one in hits} == {"p0", "p1", "p2", "p4", "p5"}
    hits = await rc.find(Player, order_by=desc(Player.score), limit=9, on_error=errors.append)
    assert [one.name for one in hits] == ["p5", "p4", "p3", "p1", "p0"]
    one = await rc.find_one(Player, P.level == 2, on_error=errors.append)
    assert one is not None
    assert one.name == "p2"
    with pytest.raises(DecodeError):
        await rc.find(Player)


async def _listed(errors: list[DecodeError]) -> list[Player]:
    return [one async for one in rc.iterate(Player, on_error=errors.append)]


async def test_what_is_wrong_with_the_object_as_a_whole_is_raised(redis_client: redis.Redis) -> None:
    @redis_model(name="Player")
    @dataclass
    class Picky:
        name: Key[str]
        level: int = 0

        def __post_init__(self) -> None:
            if self.level < 1:
                raise ValueError("canary")

    redis_client.hset("Player:a", mapping={"~": "1", "name": "a", "level": "x"})
    with pytest.raises(DecodeError) as caught:
        await rc.get(Picky, "a", on_error=lambda _: None)
    assert "canary" not in str(caught.value)
    redis_client.hset("Player:a", "~", "9")
    with pytest.raises(rc.UnknownVersion):
        await rc.get(Picky, "a", on_error=lambda _: None)
    with pytest.raises(rc.NotFound):
        await rc.get(Picky, "b", on_error=lambda _: None)


NO_INT: int = cast(int, None)
NO_LIST: list[int] = cast("list[int]", ())


@redis_model
@dataclass
class Loose:
    """Defaults that are no values of their fields."""

    name: Key[str]
    level: int = NO_INT
    tags: list[int] = NO_LIST
    score: int = 0


async def test_a_default_that_cannot_be_stored_stands_in(redis_client: redis.Redis, stored: Hash) -> None:
    bad = {"~": "1", "name": "a", "level": "x", "tags": "y", "score": "1"}
    redis_client.hset("Loose:a", mapping=bad)  # type: ignore[arg-type]  # str is what it takes
    errors: list[DecodeError] = []
    loose = await rc.get(Loose, "a", on_error=errors.append)
    assert loose == Loose("a", score=1)
    assert [error.path for error in errors] == ["level", "tags"]
    loose.score = 2
    await rc.save(loose)
    assert stored("Loose:a") == bad | {"score": "2"}
    loose.level = cast(int, "3")
    with pytest.raises(rc.EncodeError, match="level"):
        await rc.save(loose)
    loose.level = 3
    await rc.save(loose)
    assert stored("Loose:a") == bad | {"score": "2", "level": "3"}


async def test_an_object_that_grew_past_what_is_written_at_once(redis_client: redis.Redis) -> None:
    table = {f"table.k{number}": "1" for number in range(10_001)}
    redis_client.hset("Player:a", mapping=GOOD | table | {"score": "x"})  # type: ignore[arg-type]  # str is what it takes
    errors: list[DecodeError] = []
    player = await rc.get(Player, "a", on_error=errors.append)
    assert len(player.table) == 10_002
    assert [error.path for error in errors] == ["score"]


@pytest.mark.parametrize("options", [{"slots": True}, {"frozen": True}, {"slots": True, "frozen": True}])
async def test_classes_of_other_forms(options: dict[str, bool], redis_client: redis.Redis, stored: Hash) -> None:
    @redis_model(name="Form")
    @dataclass(**options)
    class Form:
        name: Key[str]
        level: int
        score: int = 5

    redis_client.hset("Form:a", mapping={"~": "1", "name": "a", "level": "x", "score": "y"})
    errors: list[DecodeError] = []
    form = await rc.get(Form, "a", on_error=errors.append)
    assert [error.path for error in errors] == ["level", "score"]
    assert not hasattr(form, "level")
    await rc.save(form)
    assert stored("Form:a") == {"~": "1", "name": "a", "level": "x", "score": "y"}


async def test_live_objects(redis_client: redis.Redis, stored: Hash) -> None:
    class Living(rc.AtomicRedisModel, name="Living"):
        name: Key[str] = ""
        score: int = 5
        items: list[int] = field(default_factory=list)

    redis_client.hset("Living:a", mapping={"~": "1", "name": "a", "score": "x", "items": "0"})
    errors: list[DecodeError] = []
    living: Any = await rc.get(Living, "a", on_error=errors.append)
    await living.items.aappend(1)
    await living.asave()
    assert stored("Living:a") == {"~": "1", "name": "a", "score": "x", "items": "1", "items.0": "1"}
    assert len(errors) == 1


def test_without_asyncio(url: str, redis_client: redis.Redis) -> None:
    sync.init_rapyer(url)
    try:
        redis_client.hset("Player:a", mapping=GOOD | BAD)  # type: ignore[arg-type]  # str is what it takes
        errors: list[DecodeError] = []
        assert sync.get(Player, "a", on_error=errors.append).score == 5
        assert len(errors) == 5
        assert [one.name for one in sync.iterate(Player, on_error=errors.append)] == ["a"]
        assert len(errors) == 10
    finally:
        sync.close_rapyer()


async def _assigned(player: Player) -> None:
    await rc.assign(player, P.stats.losses, 9)


async def _incremented(player: Player) -> None:
    await rc.increment(player, P.stats.losses, 3)


async def _in_a_block(player: Player) -> None:
    async with rc.pipeline(player) as draft:
        draft.stats.losses += 3


@pytest.mark.parametrize("write", [_assigned, _incremented, _in_a_block])
async def test_a_write_beside_what_cannot_be_read_does_not_pass_for_a_value(
    redis_client: redis.Redis, stored: Hash, write: Callable[[Player], Awaitable[None]]
) -> None:
    player, _ = await load(redis_client, {"stats.wins": "x"})
    await write(player)
    assert player.stats.losses == 9
    await rc.save(player)
    assert stored("Player:a") == MOVED | {"stats.wins": "x", "stats.losses": "9"}
    player.stats.losses = 10
    await rc.save(player)
    assert stored("Player:a") == MOVED | {"stats.wins": "x", "stats.losses": "10"}
    player.stats = Stats(1, 2)
    await rc.save(player)
    assert stored("Player:a") == MOVED | {"stats.wins": "1", "stats.losses": "2"}


async def test_entries_beside_one_that_cannot_be_read_come_and_go(redis_client: redis.Redis, stored: Hash) -> None:
    player, _ = await load(redis_client, {"table.k": "z", "table.l": "3"})
    await rc.put(player, P.table, "a", 1)
    await rc.merge(player, P.table, {"b": 2, "c": 3})
    await rc.remove(player, P.table, "b")
    await rc.save(player)
    assert stored("Player:a") == MOVED | {"table.k": "z", "table.l": "3", "table.a": "1", "table.c": "3"}
    del player.table["a"]
    await rc.save(player)
    assert stored("Player:a") == MOVED | {"table.k": "z", "table.l": "3", "table.c": "3"}
    player.table = {"n": 1}
    await rc.save(player)
    assert {name for name in stored("Player:a") if name.startswith("table")} == {"table", "table.n"}


async def test_what_is_remembered_of_writes_does_not_grow_with_their_number(redis_client: redis.Redis) -> None:
    player, _ = await load(redis_client, BAD)

    async def write() -> int:
        await rc.assign(player, P.level, 3)
        await rc.put(player, P.table, "new", 5)
        return len(pickle.dumps(player))

    size = await write()
    for _ in range(50):
        assert await write() == size
