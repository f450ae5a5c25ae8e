"""Locks: exclusion, nesting, order, leases, fences; and that nothing of a lock is left behind."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis

from rapyer_core import (
    Conflict,
    LockLost,
    LockTimeout,
    NotFound,
    delete,
    find,
    get,
    increment,
    lock,
    open_session,
    ref,
    save,
)
from tests.commits.models import Account

KEY = b"~{Account:a}lock:lock"


@pytest.fixture(autouse=True)
async def _stored(session: Any, redis_client: redis.Redis) -> Any:
    for name in "abc":
        await save(Account(name, 100))
    yield
    assert redis_client.keys("~*lock*") == []


def account(name: str) -> Account:
    return ref(Account, name)


async def coins(name: str = "a") -> int:
    return (await get(Account, name)).coins


async def test_a_lock_excludes_others() -> None:
    """The counter is outside of Redis: without the lock updates would be lost."""
    counter = 0

    async def work(locked: bool) -> None:
        nonlocal counter
        if locked:
            async with lock(account("a")):
                read = counter
                await asyncio.sleep(0.001)
                counter = read + 1
        else:
            read = counter
            await asyncio.sleep(0.001)
            counter = read + 1

    await asyncio.gather(*(work(False) for _ in range(20)))
    assert counter < 20
    counter = 0
    await asyncio.gather(*(work(True) for _ in range(20)))
    assert counter == 20


async def test_sessions_exclude_each_other(url: str) -> None:
    """Sessions know nothing of each other: the server decides."""
    inside = most = 0
    async with open_session(url) as one, open_session(url) as two:

        async def work(number: int) -> None:
            nonlocal inside, most
            async with lock(account("a"), session=(one, two)[number % 2]) as a:
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.001)
                a.coins = a.coins + 1
                inside -= 1

        await asyncio.gather(*(work(number) for number in range(20)))
    assert (most, await coins()) == (1, 120)


async def test_names_and_objects_do_not_exclude_each_other() -> None:
    async with lock(account("a"), name="one"):

        async def other() -> None:
            async with lock(account("a"), name="two", timeout=1), lock(account("b"), name="one", timeout=1):
                pass

        await asyncio.wait_for(asyncio.create_task(other()), 2)


async def test_a_lock_that_is_not_to_be_had_is_a_timeout(url: str) -> None:
    async with lock(account("a"), name="n"):
        for session in (None, url):
            start = time.monotonic()

            async def other(session: str | None = session) -> None:
                if session is None:
                    async with lock(account("a"), name="n", timeout=0.2):
                        pass
                else:
                    async with (
                        open_session(session) as opened,
                        lock(account("a"), name="n", timeout=0.2, session=opened),
                    ):
                        pass

            with pytest.raises(LockTimeout) as caught:
                await asyncio.create_task(other())
            assert isinstance(caught.value, TimeoutError)
            assert (caught.value.name, caught.value.pk) == ("n", "a")
            assert 0.15 < caught.value.waited <= time.monotonic() - start < 1


async def test_one_commit_at_the_end_of_the_outermost_block(redis_client: redis.Redis) -> None:
    local = await get(Account, "a")
    async with lock(local) as a:
        a.coins -= 10
        async with lock(account("b")) as b:
            b.coins += 10
            async with lock(account("a")) as again:
                again.coins -= 1
                assert a.coins == 89
        assert (await coins("a"), await coins("b")) == (100, 100)
        assert len(redis_client.keys("~*lock*")) == 2
    assert (await coins("a"), await coins("b"), local.coins) == (89, 110, 89)


async def test_an_inner_block_left_by_an_exception_drops_its_own_records_only() -> None:
    async with lock(account("a")) as a:
        a.coins -= 10
        with pytest.raises(ZeroDivisionError):
            async with lock(account("b"), account("a")) as (b, same):
                b.coins += 10
                same.coins -= 50
                raise ZeroDivisionError
        assert a.coins == 90
        a.coins -= 1
    assert (await coins("a"), await coins("b")) == (89, 100)


async def test_an_exception_in_the_outermost_block_writes_nothing() -> None:
    with pytest.raises(ZeroDivisionError):
        async with lock(account("a"), account("b")) as (a, _):
            a.coins -= 10
            async with lock(account("c")) as c:
                c.coins += 10
            raise ZeroDivisionError
    assert [await coins(name) for name in "abc"] == [100, 100, 100]


async def test_a_failed_inner_lock_leaves_the_outer_one_as_it_was() -> None:
    holding, done = asyncio.Event(), asyncio.Event()

    async def holder() -> None:
        async with lock(account("b")):
            holding.set()
            await done.wait()

    task = asyncio.create_task(holder())
    await holding.wait()
    async with lock(account("a")) as a:
        a.coins -= 1
        for _ in range(2):
            with pytest.raises(LockTimeout):
                async with lock(account("b"), timeout=0.05):
                    pass
        done.set()
        await task
        async with lock(account("b"), timeout=1) as b:
            b.coins += 1
        with pytest.raises(NotFound):
            async with lock(account("nobody")):
                pass
    assert (await coins("a"), await coins("b")) == (99, 101)


async def test_opposite_orders_both_end() -> None:
    async def move(source: str, to: str) -> bool:
        try:
            async with lock(account(source), timeout=0.5) as a:
                await asyncio.sleep(0.01)
                async with lock(account(to), timeout=0.5) as b:
                    a.coins -= 7
                    b.coins += 7
        except LockTimeout:
            return False
        return True

    moved = await asyncio.wait_for(asyncio.gather(move("a", "b"), move("b", "a")), 5)
    assert any(moved)
    assert (await coins("a"), await coins("b")) == ((100, 100) if all(moved) else (93, 107) if moved[0] else (107, 93))


async def test_several_objects_are_locked_in_one_order_whatever_was_asked() -> None:
    async def move(source: str, to: str) -> None:
        async with lock(account(source), account(to), timeout=5) as (a, b):
            await asyncio.sleep(0)
            a.coins -= 1
            b.coins += 1

    await asyncio.gather(*(move(*pair) for pair in ("ab", "ba", "bc", "cb", "ca", "ac") for _ in range(5)))
    assert sum([await coins(name) for name in "abc"]) == 300


async def test_tasks_started_inside_do_not_inherit_the_lock() -> None:
    async with lock(account("a")):

        async def inner() -> None:
            async with lock(account("a"), timeout=0.05):
                pass

        with pytest.raises(LockTimeout):
            await asyncio.create_task(inner())


async def test_a_lock_block_is_entered_once() -> None:
    block = lock(account("a"))
    async with block:
        pass
    with pytest.raises(RuntimeError):
        async with block:
            pass


async def test_writers_without_the_lock_are_a_conflict_when_read_and_none_when_not() -> None:
    with pytest.raises(Conflict) as caught:
        async with lock(account("a")) as a:
            if a.coins >= 10:
                a.coins -= 10
            await increment(account("a"), Account.coins, -95)
    assert caught.value.fields == ("coins",)
    assert await coins() == 5
    async with lock(account("a")) as a:
        a.coins += 10
        await increment(account("a"), Account.coins, 1)
    assert await coins() == 16


async def test_a_commit_without_the_lock_is_refused(redis_client: redis.Redis) -> None:
    key = b"~{Account:b}lock:n"
    for steal in (True, False):
        with pytest.raises(LockLost) as caught:
            async with lock(account("a"), account("b"), name="n") as (a, b):
                a.coins += 1
                b.coins += 1
                redis_client.delete(key)
                if steal:
                    redis_client.set(key, "another")
        assert caught.value.name == "n"
        assert caught.value.pk == "b"
        assert await coins() == 100
        # What another one holds is never taken away.
        assert redis_client.delete(key) == steal


async def test_a_lock_is_renewed_while_the_block_runs(redis_client: redis.Redis) -> None:
    async with lock(account("a"), lease=0.3) as a, lock(account("b"), lease=0.15) as b:
        token = redis_client.get(KEY)
        for _ in range(12):
            await asyncio.sleep(0.05)
            assert redis_client.get(KEY) == token
        a.coins += 1
        b.coins += 1
    assert (await coins("a"), await coins("b")) == (101, 101)


async def test_a_lock_always_has_an_end(redis_client: redis.Redis) -> None:
    async with lock(account("a"), lease=3):
        assert 0 < redis_client.pttl(KEY) <= 3000


async def test_a_lock_key_is_no_object() -> None:
    async with lock(account("a"), account("b"), name="Account:x"):
        assert sorted(one.owner for one in await find(Account)) == ["a", "b", "c"]


async def test_deleted_under_the_lock() -> None:
    with pytest.raises(NotFound):
        async with lock(account("a")) as a:
            a.coins += 1
            await delete(account("a"))


async def test_bad_arguments_take_nothing() -> None:
    for bad in ({"lease": 0}, {"timeout": -1}):
        with pytest.raises(ValueError, match="seconds"):
            lock(account("a"), **bad)  # type: ignore[call-overload]  # the point of the test
    for name in ("", "{x}", "a\n", "x" * 129):
        with pytest.raises(ValueError, match="lock name"):
            async with lock(account("a"), name=name):
                pass
    with pytest.raises(TypeError):
        lock()  # type: ignore[call-overload]  # the point of the test


async def test_a_cancelled_block_gives_its_lock_back() -> None:
    entered = asyncio.Event()

    async def holder() -> None:
        async with lock(account("a")) as a:
            a.coins += 1
            entered.set()
            await asyncio.sleep(30)

    task = asyncio.create_task(holder())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with lock(account("a"), timeout=1) as a:
        assert a.coins == 100
