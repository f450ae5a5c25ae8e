"""The asyncio transport: redis-py connections, our own pool, and one write and one reading per round trip."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

import redis
import redis.asyncio.connection
from redis._parsers.hiredis import _AsyncHiredisParser
from redis.asyncio.retry import Retry

from rapyer_core.errors import PoolTimeout, SessionClosed
from rapyer_core.requests import ALONE, READ, WRITE, Command, Lost, Reply, ServerError
from rapyer_core.settings import Settings
from rapyer_core.transports.line import Line
from rapyer_core.transports.replies import IGNORED, Replies, Sink, deliver
from rapyer_core.transports.wire import (
    AHEAD,
    as_reply,
    backoff_free_retry,
    connection_parameters,
    pack,
    refused_connection,
    reply_reader,
)

_UNWATCH = pack([(b"UNWATCH",)])


class Link:
    """One connection. Lent out, it is not for two tasks at once."""

    __slots__ = ("_connection", "_pool", "_unwatch", "replies", "watching")

    def __init__(self, connection: Any, pool: Pool) -> None:
        self._connection = connection
        self._pool = pool
        self.replies: Replies | None = None
        """Reads it; None: not connected, or a connection that only redis-py can read."""
        self.watching = False
        self._unwatch = False
        """Whether a former user left a WATCH, which is lifted in front of the next one's commands."""

    @property
    def ready(self) -> bool:
        """Whether commands can be sent without connecting first."""
        return self.replies is not None and self.replies.sound

    def post(self, commands: Sequence[Command], sink: Sink) -> None:
        """Send the commands in one write, now if the link is ready; the sink gets their replies, or a Lost.

        A link that is watching and turns out to be dead answers Lost(sent=False) instead of connecting anew: what was
        to be sent relies on the WATCH.
        """
        replies = self.replies
        if replies is None or not replies.sound:
            self._pool.spawn(deliver(self.roundtrip(commands), sink))
            return
        packed = pack(commands)
        self._note_watch(commands)
        self._send(packed, len(commands), self._pool.due(), sink)

    def _send(self, packed: bytes, count: int, due: float, sink: Sink) -> None:
        """Send commands on a connection that is ready."""
        replies = self.replies
        assert replies is not None
        if self._unwatch:
            self._unwatch = False
            replies.send_all([(_UNWATCH, 1, IGNORED), (packed, count, sink)], due)
        else:
            replies.send(packed, count, due, sink)

    async def roundtrip(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands in one write and read their replies, in order. Error replies are values.

        Raises Lost when the connection broke or the server did not answer in time; ServerRefused when it refuses
        the connection. Whatever is raised, CancelledError included, the connection is closed then. A dead link that
        was watching is Lost(sent=False), as in ``post``.
        """
        return await self.exchange(pack(commands), len(commands), commands)

    async def exchange(
        self, packed: bytes, count: int, commands: Sequence[Command] = (), moving: bool = False
    ) -> list[Reply]:
        """The same for packed commands. commands: as they were, if a WATCH or EXEC may be among them.

        moving: on a connection that only redis-py can read, it has time for as long as replies come.
        """
        if not self._is_clean():
            await self.renew()
        done = False
        try:
            self._note_watch(commands)
            if self.replies is not None:
                future: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
                self._send(packed, count, self._pool.due(), future)
                found = await future
            else:
                found = await self._by_redis_py(packed, count, moving)
            done = True
            return found
        finally:
            if not done:
                await self.close()

    async def flow(self, parts: Iterable[Sequence[Command]], take: Callable[[list[Reply]], None]) -> None:
        """Send parts, each in one write, some of them ahead of the replies. It is given up when nothing moves for as
        long as a round trip may take.

        Raises as ``roundtrip``, and what `take` does; the connection is closed then.
        """
        if not self._is_clean():
            await self.renew()
        replies = self.replies
        if replies is None:
            for part in parts:
                take(await self.exchange(pack(part), len(part), moving=True))
            return
        loop = asyncio.get_running_loop()
        waiting: deque[asyncio.Future[list[Reply]]] = deque()
        patience = _Patience(replies, self._pool.timeout, loop)
        done = False
        try:
            for part in parts:
                packed = pack(part)
                if not replies.sound:
                    raise Lost(sent=True)
                waiting.append(loop.create_future())
                self._send(packed, len(part), 0.0, waiting[-1])
                patience.renew()
                if len(waiting) > AHEAD:
                    take(await waiting.popleft())
            while waiting:
                take(await waiting.popleft())
            done = True
        finally:
            patience.stop()
            if not done:
                for future in waiting:
                    if not future.cancel():
                        future.exception()  # nobody asks for it, and that is no mistake
                await self.close()

    def _note_watch(self, commands: Sequence[Command]) -> None:
        # Only EXEC (or the UNWATCH when it is given back) ends what a WATCH began.
        if commands:
            self.watching = commands[0][0] == b"WATCH" or (self.watching and commands[-1][0] != b"EXEC")

    def _is_clean(self) -> bool:
        """Connected, the other side has not closed, and nothing unread is waiting."""
        if self.replies is not None:
            return self.replies.sound
        connection = self._connection
        stream = connection._reader
        if stream is None or connection._writer is None:
            return False
        reader = getattr(connection._parser, "_reader", None)
        # redis-py itself looks at this buffer: streams have no public way to ask whether something is waiting.
        return not (stream.at_eof() or stream._buffer or (reader is not None and reader.has_data()))

    async def renew(self) -> None:
        """Connect, after closing a connection that is of no use any more. Raises as ``roundtrip``."""
        connection = self._connection
        relied = self.watching
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

    def _take_over(self) -> None:
        """Read the connection ourselves from here on, if it is as we know it."""
        connection = self._connection
        parser: Any = connection._parser
        if type(parser) is _AsyncHiredisParser and not connection._reader._buffer:
            transport = connection._writer.transport
            replies = Replies(reply_reader(), transport)
            transport.set_protocol(replies)
            self.replies = replies

    async def _by_redis_py(self, packed: bytes, count: int, moving: bool) -> list[Reply]:
        timed_out = False
        found: list[Reply] = []
        try:
            async with asyncio.timeout(self._pool.timeout) as limit:
                await self._connection.send_packed_command([packed], check_health=False)
                while len(found) < count:
                    found.append(await self._slowly())
                    if moving:
                        limit.reschedule(asyncio.get_running_loop().time() + self._pool.timeout)
                return found
        except (TimeoutError, redis.TimeoutError):
            timed_out = True
        except (redis.RedisError, OSError, EOFError):
            pass
        raise Lost(sent=True, timed_out=timed_out)

    async def _slowly(self) -> Reply:
        try:
            return as_reply(await self._connection.read_response(disable_decoding=True, disconnect_on_error=False))
        except (redis.ResponseError, redis.BusyLoadingError) as error:
            return as_reply(error)

    def free(self) -> None:
        """Nobody holds the link any more: a WATCH that is still on it is lifted."""
        if not self.watching:
            return
        if self.ready:
            self.watching, self._unwatch = False, True
        else:
            self.drop()

    def drop(self) -> None:
        """Close the connection without waiting."""
        self.replies = None
        self.watching = self._unwatch = False
        writer, self._connection._writer, self._connection._reader = self._connection._writer, None, None
        if writer is not None:
            writer.close()

    async def close(self) -> None:
        """Close the connection; the link can be used again and connects anew."""
        self.replies = None
        self.watching = self._unwatch = False
        await self._connection.disconnect(nowait=True)


class _Patience:
    """Gives up a connection on which nothing moves for so long. timeout: seconds; it may be a twentieth more."""

    __slots__ = ("_loop", "_moved", "_replies", "_since", "_timeout", "_timer")

    def __init__(self, replies: Replies, timeout: float, loop: asyncio.AbstractEventLoop) -> None:
        self._replies, self._timeout, self._loop = replies, timeout, loop
        self.renew()
        self._timer = loop.call_later(timeout / 20, self._look)

    def renew(self) -> None:
        """Something moved right now."""
        self._since, self._moved = self._loop.time(), self._replies.moved

    def _look(self) -> None:
        if self._replies.moved != self._moved:
            self.renew()
        elif self._loop.time() - self._since >= self._timeout:
            self._replies.give_up(self._loop.time())
            return
        self._timer = self._loop.call_later(self._timeout / 20, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()


class Pool:
    """Links of one event loop: at most max_connections, handed out in the order asked for; one of them is shared."""

    def __init__(self, settings: Settings) -> None:
        self._class, self._arguments = connection_parameters(
            settings, redis.asyncio.ConnectionPool, redis.asyncio.connection
        )
        self._arguments["socket_timeout"] = None
        self.timeout = settings.timeout
        self._patience = settings.pool_timeout
        self.size = settings.max_connections
        self._loop = asyncio.get_running_loop()
        self._idle: list[Link] = []
        self._waiting: deque[asyncio.Future[Link]] = deque()
        self._links: list[Link] = []
        self._sweeping: asyncio.TimerHandle | None = None
        self._working: set[asyncio.Task[None]] = set()
        self._closed = False
        shared = self._new() if self.size > 1 else None
        self._every = [shared] if shared is not None else []
        self._lent = self.size - len(self._every)
        """Links that can be lent out, at most."""
        self._line = Line(self, shared)
        self.send: Callable[[int, bytes, int], Awaitable[Any]] = self._line.send
        """``ask`` or ``write`` for so many packed commands: of READ, WRITE or ALONE."""

    def ask(self, commands: Sequence[Command]) -> Awaitable[list[Reply]]:
        """Send commands that leave no trace on a connection; their replies. As ``Link.roundtrip``."""
        return self.send(READ, pack(commands), len(commands))

    def write(self, commands: Sequence[Command], alone: bool = False) -> Awaitable[list[Reply] | ServerError | None]:
        """Send them as one MULTI/EXEC, which others of this tick may share, unless alone; what it came to for them."""
        return self.send(ALONE if alone else WRITE, pack(commands), len(commands))

    async def acquire(self) -> Link:
        """A free link. PoolTimeout when none becomes free in time."""
        link = self.spare(reserve=0)
        if link is not None:
            return link
        future: asyncio.Future[Link] = self._loop.create_future()
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
        self.check_open()
        if self._waiting or self._lent - len(self._links) + len(self._idle) <= reserve:
            return None
        if self._idle:
            return self._idle.pop()
        link = self._new()
        self._links.append(link)
        self._every.append(link)
        return link

    def check_open(self) -> None:
        """SessionClosed after ``close``."""
        if self._closed:
            raise SessionClosed("the session was closed")

    def _new(self) -> Link:
        return Link(self._class(**{**self._arguments, "retry": backoff_free_retry(Retry)}), self)

    def release(self, link: Link) -> None:
        """Give a link back. Of a pool that was closed meanwhile, it is closed."""
        link.free()
        if self._closed:
            link.drop()
            return
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(link)
                return
        self._idle.append(link)

    async def ask_alone(self, packed: bytes, count: int) -> list[Reply]:
        """The same as ``ask`` for packed commands, on a connection that nobody shares."""
        link = await self.acquire()
        try:
            return await link.exchange(packed, count)
        finally:
            self.release(link)

    async def flow(self, parts: Iterable[Sequence[Command]], take: Callable[[list[Reply]], None]) -> None:
        """The same for many commands, part by part. As ``Link.flow``."""
        link = await self.acquire()
        try:
            await link.flow(parts, take)
        finally:
            self.release(link)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside whoever asks."""
        _ = self.start(work)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """The same; the task that does it."""
        task = self._loop.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return task

    def due(self) -> float:
        """When a round trip that begins now is given up: it has as long as the session's timeout."""
        due = self._loop.time() + self.timeout
        if self._sweeping is None:
            self._sweeping = self._loop.call_at(due, self._sweep)
        return due

    def _sweep(self) -> None:
        """Give up what is overdue. One timer for all links: a timer for each round trip costs more than packing it."""
        now = self._loop.time()
        coming = 0.0
        for link in self._every:
            replies = link.replies
            due = replies.due if replies is not None else 0.0
            if replies is not None and 0 < due <= now:
                replies.give_up(now)
            elif due and (not coming or due < coming):
                coming = due
        self._sweeping = self._loop.call_at(coming, self._sweep) if coming else None

    async def close(self) -> None:
        """Close the idle connections; those in use when they are given back. Who waits for one gets SessionClosed."""
        self._closed = True
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(SessionClosed("the session was closed"))
        await self._line.close()
        idle, self._idle = self._idle, []
        for link in idle:
            await link.close()
