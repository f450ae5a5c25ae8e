"""Recorded histories: what each caller tried and was told, and whether what is stored agrees with all of them.

A history is lines of text, so that a process can be killed at any moment and leave what it knew: `try`, then `ok`,
`no` (refused: not applied) or `unknown`, each with the kind of work and its number. A try without an answer counts as
unknown: the caller died.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rapyer_core import (
    Conflict,
    ConnectionFailed,
    LockLost,
    LockTimeout,
    OutcomeUnknown,
    Session,
    append,
    get,
    increment,
    lock,
    pipeline,
    ref,
    save_many,
    transact,
)
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Player

REFUSED = (ConnectionFailed, Conflict, LockLost, LockTimeout)
"""Nothing was written."""

NAMES, COINS = "abcd", 1000


async def prepare(session: Session) -> None:
    """What all work on: a list and a counter, four accounts, and a sequence that only holders of a lock extend."""
    objects = [Player("p"), Player("sequence"), *(Account(name, COINS) for name in NAMES)]
    await save_many(objects, session=session)


async def recorded(path: Path, first: int, once: bool, *, session: Session | None = None, tasks: int = 4) -> None:
    """Work without end. first: the numbers of this worker start there, so that they are its own."""
    numbers = itertools.count(first)
    with path.open("a", buffering=1) as log:
        await asyncio.gather(*(_work(log.write, numbers, once, session) for _ in range(tasks)))


async def _work(write: Callable[[str], object], numbers: Iterable[int], once: bool, session: Session | None) -> None:
    kinds = list(WORK)
    for number in numbers:
        kind = random.choice(kinds)
        write(f"try {kind} {number}\n")
        try:
            told = await WORK[kind](number, once, session)
        except OutcomeUnknown:
            write(f"unknown {kind} {number}\n")
        except REFUSED:
            write(f"no {kind} {number}\n")
        else:
            write(f"ok {kind} {number} {'' if told is None else told}\n")


async def _append(number: int, once: bool, session: Session | None) -> None:
    await append(ref(Player, "p"), Player.numbers, number, exactly_once=once, session=session)


async def _increment(number: int, once: bool, session: Session | None) -> int:
    return await increment(ref(Player, "p"), Player.coins, 1, exactly_once=once, session=session)


async def _both(number: int, once: bool, session: Session | None) -> None:
    async with pipeline(ref(Player, "p"), exactly_once=once, session=session) as p:
        p.wins += 1
        p.stats.wins += 1


async def _transfer(number: int, once: bool, session: Session | None) -> None:
    async def transfer(tx: Transaction, source: str, to: str) -> None:
        a, b = await tx.get(Account, source), await tx.get(Account, to)
        if a.coins >= 5:
            a.coins -= 5
            b.coins += 5

    await transact(transfer, *random.sample(NAMES, 2), exactly_once=once, session=session)


async def _extend(number: int, once: bool, session: Session | None) -> None:
    holding = lock(ref(Player, "sequence"), name="s", timeout=2, lease=1, exactly_once=once, session=session)
    async with holding as d:
        following = int(d.wins) + 1
        d.numbers.append(following)
        d.wins = following


async def _read(number: int, once: bool, session: Session | None) -> str:
    p = await get(Player, "p", session=session)
    assert p.wins == p.stats.wins, "half a commit was seen"
    return f"{len(p.numbers)}:{p.numbers[-1] if p.numbers else ''}"


WORK: dict[str, Callable[[int, bool, Session | None], Awaitable[object]]] = {
    "append": _append,
    "increment": _increment,
    "both": _both,
    "transfer": _transfer,
    "extend": _extend,
    "read": _read,
}


@dataclass
class Told:
    """What was told of one kind of work: the numbers of each answer, and what came with it."""

    ok: dict[int, str] = field(default_factory=dict)
    no: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    died: set[int] = field(default_factory=set)

    @property
    def possible(self) -> set[int]:
        """What may be there: acknowledged, or in doubt."""
        return {*self.ok, *self.unknown, *self.died}


def told(logs: Iterable[Path]) -> dict[str, Told]:
    """The histories of all workers together, by kind of work."""
    found = {kind: Told() for kind in WORK}
    for log in filter(Path.exists, logs):
        for line in log.read_text().splitlines():
            answer, kind, number, *more = line.split(" ")
            one, key = found[kind], int(number)
            if answer == "try":
                one.died.add(key)
                continue
            one.died.discard(key)
            if answer == "ok":
                one.ok[key] = more[0] if more else ""
            else:
                (one.no if answer == "no" else one.unknown).add(key)
    return found


async def check(session: Session, histories: dict[str, Told], *, certain: bool) -> None:
    """Whether what is stored agrees. certain: nobody who lived was left in doubt (exactly_once)."""
    p = await get(Player, "p", session=session)
    appends, increments = histories["append"], histories["increment"]
    assert len(set(p.numbers)) == len(p.numbers), "appended twice"
    assert set(appends.ok) <= set(p.numbers), "acknowledged, and lost"
    assert set(p.numbers) <= appends.possible, "refused, and there all the same"
    _count(p.coins, increments)
    _count(p.wins, histories["both"])
    assert p.wins == p.stats.wins, "half a commit"
    answers = [int(value) for value in increments.ok.values()]
    assert len(set(answers)) == len(answers), "two increments were told the same value"
    assert all(1 <= value <= p.coins for value in answers)
    for seen in histories["read"].ok.values():
        length, _, last = seen.partition(":")
        assert not last or p.numbers[int(length) - 1] == int(last), "a reading that is no beginning of the list"
    accounts = [await get(Account, name, session=session) for name in NAMES]
    assert sum(account.coins for account in accounts) == COINS * len(NAMES)
    assert all(account.coins >= 0 for account in accounts)
    sequence = await get(Player, "sequence", session=session)
    assert sequence.numbers == list(range(1, sequence.wins + 1)), "two holders of one lock"
    _count(sequence.wins, histories["extend"])
    if certain:
        assert {kind: one.unknown for kind, one in histories.items() if one.unknown} == {}


def _count(stored: int, one: Told) -> None:
    assert len(one.ok) <= stored <= len(one.possible), "not each acknowledged effect exactly once"
