"""Our side: the functions of rapyer_core as a user calls them, in the default session of each world."""

from __future__ import annotations

from collections.abc import Sequence

import rapyer_core
from bench.players import LAST_WIN, Achievement, Player
from rapyer_codecs import default_registry
from rapyer_core import sync


class Ours:
    """Storage of players by rapyer_core. Opened and closed around a row, as the other side is."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self.prefix = prefix
        self.raw: dict[str, dict[bytes, bytes]] = {}
        self._mapper = default_registry.mapper(Player)

    async def open(self) -> None:
        await rapyer_core.init_rapyer(self._url, prefix=self.prefix)

    async def close(self) -> None:
        await rapyer_core.close_rapyer()

    def open_blocking(self) -> None:
        sync.init_rapyer(self._url, prefix=self.prefix)

    def close_blocking(self) -> None:
        sync.close_rapyer()

    def key(self, player: Player) -> str:
        return f"{self.prefix}Player:{player.username}"

    # -- asyncio --

    async def save(self, player: Player) -> None:
        await rapyer_core.save(player)

    async def get(self, player: Player) -> Player:
        return await rapyer_core.get(Player, player.username)

    async def increment(self, player: Player) -> int:
        return await rapyer_core.increment(player, Player.score, 10)

    async def append(self, player: Player) -> None:
        await rapyer_core.append(player, Player.achievements, Achievement.STREAK_10)

    async def wins(self, player: Player) -> None:
        """The post's "player wins"."""
        async with rapyer_core.pipeline(player) as p:
            p.score += 100
            p.wins += 1
            p.metadata.update(last_win=LAST_WIN, streak="10")

    async def save_many(self, players: Sequence[Player]) -> None:
        await rapyer_core.save_many(players)

    async def get_many(self, players: Sequence[Player]) -> list[Player | None]:
        return await rapyer_core.get_many(Player, [player.username for player in players])

    # -- blocking --

    def save_blocking(self, player: Player) -> None:
        sync.save(player)

    def increment_blocking(self, player: Player) -> int:
        return sync.increment(player, Player.score, 10)

    def get_blocking(self, player: Player) -> Player:
        return sync.get(Player, player.username)

    def save_many_blocking(self, players: Sequence[Player]) -> None:
        sync.save_many(players)

    def get_many_blocking(self, players: Sequence[Player]) -> list[Player | None]:
        return sync.get_many(Player, [player.username for player in players])

    # -- pure CPU --

    def flatten(self, player: Player) -> object:
        return self._mapper.dump(player)

    def load(self, player: Player) -> Player:
        return self._mapper.load(self.raw[player.username])

    # -- not timed --

    async def set_up(self, players: Sequence[Player]) -> None:
        """Store them, as they are."""
        await rapyer_core.save_many(players)
        self.raw = {player.username: self._mapper.dump(player) for player in players}
