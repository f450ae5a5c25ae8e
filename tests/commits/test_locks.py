"""Locks: exclusion, nesting, order, leases, fences; and that nothing of a lock is left behind."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import redis

from rapyer_core import (
    Conflict,
    LockLost,
    LockTimeout,
    NotFound,
    WrongKeyType,
    delete,
    find,
    get,
    increment,
    lock,
    open_session,
    pipeline,
    ref,
    save,
)
from rapyer_core.operations import locks
from rapyer_core.sessions import Session
from tests.commits.models import Account, full
from tests.support.proxy import Proxy

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


async def test_records_are_dropped_beside_a_field_that_cannot_be_read(redis_client: redis.Redis) -> None:
    player = full("x", coins=100)
    await save(player)
    redis_client.hset("Player:x", mapping={"wins": "not a number"})
    async with lock(player) as outer:
        outer.coins += 1
        outer.motto = "outer"
        outer.meta["a"] = "outer"
        with pytest.raises(ZeroDivisionError):
            async with lock(player, name="other") as inner:
                inner.coins += 50
                inner.motto += "inner"
                inner.meta.update(a="inner", b="inner")
                raise ZeroDivisionError
        assert (outer.coins, outer.motto) == (101, "outer")
        outer.coins += 1
    assert redis_client.hmget("Player:x", "coins", "motto", "meta.a", "meta.b", "wins") == [
        b"102",
        b"outer",
        b"outer",
        None,
        b"not a number",
    ]
    assert (player.coins, player.motto, player.meta) == (102, "outer", {"k": "v", "a": "outer"})


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


@pytest.mark.parametrize("name", ["a", "b"])
async def test_a_commit_without_the_lock_is_refused(redis_client: redis.Redis, name: str) -> None:
    key = b"~{Account:%b}lock:n" % name.encode()
    for steal in (True, False):
        with pytest.raises(LockLost) as caught:
            async with lock(account("a"), account("b"), name="n") as (a, b):
                a.coins += 1
                b.coins += 1
                redis_client.delete(key)
                if steal:
                    redis_client.set(key, "another")
        assert caught.value.name == "n"
        assert caught.value.pk == name
        assert (await coins("a"), await coins("b")) == (100, 100)
        # What another one holds is never taken away.
        assert redis_client.delete(key) == steal


async def test_a_lock_is_renewed_while_the_block_runs(redis_client: redis.Redis) -> None:
    async with lock(account("a"), lease=1) as a, lock(account("b"), lease=0.8) as b:
        token = redis_client.get(KEY)
        for _ in range(20):
            await asyncio.sleep(0.1)
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
    with pytest.raises(TypeError, match="a lock name is a str"):
        async with lock(account("a"), name=cast(Any, 5)):
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


# -- a lost lock is told at once --


def steal(client: redis.Redis, key: bytes = KEY) -> None:
    """Somebody else has the lock by now."""
    assert client.set(key, "another", px=60_000, xx=True)


def give_back(client: redis.Redis, key: bytes = KEY) -> None:
    assert client.getdel(key) == b"another"


async def test_the_block_is_cancelled_at_once_when_its_lock_is_lost(redis_client: redis.Redis) -> None:
    ended: list[str] = []
    start = time.monotonic()
    with pytest.raises(LockLost) as caught:
        async with lock(account("a"), lease=0.6) as a:
            a.coins += 1
            steal(redis_client)
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
    assert ended == ["cancelled"]
    assert time.monotonic() - start < 5
    assert (caught.value.name, caught.value.pk) == ("lock", "a")
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    # Nothing of the cancellation is left in the task.
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0
    await asyncio.sleep(0)
    give_back(redis_client)
    assert await coins() == 100


async def test_a_lock_lost_in_a_nested_block_ends_the_outermost(redis_client: redis.Redis) -> None:
    inner: list[BaseException] = []
    with pytest.raises(LockLost) as caught:
        async with lock(account("a"), lease=5) as a:
            a.coins += 1
            try:
                async with lock(account("b"), lease=0.3) as b:
                    b.coins += 1
                    redis_client.delete("~{Account:b}lock:lock")
                    await asyncio.sleep(30)
            except BaseException as error:
                inner.append(error)
                raise
    assert caught.value.pk == "b"
    assert [type(error) for error in inner] == [asyncio.CancelledError]
    assert [await coins(name) for name in "ab"] == [100, 100]


async def test_a_lock_lost_while_the_block_waits_for_another(redis_client: redis.Redis, url: str) -> None:
    async with open_session(url) as other, lock(account("b"), session=other):
        start = time.monotonic()
        with pytest.raises(LockLost) as caught:
            waiting = asyncio.create_task(_both())
            await until(lambda: redis_client.exists(KEY))
            redis_client.delete(KEY)
            await waiting
        assert caught.value.pk == "a"
        assert time.monotonic() - start < 5
    assert redis_client.keys("~*lock*") == []


async def _both() -> None:
    async with lock(account("a"), account("b"), lease=0.3, timeout=30):
        pytest.fail("b is held")


async def test_a_swallowed_cancellation_is_refused_all_the_same(redis_client: redis.Redis) -> None:
    with pytest.raises(LockLost):
        async with lock(account("a"), lease=0.3) as a:
            a.coins += 1
            redis_client.delete(KEY)
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                a.coins += 1
    assert await coins() == 100


async def test_a_foreign_cancellation_stays_one(redis_client: redis.Redis) -> None:
    """Of the holder's own task, at the very moment at which it is told of the loss, and before."""
    for lost_too in (False, True):
        entered, told = asyncio.Event(), asyncio.Event()

        async def holder(entered: asyncio.Event = entered, told: asyncio.Event = told) -> None:
            async with lock(account("a"), lease=0.3) as a:
                a.coins += 1
                entered.set()
                try:
                    await asyncio.sleep(30)
                finally:
                    told.set()
                    await asyncio.sleep(0)

        task = asyncio.create_task(holder())
        await entered.wait()
        if lost_too:
            redis_client.delete(KEY)
            await told.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
    assert await coins() == 100


async def test_timeouts_around_and_inside_a_lost_block_mean_what_they_say(redis_client: redis.Redis) -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.1):
            async with lock(account("a"), lease=5):
                await asyncio.sleep(30)
    assert not isinstance(caught.value, LockLost | LockTimeout)
    with pytest.raises(LockLost):
        async with asyncio.timeout(20):
            async with lock(account("a"), lease=0.3):
                redis_client.delete(KEY)
                async with asyncio.timeout(10):
                    await asyncio.sleep(30)


async def test_what_was_started_in_a_task_group_of_a_lost_block_ends_with_it(redis_client: redis.Redis) -> None:
    ended: list[int] = []

    async def helper(number: int) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(number)

    with pytest.raises(LockLost):
        async with lock(account("a"), lease=0.3) as a:
            a.coins += 1
            redis_client.delete(KEY)
            async with asyncio.TaskGroup() as group:
                for number in range(50):
                    group.create_task(helper(number))
    assert sorted(ended) == list(range(50))
    assert await coins() == 100


async def test_an_error_of_the_block_is_not_hidden_by_a_loss(redis_client: redis.Redis) -> None:
    with pytest.raises(ZeroDivisionError):
        async with lock(account("a"), lease=0.3):
            redis_client.delete(KEY)
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                raise ZeroDivisionError from None


@pytest.mark.one_server
async def test_fifty_blocks_that_lose_their_locks_touch_no_others(redis_client: redis.Redis) -> None:
    for number in range(100):
        await save(Account(f"t{number}", 0))

    told = 0
    all_told = asyncio.Event()

    async def work(number: int) -> str | None:
        nonlocal told
        try:
            async with lock(account(f"t{number}"), lease=6) as mine:
                mine.coins += 1
                if number % 2:
                    redis_client.delete(f"~{{Account:t{number}}}lock:lock")
                await all_told.wait()
        except LockLost as error:
            told += 1
            if told == 50:
                all_told.set()
            return str(error.pk)
        return None

    lost = await asyncio.gather(*(work(number) for number in range(100)))
    assert lost == [f"t{number}" if number % 2 else None for number in range(100)]
    assert [await coins(f"t{number}") for number in range(100)] == [int(one is None) for one in lost]


# -- waiting without asking again and again --


@asynccontextmanager
async def held_elsewhere(url: str, *names: str, **options: Any) -> AsyncIterator[Callable[[], Any]]:
    """Locks that another session holds; called, it gives them back."""
    async with open_session(url) as other:
        release = asyncio.Event()
        holding = asyncio.Event()

        async def hold() -> None:
            async with lock(*map(account, names), session=other, **options):
                holding.set()
                await release.wait()

        task = asyncio.create_task(hold())
        await holding.wait()
        try:
            yield release.set
        finally:
            release.set()
            await task


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that comes by itself."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


async def take(name: str = "a", **options: Any) -> float:
    """Take the lock and add one; when it was had."""
    async with lock(account(name), **{"timeout": 60, **options}) as found:
        found.coins += 1
        return time.monotonic()


async def test_a_waiter_is_told_and_does_not_poll(
    url: str, monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis, session: Session
) -> None:
    monkeypatch.setattr(locks, "RELIED_WAIT", 30.0)
    async with held_elsewhere(url, "a") as release:
        waiting = asyncio.create_task(take())
        await until(lambda: session.loop.listener.hears(KEY))
        await asyncio.sleep(0.1)
        before = redis_client.info("commandstats")["cmdstat_set"]["calls"]
        await asyncio.sleep(0.5)
        after = redis_client.info("commandstats")["cmdstat_set"]["calls"]
        assert after == before
        start = time.monotonic()
        release()
        assert await waiting - start < 5
    assert await coins() == 101
    # It is not listened to any longer than it is waited for.
    await until(lambda: redis_client.pubsub_numsub(KEY) == [(KEY, 0)])


async def test_a_lock_given_back_by_an_exception_or_a_cancellation_is_told_too(
    url: str, monkeypatch: pytest.MonkeyPatch, session: Session
) -> None:
    monkeypatch.setattr(locks, "RELIED_WAIT", 30.0)
    async with open_session(url) as other:
        for how in ("exception", "cancelled"):
            entered, leave = asyncio.Event(), asyncio.Event()

            async def hold(entered: asyncio.Event = entered, leave: asyncio.Event = leave) -> None:
                async with lock(account("a"), session=other, lease=60):
                    entered.set()
                    await leave.wait()
                    raise ZeroDivisionError

            holder = asyncio.create_task(hold())
            await entered.wait()
            waiting = asyncio.create_task(take())
            await until(lambda: session.loop.listener.hears(KEY))
            await asyncio.sleep(0.05)
            start = time.monotonic()
            if how == "exception":
                leave.set()
            else:
                holder.cancel()
            assert await waiting - start < 5
            with pytest.raises((ZeroDivisionError, asyncio.CancelledError)):
                await holder


async def test_a_lock_that_is_removed_without_a_word_is_found_by_looking(
    redis_client: redis.Redis, session: Session
) -> None:
    redis_client.set(KEY, "another", px=60_000)
    waiting = asyncio.create_task(take())
    await until(lambda: session.loop.listener.hears(KEY))
    await asyncio.sleep(0.05)
    redis_client.delete(KEY)
    start = time.monotonic()
    assert await waiting - start < locks.RELIED_WAIT + 5


async def test_a_lock_is_taken_when_the_lease_of_a_dead_holder_ends(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "RELIED_WAIT", 30.0)
    start = time.monotonic()
    redis_client.set(KEY, "another", px=500)
    assert 0.45 < await take() - start < 5


async def test_without_a_listener_the_lock_is_looked_at(url: str, session: Session) -> None:
    """As for a user who may not subscribe: the server says no, and that is that."""
    listener = session.loop.listener
    listener._refused = True
    async with held_elsewhere(url, "a") as release:
        waiting = asyncio.create_task(take())
        await asyncio.sleep(0.2)
        assert not listener.hears(KEY)
        release()
        start = time.monotonic()
        assert await waiting - start < 5


async def test_a_listener_that_loses_its_connection_connects_anew(
    url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, session: Session
) -> None:
    monkeypatch.setattr(locks, "RELIED_WAIT", 30.0)
    listener = session.loop.listener
    async with held_elsewhere(url, "a") as release:
        waiting = asyncio.create_task(take())
        for _ in range(3):
            await until(lambda: listener.hears(KEY))
            assert redis_client.client_kill_filter(_type="pubsub") == 1
            await until(lambda: not listener.hears(KEY))
        await until(lambda: listener.hears(KEY))
        release()
        start = time.monotonic()
        assert await waiting - start < 5


async def test_a_listener_rests_when_nobody_waits(
    url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, session: Session
) -> None:
    monkeypatch.setattr("rapyer_core.transports.aio_listener.REST", 0.05)
    for _ in range(2):
        async with held_elsewhere(url, "a") as release:
            waiting = asyncio.create_task(take())
            await until(lambda: redis_client.client_list(_type="pubsub"))
            release()
            await waiting
        await until(lambda: session.loop.listener._task is None)
        await until(lambda: session.loop.listener._connection is None)


async def test_cancelled_waiters_leave_nothing(url: str, redis_client: redis.Redis, session: Session) -> None:
    async with held_elsewhere(url, "a", "b"):
        waiting = [asyncio.create_task(take(name)) for name in "ab" for _ in range(25)]
        await until(lambda: len(session.loop.listener._standing) == 2)
        for task in waiting:
            task.cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results} == {asyncio.CancelledError}
        assert session.loop.listener._ears == {}
        await until(lambda: redis_client.pubsub_channels("~*") == [])


@pytest.mark.one_server
async def test_a_thousand_tasks_wait_for_one_lock(url: str, session: Session) -> None:
    async with held_elsewhere(url, "a") as release:
        waiting = [asyncio.create_task(take(timeout=110)) for _ in range(1000)]
        await until(lambda: session.loop.listener.hears(KEY))
        # The session is as usable as ever meanwhile.
        assert await asyncio.gather(*(coins("b") for _ in range(200))) == [100] * 200
        assert len(session.loop.node.pool._idle) == len(session.loop.node.pool._links)
        release()
        await asyncio.gather(*waiting)
    assert await coins() == 1100


@pytest.mark.one_server
async def test_a_thousand_tasks_wait_for_a_lock_each(url: str, redis_client: redis.Redis, session: Session) -> None:
    names = [f"t{number}" for number in range(1000)]
    await asyncio.gather(*(save(Account(name, 0)) for name in names))
    async with open_session(url) as other:
        release = asyncio.Event()

        async def hold(name: str) -> None:
            async with lock(account(name), session=other, lease=60):
                await release.wait()

        holders = [asyncio.create_task(hold(name)) for name in names]
        await until(lambda: len(redis_client.keys("~*lock:lock")) == 1000)
        waiting = [asyncio.create_task(take(name, timeout=110)) for name in names]
        await until(lambda: len(session.loop.listener._standing) == 1000)
        assert len(redis_client.client_list(_type="pubsub")) == 1
        assert await asyncio.gather(*(coins("b") for _ in range(200))) == [100] * 200
        release.set()
        await asyncio.gather(*waiting, *holders)
    assert await asyncio.gather(*(coins(name) for name in names)) == [1] * 1000


# -- round trips --


@asynccontextmanager
async def behind(proxy: Proxy) -> AsyncIterator[Session]:
    """A session that has its connections already."""
    async with open_session(proxy.url) as session:
        async with pipeline(account("a"), session=session):
            await increment(account("c"), Account.coins, 1, session=session)
        proxy.clear()
        yield session


async def test_a_free_lock_is_taken_with_the_reading_and_given_back_with_the_commit(proxy: Proxy) -> None:
    async with behind(proxy) as session:
        async with lock(account("a"), session=session) as a:
            assert proxy.round_trips == 1
            a.coins += a.coins
        assert proxy.round_trips == 2
    assert await coins() == 200


async def test_each_further_lock_takes_one_round_trip(proxy: Proxy) -> None:
    async with behind(proxy) as session:
        async with lock(account("b"), account("a"), session=session) as (b, a):
            assert proxy.round_trips == 2
            async with lock(account("c"), session=session) as c:
                assert proxy.round_trips == 3
                a.coins, b.coins, c.coins = 1, a.coins + 1, 3
            async with lock(account("c"), name="other", session=session):
                assert proxy.round_trips == 4
        assert proxy.round_trips == 4 + 2
    assert [await coins(name) for name in "abc"] == [1, 101, 3]


async def test_a_lock_that_somebody_has_is_waited_for_and_its_object_read_then(proxy: Proxy, url: str) -> None:
    async with behind(proxy) as session, held_elsewhere(url, "a") as release:

        async def double() -> None:
            async with lock(account("a"), session=session) as a:
                a.coins += a.coins

        waiting = asyncio.create_task(double())
        await until(lambda: session.loop.listener.hears(KEY))
        await increment(account("a"), Account.coins, 5)
        release()
        await waiting
    assert await coins() == 210


async def test_blocks_of_one_tick_read_after_they_have_taken_their_own_lock(proxy: Proxy) -> None:
    """Two names of one object: what the first one reads is no reading for the second one."""
    async with behind(proxy) as session:

        async def block(name: str) -> None:
            async with lock(account("a"), name=name, session=session) as a:
                a.coins += 1

        await asyncio.gather(*[block(f"n{number}") for number in range(5)])
    sent = [words[:2] for words in proxy.requests]
    taken = [place for place, words in enumerate(sent) if words[0] == b"SET"]
    assert len(taken) == 5
    for place, end in itertools.pairwise([*taken, len(sent)]):
        assert (b"HGETALL", b"Account:a") in sent[place:end]
    assert await coins() == 105


async def test_an_object_that_is_none_gives_the_lock_back_that_was_taken_with_it(redis_client: redis.Redis) -> None:
    redis_client.set("Account:list", "a string")
    with pytest.raises(WrongKeyType):
        async with lock(account("list")):
            pass
    with pytest.raises(NotFound):
        async with lock(account("nobody")):
            pass
    assert redis_client.keys("*lock*") == []


@pytest.mark.parametrize("number", [1, 2])
async def test_a_reply_lost_at_the_entry_costs_nothing_but_time(proxy: Proxy, number: int) -> None:
    """The lock is taken by a request whose reply is lost: it is recognized as our own."""
    async with behind(proxy) as session:
        fault = proxy.eat_reply(b"SET", nth=number)
        names = "ab"[:number]
        async with lock(*[account(name) for name in names], session=session) as drafts:
            (drafts if number == 1 else drafts[0]).coins += 1
        assert fault.hits == 1
    assert await coins() == 101
