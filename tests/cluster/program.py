"""One program over objects of all nodes, which a cluster and a single server must answer alike. No assertions.

Its blocking twin is made of it, see ``twins``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any

from rapyer_core import (
    RapyerError,
    Session,
    Transaction,
    add,
    append,
    assign,
    clear,
    count,
    delete,
    delete_many,
    desc,
    discard,
    exists,
    extend,
    find,
    find_one,
    get,
    get_many,
    get_or_create,
    increment,
    insert,
    insert_at,
    iterate,
    lock,
    merge,
    modify,
    paths,
    pipeline,
    pop,
    put,
    ref,
    reload,
    remove,
    save,
    save_many,
    transact,
    transaction,
    upgrade_all,
)
from tests.cluster.models import NAMES, Player, Visit


async def program(session: Session) -> list[Any]:
    """Calls every function on many objects; what they answered, errors included, in order."""
    said: list[Any] = []
    for part in (_whole_objects, _one_field, _saves, _blocks, _search):
        said += await part({"session": session})
    return said


async def _tried(work: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await work()
    except RapyerError as error:
        return type(error), str(error)


async def _whole_objects(on: dict[str, Any]) -> list[Any]:
    await save_many([Player(name, coins=number) for number, name in enumerate(NAMES[:40])], **on)
    for number, name in enumerate(NAMES[40:50]):
        await save(Player(name, motto=f"m{number}", awards=["a", "b"]), **on)
    for name in NAMES[50:]:
        await insert(Player(name, notes={"k": name}), **on)
    await save_many([Visit(name) for name in NAMES], **on)
    said: list[Any] = [await _tried(partial(insert, Player(name), **on)) for name in NAMES[:5]]
    said.append(await get_many(Player, [*reversed(NAMES), "nobody", NAMES[0], "nobody else"], **on))
    said += [await get(Player, name, **on) for name in NAMES[::7]]
    said += [await _tried(partial(get, Player, f"nobody {number}", **on)) for number in range(5)]
    said += [await get_or_create(Player, name, coins=5, **on) for name in (*NAMES[:4], "new 1", "new 2", "new 3")]
    said += [await exists(Player, name, **on) for name in (*NAMES[:4], "nobody", "new 1")]
    said += [await delete(Player, name, **on) for name in ("new 1", "new 1")]
    said.append(await delete_many([ref(Player, name) for name in (*NAMES[:9], "nobody", "new 2")], **on))
    said.append(await get_many(Player, NAMES[:12], **on))
    await save_many([Player(name) for name in NAMES[:9]], **on)
    return said


async def _one_field(on: dict[str, Any]) -> list[Any]:
    said: list[Any] = []
    for once in (False, True):
        how: dict[str, Any] = {**on, "exactly_once": once}
        for name in NAMES[:12]:
            who = await get(Player, name, **on)
            said.append(await increment(who, Player.coins, 7, **how))
            said.append(await increment(who, Player.coins, 2**70, **how))
            said.append(await increment(who, Player.stats.wins, 1, **how))
            said.append(await increment(who, Player.money, Decimal("0.10"), **how))
            said.append(await increment(who, Player.ratio, 0.1, **how))
            said.append(await modify(who, Player.level, lambda level: level * 3, **how))
            await assign(who, Player.motto, f"motto of {name}", **how)
            await append(who, Player.awards, "x", **how)
            await extend(who, Player.awards, ["y", "z", "y"], **how)
            await insert_at(who, Player.awards, 0, "first", **how)
            said.append(await pop(who, Player.awards, **how))
            await remove(who, Player.awards, "y", **how)
            await put(who, Player.notes, "a.b", "1", **how)
            await merge(who, Player.notes, {"c": "2", "*": "3"}, **how)
            said.append(await pop(who, Player.notes, "c", **how))
            said.append(await _tried(partial(pop, who, Player.notes, "missing", **how)))
            await add(who, Player.tags, "s", "t", "u", **how)
            await discard(who, Player.tags, "t", "unknown", **how)
            said.append(who)
            said.append(await get(Player, name, **on))
        for name in NAMES[12:17]:
            await clear(ref(Player, name), Player.awards, **how)
        said += [await _tried(partial(increment, ref(Player, f"no {n}"), Player.coins, 1, **how)) for n in range(5)]
        said += [await increment(ref(Visit, name), Visit.seen, 1, **how) for name in NAMES[:10]]
    return said


async def _saves(on: dict[str, Any]) -> list[Any]:
    """Of loaded objects, one by one and many at once, some of which somebody else has changed."""
    said: list[Any] = []
    loaded = [await get(Player, name, **on) for name in NAMES[25:40]]
    for who in loaded:
        who.coins += 1
        who.notes["saved"] = "yes"
    for name in NAMES[25:28]:
        await assign(ref(Player, name), Player.coins, 99, **on)
    await delete(Player, NAMES[28], **on)
    said += [await _tried(partial(save, who, **on)) for who in loaded[:6]]
    said.append(await _tried(partial(save_many, loaded[6:], **on)))
    said += [await reload(who, **on) for who in loaded[:3]]
    await save(loaded[3], overwrite=True, **on) if await exists(loaded[3], **on) else await save(
        Player(NAMES[28]), **on
    )
    return said


async def _blocks(on: dict[str, Any]) -> list[Any]:
    said: list[Any] = []
    for name in NAMES[:15]:
        async with pipeline(ref(Player, name), **on) as draft:
            draft.coins += 1
            draft.stats.wins += 1
            draft.awards.append("by a pipeline")
            draft.notes["by"] = "pipeline"
        async with transaction(**on) as tx:
            found = await tx.get(Player, name)
            if found.level > 0:
                found.level -= 1
        said.append(await transact(_double, name, **on))
        async with lock(ref(Player, name), name="t", **on) as held:
            held.coins += held.level
    async with transaction(**on) as tx:
        await tx.insert(Player("inserted"))
    async with transaction(**on) as tx:
        said.append(await tx.delete(Player, "inserted"))
        said.append(await tx.get_or_none(Player, "inserted"))
    return said


async def _double(tx: Transaction, name: str) -> int:
    player = await tx.get(Player, name)
    player.level *= 2
    return int(player.level)


async def _search(on: dict[str, Any]) -> list[Any]:
    walked = [player.name async for player in iterate(Player, Player.level == 1, **on)]
    found = await find(Player, Player.notes["by"] == "pipeline", Player.stats.wins > 2, **on)
    return [
        await count(Player, **on),
        await count(Player, Player.level > 1, **on),
        await count(Visit, **on),
        await find(Player, Player.coins > 5, order_by=[desc(Player.coins), paths(Player).name], limit=13, **on),
        await find_one(Player, Player.motto != "", order_by=paths(Player).name, **on),
        sorted(walked),
        sorted(player.name for player in found),
        [await get(Player, name, **on) for name in NAMES],
        (await upgrade_all(Player, **on)).done,
    ]
