"""The shared connection of an event loop: what many tasks ask in one tick travels in one write.

A request that is complete in itself (a read, a write without WATCH) needs no connection of its own. A lone request is
written at once. While others are on their way, or were in the last tick, requests are collected until the end of the
tick, or until there are some dozens; writes that come one after the other then share a MULTI/EXEC. Each stays its own:
its arguments are packed before it joins the others, its replies are counted off for it alone, and one that is cancelled
in time is not sent.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, Protocol

from rapyer_core.errors import ServerRefused, SessionClosed
from rapyer_core.requests import ALONE, READ, WRITE, Lost, Reply, outcome
from rapyer_core.transports.link import Link, Owner
from rapyer_core.transports.replies import Part, Shared, deliver
from rapyer_core.transports.wire import BEGIN, END

MANY = 64
"""Commands of one request from which on it gets a connection of its own: others would wait for its replies."""

LARGE = 64 * 1024
"""Bytes of one request from which on it gets a connection of its own."""

ONE_WRITE = 512 * 1024
"""Bytes collected for one write, at most; what is left follows in the next tick."""

TOGETHER = 256
"""Commands of one MULTI/EXEC that several share, from which on the next one begins: others wait for it meanwhile."""

EARLY = 32
"""Requests that are not collected any longer: the server works on them while the tick goes on."""

Wish = tuple[bytes, int, Future[Any], int]
"""A packed request: bytes, number of commands, who waits, what it is."""


class Lender(Owner, Protocol):
    """Who has links for what cannot be shared."""

    async def ask_alone(self, packed: bytes, count: int) -> list[Reply]:
        """The replies to so many packed commands, on a connection that nobody shares."""
        ...

    def release(self, link: Link) -> None:
        """Give a link back."""
        ...

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """The task that does it, beside whoever asks."""
        ...


class Line:
    """A connection that all tasks of an event loop share."""

    def __init__(self, lender: Lender, link: Link | None) -> None:
        """link: None where there is no connection to share; each request is then lent one of the pool's."""
        self._lender = lender
        self._link = link
        self._outbox: list[Wish] = []
        self._scheduled = False
        self._company = False
        """Whether others were sent together with, or at the time of, the last request."""
        self._connecting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def send(self, kind: int, packed: bytes, count: int) -> Awaitable[Any]:
        """Send so many commands, which leave no trace on the connection.

        Of READ: what they are answered. Of WRITE and ALONE: they go as one MULTI/EXEC, which others may share, or not;
        what it came to for them, as of a ``Blind``. Raises what ``Link.roundtrip`` does.
        """
        link = self._link
        if link is None or count >= MANY or len(packed) >= LARGE:
            return self._alone(packed, count, kind)
        future: Future[Any] = Future(loop=self._loop)
        replies = link.replies
        if self._company or self._outbox or replies is None or replies.waiting or not replies.sound:
            self._outbox.append((packed, count, future, kind))
            if not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(self._end_of_tick)
            elif len(self._outbox) >= EARLY and replies is not None and replies.sound and replies.takes_more:
                self._flush()
        elif kind is READ:
            replies.send(packed, count, self._lender.due(), future)
        else:
            replies.send(BEGIN + packed + END, count + 2, self._lender.due(), Shared([(future, 0, count)]))
        return future

    async def _alone(self, packed: bytes, count: int, kind: int) -> Any:
        """The same on a connection that nobody shares."""
        if kind is READ:
            return await self._lender.ask_alone(packed, count)
        replies = await self._lender.ask_alone(BEGIN + packed + END, count + 2)
        return outcome(replies, 0, count, alone=True)

    def _end_of_tick(self) -> None:
        self._scheduled = False
        self._flush()

    def _flush(self) -> None:
        """Send what was collected; first connect, if need be."""
        link = self._link
        if link is None:
            return  # closed meanwhile: who waited was told
        wishes, self._outbox = [wish for wish in self._outbox if not wish[2].done()], []
        if not wishes:
            return
        replies = link.replies
        if replies is None or not replies.sound:
            self._outbox = wishes
            self._scheduled = True
            self._connecting = self._lender.start(self._connect(link))
            return
        if not replies.takes_more:
            self._outbox = wishes  # goes on when the connection does
            return
        wishes = self._measured(wishes)
        self._company = len(wishes) + bool(replies.waiting) > 1
        replies.send_all(_joined(wishes), self._lender.due())

    def _measured(self, wishes: list[Wish]) -> list[Wish]:
        """As many as one write may have; the rest waits for the next tick."""
        size = 0
        for number, wish in enumerate(wishes):
            size += len(wish[0])
            if size > ONE_WRITE and number:
                self._outbox = wishes[number:]
                if not self._scheduled:
                    self._scheduled = True
                    self._loop.call_soon(self._end_of_tick)
                return wishes[:number]
        return wishes

    async def _connect(self, link: Link) -> None:
        """Connect; without success, whoever waits is told."""
        failure: Exception | None = None
        try:
            await link.renew()
        except Exception as error:
            # Of any kind: a lender's own code may have been asked for credentials.
            failure = error
        self._scheduled = False
        if failure is not None:
            self._fail(failure)
        elif link.replies is None:
            # A connection that we cannot read ourselves carries one request at a time.
            self._link = None
            self._lender.release(link)
            wishes, self._outbox = self._outbox, []
            for packed, count, future, kind in wishes:
                self._lender.spawn(deliver(self._alone(packed, count, kind), future))
        else:
            link.replies.on_change = self._changed
            self._flush()

    def _changed(self) -> None:
        if self._outbox and not self._scheduled:
            self._flush()

    def _fail(self, failure: Exception) -> None:
        wishes, self._outbox = self._outbox, []
        for _, _, future, _ in wishes:
            if not future.done():
                # To each an error of its own, if it is ours: tracebacks grow at the places that raise it.
                if isinstance(failure, Lost):
                    future.set_exception(failure.unsent())
                elif isinstance(failure, ServerRefused):
                    future.set_exception(ServerRefused(failure.reason, code=failure.code))
                else:
                    future.set_exception(failure)

    async def close(self) -> None:
        """Wait for what is under way, no longer than its timeout, and close the connection."""
        link, self._link = self._link, None
        wishes, self._outbox = self._outbox, []
        for _, _, future, _ in wishes:
            if not future.done():
                future.set_exception(SessionClosed("the session was closed"))
        connecting = self._connecting
        if connecting is not None and not connecting.done():
            connecting.cancel()
            await asyncio.wait([connecting])
        if link is not None:
            if link.replies is not None and link.replies.waiting:
                last = self._loop.create_future()
                link.post([(b"PING",)], last)
                await asyncio.wait([last], timeout=self._lender.timeout)
                last.cancel()
            await link.close()


def _joined(wishes: Sequence[Wish]) -> list[Part]:
    """What is sent for them, in their order. Writes that follow each other make one MULTI/EXEC."""
    parts: list[Part] = []
    bodies: list[bytes] = []
    members: list[tuple[Future[Any], int, int]] = []
    total = 0

    def end_of_writes() -> None:
        nonlocal bodies, members, total
        if members:
            parts.append((b"".join([BEGIN, *bodies, END]), total + 2, Shared(members)))
            bodies, members, total = [], [], 0

    for packed, count, future, kind in wishes:
        if members and (kind is not WRITE or total >= TOGETHER):
            end_of_writes()
        if kind is READ:
            parts.append((packed, count, future))
            continue
        bodies.append(packed)
        members.append((future, total, total + count))
        total += count
        if kind is ALONE:
            end_of_writes()
    end_of_writes()
    return parts
