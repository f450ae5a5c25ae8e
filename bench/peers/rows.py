"""The rows of `make bench-peers`, how a mapper's lap of one is made, and whether it loses updates in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from bench.measure import Lap, timed
from bench.peers.peer import Peer
from bench.peers.result import OTHER_ROWS
from bench.players import Player, make_player


@dataclass(frozen=True, slots=True)
class PeerRow:
    """A case. operation: a method of a Peer. objects, operations: as in bench/rows.py. tasks: asyncio's or threads.

    blocking: for those without asyncio, and our blocking twin; the others are for those who can do it at all.
    """

    group: str
    operation: str
    operations: int
    tasks: int = 1
    objects: int = 50
    blocking: bool = False

    @property
    def title(self) -> str:
        return f"{self.group}: {self.operation.replace('_', ' ')}"

    @property
    def many(self) -> bool:
        """Whether all objects go in one call."""
        return self.operation.endswith("_many")

    def smaller(self, most: int) -> PeerRow:
        return replace(self, operations=min(self.operations, most), objects=min(self.objects, most))

    def refusal(self, peer: Peer) -> str | None:
        """Why the mapper does not take part; None if it does."""
        if self.blocking and peer.asynchronous:
            return OTHER_ROWS[0]
        if not self.blocking and not peer.asynchronous:
            if peer.twin or self.tasks == 1:
                return OTHER_ROWS[1]
            if self.tasks > 64:
                return "blocking: would need a thread for each task"
        return peer.cannot.get(self.operation) or peer.cannot.get(self.group)


ROWS = (
    PeerRow("1 task", "save", 200, objects=200),
    PeerRow("1 task", "get", 200),
    PeerRow("1 task", "increment", 200),
    PeerRow("1 task", "append", 200),
    PeerRow("1 task", "wins", 200),
    PeerRow("64 tasks", "save", 512, 64, 512),
    PeerRow("64 tasks", "get", 512, 64, 64),
    PeerRow("64 tasks", "increment", 512, 64, 64),
    PeerRow("64 tasks", "append", 512, 64, 64),
    PeerRow("64 tasks", "wins", 512, 64, 64),
    PeerRow("1,000 tasks", "increment", 1000, 1000, 1000),
    PeerRow("1,000 tasks", "wins", 1000, 1000, 1000),
    PeerRow("bulk of 5,000", "save_many", 5000, objects=5000),
    PeerRow("bulk of 5,000", "get_many", 5000, objects=5000),
    PeerRow("32 tasks on one object", "increment", 256, 32, 1),
    PeerRow("32 tasks on one object", "append", 256, 32, 1),
    PeerRow("blocking", "save", 200, objects=200, blocking=True),
    PeerRow("blocking", "get", 200, blocking=True),
    PeerRow("blocking", "increment", 200, blocking=True),
    PeerRow("blocking", "append", 200, blocking=True),
    PeerRow("blocking", "wins", 200, blocking=True),
    PeerRow("blocking, batch of 100", "save_many", 100, objects=100, blocking=True),
    PeerRow("blocking, batch of 100", "get_many", 100, objects=100, blocking=True),
)


class Runner:
    """Runs operations of one mapper. Opened and closed around all rows."""

    def __init__(self, peer: Peer, url: str, empty: Callable[[], object]) -> None:
        self.peer = peer
        self._empty = empty
        self._loop = asyncio.Runner() if peer.asynchronous else None
        self._threads = ThreadPoolExecutor(64)
        self._done(peer.open(url))

    def close(self) -> None:
        self._done(self.peer.close())
        self._threads.shutdown()
        if self._loop is not None:
            self._loop.close()

    def _done(self, result: Any) -> Any:
        return self._loop.run(result) if self._loop is not None and asyncio.iscoroutine(result) else result

    def prepare(self, row: PeerRow) -> Lap[None]:
        """A lap on fresh objects."""
        self._empty()
        numbers = [number % row.objects for number in range(row.operations)]
        objs = [self.peer.make(make_player(number)) for number in range(row.objects)]
        if not row.operation.startswith("save"):
            self._done(self.peer.save_many(objs))
        wanted: list[Any] = numbers if row.operation.startswith("get") else [objs[number] for number in numbers]
        operation = getattr(self.peer, row.operation)
        if row.many:
            return lambda: timed(lambda: self._once(operation, wanted))
        return lambda: timed(lambda: self._each(operation, wanted, row.tasks))

    def _once(self, operation: Callable[[Any], Any], arguments: Sequence[Any]) -> None:
        self._done(operation(arguments))

    def _each(self, operation: Callable[[Any], Any], arguments: Sequence[Any], tasks: int) -> None:
        shares = [arguments[first::tasks] for first in range(tasks)]
        if self._loop is not None:
            self._loop.run(_by_tasks(operation, shares))
        elif tasks == 1:
            _in_turn(operation, arguments)
        else:
            list(self._threads.map(lambda share: _in_turn(operation, share), shares))

    def prove(self, row: PeerRow) -> None:
        """Do the operation on one object and look at it. RuntimeError if the mapper did not do what it should."""
        one = replace(row, operations=1, objects=1, tasks=1)
        player = make_player(0)
        if row.operation.startswith("get"):
            self._empty()
            self._done(self.peer.save_many([self.peer.make(player)]))
            found = self._done(self.peer.get_many([0]))[0] if row.many else self._done(self.peer.get(0))
        else:
            self.prepare(one)()
            found = self._done(self.peer.get(0))
        seen = None if found is None else self.peer.seen(found)
        expected = _after(row.operation, player)
        # A mapper that cannot hold the list shows none.
        if seen is None or seen[0] != expected[0] or seen[1] not in (expected[1], 0):
            raise RuntimeError(f"{self.peer.name}: {row.title}: {seen} is there and not {expected}")

    def loses(self, operation: str) -> bool | None:
        """Whether an update is lost when 16 tasks make it 4 times each on one object; None where none is made.

        save: whether one writer's change of a field is undone by another's of another field.
        """
        if operation == "save":
            return self._save_loses()
        if operation not in ("increment", "append", "wins"):
            return None
        row = PeerRow("", operation, 64, 16, 1)
        self.prepare(row)()
        score, length = self._seen()
        wanted = _after(operation, make_player(0), row.operations)
        return score != wanted[0] or (operation == "append" and length != wanted[1])

    def _save_loses(self) -> bool:
        self._empty()
        self._done(self.peer.save_many([self.peer.make(make_player(0))]))
        one, other = self._done(self.peer.get(0)), self._done(self.peer.get(0))
        one.score += 5
        other.level += 1
        self._done(self.peer.save(one))
        self._done(self.peer.save(other))
        return self._seen()[0] != make_player(0).score + 5

    def _seen(self) -> tuple[int, int]:
        return self.peer.seen(self._done(self.peer.get(0)))


def _after(operation: str, player: Player, times: int = 1) -> tuple[int, int]:
    """The score and the number of achievements of the player after so many operations."""
    score = {"increment": 10, "wins": 100}.get(operation, 0)
    return player.score + score * times, len(player.achievements) + (times if operation == "append" else 0)


async def _by_tasks(operation: Callable[[Any], Any], shares: Sequence[Sequence[Any]]) -> None:
    async def one(share: Sequence[Any]) -> None:
        for argument in share:
            await operation(argument)

    if len(shares) == 1:
        await one(shares[0])
    else:
        await asyncio.gather(*(one(share) for share in shares))


def _in_turn(operation: Callable[[Any], Any], arguments: Sequence[Any]) -> None:
    for argument in arguments:
        operation(argument)
