"""Many tasks at once on one object: every update is kept, on default settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rapyer_core import (
    Conflict,
    PoolTimeout,
    Retry,
    append,
    get,
    increment,
    lock,
    modify,
    open_session,
    pipeline,
    put,
    ref,
    save,
    transact,
    transaction,
)
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Award, Player

pytestmark = pytest.mark.one_server

MANY = 50


async def at_once(work: Callable[[int], Awaitable[Any]], times: int = MANY) -> list[Any]:
    return await asyncio.gather(*(work(number) for number in range(times)))


@pytest.fixture(autouse=True)
async def _player(session: Any) -> None:
    await save(Player("p", coins=100))


async def player() -> Player:
    return await get(Player, "p")


async def test_in_place_additions_in_a_pipeline() -> None:
    async def work(_: int) -> None:
        async with pipeline(ref(Player, "p")) as d:
            d.score += 2
            d.stats.wins += 1

    await at_once(work)
    found = await player()
    assert (found.score, found.stats.wins) == (2 * MANY, MANY)


async def test_additions_spelled_out() -> None:
    async def work(_: int) -> None:
        async with pipeline(ref(Player, "p")) as d:
            d.score = d.score + 1
            d.wins = 2 + d.wins
            d.coins = d.coins - 1

    await at_once(work)
    found = await player()
    assert (found.score, found.wins, found.coins) == (MANY, 2 * MANY, 100 - MANY)


async def test_float_decimal_text_and_optional_in_place() -> None:
    await save(Player("p", best=0, limit=0.0))

    async def work(_: int) -> None:
        async with pipeline(ref(Player, "p")) as d:
            d.ratio += 0.5
            d.motto += "x"
            d.best += 1  # type: ignore[operator]  # Optional: a None raises
            d.limit += 0.25  # type: ignore[operator]  # Optional: a None raises

    await at_once(work)
    found = await player()
    assert (found.ratio, found.motto, found.best, found.limit) == (0.5 * MANY, "x" * MANY, MANY, 0.25 * MANY)


async def test_appends_in_a_pipeline() -> None:
    async def work(number: int) -> None:
        async with pipeline(ref(Player, "p")) as d:
            d.numbers.append(number)

    await at_once(work)
    assert sorted((await player()).numbers) == list(range(MANY))


async def test_different_keys_of_one_dict() -> None:
    async def work(number: int) -> None:
        async with pipeline(ref(Player, "p")) as d:
            d.meta[f"k{number}"] = str(number)
            d.tags.add(f"t{number}")

    await at_once(work)
    found = await player()
    assert found.meta == {f"k{number}": str(number) for number in range(MANY)}
    assert found.tags == {f"t{number}" for number in range(MANY)}


async def test_repository_functions() -> None:
    async def work(number: int) -> None:
        await increment(ref(Player, "p"), Player.score, 1)
        await modify(ref(Player, "p"), Player.wins, lambda wins: wins + 1)
        await append(ref(Player, "p"), Player.numbers, number)
        await put(ref(Player, "p"), Player.meta, str(number), "x")

    await at_once(work)
    found = await player()
    assert (found.score, found.wins, len(found.numbers), len(found.meta)) == (MANY, MANY, MANY, MANY)


async def test_a_checked_withdrawal_ends_at_exactly_zero() -> None:
    async def withdraw(tx: Transaction) -> int:
        p = await tx.get(Player, "p")
        if p.coins >= 10:
            p.coins -= 10
            return 1
        return 0

    taken = await at_once(lambda _: transact(withdraw))
    assert (sum(taken), (await player()).coins) == (10, 0)


async def test_an_award_is_given_once() -> None:
    @transaction()
    async def award(tx: Transaction) -> bool:
        p = await tx.get(Player, "p")
        if Award.FIRST in p.awards:
            return False
        p.awards.append(Award.FIRST)
        return True

    assert sum(await at_once(lambda _: award())) == 1
    assert (await player()).awards == [Award.FIRST]


NAMES = ["a", "b", "c", "d"]


async def _transfer(tx: Transaction, source: str, to: str, amount: int) -> None:
    a, b = await tx.get(Account, source), await tx.get(Account, to)
    if a.coins >= amount:
        a.coins -= amount
        b.coins += amount


async def test_transfers_under_transact_keep_the_sum() -> None:
    for name in NAMES:
        await save(Account(name, 100))
    await at_once(lambda n: transact(_transfer, NAMES[n % 4], NAMES[(n + 1 + n % 3) % 4], n))
    coins = [(await get(Account, name)).coins for name in NAMES]
    assert sum(coins) == 400
    assert min(coins) >= 0


async def test_transfers_under_locks_keep_the_sum() -> None:
    for name in NAMES:
        await save(Account(name, 100))

    async def work(n: int) -> None:
        source, to = NAMES[n % 4], NAMES[(n + 1 + n % 3) % 4]
        async with lock(ref(Account, source), ref(Account, to), name="transfer") as (a, b):
            if a.coins >= n:
                a.coins -= n
                b.coins += n

    await at_once(work)
    coins = [(await get(Account, name)).coins for name in NAMES]
    assert sum(coins) == 400
    assert min(coins) >= 0


async def test_a_thousand_tasks_raise_nothing() -> None:
    async def work(number: int) -> None:
        async with pipeline(ref(Player, "p")) as d:
            d.score += 1
        if number % 4 == 0:
            await increment(ref(Player, "p"), Player.wins, 1)
        if number % 5 == 0:
            await append(ref(Player, "p"), Player.numbers, number)

    await at_once(work, 1000)
    found = await player()
    assert (found.score, found.wins, len(found.numbers)) == (1000, 250, 200)


async def test_two_connections_serve_64_tasks_nested_calls_included(url: str) -> None:
    async with open_session(url, max_connections=2) as small:

        async def work(_: int) -> None:
            async with pipeline(ref(Player, "p"), session=small) as d:
                d.score += 1
                await increment(ref(Player, "p"), Player.wins, 1, session=small)

        await at_once(work, 64)
        assert len(small.loop.node.pool._links) <= 2
    found = await player()
    assert (found.score, found.wins) == (64, 64)


async def test_one_connection_is_enough_inside_a_block(url: str) -> None:
    async with open_session(url, max_connections=1, pool_timeout=2) as single:
        async with pipeline(ref(Player, "p"), session=single) as d:
            d.score += 1
            await increment(ref(Player, "p"), Player.wins, 1, session=single)
    assert (await player()).score == 1


async def test_a_full_pool_is_a_typed_error_and_recovers(url: str) -> None:
    async with open_session(url, max_connections=1, pool_timeout=0.05) as small:
        link = await small.loop.node.pool.acquire()
        with pytest.raises(PoolTimeout) as caught:
            await get(Player, "p", session=small)
        assert isinstance(caught.value, TimeoutError)
        assert (caught.value.size, caught.value.waited) == (1, 0.05)
        small.loop.node.pool.release(link)
        assert (await get(Player, "p", session=small)).coins == 100


async def test_a_long_transaction_comes_through_among_short_writers() -> None:
    stop = False
    counted = 0

    async def short(number: int) -> None:
        nonlocal counted
        while not stop:
            if number % 3 == 0:
                await increment(ref(Player, "p"), Player.wins, 1)
            elif number % 3 == 1:
                async with pipeline(ref(Player, "p")) as d:
                    d.wins += 1
            else:
                await transact(one_more)
            counted += 1

    async def one_more(tx: Transaction) -> None:
        (await tx.get(Player, "p")).wins += 1

    runs = 0

    async def long(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        p = await tx.get(Player, "p")
        seen = p.wins
        await asyncio.sleep(0.05)
        p.coins = seen

    tasks = [asyncio.create_task(short(number)) for number in range(MANY)]
    await asyncio.sleep(0.2)
    before = counted
    try:
        await asyncio.wait_for(transact(long), 20)
    finally:
        stop = True
        await asyncio.gather(*tasks)
    assert counted > before + MANY, "the others stood still: nothing was shown"
    assert runs <= 3
    assert (await player()).wins == counted


async def test_whoever_has_the_keys_may_write_them_in_other_ways_too() -> None:
    """A transaction that runs again has its keys to itself, and does not wait for itself."""
    runs = 0

    async def work(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        p = await tx.get(Player, "p")
        if runs == 1:
            assert p.coins == 100
            await increment(ref(Player, "p"), Player.coins, 1)
        else:
            await modify(ref(Player, "p"), Player.wins, lambda wins: wins + 1)
            await increment(ref(Player, "p"), Player.score, 1)
            await transact(again)
        p.motto = str(p.coins)

    async def again(tx: Transaction) -> None:
        (await tx.get(Player, "p")).score += 1

    start = time.monotonic()
    await transact(work)
    assert time.monotonic() - start < 1
    assert ((await player()).motto, (await player()).score, runs) == ("101", 2, 2)


async def test_a_conflict_at_the_deadline_says_attempts_and_fields(url: str) -> None:
    async def work(tx: Transaction) -> None:
        p = await tx.get(Player, "p")
        if p.coins:
            # A session of its own stands for another program.
            async with open_session(url) as other:
                await increment(ref(Player, "p"), Player.coins, 1, session=other)
        p.wins += 1

    with pytest.raises(Conflict) as caught:
        await transact(work, retry=Retry(deadline=0.3, cap=0.01))
    assert caught.value.attempts > 1
    assert caught.value.fields == ("coins",)
    assert (await player()).wins == 0


async def test_a_block_is_one_attempt_however_often_the_commit_was_sent() -> None:
    with pytest.raises(Conflict) as caught:
        async with pipeline(ref(Player, "p")) as p:
            if p.coins:
                p.wins += 1
            await increment(ref(Player, "p"), Player.coins, 1)
    assert (caught.value.attempts, caught.value.fields) == (1, ("coins",))


async def test_retry_attempts_are_counted() -> None:
    runs = 0

    async def work(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        raise Conflict(fields=("x",))

    with pytest.raises(Conflict) as caught:
        await transact(work, retry=Retry(attempts=3))
    assert (runs, caught.value.attempts) == (3, 3)
