"""The asyncio transport: our own pool of redis-py connections (see ``link``), one of them shared (see ``line``)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

from rapyer_core.errors import PoolTimeout, SessionClosed
from rapyer_core.requests import ALONE, READ, WRITE, Command, Reply, ServerError
from rapyer_core.settings import Settings
from rapyer_core.slots import Address
from rapyer_core.transports.aio_connector import connector_of
from rapyer_core.transports.line import Line
from rapyer_core.transports.link import Link
from rapyer_core.transports.wire import pack


class Pool:
    """Links of one event loop: at most max_connections, handed out in the order asked for; one of them is shared."""

    def __init__(self, settings: Settings) -> None:
        self.connector = connector_of(settings, self._leave)
        self.timeout = settings.timeout
        self.of_cluster = settings.node is not None
        """Whether the server is one node of a cluster."""
        self._patience = settings.pool_timeout
        self.size = settings.max_connections
        self._loop = asyncio.get_running_loop()
        self._idle: list[Link] = []
        self._waiting: deque[asyncio.Future[Link]] = deque()
        self._links: list[Link] = []
        self._sweeping: asyncio.TimerHandle | None = None
        self._working: set[asyncio.Task[None]] = set()
        self._reviewing: asyncio.Task[None] | None = None
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
        return Link(self.connector.make(), self)

    def _leave(self, address: Address) -> None:
        """Use no connection to this server for anything new: it is not the primary any more."""
        for link in self._every:
            link.leave(address)

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
            self._review()
        return due

    def _review(self) -> None:
        """Look whether this is still the server to use, if it may come to be another one: at the first request after a
        pause, and now and then.
        """
        if self.connector.follows and (self._reviewing is None or self._reviewing.done()) and not self._closed:
            self._reviewing = self.start(self.connector.review())

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
        if coming:
            self._sweeping = self._loop.call_at(coming, self._sweep)
            self._review()
        else:
            self._sweeping = None

    async def close(self) -> None:
        """Close the idle connections; those in use when they are given back. Who waits for one gets SessionClosed."""
        self._closed = True
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(SessionClosed("the session was closed"))
        if self._reviewing is not None and not self._reviewing.done():
            self._reviewing.cancel()
            await asyncio.wait([self._reviewing])
        await self._line.close()
        idle, self._idle = self._idle, []
        for link in idle:
            await link.close()
