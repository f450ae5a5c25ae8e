"""The blocking twin of ``rapyer_core.waiting``: the same names, for threads. Written by hand; knows no Redis.

A forked child shares nothing of what is kept here: locks that another thread of the parent held at the fork would
never be released in the child.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from rapyer_core import processes
from rapyer_core.errors import Conflict

V = TypeVar("V")

Worker = threading.Thread
"""Who waits: lock blocks nest within one of them."""


def current_worker() -> Worker:
    """The running thread."""
    return threading.current_thread()


def outcome_of(function: Callable[..., Any], made: V) -> V:
    """What a user's function gave. TypeError if that would have to be awaited."""
    if isinstance(made, Coroutine):
        made.close()
        name = getattr(function, "__qualname__", "it")
        raise TypeError(f"{name} is an async function: rapyer_core, without .sync, runs such ones")
    return made


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


Guard = threading.Lock
"""One at a time."""


def together(calls: Sequence[Callable[[], V]]) -> list[Any]:
    """What each of the calls comes to, or raised; one after the other."""
    came: list[Any] = []
    for call in calls:
        try:
            came.append(call())
        except Exception as error:
            came.append(error)
    return came


def shielded(work: Callable[[], V]) -> V:
    """Do the work: a thread cannot be cancelled. Its result."""
    return work()


class Places(Generic[V]):
    """One value for each process, made at its first use."""

    def __init__(self, make: Callable[[], V]) -> None:
        self._make = make
        # No lock around it: one that is held at a fork stays held in the child.
        self._values: dict[processes.Process, V] = {}

    def get(self) -> V:
        """That of this process."""
        process = processes.current
        found = self._values.get(process)
        if found is None:
            found = self._values.setdefault(process, self._make())
            for other in [other for other in self._values if other is not process]:
                self._values.pop(other, None)
        return found

    def pop(self) -> V | None:
        """Forget and return that of this process."""
        return self._values.pop(processes.current, None)


_acting = threading.local()


def _me() -> int:
    """The running thread; in one that repeats a function, the thread that it repeats it for."""
    found: int = getattr(_acting, "thread", None) or threading.get_ident()
    return found


class _Place:
    """A place in the queue of a key. come: set when its turn has come; None where it came at once."""

    __slots__ = ("come", "owner")

    def __init__(self) -> None:
        self.come: threading.Event | None = None
        self.owner = _me()

    def call(self) -> None:
        """Its turn has come."""
        if self.come is not None:
            self.come.set()


class Turns:
    """Which operations of this process write which keys: one at a time, in the order asked for.

    A thread never waits for itself: it would wait for ever, for a function that it is in the middle of, or for one that
    an interrupt ended between two lines.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._queues: dict[bytes, deque[_Place]] = {}
        """By key: whoever has the turn, then those who wait for it."""

    @property
    def at_rest(self) -> bool:
        """Whether nobody has a turn, or waits for one."""
        return not self._queues

    def are_taken(self, keys: Sequence[bytes]) -> bool:
        """Whether somebody has a turn with one of the keys, or waits for one."""
        return bool(self._queues) and any(key in self._queues for key in keys)

    def take(self, keys: Sequence[bytes], timeout: float) -> None:
        """Wait for all of the keys. keys: sorted, so that two operations cannot wait for each other."""
        end = 0.0
        mine: list[tuple[bytes, _Place]] = []
        try:
            for key in keys:
                place = _Place()
                mine.append((key, place))
                self._enter(key, place)
                if place.come is not None:
                    end = end or time.monotonic() + timeout
                    if not place.come.wait(max(0.0, end - time.monotonic())):
                        raise Conflict(f"other threads of this process wrote the same objects for {timeout} s")
        except BaseException:
            for key, place in mine:
                self._leave(key, place)
            raise

    def give_back(self, keys: Sequence[bytes]) -> None:
        """End the turn of this thread. In a child that was forked during it there is none to end."""
        me = _me()
        for key in keys:
            with self._guard:
                queue = self._queues.get(key)
                if queue and queue[0].owner == me:
                    self._remove(key, queue[0])

    def _enter(self, key: bytes, place: _Place) -> None:
        with self._guard:
            queue = self._queues.get(key)
            if not queue:
                self._queues[key] = deque((place,))
            elif queue[0].owner == place.owner:
                queue[0] = place
            else:
                place.come = threading.Event()
                queue.append(place)
                # Whoever left before may have been interrupted before it could say so.
                queue[0].call()

    def _leave(self, key: bytes, place: _Place) -> None:
        with self._guard:
            self._remove(key, place)

    def _remove(self, key: bytes, place: _Place) -> None:
        queue = self._queues.get(key, deque())
        if place in queue:
            queue.remove(place)
        if queue:
            queue[0].call()
        else:
            self._queues.pop(key, None)


class Repeating:
    """A function called again and again in a daemon thread, until it says no, is stopped, or nobody holds this object.

    seconds: before each call.
    """

    def __init__(self, seconds: Callable[[], float], function: Callable[[], bool]) -> None:
        self._stopped = threading.Event()
        # The thread must not hold the object itself.
        arguments = (_me(), self._stopped, seconds, function)
        threading.Thread(target=_repeat, args=arguments, name="rapyer-repeating", daemon=True).start()

    def stop(self) -> None:
        """No further calls; one that is under way is not waited for."""
        self._stopped.set()

    def __del__(self) -> None:
        self._stopped.set()


def _repeat(starter: int, stopped: threading.Event, seconds: Callable[[], float], function: Callable[[], bool]) -> None:
    _acting.thread = starter
    while not stopped.wait(seconds()) and function():
        pass


class Alarm:
    """Nothing: there is nobody to be told, because a thread cannot be interrupted."""

    def __init__(self, seconds: Callable[[], float], function: Callable[[], None]) -> None:
        pass

    def stop(self) -> None:
        """Nothing was begun."""


class Interruption:
    """Nothing: a thread cannot be interrupted. What it is about to write is refused instead."""

    def __init__(self) -> None:
        pass

    def strike(self) -> None:
        """Leave the thread alone."""

    def end(self, error: BaseException | None) -> bool:
        """No error comes from here."""
        return False
