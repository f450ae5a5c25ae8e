"""`Alias` on every kind of field and every way to write: what is stored under the former name is built upon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
import redis

import rapyer_core as rc
from rapyer_core import Alias, Index, Key, redis_model
from tests.objects.conftest import Hash


@dataclass
class Stats:
    wins: Annotated[int, Alias("victories")] = 0
    best: Annotated[Index[int], Alias("top")] = 0


@redis_model
@dataclass
class Player:
    name: Annotated[Key[str], Alias("username")]
    score: Annotated[Index[int], Alias("points"), Alias("pts")] = 0
    stats: Annotated[Stats, Alias("record")] = field(default_factory=Stats)
    items: Annotated[list[str], Alias("things")] = field(default_factory=list)
    table: Annotated[dict[str, int], Alias("map")] = field(default_factory=dict)
    tags: Annotated[set[str], Alias("labels")] = field(default_factory=set)
    maybe: Annotated[int | None, Alias("perhaps")] = None
    team: dict[str, Stats] = field(default_factory=dict)


OLD = {
    "~": "1",
    "username": "a",
    "pts": "5",
    "record.victories": "3",
    "record.top": "9",
    "things": "1",
    "things.0": "x",
    "map": "{}",
    "map.k": "1",
    "labels": "{}",
    "labels.t": "",
    "perhaps": "2",
    "team": "{}",
    "team.m.victories": "4",
    "team.m.top": "6",
}
FORMER = {
    "name": "username",
    "score": "pts",
    "stats": "record",
    "items": "things",
    "table": "map",
    "tags": "labels",
    "maybe": "perhaps",
}


def loaded() -> Player:
    return Player("a", 5, Stats(3, 9), ["x"], {"k": 1}, {"t"}, 2, {"m": Stats(4, 6)})


@pytest.fixture(autouse=True)
def old(redis_client: redis.Redis, session: rc.Session) -> None:
    redis_client.hset("Player:a", mapping=OLD)  # type: ignore[arg-type]  # str is what it takes


def _set(name: str, value: Any) -> Callable[[Any], None]:
    return lambda obj: setattr(obj, name, value)


def _wins(obj: Any) -> None:
    obj.stats.wins += 1


def _best(obj: Any) -> None:
    obj.stats.best = 20


def _score(obj: Any) -> None:
    obj.score += 10


def _items(obj: Any) -> None:
    obj.items.append("y")


def _insert(obj: Any) -> None:
    obj.items.insert(0, "w")


def _entry(obj: Any) -> None:
    obj.table["k"] += 1


def _more(obj: Any) -> None:
    obj.table["n"] = 7


def _gone(obj: Any) -> None:
    del obj.table["k"]


def _tag(obj: Any) -> None:
    obj.tags.add("u")


def _maybe(obj: Any) -> None:
    obj.maybe = None


def _team(obj: Any) -> None:
    obj.team["m"].wins += 1


def _member(obj: Any) -> None:
    obj.team["o"] = Stats(1, 1)


def _all(obj: Any) -> None:
    for change in CHANGES[:-1]:
        change(obj)


CHANGES = [_wins, _best, _score, _items, _insert, _entry, _more, _gone, _tag, _maybe, _team, _member, _all]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("door", ["save", "overwrite", "pipeline", "lock", "transaction"])
async def test_every_change_through_every_door(
    change: Callable[[Any], None], door: str, redis_client: redis.Redis, stored: Hash
) -> None:
    want = loaded()
    change(want)
    player = await rc.get(Player, "a")
    assert player == loaded()
    match door:
        case "save" | "overwrite":
            change(player)
            await rc.save(player, overwrite=door == "overwrite")
        case "pipeline":
            async with rc.pipeline(player) as draft:
                change(draft)
        case "lock":
            async with rc.lock(player) as draft:
                change(draft)
        case "transaction":
            async with rc.transaction() as tx:
                change(await tx.get(Player, "a"))
            player = await rc.reload(player)
    assert player == want
    fresh = await rc.get(Player, "a")
    assert fresh == want
    now = stored("Player:a")
    for name, former in FORMER.items():
        holders = {"old": any(_is_of(place, former) for place in now), "new": any(_is_of(place, name) for place in now)}
        assert not (holders["old"] and holders["new"]), (name, now)
        if getattr(want, name) != getattr(loaded(), name):
            assert holders["new"], name
    assert (await rc.upgrade_all(Player)).done
    assert await rc.get(Player, "a") == want
    assert redis_client.zscore("~Player:index:score", "a") == want.score
    assert redis_client.zscore("~Player:index:stats.best", "a") == want.stats.best
    assert not any(_is_of(place, former) for place in stored("Player:a") for former in FORMER.values())
    assert (await rc.verify(Player)).ok


def _is_of(place: str, name: str) -> bool:
    return place == name or place.startswith(name + ".")


async def test_conditions_and_conflicts_are_about_the_new_names() -> None:
    assert [one.name for one in await rc.find(Player, Player.score == 5, Player.stats.wins == 3)] == ["a"]
    assert await rc.find(Player, Player.stats.best > 9) == []
    assert [one.name for one in await rc.top(Player, Player.stats.best)] == ["a"]
    one, two = await rc.get(Player, "a"), await rc.get(Player, "a")
    await rc.increment(two, Player.score, 1)
    one.score = 0
    with pytest.raises(rc.Conflict):
        await rc.save(one)
    one, two = await rc.get(Player, "a"), await rc.get(Player, "a")
    two.stats.wins = 7
    await rc.save(two)
    one.stats.wins = 8
    with pytest.raises(rc.Conflict):
        await rc.save(one)
    with pytest.raises(rc.Conflict):
        async with rc.pipeline(one) as draft:
            if draft.items == ["x"]:
                draft.score = 1
            await rc.append(rc.ref(Player, "a"), Player.items, "z")


async def test_a_key_field_that_was_renamed(stored: Hash) -> None:
    player = await rc.get(Player, "a")
    assert (player.name, rc.pk_of(player)) == ("a", "a")
    await rc.increment(rc.ref(Player, "a"), Player.score, 1)
    with pytest.raises(rc.AlreadyExists):
        await rc.insert(Player("a"))
    assert await rc.exists(player)
    assert await rc.delete(player)
    assert stored("Player:a") == {}
