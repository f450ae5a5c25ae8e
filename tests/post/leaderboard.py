"""The post's complete leaderboard as a program: ``python -m tests.post.leaderboard REDIS_URL``."""

import asyncio
import sys
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Dict, List  # noqa: UP035  # as the post writes it

from rapyer_core import AtomicRedisModel, close_rapyer, init_rapyer


class Achievement(Enum):
    FIRST_WIN = "first_win"
    STREAK_10 = "streak_10"
    TOP_PLAYER = "top_player"


@dataclass
class PlayerStats:
    total_games: int
    wins: int
    losses: int
    avg_score: float


class Player(AtomicRedisModel):
    username: str
    score: int = 0
    wins: int = 0
    losses: int = 0
    achievements: List[Achievement] = []  # noqa: RUF012, UP006  # copied for each instance
    stats: PlayerStats = PlayerStats(0, 0, 0, 0.0)
    metadata: Dict[str, str] = {}  # noqa: RUF012, UP006  # copied for each instance


async def record_game_result(player_id: str, won: bool, points: int) -> None:
    player = await Player.aget(player_id)

    async with player.apipeline() as p:
        p.score += points if won else -points
        if won:
            p.wins += 1
        else:
            p.losses += 1
        if won and player.wins == 0:
            await p.achievements.aappend(Achievement.FIRST_WIN)  # type: ignore[attr-defined]  # of a draft
        if player.wins >= 10:
            await p.achievements.aappend(Achievement.STREAK_10)  # type: ignore[attr-defined]  # of a draft
        await p.metadata.aupdate(  # type: ignore[attr-defined]  # of a draft
            last_game=datetime.now().isoformat(), result="win" if won else "loss"
        )


async def get_leaderboard(limit: int = 10) -> List[Player]:  # noqa: UP006  # as the post writes it
    players = await Player.find()
    return sorted(players, key=lambda p: p.score, reverse=True)[:limit]


async def main(redis_url: str) -> None:
    await init_rapyer(redis_url=redis_url)

    player1 = Player(username="Alice")
    await player1.asave()
    player2 = Player(username="Bob")
    await player2.asave()

    await record_game_result(player1.pk, won=True, points=100)
    await record_game_result(player2.pk, won=True, points=150)

    top_players = await get_leaderboard(limit=5)
    for i, player in enumerate(top_players, 1):
        print(f"{i}. {player.username}: {player.score} points")
    await close_rapyer()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
