"""The blocking transport: the same as the asyncio one, for threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import redis
import redis.connection
from redis._parsers.hiredis import NOT_ENOUGH_DATA, _HiredisParser

from redis.retry import Retry

from rapyer_core.errors import PoolTimeout
from rapyer_core.requests import Command, Lost, Reply
from rapyer_core.settings import Settings
from rapyer_core.transports.wire import as_reply, backoff_free_retry, connection_parameters, pack, refused_connection

_UNWATCH: Command = (b"UNWATCH",)


class Link:
    """One connection. Not for two threads at once."""

    __slots__ = ("_connection", "_timeout", "_unwatch", "watching")

    def __init__(self, connection: Any, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self.watching = False
        self._unwatch = False

    def roundtrip(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands in one write and read their replies, in order. Error replies are values.

        Raises Lost when the connection broke or the server did not answer in time; ServerRefused when it refuses
        the connection. Whatever is raised, KeyboardInterrupt included, the connection is closed then.
        """
        self._ready()
        extra, self._unwatch = self._unwatch, False
        packed = pack((_UNWATCH, *commands) if extra else commands)
        count = len(commands) + extra
        done = timed_out = False
        try:
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
        self.watching = commands[0][0] == b"WATCH"
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
            self.close()
        self.watching = self._unwatch = False
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
        gets = parser._reader.gets
        end = time.monotonic() + self._timeout
        replies: list[Reply] = []
        while len(replies) < count:
            reply = gets(False)
            if reply is NOT_ENOUGH_DATA:
                parser.read_from_socket()
                if time.monotonic() > end:
                    raise TimeoutError
            else:
                replies.append(as_reply(reply) if isinstance(reply, Exception | list) else reply)
        return replies

    def _slowly(self) -> Reply:
        try:
            return as_reply(self._connection.read_response(disable_decoding=True, disconnect_on_error=False))
        except (redis.ResponseError, redis.BusyLoadingError) as error:
            return as_reply(error)

    def free(self) -> None:
        """Nobody holds the link any more: a WATCH that is still on it is lifted with the next round trip."""
        self._unwatch = self.watching
        self.watching = False

    def close(self) -> None:
        """Close the connection; the link can be used again and connects anew."""
        self.watching = self._unwatch = False
        self._connection.disconnect()


class Pool:
    """Links of one process: at most max_connections, shared by all threads."""

    def __init__(self, settings: Settings) -> None:
        self._class, self._arguments = connection_parameters(settings, redis.ConnectionPool, redis.connection)
        self._arguments["socket_timeout"] = settings.timeout
        self._timeout = settings.timeout
        self._patience = settings.pool_timeout
        self.size = settings.max_connections
        self._idle: list[Link] = []
        self._made = 0
        self._waiting = 0
        self._freed = threading.Condition()

    def acquire(self) -> Link:
        """A free link. PoolTimeout when none becomes free in time."""
        end = time.monotonic() + self._patience
        with self._freed:
            while (link := self._take()) is None:
                self._waiting += 1
                try:
                    in_time = self._freed.wait(end - time.monotonic())
                finally:
                    self._waiting -= 1
                if not in_time:
                    raise PoolTimeout(waited=self._patience, size=self.size)
            return link

    def spare(self, reserve: int) -> Link | None:
        """A link that is free now, if more than reserve of them are; else None."""
        with self._freed:
            if self._waiting or self.size - self._made + len(self._idle) <= reserve:
                return None
            return self._take()

    def _take(self) -> Link | None:
        if self._idle:
            return self._idle.pop()
        if self._made == self.size:
            return None
        self._made += 1
        arguments = {**self._arguments, "retry": backoff_free_retry(Retry)}
        return Link(self._class(**arguments), self._timeout)

    def release(self, link: Link) -> None:
        """Give a link back."""
        link.free()
        with self._freed:
            self._idle.append(link)
            self._freed.notify()

    def close(self) -> None:
        """Close the idle connections. Those in use are closed by whoever uses them."""
        with self._freed:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()
