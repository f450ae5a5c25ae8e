"""One program with what needs one slot for several keys: indexes, and blocks of several objects. No assertions.

Its blocking twin is made of it, see ``twins``.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from rapyer_core import (
    AlreadyExists,
    Conflict,
    NotFound,
    Session,
    Transaction,
    count,
    delete_many,
    desc,
    explain,
    find,
    increment,
    insert,
    iterate,
    lock,
    pipeline,
    rank,
    ref,
    save,
    save_many,
    top,
    transact,
    transaction,
    verify,
)
from tests.cluster.models import NAMES, Player, Ranked, Season


async def program(session: Session) -> list[Any]:
    """Needs a prefix that puts all keys into one slot. What the functions answered, in order."""
    said: list[Any] = []
    for part in (_indexes, _several_objects):
        said += await part({"session": session})
    return said


async def _indexes(on: dict[str, Any]) -> list[Any]:
    for cls in (Ranked, Season):
        await save_many([cls(name, score=number * 10) for number, name in enumerate(NAMES)], **on)
    for name in NAMES[:5]:
        await increment(ref(Ranked, name), Ranked.score, 1001, **on)
        await increment(ref(Season, name), Season.score, 1001, exactly_once=True, **on)
    with suppress(AlreadyExists):
        await insert(Ranked(NAMES[0]), **on)
    said: list[Any] = [await delete_many([ref(Ranked, name) for name in NAMES[50:55]], **on)]
    said.append(str(explain(Ranked, Ranked.score > 3, **on)))
    said.append(await find(Ranked, Ranked.score > 100, Ranked.coins == 0, order_by=desc(Ranked.score), limit=20, **on))
    said.append(await count(Ranked, Ranked.score < 300, **on))
    said.append(sorted([one.name async for one in iterate(Season, Season.score >= 200, **on)]))
    said += [await top(Ranked, Ranked.score, 7, **on), await top(Season, Season.score, 70, **on)]
    said += [await rank(ref(Ranked, name), Ranked.score, **on) for name in NAMES[::7]]
    said += [await verify(cls, repair=repair, **on) for cls in (Ranked, Season) for repair in (False, True)]
    return said


async def _several_objects(on: dict[str, Any]) -> list[Any]:
    await save_many([Player(name, coins=100) for name in NAMES], **on)
    said: list[Any] = []
    async with pipeline(ref(Player, "p1"), ref(Player, "p2"), **on) as (one, two):
        one.coins -= 5
        two.coins += 5
    async with transaction(**on) as tx:
        found = await tx.get_many(Player, ["p3", "nobody", "p4"])
        said.append([each is None for each in found])
        await tx.insert(Player("inserted", level=7))
        await tx.save(Player("saved", level=8))
        await tx.delete(Player, "p5")
    said += [await transact(_pay, f"p{number}", f"p{number + 1}", 30, **on) for number in range(6, 12)]
    async with lock(ref(Player, "p20"), ref(Ranked, "p21"), name="t", **on) as (player, ranked):
        player.coins -= 1
        ranked.score += 1
    async with lock(ref(Player, "p22"), name="t", **on) as outer:
        async with lock(ref(Player, "p23"), name="t", **on) as inner:
            outer.coins -= 50
            inner.coins += 50
    try:
        async with transaction(**on) as tx:
            read = (await tx.get(Player, "p30")).coins
            await increment(ref(Player, "p30"), Player.coins, 1, **on)
            (await tx.get(Player, "p31")).coins = read
    except Conflict as conflict:
        said.append(conflict.fields)
    try:
        async with pipeline(ref(Player, "p32"), ref(Player, "nobody"), **on):
            pass
    except NotFound as missing:
        said.append(missing.pk)
    await save(Ranked("last", score=5), **on)
    return said


async def _pay(tx: Transaction, who: str, to: str, amount: int) -> int:
    payer, payee = await tx.get(Player, who), await tx.get(Player, to)
    if payer.coins >= amount:
        payer.coins -= amount
        payee.coins += amount
    return int(payer.coins)
