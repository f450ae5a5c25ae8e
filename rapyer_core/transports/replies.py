"""Reading one asyncio connection: replies in order, for whoever sent the commands. No pools, no redis import.

Stands in for the stream of redis-py's connection once that is connected: a stream costs a second copy of the data and
a coroutine for each piece of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from redis._parsers.hiredis import NOT_ENOUGH_DATA

from rapyer_core.requests import Lost, Reply, outcome


class Sink(Protocol):
    """Who waits for replies. A future is one."""

    def done(self) -> bool:
        """Whether it waits no more."""
        ...

    def set_result(self, replies: list[Reply], /) -> None:
        """The replies, one per command, in order."""
        ...

    def set_exception(self, error: Exception, /) -> None:
        """There are none: the connection was lost first (Lost), for one."""
        ...


Part = tuple[bytes, int, Sink]
"""Packed commands: bytes, number of commands, who waits for the replies."""


class Shared:
    """A MULTI/EXEC that several share. A sink, which tells each what it came to for them."""

    __slots__ = ("_members",)

    def __init__(self, members: Sequence[tuple[asyncio.Future[Any], int, int]]) -> None:
        """members: who waits, and where their commands begin and end."""
        self._members = members

    def done(self) -> bool:
        return False

    def set_result(self, replies: list[Reply], /) -> None:
        last = replies[-1]
        if isinstance(last, list):
            for future, start, end in self._members:
                if not future.done():
                    future.set_result(last[start:end])
            return
        alone = len(self._members) == 1
        for future, start, end in self._members:
            if not future.done():
                future.set_result(outcome(replies, start, end - start, alone))

    def set_exception(self, error: Exception, /) -> None:
        for future, _, _ in self._members:
            if not future.done():
                # To each an error of its own: tracebacks grow at the places that raise it.
                future.set_exception(Lost(sent=True, timed_out=isinstance(error, Lost) and error.timed_out))


async def deliver(work: Awaitable[list[Reply]], sink: Sink) -> None:
    """Give the sink what comes of the work, unless it waits no more."""
    try:
        replies = await work
    except Exception as error:
        if not sink.done():
            sink.set_exception(error)
    else:
        if not sink.done():
            sink.set_result(replies)


class Replies(asyncio.Protocol):
    """What was sent on a connection and not answered yet. Of several who wait, each gets the replies to its commands.

    Whoever waits no more when its replies come is passed over: they are read all the same, so that nobody gets those of
    somebody else.
    """

    def __init__(self, reader: Any, transport: Any) -> None:
        self._feed, self._gets = reader.feed, reader.gets
        self._is_spent: Callable[[], bool] = reader.has_data
        """Whether the connection is of no use any more, once nobody waits: something came that belongs to nobody."""
        self._transport = transport
        self.waiting: deque[tuple[Sink, int, float]] = deque()
        """Who was not answered yet, for how many commands, and when it is given up (0: the sink sees to that)."""
        self.sound = True
        """Connected, the other side has not closed, nothing came that nobody had asked for, and it is not retired."""
        self._replies: list[Reply] = []
        self._pieces = 0
        self._gave_up = 0.0
        self.takes_more = True
        """Whether the connection keeps up with what is sent."""
        self.on_change: Callable[[], None] | None = None
        """Called when the connection is of no use any more, and when it takes data again."""

    @property
    def moved(self) -> tuple[int, int]:
        """Another one whenever something was received or sent."""
        return self._pieces, self._transport.get_write_buffer_size()

    @property
    def due(self) -> float:
        """When the oldest of those who wait is given up, by the clock of the event loop; 0: nobody waits."""
        return self.waiting[0][2] if self.waiting else 0.0

    def send(self, packed: bytes, count: int, due: float, sink: Sink) -> None:
        """Send commands; the sink gets so many replies."""
        self.waiting.append((sink, count, due))
        self._transport.write(packed)

    def send_all(self, parts: Sequence[Part], due: float) -> None:
        """Send commands of several in one write."""
        self.waiting.extend([(sink, count, due) for _, count, sink in parts])
        self._transport.write(b"".join([packed for packed, _, _ in parts]))

    def give_up(self, now: float) -> None:
        """The server did not answer in time: cut the connection, so that whoever waits goes on."""
        self._gave_up = now
        self.sound = False
        self._transport.abort()

    def retire(self) -> None:
        """Whoever waits gets his replies; after them the connection is not sound any more."""
        self._is_spent = _always
        self.takes_more = False
        if not self.waiting:
            self.sound = False

    def data_received(self, data: bytes) -> None:
        waiting, gets, replies = self.waiting, self._gets, self._replies
        self._pieces += 1
        try:
            self._feed(data)
            while waiting:
                sink, count, _ = waiting[0]
                while len(replies) < count:
                    reply = gets(False)
                    if reply is NOT_ENOUGH_DATA:
                        return
                    replies.append(reply)
                self._replies = []
                waiting.popleft()
                if not sink.done():
                    sink.set_result(replies)
                replies = self._replies
            if self._is_spent():
                self.sound = False
                if self.on_change is not None:
                    self.on_change()
        except Exception:
            # Not RESP, or a reply too large: nothing that follows can be told apart.
            self.sound = False
            self._transport.abort()

    def eof_received(self) -> None:
        # A turn of the event loop before the connection counts as lost: nothing may be sent meanwhile.
        self.sound = False

    def pause_writing(self) -> None:
        self.takes_more = False

    def resume_writing(self) -> None:
        self.takes_more = self._is_spent is not _always
        if self.on_change is not None:
            self.on_change()

    def connection_lost(self, exc: Exception | None) -> None:
        self.sound = False
        waiting, self.waiting = self.waiting, deque()
        for sink, _, due in waiting:
            if not sink.done():
                sink.set_exception(Lost(sent=True, timed_out=0 < self._gave_up >= due))
        if self.on_change is not None:
            self.on_change()


def _always() -> bool:
    return True


class Ignored:
    """A sink for replies that nobody needs."""

    def done(self) -> bool:
        return True

    def set_result(self, replies: list[Reply], /) -> None:
        pass

    def set_exception(self, error: Exception, /) -> None:
        pass


IGNORED = Ignored()
