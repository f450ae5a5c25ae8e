"""`make bench-contention`: many tasks and processes on one object, by different ways to change it.

    python -m bench.contention                                 the whole grid: some ten minutes
    python -m bench.contention --operations append --tasks 8   a part of it

Tasks are those of each process. Server: as for bench/run.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.contest import Contest, held
from bench.machine import machine, server
from bench.measure import Ratio, cpu_each, rate, ratio
from bench.report import console, progress

ROUNDS = 5
TASKS = (1, 8, 32, 64)
PROCESSES = (1, 2, 4)
SIDES = {
    "increment": ("ours", "plain", "watch", "script"),
    "append": ("ours", "watch", "script"),
    "change": ("ours", "watch", "script"),
    "locked": ("ours", "redis-py lock"),
}
"""Of each operation. Elsewhere the names are said in words: see WORDS."""

WORDS = {
    "increment": "add to a counter",
    "append": "append to a list",
    "change": "read, compute, write",
    "locked": "the same under a lock",
}

NOTES = (
    "Commits per second of all tasks together, medians; behind the slash how often a commit was tried (calls of EXEC, "
    "HINCRBY or EVALSHA for each commit; of a lock: tries to take it, by SET). Less than one: commits of several tasks "
    "went in one EXEC. No side lost a change, or this would have ended with an error. plain: HINCRBY that checks "
    "nothing. watch: the loop of redis-py's documentation. script: a Lua script. redis-py lock: its Lock, which does "
    "not stop a holder whose lease ran out."
)


@dataclass(frozen=True, slots=True)
class Side:
    """per_second: commits of all tasks. tries: for one commit. cpu: seconds of CPU time of one, in the clients."""

    per_second: float
    tries: float
    commands: float
    cpu: float
    errors: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One contest. tasks: in each process. ratios: how much faster ours was than each other side."""

    operation: str
    tasks: int
    processes: int
    sides: dict[str, Side]
    ratios: dict[str, Ratio]

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Cell:
        return cls(
            found["operation"],
            found["tasks"],
            found["processes"],
            {name: Side(**side) for name, side in found["sides"].items()},
            {name: Ratio(**ratio) for name, ratio in found["ratios"].items()},
        )


def main(arguments: list[str] | None = None) -> int:
    """Hold the contests and show them. Raises SidesDiffer if a change was lost."""
    options = _parser().parse_args(arguments)
    out = console()
    with server() as url:
        found = machine(url)
        cells = [_cell(url, contest, options.rounds, out) for contest in _contests(options)]
    for operation in options.operations:
        out.print(table(operation, [cell for cell in cells if cell.operation == operation]))
    out.print(", ".join(f"{name} {value}" for name, value in found.items()), style="dim")
    out.print(NOTES, style="dim")
    if options.json is not None:
        written = {"machine": found, "rounds": options.rounds, "cells": [asdict(cell) for cell in cells]}
        options.json.write_text(json.dumps(written, indent=2) + "\n")
    return 0


def _contests(options: argparse.Namespace) -> Iterator[Contest]:
    for operation in options.operations:
        for processes in options.processes:
            for tasks in options.tasks:
                contest = Contest(operation, tasks, processes, SIDES[operation])
                yield contest.smaller(tasks) if options.quick else contest


def _cell(url: str, contest: Contest, rounds: int, out: Console) -> Cell:
    with progress(out, contest.title):
        standing = held(url, contest, rounds)
    sides = {
        side: Side(
            rate(standing.rounds, side, 1),
            standing.tries[side],
            standing.commands[side],
            cpu_each(standing.rounds, side, 1),
            len(standing.errors[side]),
        )
        for side in contest.sides
    }
    ratios = {side: ratio(standing.rounds, "ours", side) for side in contest.sides[1:]}
    return Cell(contest.operation, contest.tasks, contest.processes, sides, ratios)


def table(operation: str, cells: Sequence[Cell]) -> Table:
    """The grid of one operation."""
    made = Table(title=WORDS[operation], title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("processes", "tasks in each", *SIDES[operation], *(f"x {side}" for side in SIDES[operation][1:])):
        made.add_column(heading, justify="right", no_wrap=True)
    for cell in cells:
        made.add_row(
            str(cell.processes),
            str(cell.tasks),
            *(said(side) for side in cell.sides.values()),
            *(f"{found.median:.1f}x" for found in cell.ratios.values()),
        )
    return made


def said(side: Side) -> str:
    """Commits a second / tries."""
    errors = f" ({side.errors} errors)" if side.errors else ""
    tries = f"{side.tries:.1f}" if side.tries >= 1 else f"{side.tries:.2f}"
    return f"{side.per_second:,.0f} / {tries}{errors}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.contention", description="many tasks on one object")
    parser.add_argument("--operations", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--tasks", nargs="+", type=int, default=list(TASKS), help="in each process")
    parser.add_argument("--processes", nargs="+", type=int, default=list(PROCESSES))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"laps of each side; {ROUNDS} by default")
    parser.add_argument("--quick", action="store_true", help="the shortest laps: shows that it works, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
