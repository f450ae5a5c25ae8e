"""One call of everything that the library can do, with what it rarely does, too. No assertions: it must not fail."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import redis

from rapyer_core import (
    Index,
    Key,
    NotFound,
    Session,
    Transaction,
    add,
    append,
    assign,
    clear,
    count,
    delete,
    delete_many,
    discard,
    exists,
    extend,
    find,
    get_many,
    get_or_create,
    increment,
    insert,
    insert_at,
    iterate,
    lock,
    merge,
    modify,
    pipeline,
    pop,
    put,
    rank,
    redis_model,
    ref,
    reload,
    remove,
    save,
    save_many,
    top,
    transact,
    upgrade_all,
    verify,
)


@redis_model(ttl=60)
@dataclass
class Citizen:
    name: Key[str]
    score: Index[int] = 0
    level: int = 1
    names: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)


async def _rise(tx: Transaction, name: str) -> None:
    (await tx.get(Citizen, name)).level *= 2


async def everything(session: Session, admin: redis.Redis) -> None:
    """Whatever needs a command of its own is done here. admin: makes an object expire behind the library's back."""
    on: dict[str, Any] = {"session": session}
    alice = Citizen("alice")
    await save(alice, **on)
    await insert(Citizen("bob"), **on)
    await get_or_create(Citizen, "carol", **on)
    await save_many([Citizen("dave"), Citizen("erin", 2**60)], **on)
    for once in (False, True):
        await increment(alice, Citizen.score, 1, exactly_once=once, session=session)
        await increment(alice, Citizen.level, 1, exactly_once=once, session=session)
    await assign(alice, Citizen.level, 5, **on)
    await modify(alice, Citizen.level, lambda level: level + 1, **on)
    await append(alice, Citizen.names, "a", **on)
    await extend(alice, Citizen.names, ["b", "c"], **on)
    await insert_at(alice, Citizen.names, 0, "z", **on)
    await pop(alice, Citizen.names, **on)
    await remove(alice, Citizen.names, "z", **on)
    await put(alice, Citizen.notes, "k", "v", **on)
    await merge(alice, Citizen.notes, {"a": "b"}, **on)
    await remove(alice, Citizen.notes, "k", **on)
    await add(alice, Citizen.tags, "x", "y", **on)
    await discard(alice, Citizen.tags, "x", **on)
    await clear(alice, Citizen.tags, **on)
    async with pipeline(alice, **on) as draft:
        draft.level += 1
        await increment(ref(Citizen, "alice"), Citizen.level, 1, **on)
    await transact(_rise, "alice", **on)
    async with lock(alice, ref(Citizen, "bob"), name="t", lease=0.3, **on) as (a, _):
        a.level += 1
        await asyncio.sleep(0.2)
    for block in (lock(alice, name="t", **on), pipeline(alice, **on)):
        with suppress(KeyError):
            async with block:
                raise KeyError
    for number in range(2):
        # The second meets the connection that the block above left with a WATCH on it.
        with suppress(NotFound):
            await increment(ref(Citizen, f"nobody {number}"), Citizen.level, 1, **on)
    await reload(alice, **on)
    alice.level = 3
    await save(alice, **on)
    await find(Citizen, Citizen.score > 0, Citizen.level < 9, **on)
    await find(Citizen, order_by=Citizen.score, limit=2, **on)
    await count(Citizen, **on)
    async for _ in iterate(Citizen, **on):
        pass
    await top(Citizen, Citizen.score, 2, **on)
    await rank(alice, Citizen.score, **on)
    await rank(ref(Citizen, "erin"), Citizen.score, **on)
    await upgrade_all(Citizen, **on)
    await exists(alice, **on)
    await get_many(Citizen, ["alice", "bob"], **on)
    await _let_expire(session, admin)
    await verify(Citizen, repair=True, **on)
    await delete_many([ref(Citizen, name) for name in ("bob", "carol", "dave")], **on)
    await delete(alice, **on)


async def _let_expire(session: Session, admin: redis.Redis) -> None:
    """An object is gone whose index entry is due to be taken away."""
    prefix = session.context.prefix
    admin.zadd(f"{prefix}~Citizen:expiry", {"erin": 0})
    admin.delete(f"{prefix}Citizen:erin")
    await top(Citizen, Citizen.score, 2, session=session)
