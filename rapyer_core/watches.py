"""Watches (asyncio): which operations read and write under WATCH, on which connection, and which of them together.

A WATCH belongs to a connection, and any EXEC on it drops it. So what many tasks want in one tick goes as a *group*: one
write with the WATCH of all their keys and all their reads; then each decides by itself, in order, seeing what those
before it do to the same keys; then one write with everything as one MULTI/EXEC. One that refuses drops out, the others
go on. When something that was watched has changed, all of them learn that nothing was written; whoever tries again is
kept apart from strangers. ``rapyer_core.sync.watches`` has the same names for threads, where nobody shares.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any

from rapyer_core.errors import Conflict, PoolTimeout, ServerRefused, SessionClosed
from rapyer_core.requests import EXEC, MULTI, Command, Decide, Failed, Lost, Others, Reply, ServerError, Watch, outcome
from rapyer_core.transports.aio import Link, Pool

TOGETHER = 128
"""Operations of one group, at most."""


class Watcher:
    """One operation under WATCH, from its wish to its end."""

    __slots__ = ("_context", "_decide", "_future", "_watches", "group", "left", "timer", "watch")

    def __init__(self, watches: Watches, watch: Watch, loop: asyncio.AbstractEventLoop) -> None:
        self.watch = watch
        self.group: _Group | None = None
        self.left = False
        self.timer: asyncio.TimerHandle | None = None
        self._watches = watches
        self._future: asyncio.Future[Any] = loop.create_future()
        self._decide: Decide | None = None
        self._context: contextvars.Context | None = None

    def replies(self) -> Awaitable[list[Reply] | None]:
        """The replies to the reads, once the keys are watched. None: no connection to spare."""
        return self._future

    def commit(self, decide: Decide) -> Awaitable[list[Reply] | ServerError | Failed | None]:
        """Write what is decided on, if nothing watched has changed. Ends the watching."""
        self.left = True
        group = self.group
        self._future = self._watches.loop.create_future()
        if group is None or group.is_over:
            self._future.set_result(None)
        else:
            self._decide, self._context = decide, contextvars.copy_context()
            group.wants(self)
        return self._future

    def leave(self) -> None:
        """End the watching without writing."""
        if not self.left:
            self.left = True
            if self.group is None:
                self._watches._withdraw(self)
            else:
                self.group.leaves()

    # -- of the group --

    @property
    def _waits(self) -> bool:
        """Whether somebody waits for an answer."""
        return not self._future.done()

    def _answer(self, value: Any) -> None:
        """Tell whoever waits."""
        if not self._future.done():
            self._future.set_result(value)

    def _fail(self, error: Exception) -> None:
        """Raise it at whoever waits."""
        if not self._future.done():
            self._future.set_exception(error)

    def _decided(self, others: Others) -> Sequence[Command] | Failed | None:
        """What it wants to write, or the error that it refused with."""
        assert self._context is not None
        assert self._decide is not None
        try:
            return self._context.run(self._decide, others)
        except BaseException as error:
            return Failed(error)


class _Group:
    """Operations that share a connection and a WATCH. A sink for the replies, to the reading and to the EXEC."""

    def __init__(self, watches: Watches, link: Link, watchers: list[Watcher]) -> None:
        self._watches = watches
        self._link: Link | None = link
        self._watchers = watchers
        self._spans: list[tuple[Watcher, int, int]] = []
        self._places: list[list[int]] = []
        self._wishes: list[Watcher] = []
        self._refused: list[tuple[Watcher, Failed]] = []
        """Who refused, perhaps because of what others would do: true only if they did."""
        self._staying = len(watchers)
        self._reading = True
        self._scheduled = False
        self.is_over = False
        """The connection is given back, or about to be: nothing is watched any more."""
        for watcher in watchers:
            watcher.group = self

    def start(self) -> None:
        """WATCH all keys and read."""
        link = self._link
        assert link is not None
        first = self._watchers[0].watch
        if len(self._watchers) == 1:
            keys: Iterable[bytes] = first.keys
            reads = list(first.reads)
            self._places = [list(range(len(reads)))]
        else:
            keys = dict.fromkeys(key for watcher in self._watchers for key in watcher.watch.keys)
            known: dict[Command, int] = {}
            self._places = [
                [known.setdefault(read, len(known)) for read in watcher.watch.reads] for watcher in self._watchers
            ]
            reads = list(known)
        self._watches.reading += 1
        link.post([(b"WATCH", *keys), *reads], self)

    # -- replies --

    def done(self) -> bool:
        return False

    def set_result(self, replies: list[Reply], /) -> None:
        if self._reading:
            self._was_read(replies)
        else:
            self._was_run(replies)

    def set_exception(self, error: Exception, /) -> None:
        watchers = [watcher for watcher, _, _ in self._spans] if self.is_over else self._watchers
        sent = not self._reading and isinstance(error, Lost) and error.sent
        self._stop_reading()
        for watcher in watchers:
            # To each an error of its own: tracebacks grow at the places that raise it.
            if isinstance(error, ServerRefused):
                watcher._fail(ServerRefused(error.reason, code=error.code))
            else:
                watcher._fail(Lost(sent=sent, timed_out=isinstance(error, Lost) and error.timed_out))
        for watcher, _ in self._refused:
            watcher._answer(None)
        self._end()

    def _was_read(self, replies: list[Reply]) -> None:
        self._stop_reading()
        watched = replies[0]
        for watcher, places in zip(self._watchers, self._places, strict=True):
            if watcher.left:
                continue
            if isinstance(watched, ServerError):
                watcher._answer([watched] * len(places))
            else:
                watcher._answer([replies[1 + place] for place in places])
        if not self._staying:
            self._end()

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._watches.reading -= 1

    def _was_run(self, replies: list[Reply]) -> None:
        for watcher, start, count in self._spans:
            watcher._answer(outcome(replies, start, count, alone=len(self._spans) == 1))
        for watcher, failed in self._refused:
            watcher._answer(failed if isinstance(replies[-1], list) else None)
        self._end()

    # -- members --

    def wants(self, watcher: Watcher) -> None:
        """A member wants to write. All who do so in this tick go together."""
        self._wishes.append(watcher)
        self._staying -= 1
        if not self._staying:
            self._run()
        elif not self._scheduled:
            self._scheduled = True
            self._watches.loop.call_soon(self._run)

    def leaves(self) -> None:
        """A member wants nothing any more."""
        self._staying -= 1
        if self._staying or self._reading:
            return
        if self._wishes:
            self._run()
        else:
            self._end()

    def _run(self) -> None:
        """Let each decide, and send what was decided on."""
        if self.is_over:
            return
        self.is_over = True
        link = self._link
        assert link is not None
        others: Others = {}
        commands: list[Command] = [MULTI]
        for watcher in self._wishes:
            if not watcher._waits:
                continue
            decided = watcher._decided(others)
            if decided is None:
                watcher._answer([])
            elif isinstance(decided, Failed):
                if others:
                    self._refused.append((watcher, decided))
                else:
                    watcher._answer(decided)
            else:
                self._spans.append((watcher, len(commands) - 1, len(decided)))
                commands += decided
        if not self._spans:
            self._end()
            return
        commands.append(EXEC)
        try:
            link.post(commands, self)
        except Exception as error:
            # An argument that cannot be packed: whose, only one by one can tell.
            for watcher, _, _ in self._spans:
                watcher._answer(Failed(error) if len(self._spans) == 1 else None)
            for watcher, _ in self._refused:
                watcher._answer(None)
            self._end()

    def _end(self) -> None:
        self.is_over = True
        link, self._link = self._link, None
        if link is not None:
            self._watches._ended(link, self._watchers)


def _is_first_try(watcher: Watcher) -> bool:
    return not watcher.watch.tries


class Watches:
    """The operations of one event loop that are under WATCH, and those that wait for it."""

    def __init__(self, pool: Pool) -> None:
        self.loop = asyncio.get_running_loop()
        self._pool = pool
        self._waiting: list[Watcher] = []
        """In the order asked for."""
        self._busy: set[bytes] = set()
        """Keys of operations under way. Blocks are not among them: nobody may wait for what a user's code does."""
        self._scheduled = False
        self._company = False
        """Whether several wanted something at the same time, the last time."""
        self._acquiring = False
        self._drains: list[tuple[Sequence[bytes], asyncio.Future[None]]] = []
        self.reading = 0
        """Groups that wait for the replies to their reads."""

    @property
    def at_rest(self) -> bool:
        """Whether nobody waits, and nothing is under way."""
        return not (self._waiting or self._busy or self._acquiring)

    async def drained(self, keys: Sequence[bytes], timeout: float) -> None:
        """Wait until no operation that is under way by now writes one of these keys; no longer than timeout seconds."""
        if not self._uses(keys):
            return
        drained: asyncio.Future[None] = self.loop.create_future()
        self._drains.append((keys, drained))
        try:
            await asyncio.wait([drained], timeout=timeout)
        finally:
            self._drains.remove((keys, drained))

    def _uses(self, keys: Sequence[bytes]) -> bool:
        if not self._busy.isdisjoint(keys):
            return True
        return any(not set(keys).isdisjoint(watcher.watch.keys) for watcher in self._waiting if not watcher.watch.spare)

    def enter(self, watch: Watch) -> Watcher:
        """Watch and read, with others that want to in this tick. ``replies`` of the watcher waits for it."""
        watcher = Watcher(self, watch, self.loop)
        alone = not (self._waiting or self._company or self.reading)
        self._waiting.append(watcher)
        if alone:
            self._gather()
        elif not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._gather)
        if watcher.group is None and not watch.spare and not self._scheduled:
            self._note_waiting(watcher)
        return watcher

    def _withdraw(self, watcher: Watcher) -> None:
        """It waits no more."""
        if watcher.timer is not None:
            watcher.timer.cancel()
        if watcher in self._waiting:
            self._waiting.remove(watcher)

    def _ended(self, link: Link, watchers: list[Watcher]) -> None:
        """A group is done with its connection."""
        if not watchers[0].watch.spare:
            for watcher in watchers:
                self._busy.difference_update(watcher.watch.keys)
        self._pool.release(link)
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._gather)
        for keys, drained in self._drains:
            if not drained.done() and not self._uses(keys):
                drained.set_result(None)

    def _gather(self) -> None:
        """Make groups of those who wait and may start."""
        self._scheduled = False
        self._waiting = [watcher for watcher in self._waiting if watcher._waits]
        self._company = len(self._waiting) + self.reading > 1
        for watchers in self._groups():
            spare = watchers[0].watch.spare
            try:
                # Some connections are left to others, at least one, or the block could not use the session.
                link = self._pool.spare(reserve=max(1, self._pool.size // 8) if spare else 0)
            except SessionClosed as error:
                for watcher in watchers:
                    self._withdraw(watcher)
                    watcher._fail(SessionClosed(error.reason))
                continue
            if link is not None:
                self._start(link, watchers)
            elif spare:
                for watcher in watchers:
                    self._withdraw(watcher)
                    watcher._answer(None)
            elif not self._acquiring:
                self._acquiring = True
                self._pool.spawn(self._acquire())
        for watcher in self._waiting:
            self._note_waiting(watcher)

    def _start(self, link: Link, watchers: list[Watcher]) -> None:
        for watcher in watchers:
            self._waiting.remove(watcher)
            if watcher.timer is not None:
                watcher.timer.cancel()
            if not watcher.watch.spare:
                self._busy.update(watcher.watch.keys)
        _Group(self, link, watchers).start()

    def _groups(self) -> list[list[Watcher]]:
        """Who goes together: all who look at the same keys, and all first tries."""
        groups: list[list[Watcher]] = []
        blocked: set[bytes] = set()
        claimed: dict[bytes, list[Watcher]] = {}
        latest: dict[bool, list[Watcher]] = {}
        # Who was tried in vain is kept apart from strangers, so that a key which others write watchers nobody else up.
        for watcher in sorted(self._waiting, key=_is_first_try):
            watch = watcher.watch
            group: list[Watcher] | None = None
            if not watch.spare:
                if not (self._busy.isdisjoint(watch.keys) and blocked.isdisjoint(watch.keys)):
                    # Those after it wait too: it would never get all of its keys at once.
                    blocked.update(watch.keys)
                    continue
                same = {id(claimed[key]): claimed[key] for key in watch.keys if key in claimed}
                if same:
                    group = next(iter(same.values()))
                    if len(same) > 1 or watch.alone or group[0].watch.alone or len(group) >= TOGETHER:
                        blocked.update(watch.keys)
                        continue
            if group is None and not (watch.alone or watch.tries):
                group = latest.get(watch.spare)
            if group is None or len(group) >= TOGETHER:
                group = []
                groups.append(group)
                if not (watch.alone or watch.tries):
                    latest[watch.spare] = group
            group.append(watcher)
            if not watch.spare:
                claimed.update(dict.fromkeys(watch.keys, group))
        return groups

    def _note_waiting(self, watcher: Watcher) -> None:
        if watcher.timer is None:
            watcher.timer = self.loop.call_later(watcher.watch.timeout, self._give_up, watcher)

    def _give_up(self, watcher: Watcher) -> None:
        if watcher in self._waiting:
            self._waiting.remove(watcher)
            reason = f"other tasks of this process wrote the same objects for {watcher.watch.timeout} s"
            watcher._fail(Conflict(reason))

    async def _acquire(self) -> None:
        """Wait for a connection, for whoever waits by then."""
        try:
            link = await self._pool.acquire()
        except Exception as error:
            self._acquiring = False
            waiting, self._waiting = self._waiting, []
            for watcher in waiting:
                own = PoolTimeout(waited=error.waited, size=error.size) if isinstance(error, PoolTimeout) else error
                watcher._fail(own)
            return
        self._acquiring = False
        groups = [watchers for watchers in self._groups() if not watchers[0].watch.spare]
        if groups:
            self._start(link, groups[0])
        else:
            self._pool.release(link)
