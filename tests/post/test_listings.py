"""Every listing of the post runs, and what its comments say is true."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis

from rapyer_core import LockTimeout, close_rapyer, init_rapyer
from tests.post.players import Achievement, Player, PlayerStats, feature_1, player_wins, transfer_items


@pytest_asyncio.fixture(autouse=True)
async def _session(url: str) -> AsyncIterator[None]:
    await init_rapyer(redis_url=url)
    yield
    await close_rapyer()


async def _saved(name: str, inventory_count: int = 0) -> Player:
    player = Player(username=name, inventory_count=inventory_count)
    await player.asave()
    return player


async def test_defaults_are_not_shared_between_players() -> None:
    one, other = Player(username="a"), Player(username="b")
    one.achievements.append(Achievement.FIRST_WIN)
    one.metadata["k"] = "v"
    one.stats.wins = 5
    assert (other.achievements, other.metadata, other.stats) == ([], {}, PlayerStats(0, 0, 0.0))


async def test_feature_1_changes_the_stored_fields_and_the_object(redis_client: redis.Redis) -> None:
    alice = await _saved("alice")
    player = await feature_1(alice.pk)
    stored = redis_client.hgetall(f"Player:{alice.pk}")
    assert stored[b"score"] == b"100"
    assert (stored[b"achievements"], stored[b"achievements.0"]) == (b"1", b"first_win")
    assert set(stored) >= {b"metadata.last_win"}
    assert (player.score, player.achievements) == (100, [Achievement.FIRST_WIN])
    assert player == await Player.aget(alice.pk)


async def test_feature_1_loses_nothing_in_fifty_tasks() -> None:
    alice = await _saved("alice")
    await asyncio.gather(*(feature_1(alice.pk) for _ in range(50)))
    loaded = await Player.aget(alice.pk)
    assert (loaded.score, len(loaded.achievements)) == (5000, 50)


async def test_feature_2_after_feature_1_keeps_the_points() -> None:
    alice = await _saved("alice")
    player = await feature_1(alice.pk)
    player.stats = PlayerStats(total_games=50, wins=30, avg_score=1250.5)
    await player.asave()
    loaded = await Player.aget(alice.pk)
    assert loaded.stats.avg_score == 1250.5
    assert loaded.achievements == [Achievement.FIRST_WIN]
    assert loaded.score == 100


async def test_feature_2_on_a_stale_object_keeps_what_others_did() -> None:
    alice = await _saved("alice")
    stale = await Player.aget(alice.pk)
    await feature_1(alice.pk)
    stale.stats = PlayerStats(total_games=50, wins=30, avg_score=1250.5)
    await stale.asave()
    loaded = await Player.aget(alice.pk)
    assert (loaded.score, loaded.achievements, loaded.stats.wins) == (100, [Achievement.FIRST_WIN], 30)


async def test_feature_3_commits_all_or_nothing(redis_client: redis.Redis) -> None:
    alice = await _saved("alice")
    await player_wins(alice.pk, 150)
    loaded = await Player.aget(alice.pk)
    assert (loaded.score, loaded.wins, loaded.achievements) == (150, 1, [Achievement.STREAK_10])
    assert loaded.metadata["streak"] == "10"

    before = redis_client.hgetall(loaded.key)
    with pytest.raises(RuntimeError, match="crash"):
        await _wins_and_crashes(loaded)
    assert redis_client.hgetall(loaded.key) == before
    assert (loaded.score, loaded.achievements) == (150, [Achievement.STREAK_10])


async def _wins_and_crashes(player: Player) -> None:
    async with player.apipeline() as p:
        p.score += 1
        await p.achievements.aappend(Achievement.TOP_PLAYER)  # type: ignore[attr-defined]  # of a draft
        assert (await Player.aget(player.pk)).score == 150
        raise RuntimeError("crash")


async def test_feature_3_loses_nothing_in_fifty_tasks() -> None:
    alice = await _saved("alice")
    await asyncio.gather(*(player_wins(alice.pk, 2) for _ in range(50)))
    loaded = await Player.aget(alice.pk)
    assert (loaded.score, loaded.wins, len(loaded.achievements)) == (100, 50, 50)


async def test_feature_4_moves_items() -> None:
    alice, bob = await _saved("alice", inventory_count=5), await _saved("bob")
    await transfer_items(alice.pk, bob.pk, 3)
    assert [(await Player.aget(p.pk)).inventory_count for p in (alice, bob)] == [2, 3]
    with pytest.raises(ValueError, match="Not enough"):
        await transfer_items(alice.pk, bob.pk, 3)
    assert [(await Player.aget(p.pk)).inventory_count for p in (alice, bob)] == [2, 3]


async def test_feature_4_many_transfers_keep_the_sum() -> None:
    players = [await _saved(f"p{n}", inventory_count=50) for n in range(5)]
    pairs = [(players[n % 5], players[(n * 2 + 1) % 5]) for n in range(50)]
    moves = [(a, b) for a, b in pairs if a is not b]
    results = await asyncio.gather(*(transfer_items(a.pk, b.pk, 1) for a, b in moves), return_exceptions=True)
    assert {type(result) for result in results} <= {type(None), LockTimeout}
    loaded = await Player.find()
    assert sum(p.inventory_count for p in loaded) == 250


async def test_feature_4_in_opposite_directions_at_once_both_end() -> None:
    alice, bob = await _saved("alice", inventory_count=10), await _saved("bob", inventory_count=10)
    results = await asyncio.gather(
        transfer_items(alice.pk, bob.pk, 1), transfer_items(bob.pk, alice.pk, 2), return_exceptions=True
    )
    moved = [0 if isinstance(result, LockTimeout) else n for result, n in zip(results, (1, 2), strict=True)]
    assert {type(result) for result in results} <= {type(None), LockTimeout}
    assert moved != [0, 0]
    counts = [(await Player.aget(p.pk)).inventory_count for p in (alice, bob)]
    assert counts == [10 - moved[0] + moved[1], 10 + moved[0] - moved[1]]


def test_the_complete_leaderboard_prints_the_ranking(tcp_url: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.post.leaderboard", tcp_url],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stderr == ""
    assert run.stdout.splitlines() == ["1. Bob: 150 points", "2. Alice: 100 points"]
