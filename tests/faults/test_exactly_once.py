"""With exactly_once every write survives a network that fails at any of its requests: the result is the true one, and
what is stored is what one undisturbed write stores. Where the outcome cannot be known any more, that is what is said.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from rapyer_core import (
    ConnectionFailed,
    LockLost,
    NotFound,
    OutcomeUnknown,
    Retry,
    add,
    append,
    assign,
    clear,
    close_rapyer,
    delete,
    delete_many,
    discard,
    extend,
    get,
    get_or_create,
    increment,
    init_rapyer,
    insert,
    insert_at,
    lock,
    merge,
    modify,
    open_session,
    pipeline,
    pop,
    put,
    ref,
    remove,
    save,
    save_many,
    transact,
    transaction,
)
from rapyer_core.operations import commit
from rapyer_core.sessions import Session
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Player, full
from tests.support.proxy import Proxy
from tests.support.rights import as_admin
from tests.support.servers import free_port, running_server

pytestmark = pytest.mark.one_server

CUTS = ["cut_before", "cut_after", "eat_reply", "half_reply"]
P = ref(Player, "p")
Write = Callable[[], Awaitable[Any]]


@pytest.fixture
async def session(proxy: Proxy) -> AsyncIterator[Session]:
    """The default session, of which every write is exactly once, through the proxy."""
    session = await init_rapyer(proxy.url, timeout=1, exactly_once=True)
    yield session
    proxy.clear()
    assert len(session.loop.node.pool._idle) == len(session.loop.node.pool._links)
    assert session.loop.turns._locks == {}
    await close_rapyer()


# -- one of each write --


async def _save_loaded() -> None:
    p = await get(Player, "p")
    p.coins += 5
    p.numbers.append(9)
    p.meta["new"] = "x"
    await save(p)


async def _save_many() -> None:
    p, a = await get(Player, "p"), await get(Account, "a")
    p.coins += 5
    a.coins += 5
    await save_many([p, a, Account("new", 1), Account("newer", 2)])


async def _append_to_loaded() -> list[int]:
    p = await get(Player, "p")
    await append(P, Player.numbers, 6)
    await append(p, Player.numbers, 7)
    return p.numbers


async def _pipeline() -> int:
    p = await get(Player, "p")
    async with pipeline(p) as d:
        d.coins += 5
        d.numbers.append(1)
    return p.coins


async def _pipeline_of_two() -> None:
    async with pipeline(P, ref(Account, "a")) as (p, a):
        if a.coins >= 5:
            a.coins -= 5
            p.coins += 5


async def _transaction() -> None:
    async with transaction() as tx:
        a = await tx.get(Account, "a")
        a.coins -= 5
        await tx.insert(Account("made", 5))
        await tx.delete(Account, "b")
        await tx.save(Account("saved", 1))


async def _transact() -> int:
    async def work(tx: Transaction) -> int:
        p, a = await tx.get(Player, "p"), await tx.get(Account, "a")
        if p.coins < 1000:
            p.coins += 5
            a.coins -= 5
        return p.coins

    return await transact(work)


async def _lock() -> None:
    async with lock(P, ref(Account, "a"), lease=60) as (p, a):
        p.coins += 5
        a.coins -= 5


async def _nested_locks() -> None:
    async with lock(P, lease=60) as p:
        p.coins += 5
        async with lock(ref(Account, "a"), lease=60) as a:
            a.coins -= 5


WRITES: dict[str, Write] = {
    "increment": lambda: increment(P, Player.coins, 5),
    "increment of an index": lambda: increment(P, Player.score, 5),
    "increment of a float": lambda: increment(P, Player.ratio, 0.5),
    "increment of a large int": lambda: increment(P, Player.wins, 2**70),
    "increment in an Optional": lambda: increment(P, "best", 2),
    "increment of an entry": lambda: increment(P, "counters.k", 2),
    "modify": lambda: modify(P, Player.coins, lambda coins: coins * 2),
    "assign": lambda: assign(P, Player.motto, "new"),
    "assign to an index": lambda: assign(P, Player.score, 7),
    "append": lambda: append(P, Player.numbers, 9),
    "append to a loaded object": _append_to_loaded,
    "extend": lambda: extend(P, Player.numbers, [8, 9]),
    "insert_at": lambda: insert_at(P, Player.numbers, 0, 9),
    "pop": lambda: pop(P, Player.numbers),
    "pop of a key": lambda: pop(P, Player.meta, "k"),
    "remove": lambda: remove(P, Player.numbers, 2),
    "clear": lambda: clear(P, Player.numbers),
    "put": lambda: put(P, Player.meta, "new", "x"),
    "merge": lambda: merge(P, Player.meta, {"new": "x", "k": "y"}),
    "add": lambda: add(P, Player.tags, "new", "t"),
    "discard": lambda: discard(P, Player.tags, "t", "u"),
    "save of a new object": lambda: save(Account("new", 7)),
    "save over another": lambda: save(Account("a", 7)),
    "save of a loaded object": _save_loaded,
    "save_many": _save_many,
    "insert": lambda: insert(Account("new", 7)),
    "get_or_create": lambda: get_or_create(Account, "new", coins=7),
    "delete": lambda: delete(Account, "a"),
    "delete_many": lambda: delete_many([ref(Account, name) for name in ("a", "nobody", "b")]),
    "pipeline": _pipeline,
    "pipeline of two": _pipeline_of_two,
    "transaction": _transaction,
    "transact": _transact,
    "lock": _lock,
    "nested locks": _nested_locks,
}


async def reset(url: str) -> None:
    """The state that every write starts from."""
    async with open_session(url) as plain:
        with redis.Redis.from_url(as_admin(url)) as client:
            client.flushdb()
        await save(full(), session=plain)
        await save(Account("a", 100), session=plain)
        await save(Account("b", 100), session=plain)


def put_back(client: redis.Redis, state: dict[bytes, Any]) -> None:
    """The same, from what `stored` returned: much faster."""
    with client.pipeline() as commands:
        commands.flushdb()
        for key, value in state.items():
            if isinstance(value, dict):
                commands.hset(key, mapping=value)
            else:
                commands.zadd(key, dict(value))
        commands.execute()


def stored(client: redis.Redis) -> dict[bytes, Any]:
    """Everything but tokens."""
    found: dict[bytes, Any] = {}
    keys: Any = client.keys("*")
    for key in keys:
        if b"}token:" in key:
            assert 0 < client.pttl(key) <= 600_000
        elif client.type(key) == b"hash":
            found[key] = client.hgetall(key)
        else:
            found[key] = client.zrange(key, 0, -1, withscores=True)
    return found


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
@pytest.mark.one_server
async def test_cut_at_every_request(proxy: Proxy, url: str, redis_client: redis.Redis, write: Write) -> None:
    await reset(url)
    before = stored(redis_client)
    await write()  # so that all connections are there
    put_back(redis_client, before)
    proxy.clear()
    result = await write()
    requests = len(proxy.requests)
    after = stored(redis_client)
    for kind in CUTS:
        for nth in range(1, requests + 1):
            put_back(redis_client, before)
            proxy.clear()
            fault = getattr(proxy, kind)(nth=nth)
            assert await write() == result, (kind, nth)
            assert fault.hits == 1, (kind, nth)
            assert stored(redis_client) == after, (kind, nth)


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
@pytest.mark.one_server
async def test_cut_at_several_execs_and_the_looks_between(
    proxy: Proxy, url: str, redis_client: redis.Redis, write: Write
) -> None:
    """Several EXECs in doubt at once, and look-ups that fail themselves."""
    await reset(url)
    before = stored(redis_client)
    result = await write()
    after = stored(redis_client)
    rng = random.Random(9)
    for _ in range(6):
        put_back(redis_client, before)
        proxy.clear()
        getattr(proxy, rng.choice(CUTS))(b"EXEC", times=rng.randint(1, 3))
        getattr(proxy, rng.choice(CUTS))(b"EXISTS", nth=rng.randint(2, 3))
        assert await write() == result
        assert stored(redis_client) == after


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
async def test_an_exec_that_waits_in_a_stopped_server_runs_late_and_once(write: Write) -> None:
    with running_server() as server, Proxy(server.url) as proxy, redis.Redis.from_url(server.url) as client:
        await init_rapyer(proxy.url, timeout=0.15, exactly_once=True)
        try:
            await reset(server.url)
            result = await write()
            after = stored(client)
            await reset(server.url)
            held = proxy.hold(b"EXEC")
            writing = asyncio.create_task(_tried(write))
            await asyncio.to_thread(held.wait)
            os.kill(server.pid, signal.SIGSTOP)
            held.release()
            await asyncio.sleep(0.4)
            assert not writing.done()
            os.kill(server.pid, signal.SIGCONT)
            assert await writing == result
            assert stored(client) == after
        finally:
            os.kill(server.pid, signal.SIGCONT)
            proxy.clear()
            await close_rapyer()


async def _tried(write: Write) -> Any:
    return await write()


# -- where it ends --


@pytest.mark.usefixtures("session")
async def test_the_absence_of_a_token_that_can_have_expired_proves_nothing(
    proxy: Proxy, url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "TOKEN_LIFE", 0.4)
    monkeypatch.setattr(commit, "LOOKING", 60.0)
    await reset(url)
    async with pipeline(P):
        pass  # so that a connection to watch on is there
    cut = proxy.eat_reply(b"EXEC")
    proxy.refuse()
    writing = asyncio.create_task(increment(P, Player.coins, 5))
    await asyncio.to_thread(cut.wait)
    await asyncio.sleep(0.6)
    assert redis_client.keys("*token*") == []
    proxy.refuse(False)
    with pytest.raises(OutcomeUnknown):
        await writing
    assert redis_client.hget("Player:p", "coins") == b"105"


@pytest.mark.usefixtures("session")
async def test_looking_ends_before_the_token_does(
    proxy: Proxy, url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the caller would wait."""
    monkeypatch.setattr(commit, "TOKEN_LIFE", 4.0)
    await reset(url)
    async with pipeline(P):
        pass  # so that a connection to watch on is there
    cut = proxy.eat_reply(b"EXEC")
    proxy.refuse()
    writing = asyncio.create_task(increment(P, Player.coins, 5, retry=Retry(deadline=3600)))
    await asyncio.to_thread(cut.wait)
    with pytest.raises(OutcomeUnknown):
        await writing
    proxy.refuse(False)
    assert len(redis_client.keys("*token*")) == 1


@pytest.mark.usefixtures("session")
async def test_a_session_closed_while_in_doubt_says_so(proxy: Proxy, url: str, redis_client: redis.Redis) -> None:
    await reset(url)
    async with open_session(proxy.url, exactly_once=True) as other:
        async with pipeline(P, session=other):
            pass  # so that a connection to watch on is there
        cut = proxy.eat_reply(b"EXEC")
        proxy.refuse()
        writing = asyncio.create_task(increment(P, Player.coins, 5, session=other))
        await asyncio.to_thread(cut.wait)
    proxy.refuse(False)
    with pytest.raises(OutcomeUnknown):
        await writing
    assert redis_client.hget("Player:p", "coins") == b"105"


@pytest.mark.usefixtures("session")
async def test_a_lock_that_was_lost_while_in_doubt_is_lost_only_if_nothing_was_written(
    proxy: Proxy, url: str, redis_client: redis.Redis
) -> None:
    """The EXEC arrives late, after the lock has gone to somebody else: void. Or in time: done, and no loss."""
    for late in (True, False):
        await reset(url)
        proxy.clear()
        held = proxy.hold(b"EXEC") if late else proxy.eat_reply(b"EXEC")
        looked = proxy.hold(b"EXISTS", nth=2)

        async def work() -> None:
            async with lock(P, lease=60) as p:
                p.coins += 5

        writing = asyncio.create_task(work())
        await asyncio.to_thread(held.wait)
        if late:
            redis_client.set("~{Player:p}lock:lock", "another", px=60_000)
        await asyncio.to_thread(looked.wait)
        looked.release()
        if late:
            with pytest.raises(LockLost):
                await writing
            held.release()
            await asyncio.sleep(0.1)
            assert redis_client.get("~{Player:p}lock:lock") == b"another"
        else:
            await writing
        assert redis_client.hget("Player:p", "coins") == (b"100" if late else b"105")


async def test_a_server_that_lost_the_write_gets_it_again(tmp_path: Path) -> None:
    """It comes back with data of before the write: neither the write nor its token is there."""
    settings: dict[str, Any] = {"port": free_port(), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
    url = f"redis://127.0.0.1:{settings['port']}/0"
    with Proxy(url) as proxy:
        for saved in (True, False):
            with running_server(tmp_path, **settings) as server, redis.Redis.from_url(url) as client:
                await reset(url)
                if saved:
                    client.save()
                else:
                    (tmp_path / "dump.rdb").unlink()
                await init_rapyer(proxy.url, timeout=1, exactly_once=True)
                cut = proxy.eat_reply(b"EXEC")
                proxy.hold(b"EXISTS", nth=2)
                writing = asyncio.create_task(increment(P, Player.coins, 5))
                await asyncio.to_thread(cut.wait)
                os.kill(server.pid, signal.SIGKILL)
            proxy.clear()
            with running_server(tmp_path, **settings):
                if saved:
                    assert await writing == 105
                    assert (await get(Player, "p")).coins == 105
                else:
                    with pytest.raises(NotFound):
                        await writing
                await close_rapyer()


@pytest.mark.usefixtures("session")
async def test_each_result_is_that_of_the_exec_that_was_applied(proxy: Proxy, url: str) -> None:
    """Several tasks in one tick. All but one are cancelled while their EXEC is on its way; it arrives when that one has
    already decided anew, as if the others had never been.
    """
    await reset(url)
    await asyncio.gather(get(Player, "p"), get(Player, "p"))
    held = [proxy.hold(b"EXEC") for _ in range(6)]
    writing = [asyncio.create_task(increment(P, Player.coins, 1)) for _ in range(5)]
    await asyncio.to_thread(held[0].wait)
    held[0].release()
    await asyncio.to_thread(held[1].wait)
    for task in writing[:-1]:
        task.cancel()
    await asyncio.sleep(1.3)
    for fault in held[1:]:
        fault.release()
        await asyncio.sleep(0.1)
    result = await writing[-1]
    assert result == (await get(Player, "p")).coins


@pytest.mark.usefixtures("session")
async def test_fifty_writers_on_one_object_through_a_bad_network(
    proxy: Proxy, url: str, redis_client: redis.Redis
) -> None:
    await reset(url)
    for kind in CUTS:
        getattr(proxy, kind)(b"EXEC", nth=11, times=8)
        getattr(proxy, kind)(b"HMGET", nth=17, times=4)

    async def work(number: int) -> int:
        await append(P, Player.numbers, number)
        async with pipeline(P) as d:
            d.wins = d.wins + 1
        return await increment(P, Player.coins, 1)

    results = await asyncio.gather(*(work(number) for number in range(50)))
    found = await get(Player, "p")
    assert sorted(results) == list(range(101, 151))
    assert (found.coins, found.wins) == (150, 50)
    assert sorted(found.numbers[3:]) == list(range(50))


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("kind", CUTS)
async def test_a_connection_lost_before_anything_was_sent_is_no_attempt(
    proxy: Proxy, url: str, redis_client: redis.Redis, kind: str
) -> None:
    await reset(url)
    for once in (True, False):
        proxy.clear()
        getattr(proxy, kind)(b"WATCH")
        await modify(P, Player.coins, lambda coins: coins + 1, retry=Retry(attempts=1), exactly_once=once)
    assert redis_client.hget("Player:p", "coins") == b"102"


async def test_without_an_answer_to_the_first_reading_nothing_was_written(url: str) -> None:
    """Nothing is in doubt before an EXEC was sent."""
    with running_server() as server:
        async with open_session(server.url, timeout=0.2, exactly_once=True) as session:
            await save(Account("a", 1), session=session)
            os.kill(server.pid, signal.SIGSTOP)
            try:
                with pytest.raises(ConnectionFailed):
                    await increment(ref(Account, "a"), Account.coins, 1, session=session)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            assert (await get(Account, "a", session=session)).coins == 1
