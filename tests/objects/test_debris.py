"""A hash without its ``~`` field is no object: nobody sees it, and whoever makes one removes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

import rapyer_core as rc
from tests.objects.conftest import Hash
from tests.objects.models import Achievement, Player

WRITES: list[Callable[[Any], Awaitable[Any]]] = [
    lambda player: rc.increment(player, Player.coins, 1),
    lambda player: rc.increment(player, Player.score, 1),
    lambda player: rc.increment(player, Player.stats.average, 0.5),
    lambda player: rc.assign(player, Player.coins, 1),
    lambda player: rc.assign(player, "stats", Player("x").stats),
    lambda player: rc.modify(player, Player.coins, lambda n: n + 1),
    lambda player: rc.put(player, Player.metadata, "a", "b"),
    lambda player: rc.merge(player, Player.metadata, {}),
    lambda player: rc.remove(player, Player.metadata, "a"),
    lambda player: rc.pop(player, Player.metadata, "a", default=None),
    lambda player: rc.add(player, Player.tags, "a"),
    lambda player: rc.discard(player, Player.tags, "a"),
    lambda player: rc.append(player, Player.achievements, Achievement.STREAK),
    lambda player: rc.clear(player, Player.achievements),
    lambda player: rc.reload(player),
    lambda player: rc.rank(player, Player.score),
]


@pytest.mark.parametrize("number", range(len(WRITES)))
@pytest.mark.parametrize("handle", ["ref", "never loaded", "deleted", "vanished"])
async def test_a_write_to_an_object_that_is_not_there(number: int, handle: str, redis_client: redis.Redis) -> None:
    player = Player("alice")
    if handle in ("deleted", "vanished"):
        await rc.save(player)
        if handle == "deleted":
            await rc.delete(player)
        else:
            redis_client.delete("Player:alice")
    obj = rc.ref(Player, "alice") if handle == "ref" else player
    with pytest.raises(rc.NotFound) as caught:
        await WRITES[number](obj)
    assert (caught.value.model, caught.value.pk) == ("Player", "alice")
    assert not redis_client.exists("Player:alice")
    assert player == Player("alice")


@pytest.fixture
def debris(redis_client: redis.Redis) -> redis.Redis:
    """A hash of an interrupted or foreign writer."""
    redis_client.hset("Player:alice", mapping={"coins": "5", "junk": "1"})
    return redis_client


async def test_debris_is_seen_by_no_function(debris: redis.Redis) -> None:
    with pytest.raises(rc.NotFound):
        await rc.get(Player, "alice")
    assert await rc.get_many(Player, ["alice"]) == [None]
    assert not await rc.exists(Player, "alice")
    assert await rc.find(Player) == []
    assert await rc.find(Player, Player.score == 0) == []
    assert await rc.count(Player) == 0
    assert await rc.count(Player, Player.coins == 5) == 0
    assert [player async for player in rc.iterate(Player)] == []
    report = await rc.verify(Player)
    assert (report.objects, report.ok) == (0, True)
    with pytest.raises(rc.NotFound):
        await rc.increment(rc.ref(Player, "alice"), Player.score, 1)


async def test_debris_is_replaced_by_save_and_insert(debris: redis.Redis, stored: Hash) -> None:
    await rc.insert(Player("alice"))
    assert "junk" not in stored("Player:alice")
    assert (await rc.get(Player, "alice")).coins == 0
    debris.hdel("Player:alice", "~")
    await rc.save(Player("alice", coins=1))
    assert (await rc.get(Player, "alice")).coins == 1
    debris.hdel("Player:alice", "~")
    _, created = await rc.get_or_create(Player, "alice")
    assert created


async def test_delete_of_debris_says_that_there_was_no_object(debris: redis.Redis) -> None:
    assert await rc.delete(Player, "alice") is False
    assert not debris.exists("Player:alice")


async def test_foreign_keys_beside_ours_do_no_harm(redis_client: redis.Redis) -> None:
    await rc.save(Player("alice"))
    redis_client.hset(b"Player:\xff\xfe", "a", "b")
    redis_client.hset("Player:%zz", "a", "b")
    redis_client.set("Playerx", "1")
    redis_client.set("xPlayer:alice", "1")
    redis_client.set("~Player:x", "1")
    assert await rc.find(Player) == [Player("alice")]
    assert await rc.count(Player) == 1
    assert (await rc.verify(Player)).objects == 1
