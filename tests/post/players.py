"""The Player of the post's first listing, and of its transfer listing (with an item count)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Dict, List  # noqa: UP035  # as the post writes it

from rapyer_core import AtomicRedisModel


class Achievement(Enum):
    FIRST_WIN = "first_win"
    STREAK_10 = "streak_10"
    TOP_PLAYER = "top_player"


@dataclass
class PlayerStats:
    total_games: int
    wins: int
    avg_score: float


class Player(AtomicRedisModel):
    username: str
    score: int = 0
    wins: int = 0
    achievements: List[Achievement] = []  # noqa: RUF012, UP006  # copied for each instance
    stats: PlayerStats = PlayerStats(0, 0, 0.0)
    metadata: Dict[str, str] = {}  # noqa: RUF012, UP006  # copied for each instance
    inventory_count: int = 0


async def feature_1(player_id: str) -> Player:
    """One atomic operation after the other."""
    player = await Player.aget(player_id)
    await player.score.aincrease(100)  # type: ignore[attr-defined]  # live methods are not statically typed
    await player.achievements.aappend(Achievement.FIRST_WIN)  # type: ignore[attr-defined]  # a live list
    await player.metadata.aupdate(last_win=datetime.now().isoformat())  # type: ignore[attr-defined]  # a live dict
    return player


async def player_wins(player_id: str, points: int) -> None:
    """Four changes in one commit."""
    player = await Player.aget(player_id)

    async with player.apipeline() as p:
        p.score += points
        p.wins += 1
        await p.achievements.aappend(Achievement.STREAK_10)  # type: ignore[attr-defined]  # of a draft
        await p.metadata.aupdate(  # type: ignore[attr-defined]  # of a draft
            last_win=datetime.now().isoformat(),
            streak="10",
        )


async def transfer_items(from_id: str, to_id: str, item_count: int) -> None:
    """Items from one player to another, under both players' locks."""
    from_player = await Player.aget(from_id)
    to_player = await Player.aget(to_id)

    async with from_player.alock("transfer") as locked_from:
        if locked_from.inventory_count < item_count:
            raise ValueError("Not enough items")

        async with to_player.alock("transfer") as locked_to:
            locked_from.inventory_count -= item_count
            locked_to.inventory_count += item_count
