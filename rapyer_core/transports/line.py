"""The shared connection of an event loop: what many tasks ask in one tick travels in one write.

A request that is complete in itself (a read, a MULTI/EXEC without WATCH) needs no connection of its own. A lone request
is written at once. While others are on their way, or were in the last tick, requests are collected until the end of the
tick. Each stays its own: its arguments are packed before it joins the others, its replies are counted off for it alone,
and one that is cancelled in time is not sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING

from rapyer_core.errors import ServerRefused, SessionClosed
from rapyer_core.requests import Command, Lost, Reply
from rapyer_core.transports.replies import deliver
from rapyer_core.transports.wire import pack

if TYPE_CHECKING:
    from rapyer_core.transports.aio import Link, Pool

MANY = 64
"""Commands of one request from which on it gets a connection of its own: others would wait for its replies."""

LARGE = 64 * 1024
"""Bytes of one request from which on it gets a connection of its own."""

ONE_WRITE = 512 * 1024
"""Bytes collected for one write, at most; what is left follows in the next tick."""

Part = tuple[bytes, int, "asyncio.Future[list[Reply]]"]
"""A packed request: bytes, number of commands, who waits."""


class Line:
    """A connection that all tasks of an event loop share."""

    def __init__(self, pool: Pool, link: Link | None) -> None:
        """link: None where there is no connection to share; each request is then lent one of the pool's."""
        self._pool = pool
        self._link = link
        self._outbox: list[Part] = []
        self._scheduled = False
        self._company = False
        """Whether others were sent together with, or at the time of, the last request."""
        self._connecting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def ask(self, commands: Sequence[Command]) -> Awaitable[list[Reply]]:
        """Send the commands, which leave no trace on the connection; their replies.

        Raises what ``Link.roundtrip`` does.
        """
        link = self._link
        packed = pack(commands)
        if link is None or len(commands) >= MANY or len(packed) >= LARGE:
            return self._pool.ask_alone(packed, len(commands))
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        replies = link.replies
        if replies is not None and replies.idle and not (self._company or self._outbox) and replies.clean:
            replies.send(packed, len(commands), self._pool.due(), future)
            return future
        self._outbox.append((packed, len(commands), future))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        """Send what was collected; first connect, if need be."""
        self._scheduled = False
        link = self._link
        if link is None:
            return  # closed meanwhile: who waited was told
        parts, self._outbox = [part for part in self._outbox if not part[2].done()], []
        replies = link.replies
        if replies is None or not replies.clean:
            self._outbox = parts
            if parts:
                self._scheduled = True
                self._connecting = self._pool.start(self._connect(link))
            return
        if not replies.takes_more:
            self._outbox = parts  # goes on when the connection does
            return
        parts = self._measured(parts)
        self._company = len(parts) + (not replies.idle) > 1
        if parts:
            replies.send_all(parts, self._pool.due())

    def _measured(self, parts: list[Part]) -> list[Part]:
        """As many as one write may have; the rest waits for the next tick."""
        size = 0
        for number, (packed, _, _) in enumerate(parts):
            size += len(packed)
            if size > ONE_WRITE and number:
                self._outbox = parts[number:]
                self._scheduled = True
                self._loop.call_soon(self._flush)
                return parts[:number]
        return parts

    async def _connect(self, link: Link) -> None:
        """Connect; without success, whoever waits is told."""
        failure: Lost | ServerRefused | None = None
        try:
            await link.renew()
        except (Lost, ServerRefused) as error:
            failure = error
        self._scheduled = False
        if failure is not None:
            self._fail(failure)
        elif link.replies is None:
            # A connection that we cannot read ourselves carries one request at a time.
            self._link = None
            self._pool.release(link)
            parts, self._outbox = self._outbox, []
            for packed, count, future in parts:
                self._pool.spawn(deliver(self._pool.ask_alone(packed, count), future))
        else:
            link.replies.on_change = self._changed
            self._flush()

    def _changed(self) -> None:
        if self._outbox and not self._scheduled:
            self._flush()

    def _fail(self, failure: Lost | ServerRefused) -> None:
        parts, self._outbox = self._outbox, []
        for _, _, future in parts:
            if not future.done():
                # To each an error of its own: tracebacks grow at the places that raise it.
                if isinstance(failure, Lost):
                    future.set_exception(Lost(sent=False, timed_out=failure.timed_out))
                else:
                    future.set_exception(ServerRefused(failure.reason, code=failure.code))

    async def close(self) -> None:
        """Wait for what is under way, no longer than its timeout, and close the connection."""
        link, self._link = self._link, None
        parts, self._outbox = self._outbox, []
        for _, _, future in parts:
            if not future.done():
                future.set_exception(SessionClosed("the session was closed"))
        connecting = self._connecting
        if connecting is not None and not connecting.done():
            connecting.cancel()
            await asyncio.wait([connecting])
        if link is not None:
            if link.replies is not None and not link.replies.idle:
                last = self._loop.create_future()
                link.post([(b"PING",)], last)
                await asyncio.wait([last], timeout=self._pool.timeout)
                last.cancel()
            await link.close()
