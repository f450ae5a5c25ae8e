"""`make bench` works, and its two sides do the same. How fast they are is not tested."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from bench import engine, stage
from bench.by_hand import ByHand
from bench.laps import blocking, by_tasks
from bench.ours import Ours
from bench.players import FIELDS, Player, flatten, flatten_to_bytes, make_player, unflatten
from bench.result import SidesDiffer
from bench.rows import ROWS, SIZES, Row, chosen
from bench.sizes import memory
from bench.start_up import decoration_time, import_time

ROOT = Path(__file__).resolve().parents[2]


def run(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.run", *arguments],
        cwd=ROOT,
        env={**os.environ, "RAPYER_URL": url, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "codecs")])},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_two_rows_are_measured_and_shown(url: str, redis_client: redis.Redis, tmp_path: Path) -> None:
    """In the table and as JSON; nothing stays on the server."""
    file = tmp_path / "bench.json"
    done = run(url, "--quick", "--rows", "1 task: increment", "64 tasks: player wins, checked", "--json", str(file))
    assert done.returncode == 0, done.stderr
    assert " increment " in done.stdout
    assert " player wins, checked " in done.stdout
    assert "ratio" in done.stdout
    found = json.loads(file.read_text())
    assert [row["name"] for row in found["rows"]] == ["increment", "player wins, checked"]
    assert all(row["ratio"]["median"] > 0 and row["ratio"]["cpu"] > 0 and row["rounds"] == 2 for row in found["rows"])
    assert all(row["limit"] > 0 and row["loop"] > 0 and row["errors"] == 0 for row in found["rows"])
    assert found["machine"]["hiredis"]
    assert redis_client.dbsize() == 0


@pytest.mark.parametrize("row", [row for row in ROWS if isinstance(row, Row)], ids=lambda row: row.title)
def test_all_sides_of_a_row_do_the_same(url: str, row: Row) -> None:
    """Compared: what the operations returned, the local objects and what is stored, the limits' too."""
    with stage.Stage(url, row.smaller(4)) as opened:
        found = opened.measure(1)
    assert found.errors == 0
    assert (found.limit is None) == (row.group == "CPU only")
    assert (found.loop is None) == (row.group in ("CPU only", "blocking"))


async def _raises_sometimes(side: ByHand, player: Player) -> int:
    if player.username == "player-1":
        raise LookupError(player.username)
    return await side.increment(player)


def test_operations_that_raise_are_counted_and_miss_the_target(url: str) -> None:
    row = Row("1 task", "fails", by_tasks(1, Ours.increment), by_tasks(1, _raises_sometimes), 2, 4, target=0.001)
    with stage.Stage(url, row) as opened:
        found = opened.measure(3)
    assert (found.errors, found.met) == (2 * 3, False)


async def _forgets_to_increment(_: ByHand, player: Player) -> int:
    player.score += 10
    return player.score


def test_sides_that_store_something_else_are_an_error(url: str) -> None:
    """Here the other side changes its local object only."""
    row = Row("1 task", "cheat", by_tasks(1, Ours.increment), by_tasks(1, _forgets_to_increment), 2, 4)
    with stage.Stage(url, row) as opened, pytest.raises(SidesDiffer, match="stored fields"):
        opened.measure(1)


def test_sides_that_return_something_else_are_an_error(url: str) -> None:
    row = Row("CPU only", "cheat", blocking(Ours.load), blocking(ByHand.flatten), 2, 4)
    with stage.Stage(url, row) as opened, pytest.raises(SidesDiffer, match="results"):
        opened.measure(1)


def test_memory_is_that_of_the_same_player_on_both_sides(url: str, redis_client: redis.Redis) -> None:
    """Two more fields cost something, and not half of the player."""
    found = memory(url, 1)
    assert found.hand is not None
    assert found.hand < found.ours < 1.5 * found.hand
    assert found.most == pytest.approx(1.05 * found.hand)
    assert redis_client.dbsize() == 0


def test_start_up_is_measured_in_processes_of_their_own(url: str) -> None:
    imported, decorated = import_time(url, 1), decoration_time(url, 1)
    assert imported.ours > 0
    assert decorated.ours > 0
    assert [float(number) for number in re.findall(r"([\d.]+) ms", decorated.note)]


def test_every_way_of_the_engine_gives_the_player_back() -> None:
    found = engine.measured(1)
    assert found["by hand"]["load"].ratio == found["by hand"]["store"].ratio == 1
    assert found["rapyer_codecs"]["store"].microseconds > 0


def test_a_way_that_gives_something_else_back_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_msgspec", lambda: {"forgetful": engine.Way(lambda obj: obj, lambda stored: None)})
    with pytest.raises(ValueError, match="forgetful"):
        engine.measured(1)


def test_the_hand_written_player_has_23_fields_and_comes_back() -> None:
    player = make_player(7)
    assert len(flatten(player)) == len(flatten_to_bytes(player)) == FIELDS
    assert unflatten(flatten_to_bytes(player)) == player


def test_rows_are_chosen_by_texts_in_their_titles(url: str) -> None:
    assert {row.group for row in chosen(["64 TASKS"], ROWS)} == {"64 tasks"}
    assert chosen([], ROWS) == list(ROWS)
    assert chosen(["no such row"], SIZES) == []
    done = run(url, "--rows", "no such row")
    assert done.returncode == 1
    assert "no row has such a title" in done.stdout
