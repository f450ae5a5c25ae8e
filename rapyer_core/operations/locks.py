"""Locks: a key of its own per object and name that holds its owner's token and expires by itself. Generators; no I/O.

A holder proves in its commit that it still holds the lock (a Fence: the key is watched and compared by the commit
itself), so a holder that was paused past its lease can do no harm. Whoever gives a lock back says so on the channel
that is called as its key is, so that those who wait need not look again and again.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Sequence

from rapyer_codecs.lean import dataclass
from rapyer_core.arguments import is_utf8, kind_of_value
from rapyer_core.collection import Context, Target
from rapyer_core.errors import ConnectionFailed, LockLost, LockTimeout, NotApplied
from rapyer_core.operations.commit import Fence
from rapyer_core.operations.refusals import refused
from rapyer_core.packing import hgetall
from rapyer_core.requests import Batch, Command, Listen, Lost, Operation, Others, Reply, ServerError, Update, Watch
from rapyer_core.retries import clock

_NAME = re.compile(r"[^\x00-\x1f{}]{1,128}\Z")
FIRST_WAIT, LONGEST_WAIT = 0.002, 0.05
"""Seconds between two looks at a lock that another process holds, while nobody would tell us that it is free."""

RELIED_WAIT = 1.0
"""Seconds between two looks, at most, while we are told. Not all who free a lock tell (a plain client, a failover)."""

AFTER_EXPIRY = 0.002
"""Seconds that a lock is looked at after its end: the server counts whole milliseconds."""


@dataclass(slots=True)
class Hold:
    """A held lock, as its holder sees it. lease: seconds. until: when it may have ended, by clock().

    lost: whether the server said so. answered: whether the server answered the last renewal.
    """

    fence: Fence
    lease: float
    until: float
    lost: bool = False
    answered: bool = True

    @property
    def left(self) -> float:
        """Seconds for which it is certainly held, whatever the clocks of computers are set to; 0 or less: lost."""
        return 0.0 if self.lost else self.until - clock()

    @property
    def due(self) -> float:
        """Seconds to wait before the next renewal: two more can fail before the lease is over."""
        return self.lease / (3 if self.answered else 20)

    @property
    def error(self) -> LockLost:
        """What its holder is told when it is lost."""
        return LockLost(**self.fence.target.data, name=self.fence.name)


def fence_for(target: Target, name: str) -> Fence:
    """A lock of the object that is not taken yet, with a fresh owner token."""
    if not isinstance(name, str):
        raise TypeError(f"a lock name is a str, not {kind_of_value(name)}")
    if not _NAME.match(name) or not is_utf8(name):
        raise ValueError("a lock name has 1 to 128 characters, no control characters, no braces and no half surrogates")
    key = target.collection.own_key(target.key, f"lock:{name}")
    return Fence(key, secrets.token_hex(16).encode(), name, target)


def acquire(ctx: Context, fence: Fence, lease: float, timeout: float, busy: bool = False) -> Operation[Hold]:
    """Take the lock for lease seconds; LockTimeout when it cannot be had within timeout seconds.

    Safe to send again after a lost reply: a lock that holds our token is ours. busy: somebody else had it just now.
    """
    start = clock()
    wait = FIRST_WAIT
    relied = busy and timeout > 0 and (yield Listen(fence.key, min(timeout, wait)))
    while True:
        stop: Exception
        free_in: float | None = None
        sent = clock()
        try:
            taken, owner, ends = yield Batch([_set(fence, lease), (b"GET", fence.key), (b"PTTL", fence.key)])
            if isinstance(taken, ServerError):
                raise refused(fence.target, taken)
            if taken is not None:
                return Hold(fence, lease, sent + lease)
            if owner == fence.token:
                # Taken by a request whose reply was lost: when, is not known.
                hold = Hold(fence, lease, start + lease)
                yield from renew(ctx, hold)
                if hold.left > 0:
                    return hold
            elif isinstance(ends, int):
                free_in = RELIED_WAIT if ends == -1 else max(ends, 0) / 1000 + AFTER_EXPIRY
            stop = LockTimeout(**fence.target.data, name=fence.name, waited=clock() - start)
        except Lost as lost:
            stop = ConnectionFailed(lost.reason, **fence.target.data, timed_out=lost.timed_out)
        except NotApplied as error:
            if not error.passing:
                raise
            stop = error
        left = start + timeout - clock()
        if left <= 0:
            raise stop
        if relied and free_in is not None:
            pause = min(free_in, RELIED_WAIT)
        else:
            pause = random.uniform(wait / 2, wait)
            wait = min(wait * 2, LONGEST_WAIT)
        relied = yield Listen(fence.key, min(left, pause))


def _set(fence: Fence, lease: float) -> Command:
    return b"SET", fence.key, fence.token, b"NX", b"PX", milliseconds(lease)


@dataclass(slots=True, frozen=True)
class Entry:
    """Taking a free lock and reading what it is for, in one round trip, under a WATCH of all of it.

    held: other locks, which are to be still held. targets: what is read.
    """

    fence: Fence
    lease: float
    held: Sequence[Fence]
    targets: Sequence[Target]

    @property
    def watch(self) -> Watch:
        """What to ask."""
        keys = [target.key for target in self.targets]
        others = [other.key for other in self.held]
        # Watched once it is taken: to take it would end the watching.
        taking = _set(self.fence, self.lease), (b"WATCH", self.fence.key)
        reads = [*taking, *[(b"GET", other) for other in others], *[hgetall(key) for key in keys]]
        return [*keys, *others], reads, True

    def taken(self, replies: Sequence[Reply]) -> bool:
        """Whether the lock was taken."""
        return list(replies[:2]) == [b"OK", b"OK"]

    def busy(self, replies: Sequence[Reply]) -> bool:
        """Whether somebody has it."""
        return replies[0] is None

    def holds(self, replies: Sequence[Reply]) -> bool:
        """Whether the other locks are still held."""
        return list(replies[2 : 2 + len(self.held)]) == [other.token for other in self.held]

    def read(self, replies: Sequence[Reply]) -> Sequence[Reply]:
        """The replies to the reading."""
        return replies[2 + len(self.held) :]


def renew(ctx: Context, hold: Hold) -> Operation[None]:
    """Let the lock live its lease from now on, and note what came of it. Sent twice, it does the same."""
    sent = clock()
    ours = yield from _if_ours(hold.fence, [(b"PEXPIRE", hold.fence.key, milliseconds(hold.lease))])
    hold.answered = ours is not None
    if ours:
        hold.until = sent + hold.lease
    elif hold.answered:
        hold.lost = True


def release(ctx: Context, fence: Fence) -> Operation[bool | None]:
    """Give the lock back; whether it was still held, None when the server does not answer.

    Never takes away somebody else's, however late it arrives.
    """
    return (yield from _if_ours(fence, release_commands(fence)))


def release_commands(fence: Fence) -> list[Command]:
    """Give back a lock that is known to be held, and tell those who wait for it."""
    return [(b"DEL", fence.key), (b"PUBLISH", fence.key, b"free")]


def _if_ours(fence: Fence, commands: Sequence[Command]) -> Operation[bool | None]:
    """Do it if the lock holds our token; whether it did. None: no answer."""
    owner: Reply = None

    def decide(replies: list[Reply], _: Others) -> Sequence[Command] | None:
        nonlocal owner
        (owner,) = replies
        return commands if owner == fence.token else None

    for _ in range(5):
        try:
            done = yield Update([fence.key], [(b"GET", fence.key)], decide)
            if isinstance(done, ServerError) or isinstance(owner, ServerError):
                return None
            if owner != fence.token:
                return False
            if done is not None:
                return True
        except Lost as lost:
            # A server that does not answer is not asked five times: the lease ends the lock in any case.
            if lost.timed_out:
                return None
    return None


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, at least one."""
    return max(1, round(seconds * 1000))
