"""`make bench`: rapyer_core against hand-written redis-py, on one server.

The server is a private embedded one, or the one of RAPYER_URL; all keys start `rapyer-bench:` and are removed.

    python -m bench.run                              every row
    python -m bench.run --rows increment "64 tasks"  the rows whose title contains one of these
    python -m bench.run --list                       the titles
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from bench.contest import Contest, held
from bench.machine import machine, server
from bench.measure import rate, ratio
from bench.report import console, progress, show
from bench.result import Result
from bench.rows import ROWS, SIZES, Row, chosen
from bench.stage import Stage

ROUNDS = 15
QUICK_ROUNDS = 2
QUICK_OPERATIONS = 16


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 if no row was chosen. Raises SidesDiffer."""
    options = _parser().parse_args(arguments)
    rows, sizes = chosen(options.rows, ROWS), chosen(options.rows, SIZES)
    if options.quick:
        rows = [row.smaller(QUICK_OPERATIONS) for row in rows]
    out = console()
    if not (rows or sizes):
        out.print("no row has such a title; --list shows them")
        return 1
    if options.list:
        for row in (*rows, *sizes):
            out.print(row.title, highlight=False)
        return 0
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    with server() as url:
        found = machine(url)
        results = [_measured(url, row, rounds, out) for row in rows]
        measured = [size.measure(url, rounds) for size in sizes]
    show(results, measured, found, out)
    if options.json is not None:
        written = {
            "machine": found,
            "rounds": rounds,
            "rows": [result.as_json() for result in results],
            "sizes": [size.as_json() for size in measured],
        }
        options.json.write_text(json.dumps(written, indent=2) + "\n")
    return 0


def _measured(url: str, row: Row | Contest, rounds: int, out: Console) -> Result:
    with progress(out, row.title):
        if isinstance(row, Contest):
            return _held(url, row, rounds)
        with Stage(url, row) as stage:
            return stage.measure(rounds)


def _held(url: str, contest: Contest, rounds: int) -> Result:
    standing = held(url, contest, rounds)
    hand = contest.sides[1]
    return Result(
        group=contest.group,
        name=contest.name,
        target=contest.target,
        ratio=ratio(standing.rounds, "ours", hand),
        ours=rate(standing.rounds, "ours", 1),
        hand=rate(standing.rounds, hand, 1),
        limit=None,
        loop=None,
        errors=sum(map(len, standing.errors.values())),
        rounds=rounds,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.run", description="rapyer_core against hand-written redis-py")
    parser.add_argument("--rows", nargs="+", default=[], metavar="TEXT", help="those with a TEXT in their title")
    parser.add_argument("--list", action="store_true", help="the titles of the rows")
    parser.add_argument("--rounds", type=int, help=f"laps of each side; {ROUNDS} by default")
    parser.add_argument("--quick", action="store_true", help="few operations: shows that it works, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
