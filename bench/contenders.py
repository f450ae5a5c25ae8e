"""The sides of a contest: different ways to change one object that others change at the same time.

Each has `increment` (a counter), `append` (to a list), `change` (read, compute, write) and `locked` (the same under a
lock), as far as it can do them. `plain` and `script` are cheaper than the others and promise less or need more: `plain`
would make up a player that is not there, and a script must be allowed on the server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis.asyncio
from redis.exceptions import WatchError

import rapyer_core
from bench.by_hand import best
from bench.players import Achievement, Player, change
from rapyer_core import ref

TIMEOUT = 120.0
"""Seconds that a lock is waited for: longer than any lap, so that no side has errors only for its impatience."""

POLL = 0.01
"""Seconds between two looks of redis-py's Lock. Its default is 0.1."""


class Ours:
    async def open(self, url: str, prefix: str, tasks: int) -> None:
        await rapyer_core.init_rapyer(url, prefix=prefix)
        self.player = ref(Player, "player-0")

    async def close(self) -> None:
        await rapyer_core.close_rapyer()

    async def increment(self) -> None:
        await rapyer_core.increment(self.player, Player.score, 10)

    async def append(self) -> None:
        await rapyer_core.append(self.player, Player.achievements, Achievement.STREAK_10)

    async def change(self) -> None:
        await rapyer_core.transact(_change, "player-0")

    async def locked(self) -> None:
        async with rapyer_core.lock(self.player, name="bench", timeout=TIMEOUT) as player:
            player.coins = change(player.coins)


async def _change(tx: rapyer_core.Transaction, username: str) -> None:
    player = await tx.get(Player, username)
    player.coins = change(player.coins)


class _ByHand:
    """A redis-py client of its own."""

    async def open(self, url: str, prefix: str, tasks: int) -> None:
        self.key = f"{prefix}player-0"
        # Any: redis-py's annotations want queued commands of a pipeline awaited.
        self.redis: Any = redis.asyncio.Redis(connection_pool=best(tasks).pool(url))

    async def close(self) -> None:
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()


class Plain(_ByHand):
    """HINCRBY, and nothing else."""

    async def increment(self) -> None:
        await self.redis.hincrby(self.key, "score", 10)


class Watch(_ByHand):
    """The loop of redis-py's documentation."""

    async def increment(self) -> None:
        await self._loop("score", lambda score: {"score": int(score) + 10})

    async def append(self) -> None:
        await self._loop("achievements", _appended)

    async def change(self) -> None:
        await self._loop("coins", lambda coins: {"coins": change(int(coins))})

    async def _loop(self, field: str, new: Callable[[bytes], dict[str, Any]]) -> None:
        async with self.redis.pipeline(transaction=True) as pipe:
            while True:
                try:
                    await pipe.watch(self.key)
                    value = await pipe.hget(self.key, field)
                    if value is None:
                        raise LookupError(self.key)
                    pipe.multi()
                    pipe.hset(self.key, mapping=new(value))
                    await pipe.execute()
                    return
                except WatchError:
                    continue


def _appended(length: bytes) -> dict[str, Any]:
    return {f"achievements.{int(length)}": Achievement.STREAK_10.value, "achievements": int(length) + 1}


class RedisLock(_ByHand):
    """redis-py's Lock around a read and a write. Nothing stops a holder whose lease has run out."""

    async def locked(self) -> None:
        async with self.redis.lock(f"{self.key}:lock", timeout=10, sleep=POLL, blocking_timeout=TIMEOUT):
            coins = int(await self.redis.hget(self.key, "coins"))
            await self.redis.hset(self.key, "coins", change(coins))


class Script(_ByHand):
    """One script for each operation, known to the server: what a mapper without our rule against scripts would do."""

    async def open(self, url: str, prefix: str, tasks: int) -> None:
        await super().open(url, prefix, tasks)
        self._increment, self._append, self._change = (
            self.redis.register_script(text) for text in (INCREMENT, APPEND, CHANGE)
        )

    async def increment(self) -> None:
        await self._increment([self.key], [10])

    async def append(self) -> None:
        await self._append([self.key], [Achievement.STREAK_10.value])

    async def change(self) -> None:
        await self._change([self.key])


INCREMENT = """
if redis.call('HEXISTS', KEYS[1], 'score') == 0 then return redis.error_reply('NOTFOUND') end
return redis.call('HINCRBY', KEYS[1], 'score', ARGV[1])
"""
APPEND = """
local length = redis.call('HGET', KEYS[1], 'achievements')
if not length then return redis.error_reply('NOTFOUND') end
redis.call('HSET', KEYS[1], 'achievements.' .. length, ARGV[1], 'achievements', length + 1)
return length + 1
"""
CHANGE = """
local coins = redis.call('HGET', KEYS[1], 'coins')
if not coins then return redis.error_reply('NOTFOUND') end
redis.call('HSET', KEYS[1], 'coins', coins * 5 % 10007 + 1)
"""

SIDES: dict[str, Callable[[], Any]] = {
    "ours": Ours,
    "plain": Plain,
    "watch": Watch,
    "script": Script,
    "redis-py lock": RedisLock,
}
"""By the names that a contest gives them."""


def contender(side: str) -> Any:
    """The side of this name, not opened yet."""
    return SIDES[side]()
