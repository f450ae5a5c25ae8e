"""save: a new object whole, of a loaded one what changed; nothing another writer wrote is lost silently."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import redis

import rapyer_core as rc
from rapyer_core.operations.reading import parts_of
from tests.objects.conftest import Hash, Trips
from tests.objects.models import Achievement, Box, Hero, Player

pytestmark = pytest.mark.also_restricted


@rc.redis_model
@dataclass
class Book:
    name: rc.Key[str]
    title: str


async def test_a_new_object_is_stored_readably(stored: Hash) -> None:
    player = Player("alice", score=12, achievements=[Achievement.FIRST_WIN, Achievement.STREAK])
    player.stats.wins = 7
    player.metadata["last.win"] = "x"
    player.tags.add("pro")
    await rc.save(player)
    assert stored("Player:alice") == {
        "~": "1",
        "username": "alice",
        "score": "12",
        "wins": "0",
        "coins": "0",
        "achievements": "2",
        "achievements.0": "first_win",
        "achievements.1": "streak_10",
        "stats.wins": "7",
        "stats.average": "0.0",
        "metadata": "{}",
        "metadata.last%2Ewin": "x",
        "tags": "{}",
        "tags.pro": "",
    }
    assert await rc.get(Player, "alice") == player


async def test_a_never_loaded_object_replaces_the_stored_one_whole(redis_client: redis.Redis, stored: Hash) -> None:
    await rc.save(Player("alice", metadata={"a": "1"}))
    redis_client.hset("Player:alice", "unknown", "x")
    await rc.save(Player("alice"))
    assert (await rc.get(Player, "alice")).metadata == {}
    assert "unknown" not in stored("Player:alice")


async def test_two_stale_handles_on_different_fields_are_both_kept() -> None:
    await rc.save(Player("alice"))
    one, two = await rc.get(Player, "alice"), await rc.get(Player, "alice")
    one.coins, two.wins = 5, 7
    await rc.save(one)
    await rc.save(two)
    found = await rc.get(Player, "alice")
    assert (found.coins, found.wins) == (5, 7)


async def test_the_same_field_is_a_conflict_that_names_it_and_writes_nothing(stored: Hash) -> None:
    await rc.save(Player("alice"))
    one, two = await rc.get(Player, "alice"), await rc.get(Player, "alice")
    one.coins = 5
    two.coins, two.wins = 6, 6
    await rc.save(one)
    before = stored("Player:alice")
    with pytest.raises(rc.Conflict) as caught:
        await rc.save(two)
    assert caught.value.fields == ("coins",)
    assert (caught.value.model, caught.value.pk) == ("Player", "alice")
    assert stored("Player:alice") == before
    with pytest.raises(rc.Conflict):
        await rc.save(two)
    await rc.save(two, overwrite=True)
    assert stored("Player:alice") == {**before, "coins": "6", "wins": "6"}


async def test_the_same_new_value_from_two_handles_is_a_conflict_too() -> None:
    """Two handles that both counted from 0 to 1 are one lost update."""
    await rc.save(Player("alice"))
    one, two = await rc.get(Player, "alice"), await rc.get(Player, "alice")
    one.wins += 1
    two.wins += 1
    await rc.save(one)
    with pytest.raises(rc.Conflict):
        await rc.save(two)


async def test_a_saved_object_is_a_loaded_one() -> None:
    player = Player("alice")
    await rc.save(player)
    await rc.increment(rc.ref(Player, "alice"), Player.coins, 5)
    player.wins = 1
    await rc.save(player)
    assert (await rc.get(Player, "alice")).coins == 5
    player.coins = 1
    with pytest.raises(rc.Conflict):
        await rc.save(player)


async def test_after_a_conflict_reload_and_save_go_on() -> None:
    await rc.save(Player("alice"))
    player = await rc.get(Player, "alice")
    await rc.increment(rc.ref(Player, "alice"), Player.coins, 5)
    player.coins += 1
    with pytest.raises(rc.Conflict):
        await rc.save(player)
    assert await rc.reload(player) is player
    assert player.coins == 5
    player.coins += 1
    await rc.save(player)
    assert (await rc.get(Player, "alice")).coins == 6


async def test_an_unchanged_object_writes_nothing(trips: Trips, redis_client: redis.Redis) -> None:
    await rc.save(Player("alice"))
    player = await rc.get(Player, "alice")
    redis_client.hset("Player:alice", "coins", "9")
    await rc.save(player)
    assert b"HSET" not in trips.commands[5:]
    assert redis_client.hget("Player:alice", "coins") == b"9"


@pytest.mark.parametrize("overwrite", [False, True])
async def test_a_key_that_is_gone_is_not_found_and_stays_gone(redis_client: redis.Redis, overwrite: bool) -> None:
    await rc.save(Player("alice"))
    player = await rc.get(Player, "alice")
    redis_client.delete("Player:alice")
    player.coins = 5
    with pytest.raises(rc.NotFound) as caught:
        await rc.save(player, overwrite=overwrite)
    assert isinstance(caught.value, LookupError)
    assert not redis_client.exists("Player:alice")


async def test_an_unchanged_object_whose_key_is_gone_is_not_found(redis_client: redis.Redis) -> None:
    await rc.save(Player("alice"))
    player = await rc.get(Player, "alice")
    redis_client.delete("Player:alice")
    with pytest.raises(rc.NotFound):
        await rc.save(player)


async def test_a_list_is_one_unit() -> None:
    await rc.save(Box("b", items=["a", "b", "c"]))
    one, two = await rc.get(Box, "b"), await rc.get(Box, "b")
    one.items[0] = "A"
    two.items[2] = "C"
    await rc.save(one)
    with pytest.raises(rc.Conflict) as caught:
        await rc.save(two)
    assert caught.value.fields == ("items",)
    assert (await rc.get(Box, "b")).items == ["A", "b", "c"]
    await rc.save(two, overwrite=True)
    assert (await rc.get(Box, "b")).items == ["a", "b", "C"]


async def test_a_list_of_records_is_one_unit_and_leaves_nothing_behind(stored: Hash) -> None:
    await rc.save(Box("b", heroes=[Hero("x"), Hero("y"), Hero("z")]))
    one, two = await rc.get(Box, "b"), await rc.get(Box, "b")
    one.heroes.pop(0)
    await rc.save(one)
    assert {name: text for name, text in stored("Box:b").items() if name.startswith("heroes")} == {
        "heroes": "2",
        "heroes.0.name": "y",
        "heroes.0.hp": "10",
        "heroes.1.name": "z",
        "heroes.1.hp": "10",
    }
    two.heroes[1].hp = 1
    with pytest.raises(rc.Conflict):
        await rc.save(two)


async def test_dict_entries_and_set_members_are_saved_one_by_one() -> None:
    await rc.save(Box("b", counts={"a": 1, "b": 2, "gone": 0}, members={1, 2}))
    one, two = await rc.get(Box, "b"), await rc.get(Box, "b")
    one.counts["a"] = 10
    del one.counts["gone"]
    one.members.discard(1)
    two.counts["b"] = 20
    two.counts["new"] = 3
    two.members.add(3)
    await rc.save(one)
    await rc.save(two)
    found = await rc.get(Box, "b")
    assert found.counts == {"a": 10, "b": 20, "new": 3}
    assert found.members == {2, 3}


@pytest.mark.parametrize("change", ["same key", "both new", "gone and changed"])
async def test_the_same_dict_key_is_a_conflict(change: str) -> None:
    await rc.save(Box("b", counts={"a": 1}))
    one, two = await rc.get(Box, "b"), await rc.get(Box, "b")
    if change == "same key":
        one.counts["a"], two.counts["a"] = 2, 3
    elif change == "both new":
        one.counts["z"], two.counts["z"] = 2, 3
    else:
        del one.counts["a"]
        two.counts["a"] = 2
    await rc.save(one)
    with pytest.raises(rc.Conflict):
        await rc.save(two)
    assert (await rc.get(Box, "b")).counts == one.counts


async def test_a_record_in_a_dict_that_another_writer_removed_does_not_come_back_in_half() -> None:
    await rc.save(Box("b", team={"k": Hero("x", 5)}))
    one, two = await rc.get(Box, "b"), await rc.get(Box, "b")
    del one.team["k"]
    two.team["k"].hp = 1
    await rc.save(one)
    with pytest.raises(rc.Conflict):
        await rc.save(two)
    assert (await rc.get(Box, "b")).team == {}


async def test_an_optional_record_set_to_none_beside_a_change_of_it() -> None:
    await rc.save(Box("b", hero=Hero("x")))
    one, two = await rc.get(Box, "b"), await rc.get(Box, "b")
    one.hero = None
    assert two.hero is not None
    two.hero.hp = 1
    await rc.save(one)
    with pytest.raises(rc.Conflict):
        await rc.save(two)
    assert (await rc.get(Box, "b")).hero is None


async def test_save_many_saves_new_and_loaded_objects() -> None:
    await rc.save_many([Player("a"), Player("b")])
    loaded = [player for player in await rc.get_many(Player, ["a", "b"]) if player is not None]
    for player in loaded:
        player.coins = 1
    await rc.save_many([*loaded, Player("c", coins=1)])
    assert [player and player.coins for player in await rc.get_many(Player, ["a", "b", "c", "d"])] == [1, 1, 1, None]


async def test_save_many_takes_few_round_trips(trips: Trips) -> None:
    players = [Player(f"p{n}") for n in range(300)]
    # Parts that do not wait for each other.
    with trips.expect(len(parts_of(players))):
        await rc.save_many(players)
    for player in players:
        player.coins = 1
    before = len(trips.batches)
    await rc.save_many(players)
    assert len(trips.batches) - before <= 8
    assert await rc.count(Player, Player.coins == 1) == 300


async def test_save_many_with_a_conflict_saves_the_others_whole() -> None:
    await rc.save_many([Player("a"), Player("b"), Player("c")])
    a, b, c = [player for player in await rc.get_many(Player, ["a", "b", "c"]) if player is not None]
    await rc.increment(rc.ref(Player, "b"), Player.coins, 7)
    a.coins = b.coins = c.coins = 1
    with pytest.raises(rc.Conflict) as caught:
        await rc.save_many([a, b, c])
    assert (caught.value.pk, caught.value.fields) == ("b", ("coins",))
    assert [player and player.coins for player in await rc.get_many(Player, ["a", "b", "c"])] == [1, 7, 1]
    c.coins = 2
    await rc.save(c)


async def test_save_many_of_two_handles_of_one_object_is_a_conflict_too() -> None:
    await rc.save(Player("a"))
    one, two = await rc.get(Player, "a"), await rc.get(Player, "a")
    one.coins, two.coins = 1, 2
    with pytest.raises(rc.Conflict):
        await rc.save_many([one, two])
    assert (await rc.get(Player, "a")).coins == 1


async def test_overwrite_of_a_part_of_an_entry_that_is_gone_writes_the_entry_whole() -> None:
    await rc.save(Box("b", team={"k": Hero("x", 5)}, hero=Hero("y", 5)))
    one, two = await rc.get(Box, "b"), await rc.get(Box, "b")
    del one.team["k"]
    one.hero = None
    await rc.save(one)
    assert two.hero is not None
    two.team["k"].hp = two.hero.hp = 1
    await rc.save(two, overwrite=True)
    found = await rc.get(Box, "b")
    assert (found.team, found.hero) == ({"k": Hero("x", 1)}, Hero("y", 1))


async def test_a_field_added_to_an_entry_that_is_gone_is_a_conflict(redis_client: redis.Redis) -> None:
    """The field itself is missing before and after; the entry around it is what changed."""
    await rc.save(Box("b", team={"k": Hero("x", 5)}))
    redis_client.hdel("Box:b", "team.k.hp")
    one, two = await rc.get(Box, "b"), await rc.get(Box, "b")
    del one.team["k"]
    await rc.save(one)
    two.team["k"].hp = 1
    with pytest.raises(rc.Conflict):
        await rc.save(two)
    assert (await rc.get(Box, "b")).team == {}


async def test_an_object_deleted_here_can_be_saved_anew() -> None:
    player = Player("alice", coins=3)
    await rc.save(player)
    assert await rc.delete(player) is True
    assert await rc.delete(player) is False
    await rc.save(player)
    assert await rc.get(Player, "alice") == player


async def test_delete_many_counts_each_object_once() -> None:
    players = [Player("a"), Player("b")]
    await rc.save_many(players)
    gone = rc.ref(Player, "c")
    assert await rc.delete_many([*players, players[0], gone]) == 2
    assert await rc.count(Player) == 0


async def test_insert_of_a_stored_object_is_refused(stored: Hash) -> None:
    await rc.insert(Player("alice", coins=1))
    before = stored("Player:alice")
    with pytest.raises(rc.AlreadyExists):
        await rc.insert(Player("alice", coins=2))
    assert stored("Player:alice") == before


async def test_get_or_create_gives_the_stored_one_or_creates() -> None:
    made, created = await rc.get_or_create(Player, "alice", coins=5)
    assert created
    assert made.coins == 5
    found, created = await rc.get_or_create(Player, "alice", coins=9)
    assert not created
    assert found == made
    again, created = await rc.get_or_create(Player("alice", coins=7))
    assert not created
    assert again.coins == 5
    again.coins = 6
    await rc.save(again)


async def test_get_or_create_needs_values_only_to_create() -> None:
    with pytest.raises(TypeError, match="title"):
        await rc.get_or_create(Book, "b")
    assert not await rc.exists(Book, "b")
    await rc.get_or_create(Book, "b", title="Emma")
    assert await rc.get_or_create(Book, "b") == (Book("b", "Emma"), False)
    with pytest.raises(TypeError, match="nobody"):
        await rc.get_or_create(Book, "b", nobody=1)


async def test_delete_many_by_class_and_keys() -> None:
    await rc.save_many([Player("alice"), Player("bob"), Player("carol")])
    assert await rc.delete_many(Player, ["alice", "bob", "nobody"]) == 2
    assert await rc.get_many(Player, ["alice", "bob", "carol"]) == [None, None, Player("carol")]
    with pytest.raises(TypeError, match="not one str"):
        await rc.delete_many(Player, "carol")


async def test_exists_and_delete_by_class_and_key() -> None:
    await rc.save(Player("alice"))
    assert await rc.exists(Player, "alice")
    assert await rc.exists(Player("alice"))
    assert await rc.exists(rc.ref(Player, "alice"))
    assert await rc.delete(Player, "alice")
    assert not await rc.exists(Player, "alice")
    with pytest.raises(rc.NotFound):
        await rc.get(Player, "alice")
    with pytest.raises(rc.NotFound):
        await rc.reload(Player("alice"))


async def test_a_ref_has_no_values_to_save() -> None:
    with pytest.raises(TypeError):
        await rc.save(rc.ref(Player, "alice"))
    with pytest.raises(TypeError):
        await rc.insert(rc.ref(Player, "alice"))


async def test_reload_of_a_ref_loads() -> None:
    await rc.save(Player("alice", coins=4))
    assert (await rc.reload(rc.ref(Player, "alice"))).coins == 4


async def test_the_key_field_of_a_loaded_object_cannot_change(stored: Hash) -> None:
    await rc.save(Player("alice"))
    player = await rc.get(Player, "alice")
    player.username = "bob"
    before = stored("Player:alice")
    for write in (rc.save(player), rc.increment(player, Player.coins, 1), rc.delete(player)):
        with pytest.raises(rc.ConstraintError):
            await write
    assert stored("Player:alice") == before
    assert stored("Player:bob") == {}


async def test_unknown_fields_are_kept_by_a_save_of_changes(redis_client: redis.Redis, stored: Hash) -> None:
    await rc.save(Player("alice"))
    redis_client.hset("Player:alice", mapping={"later": "1", "stats.later": "2"})
    player = await rc.get(Player, "alice")
    player.coins, player.stats.wins = 5, 6
    await rc.save(player)
    await rc.increment(player, Player.wins, 1)
    await rc.append(player, Player.achievements, Achievement.STREAK)
    fields = stored("Player:alice")
    assert (fields["later"], fields["stats.later"], fields["coins"]) == ("1", "2", "5")
