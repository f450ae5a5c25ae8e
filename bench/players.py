"""The data: the leaderboard post's player, as 23 hash fields, and the mapping that a programmer writes by hand.

The hand-written hash has the names and texts of ours, so that what both sides stored can be compared.
No Redis here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from rapyer_core import Key, redis_model

Native = str | int | float
Flat = dict[str, Native]
"""Arguments of an HSET, as redis-py takes them."""

FIELDS = 23
"""Of one player in the hand-written hash. Ours has two more: `~` and the marker of the dict."""

LAST_WIN = "2024-05-01T12:00:00.000000"


class Achievement(Enum):
    FIRST_WIN = "first_win"
    STREAK_10 = "streak_10"
    TOP_PLAYER = "top_player"


@dataclass
class PlayerStats:
    total_games: int = 0
    wins: int = 0
    losses: int = 0
    avg_score: float = 0.0
    best_streak: int = 0


@redis_model
@dataclass
class Player:
    """Without Index fields: the hand-written hash keeps no index either."""

    username: Key[str]
    score: int = 0
    wins: int = 0
    losses: int = 0
    coins: int = 0
    level: int = 1
    xp: int = 0
    rating: float = 1000.0
    achievements: list[Achievement] = field(default_factory=list)
    stats: PlayerStats = field(default_factory=PlayerStats)
    metadata: dict[str, str] = field(default_factory=dict)


def make_player(number: int) -> Player:
    """A player as it is after some games. Equal numbers give equal players."""
    return Player(
        username=f"player-{number}",
        score=1200 + number,
        wins=30,
        losses=20,
        coins=500,
        level=12,
        xp=48_210,
        rating=1250.5,
        achievements=[Achievement.FIRST_WIN, Achievement.STREAK_10, Achievement.TOP_PLAYER],
        stats=PlayerStats(total_games=50, wins=30, losses=20, avg_score=1250.5, best_streak=11),
        metadata={
            "last_game": "2024-04-30T18:30:00.000000",
            "last_win": "2024-04-30T18:12:00.000000",
            "result": "win",
            "streak": "3",
            "region": "eu-west",
            "device": "pc",
        },
    )


def change(coins: int) -> int:
    """A step that only who has read the value can take. Up to 10,006 steps from 500 end at different values."""
    return coins * 5 % 10007 + 1


# -- the mapping by hand --

_ACHIEVEMENTS = {member.value.encode(): member for member in Achievement}


def flatten(player: Player) -> Flat:
    """The fields of the hash; redis-py turns the values into bytes when it packs them."""
    stats = player.stats
    flat: Flat = {
        "username": player.username,
        "score": player.score,
        "wins": player.wins,
        "losses": player.losses,
        "coins": player.coins,
        "level": player.level,
        "xp": player.xp,
        "rating": player.rating,
        "achievements": len(player.achievements),
        "stats.total_games": stats.total_games,
        "stats.wins": stats.wins,
        "stats.losses": stats.losses,
        "stats.avg_score": stats.avg_score,
        "stats.best_streak": stats.best_streak,
    }
    for index, achievement in enumerate(player.achievements):
        flat[f"achievements.{index}"] = achievement.value
    for key, value in player.metadata.items():
        flat[f"metadata.{key}"] = value
    return flat


def flatten_to_bytes(player: Player) -> dict[bytes, bytes]:
    """The same fields as they are stored: what is left to redis-py above is done here."""
    stats = player.stats
    flat = {
        b"username": player.username.encode(),
        b"score": b"%d" % player.score,
        b"wins": b"%d" % player.wins,
        b"losses": b"%d" % player.losses,
        b"coins": b"%d" % player.coins,
        b"level": b"%d" % player.level,
        b"xp": b"%d" % player.xp,
        b"rating": repr(player.rating).encode(),
        b"achievements": b"%d" % len(player.achievements),
        b"stats.total_games": b"%d" % stats.total_games,
        b"stats.wins": b"%d" % stats.wins,
        b"stats.losses": b"%d" % stats.losses,
        b"stats.avg_score": repr(stats.avg_score).encode(),
        b"stats.best_streak": b"%d" % stats.best_streak,
    }
    for index, achievement in enumerate(player.achievements):
        flat[b"achievements.%d" % index] = achievement.value.encode()
    for key, value in player.metadata.items():
        flat[b"metadata." + key.encode()] = value.encode()
    return flat


def unflatten(fields: Mapping[bytes, bytes]) -> Player:
    """The player of a hash. KeyError if a field is missing."""
    return Player(
        fields[b"username"].decode(),
        int(fields[b"score"]),
        int(fields[b"wins"]),
        int(fields[b"losses"]),
        int(fields[b"coins"]),
        int(fields[b"level"]),
        int(fields[b"xp"]),
        float(fields[b"rating"]),
        [_ACHIEVEMENTS[fields[b"achievements.%d" % index]] for index in range(int(fields[b"achievements"]))],
        PlayerStats(
            int(fields[b"stats.total_games"]),
            int(fields[b"stats.wins"]),
            int(fields[b"stats.losses"]),
            float(fields[b"stats.avg_score"]),
            int(fields[b"stats.best_streak"]),
        ),
        {name[9:].decode(): value.decode() for name, value in fields.items() if name.startswith(b"metadata.")},
    )


# -- comparing --

_OURS_ONLY = frozenset({b"~", b"metadata"})


def comparable(fields: Mapping[bytes, bytes] | Mapping[str, Native]) -> dict[bytes, bytes]:
    """Either side's fields in one form: as stored, without the two that only ours has."""
    stored = {_stored(name): _stored(value) for name, value in fields.items()}
    return {name: value for name, value in stored.items() if name not in _OURS_ONLY}


def _stored(value: bytes | Native) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else repr(value).encode()
