"""Blind writes: one MULTI/EXEC without WATCH, for what needs to see nothing; objects written whole are among them.

Generators; no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rapyer_core import packing
from rapyer_core.collection import EXISTS, Context, Target
from rapyer_core.errors import NotFound, ServerRefused
from rapyer_core.operations.commands import accompanying_framed, unindex, whole_commands
from rapyer_core.operations.refusals import raise_inner, refused, unknown
from rapyer_core.requests import (
    EXEC,
    FIRST,
    HEAVY,
    MOST,
    MULTI,
    Blind,
    Command,
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
from rapyer_core.retries import Retry


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


def key_of_whole(whole: Whole) -> bytes:
    """Of the object."""
    return whole[0].key


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
        most = FIRST
        for share in ctx.shares(wholes, key_of_whole):
            start = 0
            while start < len(share) and failed is None:
                end, size = start, 0
                while end < len(share) and end - start < most and size < HEAVY:
                    size += len(share[end][1])
                    end += 1
                part = share[start:end]
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
                raise_inner([target for target, _ in part], came)
                written(part)
            elif came is not None and came.passes:
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
            commands += accompanying_framed(target, framed)
    return commands


def _whole_commands(wholes: Wholes) -> list[Command]:
    return [command for target, framed in wholes for command in whole_commands(target, framed)]


def blind_delete(ctx: Context, targets: Sequence[Target]) -> Operation[int]:
    """Objects deleted in one MULTI/EXEC; how many there were."""
    checks: list[Command] = [(b"HEXISTS", target.key, EXISTS) for target in targets]
    writes = [command for target in targets for command in ((b"DEL", target.key), *unindex(target))]
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
        raise_inner(targets, replies)
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
            pause = next(pauses, None) if refusal.passes else None
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
