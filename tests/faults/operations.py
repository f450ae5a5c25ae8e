"""Every public operation as one piece of work on the same small world, for tests that break each of its steps.

The world is one player with something in every place, and two accounts. Each piece of work makes at most one commit,
so that only two worlds can follow: the one before and the one after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import redis

from rapyer_core import (
    NotFound,
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
    rank,
    ref,
    reload,
    remove,
    save,
    save_many,
    top,
    transact,
    transaction,
    verify,
)
from tests.commits.models import Account, Player, full

Work = Callable[[Player, bool], Awaitable[Any]]
"""Does it with a loaded player. bool: exactly_once."""

World = dict[str, Any]
"""What is stored under each key, without tokens and locks."""

READS: dict[str, Work] = {}
WRITES: dict[str, Work] = {}


def _reads(work: Work) -> Work:
    READS[work.__name__] = work
    return work


def _writes(work: Work) -> Work:
    WRITES[work.__name__] = work
    return work


async def prepare(client: redis.Redis) -> Player:
    """The world, empty before; the loaded player."""
    client.flushdb()
    await save_many([full(score=3), Account("a", 100), Account("b", 100)], exactly_once=False)
    return await get(Player, "p")


def world(client: redis.Redis) -> World:
    """What is stored."""
    found: World = {}
    keys: Any = client.keys("*")
    for key in sorted(keys):
        name = key.decode()
        if "}token:" in name or "}lock:" in name:
            continue
        found[name] = client.hgetall(key) if client.type(key) == b"hash" else client.zrange(key, 0, -1, withscores=True)
    return found


@dataclass
class Expected:
    """What a piece of work does undisturbed: worlds and local objects before and after it, and its result."""

    before: World
    after: World
    local_before: Player
    local_after: Player
    result: Any


async def expected(client: redis.Redis, work: Work, once: bool) -> Expected:
    """Do it undisturbed and see."""
    p = await prepare(client)
    before, local = world(client), deepcopy(p)
    result = await work(p, once)
    return Expected(before, world(client), local, deepcopy(p), result)


# -- reads --


@_reads
async def read_get(p: Player, once: bool) -> Any:
    return await get(Player, "p")


@_reads
async def read_many(p: Player, once: bool) -> Any:
    return await get_many(Account, ["a", "nobody", "b"])


@_reads
async def read_nothing(p: Player, once: bool) -> Any:
    with suppress(NotFound):
        await get(Account, "nobody")


@_reads
async def read_again(p: Player, once: bool) -> Any:
    await reload(p)
    return p.coins


@_reads
async def read_exists(p: Player, once: bool) -> Any:
    return await exists(p), await exists(Account, "nobody")


@_reads
async def read_or_create(p: Player, once: bool) -> Any:
    return await get_or_create(Account, "a")


@_reads
async def read_find(p: Player, once: bool) -> Any:
    found = await find(Account, Account.coins > 50, order_by=paths(Account).owner)
    return found, await find_one(Player, Player.score >= 3), await count(Account)


@_reads
async def read_iterate(p: Player, once: bool) -> Any:
    return sorted([one.owner async for one in iterate(Account)])


@_reads
async def read_index(p: Player, once: bool) -> Any:
    return await top(Player, Player.score, 3), await rank(p, Player.score)


@_reads
async def read_verify(p: Player, once: bool) -> Any:
    return await verify(Player, repair=True)


@_reads
async def read_transaction(p: Player, once: bool) -> Any:
    async with transaction() as tx:
        a, b = await tx.get(Account, "a"), await tx.get(Account, "b")
        return a.coins + b.coins


# -- writes: whole objects --


@_writes
async def save_new(p: Player, once: bool) -> Any:
    await save(Account("new", 7), exactly_once=once)


@_writes
async def save_over(p: Player, once: bool) -> Any:
    await save(full(coins=7, motto="other"), exactly_once=once)


@_writes
async def save_loaded(p: Player, once: bool) -> Any:
    p.coins += 5
    p.score += 5
    p.meta["new"] = "v"
    await save(p, exactly_once=once)


@_writes
async def save_several(p: Player, once: bool) -> Any:
    await save_many([Account("new", 7), Account("newer", 8)], exactly_once=once)


@_writes
async def insert_new(p: Player, once: bool) -> Any:
    await insert(Player("new", score=9), exactly_once=once)


@_writes
async def create(p: Player, once: bool) -> Any:
    return await get_or_create(Account("new", 7), exactly_once=once)


@_writes
async def delete_one(p: Player, once: bool) -> Any:
    return await delete(ref(Player, "p"), exactly_once=once)


@_writes
async def delete_several(p: Player, once: bool) -> Any:
    return await delete_many([ref(Account, "a"), ref(Account, "b"), ref(Account, "c")], exactly_once=once)


# -- writes: one field --


@_writes
async def assign_leaf(p: Player, once: bool) -> Any:
    await assign(p, Player.motto, "other", exactly_once=once)


@_writes
async def assign_indexed(p: Player, once: bool) -> Any:
    await assign(p, Player.score, 50, exactly_once=once)


@_writes
async def assign_tree(p: Player, once: bool) -> Any:
    await assign(p, Player.numbers, [7, 8], exactly_once=once)


@_writes
async def increment_blind(p: Player, once: bool) -> Any:
    return await increment(p, Player.coins, 5, exactly_once=once)


@_writes
async def increment_nested(p: Player, once: bool) -> Any:
    return await increment(ref(Player, "p"), Player.stats.wins, 5, exactly_once=once)


@_writes
async def increment_float(p: Player, once: bool) -> Any:
    return await increment(p, Player.ratio, 0.1, exactly_once=once)


@_writes
async def increment_indexed(p: Player, once: bool) -> Any:
    return await increment(p, Player.score, 5, exactly_once=once)


@_writes
async def modify_leaf(p: Player, once: bool) -> Any:
    return await modify(p, Player.motto, str.upper, exactly_once=once)


@_writes
async def append_one(p: Player, once: bool) -> Any:
    await append(p, Player.numbers, 4, exactly_once=once)


@_writes
async def extend_list(p: Player, once: bool) -> Any:
    await extend(p, Player.numbers, [4, 5], exactly_once=once)


@_writes
async def insert_in_list(p: Player, once: bool) -> Any:
    await insert_at(p, Player.numbers, 1, 9, exactly_once=once)


@_writes
async def pop_element(p: Player, once: bool) -> Any:
    return await pop(p, Player.numbers, exactly_once=once)


@_writes
async def pop_entry(p: Player, once: bool) -> Any:
    return await pop(p, Player.meta, "k", exactly_once=once)


@_writes
async def remove_element(p: Player, once: bool) -> Any:
    await remove(p, Player.numbers, 2, exactly_once=once)


@_writes
async def clear_dict(p: Player, once: bool) -> Any:
    await clear(p, Player.bench, exactly_once=once)


@_writes
async def put_entry(p: Player, once: bool) -> Any:
    await put(p, Player.meta, "new", "v", exactly_once=once)


@_writes
async def merge_dict(p: Player, once: bool) -> Any:
    await merge(p, Player.counters, {"k": 2, "new": 3}, exactly_once=once)


@_writes
async def add_members(p: Player, once: bool) -> Any:
    await add(p, Player.tags, "x", "y", exactly_once=once)


@_writes
async def discard_member(p: Player, once: bool) -> Any:
    await discard(p, Player.tags, "t", exactly_once=once)


# -- writes: blocks --


@_writes
async def pipeline_blind(p: Player, once: bool) -> Any:
    async with pipeline(p, exactly_once=once) as d:
        d.coins += 5
        d.score += 5
        d.numbers.append(4)


@_writes
async def pipeline_checked(p: Player, once: bool) -> Any:
    async with pipeline(p, ref(Account, "a"), exactly_once=once) as (d, a):
        if a.coins >= 5:
            a.coins -= 5
            d.coins += 5


async def _transfer(tx: Transaction) -> int:
    a, b = await tx.get(Account, "a"), await tx.get(Account, "b")
    if a.coins >= 5:
        a.coins -= 5
        b.coins += 5
    await tx.insert(Account("new", 1))
    return a.coins


@_writes
async def transact_function(p: Player, once: bool) -> Any:
    return await transact(_transfer, exactly_once=once)


@_writes
async def transaction_block(p: Player, once: bool) -> Any:
    async with transaction(exactly_once=once) as tx:
        await _transfer(tx)
        await tx.delete(Player, "p")


@_writes
async def lock_two(p: Player, once: bool) -> Any:
    async with lock(ref(Account, "a"), ref(Account, "b"), name="x", lease=5, timeout=5, exactly_once=once) as (a, b):
        a.coins -= 5
        b.coins += 5


@_writes
async def lock_nested(p: Player, once: bool) -> Any:
    async with lock(p, name="x", lease=5, timeout=5, exactly_once=once) as d:
        d.coins += 5
        async with lock(ref(Account, "a"), name="x", lease=5, timeout=5) as a:
            a.coins -= 5
