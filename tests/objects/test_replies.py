"""Loading from a flat reply: whatever order the fields have and whatever else is among them, and what is remembered."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest
import redis

import rapyer_core as rc
from rapyer_core import Index, Key, redis_model
from rapyer_core.states import state_of
from tests.objects.conftest import Hash
from tests.objects.models import Achievement, Player, Stats

pytestmark = pytest.mark.also_restricted

KEY = "Player:alice"


@redis_model
@dataclass(frozen=True, slots=True)
class Ticket:
    number: Key[UUID]
    title: str = ""
    votes: Index[int] = 0
    labels: dict[str, str] = field(default_factory=dict)


@redis_model(ttl=100)
@dataclass
class Fleeting:
    name: Key[str]
    marks: list[int] = field(default_factory=list)


@dataclass
class Animal:
    name: str = ""


@dataclass
class Lion(Animal):
    mane: bool = True


@redis_model
@dataclass
class Zoo:
    name: Key[str]
    animals: list[Animal] = field(default_factory=list)


@redis_model
@dataclass
class Nothing:
    pass


def full() -> Player:
    stats = Stats(wins=7)
    return Player("alice", 1, 2, 3, [Achievement.FIRST_WIN], stats, {"k": "v", "a.b": ""}, {"pro"})


def all_of_it(client: redis.Redis) -> list[Any]:
    """The stored fields, in order."""
    return list(client.hgetall(KEY).items())


def rewrite(client: redis.Redis, fields: list[Any]) -> None:
    """Store these fields anew, in this order."""
    client.delete(KEY)
    for name, value in fields:
        client.hset(KEY, name, value)


async def test_the_field_that_marks_an_object_is_stored_first(redis_client: redis.Redis) -> None:
    await rc.save(full())
    assert all_of_it(redis_client)[0] == (b"~", b"1")
    await rc.delete(Player, "alice")
    await rc.insert(full())
    assert all_of_it(redis_client)[0] == (b"~", b"1")


@pytest.mark.parametrize("seed", range(12))
async def test_the_order_of_stored_fields_does_not_matter(redis_client: redis.Redis, seed: int) -> None:
    await rc.save(full())
    fields = all_of_it(redis_client)
    rewrite(redis_client, random.Random(seed).sample(fields, len(fields)))
    found = await rc.get(Player, "alice")
    assert found == full()
    assert state_of(found).stored == {name: value for name, value in fields if name != b"~"}
    found.metadata["k"] = "w"
    await rc.save(found)
    assert await rc.get(Player, "alice") == replace(full(), metadata={"k": "w", "a.b": ""})


async def test_what_is_behind_the_mark_may_be_of_another_class(redis_client: redis.Redis) -> None:
    """Fields that the class does not know, in front, between and behind, are kept."""
    await rc.save(full())
    fields = all_of_it(redis_client)
    strangers = [(b"old", b"1"), (b"stats.old", b"2"), (b"metadata.k.old", b"3")]
    rewrite(redis_client, [fields[0], strangers[0], *fields[1:4], strangers[1], *fields[4:], strangers[2]])
    found = await rc.get(Player, "alice")
    assert found == full()
    assert rc.extra_fields(found) == {"old": b"1", "stats.old": b"2", "metadata.k.old": b"3"}
    found.coins = 9
    await rc.save(found)
    assert redis_client.hget(KEY, "old") == b"1"
    assert redis_client.hget(KEY, "coins") == b"9"


async def test_a_field_that_is_missing_has_its_default(redis_client: redis.Redis) -> None:
    await rc.save(full())
    redis_client.hdel(KEY, "coins", "stats.wins")
    assert await rc.get(Player, "alice") == replace(full(), coins=0, stats=Stats())


async def test_subclasses_in_a_list_are_loaded_and_saved_as_what_they_are(stored: Hash) -> None:
    await rc.save(Zoo("z", [Animal("a"), Lion("l", False)]))
    before = stored("Zoo:z")
    zoo = await rc.get(Zoo, "z")
    assert zoo == Zoo("z", [Animal("a"), Lion("l", False)])
    await rc.save(zoo)
    assert stored("Zoo:z") == before
    assert await rc.get_many(Zoo, ["z"]) == [zoo]


async def test_more_fields_than_a_compact_hash_has(redis_client: redis.Redis) -> None:
    """Their order is no longer that of writing."""
    player = replace(full(), metadata={f"key{number}": str(number) for number in range(700)})
    await rc.save(player)
    assert redis_client.object("encoding", KEY) == b"hashtable"
    assert await rc.get(Player, "alice") == player == (await rc.get_many(Player, ["alice", "bob"]))[0]


async def test_a_hash_of_somebody_else_and_one_of_another_name(redis_client: redis.Redis) -> None:
    redis_client.hset(KEY, mapping={"username": "alice", "~": ""})
    with pytest.raises(rc.DecodeError):
        await rc.get(Player, "alice")
    redis_client.delete(KEY)
    await rc.save(replace(full(), username="bob"))
    redis_client.rename("Player:bob", KEY)
    with pytest.raises(rc.DecodeError, match="names another object") as caught:
        await rc.get(Player, "alice")
    assert (caught.value.model, caught.value.pk, caught.value.path) == ("Player", "alice", "username")
    redis_client.delete(KEY)
    redis_client.set(KEY, "x")
    with pytest.raises(rc.WrongKeyType, match=KEY):
        await rc.get_many(Player, ["alice"])


async def test_keys_of_other_types_indexes_and_lives(stored: Hash, redis_client: redis.Redis) -> None:
    number = UUID(int=7)
    await rc.save_many([Ticket(number, "t", 5, {"a": "b"}), Fleeting("f", [1, 2])])
    assert stored(f"Ticket:{number}") == {
        "~": "1",
        "number": str(number),
        "title": "t",
        "votes": "5",
        "labels": "{}",
        "labels.a": "b",
    }
    assert stored("Fleeting:f") == {"~": "1", "name": "f", "marks": "2", "marks.0": "1", "marks.1": "2"}
    assert redis_client.zscore("~Ticket:index:votes", str(number)) == 5
    assert 0 < redis_client.ttl("Fleeting:f") <= 100
    assert await rc.get(Ticket, number) == Ticket(number, "t", 5, {"a": "b"})
    assert await rc.top(Ticket, rc.paths(Ticket).votes, 1) == [Ticket(number, "t", 5, {"a": "b"})]
    await rc.save(replace(await rc.get(Ticket, number), votes=6))
    assert redis_client.zscore("~Ticket:index:votes", str(number)) == 6


async def test_a_class_without_fields(stored: Hash) -> None:
    nothing = Nothing()
    await rc.save(nothing)
    pk = rc.pk_of(nothing)
    assert stored(f"Nothing:{pk}") == {"~": "1"}
    await rc.save(nothing)
    assert await rc.get(Nothing, pk) == nothing
    assert state_of(nothing).stored == state_of(await rc.get(Nothing, pk)).stored == {}


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda obj: pickle.loads(pickle.dumps(obj))])
async def test_what_was_saved_or_loaded_is_remembered_by_copies_and_pickles(twin: Callable[[Player], Player]) -> None:
    saved = full()
    await rc.save(saved)
    for origin in (saved, await rc.get(Player, "alice")):
        await rc.reload(saved)
        made = twin(origin)
        assert state_of(made) == state_of(origin)
        made.score += 1
        await rc.save(made)
        origin.score = -1
        with pytest.raises(rc.Conflict) as caught:
            await rc.save(origin)
        assert caught.value.fields == ("score",)
        made.score -= 1
        await rc.save(made)


async def test_a_new_object_that_was_saved_writes_only_what_changed(redis_client: redis.Redis) -> None:
    player = full()
    await rc.save(player)
    redis_client.hset(KEY, "coins", "99")
    player.metadata["k"] = "w"
    await rc.save(player)
    assert (await rc.get(Player, "alice")).coins == 99
    assert (await rc.get(Player, "alice")).metadata == {"k": "w", "a.b": ""}


@pytest.mark.parametrize("text", ["a\0b", "a\r\n$1\r\nb", "\r\n", "\0", "é\U0001f600\0", "", "~", "*1\r\n"])
async def test_whatever_is_in_a_text_is_remembered_as_it_is(redis_client: redis.Redis, text: str) -> None:
    player = Player("alice", metadata={"k": text, text: "v"})
    await rc.save(player)
    stored: Any = {name: raw for name, raw in redis_client.hgetall(KEY).items() if name != b"~"}
    assert state_of(player).stored == stored
    loaded = await rc.get(Player, "alice")
    assert loaded == player
    assert state_of(loaded).stored == stored
    loaded.wins += 1
    await rc.save(loaded)
    copied = pickle.loads(pickle.dumps(await rc.get(Player, "alice")))
    copied.coins += 1
    await rc.save(copied)
    assert await rc.get(Player, "alice") == replace(player, wins=1, coins=1)
