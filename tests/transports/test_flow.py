"""Flows: many commands part by part, on both transports. Some parts are ahead of the replies; none gets another's."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest
import redis
import redis.asyncio
from redis._parsers import _RESP2Parser
from redis._parsers.resp2 import _AsyncRESP2Parser

from rapyer_core.requests import Command, Lost, Reply, ServerError
from rapyer_core.settings import Settings
from rapyer_core.transports import aio, blocking
from rapyer_core.transports.wire import AHEAD
from tests.support.peer import Peer, answered, commands_of
from tests.support.proxy import Proxy

ECHO = b"ECHO"
PARTS = 40
Parts = Iterator[Sequence[Command]]
Take = Callable[[list[Reply]], None]


class World:
    """One of the two transports, used alike."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    async def flow(self, parts: Parts, take: Take) -> None:
        done = self.pool.flow(parts, take)
        if done is not None:
            await done

    async def ask(self, *commands: Command) -> Any:
        found = self.pool.ask(commands)
        return found if isinstance(found, list) else await found

    async def close(self) -> None:
        done = self.pool.close()
        if done is not None:
            await done


WORLDS: dict[str, Callable[[Settings], World]] = {
    "asyncio": lambda settings: World(aio.Pool(settings)),
    "blocking": lambda settings: World(blocking.Pool(settings)),
}


@pytest.fixture(params=WORLDS)
def open_world(request: pytest.FixtureRequest) -> Callable[[Settings], World]:
    return WORLDS[request.param]


@pytest.fixture
async def world(open_world: Callable[[Settings], World], url: str) -> AsyncIterator[World]:
    world = open_world(Settings(url))
    yield world
    await world.close()


@pytest.fixture
async def faulty(open_world: Callable[[Settings], World], proxy: Proxy) -> AsyncIterator[World]:
    """Behind a network that fails on demand."""
    world = open_world(Settings(proxy.url, timeout=1.0))
    await world.ask((b"PING",))
    proxy.clear()
    yield world
    await world.close()


def echoes(count: int = PARTS, size: int = 1) -> Parts:
    """Parts of growing size."""
    for number in range(count):
        yield [(ECHO, b"%d:%d" % (number, each) * size) for each in range(number + 1)]


def expected(number: int, size: int = 1) -> list[bytes]:
    return [b"%d:%d" % (number, each) * size for each in range(number + 1)]


async def test_each_part_gets_its_replies_in_order(world: World) -> None:
    taken: list[list[Reply]] = []
    await world.flow(echoes(), taken.append)
    assert taken == [expected(number) for number in range(PARTS)]
    await world.flow(iter([]), taken.append)
    assert len(taken) == PARTS


async def test_some_parts_are_ahead_but_not_all(world: World) -> None:
    asked = taken = 0
    ahead: list[int] = []

    def parts() -> Parts:
        nonlocal asked
        for part in echoes():
            asked += 1
            ahead.append(asked - taken)
            yield part

    def take(replies: list[Reply]) -> None:
        nonlocal taken
        taken += 1

    await world.flow(parts(), take)
    assert taken == PARTS
    assert max(ahead) == AHEAD + 1


async def test_error_replies_are_values_nested_ones_too(world: World) -> None:
    taken: list[list[Any]] = []
    wrong: list[Command] = [(b"SET", b"text", b"x"), (b"MULTI",), (b"INCR", b"text"), (b"GET", b"text"), (b"EXEC",)]
    await world.flow(iter([wrong, [(b"NOSUCH",)], [(b"PING",)]]), taken.append)
    assert isinstance(taken[0][-1][0], ServerError)
    assert (taken[0][-1][0].code, taken[0][-1][1]) == ("ERR", b"x")
    assert taken[1][0].code == "ERR"
    assert taken[2] == [b"PONG"]


async def test_much_goes_both_ways_at_once(world: World) -> None:
    """More than the buffers of either side hold."""
    taken: list[int] = []
    await world.flow(echoes(12, 40_000), lambda replies: taken.append(sum(map(len, replies))))
    assert taken == [sum(map(len, expected(number, 40_000))) for number in range(12)]


async def test_what_is_raised_while_taking_ends_it_and_nobody_gets_what_was_left(world: World) -> None:
    for stop in (0, 1, 5, PARTS - 1):
        taken: list[list[Reply]] = []

        def take(replies: list[Reply], taken: list[list[Reply]] = taken, stop: int = stop) -> None:
            if len(taken) == stop:
                raise TimeoutError("of the one who takes")
            taken.append(replies)

        with pytest.raises(TimeoutError, match="of the one who takes"):
            await world.flow(echoes(), take)
        assert taken == [expected(number) for number in range(stop)]
        assert await world.ask((ECHO, b"other")) == [b"other"]


async def test_what_is_raised_by_the_parts_ends_it_too(world: World) -> None:
    def parts() -> Parts:
        yield from echoes(AHEAD + 3)
        yield [(ECHO, object())]  # type: ignore[list-item]  # that is the point

    with pytest.raises(TypeError):
        await world.flow(parts(), lambda replies: None)
    assert await world.ask((ECHO, b"other")) == [b"other"]


@pytest.mark.parametrize("kind", ["cut_before", "half_request", "cut_after", "eat_reply", "half_reply"])
@pytest.mark.parametrize("nth", [1, 2, 60, 800])
async def test_a_connection_that_breaks_is_told_and_made_anew(faulty: World, proxy: Proxy, kind: str, nth: int) -> None:
    fault = getattr(proxy, kind)(ECHO, nth=nth)
    taken: list[list[Reply]] = []
    with pytest.raises(Lost) as lost:
        await faulty.flow(echoes(), taken.append)
    assert lost.value.sent
    assert not lost.value.timed_out
    assert fault.hits == 1
    assert taken == [expected(number) for number in range(len(taken))]
    assert sum(map(len, taken)) < nth
    proxy.clear()
    taken.clear()
    await faulty.flow(echoes(), taken.append)
    assert taken == [expected(number) for number in range(PARTS)]


async def test_a_part_that_is_not_answered_in_time_is_told(faulty: World, proxy: Proxy) -> None:
    fault = proxy.hold_reply(ECHO, nth=30)
    taken: list[list[Reply]] = []
    with pytest.raises(Lost) as lost:
        await faulty.flow(echoes(), taken.append)
    fault.release()
    assert lost.value.timed_out
    assert sum(map(len, taken)) < 30
    assert await faulty.ask((ECHO, b"other")) == [b"other"]


async def test_a_flow_whose_replies_come_slowly_is_not_given_up(open_world: Callable[[Settings], World]) -> None:
    """Of one part and of those ahead: each waits for longer than the timeout, but something comes all the time."""

    def slow(connection: socket.socket) -> None:
        for words in commands_of(connection):
            if words[0] == ECHO:
                never.wait(0.15)
            connection.sendall(answered(words))

    never = threading.Event()
    with Peer(slow) as peer:
        world = open_world(Settings(peer.url, timeout=0.8))
        taken: list[list[Reply]] = []
        parts: list[list[Command]] = [[(ECHO, b"%d" % each) for each in range(7)]]
        parts.extend([(ECHO, b"x")] for _ in range(4))
        await world.flow(iter(parts), taken.append)
        assert taken == [[b"%d" % each for each in range(7)], *[[b"x"]] * 4]
        await world.close()
        assert peer.connections == 1


async def test_a_flow_that_is_read_slowly_is_not_given_up(open_world: Callable[[Settings], World]) -> None:
    """More than the buffers between the two sides hold."""

    def slow(connection: socket.socket) -> None:
        for words in commands_of(connection):
            connection.sendall(answered(words))
            if words[0] == ECHO:
                break
        for megabyte in range(29):
            never.wait(0.1 if megabyte < 20 else 0)
            connection.recv(1_000_000, socket.MSG_WAITALL)
        connection.sendall(b"+read\r\n")
        while connection.recv(1_000_000):
            pass

    never = threading.Event()
    with Peer(slow) as peer:
        world = open_world(Settings(peer.url, timeout=0.8))
        taken: list[list[Reply]] = []
        await world.flow(iter([[(ECHO, b"now")], [(ECHO, bytes(30_000_000))]]), taken.append)
        assert taken == [[b"now"], [b"read"]]
        await world.close()
        assert peer.connections == 1


async def test_an_idle_connection_that_was_closed_is_made_anew(faulty: World, proxy: Proxy) -> None:
    await faulty.flow(echoes(3), lambda replies: None)
    proxy.cut_all()
    await asyncio.sleep(0.05)
    taken: list[list[Reply]] = []
    await faulty.flow(echoes(3), taken.append)
    assert len(taken) == 3


async def test_connections_that_only_redis_py_can_read(url: str) -> None:
    client = redis.asyncio.Redis.from_url(url, parser_class=_AsyncRESP2Parser)
    other = redis.Redis(connection_pool=redis.ConnectionPool.from_url(url, parser_class=_RESP2Parser))
    for world in (World(aio.Pool(Settings(client=client))), World(blocking.Pool(Settings(client=other)))):
        taken: list[list[Reply]] = []
        await world.flow(echoes(), taken.append)
        assert taken == [expected(number) for number in range(PARTS)]
        await world.close()
    await client.aclose()
    other.close()


async def test_flows_of_many_tasks_some_of_them_cancelled(url: str) -> None:
    """Nobody gets replies of somebody else, no connection is lost to the others."""
    pool = aio.Pool(Settings(url, max_connections=8))

    async def flow(task: int) -> int:
        taken = 0

        def take(replies: list[Reply]) -> None:
            nonlocal taken
            assert replies == [b"%d:%d" % (task, taken)] * 20
            taken += 1

        await pool.flow(iter([[(ECHO, b"%d:%d" % (task, part))] * 20 for part in range(15)]), take)
        return taken

    tasks = [asyncio.create_task(flow(task)) for task in range(60)]
    for number, task in enumerate(tasks[::3]):
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    for number, each in enumerate(found):
        if number % 3 or not isinstance(each, asyncio.CancelledError):
            assert each == 15
    assert any(isinstance(each, asyncio.CancelledError) for each in found)
    assert len(pool._idle) == len(pool._links)
    assert [await pool.ask([(ECHO, b"other")]) for _ in range(20)] == [[b"other"]] * 20
    await pool.close()
