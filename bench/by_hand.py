"""The other side: what a good programmer writes with redis-py, on the settings that were fastest here.

RESP2, no decoding, hiredis, no timeout per command, a connection for each task, also for 1,000 (the server and the
system must allow so many; `make bench-settings` shows what other pools cost). Pipelines wherever commands do not need
each other's replies. `redis_model` plays no part here: Player is an ordinary dataclass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio
from redis._parsers import _AsyncRESP2Parser, _AsyncRESP3Parser
from redis.exceptions import WatchError

from bench.players import LAST_WIN, Achievement, Player, flatten, flatten_to_bytes, unflatten

BATCH = 500
"""Objects in one explicit pipeline: fastest of 100, 500, 1,000 and 5,000."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Of redis-py. connections: at most; waiting: whether a task waits for one when all are in use, else it fails.

    The defaults are the fastest; `make bench-settings` shows what others cost.
    """

    protocol: int = 2
    socket_timeout: float | None = None
    hiredis: bool = True
    connections: int = 64
    waiting: bool = False

    @property
    def connection(self) -> dict[str, Any]:
        """Arguments of a connection."""
        return {"protocol": self.protocol, "socket_timeout": self.socket_timeout}

    def pool(self, url: str) -> redis.asyncio.ConnectionPool:
        arguments = {"max_connections": self.connections, **self.connection}
        if not self.hiredis:
            arguments["parser_class"] = _AsyncRESP3Parser if self.protocol == 3 else _AsyncRESP2Parser
        if self.waiting:
            return redis.asyncio.BlockingConnectionPool.from_url(url, timeout=None, **arguments)
        return redis.asyncio.ConnectionPool.from_url(url, **arguments)


def best(tasks: int) -> Settings:
    """The fastest for so many tasks at once: a connection for each of them."""
    return Settings(connections=max(tasks, 64))


class ByHand:
    """Hand-written storage of players."""

    def __init__(self, url: str, prefix: str, settings: Settings) -> None:
        self.prefix = prefix
        # Any: redis-py's annotations want queued commands of a pipeline awaited, and allow replies that are str.
        self.redis: Any = redis.asyncio.Redis(connection_pool=settings.pool(url))
        self.blocking: Any = redis.Redis.from_url(url, **settings.connection)
        self.raw: dict[str, dict[bytes, bytes]] = {}

    async def close(self) -> None:
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()
        self.blocking.close()

    def key(self, player: Player) -> str:
        return self.prefix + player.username

    # -- asyncio --

    async def save(self, player: Player) -> None:
        await self.redis.hset(self.key(player), mapping=flatten(player))

    async def get(self, player: Player) -> Player:
        return unflatten(await self.redis.hgetall(self.key(player)))

    async def increment(self, player: Player) -> int:
        player.score = await self.redis.hincrby(self.key(player), "score", 10)
        return player.score

    async def append(self, player: Player) -> None:
        """Under WATCH: the place of the new element depends on the length."""
        key = self.key(player)
        async with self.redis.pipeline(transaction=True) as pipe:
            while True:
                try:
                    await pipe.watch(key)
                    length = int(await pipe.hget(key, "achievements"))
                    pipe.multi()
                    new = {f"achievements.{length}": Achievement.STREAK_10.value, "achievements": length + 1}
                    pipe.hset(key, mapping=new)
                    await pipe.execute()
                    break
                except WatchError:
                    continue
        player.achievements.append(Achievement.STREAK_10)

    async def wins_unchecked(self, player: Player) -> None:
        """The post's "player wins" in one MULTI/EXEC that checks nothing, not even that the player exists."""
        key = self.key(player)
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hincrby(key, "score", 100)
            pipe.hincrby(key, "wins", 1)
            pipe.hset(key, mapping={"metadata.last_win": LAST_WIN, "metadata.streak": "10"})
            player.score, player.wins, _ = await pipe.execute()
        player.metadata.update(last_win=LAST_WIN, streak="10")

    async def wins_checked(self, player: Player) -> None:
        """The same with what ours promises: on an existing player only, on the values that were read."""
        key = self.key(player)
        async with self.redis.pipeline(transaction=True) as pipe:
            while True:
                try:
                    await pipe.watch(key)
                    score, wins = await pipe.hmget(key, ["score", "wins"])
                    if score is None or wins is None:
                        raise LookupError(key)
                    new = {"score": int(score) + 100, "wins": int(wins) + 1}
                    pipe.multi()
                    pipe.hset(
                        key,
                        mapping=new | {"metadata.last_win": LAST_WIN, "metadata.streak": "10"},
                    )
                    await pipe.execute()
                    break
                except WatchError:
                    continue
        player.score, player.wins = new["score"], new["wins"]
        player.metadata.update(last_win=LAST_WIN, streak="10")

    async def save_many(self, players: Sequence[Player]) -> None:
        for part in _parts(players):
            pipe = self.redis.pipeline(transaction=False)
            for player in part:
                pipe.hset(self.key(player), mapping=flatten(player))
            await pipe.execute()

    async def get_many(self, players: Sequence[Player]) -> list[Player]:
        found: list[Player] = []
        for part in _parts(players):
            pipe = self.redis.pipeline(transaction=False)
            for player in part:
                pipe.hgetall(self.key(player))
            found += [unflatten(fields) for fields in await pipe.execute()]
        return found

    # -- blocking --

    def save_blocking(self, player: Player) -> None:
        self.blocking.hset(self.key(player), mapping=flatten(player))

    def increment_blocking(self, player: Player) -> int:
        player.score = self.blocking.hincrby(self.key(player), "score", 10)
        return player.score

    def get_blocking(self, player: Player) -> Player:
        return unflatten(self.blocking.hgetall(self.key(player)))

    def save_many_blocking(self, players: Sequence[Player]) -> None:
        pipe = self.blocking.pipeline(transaction=False)
        for player in players:
            pipe.hset(self.key(player), mapping=flatten(player))
        pipe.execute()

    def get_many_blocking(self, players: Sequence[Player]) -> list[Player]:
        pipe = self.blocking.pipeline(transaction=False)
        for player in players:
            pipe.hgetall(self.key(player))
        return [unflatten(fields) for fields in pipe.execute()]

    # -- pure CPU --

    def flatten(self, player: Player) -> object:
        return flatten(player)

    def flatten_to_bytes(self, player: Player) -> object:
        return flatten_to_bytes(player)

    def load(self, player: Player) -> Player:
        return unflatten(self.raw[player.username])

    # -- not timed --

    async def set_up(self, players: Sequence[Player]) -> None:
        """Store them, as they are."""
        await self.save_many(players)
        self.raw = {player.username: flatten_to_bytes(player) for player in players}


def _parts(players: Sequence[Player]) -> Iterator[Sequence[Player]]:
    return (players[start : start + BATCH] for start in range(0, len(players), BATCH))
