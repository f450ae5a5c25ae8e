"""A session is opened by the address of any node, or by a client of redis-py, and finds the others by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio

from rapyer_core import (
    CrossSlot,
    Session,
    close_rapyer,
    get_many,
    increment,
    init_rapyer,
    open_session,
    pipeline,
    ref,
    save_many,
    sync,
)
from tests.cluster.models import NAMES, Player
from tests.support.builds import Build
from tests.support.clusters import Cluster, running_cluster

SECRET = "secret-of-the-cluster"


async def use(session: Session | None = None) -> None:
    """Objects of all nodes are written and read."""
    await save_many([Player(name, coins=1) for name in NAMES], session=session)
    assert await increment(ref(Player, NAMES[0]), Player.coins, 1, session=session) == 2
    found = await get_many(Player, NAMES, session=session)
    assert [player and player.coins for player in found] == [2] + [1] * (len(NAMES) - 1)


def use_blocking(session: sync.Session | None = None) -> None:
    sync.save_many([Player(name, coins=1) for name in NAMES], session=session)
    assert sync.increment(ref(Player, NAMES[0]), Player.coins, 1, session=session) == 2
    found = sync.get_many(Player, NAMES, session=session)
    assert [player and player.coins for player in found] == [2] + [1] * (len(NAMES) - 1)


def is_spread(cluster: Cluster) -> bool:
    return all(node.client.dbsize() > 9 for node in cluster.masters) and len(cluster.dump()) == len(NAMES)


@pytest.mark.parametrize("number", range(3))
async def test_the_address_of_any_node_is_enough(cluster: Cluster, number: int) -> None:
    await init_rapyer(cluster.urls[number])
    await use()
    await close_rapyer()
    assert is_spread(cluster)


@pytest.mark.parametrize("number", range(3))
def test_the_address_of_any_node_is_enough_for_the_blocking_functions(cluster: Cluster, number: int) -> None:
    sync.init_rapyer(cluster.urls[number])
    use_blocking()
    sync.close_rapyer()
    assert is_spread(cluster)


async def test_what_is_asked_at_once_at_the_start_finds_all_nodes(cluster: Cluster) -> None:
    await init_rapyer(cluster.url)
    await asyncio.gather(*(save_many([Player(name)]) for name in NAMES))
    await close_rapyer()
    assert is_spread(cluster)


def test_every_event_loop_of_a_session_finds_all_nodes(cluster: Cluster) -> None:
    async def increments(session: Session) -> None:
        await asyncio.gather(*(increment(ref(Player, name), Player.coins, 1, session=session) for name in NAMES))
        await session.loop.server.close()

    async def opened() -> Session:
        session = await init_rapyer(cluster.url)
        await save_many([Player(name) for name in NAMES])
        await session.loop.server.close()
        return session

    session = asyncio.run(opened())
    for _ in range(3):
        asyncio.run(increments(session))
    with sync.open_session(cluster.url) as other:
        found = sync.get_many(Player, NAMES, session=other)
    asyncio.run(close_rapyer())
    assert [player and player.coins for player in found] == [3] * len(NAMES)


@pytest.fixture(scope="module")
def _guarded(build: Build) -> Iterator[Cluster]:
    with running_cluster(binary=build.binary, requirepass=SECRET) as cluster:
        yield cluster


@pytest.fixture
def guarded(_guarded: Cluster) -> Cluster:
    """A cluster that wants a password, empty."""
    _guarded.flush()
    return _guarded


def _by_arguments(kind: Any, url: str) -> Any:
    parts = urlsplit(url)
    return kind(host=parts.hostname, port=parts.port, password=parts.password)


CLIENTS: dict[str, Any] = {
    "asyncio cluster, by its arguments": lambda url: _by_arguments(redis.asyncio.RedisCluster, url),
    "asyncio cluster, by its address": lambda url: redis.asyncio.RedisCluster.from_url(url),
    "cluster, by its arguments": lambda url: _by_arguments(redis.RedisCluster, url),
    "cluster, by its address": lambda url: redis.RedisCluster.from_url(url),
    "asyncio, of one node": lambda url: redis.asyncio.Redis.from_url(url),
    "of one node": lambda url: _by_arguments(redis.Redis, url),
}


@pytest.mark.parametrize("how", CLIENTS)
async def test_a_client_lends_address_and_password(guarded: Cluster, how: str) -> None:
    client = CLIENTS[how](guarded.urls[1])
    async with open_session(client=client) as session:
        await use(session)
    assert is_spread(guarded)
    with sync.open_session(client=client) as blocking:
        use_blocking(blocking)
    await _close(client)


async def _close(client: Any) -> None:
    closed = client.aclose() if hasattr(client, "aclose") else client.close()
    if closed is not None:
        await closed


async def test_a_client_that_is_in_use_goes_on_working(guarded: Cluster) -> None:
    async with redis.asyncio.RedisCluster.from_url(guarded.url) as client:
        await client.set("beside", "1")
        async with open_session(client=client) as session:
            await use(session)
        assert await client.get("beside") == b"1"


async def test_a_password_in_the_address_counts_for_all_nodes(guarded: Cluster) -> None:
    async with open_session(guarded.urls[2]) as session:
        await use(session)
    assert is_spread(guarded)


async def test_a_wrong_password_is_refused_and_not_shown(guarded: Cluster) -> None:
    wrong = guarded.url.replace(SECRET, "wrong-password")
    with pytest.raises(Exception, match=r"WRONGPASS|password") as caught:
        async with open_session(wrong):
            pass
    assert type(caught.value).__module__.startswith("rapyer_core")
    assert "wrong-password" not in str(caught.value)


BAD_PREFIXES = ["a{b", "{}x", "a}b", "{", "{{", "x{}y{z}:"]
GOOD_PREFIXES = ["", "app:", "{game}:", "app:{game}:", "{game}", "a}{b}", "{a}{b}:", "{{a}:"]


@pytest.mark.parametrize("prefix", BAD_PREFIXES)
async def test_a_prefix_that_tears_an_object_from_its_lock_is_refused(cluster: Cluster, prefix: str) -> None:
    with cluster.counting() as sent:
        with pytest.raises(ValueError, match="prefix") as caught:
            await init_rapyer(cluster.url, prefix=prefix)
        with pytest.raises(ValueError, match="prefix"):
            sync.init_rapyer(cluster.url, prefix=prefix)
    # An empty commit, to see whether the user may write.
    assert set(sent) <= {"multi", "exec"}
    assert repr(prefix) in str(caught.value)
    assert "'{game}:'" in str(caught.value)


@pytest.mark.parametrize("prefix", GOOD_PREFIXES)
async def test_an_object_and_all_that_is_kept_for_it_share_a_slot(cluster: Cluster, prefix: str) -> None:
    async with open_session(cluster.url, prefix=prefix, exactly_once=True) as session:
        await use(session)
        found = {key for key in cluster.dump() if b"~" in key}
        assert len(found) > 1
        async with pipeline(ref(Player, NAMES[0]), session=session) as draft:
            draft.coins += 1
        keys = [ref(Player, name) for name in NAMES[:2]]
        if prefix in ("", "app:"):
            with pytest.raises(CrossSlot):
                async with pipeline(*keys, session=session):
                    pass
        else:
            async with pipeline(*keys, session=session) as (one, two):
                one.coins += 1
                two.coins += 1


async def test_a_second_session_on_one_server_is_none_of_a_cluster(cluster: Cluster, url: str) -> None:
    async with open_session(cluster.url) as many, open_session(url, prefix="{}x") as single:
        await use(many)
        await use(single)
    assert is_spread(cluster)
