"""pydantic-redis: pydantic models in hashes, lists and dicts in them as JSON; asyncio and blocking.

It has no increment and no append: its way is to select, to compute and to update the fields that changed.
"""

# Not `from __future__ import annotations`: pydantic would look for the names elsewhere.

from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import urlparse

import pydantic_redis.asyncio
import pydantic_redis.syncio
from pydantic_redis.config import RedisConfig

from bench.peers.peer import flat
from bench.players import LAST_WIN, Achievement, Player


class AsyncPlayer(pydantic_redis.asyncio.Model):
    _primary_key_field: str = "username"
    username: str
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
    achievements: list[str] = []
    metadata: dict[str, str] = {}


class BlockingPlayer(pydantic_redis.syncio.Model):
    _primary_key_field: str = "username"
    username: str
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
    achievements: list[str] = []
    metadata: dict[str, str] = {}


def _config(url: str) -> RedisConfig:
    parts = urlparse(url)
    return RedisConfig(host=parts.hostname, port=parts.port, db=int(parts.path[1:] or 0), password=parts.password)


def _values(player: Player) -> dict[str, Any]:
    achievements = [member.value for member in player.achievements]
    return {**flat(player), "achievements": achievements, "metadata": player.metadata}


class PydanticRedis:
    name: ClassVar[str] = "pydantic-redis"
    asynchronous: ClassVar[bool] = True
    twin: ClassVar[bool] = False
    cannot: ClassVar[dict[str, str]] = {"1,000 tasks": "its pool of 100 connections cannot be changed and raises"}
    note: ClassVar[str] = "statistics as fields of the player, since a nested model is a key of its own"

    async def open(self, url: str) -> None:
        self._store = pydantic_redis.asyncio.Store(name="bench", redis_config=_config(url))
        self._store.register_model(AsyncPlayer)

    async def close(self) -> None:
        await self._store.redis_store.aclose()

    def make(self, player: Player) -> Any:
        return AsyncPlayer(**_values(player))

    async def save(self, obj: Any) -> None:
        await AsyncPlayer.insert(obj)

    async def get(self, number: int) -> Any:
        (found,) = await AsyncPlayer.select(ids=[f"player-{number}"])
        return found

    async def increment(self, obj: Any) -> None:
        (found,) = await AsyncPlayer.select(columns=["score"], ids=[obj.username])
        await AsyncPlayer.update(_id=obj.username, data={"score": int(found["score"]) + 10})

    async def wins(self, obj: Any) -> None:
        (found,) = await AsyncPlayer.select(columns=["score", "wins", "metadata"], ids=[obj.username])
        await AsyncPlayer.update(_id=obj.username, data=_won(found))

    async def append(self, obj: Any) -> None:
        (found,) = await AsyncPlayer.select(columns=["achievements"], ids=[obj.username])
        data = {"achievements": [*found["achievements"], Achievement.STREAK_10.value]}
        await AsyncPlayer.update(_id=obj.username, data=data)

    async def save_many(self, objs: Sequence[Any]) -> None:
        await AsyncPlayer.insert(list(objs))

    async def get_many(self, numbers: Sequence[int]) -> Any:
        return await AsyncPlayer.select(ids=[f"player-{number}" for number in numbers])

    def seen(self, obj: Any) -> tuple[int, int]:
        return obj.score, len(obj.achievements)


class PydanticRedisBlocking:
    name: ClassVar[str] = "pydantic-redis"
    asynchronous: ClassVar[bool] = False
    twin: ClassVar[bool] = True
    cannot: ClassVar[dict[str, str]] = {}
    note: ClassVar[str] = PydanticRedis.note

    def open(self, url: str) -> None:
        self._store = pydantic_redis.syncio.Store(name="bench", redis_config=_config(url))
        self._store.register_model(BlockingPlayer)

    def close(self) -> None:
        self._store.redis_store.close()

    def make(self, player: Player) -> Any:
        return BlockingPlayer(**_values(player))

    def save(self, obj: Any) -> None:
        BlockingPlayer.insert(obj)

    def get(self, number: int) -> Any:
        (found,) = BlockingPlayer.select(ids=[f"player-{number}"])
        return found

    def increment(self, obj: Any) -> None:
        (found,) = BlockingPlayer.select(columns=["score"], ids=[obj.username])
        BlockingPlayer.update(_id=obj.username, data={"score": int(found["score"]) + 10})

    def wins(self, obj: Any) -> None:
        (found,) = BlockingPlayer.select(columns=["score", "wins", "metadata"], ids=[obj.username])
        BlockingPlayer.update(_id=obj.username, data=_won(found))

    def append(self, obj: Any) -> None:
        (found,) = BlockingPlayer.select(columns=["achievements"], ids=[obj.username])
        data = {"achievements": [*found["achievements"], Achievement.STREAK_10.value]}
        BlockingPlayer.update(_id=obj.username, data=data)

    def save_many(self, objs: Sequence[Any]) -> None:
        BlockingPlayer.insert(list(objs))

    def get_many(self, numbers: Sequence[int]) -> Any:
        return BlockingPlayer.select(ids=[f"player-{number}" for number in numbers])

    def seen(self, obj: Any) -> tuple[int, int]:
        return obj.score, len(obj.achievements)


def _won(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "score": int(found["score"]) + 100,
        "wins": int(found["wins"]) + 1,
        "metadata": {**found["metadata"], "last_win": LAST_WIN, "streak": "10"},
    }
