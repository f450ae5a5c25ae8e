"""The network cuts before a request, after it, in the middle of a reply, or answers late: nothing is applied twice,
nothing is said that is not so, and with exactly_once the true outcome is found out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from rapyer_core import (
    Conflict,
    ConnectionFailed,
    LockTimeout,
    OutcomeUnknown,
    Retry,
    append,
    assign,
    delete,
    get,
    get_many,
    increment,
    insert,
    lock,
    modify,
    pipeline,
    put,
    ref,
    save,
    transact,
)
from rapyer_core.sessions import Session
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Player
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.usefixtures("session"), pytest.mark.one_server]

CUTS = ["cut_after", "eat_reply", "half_reply"]
"""After these the server may have done its work. `cut_before` looks the same to the client."""

Write = Callable[[bool], Awaitable[Any]]


@pytest.fixture(autouse=True)
async def _stored(session: Session, proxy: Proxy) -> None:
    await save(Player("p", coins=100))
    await save(Account("a", 100))
    proxy.clear()


def player() -> Player:
    return ref(Player, "p")


async def _save(once: bool) -> None:
    p = await get(Player, "p")
    p.coins += 5
    await save(p, exactly_once=once)


async def _pipeline(once: bool) -> None:
    async with pipeline(player(), exactly_once=once) as d:
        d.coins += 5
        d.numbers.append(1)


async def _decided(once: bool) -> None:
    async with pipeline(player(), exactly_once=once) as d:
        if d.coins < 1000:
            d.coins += 5
            d.numbers.append(1)


async def _transact(once: bool) -> None:
    async def work(tx: Transaction) -> None:
        p = await tx.get(Player, "p")
        if p.coins < 1000:
            p.coins += 5
            p.numbers.append(1)

    await transact(work, exactly_once=once)


async def _lock(once: bool) -> None:
    async with lock(player(), exactly_once=once) as d:
        d.coins += 5
        d.numbers.append(1)


async def _modify(once: bool) -> Any:
    return await modify(player(), Player.coins, lambda coins: coins + 5, exactly_once=once)


async def _increment(once: bool) -> Any:
    return await increment(player(), Player.coins, 5, exactly_once=once)


async def _float(once: bool) -> Any:
    assert await increment(player(), Player.ratio, 0.5, exactly_once=once) == 0.5
    return await increment(player(), Player.coins, 5, exactly_once=once)


WRITES: dict[str, Write] = {
    "increment": _increment,
    "modify": _modify,
    "save": _save,
    "pipeline": _pipeline,
    "decided": _decided,
    "transact": _transact,
    "lock": _lock,
}


@pytest.mark.parametrize("kind", ["cut_before", *CUTS])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
async def test_a_lost_reply_to_exec_is_unknown_and_never_sent_again(
    proxy: Proxy, redis_client: redis.Redis, write: Write, kind: str
) -> None:
    getattr(proxy, kind)(b"EXEC")
    with pytest.raises(OutcomeUnknown) as caught:
        await write(False)
    assert caught.value.sent == ("Player:p",)
    await _settled(redis_client)
    coins = int(redis_client.hget("Player:p", "coins"))  # type: ignore[arg-type]  # typed for both kinds of client
    if kind == "cut_before":
        assert coins == 100
    elif kind == "cut_after":
        assert coins in (100, 105)
    else:
        assert coins == 105
    # The same works at once on a fresh connection.
    await write(False)


async def _settled(client: redis.Redis) -> None:
    """A round trip of another connection, so that what was under way has been done."""
    for _ in range(3):
        client.ping()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["cut_before", *CUTS])
@pytest.mark.parametrize("write", [*WRITES.values(), _float], ids=[*WRITES.keys(), "float"])
async def test_exactly_once_finds_the_true_outcome(
    proxy: Proxy, redis_client: redis.Redis, write: Write, kind: str
) -> None:
    getattr(proxy, kind)(b"EXEC")
    result = await write(True)
    assert result in (None, 105)
    found = await get(Player, "p")
    assert (found.coins, len(found.numbers)) in ((105, 0), (105, 1))
    tokens = redis_client.keys("~{Player:p}token:*")
    assert tokens
    assert all(0 < redis_client.pttl(token) <= 600_000 for token in tokens)


@pytest.mark.parametrize("kind", CUTS)
async def test_exactly_once_keeps_finding_out_when_cut_again_and_again(proxy: Proxy, kind: str) -> None:
    getattr(proxy, kind)(b"EXEC", times=3)
    proxy.cut_before(b"WATCH", nth=3, times=2)
    assert await increment(player(), Player.coins, 5, exactly_once=True) == 105
    assert (await get(Player, "p")).coins == 105


async def test_exactly_once_does_not_use_up_the_attempts(proxy: Proxy) -> None:
    proxy.eat_reply(b"EXEC")
    retry = Retry(attempts=1, deadline=0)
    assert await increment(player(), Player.coins, 5, exactly_once=True, retry=retry) == 105


async def test_exactly_once_of_inserts_and_deletes(proxy: Proxy) -> None:
    proxy.eat_reply(b"EXEC")
    await insert(Account("new", 1), exactly_once=True)
    proxy.eat_reply(b"EXEC")
    assert await delete(ref(Account, "new"), exactly_once=True) is True
    proxy.eat_reply(b"EXEC")
    await append(player(), Player.numbers, 7, exactly_once=True)
    assert (await get(Player, "p")).numbers == [7]


async def test_exactly_once_shows_the_local_object_what_is_stored(proxy: Proxy) -> None:
    p = await get(Player, "p")
    await append(player(), Player.numbers, 6)
    proxy.eat_reply(b"EXEC")
    await append(p, Player.numbers, 7, exactly_once=True)
    assert p.numbers == [6, 7]


async def test_a_late_exec_cannot_apply_after_the_commit_was_done_again(proxy: Proxy) -> None:
    held = proxy.hold(b"EXEC")
    work = asyncio.create_task(increment(player(), Player.coins, 5, exactly_once=True))
    assert await work == 105
    held.release()
    await asyncio.sleep(0.2)
    assert (await get(Player, "p")).coins == 105


async def test_a_late_exec_is_the_commit_when_it_comes_first(proxy: Proxy) -> None:
    """The held EXEC arrives between the second look and the second EXEC."""
    calls = 0

    def counted(coins: int) -> int:
        nonlocal calls
        calls += 1
        return coins + calls

    first, second = proxy.hold(b"EXEC"), proxy.hold(b"EXEC")
    work = asyncio.create_task(modify(player(), Player.coins, counted, exactly_once=True))
    await asyncio.to_thread(second.wait)
    first.release()
    await asyncio.sleep(0.1)
    second.release()
    assert await work == 101
    assert (await get(Player, "p")).coins == 101


async def test_a_late_exec_of_a_conflicting_try_is_void(proxy: Proxy, redis_client: redis.Redis) -> None:
    held = proxy.hold(b"EXEC")
    work = asyncio.create_task(increment(player(), Player.coins, 5, exactly_once=True))
    await asyncio.to_thread(held.wait)
    redis_client.hincrby("Player:p", "coins", 50)
    assert await work == 155
    held.release()
    await asyncio.sleep(0.1)
    assert redis_client.hget("Player:p", "coins") == b"155"


async def test_a_decision_that_another_writer_overtook_is_a_conflict_not_unknown(
    proxy: Proxy, redis_client: redis.Redis
) -> None:
    held = proxy.hold(b"EXEC")

    async def work() -> None:
        async with pipeline(player(), exactly_once=True) as d:
            if d.coins >= 100:
                d.coins -= 100

    task = asyncio.create_task(work())
    await asyncio.to_thread(held.wait)
    redis_client.hset("Player:p", "coins", 1)
    with pytest.raises(Conflict):
        await task
    held.release()
    await asyncio.sleep(0.1)
    assert redis_client.hget("Player:p", "coins") == b"1"


async def test_without_exactly_once_a_held_exec_is_unknown(proxy: Proxy) -> None:
    held = proxy.hold(b"EXEC")
    with pytest.raises(OutcomeUnknown):
        await increment(player(), Player.coins, 5)
    held.release()


async def test_unreachable_after_exec_is_unknown_in_the_end(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rapyer_core.operations.commit.LOOKING", 0.3)
    cut = proxy.eat_reply(b"EXEC")
    work = asyncio.create_task(increment(player(), Player.coins, 5, exactly_once=True, retry=Retry(deadline=0.3)))
    await asyncio.to_thread(cut.wait)
    proxy.refuse()
    proxy.cut_all()
    with pytest.raises(OutcomeUnknown):
        await work
    proxy.refuse(False)
    assert (await get(Player, "p")).coins == 105


@pytest.mark.parametrize("kind", ["cut_before", *CUTS])
async def test_reads_are_sent_again(proxy: Proxy, kind: str) -> None:
    getattr(proxy, kind)(b"HGETALL")
    assert (await get(Player, "p")).coins == 100
    getattr(proxy, kind)(b"HGETALL", nth=2)
    assert [one and one.coins for one in await get_many(Player, ["p", "q", "p"])] == [100, None, 100]


@pytest.mark.parametrize("kind", ["cut_before", *CUTS])
@pytest.mark.parametrize("command", [b"WATCH", b"HGETALL", b"MULTI"])
async def test_a_cut_before_the_exec_writes_nothing_or_is_tried_again(proxy: Proxy, kind: str, command: bytes) -> None:
    getattr(proxy, kind)(command)
    try:
        await _pipeline(False)
    except OutcomeUnknown:
        assert command == b"MULTI"
        await _settled_through(proxy)
        assert (await get(Player, "p")).coins in (100, 105)
    else:
        assert (await get(Player, "p")).coins == 105


async def _settled_through(proxy: Proxy) -> None:
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", ["cut_before", *CUTS])
@pytest.mark.parametrize("nth", [1, 2])
async def test_a_lock_whose_acquisition_is_cut_is_taken_once_and_given_back(
    proxy: Proxy, redis_client: redis.Redis, kind: str, nth: int
) -> None:
    getattr(proxy, kind)((b"SET", b"GET")[nth - 1])
    async with lock(player(), timeout=3) as d:
        d.coins += 5
        assert len(redis_client.keys("~*lock*")) == 1
    assert redis_client.keys("~*lock*") == []
    assert (await get(Player, "p")).coins == 105


@pytest.mark.parametrize("kind", ["cut_before", *CUTS])
@pytest.mark.parametrize("command", [b"WATCH", b"EXEC"])
async def test_a_lock_whose_release_is_cut_is_given_back(
    proxy: Proxy, redis_client: redis.Redis, kind: str, command: bytes
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with lock(player(), lease=5):
            getattr(proxy, kind)(command)
            raise ZeroDivisionError
    assert redis_client.keys("~*lock*") == []


async def test_a_watch_on_a_connection_that_was_cut_is_not_relied_upon(proxy: Proxy, redis_client: redis.Redis) -> None:
    """The block holds a connection with a WATCH. When it is cut, the commit must not go out without the WATCH."""
    with pytest.raises(Conflict):
        async with pipeline(player()) as d:
            if d.coins >= 100:
                d.coins -= 100
            redis_client.hset("Player:p", "coins", 1)
            proxy.cut_all()
            await asyncio.sleep(0.05)
    async with pipeline(player()) as d:
        d.coins += 5
        proxy.cut_all()
        await asyncio.sleep(0.05)
    assert redis_client.hget("Player:p", "coins") == b"6"


async def test_nothing_is_left_watched_on_a_pooled_connection(redis_client: redis.Redis, session: Session) -> None:
    """A block that watched and wrote nothing; whoever gets the connection next writes blindly."""
    with pytest.raises(ZeroDivisionError):
        async with pipeline(player()) as d:
            assert d.coins == 100
            raise ZeroDivisionError
    redis_client.hincrby("Player:p", "wins", 1)
    link = await session.loop.node.pool.acquire()
    session.loop.node.pool.release(link)  # taken and given back without a round trip
    for _ in range(3):
        await increment(player(), Player.coins, 1)
    assert (await get(Player, "p")).coins == 103


@pytest.mark.parametrize("write", [_increment, _pipeline, _lock])
async def test_a_server_that_cannot_be_reached_is_a_failed_connection(proxy: Proxy, write: Write) -> None:
    proxy.refuse()
    proxy.cut_all()
    await asyncio.sleep(0.05)
    with pytest.raises((ConnectionFailed, LockTimeout)) as caught:
        await asyncio.wait_for(write(False) if write is not _lock else _impatient(), 5)
    assert isinstance(caught.value, ConnectionError)
    proxy.refuse(False)
    assert (await get(Player, "p")).coins == 100


async def _impatient() -> None:
    async with lock(player(), timeout=0.2):
        pass


async def test_idle_connections_that_were_cut_cause_no_error(proxy: Proxy) -> None:
    await asyncio.gather(*(get(Player, "p") for _ in range(50)))
    proxy.cut_all()
    await asyncio.sleep(0.05)
    await asyncio.gather(*(get(Player, "p") for _ in range(50)))
    proxy.cut_all()
    await asyncio.sleep(0.05)
    await asyncio.gather(*(increment(player(), Player.coins, 1) for _ in range(50)))
    assert (await get(Player, "p")).coins == 150


async def test_a_server_that_answers_late_is_given_up_in_time(proxy: Proxy) -> None:
    proxy.hold_reply(b"HGETALL")
    with pytest.raises(ConnectionFailed) as caught:
        await asyncio.wait_for(get(Player, "p"), 1.5)
    assert caught.value.timed_out
    assert (await get(Player, "p")).coins == 100


async def test_replies_never_cross_under_random_faults(proxy: Proxy) -> None:
    """Each task has an object of its own and must only ever see its own."""
    for number in range(10):
        await save(Account(f"t{number}", number))
    for kind in CUTS:
        getattr(proxy, kind)(b"HGETALL", nth=7, times=15)

    async def work(number: int) -> None:
        for _ in range(15):
            try:
                found = await get(Account, f"t{number}")
            except ConnectionFailed:
                continue
            assert (found.owner, found.coins) == (f"t{number}", number)

    await asyncio.gather(*(work(number) for number in range(10)))


async def test_blind_assignments_and_puts_too(proxy: Proxy) -> None:
    for write in (
        lambda: assign(player(), Player.motto, "x"),
        lambda: put(player(), Player.meta, "k", "v"),
        lambda: save(Account("fresh", 3)),
        lambda: delete(ref(Account, "a")),
    ):
        proxy.eat_reply(b"EXEC")
        with pytest.raises(OutcomeUnknown):
            await write()
    found = await get(Player, "p")
    assert (found.motto, found.meta, (await get(Account, "fresh")).coins) == ("x", {"k": "v"}, 3)
