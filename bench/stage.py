"""The stage of a row: its sides on one server, the players of each lap, and whether all did the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

from bench.by_hand import ByHand, best
from bench.laps import Failed, Results
from bench.limit import Limit, LoopLimit
from bench.measure import Lap, Prepare, Round, in_turn, rate, ratio, timed
from bench.ours import Ours
from bench.players import Player, comparable, make_player
from bench.result import Result, SidesDiffer
from bench.rows import Row

PREFIX = "rapyer-bench:"
"""Of every key. A server that is not ours to empty keeps what else it has."""

Side = Ours | ByHand | Limit


class Stage:
    """Runs one row. Use it as a context manager; all it stored is removed at the end."""

    def __init__(self, url: str, row: Row) -> None:
        self._row = row
        self._runner = asyncio.Runner()
        self._ours = Ours(url, PREFIX)
        self._hand = ByHand(url, f"{PREFIX}hand:", best(row.tasks))
        self._limits: dict[str, Limit] = {}
        if row.limit is not None:
            self._limits["limit"] = Limit(url, f"{PREFIX}limit:")
            if row.asynchronous:
                self._limits["loop"] = LoopLimit(url, f"{PREFIX}loop:")
        self._players: dict[Side, list[Player]] = {}
        self._errors = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        stack, run = self._stack, self._runner.run
        stack.callback(self._runner.close)
        stack.callback(lambda: run(self._hand.close()))
        run(self._ours.open())
        stack.callback(lambda: run(self._ours.close()))
        self._ours.open_blocking()
        stack.callback(self._ours.close_blocking)
        for limit in self._limits.values():
            run(limit.open())
            stack.callback(partial(self._close, limit))
        stack.callback(lambda: run(self._forget()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _close(self, limit: Limit) -> None:
        self._runner.run(limit.close())

    def measure(self, rounds: int) -> Result:
        """A lap of each side to warm up, then the rounds. Raises SidesDiffer."""
        in_turn(self._sides, 1)
        self._errors = 0
        done = in_turn(self._sides, rounds, self._check)
        operations = self._row.operations
        return Result(
            group=self._row.group,
            name=self._row.name,
            target=self._row.target,
            ratio=ratio(done, "ours", "hand"),
            ours=rate(done, "ours", operations),
            hand=rate(done, "hand", operations),
            limit=self._share(done, "limit"),
            loop=self._share(done, "loop"),
            errors=self._errors,
            rounds=rounds,
        )

    def _share(self, done: Sequence[Round], limit: str) -> float | None:
        return ratio(done, "ours", limit).median if limit in self._limits else None

    # -- laps --

    @property
    def _sides(self) -> Mapping[str, Prepare[Results]]:
        row = self._row
        sides: dict[str, Prepare[Results]] = {
            "ours": lambda: self._lap(self._ours, lambda players: lambda: row.ours(self._ours, players)),
            "hand": lambda: self._lap(self._hand, lambda players: lambda: row.hand(self._hand, players)),
        }
        for name, limit in self._limits.items():
            sides[name] = partial(self._lap, limit, partial(self._bare, limit))
        return sides

    def _bare(self, limit: Limit, players: Sequence[Player]) -> Callable[[], Any]:
        assert self._row.limit is not None
        writes = limit.writes(self._row.limit, players, self._row.together)
        return lambda: limit.send(writes)

    def _lap(self, side: Side, start: Callable[[list[Player]], Callable[[], Any]]) -> Lap[Results]:
        """Every lap starts from the same players. start: its result begins the lap, and may be a coroutine."""
        row = self._row
        players = [make_player(number) for number in range(row.objects)]
        self._players[side] = players
        self._runner.run(self._set_up(side, players))
        begin = start([players[number % row.objects] for number in range(row.operations)])

        def run() -> Results:
            results = begin()
            return self._runner.run(results) if asyncio.iscoroutine(results) else cast(Results, results)

        return lambda: timed(run)

    async def _set_up(self, side: Side, players: Sequence[Player]) -> None:
        await self._hand.redis.unlink(*(side.key(player) for player in players))
        if self._row.stored:
            await side.set_up(players)

    async def _forget(self) -> None:
        for side, players in self._players.items():
            await self._hand.redis.unlink(*(side.key(player) for player in players))

    # -- the same on all sides --

    def _check(self, results: Mapping[str, Results]) -> None:
        ours, hand = results["ours"], results["hand"]
        failed = [result for result in (*ours, *hand) if isinstance(result, Failed)]
        self._errors += len(failed)
        if failed:
            return  # the row shows how many; what they left behind differs
        self._same("results", [_plain(result) for result in ours], [_plain(result) for result in hand])
        self._same("local objects", self._players[self._ours], self._players[self._hand])
        stored = self._runner.run(self._stored(self._ours))
        others: list[Side] = [self._hand, *self._limits.values()]
        for side in others:
            self._same("stored fields", stored, self._runner.run(self._stored(side)))

    async def _stored(self, side: Side) -> list[object]:
        pipe = self._hand.redis.pipeline(transaction=False)
        for player in self._players[side]:
            pipe.hgetall(side.key(player))
        return [comparable(fields) for fields in await pipe.execute()]

    def _same(self, what: str, ours: Sequence[object], hand: Sequence[object]) -> None:
        if len(ours) != len(hand):
            raise SidesDiffer(f"{self._row.title}: {what}: {len(ours)} and {len(hand)}")
        for number, (one, other) in enumerate(zip(ours, hand, strict=True)):
            if one != other:
                raise SidesDiffer(f"{self._row.title}: {what}, number {number}: {one!r} and by hand {other!r}")


def _plain(result: object) -> object:
    return comparable(result) if isinstance(result, dict) else result
