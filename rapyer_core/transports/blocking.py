"""The blocking transport: the same as the asyncio one, for threads.

Threads are not cancelled, but KeyboardInterrupt and exceptions of signal handlers hit between any two lines. What must
hold all the same: a connection is never given to two threads, and never to anybody while replies are unread. A link
that is forgotten between two lines is closed with the object, and its place in the pool is free again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakSet

import redis

from rapyer_core import processes
from rapyer_core.errors import PoolTimeout, SessionClosed
from rapyer_core.requests import READ, WRITE, Command, Lost, Reply, ServerError, outcome
from rapyer_core.settings import Settings
from rapyer_core.slots import Address
from rapyer_core.transports.blocking_connector import Connector, connector_of
from rapyer_core.transports.channel import Channel, RedisPyChannel, channel_of
from rapyer_core.transports.wire import BEGIN, END, pack, refused_connection

_UNWATCH = pack([(b"UNWATCH",)])


class Link:
    """One connection. Not for two threads at once."""

    __slots__ = (
        "__weakref__",
        "_channel",
        "_connected",
        "_connection",
        "_connector",
        "_process",
        "_timeout",
        "_unwatch",
        "watching",
    )

    def __init__(self, connector: Connector, timeout: float) -> None:
        self._connection = connector.make()
        self._connector = connector
        self._timeout = timeout
        self._process = processes.current
        self._channel: Channel | RedisPyChannel | None = None
        """None: not connected, or somebody uses it: put back once everything is answered."""
        self._connected: Channel | RedisPyChannel | None = None
        """The same, whoever uses it."""
        self.watching = False
        self._unwatch = False

    def leave(self, address: Address) -> None:
        """If it is connected to this server, use the connection for nothing new. Any thread may ask for that."""
        channel = self._connected
        if channel is not None and (self._connection.host, self._connection.port) == address:
            channel.retire()

    def roundtrip(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands in one write and read their replies, in order. Error replies are values.

        Raises Lost when the connection broke or the server did not answer in time; ServerRefused when it refuses
        the connection. Whatever is raised, KeyboardInterrupt included, the connection is closed then.

        A link that is watching and turns out to be dead raises Lost(sent=False) instead of connecting anew: what was
        to be sent relies on the WATCH.
        """
        # Only EXEC (or the UNWATCH in front of the next user's commands) ends what a WATCH began.
        watching = commands[0][0] == b"WATCH" or (self.watching and commands[-1][0] != b"EXEC")
        return self.exchange(pack(commands), len(commands), watching)

    def exchange(self, packed: bytes, count: int, watching: bool = False) -> list[Reply]:
        """The same for packed commands. watching: whether a WATCH stands after them."""
        channel, self._channel = self._channel, None
        if channel is None or self._process is not processes.current or channel.is_spent() or channel.poll(0):
            channel = self._connect()
        unwatch = self._unwatch
        if unwatch:
            self._unwatch = False
            packed, count = _UNWATCH + packed, count + 1
        # Before the commands leave: an interrupt right after the last reply must not hide the WATCH.
        self.watching = watching
        timed_out = False
        try:
            replies = channel.exchange(packed, count)
        except (redis.TimeoutError, TimeoutError):
            timed_out = True
        except (redis.RedisError, OSError):
            pass
        except BaseException:
            self.close()
            raise
        else:
            self._channel = channel
            return replies[1:] if unwatch else replies
        self.close()
        raise Lost(sent=True, timed_out=timed_out)

    def flow(self, parts: Iterable[Sequence[Command]], take: Callable[[list[Reply]], None]) -> None:
        """Send parts, each in one write, some of them ahead of the replies. It is given up when nothing moves for as
        long as a round trip may take.

        Raises as ``roundtrip``, and what `take` does; the connection is closed then.
        """
        if self._unwatch:
            self.exchange(b"", 0)
        channel, self._channel = self._channel, None
        if channel is None or self._process is not processes.current or channel.is_spent() or channel.poll(0):
            channel = self._connect()
        answers = channel.flow((pack(part), len(part)) for part in parts)
        done = False
        try:
            while (replies := _next(answers)) is not None:
                take(replies)
            done = True
        finally:
            if done:
                self._channel = channel
            else:
                self.close()

    def _connect(self) -> Channel | RedisPyChannel:
        """Connect, after closing what is of no use any more."""
        if self._process is not processes.current:
            # A block that was open at a fork. The socket is the parent's.
            raise Lost(sent=False)
        relied = self.watching
        self.close()
        if relied:
            raise Lost(sent=False)
        timed_out = False
        refused: Exception | None = None
        try:
            connection, connector = self._connection, self._connector
            connector.connect(connection)
            channel = channel_of(connection, self._timeout, connector.as_error(connection))
            channel.is_spent = connector.spent(connection, channel.is_spent)
            self._connected = channel
            return channel
        except redis.RedisError as error:
            timed_out = isinstance(error, redis.TimeoutError)
            refused = refused_connection(error)
        except OSError:
            pass
        except BaseException:
            self.close()
            raise
        self.close()
        raise refused or Lost(sent=False, timed_out=timed_out)

    def free(self) -> None:
        """Nobody holds the link any more: a WATCH that is still on it is lifted with the next round trip."""
        self._unwatch = self._unwatch or self.watching
        self.watching = False

    def close(self) -> None:
        """Close the connection; the link can be used again and connects anew."""
        self._channel = self._connected = None
        self.watching = self._unwatch = False
        self._connection.disconnect()


def _next(answers: Iterator[list[Reply]]) -> list[Reply] | None:
    """What is received next in a flow; None at its end."""
    timed_out = False
    try:
        return next(answers, None)
    except (redis.TimeoutError, TimeoutError):
        timed_out = True
    except (redis.RedisError, OSError):
        pass
    raise Lost(sent=True, timed_out=timed_out)


class Pool:
    """Links of one process: at most max_connections, shared by all threads, handed out in the order asked for.

    Who finds a link that is free takes it, and gives it back, without a lock: a list takes and gives one at a time. The
    lock is for those who must wait. They say so before they look, and whoever gives back looks for them afterwards, so
    that one of the two sees the other.
    """

    def __init__(self, settings: Settings) -> None:
        self._connector = connector_of(settings, self._leave)
        self._timeout = settings.timeout
        self._patience = settings.pool_timeout
        self.size = settings.max_connections
        self._process = processes.current
        self._links: WeakSet[Link] = WeakSet()
        self._idle: list[Link] = []
        self._lock = threading.Lock()
        self._waiting: deque[threading.Condition] = deque()
        self._closed = False

    def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands that leave no trace on a connection; their replies. As ``Link.roundtrip``."""
        replies: list[Reply] = self.send(READ, pack(commands), len(commands))
        return replies

    def write(self, commands: Sequence[Command], alone: bool = False) -> list[Reply] | ServerError | None:
        """Send them as one MULTI/EXEC; what it came to. alone: it always is, among threads."""
        written: list[Reply] | ServerError | None = self.send(WRITE, pack(commands), len(commands))
        return written

    def send(self, kind: int, packed: bytes, count: int) -> Any:
        """``ask`` or ``write`` for so many packed commands: of READ or WRITE."""
        # What acquire and release do where nobody waits, in place: each call here is one of every operation.
        try:
            link = self.acquire() if self._waiting else self._idle.pop()
        except IndexError:
            link = self.acquire()
        try:
            if kind is READ:
                return link.exchange(packed, count)
            replies = link.exchange(BEGIN + packed + END, count + 2)
        finally:
            self._idle.append(link)
            if self._waiting or self._closed:
                self._pass_on()
        written = replies[-1]
        return written if type(written) is list else outcome(replies, 0, count, alone=True)

    def flow(self, parts: Iterable[Sequence[Command]], take: Callable[[list[Reply]], None]) -> None:
        """The same for many commands, part by part. As ``Link.flow``."""
        link = self.acquire()
        try:
            link.flow(parts, take)
        finally:
            self.release(link)

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
            try:
                return self._idle.pop()
            except IndexError:
                pass
        if len(self._links) >= self.size:
            return None
        link = Link(self._connector, self._timeout)
        self._links.add(link)
        return link

    def _leave(self, address: Address) -> None:
        """Use no connection to this server for anything new: it is not the primary any more."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.leave(address)

    def release(self, link: Link) -> None:
        """Give a link back. One of a parent process is forgotten, its socket left alone."""
        if link.watching:
            link.free()
        self._idle.append(link)
        if self._waiting or self._closed:
            self._pass_on()

    def _pass_on(self) -> None:
        """Of what is free: let the first of those who wait take it, or, after the end, close it."""
        if self._process is not processes.current:
            # Whoever waits is in the parent, and the lock may be held there for ever.
            return
        if self._closed:
            self._close_idle()
        else:
            with self._lock:
                self._call_next()

    def close(self) -> None:
        """Close the idle connections; those in use when they are given back. Who waits for one gets SessionClosed."""
        self._closed = True
        with self._lock:
            self._call_next()
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            try:
                link = self._idle.pop()
            except IndexError:
                return
            link.close()
