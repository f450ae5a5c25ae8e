"""The commit: how writes to one or several objects become one MULTI/EXEC, all or nothing, and never stale.

A :class:`Unit` is one object's part. It says which stored fields it must see, and, given them, decides what to
write (a :class:`Change`) or refuses. The loop here does the rest:

    WATCH keys, read what every unit must see            one round trip
    every unit decides                                   no I/O
    MULTI, all changes, EXEC                             one round trip; nil: somebody wrote; again from the top

Values are compared by the units, so that writers of other fields only cost a retry. The reads stand under the same
WATCH as the EXEC, so nothing changes between the decision and the write. No unit does I/O.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from rapyer_codecs.lean import dataclass
from rapyer_core.collection import Context, Target
from rapyer_core.errors import (
    Conflict,
    ConstraintError,
    LockLost,
    NotApplied,
    PoolTimeout,
    ServerRefused,
    SessionClosed,
    WrongKeyType,
)
from rapyer_core.operations.commands import change_commands, is_plain
from rapyer_core.operations.effects import effects_on
from rapyer_core.operations.refusals import raise_inner, refused, unknown
from rapyer_core.operations.units import Change, Seen, Unit, read_command, seen_from
from rapyer_core.requests import (
    Batch,
    Command,
    Failed,
    Lost,
    Operation,
    Others,
    Pause,
    Reply,
    ServerError,
    Update,
    new_update,
)
from rapyer_core.retries import Retry, clock

TOKEN_LIFE = 600.0
"""Seconds an exactly-once token lives. No look-up trusts its absence after half of that."""

LOOKING = 10.0
"""Seconds, at least, to look for the token of an EXEC whose reply was lost, while the server cannot be reached."""


@dataclass(frozen=True, slots=True)
class Fence:
    """A held lock that the commit must still hold. key: the lock's key; token: its owner; name: for messages."""

    key: bytes
    token: bytes
    name: str
    target: Target


def commit(
    ctx: Context, units: Sequence[Unit], *, retry: Retry | None = None, exactly_once: bool | None = None
) -> Operation[Commit]:
    """Bring the units through one MULTI/EXEC, trying again while other writers are in the way. How it went.

    Raises what the units raise; Conflict when no try came through in time; LockLost; OutcomeUnknown when the reply
    to an EXEC was lost (with exactly_once: only when the server stays unreachable); NotApplied; WrongKeyType.
    """
    return Commit(ctx, units, retry, exactly_once).operation()


_NOT_ASKED: Any = object()


class Commit:
    """One commit under way, and how it went. ``decide`` is what the reading comes to; ``operation`` does it all.

    attempts: tries so far. seen, changes: of the last one, per unit. tails: per unit, the reply to its tail command;
    empty: no reply.

    token: the exactly-once token. doubt: when an EXEC was sent whose outcome is not known. settled: whether it is void,
    or its token there. read_at: the server's clock at the reading before it.

    What a doubtful EXEC did is told by its token, which the next reading looks for, under WATCH: there, it was applied.
    Absent, it can still arrive late, but is void as soon as anything that it watched has changed. So the same things
    seen lead to the very same change, and whichever of the two EXECs comes through, the outcome is that of both.
    """

    # Not in __init__: there is one of these for each write.
    attempts = 0
    seen: Sequence[Seen] = ()
    changes: Sequence[Change] = ()
    tails: Sequence[Reply] = ()
    doubt: float | None = None
    settled = False
    read_at = 0
    sent_at = 0.0
    has_read = False
    """Whether this try has come to the decision."""
    applied = False
    """Whether an earlier try turned out to have been applied."""
    older = False
    """Whether there is an object of another version, so that all of it is needed."""
    unread = False
    """Whether that was found out just now."""
    writes = False

    def __init__(
        self,
        ctx: Context,
        units: Sequence[Unit],
        retry: Retry | None = None,
        exactly_once: bool | None = None,
        fences: Sequence[Fence] = (),
        extra: Sequence[Command] = (),
        lead: Sequence[Seen] | None = None,
    ) -> None:
        """extra: commands added to the EXEC (the release of locks). lead: what was seen before, if it is watched."""
        once = ctx.exactly_once if exactly_once is None else exactly_once
        retry = retry or ctx.retry
        self.units = units
        self.retry = retry
        self.fences = fences
        self.extra = extra
        self.token = own_token(units[0].target) if once else None
        # The token has to be watched too. Whoever has one try shares it with nobody, whose objects others may write, if
        # there is time to wait for a turn.
        self.alone = once or (retry.attempts == 1 and retry.deadline > 0)
        self.lead = None if self.alone else lead

    def operation(self, answer: Any = _NOT_ASKED) -> Operation[Commit]:
        """Tries, with pauses between them, until one comes through or none may follow.

        answer: what ``Watcher.commit`` came to for the first one, which went on with the watching of a block.
        """
        conflicts: Iterator[float] = self.retry.pauses()
        losses: Iterator[float] | None = None
        while True:
            stop: Exception | None = None
            try:
                replies, answer = answer, _NOT_ASKED
                if replies is _NOT_ASKED:
                    self.has_read = False
                    replies = yield self._update(conflicts)
                elif type(replies) is Failed:
                    raise replies.error
                if type(replies) is list:
                    if self.unread:
                        self.unread = False
                        continue
                    if self.applied:
                        yield from self._look_again()
                    elif replies:
                        raise_inner(self.targets, replies)
                        self._keep_tails(replies)
                    return self
                if replies is not None:
                    raise refused(self.units[0].target, replies)
                if not self.has_read:
                    # Nothing was watched any more.
                    self.lead = None
                    continue
                # Something watched has changed: an EXEC in doubt is void, or it was the one, which its token will tell.
                self.settled = True
            except ConstraintError:
                if self.lead is None:
                    raise
                # By what was stored at the entry. What counts is what is stored now.
                self.lead = None
                continue
            except Conflict as conflict:
                if self.has_read:
                    raise
                # Others of this process wrote the keys all the time.
                raise self._ending(conflict) from None
            except (Lost, PoolTimeout, ServerRefused, SessionClosed) as error:
                stop = self._noted(error) if isinstance(error, Lost) else error
                if not self._passes(stop, first=losses is None):
                    raise self._ending(stop) from None
            self.lead = None
            if losses is None and isinstance(stop, Lost):
                looking = min(max(self.retry.deadline, LOOKING), TOKEN_LIFE / 2)
                losses = Retry(deadline=looking, cap=self.retry.cap).pauses()
                if self.doubt is None:
                    # A connection that had been idle; the next one is new. That is no attempt.
                    continue
            pause = next(conflicts if self.doubt is None or losses is None else losses, None)
            if pause is None:
                raise self._ending(stop or self._conflict()) from None
            yield Pause(pause)

    def _noted(self, lost: Lost) -> Lost:
        """A connection was lost: whether an EXEC is in doubt now."""
        if not self.writes:
            # An EXEC that only validates what was read may be sent again, as any reading.
            return lost.unsent()
        if lost.sent and self.token is not None:
            self.doubt, self.settled = self.doubt or self.sent_at, False
        return lost

    def _passes(self, error: Exception, first: bool) -> bool:
        """Whether to go on after an error. first: no connection was lost before."""
        if isinstance(error, Lost):
            return self.doubt is not None if error.sent else self.doubt is not None or (first and not error.timed_out)
        if isinstance(error, PoolTimeout):
            return self.doubt is not None
        return isinstance(error, NotApplied) and error.passing

    # -- reading --

    def _update(self, pauses: Iterator[float]) -> Update:
        units, older = self.units, self.older
        if len(units) == 1 and self.token is None and not self.fences:
            key, read, deadline = (units[0].target.key,), (read_command(units[0], older),), self.retry.deadline
            return new_update(Update, (key, read, self.decide, pauses, self.alone, deadline))
        keys = sorted({unit.target.key for unit in units})
        reads = [read_command(unit, older) for unit in units]
        keys += [fence.key for fence in self.fences]
        reads += [(b"GET", fence.key) for fence in self.fences]
        if self.token is None:
            return Update(keys, reads, self.decide, pauses, self.alone, self.retry.deadline)
        keys.append(self.token)
        reads += [(b"TIME",), (b"EXISTS", self.token)]
        # Whoever may come to be in doubt goes alone: only what was stored may lead to the change, and to its result.
        return Update(keys, reads, self.decide, alone=True, timeout=self.retry.deadline)

    def _found(self, replies: list[Reply]) -> list[Seen] | None:
        """What was read of the units. None: nothing is to be decided on. LockLost."""
        if self.token is not None and not self._is_absent(*replies[-2:]):
            self.applied = True
            return None
        for fence, reply in zip(self.fences, replies[len(self.units) :], strict=False):
            if isinstance(reply, ServerError):
                raise refused(fence.target, reply)
            if reply != fence.token:
                raise LockLost(**fence.target.data, name=fence.name)
        seen: list[Seen] = []
        for unit, reply in zip(self.units, replies, strict=False):
            found = seen_from(unit, reply, self.older)
            if found is None:
                self.older = self.unread = True
                return None
            seen.append(found)
        return seen

    def _is_absent(self, now: Reply, found: Reply) -> bool:
        """Whether the token is not there: no EXEC was applied."""
        for reply in (found, now):
            if isinstance(reply, ServerError):
                raise refused(self.units[0].target, reply)
        if found == 1:
            return False
        self._trust_absence(int(now[0]))
        self.sent_at = clock()
        return True

    def _trust_absence(self, now: int) -> None:
        """The token is not there. Tells an EXEC that was not applied, unless the token can have expired. now: the
        server's clock, in seconds: tokens expire by that, and it can be set.
        """
        if self.doubt is not None:
            if max(clock() - self.doubt, now - self.read_at) > TOKEN_LIFE / 2:
                raise unknown(self.targets, Lost(sent=True))
            if self.settled:
                self.doubt = None
        if self.doubt is None:
            self.read_at = now

    # -- deciding --

    def decide(self, replies: list[Reply], others: Others) -> Sequence[Command] | None:
        """What to write, given what was read (before the commit, if it has a lead), and what those before it in the
        same EXEC do to the same objects.
        """
        self.has_read = True
        seen = self.lead
        units = self.units
        if seen is None:
            seen = self._found(replies)
            if seen is None:
                return None
        # Alone with what is stored, whoever writes nothing need not prove it.
        sure = self.lead is None and not others and len(units) + len(self.fences) < 2
        if others:
            for place, unit in enumerate(units):
                if unit.target.key in others:
                    seen = [*seen]
                    seen[place] = effects_on(others, unit.target.key).after(unit, seen[place])
        if self.doubt is None or seen != self.seen:
            if len(units) == 1:
                self.changes = [units[0].decide(seen[0])]
            else:
                self.changes = [unit.decide(found) for unit, found in zip(units, seen, strict=True)]
            self.seen = seen
            self.attempts += 1
        if len(units) == 1 and not self.extra and self.token is None:
            target, change = units[0].target, self.changes[0]
            if change.tail is None and target.key not in others and is_plain(target, seen[0], change):
                others[target.key] = change
                self.writes = True
                return ()
        return self._commands(seen, others, sure)

    def _commands(self, seen: Sequence[Seen], others: Others, sure: bool) -> Sequence[Command] | None:
        """The commands for what was decided; what can be written as one with the changes of others is left to them.

        sure: nothing is to be proven if nothing is written.
        """
        # Told only once nothing of it can fail any more: others must not build on what will not happen.
        written: list[tuple[bytes, Change, list[Command] | None]] = []
        for unit, found, change in zip(self.units, seen, self.changes, strict=True):
            target = unit.target
            plain = is_plain(target, found, change)
            written.append((target.key, change, None if plain else change_commands(target, found, change)))
        commands: list[Command] = []
        tails: list[Command] = []
        writes = bool(self.extra)
        for key, change, own in written:
            if own is None:
                writes = True
                if key in others:
                    effects_on(others, key).put_and_drop(change)
                else:
                    others[key] = change
            elif own:
                writes = True
                effects = effects_on(others, key)
                commands += effects.unsent(key)
                commands += own
                effects.add(change)
            if change.tail is not None:
                tails.append(change.tail)
                if key in others:
                    commands += effects_on(others, key).unsent(key)
        self.writes = writes
        if sure and not writes:
            return None
        if writes and self.token is not None:
            commands.append((b"SET", self.token, b"1", b"PX", round(TOKEN_LIFE * 1000)))
        commands += self.extra
        commands += tails
        return commands

    # -- afterwards --

    def _tails(self) -> list[Command]:
        return [change.tail for change in self.changes if change.tail is not None]

    def _keep_tails(self, replies: Sequence[Reply]) -> None:
        tails = self._tails()
        if not tails:
            return
        # They are the last replies to an EXEC.
        last = iter(replies[len(replies) - len(tails) :])
        self.tails = [None if change.tail is None else next(last) for change in self.changes]

    @property
    def targets(self) -> list[Target]:
        return [unit.target for unit in self.units]

    def _look_again(self) -> Operation[None]:
        """The tails of an EXEC whose reply was lost: what they would show now."""
        tails = self._tails()
        if tails:
            try:
                self._keep_tails((yield Batch(tails)))
            except Lost:
                return

    def _conflict(self) -> Conflict:
        return Conflict(**self.targets[0].data, attempts=self.attempts, fields=())

    def _ending(self, error: Exception) -> Exception:
        """The error that ends the commit: while an EXEC is in doubt, only that can be said."""
        if self.doubt is not None and not isinstance(error, WrongKeyType):
            return unknown(self.targets, Lost(sent=True))
        return unknown(self.targets, error) if isinstance(error, Lost) else error


def own_token(target: Target) -> bytes:
    """A fresh exactly-once token key in the object's slot."""
    return target.collection.own_key(target.key, f"token:{secrets.token_hex(12)}")
