"""One connected blocking socket: packed commands out, replies in. No pools, no WATCH, no connecting.

Works on what redis-py connected, past its ``Connection``: a write without asking the system first whether it may
write, the reader of hiredis fed and emptied directly, and one deadline for a whole batch. ``Channel`` knows sockets,
plain and TLS, that are read by hiredis; ``RedisPyChannel`` uses redis-py's public methods for everything else.

Whatever is raised here, KeyboardInterrupt included, may leave replies unread: the connection is of no use then.
"""

from __future__ import annotations

import os
import select
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import redis
from redis._parsers.hiredis import NOT_ENOUGH_DATA, _HiredisParser

from rapyer_core.requests import Reply
from rapyer_core.transports.wire import AHEAD, AsError, as_reply, reply_reader


class Channel:
    """A socket and its reader. Not for two threads at once."""

    __slots__ = (
        "_buffer",
        "_feed",
        "_gets",
        "_pending",
        "_receive",
        "_socket",
        "_timeout",
        "_write",
        "is_spent",
        "poll",
    )

    def __init__(self, connection: Any, timeout: float, as_error: AsError) -> None:
        parser, sock = connection._parser, connection._sock
        reader = reply_reader(as_error)
        self._socket: socket.socket = sock
        self._timeout = timeout
        self._buffer: bytearray = parser._buffer
        self._feed, self._gets = reader.feed, reader.gets
        self._receive = sock.recv_into
        self._pending: Callable[[], int] | None = getattr(sock, "pending", None)
        # A socket with a timeout does not block by itself: Python would ask before each write whether it may.
        bare = type(sock) is socket.socket and os.name == "posix"
        self._write: Callable[[bytes], int] = partial(os.write, sock.fileno()) if bare else sock.send
        self.is_spent: Callable[[], bool] = reader.has_data
        """Whether it is of no use any more, once all commands are answered: something came that belongs to none."""
        self.poll = _poll(sock)
        """Wait so many milliseconds; whether something can be received then, the end of the connection for one."""

    def retire(self) -> None:
        """Once all commands are answered, it is of no use any more."""
        self.is_spent = _always

    def exchange(self, packed: bytes, count: int) -> list[Reply]:
        """Send commands and receive so many replies, all within the timeout. Error replies are values.

        TimeoutError, OSError, RedisError.
        """
        end = time.monotonic() + self._timeout
        buffer = self._buffer
        try:
            sent = self._write(packed)
        except BlockingIOError:
            sent = 0
        if sent == len(packed):
            self._feed(buffer, 0, self._receive(buffer))
        else:
            self._send_rest(memoryview(packed)[sent:], end)
        return self._replies(count, end)

    def flow(self, parts: Iterable[tuple[bytes, int]]) -> Iterator[list[Reply]]:
        """The replies to each part, commands and how many they are, while those ahead are sent.

        As ``exchange``, but the timeout is for how long nothing moves: a flow may be as long as it wants.
        """
        counts: deque[int] = deque()
        for packed, count in parts:
            self._send(packed)
            counts.append(count)
            if len(counts) > AHEAD:
                yield self._replies(counts.popleft())
        for count in counts:
            yield self._replies(count)

    def _send(self, packed: bytes) -> None:
        try:
            sent = self._write(packed)
        except BlockingIOError:
            sent = 0
        if sent < len(packed):
            self._send_rest(memoryview(packed)[sent:])

    def _replies(self, count: int, end: float | None = None) -> list[Reply]:
        """So many replies. end: as of ``_receive_more``."""
        gets = self._gets
        replies: list[Reply] = []
        while len(replies) < count:
            reply = gets(False)
            if reply is NOT_ENOUGH_DATA:
                self._receive_more(end)
            else:
                replies.append(reply)
        return replies

    def _receive_more(self, end: float | None = None) -> None:
        """Receive something. end: when it is too late; None: if nothing comes for as long as the timeout."""
        if not (self._pending is not None and self._pending()) and not self.poll(self._left(end)):
            raise TimeoutError
        size = self._receive(self._buffer)
        if not size:
            raise ConnectionResetError
        self._feed(self._buffer, 0, size)

    def _send_rest(self, rest: memoryview, end: float | None = None) -> None:
        """Send what was not taken at once. Receives meanwhile: the other side may read no more until somebody does.

        end: as of ``_receive_more``.
        """
        if self._pending is not None or os.name != "posix":
            while rest:
                rest = rest[self._socket.send(rest) :]
                self._left(end)
            return
        poller = select.poll()
        poller.register(self._socket, select.POLLIN | select.POLLOUT)
        while rest:
            ready = poller.poll(self._left(end))
            if not ready:
                raise TimeoutError
            if ready[0][1] & select.POLLIN:
                self._receive_more(end)
            if ready[0][1] & ~select.POLLIN:
                try:
                    rest = rest[os.write(self._socket.fileno(), rest) :]
                except BlockingIOError:
                    continue

    def _left(self, end: float | None) -> int:
        """Milliseconds, rounded up. TimeoutError if none are left. end: None: all of the timeout."""
        left = self._timeout if end is None else end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return int(left * 1000) + 1


def _poll(sock: Any) -> Callable[[int], object]:
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        return poller.poll
    return partial(_poll_by_selectors, sock)


def _poll_by_selectors(sock: Any, milliseconds: int) -> object:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return selector.select(milliseconds / 1000)


class RedisPyChannel:
    """The same for connections that only redis-py knows how to read. Each reply has a timeout of its own."""

    __slots__ = ("_as_error", "_connection", "is_spent")

    def __init__(self, connection: Any, as_error: AsError) -> None:
        self._connection = connection
        self._as_error = as_error
        self.is_spent: Callable[[], bool] = _never

    def retire(self) -> None:
        """Once all commands are answered, it is of no use any more."""
        self.is_spent = _always

    def poll(self, milliseconds: int) -> object:
        try:
            return self._connection.can_read(milliseconds / 1000)
        except (redis.RedisError, OSError):
            return True

    def exchange(self, packed: bytes, count: int) -> list[Reply]:
        self._connection.send_packed_command([packed], check_health=False)
        return [self._receive() for _ in range(count)]

    def flow(self, parts: Iterable[tuple[bytes, int]]) -> Iterator[list[Reply]]:
        """One after the other."""
        for packed, count in parts:
            yield self.exchange(packed, count)

    def _receive(self) -> Reply:
        try:
            reply = self._connection.read_response(disable_decoding=True, disconnect_on_error=False)
            return as_reply(reply, self._as_error)
        except (redis.ResponseError, redis.BusyLoadingError) as error:
            return as_reply(error, self._as_error)


def _always() -> bool:
    return True


def _never() -> bool:
    return False


def channel_of(connection: Any, timeout: float, as_error: AsError) -> Channel | RedisPyChannel:
    """The channel of a connection that is connected. timeout: seconds, of one exchange; the socket has the same.

    as_error: makes values of its error replies.
    """
    if type(connection._parser) is _HiredisParser and connection._sock.gettimeout():
        return Channel(connection, timeout, as_error)
    return RedisPyChannel(connection, as_error)
