"""The blocking transport: the same as the asyncio one, for threads.

Threads are not cancelled, but KeyboardInterrupt and exceptions of signal handlers hit between any two lines. What must
hold all the same: a connection is never given to two threads, and never to anybody while replies are unread. A link
that is forgotten between two lines is closed with the object, and its place in the pool is free again.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import redis
import redis.connection
from redis._parsers.hiredis import NOT_ENOUGH_DATA, _HiredisParser
from redis.retry import Retry

from rapyer_core.errors import PoolTimeout, SessionClosed
from rapyer_core.requests import Command, Lost, Reply
from rapyer_core.settings import Settings
from rapyer_core.transports.wire import (
    PLAIN,
    as_reply,
    backoff_free_retry,
    connection_parameters,
    pack,
    refused_connection,
)

_UNWATCH: Command = (b"UNWATCH",)


class Link:
    """One connection. Not for two threads at once."""

    __slots__ = ("__weakref__", "_connection", "_pid", "_timeout", "_unwatch", "watching")

    def __init__(self, connection: Any, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._pid = os.getpid()
        self.watching = False
        self._unwatch = False

    def roundtrip(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands in one write and read their replies, in order. Error replies are values.

        Raises Lost when the connection broke or the server did not answer in time; ServerRefused when it refuses
        the connection. Whatever is raised, KeyboardInterrupt included, the connection is closed then.

        A link that is watching and turns out to be dead raises Lost(sent=False) instead of connecting anew: what was
        to be sent relies on the WATCH.
        """
        if self._pid != os.getpid():
            # A block that was open at a fork. The socket is the parent's.
            raise Lost(sent=False)
        self._ready()
        extra = self._unwatch
        packed = pack((_UNWATCH, *commands) if extra else commands)
        count = len(commands) + extra
        replies: list[Reply] = []
        done = timed_out = False
        try:
            # Before the commands leave: an interrupt right after the last reply must not hide the WATCH.
            # Only EXEC (or the UNWATCH in front of the next user's commands) ends what a WATCH began.
            self.watching = commands[0][0] == b"WATCH" or (self.watching and commands[-1][0] != b"EXEC")
            self._unwatch = False
            self._connection.send_packed_command([packed], check_health=False)
            replies = self._replies(count)
            done = True
        except (redis.TimeoutError, TimeoutError):
            timed_out = True
        except (redis.RedisError, OSError):
            pass
        finally:
            if not done:
                self.close()
        if not done:
            raise Lost(sent=True, timed_out=timed_out)
        return replies[1:] if extra else replies

    def _ready(self) -> None:
        """Connect, also when the other side closed or something unread is waiting."""
        connection = self._connection
        if connection.is_connected:
            try:
                if not connection.can_read(0):
                    return
            except (redis.RedisError, OSError):
                pass
            relied = self.watching
            self.close()
            if relied:
                raise Lost(sent=False)
        elif self.watching:
            self.watching = False
            raise Lost(sent=False)
        self._unwatch = False
        done = timed_out = False
        refused: Exception | None = None
        try:
            connection.connect()
            done = True
        except redis.RedisError as error:
            timed_out = isinstance(error, redis.TimeoutError)
            refused = refused_connection(error)
        except OSError:
            pass
        finally:
            if not done:
                self.close()
        if refused is not None:
            raise refused
        if not done:
            raise Lost(sent=False, timed_out=timed_out)

    def _replies(self, count: int) -> list[Reply]:
        """All replies within one timeout for the batch."""
        parser = self._connection._parser
        if type(parser) is not _HiredisParser:
            return [self._slowly() for _ in range(count)]
        reader: Any = parser._reader
        read: Any = parser.read_from_socket
        gets, end = reader.gets, 0.0
        replies: list[Reply] = []
        while len(replies) < count:
            reply = gets(False)
            if reply is NOT_ENOUGH_DATA:
                if not end:
                    end = time.monotonic() + self._timeout
                    read()
                else:
                    read(timeout=max(0.001, end - time.monotonic()))
            else:
                replies.append(reply if type(reply) in PLAIN else as_reply(reply))
        return replies

    def _slowly(self) -> Reply:
        try:
            return as_reply(self._connection.read_response(disable_decoding=True, disconnect_on_error=False))
        except (redis.ResponseError, redis.BusyLoadingError) as error:
            return as_reply(error)

    def free(self) -> None:
        """Nobody holds the link any more: a WATCH that is still on it is lifted with the next round trip."""
        self._unwatch = self._unwatch or self.watching
        self.watching = False

    def close(self) -> None:
        """Close the connection; the link can be used again and connects anew."""
        self.watching = self._unwatch = False
        self._connection.disconnect()


class Pool:
    """Links of one process: at most max_connections, shared by all threads, handed out in the order asked for."""

    def __init__(self, settings: Settings) -> None:
        self._class, self._arguments = connection_parameters(settings, redis.ConnectionPool, redis.connection)
        self._arguments["socket_timeout"] = settings.timeout
        self._timeout = settings.timeout
        self._patience = settings.pool_timeout
        self.size = settings.max_connections
        self._links: WeakSet[Link] = WeakSet()
        self._idle: list[Link] = []
        self._lock = threading.Lock()
        self._waiting: deque[threading.Condition] = deque()
        self._closed = False

    def acquire(self) -> Link:
        """A free link. PoolTimeout when none becomes free in time."""
        with self._lock:
            if not self._waiting and (link := self._take()) is not None:
                return link
            return self._wait()

    def _wait(self) -> Link:
        end = time.monotonic() + self._patience
        turn = threading.Condition(self._lock)
        self._waiting.append(turn)
        try:
            while self._waiting[0] is not turn or (link := self._take()) is None:
                left = end - time.monotonic()
                if left <= 0:
                    raise PoolTimeout(waited=self._patience, size=self.size)
                # No longer than a second: nobody tells of a link that an interrupt made somebody forget.
                turn.wait(min(left, 1.0))
            return link
        finally:
            self._waiting.remove(turn)
            self._call_next()

    def _call_next(self) -> None:
        if self._waiting:
            self._waiting[0].notify()

    def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands that leave no trace on a connection; their replies. As ``Link.roundtrip``."""
        link = self.acquire()
        try:
            return link.roundtrip(commands)
        finally:
            self.release(link)

    def spare(self, reserve: int) -> Link | None:
        """A link that is free now, if more than reserve of them are; else None."""
        with self._lock:
            if self._waiting or self.size - len(self._links) + len(self._idle) <= reserve:
                return None
            return self._take()

    def _take(self) -> Link | None:
        if self._closed:
            raise SessionClosed("the session was closed")
        if self._idle:
            return self._idle.pop()
        if len(self._links) >= self.size:
            return None
        arguments = {**self._arguments, "retry": backoff_free_retry(Retry)}
        link = Link(self._class(**arguments), self._timeout)
        self._links.add(link)
        return link

    def release(self, link: Link) -> None:
        """Give a link back. One of a parent process is forgotten, its socket left alone."""
        with self._lock:
            if link not in self._links:
                return
            link.free()
            if not self._closed:
                self._idle.append(link)
                self._call_next()
                return
        link.close()

    def close(self) -> None:
        """Close the idle connections; those in use when they are given back. Who waits for one gets SessionClosed."""
        with self._lock:
            self._closed = True
            self._call_next()
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()
