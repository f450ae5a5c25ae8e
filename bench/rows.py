"""The rows of the table: for each case the two pieces of code that do the same. Nothing is measured here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from bench.by_hand import ByHand
from bench.ours import Ours
from bench.players import Player

S = TypeVar("S")

Results = list[object]
Async = Coroutine[Any, Any, Results]
Lap = Callable[[S, list[Player]], Async | Results]
"""Runs one operation for each player of the list; their results, to compare."""


@dataclass(frozen=True, slots=True)
class Row:
    """A case. name: to choose it by. objects: different players; operations: in one lap, on them in turn.

    stored: whether the players are stored before the lap. target: the ratio that the project aims at.
    """

    group: str
    name: str
    ours: Lap[Ours]
    hand: Lap[ByHand]
    objects: int
    operations: int
    tasks: int = 1
    stored: bool = True
    target: float | None = None

    @property
    def title(self) -> str:
        return f"{self.group}: {self.name}"

    def smaller(self, limit: int) -> Row:
        """The same case with few operations, for a smoke test."""
        return replace(self, objects=min(self.objects, limit), operations=min(self.operations, limit))


# -- how operations make a lap --


def by_tasks(tasks: int, operation: Callable[[S, Player], Awaitable[object]]) -> Lap[S]:
    """The operations shared out to so many tasks; one task is no task of its own."""

    async def one(side: S, players: Sequence[Player]) -> Results:
        return [await operation(side, player) for player in players]

    async def lap(side: S, players: list[Player]) -> Results:
        if tasks == 1:
            return await one(side, players)
        shares = await asyncio.gather(*(one(side, players[first::tasks]) for first in range(tasks)))
        return [result for share in shares for result in share]

    return lap


def at_once(operation: Callable[[S, list[Player]], Awaitable[object]]) -> Lap[S]:
    """All players in one call."""

    async def lap(side: S, players: list[Player]) -> Results:
        return [await operation(side, players)]

    return lap


def blocking(operation: Callable[[S, Player], object]) -> Lap[S]:
    """One after the other, without an event loop."""

    def lap(side: S, players: list[Player]) -> Results:
        return [operation(side, player) for player in players]

    return lap


def blocking_batches(size: int, operation: Callable[[S, list[Player]], object]) -> Lap[S]:
    """So many players in each call."""

    def lap(side: S, players: list[Player]) -> Results:
        return [operation(side, players[start : start + size]) for start in range(0, len(players), size)]

    return lap


# -- the table --


def _concurrent(
    tasks: int,
    name: str,
    ours: Callable[[Ours, Player], Awaitable[object]],
    hand: Callable[[ByHand, Player], Awaitable[object]],
    *,
    each: int,
    target: float | None = None,
    new: bool = False,
) -> Row:
    operations = tasks * each
    return Row(
        f"{tasks:,} task{'s' if tasks > 1 else ''}",
        name,
        by_tasks(tasks, ours),
        by_tasks(tasks, hand),
        objects=operations if new else max(tasks, 50),
        operations=operations,
        tasks=tasks,
        stored=not new,
        target=target,
    )


# Against MULTI/EXEC that checks nothing; against WATCH, HMGET, MULTI/EXEC, which promises as much as ours.
UNCHECKED = "player wins, unchecked"
CHECKED = "player wins, checked"

ROWS: tuple[Row, ...] = (
    _concurrent(1, "save new", Ours.save, ByHand.save, each=300, target=1.3, new=True),
    _concurrent(1, "get", Ours.get, ByHand.get, each=300, target=1.3),
    _concurrent(1, "increment", Ours.increment, ByHand.increment, each=300, target=1.3),
    _concurrent(1, "append", Ours.append, ByHand.append, each=150),
    _concurrent(1, UNCHECKED, Ours.wins, ByHand.wins_unchecked, each=150, target=1.0),
    _concurrent(1, CHECKED, Ours.wins, ByHand.wins_checked, each=150, target=1.5),
    _concurrent(64, "save new", Ours.save, ByHand.save, each=8, target=6.0, new=True),
    _concurrent(64, "get", Ours.get, ByHand.get, each=8, target=3.0),
    _concurrent(64, "increment", Ours.increment, ByHand.increment, each=8, target=8.0),
    _concurrent(64, "append", Ours.append, ByHand.append, each=4),
    _concurrent(64, UNCHECKED, Ours.wins, ByHand.wins_unchecked, each=4, target=4.0),
    _concurrent(64, CHECKED, Ours.wins, ByHand.wins_checked, each=4, target=8.0),
    _concurrent(1000, "increment", Ours.increment, ByHand.increment, each=2, target=8.0),
    _concurrent(1000, UNCHECKED, Ours.wins, ByHand.wins_unchecked, each=1, target=5.0),
    Row(
        "bulk of 5,000",
        "save",
        at_once(Ours.save_many),
        at_once(ByHand.save_many),
        objects=5000,
        operations=5000,
        stored=False,
        target=3.0,
    ),
    Row(
        "bulk of 5,000",
        "load",
        at_once(Ours.get_many),
        at_once(ByHand.get_many),
        objects=5000,
        operations=5000,
        target=2.0,
    ),
    Row(
        "blocking",
        "get",
        blocking(Ours.get_blocking),
        blocking(ByHand.get_blocking),
        objects=50,
        operations=300,
        target=1.2,
    ),
    Row(
        "blocking",
        "increment",
        blocking(Ours.increment_blocking),
        blocking(ByHand.increment_blocking),
        objects=50,
        operations=300,
        target=1.2,
    ),
    Row(
        "blocking",
        "save batches of 100",
        blocking_batches(100, Ours.save_many_blocking),
        blocking_batches(100, ByHand.save_many_blocking),
        objects=500,
        operations=500,
        stored=False,
        target=2.5,
    ),
    Row(
        "blocking",
        "load batches of 100",
        blocking_batches(100, Ours.get_many_blocking),
        blocking_batches(100, ByHand.get_many_blocking),
        objects=500,
        operations=500,
        target=2.5,
    ),
    Row(
        "32 tasks on one object",
        "append",
        by_tasks(32, Ours.append_on_server),
        by_tasks(32, ByHand.append_on_server),
        objects=1,
        operations=64,
        tasks=32,
        target=50.0,
    ),
    Row(
        "CPU only",
        "flatten to arguments",
        blocking(Ours.flatten),
        blocking(ByHand.flatten),
        objects=50,
        operations=2000,
    ),
    Row(
        "CPU only",
        "flatten to bytes",
        blocking(Ours.flatten),
        blocking(ByHand.flatten_to_bytes),
        objects=50,
        operations=2000,
        target=2.0,
    ),
    Row(
        "CPU only",
        "load",
        blocking(Ours.load),
        blocking(ByHand.load),
        objects=50,
        operations=2000,
        target=2.0,
    ),
)
"""What is measured, in the order of the table. Bulk and blocking rows write a lap's players in few round trips."""


def chosen(patterns: Sequence[str]) -> list[Row]:
    """The rows whose title contains one of the texts, in any case; all, if there is none."""
    wanted = [pattern.lower() for pattern in patterns]
    return [row for row in ROWS if not wanted or any(text in row.title.lower() for text in wanted)]
