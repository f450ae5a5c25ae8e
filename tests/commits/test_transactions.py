"""Transactions: several models, absence, creation, deletion, retries; and how many round trips a draft takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rapyer_core import (
    AlreadyExists,
    Conflict,
    ConstraintError,
    NotFound,
    assign,
    delete,
    exists,
    get,
    get_or_create,
    increment,
    insert,
    open_session,
    pipeline,
    pk_of,
    ref,
    save,
    top,
    transact,
    transaction,
    verify,
)
from rapyer_core.sessions import RESERVED
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Player, full
from tests.support.proxy import Proxy

pytestmark = pytest.mark.also_restricted


@pytest.fixture(autouse=True)
async def _stored(session: Any) -> None:
    await save(Account("a", 100))
    await save(Account("b", 100))
    await save(full())


async def coins(name: str) -> int:
    return (await get(Account, name)).coins


async def test_objects_of_several_models_change_together() -> None:
    async with transaction() as tx:
        a, p = await tx.get(Account, "a"), await tx.get(Player, "p")
        a.coins -= 10
        p.coins += 10
        p.score = 7
        await tx.insert(Player("new", score=9))
        assert await tx.delete(Account, "b") is True
        assert (await coins("a"), await exists(Player, "new"), await exists(Account, "b")) == (100, False, True)
    assert (await coins("a"), (await get(Player, "p")).coins) == (90, 110)
    assert [player.name for player in await top(Player, Player.score, 5)] == ["new", "p"]
    assert not await exists(Account, "b")
    report = await verify(Player)
    assert (report.phantoms, report.missing) == ((), ())


async def test_an_exception_writes_nothing() -> None:
    made, gone = Player("new"), await get(Account, "b")
    with pytest.raises(ZeroDivisionError):
        async with transaction() as tx:
            (await tx.get(Account, "a")).coins -= 10
            await tx.insert(made)
            await tx.delete(gone)
            raise ZeroDivisionError
    assert (await coins("a"), await coins("b"), await exists(made)) == (100, 100, False)
    await save(gone)
    await insert(made)


async def test_the_same_object_is_the_same_draft() -> None:
    async with transaction() as tx:
        first, again = await tx.get(Account, "a"), await tx.get(Account, "a")
        first.coins += 1
        again.coins += 1
        assert first == again
        assert first.coins == 102
        many = await tx.get_many(Account, ["b", "nobody", "a"])
        assert [None if one is None else one.owner for one in many] == ["b", None, "a"]
    assert await coins("a") == 102


async def test_absence_is_a_read() -> None:
    with pytest.raises(Conflict) as caught:
        async with transaction() as tx:
            assert await tx.get_or_none(Account, "c") is None
            (await tx.get(Account, "a")).coins += 1
            await save(Account("c"))
    assert caught.value.fields == ("~",)
    assert await coins("a") == 100
    with pytest.raises(Conflict):
        async with transaction() as tx:
            with pytest.raises(NotFound):
                await tx.get(Account, "d")
            (await tx.get(Account, "a")).coins += 1
            await save(Account("d"))


async def test_presence_is_a_read() -> None:
    with pytest.raises(Conflict):
        async with transaction() as tx:
            (await tx.get(Account, "a")).coins += 1
            await delete(ref(Account, "a"))
    runs = 0

    async def work(tx: Transaction) -> bool:
        nonlocal runs
        runs += 1
        found = await tx.get_or_none(Account, "b")
        if found is None:
            return False
        found.coins += 1
        if runs == 1:
            await delete(ref(Account, "b"))
        return True

    assert await transact(work) is False
    assert (runs, await exists(Account, "b")) == (2, False)


async def test_a_transaction_that_only_reads_is_validated() -> None:
    for read_one in (True, False):
        with pytest.raises(Conflict):
            async with transaction() as tx:
                a = await tx.get(Account, "a")
                assert a.coins >= 100
                if not read_one:
                    assert (await tx.get(Account, "b")).coins == 100
                await increment(ref(Account, "a"), Account.coins, 1)
    with pytest.raises(Conflict):
        async with pipeline(ref(Account, "a")) as a:
            assert a.coins >= 100
            await increment(ref(Account, "a"), Account.coins, 1)


async def test_a_total_is_never_of_two_times() -> None:
    """Readers of both accounts never see a transfer half done."""
    done = asyncio.Event()

    async def move(tx: Transaction, amount: int) -> None:
        (await tx.get(Account, "a")).coins -= amount
        (await tx.get(Account, "b")).coins += amount

    async def total(tx: Transaction) -> int:
        a, b = await tx.get(Account, "a"), await tx.get(Account, "b")
        await asyncio.sleep(0)
        return a.coins + b.coins

    async def movers() -> None:
        for amount in range(100):
            await transact(move, amount % 7 - 3)
        done.set()

    async def readers() -> None:
        while not done.is_set():
            assert await transact(total) == 200

    await asyncio.gather(movers(), readers(), readers())


async def test_delete_then_insert_replaces() -> None:
    async with transaction() as tx:
        old = await tx.get(Account, "a")
        assert await tx.delete(old) is True
        assert await tx.delete(Account, "a") is False
        assert await tx.get_or_none(Account, "a") is None
        with pytest.raises(NotFound):
            assert old.coins
        new = await tx.insert(Account("a", 7))
        new.coins += 1
        assert (await tx.get(Account, "a")).coins == 8
    assert await coins("a") == 8
    with pytest.raises(Conflict):
        async with transaction() as tx:
            old = await tx.get(Account, "a")
            assert old.coins == 8
            await tx.delete(old)
            await tx.insert(Account("a", 1))
            await increment(ref(Account, "a"), Account.coins, 1)
    assert await coins("a") == 9


async def test_insert_then_delete_is_nothing() -> None:
    async with transaction() as tx:
        made = await tx.insert(Account("c"))
        assert await tx.delete(made) is True
        assert await tx.get_or_none(Account, "c") is None
    assert not await exists(Account, "c")


async def test_insert_of_what_is_there() -> None:
    with pytest.raises(AlreadyExists):
        async with transaction() as tx:
            (await tx.get(Account, "b")).coins += 1
            await tx.insert(Account("a"))
    assert await coins("b") == 100
    async with transaction() as tx:
        found = await tx.get(Account, "a")
        with pytest.raises(TypeError, match="already"):
            await tx.insert(Account("a"))
        with pytest.raises(TypeError):
            await tx.insert(found)
        with pytest.raises(TypeError, match="draft"):
            await tx.save(Account("a"))


async def test_of_fifty_that_look_and_insert_one_creates() -> None:
    @transaction()
    async def work(tx: Transaction) -> bool:
        if await tx.get_or_none(Account, "new") is not None:
            return False
        await tx.insert(Account("new"))
        return True

    assert sum(await asyncio.gather(*(work() for _ in range(50)))) == 1
    created = await asyncio.gather(*(get_or_create(Account("newer", number)) for number in range(50)))
    assert sum(one for _, one in created) == 1
    inserted = await asyncio.gather(*(insert(Account("newest")) for _ in range(50)), return_exceptions=True)
    assert sum(one is None for one in inserted) == 1
    assert all(one is None or isinstance(one, AlreadyExists) for one in inserted)


async def test_plain_objects_are_saved_with_the_commit() -> None:
    p = await get(Player, "p")
    fresh = Player("fresh", wins=1)
    async with transaction() as tx:
        await tx.save(p)
        await tx.save(fresh)
        (await tx.get(Account, "a")).coins += 1
        p.wins = 5
        await assign(ref(Player, "p"), Player.motto, "kept")
    found = await get(Player, "p")
    assert (found.wins, found.motto, (await get(Player, "fresh")).wins) == (5, "kept", 1)
    p.coins = 3
    await save(p)
    with pytest.raises(Conflict) as caught:
        async with transaction() as tx:
            p.wins = 6
            await tx.save(p)
            (await tx.get(Account, "a")).coins += 1
            await assign(ref(Player, "p"), Player.wins, 50)
    assert caught.value.fields == ("wins",)
    assert await coins("a") == 101


async def test_an_object_is_saved_once_in_a_block_and_has_no_draft_there() -> None:
    one, two = await get(Account, "a"), await get(Account, "a")
    one.coins = 5
    with pytest.raises(TypeError, match=r"Account\(a\) is in this block already: another instance"):
        async with transaction() as tx:
            await tx.save(one)
            await tx.save(one)
            await tx.save(two)
    looks: list[Callable[[Transaction], Awaitable[Any]]] = [
        lambda tx: tx.get(Account, "a"),
        lambda tx: tx.get_many(Account, ["b", "a"]),
        lambda tx: tx.delete(one),
    ]
    for look in looks:
        with pytest.raises(TypeError, match=r"Account\(a\) was given to save"):
            async with transaction() as tx:
                await tx.save(one)
                await look(tx)
    assert await coins("a") == 100


async def test_a_block_is_entered_once() -> None:
    """Or two tasks would commit each other's half."""
    shared = transaction()

    async def add(name: str) -> None:
        async with shared as tx:
            (await tx.get(Account, name)).coins += 1

    first, second = await asyncio.gather(add("a"), add("b"), return_exceptions=True)
    assert (first, type(second)) == (None, RuntimeError)
    both = pipeline(ref(Account, "b"))
    async with both as draft:
        draft.coins += 1
        with pytest.raises(RuntimeError, match="entered once"):
            async with both as draft:
                draft.coins += 1
    with pytest.raises(RuntimeError, match="entered once"):
        async with both:
            pass
    assert (await coins("a"), await coins("b")) == (101, 101)


async def test_local_objects_follow_what_was_committed() -> None:
    made, gone = Account("c", 5), await get(Account, "b")
    async with transaction() as tx:
        draft = await tx.insert(made)
        draft.coins += 1
        await tx.delete(gone)
    assert made.coins == 6
    await save(made)
    assert await coins("c") == 6
    made.coins = 8
    await save(made)
    assert await coins("c") == 8
    await save(gone)
    assert await coins("b") == 100


async def test_an_inserted_object_shows_what_its_draft_became_and_keeps_what_was_changed_beside() -> None:
    made = Player("new", numbers=[1], meta={"a": "b"})
    async with transaction() as tx:
        draft = await tx.insert(made)
        draft.numbers.append(2)
        draft.meta["c"] = "d"
        draft.stats.wins += 1
        made.score = 9
    assert (made.numbers, made.meta, made.stats.wins, made.score) == ([1, 2], {"a": "b", "c": "d"}, 1, 9)
    stored = await get(Player, "new")
    assert (stored.numbers, stored.meta, stored.stats.wins, stored.score) == ([1, 2], {"a": "b", "c": "d"}, 1, 0)
    await save(made)
    assert await get(Player, "new") == made


async def test_an_object_that_was_saved_in_the_transaction_can_be_got_as_a_draft() -> None:
    made = Account("c", 5)
    async with transaction() as tx:
        await tx.save(made)
        draft = await tx.get(Account, "c")
        draft.coins += 1
        assert (draft.coins, pk_of(draft)) == (6, "c")
    assert (made.coins, await coins("c")) == (6, 6)

    async with transaction() as tx:
        await tx.save(Account("a", 5))
        assert await tx.delete(Account, "a") is True
    assert not await exists(Account, "a")

    loaded = await get(Account, "b")
    loaded.coins = 1
    with pytest.raises(TypeError, match=r"Account\(b\) was given to save in this block"):
        async with transaction() as tx:
            await tx.save(loaded)
            await tx.get(Account, "b")
    assert await coins("b") == 100


async def test_nothing_can_be_added_after_the_end() -> None:
    async with transaction() as tx:
        a = await tx.get(Account, "a")
    for late in (tx.get(Account, "b"), tx.insert(Account("z")), tx.delete(Account, "a"), tx.save(Account("z"))):
        with pytest.raises(ConstraintError, match="over"):
            await late
    with pytest.raises(ConstraintError, match="over"):
        a.coins += 1


async def test_tasks_started_in_a_block_do_not_join_it() -> None:
    async with transaction() as tx:
        a = await tx.get(Account, "a")

        async def other() -> None:
            await increment(ref(Account, "b"), Account.coins, 1)
            async with transaction() as mine:
                (await mine.get(Account, "b")).coins += 1

        await asyncio.create_task(other())
        assert await coins("b") == 102
        a.coins += 1
    assert (await coins("a"), await coins("b")) == (101, 102)


async def test_the_decorator_and_transact_run_again_until_they_come_through() -> None:
    runs = 0

    @transaction()
    async def work(tx: Transaction, name: str, *, by: int) -> int:
        nonlocal runs
        runs += 1
        a = await tx.get(Account, name)
        before = a.coins
        if runs < 4:
            await increment(ref(Account, name), Account.coins, 1)
        a.coins = before + by
        return before

    assert await work("a", by=10) == 103
    assert (runs, await coins("a")) == (4, 113)
    with pytest.raises(ValueError, match="mine"):
        await transact(_failing)


async def _failing(tx: Transaction) -> None:
    raise ValueError("mine")


@asynccontextmanager
async def behind(proxy: Proxy) -> AsyncIterator[Any]:
    async with open_session(proxy.url) as session:
        # The connection that all share is there already, and one to watch on.
        await exists(Account, "a", session=session)
        async with pipeline(ref(Account, "a"), session=session):
            pass
        proxy.clear()
        yield session


async def test_a_draft_takes_one_reading_and_one_commit(proxy: Proxy) -> None:
    async with behind(proxy) as session:
        async with pipeline(ref(Account, "a"), session=session) as a:
            a.coins += 1
            assert proxy.round_trips == 1
        assert proxy.round_trips == 2
        proxy.clear()
        async with pipeline(ref(Account, "a"), ref(Account, "b"), session=session) as (a, b):
            a.coins -= 1
            b.coins += a.coins
        assert proxy.round_trips == 2


async def test_a_draft_that_was_interfered_with_takes_two_more(proxy: Proxy) -> None:
    async with behind(proxy) as session:
        async with pipeline(ref(Account, "a"), session=session) as a:
            a.coins += 1
            await increment(ref(Account, "a"), Account.coins, 1)
        assert proxy.round_trips == 1 + 1 + 2


async def test_without_a_connection_to_spare_a_draft_takes_entry_and_two(proxy: Proxy) -> None:
    async with open_session(proxy.url, max_connections=1) as session:
        await exists(Account, "a", session=session)
        proxy.clear()
        async with pipeline(ref(Account, "a"), session=session) as a:
            a.coins += 1
        assert proxy.round_trips == 3


async def test_a_transaction_takes_its_readings_and_one(proxy: Proxy) -> None:
    async with behind(proxy) as session, transaction(session=session) as tx:
        for draft in await tx.get_many(Account, ["a", "b"]):
            assert draft is not None
            draft.coins += 1
        assert proxy.round_trips == 1
        (await tx.get(Player, "p")).coins += 1
        assert proxy.round_trips == 2
    assert proxy.round_trips == 3
    assert (await coins("a"), await coins("b"), (await get(Player, "p")).coins) == (101, 101, 101)


async def test_a_transaction_that_also_writes_what_it_has_not_read_takes_two_more(proxy: Proxy) -> None:
    async with behind(proxy) as session, transaction(session=session) as tx:
        (await tx.get(Account, "a")).coins += 1
        await tx.insert(Account("new", 1))
    assert proxy.round_trips == 1 + 2
    assert (await coins("a"), await coins("new")) == (101, 1)


@pytest.mark.parametrize("name", ["a", "b"])
async def test_a_transaction_notices_what_changes_after_each_of_its_readings(name: str) -> None:
    with pytest.raises(Conflict) as caught:
        async with transaction() as tx:
            first = await tx.get(Account, "a")
            await increment(ref(Account, "a"), Account.coins, 1 if name == "a" else 0)
            second = await tx.get(Account, "b")
            await increment(ref(Account, "b"), Account.coins, 1 if name == "b" else 0)
            first.coins, second.coins = second.coins - 1, first.coins - 1
    assert caught.value.pk == name
    assert (await coins("a"), await coins("b")) == ((101, 100) if name == "a" else (100, 101))


async def test_many_tasks_in_line_for_one_object_run_their_functions_once() -> None:
    runs = 0

    async def step(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        account = await tx.get(Account, "a")
        account.coins = abs(account.coins) + 1

    async def task() -> None:
        for _ in range(10):
            await transact(step)

    await asyncio.gather(*[task() for _ in range(50)])
    assert await coins("a") == 600
    # All read at once at first, and most of them in vain; then they are in line.
    assert 500 <= runs < 650


async def test_a_transaction_inside_another_one_does_not_wait_for_it() -> None:
    async def inner(tx: Transaction) -> None:
        account = await tx.get(Account, "b")
        account.coins = abs(account.coins) + 1

    async def outer(tx: Transaction) -> None:
        account = await tx.get(Account, "a")
        account.coins = abs(account.coins) + 1
        await transact(inner)

    async def other(tx: Transaction) -> None:
        account = await tx.get(Account, "b")
        account.coins = abs(account.coins) + 1
        await transact(outer_of_b)

    async def outer_of_b(tx: Transaction) -> None:
        account = await tx.get(Account, "a")
        account.coins = abs(account.coins) + 1

    async def tasks(function: Any) -> None:
        for _ in range(5):
            await transact(function)

    async with asyncio.timeout(20):
        await asyncio.gather(*[tasks(function) for function in [outer, other] * 10])
    # What an inner transaction did stays, however often the outer one runs.
    assert await coins("a") >= 200
    assert await coins("b") >= 200


async def test_objects_read_at_the_same_time_are_each_their_own() -> None:
    async with transaction() as tx:
        a, p, b, nobody = await asyncio.gather(
            tx.get(Account, "a"), tx.get(Player, "p"), tx.get(Account, "b"), tx.get_or_none(Account, "c")
        )
        assert nobody is None
        assert (a.owner, b.owner, p.name) == ("a", "b", "p")
        a.coins, b.coins, p.coins = 1, 2, 3
    assert (await coins("a"), await coins("b"), (await get(Player, "p")).coins) == (1, 2, 3)


async def test_objects_read_at_the_same_time_are_compared_as_well() -> None:
    with pytest.raises(Conflict):
        async with transaction() as tx:
            a, b = await asyncio.gather(tx.get(Account, "a"), tx.get(Account, "b"))
            await increment(ref(Account, "b"), Account.coins, 1)
            a.coins = b.coins + 1
    assert (await coins("a"), await coins("b")) == (100, 101)


async def test_what_reads_at_the_same_time_in_line_makes_nobody_wait(session: Any) -> None:
    """The tasks that read are not the one that commits."""

    async def step(tx: Transaction) -> None:
        a, b = await asyncio.gather(tx.get(Account, "a"), tx.get(Account, "b"))
        a.coins, b.coins = b.coins - 1, a.coins - 1

    async def task() -> None:
        for _ in range(3):
            await transact(step)

    async with asyncio.timeout(RESERVED):
        await asyncio.gather(*[task() for _ in range(20)])
    assert await coins("a") + await coins("b") == 200 - 120


async def test_a_transaction_that_ends_while_something_is_read_keeps_no_connection(session: Any) -> None:
    for ticks in range(6):
        with pytest.raises((ConstraintError, asyncio.CancelledError)):
            async with transaction() as tx:
                (await tx.get(Account, "a")).coins += 1
                reading = asyncio.create_task(tx.get(Account, "b"))
                for _ in range(ticks):
                    await asyncio.sleep(0)
            await reading
            raise ConstraintError("it came in time")
        assert await coins("a") == 101 + ticks
        # Whoever watched gave the connection back: all of them are idle.
        assert len(session.loop.node.pool._idle) == len(session.loop.node.pool._links)
