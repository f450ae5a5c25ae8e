"""Contests: many tasks in several processes change one object at the same time, by one side after the other.

Each side runs in worker processes of its own (bench/worker.py). How many times a commit was tried is asked of the
server, which counts the calls of each command: no side has to count for itself. After each lap the object is looked at:
not one change may be missing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import redis

from bench.measure import Lap, Round, Time, in_turn
from bench.players import Player, change, flatten, make_player
from bench.result import SidesDiffer
from rapyer_core import sync

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "rapyer-bench:contest:"
LAP = 0.3
"""Seconds that a lap should take, at least; a side that is slower than one change a task in this time takes longer."""

MOST = 10_000
"""Changes in one lap; `change` repeats itself after a few more."""

TRIES = {"ours": "exec", "watch": "exec", "plain": "hincrby", "script": "evalsha", "redis-py lock": "set"}
"""The command that a side sends once for each try of a commit. Of a lock: of each try to take it."""


@dataclass(frozen=True, slots=True)
class Contest:
    """operation: increment, append, change or locked. tasks: in each of so many processes. sides: ours first.

    target: the ratio to the second side that the project aims at.
    """

    operation: str
    tasks: int
    processes: int
    sides: tuple[str, ...]
    target: float | None = None
    seconds: float = LAP

    @property
    def group(self) -> str:
        """Names are those of all tasks together."""
        total = self.tasks * self.processes
        return f"{total} task{'s' if total > 1 else ''} on one object"

    @property
    def name(self) -> str:
        return f"{self.operation}, {self.processes} process{'es' if self.processes > 1 else ''}"

    @property
    def title(self) -> str:
        return f"{self.group}: {self.name}"

    def smaller(self, most: int) -> Contest:
        """The same case with few tasks and the shortest laps, for a smoke test."""
        return replace(self, tasks=min(self.tasks, most), processes=min(self.processes, 2), seconds=0.0)


@dataclass(slots=True)
class Standing:
    """What a contest came to. rounds: times of one commit. tries: for one commit, and commands: of any kind, medians.

    errors: changes that raised, each a text, by side.
    """

    rounds: Sequence[Round]
    tries: Mapping[str, float]
    commands: Mapping[str, float]
    errors: Mapping[str, Sequence[str]]


def held(url: str, contest: Contest, rounds: int) -> Standing:
    """Hold it. Raises SidesDiffer if a change is missing or was made twice."""
    with ExitStack() as stack:
        client = stack.enter_context(redis.Redis.from_url(url, protocol=2))
        stack.callback(_forget, client)
        teams = {side: stack.enter_context(_team(url, client, contest, side)) for side in contest.sides}
        for team in teams.values():
            team.warm_up()
        times = in_turn({side: team.prepare for side, team in teams.items()}, rounds)
        return Standing(
            times,
            {side: median(team.tries) for side, team in teams.items()},
            {side: median(team.commands) for side, team in teams.items()},
            {side: team.errors for side, team in teams.items()},
        )


def _forget(client: redis.Redis) -> None:
    for key in client.scan_iter(f"{PREFIX}*", count=500):
        client.delete(key)


# -- the workers of one side --


@dataclass(slots=True)
class _Team:
    contest: Contest
    side: str
    client: Any
    store: Callable[[Player], None]
    key: str
    workers: list[subprocess.Popen[str]]
    operations: int = 0
    tries: list[float] = field(default_factory=list)
    commands: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def warm_up(self) -> None:
        """One lap to connect all; then laps to see how many changes fill one. The first are slow: they are short."""
        for worker in self.workers:
            _line(worker)
        contest = self.contest
        self.operations = contest.tasks * contest.processes
        for _ in range(3):
            each, _ = self.prepare()()
            fitting = min(MOST, int(contest.seconds / each.wall))
            self.operations = max(self.operations, fitting - fitting % contest.processes)
        self.tries.clear()
        self.commands.clear()

    def prepare(self) -> Lap[None]:
        self.client.delete(self.key)
        self.store(make_player(0))
        self._tell(str(self.operations // len(self.workers)))
        for worker in self.workers:
            _line(worker)
        return self._lap

    def _lap(self) -> tuple[Time, None]:
        """The times are those of one change."""
        before = self._counted()
        start = time.perf_counter()
        reports = self._run()
        wall = time.perf_counter() - start
        tries, commands = (after - earlier for after, earlier in zip(self._counted(), before, strict=True))
        failed = [error for report in reports for error in report["errors"]]
        self._check(failed)
        self.tries.append(tries / self.operations)
        self.commands.append(commands / self.operations)
        self.errors += failed
        return Time(wall / self.operations, sum(report["cpu"] for report in reports) / self.operations), None

    def _run(self) -> list[dict[str, Any]]:
        self._tell("go")
        return [json.loads(_line(worker)) for worker in self.workers]

    def _tell(self, line: str) -> None:
        for worker in self.workers:
            assert worker.stdin is not None
            print(line, file=worker.stdin, flush=True)

    def _counted(self) -> tuple[int, int]:
        """Calls of the command that is sent once for each try, and of all."""
        calls = {name: found["calls"] for name, found in self.client.info("commandstats").items()}
        return calls.get(f"cmdstat_{TRIES[self._kind]}", 0), sum(calls.values())

    @property
    def _kind(self) -> str:
        return "redis-py lock" if self.contest.operation == "locked" else self.side

    def _check(self, failed: Sequence[str]) -> None:
        """Every change once. One that raised may have been made or not."""
        expected = [_expected(self.contest.operation, self.operations - unmade) for unmade in range(len(failed) + 1)]
        found = self._found()
        if found not in expected:
            raise SidesDiffer(f"{self.contest.title}: {self.side}: {found} is there and not {expected[0]}")

    def _found(self) -> int:
        if self.contest.operation == "append":
            length = int(self.client.hget(self.key, "achievements"))
            values = self.client.hmget(self.key, [f"achievements.{index}" for index in range(length)])
            return length if None not in values else -1
        return int(self.client.hget(self.key, "score" if self.contest.operation == "increment" else "coins"))


def _expected(operation: str, changes: int) -> int:
    player = make_player(0)
    if operation == "increment":
        return player.score + 10 * changes
    if operation == "append":
        return len(player.achievements) + changes
    for _ in range(changes):
        player.coins = change(player.coins)
    return player.coins


@contextmanager
def _team(url: str, client: Any, contest: Contest, side: str) -> Iterator[_Team]:
    prefix = f"{PREFIX}{side.replace(' ', '-')}:"
    with ExitStack() as stack:
        if side == "ours":
            sync.init_rapyer(url, prefix=prefix)
            stack.callback(sync.close_rapyer)
        words = [sys.executable, "-m", "bench.worker", url, prefix, side, contest.operation, str(contest.tasks)]
        workers = [stack.enter_context(_worker(words)) for _ in range(contest.processes)]
        key = prefix + ("Player:player-0" if side == "ours" else "player-0")

        def store(player: Player) -> None:
            if side == "ours":
                sync.save(player)
            else:
                client.hset(key, mapping=flatten(player))

        yield _Team(contest, side, client, store, key, workers)


@contextmanager
def _worker(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as worker:
        try:
            yield worker
            assert worker.stdin is not None
            worker.stdin.close()
            worker.wait(10)
        finally:
            worker.kill()


def _line(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError("a worker of the benchmark ended early; its traceback is above")
    return line
