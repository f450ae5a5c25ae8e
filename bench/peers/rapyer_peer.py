"""rapyer: pydantic models in RedisJSON, with atomic operations. asyncio only."""

# Not `from __future__ import annotations`: it reads a class's annotations as they are and would not find the key.

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

from pydantic import BaseModel
from rapyer import AtomicRedisModel, afind, ainsert, init_rapyer, teardown_rapyer
from rapyer.fields.key import Key

from bench.peers.peer import client
from bench.players import LAST_WIN, Achievement, Player


class Stats(BaseModel):
    total_games: int = 0
    wins: int = 0
    losses: int = 0
    avg_score: float = 0.0
    best_streak: int = 0


class RapyerPlayer(AtomicRedisModel):
    username: Key[str]
    score: int = 0
    wins: int = 0
    losses: int = 0
    coins: int = 0
    level: int = 1
    xp: int = 0
    rating: float = 1000.0
    achievements: list[str] = []
    stats: Stats = Stats()
    metadata: dict[str, str] = {}


class Rapyer:
    name: ClassVar[str] = "rapyer"
    asynchronous: ClassVar[bool] = True
    twin: ClassVar[bool] = False
    cannot: ClassVar[dict[str, str]] = {}
    note: ClassVar[str] = "RedisJSON; enum members as text, since it would store them as pickles"

    async def open(self, url: str) -> None:
        await init_rapyer(client(url), prefer_normal_json_dump=True)

    async def close(self) -> None:
        await teardown_rapyer()

    def make(self, player: Player) -> RapyerPlayer:
        values = asdict(player)
        values["achievements"] = [member.value for member in player.achievements]
        return RapyerPlayer(**values)

    async def save(self, obj: RapyerPlayer) -> None:
        await obj.asave()

    async def get(self, number: int) -> Any:
        return await RapyerPlayer.aget(f"RapyerPlayer:player-{number}")

    async def increment(self, obj: Any) -> None:
        await obj.score.aincrease(10)

    async def wins(self, obj: Any) -> None:
        async with obj.apipeline() as p:
            p.score += 100
            p.wins += 1
            await p.metadata.aupdate(last_win=LAST_WIN, streak="10")

    async def append(self, obj: Any) -> None:
        await obj.achievements.aappend(Achievement.STREAK_10.value)

    async def save_many(self, objs: Sequence[RapyerPlayer]) -> None:
        await ainsert(*objs)

    async def get_many(self, numbers: Sequence[int]) -> Any:
        return await afind(*(f"RapyerPlayer:player-{number}" for number in numbers))

    def seen(self, obj: RapyerPlayer) -> tuple[int, int]:
        return int(obj.score), len(obj.achievements)
