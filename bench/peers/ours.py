"""rapyer_core, asyncio and blocking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import rapyer_core
from bench.players import LAST_WIN, Achievement, Player
from rapyer_core import sync


class Ours:
    name: ClassVar[str] = "rapyer_core"
    asynchronous: ClassVar[bool] = True
    twin: ClassVar[bool] = False
    cannot: ClassVar[dict[str, str]] = {}
    note: ClassVar[str] = ""

    async def open(self, url: str) -> None:
        await rapyer_core.init_rapyer(url)

    async def close(self) -> None:
        await rapyer_core.close_rapyer()

    def make(self, player: Player) -> Player:
        return player

    async def save(self, obj: Player) -> None:
        await rapyer_core.save(obj)

    async def get(self, number: int) -> Player:
        return await rapyer_core.get(Player, f"player-{number}")

    async def increment(self, obj: Player) -> None:
        await rapyer_core.increment(obj, Player.score, 10)

    async def wins(self, obj: Player) -> None:
        async with rapyer_core.pipeline(obj) as p:
            p.score += 100
            p.wins += 1
            p.metadata.update(last_win=LAST_WIN, streak="10")

    async def append(self, obj: Player) -> None:
        await rapyer_core.append(obj, Player.achievements, Achievement.STREAK_10)

    async def save_many(self, objs: Sequence[Player]) -> None:
        await rapyer_core.save_many(objs)

    async def get_many(self, numbers: Sequence[int]) -> Any:
        return await rapyer_core.get_many(Player, [f"player-{number}" for number in numbers])

    def seen(self, obj: Player) -> tuple[int, int]:
        return obj.score, len(obj.achievements)


class OursBlocking:
    name: ClassVar[str] = "rapyer_core"
    asynchronous: ClassVar[bool] = False
    twin: ClassVar[bool] = True
    cannot: ClassVar[dict[str, str]] = {}
    note: ClassVar[str] = ""

    def open(self, url: str) -> None:
        sync.init_rapyer(url)

    def close(self) -> None:
        sync.close_rapyer()

    def make(self, player: Player) -> Player:
        return player

    def save(self, obj: Player) -> None:
        sync.save(obj)

    def get(self, number: int) -> Player:
        return sync.get(Player, f"player-{number}")

    def increment(self, obj: Player) -> None:
        sync.increment(obj, Player.score, 10)

    def wins(self, obj: Player) -> None:
        with sync.pipeline(obj) as p:
            p.score += 100
            p.wins += 1
            p.metadata.update(last_win=LAST_WIN, streak="10")

    def append(self, obj: Player) -> None:
        sync.append(obj, Player.achievements, Achievement.STREAK_10)

    def save_many(self, objs: Sequence[Player]) -> None:
        sync.save_many(objs)

    def get_many(self, numbers: Sequence[int]) -> Any:
        return sync.get_many(Player, [f"player-{number}" for number in numbers])

    def seen(self, obj: Player) -> tuple[int, int]:
        return obj.score, len(obj.achievements)
