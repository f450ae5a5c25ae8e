"""The demonstration: it plays, its account is right, it would notice a loss, and it leaves nothing behind."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import redis

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples" / "game_leaderboard.py"


def play(*arguments: str, url: str | None) -> subprocess.CompletedProcess[str]:
    """Runs the program as `make demo` does, in a terminal of 80 columns that shows no colours."""
    environment = {name: value for name, value in os.environ.items() if name != "RAPYER_URL"}
    environment |= {"COLUMNS": "80", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "codecs")])}
    if url is not None:
        environment["RAPYER_URL"] = url
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments], env=environment, text=True, capture_output=True, check=False
    )


SMALL = ("--players", "6", "--games", "80", "--tasks", "20")


@pytest.fixture(scope="module")
def leaderboard() -> ModuleType:
    spec = importlib.util.spec_from_file_location("game_leaderboard", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def numbers(output: str, what: str) -> list[int]:
    """The numbers in the line of the account that begins with `what`."""
    line = re.search(rf"^│\s+{what}\s+(-?[\d,]+)\s+(-?[\d,]+)", output, re.MULTILINE)
    assert line is not None, output
    return [int(number.replace(",", "")) for number in line.groups()]


def test_no_update_is_lost_and_the_sums_are_those_of_what_was_played(url: str, leaderboard: ModuleType) -> None:
    done = play(*SMALL, "--seed", "3", url=url)
    assert done.returncode == 0, done.stdout + done.stderr
    moves = leaderboard.drawn_up(leaderboard.invented(6), 80, random.Random(3))
    points = [move.points for move in moves if isinstance(move, leaderboard.Game)]
    assert numbers(done.stdout, "games") == [80, 80]
    assert numbers(done.stdout, "wins") == [sum(number > 0 for number in points)] * 2
    assert numbers(done.stdout, "losses") == [sum(number < 0 for number in points)] * 2
    assert numbers(done.stdout, "points") == [sum(points)] * 2
    assert numbers(done.stdout, "cheers") == [160, 160]
    assert numbers(done.stdout, "items") == [6 * 20, 6 * 20]
    assert re.search(r"\b0 updates lost of [1-9][\d,]*", done.stdout)
    assert "Traceback" not in done.stderr


def test_it_plays_on_an_embedded_server_when_no_server_is_named() -> None:
    done = play("--players", "2", "--games", "10", "--tasks", "5", url=None)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "an embedded server" in done.stdout


def test_nothing_stays_on_the_server_and_nothing_of_others_is_touched(url: str, redis_client: redis.Redis) -> None:
    redis_client.hset("Player:alice", "score", "7")
    assert play(*SMALL, url=url).returncode == 0
    assert list(redis_client.scan_iter()) == [b"Player:alice"]
    assert redis_client.hgetall("Player:alice") == {b"score": b"7"}


def test_no_line_is_wider_than_the_terminal(url: str) -> None:
    from rich.cells import cell_len

    done = play(*SMALL, url=url)
    assert max(map(cell_len, done.stdout.splitlines())) == 80


@pytest.mark.parametrize(
    "address", ["redis://:not-shown@127.0.0.1:1/0", "unix:///nowhere/not-there", "http://not-shown@localhost"]
)
def test_a_server_that_cannot_be_used_is_one_line(address: str) -> None:
    done = play(*SMALL, url=address)
    assert done.returncode == 2, done.stderr
    assert len(done.stdout.strip().splitlines()) <= 2
    assert "not-shown" not in done.stdout + done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [("--players", "1"), ("--games", "0"), ("--tasks", "0")])
def test_impossible_numbers_are_refused(arguments: Sequence[str], url: str) -> None:
    done = play(*arguments, url=url)
    assert done.returncode == 2
    assert "at least" in done.stderr


def test_the_account_notices_every_kind_of_loss(leaderboard: ModuleType) -> None:
    """Against a perfect result, made without a server, in which one thing at a time is wrong."""
    game, cheer = leaderboard.Game, leaderboard.Cheer
    moves = [game("alice", 10), game("alice", -5), game("bob", 7), cheer("bob")]

    def account(**wrong: object) -> dict[str, int]:
        players = [
            leaderboard.Player(
                "alice",
                score=5,
                items=25,
                stats=leaderboard.Stats(games=2, wins=1, losses=1),
                achievements=[leaderboard.Achievement.FIRST_WIN],
            ),
            leaderboard.Player(
                "bob",
                score=7,
                items=15,
                cheers=1,
                stats=leaderboard.Stats(games=1, wins=1),
                achievements=[leaderboard.Achievement.FIRST_WIN],
            ),
        ]
        players[1] = dataclasses.replace(players[1], **wrong)
        lines = leaderboard.account(moves, players, leaderboard.Tally())
        return {line.what: line.lost for line in lines if line.lost}

    assert account() == {}
    assert account(score=6) == {"points": 1}
    assert account(cheers=0) == {"cheers": 1}
    assert account(cheers=2) == {"cheers": 1}
    assert account(items=13) == {"items": 2}
    assert account(stats=leaderboard.Stats(wins=1)) == {"games": 1}
    assert account(achievements=[]) == {"achievements": 1}
    assert account(achievements=[leaderboard.Achievement.FIRST_WIN] * 2) == {"achievements": 1}
