"""Groups (asyncio): operations that share a connection, a WATCH and an EXEC. Who goes together is in ``watches``.

One write has the WATCH of all keys and all reads; then each member decides by itself, in order, seeing what those
before it do to the same keys; then one write has everything as one MULTI/EXEC. One that refuses drops out, the others
go on. Of an ``Update`` all of this happens as soon as the replies are there: no task is woken up in between.
"""

from __future__ import annotations

import contextvars
from asyncio import AbstractEventLoop, Future, TimerHandle
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from rapyer_core.errors import ServerRefused
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
from rapyer_core.transports.link import Link

Answer = list[Reply] | ServerError | Failed | None
"""To an ``Update``; Failed: to be raised inside the operation."""


class Scheduler(Protocol):
    """Who makes groups, and is told how they fare."""

    loop: AbstractEventLoop
    closed: bool
    """Whether the session was closed: no block writes any more."""
    reading: int
    """Groups that wait for the replies to their reads."""
    must_wait: Callable[[Sequence[bytes]], bool]
    """Whether the running task waits for one of these keys, which somebody else has to itself."""

    def begins(self, group: Group) -> None:
        """A group is about to read."""
        ...

    def ended(self, group: Group, link: Link) -> None:
        """A group is done with its connection."""
        ...

    def apart(self, members: Sequence[Member]) -> None:
        """Nothing was written because of one of them, or of another one: whose fault it was, each is to find out by
        itself.
        """
        ...

    def again(self, members: Sequence[Member]) -> None:
        """Nothing was written because of somebody else: they are to try again."""
        ...


_NO_PAUSES: Iterator[float] = iter(())


class Member:
    """One operation in a group, or on its way into one: its Update, carried out in its context."""

    __slots__ = (
        "alone",
        "context",
        "decide",
        "future",
        "in_order",
        "keys",
        "pauses",
        "reads",
        "started",
        "timeout",
        "timer",
        "tried",
    )

    def __init__(self, update: Update, loop: AbstractEventLoop) -> None:
        self.keys, self.reads, self.decide, self.pauses, self.alone, self.timeout = update
        self.context = contextvars.copy_context()
        self.future: Future[Any] = Future(loop=loop)
        self.tried = False
        """In vain before, so that it is kept apart from strangers."""
        self.started = False
        """It waits no more."""
        self.timer: TimerHandle | None = None
        self.in_order = False
        """Its reads have to be done in their order."""

    def answer(self, value: Any) -> None:
        """Tell whoever waits."""
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Raise it at whoever waits."""
        if not self.future.done():
            self.future.set_exception(error)


class Watcher(Member):
    """A block under WATCH, from its wish to its end: a member of a group that reads first, and decides later."""

    __slots__ = ("_left", "_scheduler", "group")

    def __init__(self, scheduler: Scheduler, watch: Watch) -> None:
        self._scheduler = scheduler
        self.keys, self.reads, self.in_order = watch
        self.future = Future(loop=scheduler.loop)
        self.pauses = _NO_PAUSES
        self.alone = self.tried = self._left = False
        self.group: BlockGroup | None = None
        """While something is watched."""

    def replies(self) -> Awaitable[list[Reply] | None]:
        """The replies to the reads, once the keys are watched. None: no connection to spare."""
        return self.future

    def more(self, watch: Watch) -> Awaitable[list[Reply] | None]:
        """The replies to further reads, once these keys are watched as well. None: others share the connection, or
        nothing is watched any more.
        """
        future: Future[list[Reply] | None] = Future(loop=self._scheduler.loop)
        self.future = future
        if self.group is None or not self.group.reads_more(watch):
            future.set_result(None)
        return future

    def commit(self, decide: Decide) -> Awaitable[Answer]:
        """Write what is decided on, if nothing watched has changed. Ends the watching.

        None, too, when nothing is watched any more, or others may have the keys to themselves; nothing was decided
        then. What is decided gets no replies.
        """
        self._left = True
        scheduler, group = self._scheduler, self.group
        future: Future[Answer] = Future(loop=scheduler.loop)
        self.future = future
        if group is None or group.is_over:
            future.set_result(None)
        elif scheduler.closed or scheduler.must_wait(self.keys):
            group.leaves()
            future.set_result(None)
        else:
            self.decide, self.context = decide, contextvars.copy_context()
            group.wants(self)
        return future

    def leave(self) -> None:
        """End the watching without writing."""
        if self._left:
            return
        self._left = True
        if self.group is None:
            self.future.cancel()
        else:
            self.group.leaves()


_SOMEBODY = ServerError("")
"""Stands for a refusal of what several wrote as one."""


class Group:
    """Operations that share a connection and a WATCH. A sink for the replies, to the reading and to the EXEC."""

    __slots__ = (
        "_commands",
        "_link",
        "_places",
        "_reading",
        "_refused",
        "_scheduler",
        "_spans",
        "keys",
        "members",
        "over",
    )

    def __init__(self, scheduler: Scheduler, link: Link, members: list[Member]) -> None:
        self._scheduler = scheduler
        self._link: Link | None = link
        self.members = members
        self.keys: Iterable[bytes] = members[0].keys
        self._places: list[int] | None = None
        """Where the replies to the reads are, of one member after the other; None: all have the same reads."""
        self._commands: list[Command] = []
        self._spans: list[tuple[Member, int, int]] = []
        """Who takes part in the EXEC; where its commands begin, and how many they are."""
        self._refused: list[tuple[Member, Failed]] = []
        """Who refused, perhaps because of what others would do: true only if they did."""
        self._reading = True
        self.over: Future[None] | None = None
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
        self._scheduler.begins(self)
        link.post([(b"WATCH", *keys), *reads], self)

    def _put_together(self) -> tuple[Sequence[bytes], Sequence[Command]]:
        """All keys, and all reads, each once."""
        known: dict[Any, int] = {}
        reads: list[Command] = []
        keys: dict[bytes, None] = {}
        places: list[int] = []
        for member in self.members:
            for key in member.keys:
                keys[key] = None
            for read in member.reads:
                # 1: after the reply to WATCH.
                place = known.setdefault((member, read) if member.in_order else read, 1 + len(reads))
                if place > len(reads):
                    reads.append(read)
                places.append(place)
        self.keys, self._places = keys, places
        return list(keys), reads

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
            elif isinstance(error, Lost) and not sent:
                member.fail(error.unsent())
            else:
                member.fail(Lost(sent=sent, timed_out=isinstance(error, Lost) and error.timed_out))
        self._end()
        self._scheduler.again([member for member, _ in self._refused])

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._scheduler.reading -= 1

    def _cannot_watch(self, error: ServerError) -> None:
        for member in self.members:
            member.answer(error)
        self._end()

    def _own(self, replies: list[Reply]) -> Sequence[list[Reply]]:
        """The replies to the reads of each member."""
        members = self.members
        if self._places is None:
            return [replies[1:]] * len(members)
        each: list[list[Reply]] = []
        start = 0
        for member in members:
            end = start + len(member.reads)
            own = []
            for place in self._places[start:end]:
                own.append(replies[place])
            each.append(own)
            start = end
        return each

    def _was_read(self, replies: list[Reply]) -> None:
        self._decide(self.members, self._own(replies))

    # -- the EXEC --

    def _decide(self, members: Sequence[Member], replies: Sequence[list[Reply]]) -> None:
        """Each decides by what was read, and all that was decided on is sent: what several do to one key as one."""
        others: Others = {}
        commands, spans = self._commands, self._spans
        decided: Sequence[Command] | Failed | None
        for member, own in zip(members, replies, strict=True):
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
        else:
            self._scheduler.apart([member for member, _, _ in self._spans])
        self._scheduler.again([member for member, _ in self._refused])

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
        again, apart = [], []
        for member, start, count in self._spans:
            answer = self._came_to(replies, member, start, count)
            if answer is None:
                again.append(member)
            elif answer is _SOMEBODY:
                apart.append(member)
            else:
                member.answer(answer)
        for member, failed in self._refused:
            if type(last) is list:
                member.answer(failed)
            else:
                again.append(member)
        self._end()
        self._scheduler.apart(apart)
        self._scheduler.again(again)

    def _came_to(self, replies: list[Reply], member: Member, start: int, count: int) -> Answer:
        """What an EXEC that failed, or had errors, came to for one of them. Errors of commands that ran are its own,
        too, if they are at its keys; when one of these was refused, it may be because of somebody else's part in it.
        """
        shared = [
            place
            for place, command in enumerate(self._commands[1:-1])
            if len(command) > 1 and command[1] in member.keys and not start <= place < start + count
        ]
        last = replies[-1]
        if isinstance(last, list):
            inner = [last[place] for place in shared if isinstance(last[place], ServerError)]
            return [*inner, *last[start : start + count]]
        answer = outcome(replies, start, count, alone=False)
        if answer is not None or last is None:
            return answer
        for place in shared:
            refusal = outcome(replies, place, 1, alone=False)
            if refusal is not None:
                return refusal if len(self._spans) == 1 else _SOMEBODY
        return outcome(replies, start, count, alone=len(self._spans) == 1)

    def _end(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._scheduler.ended(self, link)


class BlockGroup(Group):
    """The same of blocks, between whose reading and writing there is a user's code."""

    __slots__ = ("_scheduled", "_staying", "_watchers", "_wishes", "is_over")

    def __init__(self, scheduler: Scheduler, link: Link, members: list[Watcher]) -> None:
        super().__init__(scheduler, link, [*members])
        self._watchers = members
        self._wishes: list[Watcher] = []
        self._staying = len(members)
        self._scheduled = False
        self.is_over = False
        """Whether nothing is watched any more."""
        for watcher in members:
            watcher.group = self

    def _cannot_watch(self, error: ServerError) -> None:
        for member in self.members:
            member.answer([error] * len(member.reads))
        if not self._staying:
            self._end()

    def _was_read(self, replies: list[Reply]) -> None:
        for member, own in zip(self.members, self._own(replies), strict=True):
            future = member.future
            if not future.done():
                future.set_result(own)
        if not self._staying:
            self._end()

    def reads_more(self, watch: Watch) -> bool:
        """Watch and read more for the only member; whether that is done. Not where there are others: what each of them
        reads would take a write of its own.
        """
        link = self._link
        if link is None or self.is_over or len(self.members) > 1:
            return False
        member = self.members[0]
        keys, member.reads, member.in_order = watch
        member.keys = self.keys = (*member.keys, *keys)
        self._reading = True
        self._scheduler.begins(self)
        link.post([(b"WATCH", *keys), *member.reads], self)
        return True

    def wants(self, watcher: Watcher) -> None:
        """A member wants to write. All who do so in this tick go together."""
        self._wishes.append(watcher)
        self._staying -= 1
        if not self._staying:
            self._go()
        elif not self._scheduled:
            self._scheduled = True
            self._scheduler.loop.call_soon(self._go)

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
            self._decide(self._wishes, [[]] * len(self._wishes))

    def _end(self) -> None:
        self.is_over = True
        super()._end()
        for watcher in self._watchers:
            watcher.group = None
