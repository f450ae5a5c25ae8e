"""What a mapper must offer to take part. Each has a file of its own beside this one, and does it as documented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import redis.asyncio

from bench.players import Player


class Peer(Protocol):
    """A mapper. Objects are of its own class; numbers name the players. All keys start with the class's name.

    asynchronous: whether its functions are coroutines; the others return at once what they found. twin: it is the
    blocking form of an asynchronous one, and takes part in blocking rows only. cannot: operations that it has no way
    to do, or groups of rows that it cannot take part in, and why. note: what the reader should know.
    """

    name: ClassVar[str]
    asynchronous: ClassVar[bool]
    twin: ClassVar[bool]
    cannot: ClassVar[dict[str, str]]
    note: ClassVar[str]

    def open(self, url: str) -> Any: ...

    def close(self) -> Any: ...

    def make(self, player: Player) -> Any:
        """An object with the same values, or as many of them as it can hold; not stored yet."""

    def save(self, obj: Any) -> Any: ...

    def get(self, number: int) -> Any:
        """The stored object."""

    def increment(self, obj: Any) -> Any:
        """Add 10 to the score, in the best way it has."""

    def wins(self, obj: Any) -> Any:
        """Add 100 to the score and 1 to the wins, set two entries of the metadata (if it can hold them)."""

    def append(self, obj: Any) -> Any:
        """Append one achievement."""

    def save_many(self, objs: Sequence[Any]) -> Any: ...

    def get_many(self, numbers: Sequence[int]) -> Any: ...

    def seen(self, obj: Any) -> tuple[int, int]:
        """Its score and the number of its achievements, without asking the server."""
        ...


SETTINGS: dict[str, Any] = {"decode_responses": True, "protocol": 2, "socket_timeout": None}
"""Of redis-py, for every mapper that lets us choose: the fastest (see bench/by_hand.py)."""


def client(url: str) -> Any:
    """An asyncio client for up to 1,000 tasks, with a connection for each: faster than to wait for one of a few."""
    pool = redis.asyncio.ConnectionPool.from_url(url, max_connections=1000, **SETTINGS)
    return redis.asyncio.Redis(connection_pool=pool)


def blocking_client(url: str) -> Any:
    """A blocking client for up to 64 threads."""
    return redis.Redis(connection_pool=redis.ConnectionPool.from_url(url, max_connections=64, **SETTINGS))


def flat(player: Player) -> dict[str, Any]:
    """Its scalars, the nested ones too: for mappers whose objects cannot be nested."""
    stats = player.stats
    return {
        "username": player.username,
        "score": player.score,
        "wins": player.wins,
        "losses": player.losses,
        "coins": player.coins,
        "level": player.level,
        "xp": player.xp,
        "rating": player.rating,
        "stats_total_games": stats.total_games,
        "stats_wins": stats.wins,
        "stats_losses": stats.losses,
        "stats_avg_score": stats.avg_score,
        "stats_best_streak": stats.best_streak,
    }
