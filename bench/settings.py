"""`make bench-settings`: whether the hand-written side has the settings of redis-py that are fastest for it.

Each line is one change of them; its ratio says how fast the hand-written code is then, as a share of what it is with
the settings of bench/by_hand.py. Nothing above 1x by more than the noise, or those settings were not the best.
CPU: the same of CPU times, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.by_hand import ByHand, Settings, best
from bench.laps import Failed, Results, by_tasks
from bench.machine import server
from bench.measure import Lap, Ratio, in_turn, ratio, timed
from bench.players import Player, make_player
from bench.report import console, progress

PREFIX = "rapyer-bench:settings:"
ROUNDS = 7
TASKS = {1: 300, 64: 8, 1000: 2}
"""Operations of each task in a lap."""

Operation = Callable[[ByHand, Player], Awaitable[object]]
OPERATIONS: Mapping[str, Operation] = {
    "get": ByHand.get,
    "increment": ByHand.increment,
    "player wins": ByHand.wins_unchecked,
}


def variants(tasks: int) -> dict[str, Settings]:
    """Others than the best for so many tasks, each with what is different."""
    base = best(tasks)
    others = {
        "protocol 3": replace(base, protocol=3),
        "a timeout of 5 s": replace(base, socket_timeout=5),
        "without hiredis": replace(base, hiredis=False),
        "a pool that waits": replace(base, waiting=True),
        "a pool that waits, of 8": Settings(waiting=True, connections=8),
        "a pool that waits, of 16": Settings(waiting=True, connections=16),
        "a pool that waits, of 32": Settings(waiting=True, connections=32),
        "a pool that waits, of 64": Settings(waiting=True, connections=64),
    }
    pools = {name for name in others if name.startswith("a pool that waits,")}
    return {name: other for name, other in others.items() if other != base and not (tasks == 1 and name in pools)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.settings", description="settings of the hand-written side")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--tasks", type=int, nargs="+", default=list(TASKS), choices=TASKS)
    options = parser.parse_args()
    out = console()
    with server() as url:
        for tasks in options.tasks:
            with progress(out, f"{tasks:,} tasks"):
                found = {
                    name: _measured(url, tasks, operation, options.rounds) for name, operation in OPERATIONS.items()
                }
            out.print(_table(tasks, found))


def _table(tasks: int, found: Mapping[str, Mapping[str, Ratio]]) -> Table:
    made = Table(title=f"{tasks:,} tasks: {best(tasks)}", title_justify="left", box=SIMPLE_HEAD)
    made.add_column("instead")
    for operation in found:
        made.add_column(operation, justify="right")
    for variant in variants(tasks):
        made.add_row(variant, *(_said(ratios[variant]) for ratios in found.values()))
    return made


def _said(found: Ratio) -> str:
    return f"{found.median:.2f}x, CPU {found.cpu:.2f}x"


def _measured(url: str, tasks: int, operation: Operation, rounds: int) -> dict[str, Ratio]:
    """How fast each variant is, as a share of the best: by pairs of laps, so that they are neighbours in time."""
    players = [make_player(number) for number in range(max(tasks, 50))]
    many = [players[number % len(players)] for number in range(tasks * TASKS[tasks])]
    run = by_tasks(tasks, operation)
    ratios: dict[str, Ratio] = {}
    with asyncio.Runner() as runner:
        base = ByHand(url, PREFIX, best(tasks))

        def lap(side: ByHand) -> Lap[Results]:
            runner.run(side.set_up(players))
            return lambda: timed(lambda: runner.run(_awaited(run(side, many))))

        try:
            for name, settings in variants(tasks).items():
                other = ByHand(url, PREFIX, settings)
                laps = {"best": partial(lap, base), "other": partial(lap, other)}
                try:
                    in_turn(laps, 1)
                    ratios[name] = ratio(in_turn(laps, rounds, _refuse_errors), "other", "best")
                finally:
                    runner.run(other.close())
        finally:
            runner.run(base.redis.unlink(*(base.key(player) for player in players)))
            runner.run(base.close())
    return ratios


async def _awaited(results: object) -> Results:
    assert asyncio.iscoroutine(results)
    found: Results = await results
    return found


def _refuse_errors(results: Mapping[str, Results]) -> None:
    for name, found in results.items():
        failed = [result for result in found if isinstance(result, Failed)]
        if failed:
            raise RuntimeError(f"{name}: {len(failed)} operations failed: {failed[0].error}")


if __name__ == "__main__":
    main()
