"""Locks: a key of its own per object and name that holds its owner's token and expires by itself. Generators; no I/O.

A holder proves in its commit that it still holds the lock (a Fence: the key is watched and compared by the commit
itself), so a holder that was paused past its lease can do no harm.
"""

from __future__ import annotations

import random
import re
import secrets
import time

from rapyer_core.collection import Context, Target
from rapyer_core.errors import ConnectionFailed, LockTimeout, NotApplied
from rapyer_core.operations.commit import PASSING, Fence, refused
from rapyer_core.requests import Batch, Command, Lost, Operation, Pause, ServerError, atomic, exec_replies

_NAME = re.compile(r"[^\x00-\x1f{}]{1,128}\Z")
FIRST_WAIT, LONGEST_WAIT = 0.002, 0.05
"""Seconds between two looks at a lock that another process holds."""


def fence_for(target: Target, name: str) -> Fence:
    """A lock of the object that is not taken yet, with a fresh owner token."""
    if not _NAME.match(name):
        raise ValueError("a lock name has 1 to 128 characters, no control characters and no braces")
    key = target.collection.own_key(target.key, f"lock:{name}")
    return Fence(key, secrets.token_hex(16).encode(), name, target)


def acquire(ctx: Context, fence: Fence, lease: float, timeout: float) -> Operation[None]:
    """Take the lock for lease seconds; LockTimeout when it cannot be had within timeout seconds.

    Safe to send again after a lost reply: a lock that holds our token is ours.
    """
    start = time.monotonic()
    wait = FIRST_WAIT
    take: Command = (b"SET", fence.key, fence.token, b"NX", b"PX", milliseconds(lease))
    while True:
        stop: Exception
        try:
            taken, owner = yield Batch([take, (b"GET", fence.key)])
            if isinstance(taken, ServerError):
                raise refused(fence.target, taken)
            if taken is not None or owner == fence.token:
                return
            stop = LockTimeout(**fence.target.data, name=fence.name, waited=time.monotonic() - start)
        except Lost as lost:
            stop = ConnectionFailed(**fence.target.data, timed_out=lost.timed_out)
        except NotApplied as error:
            if error.code not in PASSING:
                raise
            stop = error
        left = start + timeout - time.monotonic()
        if left <= 0:
            raise stop
        yield Pause(min(left, random.uniform(wait / 2, wait)))
        wait = min(wait * 2, LONGEST_WAIT)


def renew(ctx: Context, fence: Fence, lease: float) -> Operation[bool]:
    """Let the lock live lease seconds from now; whether it was still held. No answer counts as held."""
    return (yield from _if_ours(fence, (b"PEXPIRE", fence.key, milliseconds(lease))))


def release(ctx: Context, fence: Fence) -> Operation[bool]:
    """Give the lock back; whether it was still held. Never takes away somebody else's. No answer counts as held."""
    return (yield from _if_ours(fence, release_command(fence)))


def release_command(fence: Fence) -> Command:
    """Gives back a lock that is known to be held."""
    return (b"DEL", fence.key)


def _if_ours(fence: Fence, command: Command) -> Operation[bool]:
    for _ in range(5):
        try:
            replies = yield Batch([(b"WATCH", fence.key), (b"GET", fence.key)], hold=True)
            if replies[1] != fence.token:
                return isinstance(replies[1], ServerError)
            if isinstance(exec_replies((yield atomic([command]))), list):
                return True
        except Lost as lost:
            # A server that does not answer is not asked five times: the lease ends the lock in any case.
            if lost.timed_out:
                return True
    return True


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, at least one."""
    return max(1, round(seconds * 1000))
