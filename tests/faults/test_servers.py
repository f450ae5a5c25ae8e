"""What a server refuses, and what a restart does: typed errors that say what is true, and show no value or password."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from rapyer_core import (
    Conflict,
    ConnectionFailed,
    NotApplied,
    RapyerError,
    Retry,
    ServerRefused,
    WrongKeyType,
    append,
    assign,
    delete,
    get,
    increment,
    lock,
    open_session,
    pipeline,
    ref,
    save,
    verify,
)
from rapyer_core.sessions import Session
from rapyer_core.settings import Settings
from tests.commits.models import Account, Player, full
from tests.support.builds import Build
from tests.support.servers import command, free_port, running_server, running_tcp_server

SECRET = "canary-5f3a"
HIDDEN = "hidden-pass-91"


@asynccontextmanager
async def server(build: Build, **options: Any) -> AsyncIterator[tuple[Session, redis.Redis]]:
    with running_server(binary=build.binary, **options) as running, redis.Redis.from_url(running.url) as admin:
        async with open_session(running.url, timeout=2) as session:
            yield session, admin


async def test_out_of_memory_is_proven_not_applied_and_deletes_still_work(build: Build) -> None:
    async with server(build, maxmemory_policy="noeviction") as (session, admin):
        await save(full(), session=session)
        p = await get(Player, "p", session=session)
        admin.config_set("maxmemory", "1")
        before = admin.hgetall("Player:p")
        p.coins += 1
        p.meta.pop("k")
        writes: list[Callable[[], Awaitable[Any]]] = [
            lambda: increment(p, Player.coins, 1, session=session),
            lambda: increment(p, Player.coins, 1, session=session, exactly_once=True),
            lambda: save(p, session=session),
            lambda: save(Player("p", wins=1), session=session),
            lambda: append(p, Player.numbers, 1, session=session),
            lambda: _drop_and_put(session),
        ]
        for write in writes:
            with pytest.raises(NotApplied) as caught:
                await write()
            assert caught.value.code == "OOM"
            assert admin.hgetall("Player:p") == before
        assert await delete(ref(Player, "p"), session=session)
        assert not await delete(ref(Player, "p"), session=session)
        assert not admin.exists("Player:p")
        admin.config_set("maxmemory", "0")
        assert (await verify(Player, repair=True, session=session)).objects == 0
        assert admin.keys("*") == []


async def _drop_and_put(session: Session) -> None:
    async with pipeline(ref(Player, "p"), session=session) as d:
        del d.meta["k"]
        d.coins += 1


async def test_a_read_only_replica_refuses_writes_and_serves_reads(build: Build) -> None:
    async with server(build) as (session, admin):
        await save(Account("a", 5), session=session)
        _command(admin, "REPLICAOF", "127.0.0.1", free_port())
        for write in (
            lambda: increment(ref(Account, "a"), Account.coins, 1, session=session),
            lambda: save(Account("a", 1), session=session),
            lambda: _locked(session),
        ):
            with pytest.raises(NotApplied) as caught:
                await write()
            assert caught.value.code == "READONLY"
        assert (await get(Account, "a", session=session)).coins == 5
        _command(admin, "REPLICAOF", "NO", "ONE")
        assert await increment(ref(Account, "a"), Account.coins, 1, session=session) == 6


async def _locked(session: Session) -> None:
    async with lock(ref(Account, "a"), session=session):
        pass


async def test_too_few_replicas(build: Build) -> None:
    async with server(build) as (session, admin):
        await save(Account("a", 5), session=session)
        admin.config_set("min-replicas-to-write", 1)
        with pytest.raises(NotApplied) as caught:
            await increment(ref(Account, "a"), Account.coins, 1, session=session)
        assert caught.value.code == "NOREPLICAS"
        assert (await get(Account, "a", session=session)).coins == 5


async def test_a_busy_server_is_waited_for_until_the_deadline(build: Build) -> None:
    async with server(build, busy_reply_threshold=1, enable_debug_command="yes") as (session, admin):
        await save(Account("a", 5), session=session)
        script = "local t = redis.call('time')[1] while redis.call('time')[1] - t < 60 do end"
        running = asyncio.create_task(asyncio.to_thread(_eval, admin, script))
        await asyncio.to_thread(_until_busy, f"unix://{admin.connection_pool.connection_kwargs['path']}")
        for work in (
            lambda: increment(ref(Account, "a"), Account.coins, 1, session=session, retry=Retry(deadline=0.2)),
            lambda: assign(ref(Account, "a"), Account.coins, 7, session=session, retry=Retry(deadline=0.2)),
        ):
            with pytest.raises(NotApplied) as caught:
                await asyncio.wait_for(work(), 5)
            assert caught.value.code == "BUSY"
        waiting = asyncio.create_task(increment(ref(Account, "a"), Account.coins, 1, session=session))
        await asyncio.sleep(0.1)
        with redis.Redis(connection_pool=redis.ConnectionPool(**_clean(admin))) as other:
            other.script_kill()
        assert await waiting == 6
        await running


def _command(client: Any, *words: Any) -> Any:
    return client.execute_command(*words)


def _clean(admin: redis.Redis) -> dict[str, Any]:
    pool = admin.connection_pool
    return {**pool.connection_kwargs, "connection_class": pool.connection_class}


def _until_busy(url: str) -> None:
    while not command(url, "GET", "k").startswith(b"-BUSY"):
        time.sleep(0.01)


def _eval(admin: redis.Redis, script: str) -> None:
    try:
        admin.eval(script, 0)
    except redis.RedisError:
        return


async def test_a_restart_is_not_noticed_by_the_next_read(tmp_path: Any, build: Build) -> None:
    port = free_port()
    settings: dict[str, Any] = {"appendonly": "yes", "appendfsync": "always", "port": port, "bind": "127.0.0.1"}
    url = f"redis://127.0.0.1:{port}/0"
    with running_server(tmp_path, binary=build.binary, **settings):
        session = Session(Settings(url, timeout=2))
        await save(Account("a", 5), session=session)
        await asyncio.gather(*(get(Account, "a", session=session) for _ in range(50)))
    with pytest.raises(ConnectionFailed):
        await get(Account, "a", session=session)
    with running_server(tmp_path, binary=build.binary, **settings):
        found = await asyncio.gather(*(get(Account, "a", session=session) for _ in range(50)))
        assert {one.coins for one in found} == {5}
        assert await increment(ref(Account, "a"), Account.coins, 1, session=session) == 6
        await session.close()


async def test_a_killed_connection_is_replaced(url: str, redis_client: redis.Redis) -> None:
    async with open_session(url) as session:
        await save(Account("a", 5), session=session)
        for _ in range(3):
            _command(redis_client, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.sleep(0.02)
            assert (await get(Account, "a", session=session)).coins == 5
            async with pipeline(ref(Account, "a"), session=session) as a:
                _command(redis_client, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                await asyncio.sleep(0.02)
                a.coins += 1
            await increment(ref(Account, "a"), Account.coins, -1, session=session)


async def test_a_key_of_another_type_is_named(url: str, redis_client: redis.Redis) -> None:
    redis_client.set("Account:a", SECRET)
    async with open_session(url) as session:
        for work in (
            lambda: get(Account, "a", session=session),
            lambda: increment(ref(Account, "a"), Account.coins, 1, session=session),
            lambda: _drafted(session),
            lambda: _locked(session),
        ):
            with pytest.raises(WrongKeyType) as caught:
                await work()
            assert caught.value.key == "Account:a"
            assert SECRET not in _everything(caught.value)
    assert redis_client.get("Account:a") == SECRET.encode()
    assert redis_client.keys("~*") == []


async def _drafted(session: Session) -> None:
    async with pipeline(ref(Account, "a"), session=session) as a:
        a.coins += 1


def _everything(error: BaseException) -> str:
    parts = ["".join(traceback.format_exception(error)), repr(error), str(error)]
    data = vars(error) if hasattr(error, "__dict__") else {}
    return "".join(parts) + repr({name: value for name, value in data.items() if name != "raw"})


async def test_passwords_and_values_are_never_shown(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caught: list[BaseException] = []
    with running_tcp_server(binary=build.binary, requirepass=HIDDEN) as url:
        good = url.replace("redis://", f"redis://:{HIDDEN}@")
        for wrong in (url, url.replace("redis://", f"redis://:{HIDDEN}x@")):
            with pytest.raises(ServerRefused) as refused:
                async with open_session(wrong):
                    pass
            caught.append(refused.value)
            assert refused.value.code == "NOAUTH"
        async with open_session(good, timeout=1) as session:
            shown = [session, Settings(good), session.context, session.loop.node, session.loop.node.pool]
            assert HIDDEN not in "".join(map(repr, shown))
            await save(Player("p", motto=SECRET), session=session)
            for work in (_conflicting, _wrong_value, _corrupt):
                with pytest.raises(RapyerError) as error:
                    await work(session, good)
                caught.append(error.value)
    async with open_session_of_nothing(good) as failure:
        caught.append(failure)
    for one in caught:
        text = _everything(one)
        # The lines of this file are part of a traceback, and name the constants, not what they hold.
        assert SECRET not in text, text
        assert HIDDEN not in text, text
    assert SECRET not in caplog.text
    assert HIDDEN not in caplog.text


async def _conflicting(session: Session, url: str) -> None:
    async with pipeline(ref(Player, "p"), session=session) as d:
        assert d.motto
        await assign(ref(Player, "p"), Player.motto, SECRET + "x", session=session)
        d.coins += 1


async def _wrong_value(session: Session, url: str) -> None:
    async with pipeline(ref(Player, "p"), session=session) as d:
        d.coins = SECRET  # type: ignore[assignment]  # the point of the test


async def _corrupt(session: Session, url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.hset("Player:p", "coins", SECRET)
    await get(Player, "p", session=session)


@asynccontextmanager
async def open_session_of_nothing(url: str) -> AsyncIterator[BaseException]:
    try:
        async with open_session(url, timeout=0.5):
            pass
    except ConnectionFailed as error:
        yield error


async def test_a_user_without_multi_is_told_at_once(build: Build) -> None:
    async with server(build) as (_, admin):
        _command(admin, "ACL", "SETUSER", "limited", "on", "nopass", "~*", "+@all", "-multi")
        url = admin.connection_pool.connection_kwargs["path"]
        with pytest.raises(ServerRefused, match="MULTI"):
            async with open_session(f"unix://limited:x@{url}"):
                pass


async def test_a_conflict_names_fields_not_values(url: str) -> None:
    async with open_session(url) as session:
        await save(Player("p", motto=SECRET), session=session)
        with pytest.raises(Conflict) as caught:
            await _conflicting(session, url)
        assert caught.value.fields == ("motto",)
