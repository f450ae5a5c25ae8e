"""`make bench`: rapyer_core against hand-written redis-py, in one process, on one server.

The server is a private embedded one, or the one of RAPYER_URL; all keys start `rapyer-bench:` and are removed.

    python bench/run.py                       every row
    python bench/run.py increment "64 tasks"  the rows whose title contains one of these
    python bench/run.py --list                the titles
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path

# `python bench/run.py` puts bench/ itself on the path, and not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console

from bench.report import Entry, machine, show, write_json
from bench.rows import Row, chosen
from bench.stage import Stage
from rapyer_core.embedded import EmbeddedServer

ROUNDS = 15
QUICK_ROUNDS = 2
QUICK_OPERATIONS = 16


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 if no row was chosen. Raises SidesDiffer."""
    options = _parser().parse_args(arguments)
    rows = chosen(options.rows)
    if options.quick:
        rows = [row.smaller(QUICK_OPERATIONS) for row in rows]
    console = Console()
    if not rows:
        console.print("no row has such a title; --list shows them")
        return 1
    if options.list:
        for row in rows:
            console.print(row.title, highlight=False)
        return 0
    with ExitStack() as stack:
        url = os.environ.get("RAPYER_URL") or stack.enter_context(EmbeddedServer()).url
        found = machine(url)
        rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
        entries = [_measured(url, row, rounds, console) for row in rows]
    show(entries, found, console)
    if options.json is not None:
        write_json(options.json, entries, found)
    return 0


def _measured(url: str, row: Row, rounds: int, console: Console) -> Entry:
    with console.status(row.title), Stage(url, row) as stage:
        return Entry(row, stage.measure(rounds))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/run.py", description="rapyer_core against hand-written redis-py")
    parser.add_argument("rows", nargs="*", help="texts in the titles of the rows to run; all by default")
    parser.add_argument("--list", action="store_true", help="the titles of the rows")
    parser.add_argument("--rounds", type=int, help=f"laps of each side; {ROUNDS} by default")
    parser.add_argument("--quick", action="store_true", help="few operations: shows that it works, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
