"""Sessions that find their server by sentinels: by a url, or by a client of redis-py of either kind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

import rapyer_core as rc
from rapyer_core import ConnectionFailed, Key, ServerRefused, open_session, redis_model, sync
from rapyer_core.sessions import Session
from tests.support.sentinels import SERVICE, Deployment
from tests.support.servers import free_port


@redis_model
@dataclass
class Found:
    name: Key[str]
    wins: int = 0


WAYS: dict[str, Callable[[Deployment], dict[str, Any]]] = {
    "url": lambda deployment: {"url": deployment.url},
    "asyncio client": lambda deployment: {"client": deployment.master_for(redis.asyncio.Sentinel)},
    "blocking client": lambda deployment: {"client": deployment.master_for(redis.Sentinel)},
}


def _stored(deployment: Deployment) -> int:
    """What the primary itself has."""
    with deployment.client(deployment.primary) as client:
        wins: Any = client.hget("Found:a", "wins")
        return int(wins)


@pytest.mark.parametrize("how", WAYS)
async def test_a_session_finds_the_primary(deployment: Deployment, how: str) -> None:
    async with open_session(**WAYS[how](deployment)) as session:
        await rc.save(Found("a", 1), session=session)
        counted = await asyncio.gather(
            *(rc.increment(rc.ref(Found, "a"), Found.wins, 1, session=session) for _ in range(50))
        )
        assert sorted(counted) == list(range(2, 52))
    assert _stored(deployment) == 51


@pytest.mark.parametrize("how", WAYS)
def test_a_blocking_session_finds_the_primary(deployment: Deployment, how: str) -> None:
    with sync.open_session(**WAYS[how](deployment)) as session:
        sync.save(Found("a", 1), session=session)
        assert sync.increment(rc.ref(Found, "a"), Found.wins, 1, session=session) == 2
    assert _stored(deployment) == 2


def test_a_lent_client_serves_several_event_loops(deployment: Deployment) -> None:
    """Its own connections to the sentinels belong to the first one."""

    async def saved(number: int) -> int:
        await rc.save(Found("a", number))
        return (await rc.get(Found, "a")).wins

    with warnings.catch_warnings():
        # A connection of an event loop that has ended is closed by the collector, which complains.
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(_opened(deployment.master_for(redis.asyncio.Sentinel)))
        assert [asyncio.run(saved(number)) for number in (1, 2)] == [1, 2]
        asyncio.run(rc.close_rapyer())
        gc.collect()


async def _opened(client: Any) -> None:
    await rc.init_rapyer(client=client)


def test_a_database_is_the_clients(deployment: Deployment) -> None:
    with sync.open_session(client=deployment.master_for(redis.Sentinel, db=3)) as session:
        sync.save(Found("a", 1), session=session)
    with deployment.client(deployment.primary) as client:
        assert client.dbsize() == 0
        client.select(3)
        assert client.keys() == [b"Found:a"]


async def test_the_managers_own_ideas_of_where_the_primary_is_count(deployment: Deployment) -> None:
    """A subclass may translate addresses, of a network behind another one for example."""
    asked = []

    class Translating(redis.asyncio.sentinel.Sentinel):
        async def discover_master(self, service_name: str) -> tuple[str, int]:
            host, port = await super().discover_master(service_name)
            asked.append((host, int(port)))
            return "localhost", port

    async with open_session(client=deployment.master_for(Translating)) as session:
        await rc.save(Found("a", 1), session=session)
        links = session.loop.node.pool._every
        assert {link._connection.host for link in links if link.ready} == {"localhost"}
    assert set(asked) == {("127.0.0.1", deployment.primary)}


@pytest.mark.parametrize("kind", [redis.Sentinel, redis.asyncio.Sentinel], ids=["blocking", "asyncio"])
async def test_an_address_that_is_forced_is_taken(deployment: Deployment, kind: Any) -> None:
    manager = kind(deployment.addresses, force_master_ip="localhost")
    async with open_session(client=manager.master_for(SERVICE)) as session:
        await rc.save(Found("a", 1), session=session)
        assert session.loop.node.pool._every[0]._connection.host == "localhost"


# -- what cannot be found --


def _text(error: BaseException) -> str:
    """All that anybody can come to see of it."""
    texts = []
    chain: BaseException | None = error
    while chain is not None:
        texts.append(f"{chain!s} {chain!r}")
        chain = chain.__cause__ or chain.__context__
    return " ".join(texts)


async def test_a_service_that_no_sentinel_knows_is_named_at_once(deployment: Deployment) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        async with open_session(deployment.url.replace(SERVICE, "nobody")):
            pass
    assert str(caught.value) == "the sentinels know of no service 'nobody'; nothing was written"
    assert not caught.value.timed_out


def test_the_same_in_a_blocking_session(deployment: Deployment) -> None:
    with pytest.raises(ConnectionFailed, match="know of no service 'nobody'"):
        with sync.open_session(deployment.url.replace(SERVICE, "nobody")):
            pass


async def test_sentinels_that_are_not_there(deployment: Deployment) -> None:
    url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/{SERVICE}"
    with pytest.raises(ConnectionFailed, match=f"no sentinel of '{SERVICE}' answers; nothing was written"):
        async with open_session(url):
            pass
    with pytest.raises(ConnectionFailed, match=f"no sentinel of '{SERVICE}' answers; nothing was written"):
        with sync.open_session(url):
            pass


async def test_a_sentinel_that_sees_too_few_others_does_not_count(deployment: Deployment) -> None:
    """It may be cut off from the rest, and not know of a failover."""
    with pytest.raises(ConnectionFailed, match=f"no primary of '{SERVICE}' could be reached within 0.3 s") as caught:
        async with open_session(deployment.url + "?min_other_sentinels=5", timeout=0.3):
            pass
    assert caught.value.timed_out
    with pytest.raises(ConnectionFailed, match=f"no primary of '{SERVICE}' could be reached within 0.3 s"):
        with sync.open_session(deployment.url + "?min_other_sentinels=5", timeout=0.3):
            pass
    async with open_session(deployment.url + "?min_other_sentinels=2") as session:
        await rc.save(Found("a"), session=session)


async def test_connecting_ends_in_time_though_somebody_keeps_the_end_to_himself(deployment: Deployment) -> None:
    """Of code that is asked where the primary is: without that, everybody else would wait for this one."""

    class Deaf(redis.asyncio.sentinel.Sentinel):
        async def discover_master(self, service_name: str) -> tuple[str, int]:
            await super().discover_master(service_name)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            raise redis.ConnectionError

    async with asyncio.timeout(20):
        with pytest.raises(ConnectionFailed, match=f"no primary of '{SERVICE}' could be reached within 0.3 s"):
            async with open_session(client=deployment.master_for(Deaf), timeout=0.3):
                pass


async def test_a_session_that_ends_while_it_asks_leaves_no_connection(deployment: Deployment) -> None:
    """However far the question had come. (A connection that is left open is an error of the test.)"""
    for step in range(40):
        async with open_session(deployment.url) as session:
            await rc.save(Found("a", 1), session=session)
            for _ in range(step):
                await asyncio.sleep(0)
    gc.collect()


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("what", ["dead", "silent"])
async def test_the_others_are_asked_when_a_sentinel_does_not_answer(
    deployment: Deployment, silent: int, what: str
) -> None:
    port = silent if what == "silent" else free_port()
    url = deployment.url.replace("://", f"://127.0.0.1:{port},")
    began = time.monotonic()
    async with open_session(url, timeout=2) as session:
        await rc.save(Found("a", 1), session=session)
        # Whoever answered is asked first from now on.
        assert session.loop.node.pool.connector._sentinels[-1][1]["port"] != port  # type: ignore[attr-defined]
        assert session.loop.node.pool.connector._sentinels[1][1]["port"] == port  # type: ignore[attr-defined]
    with sync.open_session(url, timeout=2) as blocking:
        assert sync.get(Found, "a", session=blocking).wins == 1
    assert time.monotonic() - began < 2 * 2  # the deadlines of both openings


@pytest.mark.parametrize("kind", [redis.Sentinel, redis.asyncio.Sentinel], ids=["blocking", "asyncio"])
async def test_only_a_client_of_the_primary_can_lend(deployment: Deployment, kind: Any) -> None:
    manager = kind(deployment.addresses)
    with pytest.raises(TypeError, match="master_for"):
        async with open_session(client=manager):
            pass
    with pytest.raises(TypeError, match="master_for"):
        async with open_session(client=manager.slave_for(SERVICE)):
            pass


# -- passwords --


@pytest.fixture(scope="module")
def guarded(build: Any) -> Iterator[Deployment]:
    """A primary and a sentinel that each want a password of their own."""
    with Deployment(
        replicas=0, sentinels=1, binary=build.binary, password="canary-p", sentinel_password="canary-s"
    ) as deployment:
        yield deployment


@pytest.mark.parametrize("how", WAYS)
async def test_the_passwords_of_the_primary_and_of_the_sentinels_are_apart(guarded: Deployment, how: str) -> None:
    async with open_session(**WAYS[how](guarded)) as session:
        await rc.save(Found("a", 1), session=session)
    with sync.open_session(**WAYS[how](guarded)) as blocking:
        assert sync.get(Found, "a", session=blocking).wins == 1


@pytest.mark.parametrize(
    ("right", "wrong", "text"),
    [
        ("canary-p", "canary-x", "the server refused the user name or password"),
        ("canary-s", "canary-x", "the sentinels of 'mymaster' refused the user name or password"),
        ("?sentinel_password=canary-s", "", "the sentinels of 'mymaster' refused the user name or password"),
        (":canary-p@", "", "the server refused the user name or password"),
    ],
)
async def test_a_wrong_password_is_told_at_once_and_not_shown(
    guarded: Deployment, right: str, wrong: str, text: str
) -> None:
    url = guarded.url.replace(right, wrong)
    with pytest.raises(ServerRefused, match=text) as caught:
        async with open_session(url):
            pass
    assert caught.value.code == "NOAUTH"
    assert "canary" not in _text(caught.value)
    with pytest.raises(ServerRefused, match=text) as caught:
        with sync.open_session(url):
            pass
    assert "canary" not in _text(caught.value)


async def test_a_user_that_may_not_ask_for_the_role_believes_the_sentinels(deployment: Deployment) -> None:
    with deployment.client(deployment.primary) as client:
        client.execute_command("ACL", "SETUSER", "few", "on", ">pass", "~*", "&*", "+@all", "-role")
    url = deployment.url.replace("://", "://few:pass@")
    try:
        async with open_session(url) as session:
            await rc.save(Found("a", 1), session=session)
        with sync.open_session(url) as blocking:
            assert sync.get(Found, "a", session=blocking).wins == 1
    finally:
        with deployment.client(deployment.primary) as client:
            client.execute_command("ACL", "DELUSER", "few")


async def test_nothing_is_left_of_a_session(deployment: Deployment) -> None:
    """No connection to the primary and none to a sentinel."""

    def names(port: int) -> list[str]:
        with deployment.client(port) as client:
            found: Any = client.client_list()
            return [one["name"] for one in found]

    own = deployment.url + "?client_name=own&sentinel_client_name=own"
    async with open_session(own, max_connections=8) as session:
        await rc.save(Found("a", 1), session=session)
        await asyncio.gather(*(_pipelined(session) for _ in range(50)))
        assert names(deployment.primary).count("own") > 1
        assert [names(port).count("own") for port in deployment.sentinels] == [0, 0, 0]
    with sync.open_session(own) as blocking:
        sync.save(Found("b", 1), session=blocking)
        assert [names(port).count("own") for port in deployment.sentinels] == [0, 0, 0]
    end = time.monotonic() + 10
    while names(deployment.primary).count("own") and time.monotonic() < end:  # noqa: ASYNC110  # nothing tells
        await asyncio.sleep(0.01)
    assert names(deployment.primary).count("own") == 0


async def _pipelined(session: Session) -> None:
    async with rc.pipeline(rc.ref(Found, "a"), session=session) as found:
        found.wins += 1
