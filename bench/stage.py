"""The stage: both sides on one server, the players of each lap, and whether both did the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, cast

from bench.by_hand import ByHand
from bench.measure import Pair, Prepared, Summary, in_turn, measured, summary
from bench.ours import Ours
from bench.players import Player, comparable, make_player
from bench.rows import Results, Row

PREFIX = "rapyer-bench:"
"""Of every key. A server that is not ours to empty keeps what else it has."""


class SidesDiffer(Exception):
    """The two sides of a row did not do the same, so that its ratio would mean nothing."""


class Stage:
    """Runs one row. Use it as a context manager; all it stored is removed at the end."""

    def __init__(self, url: str, row: Row) -> None:
        self._row = row
        self._runner = asyncio.Runner()
        self._ours = Ours(url, PREFIX)
        self._hand = ByHand(url, f"{PREFIX}hand:", row.tasks)
        self._players: dict[Ours | ByHand, list[Player]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        stack = self._stack
        stack.callback(self._runner.close)
        stack.callback(lambda: self._runner.run(self._hand.close()))
        self._runner.run(self._ours.open())
        stack.callback(lambda: self._runner.run(self._ours.close()))
        self._ours.open_blocking()
        stack.callback(self._ours.close_blocking)
        stack.callback(lambda: self._runner.run(self._forget()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def measure(self, rounds: int) -> Summary:
        """A lap of each side to warm up, then the rounds. Raises SidesDiffer."""
        measured(self.lap_of_ours())
        measured(self.lap_by_hand())
        pairs = in_turn(self.lap_of_ours, self.lap_by_hand, rounds)
        self._compare(pairs[-1])
        return summary(pairs, self._row.operations)

    def lap_of_ours(self) -> Prepared[Results]:
        """A lap of our side, everything before it done."""
        return self._prepared(self._ours, lambda players: self._row.ours(self._ours, players))

    def lap_by_hand(self) -> Prepared[Results]:
        """A lap of the other side, everything before it done."""
        return self._prepared(self._hand, lambda players: self._row.hand(self._hand, players))

    def _prepared(self, side: Ours | ByHand, lap: Callable[[list[Player]], Any]) -> Prepared[Results]:
        """Every lap starts from the same players."""
        row = self._row
        players = [make_player(number) for number in range(row.objects)]
        self._players[side] = players
        self._runner.run(self._start(side, players))
        in_turn_players = [players[number % row.objects] for number in range(row.operations)]

        def run() -> Results:
            results = lap(in_turn_players)
            return self._runner.run(results) if asyncio.iscoroutine(results) else cast(Results, results)

        return run

    async def _start(self, side: Ours | ByHand, players: Sequence[Player]) -> None:
        await self._hand.redis.unlink(*(side.key(player) for player in players))
        if self._row.stored:
            await side.set_up(players)

    async def _forget(self) -> None:
        for side, players in self._players.items():
            await self._hand.redis.unlink(*(side.key(player) for player in players))

    # -- the same on both sides --

    def _compare(self, pair: Pair[Results]) -> None:
        ours, hand = pair.results
        self._same("results", [_plain(result) for result in ours], [_plain(result) for result in hand])
        self._same("local objects", self._players[self._ours], self._players[self._hand])
        self._same("stored fields", *self._runner.run(self._stored()))

    async def _stored(self) -> tuple[list[object], list[object]]:
        return await self._stored_by(self._ours), await self._stored_by(self._hand)

    async def _stored_by(self, side: Ours | ByHand) -> list[object]:
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
