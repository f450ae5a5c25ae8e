"""Fixtures: an open default session on an empty server, and a counter of round trips."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import redis

import rapyer_core as rc
from rapyer_core.requests import Command
from rapyer_core.transports import aio, line, link, wire
from tests.support.builds import on_every_server
from tests.support.frames import commands_in, words

pytest_generate_tests = on_every_server

Hash = Callable[[str], dict[str, str]]


@pytest.fixture(autouse=True)
async def session(url: str) -> AsyncIterator[rc.Session]:
    """The default session, on an empty server."""
    session = await rc.init_rapyer(url)
    yield session
    await rc.close_rapyer()


class Trips:
    """Counts what goes over the wire. batches: the commands of each round trip."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Command]] = []

    @contextmanager
    def expect(self, count: int) -> Iterator[None]:
        """The block takes exactly this many round trips."""
        before = len(self.batches)
        yield
        sent = self.batches[before:]
        assert len(sent) == count, [[command[0] for command in batch] for batch in sent]

    @property
    def commands(self) -> list[bytes | int]:
        """The names of all commands sent."""
        return [
            words(command)[0] if isinstance(command, bytes) else command[0]
            for batch in self.batches
            for command in batch
        ]


@pytest.fixture
async def trips(session: rc.Session, monkeypatch: pytest.MonkeyPatch) -> Trips:
    """The round trips of every session, counted."""
    counter = Trips()
    plain = wire.pack

    by_line = line.Line.send
    last = b""

    def pack(commands: Sequence[Command]) -> bytes:
        nonlocal last
        counter.batches.append(commands)
        last = plain(commands)
        return last

    def send(self: line.Line, kind: int, packed: bytes, count: int) -> Awaitable[Any]:
        if packed is not last:
            counter.batches.append(commands_in(packed))
        return by_line(self, kind, packed, count)

    # What goes to the server is packed by its transport, or was packed before.
    for module in (aio, link):
        monkeypatch.setattr(module, "pack", pack)
    monkeypatch.setattr(line.Line, "send", send)
    node = session.loop.node
    by_pool = functools.partial(send, node.pool._line)
    monkeypatch.setattr(node.pool, "send", by_pool)
    monkeypatch.setattr(node, "begin", by_pool)
    return counter


@pytest.fixture
def stored(redis_client: redis.Redis) -> Hash:
    """What a hash holds, decoded: ``stored("Player:alice")``."""

    def look(key: str) -> dict[str, str]:
        fields: Any = redis_client.hgetall(key)
        return {name.decode(): value.decode() for name, value in fields.items()}

    return look
