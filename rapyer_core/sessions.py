"""Sessions (asyncio): run operations on one server. The driver, and the default session.

``rapyer_core.sync.sessions`` is the blocking twin, made of this file by ``make sync`` (a test compares them).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar, overload
from weakref import WeakKeyDictionary

from rapyer_core.addresses import resolved
from rapyer_core.collection import Context
from rapyer_core.errors import Conflict, SessionClosed
from rapyer_core.operations.reading import greet
from rapyer_core.requests import Batch, Listen, Operation, Pause, Turn
from rapyer_core.retries import Retry
from rapyer_core.settings import Settings
from rapyer_core.transports.aio import Link, Pool
from rapyer_core.transports.aio_listener import Ear, Listener
from rapyer_core.waiting import Places, Repeating, Turns, Worker, current_worker, sleep

R = TypeVar("R")
T = TypeVar("T")


RESERVED = 5.0
"""Seconds that a transaction may keep its keys to itself, at most."""


class Reservation:
    """Keys that one transaction, tried in vain before, has to itself among the writers of this event loop."""

    def __init__(self, loop: Loop, keys: Sequence[bytes]) -> None:
        self._loop, self._keys = loop, list(keys)
        self._ending = Repeating(lambda: RESERVED, self._end)

    async def _end(self) -> bool:
        self._give_back()
        return False

    def _give_back(self) -> None:
        # One by one, because the end of the time and the end of the transaction may come at once.
        while self._keys:
            with suppress(IndexError):
                key = self._keys.pop()
                self._loop.reserved.pop(key, None)
                self._loop.turns.give_back([key])

    def stop(self) -> None:
        """Let the others pass."""
        self._ending.stop()
        self._give_back()


class Loop:
    """What a session keeps for one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.pool = Pool(settings)
        self.listener = Listener(settings)
        self.turns = Turns()
        self.reserved: dict[bytes, Worker] = {}
        """Who has which keys to itself."""
        self.tasks: WeakKeyDictionary[Worker, Any] = WeakKeyDictionary()
        """Open lock blocks of each task."""

    async def reserve(self, keys: Sequence[bytes], timeout: float) -> Reservation:
        """Have these keys for the running task alone, for a while: others that write them wait. It may pass itself.

        A courtesy, which makes sure that a long transaction comes through among many short writers of this process;
        nothing relies on it. When the keys cannot be had within timeout seconds, they stay free.
        """
        free = self._not_mine(keys)
        try:
            await self.turns.take(free, timeout)
        except Conflict:
            free = ()
        self.reserved.update(dict.fromkeys(free, current_worker()))
        return Reservation(self, free)

    async def take_turn(self, turn: Turn) -> Sequence[bytes]:
        """Wait for the turn; the keys to give back."""
        keys = self._not_mine(turn.keys)
        await self.turns.take(keys, turn.timeout)
        return keys

    async def let_pass(self, turn: Turn) -> None:
        """Wait until nobody has the keys reserved."""
        keys = [key for key in self._not_mine(turn.keys) if key in self.reserved]
        with suppress(Conflict):
            await self.turns.take(keys, turn.timeout)
            self.turns.give_back(keys)

    def must_wait(self, turn: Turn) -> bool:
        """Whether somebody else has one of the keys reserved."""
        return bool(self.reserved) and any(key in self.reserved for key in self._not_mine(turn.keys))

    def _not_mine(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        if not self.reserved:
            return keys
        me = current_worker()
        return tuple(key for key in keys if self.reserved.get(key) is not me)


class Session:
    """A connection pool for one server, and how objects are stored there. Made by ``open_session``."""

    def __init__(self, settings: Settings) -> None:
        self.context = Context(settings.prefix, settings.retry, settings.exactly_once)
        found = resolved(settings)
        self._loops = Places(lambda: Loop(found))
        self._closed = False

    @property
    def loop(self) -> Loop:
        """The pool and turns of the running event loop, made at its first use."""
        if self._closed:
            raise SessionClosed("the session was closed")
        return self._loops.get()

    async def run(self, operation: Operation[R], link: Link | None = None) -> R:
        """Drive an operation to its end. link: a connection it already holds; given back here."""
        try:
            loop = self.loop
        except BaseException:
            operation.close()
            raise
        driver = _Driver(loop, link)
        try:
            return await driver.drive(operation)
        finally:
            operation.close()
            driver.end()

    async def run_holding(self, make: Callable[[bool], Operation[R]]) -> tuple[R, Link | None]:
        """Drive ``make(watching)``. With a connection to spare, watching: the caller gets that connection too."""
        pool = self.loop.pool
        # Some connections are left to others, at least one, or the block could not use the session.
        spare = pool.spare(reserve=max(1, pool.size // 8))
        operation = make(spare is not None)
        driver = _Driver(self.loop, spare)
        try:
            result = await driver.drive(operation, keep=spare is not None)
            link, driver.link = driver.link, None
            if link is not None and not link.watching:
                pool.release(link)
                link = None
            return result, link
        finally:
            operation.close()
            driver.end()

    @overload
    def register_codec(
        self, cls: type[T], *, encode: Callable[[T], str | bytes], decode: Callable[[bytes], T]
    ) -> None: ...
    @overload
    def register_codec(
        self, *, encode: Callable[[T], str | bytes], decode: Callable[[bytes], T]
    ) -> Callable[[type[T]], type[T]]: ...
    def register_codec(self, cls: Any = None, *, encode: Any, decode: Any) -> Any:
        """``register_codec`` for this session alone: how it stores a type, in place of what all sessions do.

        Counts from the next operation or block on, for every model; what is stored already is not changed.
        """
        return self.context.own_registry().register(cls, encode=encode, decode=decode)

    async def close(self) -> None:
        """Close the connections of this event loop. What is asked afterwards is SessionClosed."""
        running = self._loops.pop()
        self._closed = True
        if running is not None:
            await running.pool.close()
            await running.listener.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Driver:
    """Carries out the requests of one operation."""

    __slots__ = ("_alone", "_ear", "_keys", "_loop", "link")

    def __init__(self, loop: Loop, link: Link | None) -> None:
        self._loop = loop
        self.link = link
        self._ear: Ear | None = None
        self._keys: Sequence[bytes] = ()
        self._alone = False

    async def drive(self, operation: Operation[R], keep: bool = False) -> R:
        """Request by request; errors of a request are raised inside the operation."""
        answer: Any = None
        failure: Exception | None = None
        while True:
            try:
                request = operation.send(answer) if failure is None else operation.throw(failure)
            except StopIteration as end:
                result: R = end.value
                return result
            answer = failure = None
            try:
                if type(request) is Batch:
                    if self.link is None:
                        self.link = await self._loop.pool.acquire()
                    answer = await self.link.roundtrip(request.commands)
                    if not (request.hold or keep):
                        self._free()
                elif type(request) is Pause:
                    self._free()
                    await sleep(request.seconds)
                elif type(request) is Turn:
                    free = request.shared and not self._loop.reserved
                    answer = False if free else await self._turn(request)
                elif type(request) is Listen:
                    self._free()
                    if self._ear is None:
                        self._ear = self._loop.listener.ear(request.channel)
                    answer = await self._ear.wait(request.seconds)
            except Exception as error:
                self._free()
                failure = error

    async def _turn(self, turn: Turn) -> bool:
        if turn.shared:
            if not self._loop.must_wait(turn):
                return False
            self._free()
            await self._loop.let_pass(turn)
            return True
        if turn.alone and self._keys:
            # It has the turn already, and keeps its place.
            self._free()
        else:
            # Never two turns at once: others may want the same keys in another order, or this one the same again.
            self.end()
            self._keys = await self._loop.take_turn(turn)
        if turn.alone:
            self._loop.reserved.update(dict.fromkeys(self._keys, current_worker()))
            self._alone = True
        return True

    def end(self) -> None:
        """Give back what is still held."""
        self._free()
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.close()
        keys, self._keys = self._keys, ()
        if self._alone:
            self._alone = False
            for key in keys:
                self._loop.reserved.pop(key, None)
        if keys:
            self._loop.turns.give_back(keys)

    def _free(self) -> None:
        # Forgotten before it is given back: an interrupt between the two must not give it back twice.
        link, self.link = self.link, None
        if link is not None:
            self._loop.pool.release(link)


# -- the default session --

_default: Session | None = None


async def init_rapyer(
    redis_url: str | None = None,
    *,
    client: Any = None,
    prefix: str = "",
    timeout: float = 5.0,
    max_connections: int = 100,
    pool_timeout: float = 20.0,
    retry: Retry | None = None,
    exactly_once: bool = False,
) -> Session:
    """Open the default session, which functions use that get no ``session=``. Replaces a former one.

    redis_url: ``redis://``, ``rediss://`` (TLS), ``unix://``, ``embedded://`` (a private server, gone with this
    process) or ``embedded:///some/dir`` (its data stay there); by default the environment's RAPYER_URL, else an
    embedded server. client: a redis-py client that lends address, credentials and TLS instead. prefix: of every key.
    timeout: seconds for one round trip. max_connections: of this session and event loop. pool_timeout: seconds to
    wait for a free one. retry: of commits that met other writers. exactly_once: the default of all writes.

    Raises ConnectionFailed when the server cannot be reached.
    """
    global _default
    session = Session(
        Settings(redis_url, client, prefix, timeout, max_connections, pool_timeout, retry or Retry(), exactly_once)
    )
    await session.run(greet())
    former, _default = _default, session
    if former is not None:
        await former.close()
    return session


@asynccontextmanager
async def open_session(
    url: str | None = None,
    *,
    client: Any = None,
    prefix: str = "",
    timeout: float = 5.0,
    max_connections: int = 100,
    pool_timeout: float = 20.0,
    retry: Retry | None = None,
    exactly_once: bool = False,
) -> AsyncIterator[Session]:
    """A session of one's own, for ``session=`` of every function. Arguments as in ``init_rapyer``."""
    session = Session(
        Settings(url, client, prefix, timeout, max_connections, pool_timeout, retry or Retry(), exactly_once)
    )
    try:
        await session.run(greet())
        yield session
    finally:
        await session.close()


async def close_rapyer() -> None:
    """Close the default session. Without one, nothing happens."""
    global _default
    former, _default = _default, None
    if former is not None:
        await former.close()


def current(session: Session | None) -> Session:
    """The session given, else the default one. SessionClosed if there is none."""
    chosen = session or _default
    if chosen is None:
        raise SessionClosed
    return chosen
