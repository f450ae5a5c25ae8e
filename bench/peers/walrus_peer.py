"""walrus: models in hashes, lists and dicts as keys of their own. Blocking only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from walrus import Database, FloatField, HashField, IntegerField, ListField, Model, TextField

from bench.peers.peer import flat
from bench.players import LAST_WIN, Achievement, Player

database = Database()


class WalrusPlayer(Model):
    __database__ = database
    username = TextField(primary_key=True)
    score = IntegerField(default=0)
    wins = IntegerField(default=0)
    losses = IntegerField(default=0)
    coins = IntegerField(default=0)
    level = IntegerField(default=1)
    xp = IntegerField(default=0)
    rating = FloatField(default=1000.0)
    stats_total_games = IntegerField(default=0)
    stats_wins = IntegerField(default=0)
    stats_losses = IntegerField(default=0)
    stats_avg_score = FloatField(default=0.0)
    stats_best_streak = IntegerField(default=0)
    achievements = ListField()
    metadata = HashField()


class Walrus:
    name: ClassVar[str] = "walrus"
    asynchronous: ClassVar[bool] = False
    twin: ClassVar[bool] = False
    cannot: ClassVar[dict[str, str]] = {}
    note: ClassVar[str] = "lists and dicts are keys of their own, so that a player is three; many at once: one by one"

    def open(self, url: str) -> None:
        database.connection_pool = Database.from_url(url, socket_timeout=None).connection_pool

    def close(self) -> None:
        database.close()

    def make(self, player: Player) -> Any:
        obj = WalrusPlayer(**flat(player))
        obj.pending = ([member.value for member in player.achievements], player.metadata)
        return obj

    def save(self, obj: Any) -> None:
        """The containers of an object that is not stored yet are filled after it."""
        obj.save()
        achievements, metadata = getattr(obj, "pending", ((), {}))
        if achievements:
            obj.achievements.extend(achievements)
        if metadata:
            obj.metadata.update(metadata)

    def get(self, number: int) -> Any:
        found = WalrusPlayer.load(f"player-{number}")
        found.loaded = (list(found.achievements), found.metadata.as_dict(decode=True))
        return found

    def increment(self, obj: Any) -> None:
        obj.incr(WalrusPlayer.score, 10)

    def wins(self, obj: Any) -> None:
        obj.incr(WalrusPlayer.score, 100)
        obj.incr(WalrusPlayer.wins, 1)
        obj.metadata.update(last_win=LAST_WIN, streak="10")

    def append(self, obj: Any) -> None:
        obj.achievements.append(Achievement.STREAK_10.value)

    def save_many(self, objs: Sequence[Any]) -> None:
        for obj in objs:
            self.save(obj)

    def get_many(self, numbers: Sequence[int]) -> Any:
        return [self.get(number) for number in numbers]

    def seen(self, obj: Any) -> tuple[int, int]:
        return obj.score, len(obj.loaded[0])
