"""popoto: models in hashes of MessagePack values. Blocking; its asynchronous functions run these in threads.

It connects when it is imported, to the address in REDIS_URL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import popoto
from popoto.fields.shortcuts import DictField, FloatField, IntField, KeyField, ListField

from bench.peers.peer import flat
from bench.players import LAST_WIN, Achievement, Player


class PopotoPlayer(popoto.Model):
    username = KeyField()
    score = IntField(default=0)
    wins = IntField(default=0)
    losses = IntField(default=0)
    coins = IntField(default=0)
    level = IntField(default=1)
    xp = IntField(default=0)
    rating = FloatField(default=1000.0)
    stats_total_games = IntField(default=0)
    stats_wins = IntField(default=0)
    stats_losses = IntField(default=0)
    stats_avg_score = FloatField(default=0.0)
    stats_best_streak = IntField(default=0)
    achievements = ListField(default=[])
    metadata = DictField(default={})


class Popoto:
    name: ClassVar[str] = "popoto"
    asynchronous: ClassVar[bool] = False
    twin: ClassVar[bool] = False
    cannot: ClassVar[dict[str, str]] = {}
    note: ClassVar[str] = "statistics as fields of the player; increments by a script of its own"

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}

    def open(self, url: str) -> None:
        """Done by its import."""

    def close(self) -> None:
        """As long as the process."""

    def make(self, player: Player) -> Any:
        achievements = [member.value for member in player.achievements]
        obj = PopotoPlayer(**flat(player), achievements=achievements, metadata=dict(player.metadata))
        self._keys[player.username] = obj.db_key.redis_key
        return obj

    def save(self, obj: Any) -> None:
        obj.save()

    def get(self, number: int) -> Any:
        return PopotoPlayer.query.get(username=f"player-{number}")

    def increment(self, obj: Any) -> None:
        obj.atomic_increment("score", 10)

    def wins(self, obj: Any) -> None:
        batch = popoto.batch()
        obj.atomic_increment("score", 100, pipeline=batch)
        obj.atomic_increment("wins", 1, pipeline=batch)
        obj.metadata = {**obj.metadata, "last_win": LAST_WIN, "streak": "10"}
        obj.save(pipeline=batch, update_fields=["metadata"])
        batch.execute()

    def append(self, obj: Any) -> None:
        fresh = PopotoPlayer.query.get(username=obj.username)
        fresh.achievements = [*fresh.achievements, Achievement.STREAK_10.value]
        fresh.save(update_fields=["achievements"])

    def save_many(self, objs: Sequence[Any]) -> None:
        PopotoPlayer.bulk_create(list(objs))

    def get_many(self, numbers: Sequence[int]) -> Any:
        return PopotoPlayer.query.get_many([self._keys[f"player-{number}"] for number in numbers])

    def seen(self, obj: Any) -> tuple[int, int]:
        return obj.score, len(obj.achievements)
