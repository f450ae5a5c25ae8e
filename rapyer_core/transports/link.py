"""One asyncio connection of redis-py's, on which we do the round trip ourselves where we know how it is read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

import redis
from redis._parsers.hiredis import _AsyncHiredisParser

from rapyer_core.requests import Command, Lost, Reply
from rapyer_core.slots import Address
from rapyer_core.transports.aio_connector import Connector
from rapyer_core.transports.replies import IGNORED, Replies, Sink, deliver
from rapyer_core.transports.wire import AHEAD, as_reply, pack, refused_connection, reply_reader

_UNWATCH = pack([(b"UNWATCH",)])


class Owner(Protocol):
    """Whose link it is."""

    timeout: float
    """Seconds for one round trip."""
    connector: Connector
    """Connects its links."""

    def due(self) -> float:
        """When a round trip that begins now is given up, by the clock of the event loop. The owner sees to that."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside whoever asks."""
        ...


class Link:
    """One connection. Lent out, it is not for two tasks at once."""

    __slots__ = ("_connection", "_owner", "_unwatch", "replies", "watching")

    def __init__(self, connection: Any, owner: Owner) -> None:
        self._connection = connection
        self._owner = owner
        self.replies: Replies | None = None
        """Reads it; None: not connected, or a connection that only redis-py can read."""
        self.watching = False
        self._unwatch = False
        """Whether a former user left a WATCH, which is lifted in front of the next one's commands."""

    @property
    def ready(self) -> bool:
        """Whether commands can be sent without connecting first."""
        return self.replies is not None and self.replies.sound

    def leave(self, address: Address) -> None:
        """If it is connected to this server, use the connection for nothing new."""
        connection = self._connection
        if self.replies is not None and (connection.host, connection.port) == address:
            self.replies.retire()

    def post(self, commands: Sequence[Command], sink: Sink) -> None:
        """Send the commands in one write, now if the link is ready; the sink gets their replies, or a Lost.

        A link that is watching and turns out to be dead answers Lost(sent=False) instead of connecting anew: what was
        to be sent relies on the WATCH.
        """
        replies = self.replies
        if replies is None or not replies.sound:
            self._owner.spawn(deliver(self.roundtrip(commands), sink))
            return
        packed = pack(commands)
        self._note_watch(commands)
        self._send(packed, len(commands), self._owner.due(), sink)

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
                self._send(packed, count, self._owner.due(), future)
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
        patience = _Patience(replies, self._owner.timeout, loop)
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
            await self._owner.connector.connect(connection)
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
            replies = Replies(reply_reader(self._owner.connector.as_error(connection)), transport)
            transport.set_protocol(replies)
            self.replies = replies

    async def _by_redis_py(self, packed: bytes, count: int, moving: bool) -> list[Reply]:
        timed_out = False
        found: list[Reply] = []
        try:
            async with asyncio.timeout(self._owner.timeout) as limit:
                await self._connection.send_packed_command([packed], check_health=False)
                while len(found) < count:
                    found.append(await self._slowly())
                    if moving:
                        limit.reschedule(asyncio.get_running_loop().time() + self._owner.timeout)
                return found
        except (TimeoutError, redis.TimeoutError):
            timed_out = True
        except (redis.RedisError, OSError, EOFError):
            pass
        raise Lost(sent=True, timed_out=timed_out)

    async def _slowly(self) -> Reply:
        as_error = self._owner.connector.as_error(self._connection)
        try:
            reply = await self._connection.read_response(disable_decoding=True, disconnect_on_error=False)
            return as_reply(reply, as_error)
        except (redis.ResponseError, redis.BusyLoadingError) as error:
            return as_reply(error, as_error)

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
