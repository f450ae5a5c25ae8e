"""Watches (asyncio): which operations read and write under WATCH, on which connection, and which of them together.

A WATCH belongs to a connection, and any EXEC on it drops it. So what many tasks want in one tick goes as a group (see
``groups``). When something that was watched has changed, nothing was written: those who wrote the same keys rest
together for a moment, and try again together, apart from strangers. ``rapyer_core.sync.watches`` has the same names for
threads, where nobody shares.
"""

from __future__ import annotations

import asyncio
from asyncio import Future, TimerHandle
from collections.abc import Awaitable, Callable, Iterator, Sequence

from rapyer_core.errors import Conflict, PoolTimeout, SessionClosed
from rapyer_core.groups import Answer, BlockGroup, Group, Member, Watcher
from rapyer_core.requests import Update, Watch
from rapyer_core.transports.aio import Pool
from rapyer_core.transports.link import Link

__all__ = ["Answer", "Watcher", "Watches"]

TOGETHER = 128
"""Operations of one group, at most."""

STRANGERS = 32
"""Operations of one group that have no key in common, at most: the server works on one group while another decides."""


class Watches:
    """The operations of one event loop that are under WATCH, and those that wait for it."""

    closed = False
    """Whether the session was closed: no block writes any more."""

    def __init__(self, pool: Pool, must_wait: Callable[[Sequence[bytes]], bool]) -> None:
        """must_wait: whether the running task waits for one of these keys, which somebody else has to itself."""
        self.loop = asyncio.get_running_loop()
        self.must_wait = must_wait
        self._pool = pool
        # Blocks leave some connections to others, at least one, or they could not use the session.
        self._reserve = max(1, pool.size // 8)
        # What shares a WATCH or an EXEC in a cluster must share a slot.
        self._strangers = 1 if pool.of_cluster else STRANGERS
        self._entering: list[Watcher] = []
        """Blocks, until the end of the tick."""
        self._waiting: list[Member] = []
        """Updates in the order asked for; first those that were tried in vain."""
        self._resting: dict[tuple[bytes, ...], tuple[list[Member], TimerHandle]] = {}
        """Updates that were tried in vain, by their keys, until they are tried again."""
        self._busy: set[bytes] = set()
        """Keys of updates under way. Those of blocks are not among them: nobody may wait for what a user's code does.
        """
        self._scheduled = False
        self._company = False
        """Whether several wanted something at the same time, the last time."""
        self._acquiring = False
        self._drains: list[tuple[Sequence[bytes], Future[None]]] = []
        self.held: dict[bytes, Future[None]] = {}
        """Keys of what is tried again by now, and what is done once that is over: blind writes wait for it."""
        self.reading = 0
        """Groups that wait for the replies to their reads."""

    @property
    def at_rest(self) -> bool:
        """Whether nobody waits, and nothing is under way."""
        return not (self._busy or self._acquiring or any(self._pending()) or self._entering)

    def _pending(self) -> Iterator[Member]:
        """Those who wait for a try."""
        for members in (self._waiting, *[members for members, _ in self._resting.values()]):
            yield from (member for member in members if not member.future.done())

    async def drained(self, keys: Sequence[bytes], timeout: float) -> None:
        """Wait until no operation that is under way by now writes one of these keys; no longer than timeout seconds."""
        if not self._uses(keys):
            return
        drained: Future[None] = self.loop.create_future()
        self._drains.append((keys, drained))
        try:
            await asyncio.wait([drained], timeout=timeout)
        finally:
            self._drains.remove((keys, drained))

    async def let_finish(self, keys: Sequence[bytes]) -> None:
        """Wait for what is tried again under one of these keys by now: a write that nothing can disturb would disturb
        it once more, and so on for ever.
        """
        tries = {self.held[key] for key in keys if key in self.held}
        if tries:
            await asyncio.wait(tries)

    def _uses(self, keys: Sequence[bytes]) -> bool:
        if not self._busy.isdisjoint(keys):
            return True
        return any(not set(keys).isdisjoint(member.keys) for member in self._pending())

    def enter(self, watch: Watch) -> Watcher:
        """Watch and read, with other blocks that want to in this tick. ``replies`` of the watcher waits for it."""
        watcher = Watcher(self, watch)
        link = None if self._company or self._scheduled else self._link_of_lone(self._reserve)
        if link is not None:
            BlockGroup(self, link, [watcher]).start()
            return watcher
        self._entering.append(watcher)
        if not self._scheduled:
            self._start_soon()
        return watcher

    def update(self, update: Update) -> Awaitable[Answer]:
        """Read, decide and write, with others that want to in this tick.

        Tried again after each pause, until there is none left: None then.
        """
        member = Member(update, self.loop)
        link = None if self._company or self._scheduled or self._busy else self._link_of_lone(0)
        if link is not None:
            member.started = True
            Group(self, link, [member]).start()
            return member.future
        self._waiting.append(member)
        if not self._scheduled:
            self._start_soon()
        return member.future

    def _link_of_lone(self, reserve: int) -> Link | None:
        """A link for what may start at once, because there is nobody to go with; None: that takes a closer look."""
        if self.reading or self._waiting or self._entering or self._resting:
            return None
        return self._pool.spare(reserve)

    def _start_soon(self) -> None:
        """At once what is alone; else at the end of the tick."""
        if self._company or self.reading or len(self._waiting) + len(self._entering) > 1:
            self._schedule()
        else:
            self._gather()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._gather)

    def begins(self, group: Group) -> None:
        """A group is about to read."""
        self.reading += 1
        if type(group) is not Group:
            return
        self._busy.update(group.keys)
        first, last = group.members[0], group.members[-1]
        # Whoever is alone may have been tried before as well.
        if first.tried or last.tried or first.alone:
            group.over = self.loop.create_future()
            self.held.update(dict.fromkeys(group.keys, group.over))

    def ended(self, group: Group, link: Link) -> None:
        """A group is done with its connection."""
        if type(group) is Group:
            self._busy.difference_update(group.keys)
        if group.over is not None:
            for key in group.keys:
                del self.held[key]
            group.over.set_result(None)
        self._pool.release(link)
        if self._waiting:
            self._schedule()
        if self._drains:
            # Once the group has told its members how it went: some may go on.
            self.loop.call_soon(self._look_at_drains)

    def _look_at_drains(self) -> None:
        for keys, drained in self._drains:
            if not drained.done() and not self._uses(keys):
                drained.set_result(None)

    # -- again --

    def apart(self, members: Sequence[Member]) -> None:
        """Nothing was written because of one of them, or of another one: whose fault it was, each tries to find out by
        itself. What they had was no try.
        """
        for member in members:
            if isinstance(member, Watcher):
                # It decided by what it had read at its entry.
                member.answer(None)
            elif not member.future.done():
                member.alone, member.started = True, False
                self._waiting.append(member)
        if self._waiting:
            self._schedule()

    def again(self, members: Sequence[Member]) -> None:
        """Nothing was written because of somebody else: those of the same keys rest, and try again together."""
        for member in members:
            pause = None if member.future.done() else next(member.pauses, None)
            if pause is None:
                member.answer(None)
                continue
            member.tried, member.started = True, False
            keys = tuple(member.keys)
            resting = self._resting.get(keys)
            if resting is None:
                self._resting[keys] = [member], self.loop.call_later(pause, self._rested, keys)
            else:
                resting[0].append(member)

    def _rested(self, keys: tuple[bytes, ...]) -> None:
        members, _ = self._resting.pop(keys)
        self._waiting[:0] = members
        self._gather()

    # -- groups --

    def _gather(self) -> None:
        """Make groups of those who wait and may start."""
        self._scheduled = False
        self._company = len(self._waiting) + len(self._entering) + self.reading > 1
        if self._entering:
            self._enter_all()
        if self._waiting:
            self._start_all()
        if self._drains:
            self._look_at_drains()

    def _start_all(self) -> None:
        self._waiting = [member for member in self._waiting if not member.future.done()]
        for members in self._groups():
            try:
                link = self._pool.spare(reserve=0)
            except SessionClosed as error:
                for member in members:
                    member.fail(SessionClosed(error.reason))
                continue
            if link is not None:
                self._start(link, members)
            elif not self._acquiring:
                self._acquiring = True
                self._pool.spawn(self._acquire())
        self._wait_on()

    def _enter_all(self) -> None:
        """Blocks watch on connections that nobody needs, or not at all."""
        entering = [member for member in self._entering if not member.future.done()]
        self._entering = []
        for start in range(0, len(entering), self._strangers):
            members = entering[start : start + self._strangers]
            try:
                link = self._pool.spare(self._reserve)
            except SessionClosed as error:
                for member in members:
                    member.fail(SessionClosed(error.reason))
                continue
            if link is not None:
                BlockGroup(self, link, members).start()
            else:
                for member in members:
                    member.answer(None)

    def _start(self, link: Link, members: list[Member]) -> None:
        group = Group(self, link, members)
        for member in members:
            member.started = True
            if member.timer is not None:
                member.timer.cancel()
                member.timer = None
        group.start()

    def _wait_on(self) -> None:
        """Whoever was not started waits, but not for ever."""
        waiting = [member for member in self._waiting if not (member.started or member.future.done())]
        for member in waiting:
            if member.timer is None:
                member.timer = self.loop.call_later(member.timeout, self._give_up, member)
        self._waiting = waiting

    def _give_up(self, member: Member) -> None:
        if member in self._waiting:
            self._waiting.remove(member)
            reason = f"other tasks of this process wrote the same objects for {member.timeout} s"
            member.fail(Conflict(reason))

    def _groups(self) -> list[list[Member]]:
        """Who goes together: all who look at the same keys, and all first tries."""
        groups: list[list[Member]] = []
        busy, blocked = self._busy, set[bytes]()
        claimed: dict[bytes, list[Member]] = {}
        latest: list[Member] | None = None
        for member in self._waiting:
            keys, alone = member.keys, member.alone
            group: list[Member] | None = None
            waits = False
            for key in keys:
                if key in busy or key in blocked:
                    waits = True
                    break
                same = claimed.get(key)
                if same is not None:
                    if group is not None and group is not same:
                        waits = True
                        break
                    group = same
            if waits or (group is not None and (alone or group[0].alone or len(group) >= TOGETHER)):
                # Those after it wait too: it would never get all of its keys at once.
                blocked.update(keys)
                continue
            strange = alone or member.tried
            if group is None and not strange and latest is not None and len(latest) < self._strangers:
                group = latest
            if group is None:
                group = []
                groups.append(group)
                if not strange:
                    latest = group
            group.append(member)
            for key in keys:
                claimed[key] = group
        if self._resting:
            self._wake_up(claimed)
        return groups

    def _wake_up(self, claimed: dict[bytes, list[Member]]) -> None:
        """Those who rest go with others who write all of the same keys now: they cost nothing."""
        for keys, (members, timer) in list(self._resting.items()):
            group = claimed.get(keys[0])
            if group is None or group[0].alone or members[0].alone or len(group) + len(members) > TOGETHER:
                continue
            if all(claimed.get(key) is group for key in keys):
                timer.cancel()
                del self._resting[keys]
                self._waiting += members
                group += members

    async def _acquire(self) -> None:
        """Wait for a connection, for whoever waits by then."""
        try:
            link = await self._pool.acquire()
        except Exception as error:
            self._acquiring = False
            waiting, self._waiting = self._waiting, []
            for member in waiting:
                own = PoolTimeout(waited=error.waited, size=error.size) if isinstance(error, PoolTimeout) else error
                member.fail(own)
            return
        self._acquiring = False
        self._waiting = [member for member in self._waiting if not member.future.done()]
        groups = self._groups()
        if groups:
            self._start(link, groups[0])
            self._wait_on()
        else:
            self._pool.release(link)
