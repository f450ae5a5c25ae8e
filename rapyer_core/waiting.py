"""All that sessions and blocks need of asyncio. ``rapyer_core.sync.waiting`` has the same names for threads.

``repository``, ``transactions`` and ``sessions`` wait through these names only, so that ``make sync`` can make
their blocking twins out of them. Nothing here knows Redis.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from rapyer_core.arguments import kind_of_value
from rapyer_core.errors import Conflict, SessionClosed

V = TypeVar("V")

Worker = asyncio.Task[Any]
"""Who waits: lock blocks nest within one of them."""


def current_worker() -> Worker:
    """The running task."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("there is no running task")
    return task


def outcome_of(function: Callable[..., Any], made: Awaitable[V]) -> Awaitable[V]:
    """What a user's function gave, to be awaited. TypeError if it cannot be."""
    if not isinstance(made, Awaitable):
        name = getattr(function, "__qualname__", "it")
        raise TypeError(f"{name} is no async function, and gave {kind_of_value(made)}: rapyer_core.sync runs such ones")
    return made


async def sleep(seconds: float) -> None:
    """Wait."""
    await asyncio.sleep(seconds)


Guard = asyncio.Lock
"""One at a time."""


async def together(calls: Sequence[Callable[[], Awaitable[V]]]) -> list[Any]:
    """What each of the calls comes to, or raised; they run at the same time."""
    if len(calls) == 1:
        # A task for it would cost more than most calls do.
        try:
            return [await calls[0]()]
        except Exception as error:
            return [error]
    return await asyncio.gather(*[call() for call in calls], return_exceptions=True)


_shielded: set[asyncio.Future[Any]] = set()
"""Work that must not be lost: the event loop itself holds it weakly."""


async def shielded(work: Callable[[], Awaitable[V]]) -> V:
    """Do the work; it goes on when the caller is cancelled. Its result."""
    task = asyncio.ensure_future(work())
    _shielded.add(task)
    task.add_done_callback(_shielded.discard)
    return await asyncio.shield(task)


class Places(Generic[V]):
    """One value for each event loop, made at its first use. A forked child shares none with its parent."""

    def __init__(self, make: Callable[[], V]) -> None:
        self._make = make
        self._values: WeakKeyDictionary[asyncio.AbstractEventLoop, V] = WeakKeyDictionary()
        self._latest: tuple[Callable[[], asyncio.AbstractEventLoop | None], V] | None = None
        self._parents: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        _all_places.add(self)

    def get(self) -> V:
        """That of the running loop."""
        running = asyncio.get_running_loop()
        latest = self._latest
        if latest is not None and latest[0]() is running:
            return latest[1]
        found = self._values.get(running)
        if found is None:
            if running in self._parents:
                raise SessionClosed(
                    "this event loop belongs to the parent process and cannot be used in a forked child: "
                    "start another one there, as asyncio.run() does"
                )
            found = self._values[running] = self._make()
        self._latest = weakref.ref(running), found
        return found

    def pop(self) -> V | None:
        """Forget and return that of the running loop."""
        self._latest = None
        return self._values.pop(asyncio.get_running_loop(), None)

    def _leave_to_parent(self) -> Any:
        """In a child that was just forked: forget all values, and return them."""
        values, self._values, self._latest = dict(self._values), WeakKeyDictionary(), None
        self._parents = WeakSet(values)
        return values


_all_places: WeakSet[Places[Any]] = WeakSet()
_of_parents: list[Any] = []
"""What a forked child must never let go of: the child shares what its parent's event loops wait with, and closing a
connection here would make the parent wait for its replies for ever.
"""


def _forked() -> None:
    _of_parents.extend(places._leave_to_parent() for places in list(_all_places))


os.register_at_fork(after_in_child=_forked)


class Turns:
    """Which operations of this event loop write which keys: one at a time, in the order asked for."""

    def __init__(self) -> None:
        self._locks: dict[bytes, tuple[asyncio.Lock, int]] = {}

    @property
    def at_rest(self) -> bool:
        """Whether nobody has a turn, or waits for one."""
        return not self._locks

    def are_taken(self, keys: Sequence[bytes]) -> bool:
        """Whether somebody has a turn with one of the keys, or waits for one."""
        return bool(self._locks) and any(key in self._locks for key in keys)

    async def take(self, keys: Sequence[bytes], timeout: float) -> None:
        """Wait for all of the keys. keys: sorted, so that two operations cannot wait for each other."""
        taken: list[bytes] = []
        if not self.are_taken(keys):
            # Nothing to wait for, and so no timer; acquiring a new lock does not wait either.
            for key in keys:
                self._locks[key] = (asyncio.Lock(), 1)
                await self._locks[key][0].acquire()
            return
        try:
            async with asyncio.timeout(timeout):
                for key in keys:
                    lock, users = self._locks.get(key) or (asyncio.Lock(), 0)
                    self._locks[key] = (lock, users + 1)
                    try:
                        await lock.acquire()
                    except BaseException:
                        self._leave(key)
                        raise
                    taken.append(key)
        except BaseException as error:
            self.give_back(taken)
            if isinstance(error, TimeoutError):
                raise Conflict(f"other tasks of this process wrote the same objects for {timeout} s") from None
            raise

    def give_back(self, keys: Sequence[bytes]) -> None:
        """End the turn."""
        for key in keys:
            self._locks[key][0].release()
            self._leave(key)

    def _leave(self, key: bytes) -> None:
        lock, users = self._locks[key]
        if users == 1:
            del self._locks[key]
        else:
            self._locks[key] = (lock, users - 1)


class Repeating:
    """A function called again and again beside the caller, until it says no or is stopped. seconds: before a call."""

    def __init__(self, seconds: Callable[[], float], function: Callable[[], Awaitable[bool]]) -> None:
        self._seconds, self._function = seconds, function
        self._task: asyncio.Task[None] | None = None
        self._wait()

    def _wait(self) -> None:
        # A timer, not a task that sleeps: most are stopped before the first call.
        self._timer = asyncio.get_running_loop().call_later(self._seconds(), self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._call())

    async def _call(self) -> None:
        if await self._function():
            self._wait()

    def stop(self) -> None:
        """No further calls; one that is under way is cancelled."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()


class Alarm:
    """A function called once seconds() has come down to 0, unless it is stopped before."""

    def __init__(self, seconds: Callable[[], float], function: Callable[[], None]) -> None:
        self._seconds, self._function = seconds, function
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds(), self._look)

    def _look(self) -> None:
        left = self._seconds()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._function()

    def stop(self) -> None:
        """Do not call it any more."""
        self._timer.cancel()


class Interruption:
    """Cancels the task that made it, on demand, and tells this cancellation from anybody else's.

    As ``asyncio.timeout`` does: whoever asked for another cancellation meanwhile gets it.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = current_worker()
        self._before = self._task.cancelling()
        self._struck = False

    def strike(self) -> None:
        """Cancel the task, once, unless it has ended what may be interrupted. Not to be called by the task itself."""
        if self._task is not None and not self._struck:
            self._struck = True
            self._task.cancel()

    def end(self, error: BaseException | None) -> bool:
        """Nothing may be interrupted any more. Whether the error is this cancellation, and nobody else's."""
        task, self._task = self._task, None
        if task is None or not self._struck:
            return False
        return task.uncancel() <= self._before and isinstance(error, asyncio.CancelledError)
