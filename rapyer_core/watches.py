"""Watches (asyncio): which operations read and write under WATCH, on which connection, and which of them together.

A WATCH belongs to a connection, and any EXEC on it drops it. So what many tasks want in one tick goes as a *group*: one
write with the WATCH of all their keys and all their reads; then each decides by itself, in order, seeing what those
before it do to the same keys; then one write with everything as one MULTI/EXEC. One that refuses drops out, the others
go on. Of an ``Update`` all of this happens as soon as the replies are there: no task is woken up in between. When
something that was watched has changed, nothing was written: those who wrote the same keys rest together for a moment,
and try again together, apart from strangers. ``rapyer_core.sync.watches`` has the same names for threads, where nobody
shares.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import Any

from rapyer_core.errors import Conflict, PoolTimeout, ServerRefused, SessionClosed
from rapyer_core.requests import (
    EXEC,
    MULTI,
    Command,
    Decide,
    Failed,
    Lost,
    Others,
    Reply,
    ServerError,
    Update,
    Watch,
    outcome,
)
from rapyer_core.transports.aio import Link, Pool

TOGETHER = 128
"""Operations of one group, at most."""

STRANGERS = 32
"""Operations of one group that have no key in common, at most: the server works on one group while another decides."""

Answer = list[Reply] | ServerError | Failed | None
"""To an ``Update`` or ``Exec``; Failed: to be raised inside the operation."""


class _Member:
    """One operation in a group, or on its way into one: its Update, carried out in its context.

    tried: in vain before, so that it is kept apart from strangers. started: it waits no more. group: of a block, while
    something is watched.
    """

    __slots__ = (
        "alone",
        "context",
        "decide",
        "future",
        "group",
        "keys",
        "pauses",
        "reads",
        "started",
        "timeout",
        "timer",
        "tried",
    )

    def __init__(self, update: Update, future: asyncio.Future[Any]) -> None:
        self.keys, self.reads, self.decide, self.pauses, self.alone, self.timeout = update
        self.context = contextvars.copy_context()
        self.future = future
        self.tried = self.started = False
        self.group: _BlockGroup | None = None
        self.timer: asyncio.TimerHandle | None = None

    def answer(self, value: Any) -> None:
        """Tell whoever waits."""
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Raise it at whoever waits."""
        if not self.future.done():
            self.future.set_exception(error)


class _Group:
    """Operations that share a connection and a WATCH. A sink for the replies, to the reading and to the EXEC."""

    __slots__ = (
        "_commands",
        "_link",
        "_places",
        "_reading",
        "_refused",
        "_spans",
        "_watches",
        "keys",
        "members",
        "over",
    )

    def __init__(self, watches: Watches, link: Link, members: list[_Member]) -> None:
        self._watches = watches
        self._link: Link | None = link
        self.members = members
        self.keys: Iterable[bytes] = members[0].keys
        self._places: list[int] | None = None
        """Where the replies to the reads are, of one member after the other; None: all have the same reads."""
        self._commands: list[Command] = []
        self._spans: list[tuple[_Member, int, int]] = []
        """Who takes part in the EXEC; where its commands begin, and how many they are."""
        self._refused: list[tuple[_Member, Failed]] = []
        """Who refused, perhaps because of what others would do: true only if they did."""
        self._reading = True
        self.over: asyncio.Future[None] | None = None
        """What those wait for whose writes would disturb it once more."""

    def start(self) -> None:
        """WATCH all keys and read."""
        link = self._link
        assert link is not None
        members = self.members
        keys, reads = members[0].keys, members[0].reads
        for member in members:
            if member.reads != reads or member.keys != keys:
                keys, reads = self._put_together()
                break
        # First: where the connection cannot be made, that may be known at once.
        self._watches._begins(self)
        link.post([(b"WATCH", *keys), *reads], self)

    def _put_together(self) -> tuple[Sequence[bytes], Sequence[Command]]:
        """All keys, and all reads, each once."""
        known: dict[Command, int] = {}
        keys: dict[bytes, None] = {}
        places: list[int] = []
        for member in self.members:
            for key in member.keys:
                keys[key] = None
            for read in member.reads:
                # 1: after the reply to WATCH.
                places.append(known.setdefault(read, 1 + len(known)))
        self.keys, self._places = keys, places
        return list(keys), list(known)

    # -- replies --

    def done(self) -> bool:
        return False

    def set_result(self, replies: list[Reply], /) -> None:
        if self._reading:
            self._stop_reading()
            if isinstance(replies[0], ServerError):
                self._cannot_watch(replies[0])
            else:
                self._was_read(replies)
        else:
            self._was_run(replies)

    def set_exception(self, error: Exception, /) -> None:
        writing = not self._reading and bool(self._commands)
        members = [member for member, _, _ in self._spans] if writing else self.members
        sent = writing and isinstance(error, Lost) and error.sent
        self._stop_reading()
        for member in members:
            # To each an error of its own: tracebacks grow at the places that raise it.
            if isinstance(error, ServerRefused):
                member.fail(ServerRefused(error.reason, code=error.code))
            else:
                member.fail(Lost(sent=sent, timed_out=isinstance(error, Lost) and error.timed_out))
        self._end()
        self._watches._again([member for member, _ in self._refused])

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._watches.reading -= 1

    def _cannot_watch(self, error: ServerError) -> None:
        for member in self.members:
            member.answer(error)
        self._end()

    def _own(self, replies: list[Reply]) -> Iterable[tuple[_Member, list[Reply]]]:
        """Each member with the replies to its reads."""
        if self._places is None:
            own = replies[1:]
            return [(member, own) for member in self.members]
        found = [replies[place] for place in self._places]
        start = 0
        each: list[tuple[_Member, list[Reply]]] = []
        for member in self.members:
            end = start + len(member.reads)
            each.append((member, found[start:end]))
            start = end
        return each

    def _was_read(self, replies: list[Reply]) -> None:
        self._decide(self._own(replies))

    # -- the EXEC --

    def _decide(self, members: Iterable[tuple[_Member, list[Reply]]]) -> None:
        """Each decides by what was read, and all that was decided on is sent: what several do to one key as one."""
        others: Others = {}
        commands, spans = self._commands, self._spans
        decided: Sequence[Command] | Failed | None
        for member, own in members:
            if member.future.done():
                continue
            try:
                decided = member.context.run(member.decide, own, others)
            except BaseException as error:
                decided = Failed(error)
            if decided is None:
                member.answer([])
            elif not isinstance(decided, Failed):
                spans.append((member, len(commands), len(decided)))
                commands += decided
            elif others:
                self._refused.append((member, decided))
            else:
                member.answer(decided)
        if not spans:
            self._end()
            return
        for key, effects in others.items():
            commands += effects.unsent(key)
        self._send()

    def _send(self) -> None:
        self._commands = commands = [MULTI, *self._commands, EXEC]
        link = self._link
        assert link is not None
        try:
            link.post(commands, self)
        except Exception as error:
            self._cannot_pack(error)

    def _cannot_pack(self, error: Exception) -> None:
        """An argument that cannot be packed: whose, only one by one can tell."""
        self._end()
        if len(self._spans) == 1:
            self._spans[0][0].answer(Failed(error))
            members = []
        else:
            members = [member for member, _, _ in self._spans]
            for member in members:
                member.alone = True
        self._watches._again([*members, *[member for member, _ in self._refused]])

    def _was_run(self, replies: list[Reply]) -> None:
        last = replies[-1]
        if type(last) is list and ServerError not in map(type, last):
            for member, start, count in self._spans:
                future = member.future
                if not future.done():
                    future.set_result(last[start : start + count])
            for member, failed in self._refused:
                member.answer(failed)
            self._end()
            return
        again = []
        for member, start, count in self._spans:
            answer = self._came_to(replies, member, start, count)
            if answer is None:
                again.append(member)
            else:
                member.answer(answer)
        for member, failed in self._refused:
            if type(last) is list:
                member.answer(failed)
            else:
                again.append(member)
        self._end()
        self._watches._again(again)

    def _came_to(self, replies: list[Reply], member: _Member, start: int, count: int) -> Answer:
        """What an EXEC that failed, or had errors, came to for one of them: those at its keys are its own, too."""
        shared = [
            place
            for place, command in enumerate(self._commands[1:-1])
            if len(command) > 1 and command[1] in member.keys and not start <= place < start + count
        ]
        last = replies[-1]
        if isinstance(last, list):
            inner = [last[place] for place in shared if isinstance(last[place], ServerError)]
            return [*inner, *last[start : start + count]]
        for place in shared:
            answer = outcome(replies, place, 1, alone=False)
            if answer is not None:
                return answer
        return outcome(replies, start, count, alone=len(self._spans) == 1)

    def _end(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._watches._ended(self, link)


class _BlockGroup(_Group):
    """The same of blocks, between whose reading and writing there is a user's code."""

    __slots__ = ("_scheduled", "_staying", "_wishes", "is_over")

    def __init__(self, watches: Watches, link: Link, members: list[_Member]) -> None:
        super().__init__(watches, link, members)
        self._wishes: list[_Member] = []
        self._staying = len(members)
        self._scheduled = False
        self.is_over = False
        """Whether nothing is watched any more."""
        for member in members:
            member.group = self

    def _cannot_watch(self, error: ServerError) -> None:
        for member in self.members:
            member.answer([error] * len(member.reads))
        if not self._staying:
            self._end()

    def _was_read(self, replies: list[Reply]) -> None:
        for member, own in self._own(replies):
            future = member.future
            if not future.done():
                future.set_result(own)
        if not self._staying:
            self._end()

    def wants(self, member: _Member) -> None:
        """A member wants to write. All who do so in this tick go together."""
        self._wishes.append(member)
        self._staying -= 1
        if not self._staying:
            self._go()
        elif not self._scheduled:
            self._scheduled = True
            self._watches.loop.call_soon(self._go)

    def leaves(self) -> None:
        """A member wants nothing any more."""
        self._staying -= 1
        if self._staying or self._reading:
            return
        if self._wishes:
            self._go()
        else:
            self._end()

    def _go(self) -> None:
        if not self.is_over:
            self.is_over = True
            self._decide([(member, []) for member in self._wishes])

    def _end(self) -> None:
        self.is_over = True
        super()._end()
        for member in self.members:
            member.group = None


class Watcher:
    """A block under WATCH, from its wish to its end."""

    __slots__ = ("_left", "_member", "_watches")

    def __init__(self, watches: Watches, member: _Member) -> None:
        self._watches = watches
        self._member = member
        self._left = False

    def replies(self) -> Awaitable[list[Reply] | None]:
        """The replies to the reads, once the keys are watched. None: no connection to spare."""
        return self._member.future

    def commit(self, decide: Decide) -> Awaitable[Answer]:
        """Write what is decided on, if nothing watched has changed. Ends the watching."""
        self._left = True
        member = self._member
        group = member.group
        member.future = self._watches.loop.create_future()
        if group is None or group.is_over:
            member.future.set_result(None)
        else:
            member.decide, member.context = decide, contextvars.copy_context()
            group.wants(member)
        return member.future

    def leave(self) -> None:
        """End the watching without writing."""
        if self._left:
            return
        self._left = True
        group = self._member.group
        if group is None:
            self._member.future.cancel()
        else:
            group.leaves()


def _nothing(_: list[Reply], __: Others) -> None:
    """What a block that has not come to its end wants to write."""


class Watches:
    """The operations of one event loop that are under WATCH, and those that wait for it."""

    def __init__(self, pool: Pool) -> None:
        self.loop = asyncio.get_running_loop()
        self._pool = pool
        self._entering: list[_Member] = []
        """Blocks, until the end of the tick."""
        self._waiting: list[_Member] = []
        """Updates in the order asked for; first those that were tried in vain."""
        self._resting: dict[tuple[bytes, ...], tuple[list[_Member], asyncio.TimerHandle]] = {}
        """Updates that were tried in vain, by their keys, until they are tried again."""
        self._busy: set[bytes] = set()
        """Keys of updates under way. Those of blocks are not among them: nobody may wait for what a user's code does.
        """
        self._scheduled = False
        self._company = False
        """Whether several wanted something at the same time, the last time."""
        self._acquiring = False
        self._drains: list[tuple[Sequence[bytes], asyncio.Future[None]]] = []
        self.held: dict[bytes, asyncio.Future[None]] = {}
        """Keys of what is tried again by now, and what is done once that is over: blind writes wait for it."""
        self.reading = 0
        """Groups that wait for the replies to their reads."""

    @property
    def at_rest(self) -> bool:
        """Whether nobody waits, and nothing is under way."""
        return not (self._busy or self._acquiring or any(self._pending()) or self._entering)

    def _pending(self) -> Iterator[_Member]:
        """Those who wait for a try."""
        for members in (self._waiting, *[members for members, _ in self._resting.values()]):
            yield from (member for member in members if not member.future.done())

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
        member = _Member(Update(watch.keys, watch.reads, _nothing), self.loop.create_future())
        self._entering.append(member)
        if not self._scheduled:
            self._start_soon()
        return Watcher(self, member)

    def update(self, update: Update) -> Awaitable[Answer]:
        """Read, decide and write, with others that want to in this tick.

        Tried again after each pause, until there is none left: None then.
        """
        member = _Member(update, self.loop.create_future())
        self._waiting.append(member)
        if not self._scheduled:
            self._start_soon()
        return member.future

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

    def _begins(self, group: _Group) -> None:
        """A group is about to read."""
        self.reading += 1
        if type(group) is not _Group:
            return
        self._busy.update(group.keys)
        first, last = group.members[0], group.members[-1]
        # Whoever is alone may have been tried before as well.
        if first.tried or last.tried or first.alone:
            group.over = self.loop.create_future()
            self.held.update(dict.fromkeys(group.keys, group.over))

    def _ended(self, group: _Group, link: Link) -> None:
        """A group is done with its connection."""
        if type(group) is _Group:
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

    def _again(self, members: Sequence[_Member]) -> None:
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
        for start in range(0, len(entering), STRANGERS):
            members = entering[start : start + STRANGERS]
            try:
                # Some connections are left to others, at least one, or the block could not use the session.
                link = self._pool.spare(reserve=max(1, self._pool.size // 8))
            except SessionClosed as error:
                for member in members:
                    member.fail(SessionClosed(error.reason))
                continue
            if link is not None:
                _BlockGroup(self, link, members).start()
            else:
                for member in members:
                    member.answer(None)

    def _start(self, link: Link, members: list[_Member]) -> None:
        group = _Group(self, link, members)
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

    def _give_up(self, member: _Member) -> None:
        if member in self._waiting:
            self._waiting.remove(member)
            reason = f"other tasks of this process wrote the same objects for {member.timeout} s"
            member.fail(Conflict(reason))

    def _groups(self) -> list[list[_Member]]:
        """Who goes together: all who look at the same keys, and all first tries."""
        groups: list[list[_Member]] = []
        busy, blocked = self._busy, set[bytes]()
        claimed: dict[bytes, list[_Member]] = {}
        latest: list[_Member] | None = None
        for member in self._waiting:
            keys, alone = member.keys, member.alone
            group: list[_Member] | None = None
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
            if group is None and not strange and latest is not None and len(latest) < STRANGERS:
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

    def _wake_up(self, claimed: dict[bytes, list[_Member]]) -> None:
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
