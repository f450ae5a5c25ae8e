"""The rows of `make bench`: for each case the two pieces of code that do the same. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from bench import limit
from bench.by_hand import ByHand
from bench.contest import Contest
from bench.laps import Run, at_once, blocking, blocking_batches, by_tasks
from bench.ours import Ours
from bench.players import Player
from bench.sizes import Size, memory
from bench.start_up import decoration_time, import_time


@dataclass(frozen=True, slots=True)
class Row:
    """A case. name: to choose it by. objects: different players; operations: in one lap, on them in turn.

    stored: whether the players are stored before the lap. target: the ratio that the project aims at. limit: the same
    operation as prepared bytes, `together` of them in one write; asynchronous: whether an event loop runs it.
    """

    group: str
    name: str
    ours: Run[Ours]
    hand: Run[ByHand]
    objects: int
    operations: int
    tasks: int = 1
    stored: bool = True
    target: float | None = None
    limit: limit.Prepared | None = None
    together: int = 1
    asynchronous: bool = True

    @property
    def title(self) -> str:
        return f"{self.group}: {self.name}"

    def smaller(self, most: int) -> Row:
        """The same case with few operations, for a smoke test."""
        return replace(self, objects=min(self.objects, most), operations=min(self.operations, most))


def _concurrent(
    tasks: int,
    name: str,
    ours: Callable[[Ours, Player], Awaitable[object]],
    hand: Callable[[ByHand, Player], Awaitable[object]],
    bare: limit.Prepared,
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
        limit=bare,
        together=tasks,
    )


def _blocking(
    name: str,
    ours: Callable[[Ours, Player], object],
    hand: Callable[[ByHand, Player], object],
    bare: limit.Prepared,
    *,
    new: bool = False,
) -> Row:
    return Row(
        "blocking",
        name,
        blocking(ours),
        blocking(hand),
        objects=1000 if new else 50,
        operations=1000,
        stored=not new,
        target=1.2,
        limit=bare,
        asynchronous=False,
    )


def _batches(
    name: str,
    ours: Callable[[Ours, list[Player]], object],
    hand: Callable[[ByHand, list[Player]], object],
    bare: limit.Prepared,
    *,
    new: bool = False,
) -> Row:
    return Row(
        "blocking",
        name,
        blocking_batches(100, ours),
        blocking_batches(100, hand),
        objects=1000,
        operations=1000,
        stored=not new,
        target=2.5,
        limit=bare,
        together=100,
        asynchronous=False,
    )


def _bulk(
    name: str,
    ours: Callable[[Ours, list[Player]], Awaitable[object]],
    hand: Callable[[ByHand, list[Player]], Awaitable[object]],
    bare: limit.Prepared,
    *,
    target: float,
    new: bool = False,
) -> Row:
    return Row(
        "bulk of 5,000",
        name,
        at_once(ours),
        at_once(hand),
        objects=5000,
        operations=5000,
        stored=not new,
        target=target,
        limit=bare,
        together=500,
    )


def _cpu(
    name: str,
    ours: Callable[[Ours, Player], object],
    hand: Callable[[ByHand, Player], object],
    target: float | None = None,
) -> Row:
    return Row("CPU only", name, blocking(ours), blocking(hand), 50, 2000, target=target, asynchronous=False)


# Against MULTI/EXEC that checks nothing; against WATCH, HMGET, MULTI/EXEC, which promises as much as ours.
UNCHECKED = "player wins, unchecked"
CHECKED = "player wins, checked"

# A task makes enough operations that its own beginning, which both sides pay for, counts for little.
ROWS: tuple[Row | Contest, ...] = (
    _concurrent(1, "save new", Ours.save, ByHand.save, limit.save, each=600, target=1.3, new=True),
    _concurrent(1, "get", Ours.get, ByHand.get, limit.get, each=600, target=1.3),
    _concurrent(1, "increment", Ours.increment, ByHand.increment, limit.increment, each=600, target=1.3),
    _concurrent(1, "append", Ours.append, ByHand.append, limit.append, each=300),
    _concurrent(1, UNCHECKED, Ours.wins, ByHand.wins_unchecked, limit.wins, each=300, target=1.0),
    _concurrent(1, CHECKED, Ours.wins, ByHand.wins_checked, limit.wins, each=300, target=1.5),
    _concurrent(64, "save new", Ours.save, ByHand.save, limit.save, each=32, target=6.0, new=True),
    _concurrent(64, "get", Ours.get, ByHand.get, limit.get, each=32, target=3.0),
    _concurrent(64, "increment", Ours.increment, ByHand.increment, limit.increment, each=32, target=8.0),
    _concurrent(64, "append", Ours.append, ByHand.append, limit.append, each=16),
    _concurrent(64, UNCHECKED, Ours.wins, ByHand.wins_unchecked, limit.wins, each=16, target=4.0),
    _concurrent(64, CHECKED, Ours.wins, ByHand.wins_checked, limit.wins, each=16, target=8.0),
    _concurrent(1000, "increment", Ours.increment, ByHand.increment, limit.increment, each=2, target=8.0),
    _concurrent(1000, UNCHECKED, Ours.wins, ByHand.wins_unchecked, limit.wins, each=1, target=5.0),
    _bulk("save", Ours.save_many, ByHand.save_many, limit.save, target=3.0, new=True),
    _bulk("load", Ours.get_many, ByHand.get_many, limit.get, target=2.0),
    _blocking("save new", Ours.save_blocking, ByHand.save_blocking, limit.save, new=True),
    _blocking("get", Ours.get_blocking, ByHand.get_blocking, limit.get),
    _blocking("increment", Ours.increment_blocking, ByHand.increment_blocking, limit.increment),
    _batches("save batches of 100", Ours.save_many_blocking, ByHand.save_many_blocking, limit.save, new=True),
    _batches("load batches of 100", Ours.get_many_blocking, ByHand.get_many_blocking, limit.get),
    # 32 in all: with 32 in each process the hand-written loop falls further behind (bench/contention.py).
    Contest("append", tasks=32, processes=1, sides=("ours", "watch"), target=50.0),
    Contest("append", tasks=8, processes=4, sides=("ours", "watch"), target=10.0),
    _cpu("flatten to arguments", Ours.flatten, ByHand.flatten),
    _cpu("flatten to bytes", Ours.flatten, ByHand.flatten_to_bytes, target=2.0),
    _cpu("load", Ours.load, ByHand.load, target=2.0),
)
"""What is measured, in the order of the table. Bulk and batch rows write a lap's players in few round trips."""


@dataclass(frozen=True, slots=True)
class SizeRow:
    """A case that is no ratio of times. measure: by the address of the server and the number of rounds."""

    title: str
    measure: Callable[[str, int], Size]


SIZES: tuple[SizeRow, ...] = (
    SizeRow("memory of one player on the server", memory),
    SizeRow("import, on top of redis", import_time),
    SizeRow("decoration of a class", decoration_time),
)


class Titled(Protocol):
    """What has a title to choose it by."""

    @property
    def title(self) -> str: ...


T = TypeVar("T", bound=Titled)


def chosen(patterns: Sequence[str], rows: Sequence[T]) -> list[T]:
    """The rows whose title contains one of the texts, in any case; all, if there is none."""
    wanted = [pattern.lower() for pattern in patterns]
    return [row for row in rows if not wanted or any(text in row.title.lower() for text in wanted)]
