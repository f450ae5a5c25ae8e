"""The limit: the same work as bytes that were prepared beforehand, sent over a bare socket, replies read by hiredis.

Nothing is encoded, nothing is decoded and nothing is checked while the clock runs. Two ways to wait for replies: a
blocking socket, and an event loop's protocol, below which nothing that uses asyncio can come.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import hiredis
import redis

from bench.players import LAST_WIN, Achievement, Player, flatten_to_bytes

Command = tuple[str | bytes | int, ...]
Prepared = Callable[[str, Player], Sequence[Command]]
"""The commands of one operation on the player under a key."""

Write = tuple[bytes, int]
"""What one write sends, and how many replies it brings."""

_CHUNK = 1 << 18


# -- the operations, by the fewest commands that have the same effect --


def save(key: str, player: Player) -> Sequence[Command]:
    return [("HSET", key, *(part for item in flatten_to_bytes(player).items() for part in item))]


def get(key: str, player: Player) -> Sequence[Command]:
    return [("HGETALL", key)]


def increment(key: str, player: Player) -> Sequence[Command]:
    return [("HINCRBY", key, "score", 10)]


def append(key: str, player: Player) -> Sequence[Command]:
    """As if the length were known: that of the local player, which grows."""
    length = len(player.achievements)
    player.achievements.append(Achievement.STREAK_10)
    return [("HSET", key, f"achievements.{length}", Achievement.STREAK_10.value, "achievements", length + 1)]


def wins(key: str, player: Player) -> Sequence[Command]:
    """One MULTI/EXEC that checks nothing."""
    return [
        ("MULTI",),
        ("HINCRBY", key, "score", 100),
        ("HINCRBY", key, "wins", 1),
        ("HSET", key, "metadata.last_win", LAST_WIN, "metadata.streak", "10"),
        ("EXEC",),
    ]


# -- sending them --


class Limit:
    """The operations over a blocking socket, on players stored in the form of the hand-written side."""

    def __init__(self, url: str, prefix: str) -> None:
        self.prefix = prefix
        # redis-py opens the socket, since it knows every kind of address; then it is out of the way.
        self._pool = redis.ConnectionPool.from_url(url, protocol=2, socket_timeout=None)
        connection: Any = self._pool.get_connection()
        connection.connect()
        self._socket: socket.socket = connection._sock

    async def open(self) -> None:
        """What needs the event loop."""

    async def close(self) -> None:
        self._pool.disconnect()

    def key(self, player: Player) -> str:
        return self.prefix + player.username

    async def set_up(self, players: Sequence[Player]) -> None:
        """Store them, as they are."""
        sent = self.send(self.writes(save, players, 100))
        if sent is not None:
            await sent

    def writes(self, operation: Prepared, players: Sequence[Player], together: int) -> list[Write]:
        """The bytes of one operation on each player, so many in each write."""
        return [self._write(operation, players[at : at + together]) for at in range(0, len(players), together)]

    def _write(self, operation: Prepared, players: Sequence[Player]) -> Write:
        commands = [command for player in players for command in operation(self.key(player), player)]
        # The type of hiredis allows tuples of one kind only.
        return b"".join(hiredis.pack_command(command) for command in commands), len(commands)  # type: ignore[arg-type]

    def send(self, writes: Sequence[Write]) -> Coroutine[Any, Any, None] | None:
        """One write after the other, each after the replies of the one before."""
        reader = hiredis.Reader()
        for data, replies in writes:
            self._socket.sendall(data)
            while replies:
                reply = reader.gets()
                if reply is False:
                    reader.feed(self._socket.recv(_CHUNK))
                    continue
                _refuse(reply)
                replies -= 1
        return None


class LoopLimit(Limit):
    """The same by a protocol of the event loop."""

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, self._replies = await loop.create_connection(_Replies, sock=self._socket)

    async def close(self) -> None:
        self._transport.close()
        await self._replies.closed
        await super().close()

    async def send(self, writes: Sequence[Write]) -> None:
        for data, count in writes:
            arrived = self._replies.expect(count)
            self._transport.write(data)
            await arrived


class _Replies(asyncio.Protocol):
    """Counts replies; the future of `expect` is done when they are there."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = hiredis.Reader()
        self._missing = 0
        self._arrived: asyncio.Future[None] | None = None

    def expect(self, count: int) -> asyncio.Future[None]:
        self._missing = count
        self._arrived = asyncio.get_running_loop().create_future()
        return self._arrived

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        for reply in _ready(self._reader):
            _refuse(reply)
            self._missing -= 1
        if not self._missing and self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_exception(exc or ConnectionError("closed by the server"))


def _ready(reader: hiredis.Reader) -> Iterator[object]:
    while (reply := reader.gets()) is not False:
        yield reply


def _refuse(reply: object) -> None:
    if isinstance(reply, hiredis.ReplyError):
        raise reply
