"""The asyncio transport: redis-py connections, our own pool, and one write and one reading per round trip."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import redis
import redis.asyncio.connection
from redis._parsers.hiredis import NOT_ENOUGH_DATA, _AsyncHiredisParser
from redis.asyncio.retry import Retry

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


class _Replies(asyncio.Protocol):
    """Reads replies off a connection: for the one round trip under way, as many as it waits for.

    Stands in for the stream of redis-py's connection once that is connected: a stream costs a second copy of the data
    and a coroutine for each piece of it.
    """

    def __init__(self, reader: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._feed, self._gets, self._has_data = reader.feed, reader.gets, reader.has_data
        self._loop = loop
        self._replies: list[Reply] = []
        self._count = 0
        self._waiter: asyncio.Future[list[Reply]] | None = None
        self.lost = False
        self.astray = False
        """Something came that nobody had asked for: the connection is of no use any more."""

    async def expect(self, transport: Any, packed: bytes, count: int) -> list[Reply]:
        """Send, and wait for so many replies. EOFError when the connection breaks."""
        self._replies, self._count = [], count
        self._waiter = waiter = self._loop.create_future()
        transport.write(packed)
        try:
            replies: list[Reply] = await waiter
            return replies
        finally:
            self._waiter = None

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self.astray = True
            return
        try:
            self._feed(data)
            gets, replies = self._gets, self._replies
            while len(replies) < self._count:
                reply = gets(False)
                if reply is NOT_ENOUGH_DATA:
                    return
                replies.append(reply if type(reply) in PLAIN else as_reply(reply))
        except Exception as error:
            waiter.set_exception(error)
            return
        self.astray = self._has_data()
        waiter.set_result(replies)

    def eof_received(self) -> None:
        # A turn of the event loop before the connection counts as lost: nothing may be sent meanwhile.
        self.lost = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(EOFError())


class Link:
    """One connection. Not for two tasks at once."""

    __slots__ = ("_connection", "_due", "_pool", "_replies", "_timed_out", "_unwatch", "watching")

    def __init__(self, connection: Any, pool: Pool) -> None:
        self._connection = connection
        self._pool = pool
        self._replies: _Replies | None = None
        self._timed_out = False
        self._unwatch = False
        self.watching = False
        self._due = 0.0
        """When the round trip under way is given up; 0: there is none."""

    async def roundtrip(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands in one write and read their replies, in order. Error replies are values.

        Raises Lost when the connection broke or the server did not answer in time; ServerRefused when it refuses
        the connection. Whatever is raised, CancelledError included, the connection is closed then.

        A link that is watching and turns out to be dead raises Lost(sent=False) instead of connecting anew: what was
        to be sent relies on the WATCH.
        """
        if not self._is_clean():
            await self._renew()
        extra = self._unwatch
        packed = pack((_UNWATCH, *commands) if extra else commands)
        count = len(commands) + extra
        replies: list[Reply] = []
        done = False
        self._pool._started(self)
        try:
            if self._replies is not None:
                transport = self._connection._writer.transport
                replies = await self._replies.expect(transport, packed, count)
            else:
                replies = await self._exchange(packed, count)
            done = True
        except (redis.RedisError, OSError, EOFError):
            pass
        finally:
            self._due = 0.0
            if not done:
                await self.close()
        if not done:
            raise Lost(sent=True, timed_out=self._timed_out)
        # Only EXEC (or the UNWATCH in front of the next user's commands) ends what a WATCH began.
        self.watching = commands[0][0] == b"WATCH" or (self.watching and commands[-1][0] != b"EXEC")
        self._unwatch = False
        return replies[1:] if extra else replies

    def _is_clean(self) -> bool:
        """Connected, the other side has not closed, and nothing unread is waiting."""
        connection = self._connection
        replies = self._replies
        if replies is not None:
            return not (replies.lost or replies.astray)
        stream = connection._reader
        if stream is None or connection._writer is None:
            return False
        reader = getattr(connection._parser, "_reader", None)
        # redis-py itself looks at this buffer: streams have no public way to ask whether something is waiting.
        return not (stream.at_eof() or stream._buffer or (reader is not None and reader.has_data()))

    def _expire(self) -> None:
        """The server did not answer in time: cut the connection, so that whoever waits for a reply goes on."""
        self._timed_out = True
        writer = self._connection._writer
        if writer is not None:
            writer.transport.abort()

    async def _renew(self) -> None:
        """Connect, after closing a connection that is of no use any more."""
        connection = self._connection
        relied, self._timed_out = self.watching, False
        await self.close()
        if relied:
            raise Lost(sent=False)
        done = timed_out = False
        refused: Exception | None = None
        try:
            async with asyncio.timeout(self._pool.timeout):
                await connection.connect()
            self._take_over()
            done = True
        except TimeoutError:
            timed_out = True
        except redis.RedisError as error:
            timed_out = isinstance(error, redis.TimeoutError)
            refused = refused_connection(error)
        except OSError:
            pass
        finally:
            if not done:
                await self.close()
        if refused is not None:
            raise refused
        if not done:
            raise Lost(sent=False, timed_out=timed_out)

    async def _exchange(self, packed: bytes, count: int) -> list[Reply]:
        await self._connection.send_packed_command([packed], check_health=False)
        return [await self._slowly() for _ in range(count)]

    def _take_over(self) -> None:
        """Read the connection ourselves from here on, if it is as we know it."""
        connection = self._connection
        parser: Any = connection._parser
        if type(parser) is _AsyncHiredisParser and not connection._reader._buffer:
            replies = _Replies(parser._reader, asyncio.get_running_loop())
            connection._writer.transport.set_protocol(replies)
            self._replies = replies

    async def _slowly(self) -> Reply:
        try:
            return as_reply(await self._connection.read_response(disable_decoding=True, disconnect_on_error=False))
        except (redis.ResponseError, redis.BusyLoadingError) as error:
            return as_reply(error)

    def free(self) -> None:
        """Nobody holds the link any more: a WATCH that is still on it is lifted with the next round trip."""
        self._unwatch = self._unwatch or self.watching
        self.watching = False

    def _drop(self) -> None:
        """Close the connection without waiting."""
        self._replies = None
        self.watching = self._unwatch = False
        writer, self._connection._writer, self._connection._reader = self._connection._writer, None, None
        if writer is not None:
            writer.close()

    async def close(self) -> None:
        """Close the connection; the link can be used again and connects anew."""
        self._replies = None
        self.watching = self._unwatch = False
        await self._connection.disconnect(nowait=True)


class Pool:
    """Links of one event loop: at most max_connections, handed out in the order asked for."""

    def __init__(self, settings: Settings) -> None:
        self._class, self._arguments = connection_parameters(
            settings, redis.asyncio.ConnectionPool, redis.asyncio.connection
        )
        self._arguments["socket_timeout"] = None
        self.timeout = settings.timeout
        self._patience = settings.pool_timeout
        self.size = settings.max_connections
        self._idle: list[Link] = []
        self._waiting: deque[asyncio.Future[Link]] = deque()
        self._links: list[Link] = []
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def acquire(self) -> Link:
        """A free link. PoolTimeout when none becomes free in time."""
        link = self.spare(reserve=0)
        if link is not None:
            return link
        future: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(self._patience):
                return await future
        except BaseException as error:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.release(future.result())
            if isinstance(error, TimeoutError):
                raise PoolTimeout(waited=self._patience, size=self.size) from None
            raise

    def spare(self, reserve: int) -> Link | None:
        """A link that is free now, if more than reserve of them are; else None."""
        if self._closed:
            raise SessionClosed("the session was closed")
        if self._waiting or self.size - len(self._links) + len(self._idle) <= reserve:
            return None
        if self._idle:
            return self._idle.pop()
        arguments = {**self._arguments, "retry": backoff_free_retry(Retry)}
        link = Link(self._class(**arguments), self)
        self._links.append(link)
        return link

    def release(self, link: Link) -> None:
        """Give a link back. Of a pool that was closed meanwhile, it is closed."""
        link.free()
        if self._closed:
            link._drop()
            return
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(link)
                return
        self._idle.append(link)

    def _started(self, link: Link) -> None:
        """A round trip begins: it has as long as the session's timeout."""
        loop = asyncio.get_running_loop()
        link._due = loop.time() + self.timeout
        if self._sweeping is None:
            self._sweeping = loop.call_at(link._due, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up what is overdue. One timer for all links: a timer for each round trip costs more than packing it."""
        now = loop.time()
        for link in self._links:
            if link._due and link._due <= now:
                link._expire()
        coming = min((link._due for link in self._links if link._due > now), default=None)
        self._sweeping = None if coming is None else loop.call_at(coming, self._sweep, loop)

    async def close(self) -> None:
        """Close the idle connections; those in use when they are given back. Who waits for one gets SessionClosed."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(SessionClosed("the session was closed"))
        idle, self._idle = self._idle, []
        for link in idle:
            await link.close()
