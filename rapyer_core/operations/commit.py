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
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import ClassVar, NamedTuple, NoReturn, Protocol

from rapyer_codecs.framing import unframed
from rapyer_codecs.lean import dataclass, field
from rapyer_core import packing
from rapyer_core.collection import EXISTS, Context, Fields, Target
from rapyer_core.errors import (
    Conflict,
    ConnectionFailed,
    ConstraintError,
    LockLost,
    NotApplied,
    NotFound,
    OutcomeUnknown,
    PoolTimeout,
    ServerRefused,
    SessionClosed,
    WrongKeyType,
)
from rapyer_core.plans import IndexField
from rapyer_core.requests import (
    EXEC,
    FIRST,
    HEAVY,
    MOST,
    MULTI,
    Batch,
    Blind,
    Command,
    Exec,
    Flow,
    Lost,
    Operation,
    Others,
    Pause,
    Reply,
    ServerError,
    Update,
    outcome,
)
from rapyer_core.retries import Retry, clock

PASSING = frozenset({"LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "BUSY"})
"""Refusals that end by themselves: the write was not applied, and is tried again until the deadline."""

TOKEN_LIFE = 600.0
"""Seconds an exactly-once token lives. No look-up trusts its absence after half of that."""

LOOKING = 10.0
"""Seconds, at least, to look for the token of an EXEC whose reply was lost, while the server cannot be reached."""


class Seen(NamedTuple):
    """What was read of one object. fields: of a partial read, only those that were asked for.

    former: what is stored in truth, of an object of an older version, which fields were made of.
    """

    exists: bool
    fields: Fields
    whole: bool
    former: Fields | None = None


@dataclass(slots=True)
class Change:
    """What to write to one object. put, drop: fields. replace: instead of all that is stored. erase: delete it.

    extra: further commands, of index keys. tail: a further read in the same EXEC. renew: an object of an older version
    is written as one of today's, even if nothing else of it changes; with any other change it is anyway.
    """

    put: Fields = field(default_factory=dict)
    drop: Sequence[bytes] = ()
    replace: bool = False
    erase: bool = False
    extra: Sequence[Command] = ()
    tail: Command | None = None
    renew: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is written."""
        return not (self.put or self.drop or self.replace or self.erase or self.extra)


class Unit(Protocol):
    """One object's part of a commit."""

    __slots__ = ()

    target: Target
    needs: Sequence[bytes] | None
    """The fields it must see; None: all of them."""

    any_version: ClassVar[bool] = False
    """Whether an object of any version will do, because it is replaced or deleted and nothing of it is looked at."""

    def decide(self, seen: Seen) -> Change:
        """What to write. Raises to refuse the whole commit (NotFound, Conflict, ...). Called once per attempt."""
        ...


@dataclass(frozen=True, slots=True)
class Fence:
    """A held lock that the commit must still hold. key: the lock's key; token: its owner; name: for messages."""

    key: bytes
    token: bytes
    name: str
    target: Target


@dataclass(slots=True)
class Outcome:
    """How a commit went. attempts: tries in all. tails: per unit, the reply to its tail command; empty: no reply."""

    seen: list[Seen]
    changes: list[Change]
    attempts: int
    tails: Sequence[Reply] = ()


@dataclass(slots=True)
class Lead:
    """A first reading that was done before the commit, on the held connection, with the keys watched."""

    seen: list[Seen]


def commit(
    ctx: Context,
    units: Sequence[Unit],
    *,
    retry: Retry | None = None,
    exactly_once: bool | None = None,
    fences: Sequence[Fence] = (),
    extra: Sequence[Command] = (),
    lead: Lead | None = None,
) -> Operation[Outcome]:
    """Bring the units through one MULTI/EXEC, trying again while other writers are in the way.

    extra: commands added to the EXEC (the release of locks). lead: the entry reading, if its WATCH is still held.

    Raises what the units raise; Conflict when no try came through in time; LockLost; OutcomeUnknown when the reply
    to an EXEC was lost (with exactly_once: only when the server stays unreachable); NotApplied; WrongKeyType.
    """
    once = ctx.exactly_once if exactly_once is None else exactly_once
    token = own_token(units[0].target) if once else None
    return _Commit(units, retry or ctx.retry, fences, extra, token, lead).operation()


_UNTRIED = Outcome([], [], 0)
_NO_CHANGE = Change()


class _Commit:
    """One commit under way. token: the exactly-once token. doubt: when an EXEC was sent whose outcome is not known.
    settled: whether it is void, or its token there. read_at: the server's clock at the reading before it.

    What a doubtful EXEC did is told by its token, which the next reading looks for, under WATCH: there, it was applied.
    Absent, it can still arrive late, but is void as soon as anything that it watched has changed. So the same things
    seen lead to the very same change, and whichever of the two EXECs comes through, the outcome is that of both.
    """

    __slots__ = (
        "alone",
        "applied",
        "doubt",
        "extra",
        "fences",
        "has_read",
        "keys",
        "lead",
        "older",
        "read_at",
        "retry",
        "sent_at",
        "settled",
        "token",
        "tried",
        "units",
        "unread",
        "writes",
    )

    def __init__(
        self,
        units: Sequence[Unit],
        retry: Retry,
        fences: Sequence[Fence],
        extra: Sequence[Command],
        token: bytes | None,
        lead: Lead | None,
    ) -> None:
        self.units = units
        self.retry = retry
        self.fences = fences
        self.extra = extra
        self.token = token
        # The token has to be watched too. Whoever has one try shares it with nobody, whose objects others may write, if
        # there is time to wait for a turn.
        self.alone = token is not None or (retry.attempts == 1 and retry.deadline > 0)
        self.lead = None if self.alone else lead
        self.keys: tuple[bytes, ...]
        if len(units) == 1:
            self.keys = (units[0].target.key,)
        else:
            self.keys = tuple(sorted({unit.target.key for unit in units}))
        self.tried = _UNTRIED
        self.doubt: float | None = None
        self.settled = False
        self.read_at = 0
        self.sent_at = 0.0
        self.has_read = False
        """Whether this try has come to the decision."""
        self.applied = False
        """Whether an earlier try turned out to have been applied."""
        self.older = self.unread = False
        """Whether there is an object of another version, so that all of it is needed; and was not read yet."""
        self.writes = False

    def operation(self) -> Operation[Outcome]:
        """Tries, with pauses between them, until one comes through or none may follow."""
        conflicts: Iterator[float] = self.retry.pauses()
        losses: Iterator[float] | None = None
        while True:
            stop: Exception | None = None
            self.has_read = False
            try:
                if self.lead is None:
                    replies = yield self._update(conflicts)
                else:
                    replies = yield Exec(self.keys, self._decide_on_lead, self.retry.deadline)
                if type(replies) is list:
                    if self.unread:
                        self.unread = False
                        continue
                    if self.applied:
                        yield from self._look_again()
                    elif replies:
                        _raise_inner(self.targets, replies)
                        self._keep_tails(replies)
                    return self.tried
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
            return Lost(sent=False, timed_out=lost.timed_out)
        if lost.sent and self.token is not None:
            self.doubt, self.settled = self.doubt or self.sent_at, False
        return lost

    def _passes(self, error: Exception, first: bool) -> bool:
        """Whether to go on after an error. first: no connection was lost before."""
        if isinstance(error, Lost):
            return self.doubt is not None if error.sent else self.doubt is not None or (first and not error.timed_out)
        if isinstance(error, PoolTimeout):
            return self.doubt is not None
        return isinstance(error, NotApplied) and error.code in PASSING

    # -- reading --

    def _update(self, pauses: Iterator[float]) -> Update:
        keys: Sequence[bytes] = self.keys
        reads = []
        for unit in self.units:
            reads.append(read_commands(unit, self.older))
        if not self.fences and self.token is None:
            return Update(keys, reads, self._decide, pauses, self.alone, self.retry.deadline)
        keys = [*keys, *[fence.key for fence in self.fences]]
        reads += [(b"GET", fence.key) for fence in self.fences]
        if self.token is None:
            return Update(keys, reads, self._decide, pauses, self.alone, self.retry.deadline)
        keys.append(self.token)
        reads += [(b"TIME",), (b"EXISTS", self.token)]
        # Whoever may come to be in doubt goes alone: only what was stored may lead to the change, and to its result.
        return Update(keys, reads, self._decide, alone=True, timeout=self.retry.deadline)

    def _decide(self, replies: list[Reply], others: Others) -> Sequence[Command] | None:
        """What to write, given what was read."""
        self.has_read = True
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
        return self._commands(seen, others)

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

    def _decide_on_lead(self, _: list[Reply], others: Others) -> Sequence[Command] | None:
        """What to write, given what was read before the commit."""
        self.has_read = True
        assert self.lead is not None
        return self._commands([*self.lead.seen], others)

    def _commands(self, seen: list[Seen], others: Others) -> Sequence[Command] | None:
        """The commands, given what those before it in the same EXEC do to the same objects."""
        units = self.units
        sure = len(units) + len(self.fences) < 2 and self.lead is None and not others
        if others:
            for place, unit in enumerate(units):
                before: _Effects | None = others.get(unit.target.key)
                if before is not None:
                    seen[place] = before.after(unit, seen[place])
        if self.doubt is None or seen != self.tried.seen:
            changes = []
            for unit, found in zip(units, seen, strict=True):
                changes.append(unit.decide(found))
            self.tried = Outcome(seen, changes, self.tried.attempts + 1)
        # Told only once nothing of it can fail any more: others must not build on what will not happen.
        written: list[tuple[bytes, Change, list[Command] | None]] = []
        for unit, found, change in zip(units, seen, self.tried.changes, strict=True):
            written.append((unit.target.key, change, _commands(unit.target, found, change)))
        commands: list[Command] = []
        tails: list[Command] = []
        writes = bool(self.extra)
        for key, change, own in written:
            effects: _Effects | None = others.get(key)
            if own is None or own:
                writes = True
                if effects is None:
                    effects = others[key] = _Effects(change if own is None else _NO_CHANGE)
                elif own is None:
                    effects.put_and_drop(change)
                if own is not None:
                    commands += effects.unsent(key)
                    commands += own
                    effects.add(change)
            if change.tail is not None:
                tails.append(change.tail)
                if effects is not None:
                    commands += effects.unsent(key)
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
        return [change.tail for change in self.tried.changes if change.tail is not None]

    def _keep_tails(self, replies: Sequence[Reply]) -> None:
        tails = self._tails()
        if not tails:
            return
        # They are the last replies to an EXEC.
        last = iter(replies[len(replies) - len(tails) :])
        self.tried.tails = [None if change.tail is None else next(last) for change in self.tried.changes]

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
        return Conflict(**self.targets[0].data, attempts=self.tried.attempts, fields=())

    def _ending(self, error: Exception) -> Exception:
        """The error that ends the commit: while an EXEC is in doubt, only that can be said."""
        if self.doubt is not None and not isinstance(error, WrongKeyType):
            return unknown(self.targets, Lost(sent=True))
        return unknown(self.targets, error) if isinstance(error, Lost) else error


def read_commands(unit: Unit, older: bool = False) -> Command:
    """The command that shows a unit what it must see. older: also of an object of another version."""
    if unit.needs is None or (older and not unit.any_version):
        return (b"HGETALL", unit.target.key)
    return (b"HMGET", unit.target.key, EXISTS, *unit.needs)


def seen_from(unit: Unit, reply: Reply, older: bool = False) -> Seen | None:
    """The reply to :func:`read_commands` as what was seen; None: of another version, so that all of it is needed."""
    if isinstance(reply, ServerError):
        raise refused(unit.target, reply)
    if unit.needs is None or (older and not unit.any_version):
        return whole(unit.target, reply)
    version, values = reply[0], reply[1:]
    if version != unit.target.collection.version and version is not None and not unit.any_version:
        return None
    fields: Fields = {}
    for name, value in zip(unit.needs, values, strict=True):
        if value is not None:
            fields[name] = value
    return Seen(version is not None, fields, False)


class _Effects:
    """What those before it in the same EXEC do to one object, summed up.

    put: fields set. gone: fields dropped. exists: whether it is there afterwards, None: as before. replaced: whether
    nothing is left of what was stored before. unsent: what no command does yet; the same until some of it is sent.
    """

    __slots__ = ("exists", "gone", "put", "replaced", "unsent_gone", "unsent_put")

    def __init__(self, first: Change) -> None:
        """first: puts and drops fields, and is left unsent."""
        self.put = self.unsent_put = dict(first.put)
        self.gone = self.unsent_gone = dict.fromkeys(first.drop)
        self.exists: bool | None = None
        self.replaced = False

    def put_and_drop(self, change: Change) -> None:
        """One more change, after the others, which only puts and drops fields. It is left unsent."""
        _note(change, self.put, self.gone)
        if self.unsent_put is not self.put:
            _note(change, self.unsent_put, self.unsent_gone)

    def unsent(self, key: bytes) -> list[Command]:
        """The commands for what was left unsent."""
        put, gone = self.unsent_put, self.unsent_gone
        self.unsent_put, self.unsent_gone = {}, {}
        commands: list[Command] = []
        if gone:
            commands.append((b"HDEL", key, *gone))
        if put:
            commands.append(hset(key, put))
        return commands

    def add(self, change: Change) -> None:
        """One more change, after the others, all of which are sent, as are its own commands."""
        if change.erase or change.replace:
            self.put, self.gone = {}, {}
            self.exists, self.replaced = change.replace, True
        _note(change, self.put, self.gone)

    def after(self, unit: Unit, seen: Seen) -> Seen:
        """What was seen of the object, as it is afterwards. It is one of today's version then."""
        exists = seen.exists if self.exists is None else self.exists
        before = {} if self.replaced else seen.fields
        fields: Fields
        if seen.whole:
            fields = {name: text for name, text in before.items() if name not in self.gone}
            fields.update(self.put)
            return Seen(exists, fields, True)
        fields = {}
        for name in unit.needs or ():
            if name in self.put:
                fields[name] = self.put[name]
            elif name in before and name not in self.gone:
                fields[name] = before[name]
        return Seen(exists, fields, False)


def _note(change: Change, put: Fields, gone: dict[bytes, None]) -> None:
    for name in change.drop:
        put.pop(name, None)
        gone[name] = None
    put.update(change.put)
    if gone:
        for name in change.put:
            gone.pop(name, None)


def whole(target: Target, reply: Reply) -> Seen:
    """The reply to HGETALL as what was seen."""
    pairs = iter(reply)
    fields: Fields = dict(zip(pairs, pairs, strict=False))
    if fields.get(EXISTS) != target.collection.version:
        return seen_of(target, fields)
    del fields[EXISTS]
    return _new_seen(Seen, (True, fields, True, None))


_new_seen: Callable[[type[Seen], tuple[bool, Fields, bool, Fields | None]], Seen] = tuple.__new__
"""A NamedTuple without a call of Python code."""


def paired(reply: Reply) -> Fields:
    """The reply to HGETALL as fields, ``~`` among them."""
    pairs = iter(reply)
    return dict(zip(pairs, pairs, strict=True))


def seen_of(target: Target, fields: Fields) -> Seen:
    """All stored fields of a hash as what was seen: the one place where objects of older versions become today's.

    Takes the field ``~`` out of them. UnknownVersion; DecodeError when an upgrade fails.
    """
    version = fields.pop(EXISTS, None)
    if version == target.collection.version:
        return Seen(True, fields, True)
    if version is None:
        return Seen(False, {}, True)
    return Seen(True, target.collection.upgraded(fields, version, target.pk), True, fields)


def own_token(target: Target) -> bytes:
    """A fresh exactly-once token key in the object's slot."""
    return target.collection.own_key(target.key, f"token:{secrets.token_hex(12)}")


# -- what a change is in commands: the one place that knows the old and the new value of indexed fields --


def _commands(target: Target, seen: Seen, change: Change) -> list[Command] | None:
    """None: it is nothing but fields to put and to drop, which may be written as one with those of others."""
    put, drop = change.put, change.drop
    plain = not (change.replace or change.erase or change.extra or seen.former is not None)
    if plain:
        for index in target.collection.indexes:
            name = index.slot.name
            if name in put or name in drop:
                plain = False
    if plain:
        return None if put or drop else []
    if change.empty and not change.renew:
        return []
    if change.erase:
        return [(b"DEL", target.key), *_unindex(target)]
    if change.replace:
        return replace_commands(target, change.put)
    if seen.former is not None:
        return _renewed(target, seen, seen.former, change)
    commands: list[Command] = list(change.extra)
    if change.drop:
        commands.append((b"HDEL", target.key, *change.drop))
    if change.put:
        commands.append(hset(target.key, change.put))
    for index in target.collection.indexes:
        name = index.slot.name
        if name in change.put or name in change.drop:
            after = {name: change.put[name]} if name in change.put else {}
            commands += _reindex(target, index, index.may_hold(seen.fields), index.score(after))
    return commands


def _renewed(target: Target, seen: Seen, former: Fields, change: Change) -> list[Command]:
    """An object of an older version written as one of today's, with the change. former: what is stored of it."""
    gone = set(change.drop)
    after = {name: text for name, text in seen.fields.items() if name not in gone} | change.put
    drop = [name for name in former if name not in after]
    put = {name: text for name, text in after.items() if former.get(name) != text}
    commands: list[Command] = list(change.extra)
    if drop:
        commands.append((b"HDEL", target.key, *drop))
    collection = target.collection
    commands.append((*hset(target.key, put), EXISTS, collection.version))
    if collection.keeps_expiry:
        # Its older version may have had no index. Due at once: when it really ends is looked up then.
        commands.append((b"ZADD", collection.expiry_key, b"NX", round(time.time() * 1000), target.pk.encode()))
    return commands + _index_entries(target, after)


def replace_commands(target: Target, fields: Fields) -> list[Command]:
    """An object written whole, over whatever is stored under its key, with its indexes and its ttl."""
    # The field ~ in front: there a reader looks for it first.
    written = (b"HSET", target.key, EXISTS, target.collection.version, *chain.from_iterable(fields.items()))
    return [(b"DEL", target.key), written, *_accompanying(target, fields)]


def whole_commands(target: Target, framed: bytes) -> list[Command]:
    """The same for a framed object."""
    commands: list[Command] = [packing.delete(target.key), framed]
    return commands + _accompanying_framed(target, framed) if target.collection.is_accompanied else commands


def _accompanying_framed(target: Target, framed: bytes) -> list[Command]:
    return _accompanying(target, unframed(framed) if target.collection.indexes else {})


def _accompanying(target: Target, fields: Fields) -> list[Command]:
    """What goes with an object that is written whole: its ttl, its indexes."""
    ttl = target.collection.model.ttl
    lasting: list[Command] = [] if ttl is None else [(b"PEXPIRE", target.key, round(ttl * 1000))]
    return lasting + reindexed(target, fields)


def reindexed(target: Target, fields: Fields) -> list[Command]:
    """All index entries of an object with these fields, and no others."""
    collection = target.collection
    commands = _index_entries(target, fields)
    if collection.keeps_expiry:
        later = round((time.time() + (collection.model.ttl or 0)) * 1000)
        commands.append((b"ZADD", collection.expiry_key, later, target.pk.encode()))
    return commands


def _index_entries(target: Target, fields: Fields) -> list[Command]:
    commands: list[Command] = []
    for index in target.collection.indexes:
        score = index.score(fields)
        commands += _reindex(target, index, True, score)
    return commands


def hset(key: bytes, fields: Fields) -> Command:
    """All fields in one HSET."""
    return (b"HSET", key, *chain.from_iterable(fields.items()))


def _reindex(target: Target, index: IndexField, held: bool, new: float | None) -> list[Command]:
    key, member = target.collection.index_key(index), target.pk.encode()
    if new is None:
        return [(b"ZREM", key, member)] if held else []
    return [(b"ZADD", key, repr(new).encode(), member)]


def _unindex(target: Target) -> list[Command]:
    collection, member = target.collection, target.pk.encode()
    commands: list[Command] = [(b"ZREM", collection.index_key(index), member) for index in collection.indexes]
    if collection.keeps_expiry:
        commands.append((b"ZREM", collection.expiry_key, member))
    return commands


# -- blind writes --


def blind(
    ctx: Context, target: Target, commands: Sequence[Command], retry: Retry | None = None, refusable: bool = False
) -> Operation[list[Reply]]:
    """Writes that need no stored value: one MULTI/EXEC without WATCH. At most one of them may be refusable.

    Returns the replies, one per command. Raises NotFound (and removes what was written to a missing object).
    retry: how long a server that is loading or busy is waited for. refusable: the reply to the last command may be a
    ServerError, which had no effect then.
    """
    key = target.key
    writes = Blind((key,), (packing.exists(key), *commands), (retry or ctx.retry).deadline)
    try:
        replies = yield writes
    except Lost as lost:
        raise unknown([target], lost) from None
    if type(replies) is not list:
        replies = yield from _insist([target], writes, replies, retry or ctx.retry)
    if replies[0] != 1:
        if isinstance(replies[0], ServerError):
            raise refused(target, replies[0])
        yield from remove_debris(target)
        raise NotFound(**target.data)
    if isinstance(replies[-1], ServerError) and not refusable:
        raise refused(target, replies[-1])
    return replies[1:]


Whole = tuple[Target, bytes]
"""An object, and all of it framed."""

Wholes = Sequence[Whole]


def write_whole(ctx: Context, wholes: Wholes) -> Operation[list[Reply]]:
    """Objects written whole over what is stored, in one MULTI/EXEC."""
    if len(wholes) == 1:
        ((target, framed),) = wholes
        return _blindly(ctx, (target,), whole_commands(target, framed), inner=False)
    return _blindly(ctx, [target for target, _ in wholes], _whole_commands(wholes), inner=False)


def write_many(ctx: Context, wholes: Wholes, written: Callable[[Wholes], None]) -> Operation[None]:
    """The same for many objects, of which no two have the same key, in parts; each part is one MULTI/EXEC.

    written: told of each part that is. A refusal ends it, once what was sent already is answered.
    """
    sent: list[Wholes] = []
    answered = 0
    later: list[Wholes] = []
    failed: Exception | None = None

    def parts() -> Iterator[Sequence[Command]]:
        start, most = 0, FIRST
        while start < len(wholes) and failed is None:
            end, size = start, 0
            while end < len(wholes) and end - start < most and size < HEAVY:
                size += len(wholes[end][1])
                end += 1
            part = wholes[start:end]
            sent.append(part)
            yield [MULTI, *_different(part), EXEC]
            start, most = end, min(2 * most, MOST)

    def take(replies: list[Reply]) -> None:
        nonlocal answered, failed
        part = sent[answered]
        answered += 1
        came = outcome(replies, 0, len(replies) - 2, alone=True)
        try:
            if isinstance(came, list):
                _raise_inner([target for target, _ in part], came)
                written(part)
            elif came is not None and came.code in PASSING:
                later.append(part)
            else:
                raise refused(part[0][0], came or ServerError("EXECABORT"))
        except ServerRefused as error:
            failed = failed or error

    try:
        yield Flow(parts(), take, [target.key for target, _ in wholes], ctx.retry.deadline)
    except Lost as lost:
        doubtful = [target for part in sent[answered:] for target, _ in part]
        raise unknown(doubtful or [wholes[0][0]], lost) from None
    if failed is not None:
        raise failed
    for part in later:
        yield from write_whole(ctx, part)
        written(part)


def _different(wholes: Wholes) -> list[Command]:
    """The commands for objects of which no two have the same key."""
    commands: list[Command] = [packing.delete_all([target.key for target, _ in wholes])]
    for target, framed in wholes:
        commands.append(framed)
        if target.collection.is_accompanied:
            commands += _accompanying_framed(target, framed)
    return commands


def _whole_commands(wholes: Wholes) -> list[Command]:
    return [command for target, framed in wholes for command in whole_commands(target, framed)]


def blind_delete(ctx: Context, targets: Sequence[Target]) -> Operation[int]:
    """Objects deleted in one MULTI/EXEC; how many there were."""
    checks: list[Command] = [(b"HEXISTS", target.key, EXISTS) for target in targets]
    writes = [command for target in targets for command in ((b"DEL", target.key), *_unindex(target))]
    replies = yield from _blindly(ctx, targets, [*checks, *writes])
    return sum(reply == 1 for reply in replies[: len(targets)])


def _blindly(
    ctx: Context, targets: Sequence[Target], commands: Sequence[Command], inner: bool = True
) -> Operation[list[Reply]]:
    """One MULTI/EXEC without WATCH; sent again only where the server did nothing yet. inner: whether the replies may be
    errors.
    """
    keys = (targets[0].key,) if len(targets) == 1 else [target.key for target in targets]
    writes = Blind(keys, commands, ctx.retry.deadline)
    try:
        replies = yield writes
    except Lost as lost:
        raise unknown(targets, lost) from None
    if not isinstance(replies, list):
        replies = yield from _insist(targets, writes, replies, ctx.retry)
    if not inner:
        _raise_inner(targets, replies)
    return replies


def _insist(
    targets: Sequence[Target], writes: Blind, refusal: ServerError | None, retry: Retry
) -> Operation[list[Reply]]:
    """Send writes again that the server refused, while it only says that it does nothing yet. refusal: None, where
    what others had written with them was refused.
    """
    alone = writes._replace(alone=True)
    pauses = retry.pauses()
    while True:
        if refusal is not None:
            pause = next(pauses, None) if refusal.code in PASSING else None
            if pause is None:
                raise refused(targets[0], refusal)
            yield Pause(pause)
        try:
            replies = yield alone
        except Lost as lost:
            raise unknown(targets, lost) from None
        if isinstance(replies, list):
            return replies
        refusal = replies or ServerError("EXECABORT")


def remove_debris(target: Target) -> Operation[None]:
    """Delete a hash that is no object (no ``~`` field), unless it becomes one meanwhile."""
    key = target.key

    def decide(replies: list[Reply], others: Others) -> Sequence[Command] | None:
        # Somebody who writes it in the same EXEC makes it an object, or removes it too.
        return None if replies[0] != 0 or key in others else [(b"DEL", key)]

    for _ in range(100):
        try:
            if (yield Update([key], [(b"HEXISTS", key, EXISTS)], decide)) is not None:
                return
        except Lost:
            return


# -- errors --


def refused(target: Target, error: ServerError) -> ServerRefused:
    """The error for an error reply. Nothing was written, unless MULTI itself was refused."""
    if error.torn:
        return ServerRefused(
            **target.data,
            code=error.code,
            reason="the server refused MULTI, so that the commands of a commit ran one by one: the user of this "
            "connection needs the rights to MULTI and EXEC",
        )
    if error.code == "WRONGTYPE":
        return WrongKeyType(**target.data, key=target.key.decode(errors="replace"))
    return NotApplied(**target.data, code=error.code)


def unknown(targets: Sequence[Target], lost: Lost) -> Exception:
    """The error for a write whose reply was lost; if nothing was sent, that is known."""
    if not lost.sent:
        return ConnectionFailed(**targets[0].data, timed_out=lost.timed_out)
    names = tuple(f"{target.collection.model.name}:{target.pk}" for target in targets)
    return OutcomeUnknown(**targets[0].data, sent=names)


def _raise_inner(targets: Sequence[Target], replies: Sequence[Reply]) -> None:
    """An error inside an EXEC that was applied otherwise. Cannot come from our own keys; says so if it does."""
    for reply in replies:
        if isinstance(reply, ServerError):
            _inner(targets[0], reply)


def _inner(target: Target, error: ServerError) -> NoReturn:
    raise ServerRefused(
        **target.data,
        code=error.code,
        reason="the server refused one command of a commit whose others were applied: is a key of the library "
        "(its name starts with ~) of a type of somebody else's?",
    )
