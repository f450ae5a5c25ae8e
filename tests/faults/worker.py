"""What the processes of the fault tests run: ``python -m tests.faults.worker WHAT URL [ARGUMENT]``.

Each prints a line when it starts to work, and what it did when it is through.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis.asyncio

from rapyer_core import (
    Conflict,
    LockLost,
    RapyerError,
    append,
    close_rapyer,
    increment,
    init_rapyer,
    lock,
    pipeline,
    ref,
    transact,
)
from rapyer_core.collection import Target
from rapyer_core.operations.commit import commit
from rapyer_core.operations.units import Change, Seen, Unit
from rapyer_core.sessions import Session, current
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Player
from tests.faults.history import recorded

NAMES = "abcd"


def say(text: object) -> None:
    print(text, flush=True)


async def transfer(tx: Transaction, source: str, to: str, amount: int) -> None:
    a, b = await tx.get(Account, source), await tx.get(Account, to)
    if a.coins >= amount:
        a.coins -= amount
        b.coins += amount


async def transfers(argument: str) -> None:
    """Transfers without end, by transactions and by locks as in the post."""
    say("ready")
    while True:
        source, to = random.sample(NAMES, 2)
        try:
            if random.random() < 0.5:
                await transact(transfer, source, to, random.randint(1, 5))
            else:
                async with lock(ref(Account, source), name="transfer", timeout=2, lease=1) as a:
                    async with lock(ref(Account, to), name="transfer", timeout=2, lease=1) as b:
                        a.coins -= 1
                        b.coins += 1
        except RapyerError:
            await asyncio.sleep(0.01)


async def counted(argument: str) -> None:
    """Increments in every way, so many of each; across processes none may be lost."""
    times = int(argument)
    p = ref(Player, "p")

    async def one_more(tx: Transaction) -> None:
        drafted = await tx.get(Player, "p")
        if drafted.coins >= 0:
            drafted.coins += 1

    for number in range(times):
        await increment(p, Player.score, 1)
        async with pipeline(p) as d:
            d.wins += 1
        await transact(one_more)
        await append(p, Player.numbers, number)
        async with lock(p, name="counter", timeout=30) as d:
            d.stats.wins = int(d.stats.wins) + 1
    say("done")


async def spending(argument: str) -> None:
    """Takes 10 of the coins as long as there are 10; prints how often."""

    async def spend(tx: Transaction) -> bool:
        p = await tx.get(Player, "p")
        if p.coins < 10:
            return False
        p.coins -= 10
        return True

    taken = 0
    while await transact(spend):
        taken += 1
    say(taken)


async def holder(argument: str) -> None:
    """Takes the lock, then waits to be stopped; what its commit came to."""
    try:
        async with lock(ref(Account, "a"), name="n", lease=1) as a:
            a.coins += 1000
            say("holding")
            await asyncio.sleep(0.3)
            await asyncio.to_thread(sys.stdin.readline)
    except LockLost:
        say("LockLost")
    except Conflict:
        say("Conflict")
    else:
        say("committed")


async def forever(argument: str) -> None:
    """Takes the lock and keeps it."""
    async with lock(ref(Account, "a"), name="n", lease=1):
        say("holding")
        await asyncio.sleep(60)


async def sleeper(argument: str) -> None:
    """Takes the lock and sleeps; how it was woken."""
    try:
        async with lock(ref(Account, "a"), name="n", lease=1) as a:
            a.coins += 1000
            say("holding")
            await asyncio.sleep(60)
    except LockLost:
        say("LockLost")


async def links(argument: str) -> None:
    """Under a short lease: fetches the next number and appends it, reading nothing of the object. Without end."""
    say("ready")
    async with redis.asyncio.Redis.from_url(argument) as client:
        while True:
            try:
                async with lock(ref(Player, "p"), lease=0.1, timeout=10) as p:
                    number = int(await client.incr("outside"))
                    await asyncio.sleep(0.02)
                    p.numbers.append(number)
            except RapyerError:
                await asyncio.sleep(0)


async def hot(argument: str) -> None:
    """16 tasks increment one field, so many times each; blindly, or ("checked 25") by reading first. Most attempts."""
    kind, times = argument.split()
    most = 0

    async def work() -> None:
        nonlocal most
        for _ in range(int(times)):
            if kind == "blind":
                await increment(ref(Player, "p"), Player.coins, 1)
                continue
            context = default().context
            unit = AddOne(context.target(ref(Player, "p")))
            most = max(most, (await default().run(commit(context, [unit]))).attempts)

    await asyncio.gather(*(work() for _ in range(16)))
    say(most)


@dataclass(slots=True)
class AddOne(Unit):
    """An increment that reads first, as those that cannot be blind do."""

    target: Target
    needs: Sequence[bytes] | None = (b"coins",)

    def decide(self, seen: Seen) -> Change:
        return Change(put={b"coins": b"%d" % (int(seen.fields[b"coins"]) + 1)})


def default() -> Session:
    return current(None)


async def history(argument: str) -> None:
    """Works without end and keeps a log of what it tries and what it is told, for `tests.faults.history` to judge."""
    path, first, once = argument.split(",")
    await recorded(Path(path), int(first), bool(once))


WORK: dict[str, Callable[[str], Awaitable[None]]] = {
    work.__name__: work for work in (transfers, counted, spending, holder, forever, sleeper, links, hot, history)
}


async def main(what: str, url: str, argument: str = "") -> None:
    await init_rapyer(url, timeout=2)
    try:
        await WORK[what](argument)
    finally:
        await close_rapyer()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
