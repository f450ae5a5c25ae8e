"""redis-om: HashModel for flat objects, JsonModel for nested ones in RedisJSON; asyncio and blocking.

It has no increment and no append: its way is to load, to change and to save the whole object. A model must be
declared as indexed to be saved; none of its fields is, and no index is made.
"""

# Not `from __future__ import annotations`: it reads a class's annotations as they are.

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import aredis_om
import redis_om

from bench.peers.peer import blocking_client, client, flat
from bench.players import LAST_WIN, Achievement, Player

CHUNK = 64
"""Loads at once where many are loaded: it has no call for that without an index."""


class HashPlayer(aredis_om.HashModel, index=True):
    username: str = aredis_om.Field(primary_key=True)
    score: int = 0
    wins: int = 0
    losses: int = 0
    coins: int = 0
    level: int = 1
    xp: int = 0
    rating: float = 1000.0
    stats_total_games: int = 0
    stats_wins: int = 0
    stats_losses: int = 0
    stats_avg_score: float = 0.0
    stats_best_streak: int = 0


class BlockingHashPlayer(redis_om.HashModel, index=True):
    username: str = redis_om.Field(primary_key=True)
    score: int = 0
    wins: int = 0
    losses: int = 0
    coins: int = 0
    level: int = 1
    xp: int = 0
    rating: float = 1000.0
    stats_total_games: int = 0
    stats_wins: int = 0
    stats_losses: int = 0
    stats_avg_score: float = 0.0
    stats_best_streak: int = 0


class Stats(aredis_om.EmbeddedJsonModel):
    total_games: int = 0
    wins: int = 0
    losses: int = 0
    avg_score: float = 0.0
    best_streak: int = 0


class JsonPlayer(aredis_om.JsonModel, index=True):
    username: str = aredis_om.Field(primary_key=True)
    score: int = 0
    wins: int = 0
    losses: int = 0
    coins: int = 0
    level: int = 1
    xp: int = 0
    rating: float = 1000.0
    achievements: list[Achievement] = []
    stats: Stats = Stats()
    metadata: dict[str, str] = {}


class RedisOmHash:
    name: ClassVar[str] = "redis-om Hash"
    asynchronous: ClassVar[bool] = True
    twin: ClassVar[bool] = False
    cannot: ClassVar[dict[str, str]] = {"append": "a HashModel has no lists"}
    note: ClassVar[str] = "a player without its list and its dict, which a HashModel cannot hold"

    async def open(self, url: str) -> None:
        HashPlayer.Meta.database = HashPlayer._meta.database = client(url)

    async def close(self) -> None:
        await HashPlayer.db().aclose()

    def make(self, player: Player) -> Any:
        return HashPlayer(**flat(player))

    async def save(self, obj: Any) -> None:
        await obj.save()

    async def get(self, number: int) -> Any:
        return await HashPlayer.get(f"player-{number}")

    async def increment(self, obj: Any) -> None:
        fresh = await HashPlayer.get(obj.username)
        await fresh.update(score=fresh.score + 10)

    async def wins(self, obj: Any) -> None:
        fresh = await HashPlayer.get(obj.username)
        await fresh.update(score=fresh.score + 100, wins=fresh.wins + 1)

    async def append(self, obj: Any) -> None:
        raise NotImplementedError

    async def save_many(self, objs: Sequence[Any]) -> None:
        await HashPlayer.add(objs)

    async def get_many(self, numbers: Sequence[int]) -> Any:
        return await in_chunks(self.get, numbers)

    def seen(self, obj: Any) -> tuple[int, int]:
        return obj.score, 0


class RedisOmJson:
    name: ClassVar[str] = "redis-om Json"
    asynchronous: ClassVar[bool] = True
    twin: ClassVar[bool] = False
    cannot: ClassVar[dict[str, str]] = {}
    note: ClassVar[str] = "RedisJSON"

    async def open(self, url: str) -> None:
        JsonPlayer.Meta.database = JsonPlayer._meta.database = client(url)

    async def close(self) -> None:
        await JsonPlayer.db().aclose()

    def make(self, player: Player) -> Any:
        return JsonPlayer(**asdict(player))

    async def save(self, obj: Any) -> None:
        await obj.save()

    async def get(self, number: int) -> Any:
        return await JsonPlayer.get(f"player-{number}")

    async def increment(self, obj: Any) -> None:
        fresh = await JsonPlayer.get(obj.username)
        await fresh.update(score=fresh.score + 10)

    async def wins(self, obj: Any) -> None:
        fresh = await JsonPlayer.get(obj.username)
        metadata = fresh.metadata | {"last_win": LAST_WIN, "streak": "10"}
        await fresh.update(score=fresh.score + 100, wins=fresh.wins + 1, metadata=metadata)

    async def append(self, obj: Any) -> None:
        fresh = await JsonPlayer.get(obj.username)
        await fresh.update(achievements=[*fresh.achievements, Achievement.STREAK_10])

    async def save_many(self, objs: Sequence[Any]) -> None:
        await JsonPlayer.add(objs)

    async def get_many(self, numbers: Sequence[int]) -> Any:
        return await in_chunks(self.get, numbers)

    def seen(self, obj: Any) -> tuple[int, int]:
        return obj.score, len(obj.achievements)


class RedisOmBlocking:
    name: ClassVar[str] = "redis-om Hash"
    asynchronous: ClassVar[bool] = False
    twin: ClassVar[bool] = True
    cannot: ClassVar[dict[str, str]] = RedisOmHash.cannot
    note: ClassVar[str] = RedisOmHash.note

    def open(self, url: str) -> None:
        BlockingHashPlayer.Meta.database = BlockingHashPlayer._meta.database = blocking_client(url)

    def close(self) -> None:
        BlockingHashPlayer.db().close()

    def make(self, player: Player) -> Any:
        return BlockingHashPlayer(**flat(player))

    def save(self, obj: Any) -> None:
        obj.save()

    def get(self, number: int) -> Any:
        return BlockingHashPlayer.get(f"player-{number}")

    def increment(self, obj: Any) -> None:
        fresh = BlockingHashPlayer.get(obj.username)
        fresh.update(score=fresh.score + 10)

    def wins(self, obj: Any) -> None:
        fresh = BlockingHashPlayer.get(obj.username)
        fresh.update(score=fresh.score + 100, wins=fresh.wins + 1)

    def append(self, obj: Any) -> None:
        raise NotImplementedError

    def save_many(self, objs: Sequence[Any]) -> None:
        BlockingHashPlayer.add(objs)

    def get_many(self, numbers: Sequence[int]) -> Any:
        return [self.get(number) for number in numbers]

    def seen(self, obj: Any) -> tuple[int, int]:
        return obj.score, 0


async def in_chunks(get: Any, numbers: Sequence[int]) -> list[Any]:
    found: list[Any] = []
    for start in range(0, len(numbers), CHUNK):
        found += await asyncio.gather(*(get(number) for number in numbers[start : start + CHUNK]))
    return found
