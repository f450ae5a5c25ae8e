"""How single operations make a lap: by so many tasks, in one call, one after the other. Nothing is measured here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.players import Player

S = TypeVar("S")

Results = list[object]
Async = Coroutine[Any, Any, Results]
Run = Callable[[S, list[Player]], Async | Results]
"""Runs one operation of a side for each player of the list; their results, to compare."""


@dataclass(frozen=True, slots=True)
class Failed:
    """In the place of the result of an operation that raised."""

    error: str


def by_tasks(tasks: int, operation: Callable[[S, Player], Awaitable[object]]) -> Run[S]:
    """The operations shared out to so many tasks; one task is no task of its own."""

    async def one(side: S, players: Sequence[Player]) -> Results:
        results: Results = []
        for player in players:
            try:
                results.append(await operation(side, player))
            except Exception as error:  # counted: a row without errors is part of some targets
                results.append(Failed(f"{type(error).__name__}: {error}"))
        return results

    async def lap(side: S, players: list[Player]) -> Results:
        if tasks == 1:
            return await one(side, players)
        shares = await asyncio.gather(*(one(side, players[first::tasks]) for first in range(tasks)))
        return [result for share in shares for result in share]

    return lap


def at_once(operation: Callable[[S, list[Player]], Awaitable[object]]) -> Run[S]:
    """All players in one call."""

    async def lap(side: S, players: list[Player]) -> Results:
        return [await operation(side, players)]

    return lap


def blocking(operation: Callable[[S, Player], object]) -> Run[S]:
    """One after the other, without an event loop."""

    def lap(side: S, players: list[Player]) -> Results:
        return [operation(side, player) for player in players]

    return lap


def blocking_batches(size: int, operation: Callable[[S, list[Player]], object]) -> Run[S]:
    """So many players in each call."""

    def lap(side: S, players: list[Player]) -> Results:
        return [operation(side, players[start : start + size]) for start in range(0, len(players), size)]

    return lap
