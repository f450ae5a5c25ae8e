"""Reading: the one place where something is sent again by itself, because reads change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from rapyer_core.collection import Context
from rapyer_core.errors import ConnectionFailed, NotApplied, ServerRefused
from rapyer_core.requests import FIRST, MOST, Batch, Command, Flow, Lost, Operation, Pause, Reply, ServerError

V = TypeVar("V")

CHUNK = 500
"""Commands in one write, at most."""


def read(ctx: Context, commands: Sequence[Command], **data: Any) -> Operation[list[Reply]]:
    """The replies to commands that only read. data: what an error says (model, pk).

    Raises ConnectionFailed when the connection is lost twice or the server does not answer in time; NotApplied when
    it is still loading at the deadline. Other error replies are returned as values.
    """
    return (yield from insist(ctx, commands, (yield from _asked(commands)), **data))


def insist(
    ctx: Context, commands: Sequence[Command], answer: list[Reply] | Lost, **data: Any
) -> Operation[list[Reply]]:
    """The same for commands that were sent once. answer: what came of that."""
    pauses = ctx.retry.pauses()
    relinked = False
    while True:
        if isinstance(answer, Lost):
            if relinked or answer.timed_out:
                raise ConnectionFailed(answer.reason, **data, timed_out=answer.timed_out)
            relinked = True
        else:
            busy = _busy(answer)
            if busy is None:
                return answer
            pause = next(pauses, None)
            if pause is None:
                raise NotApplied(**data, code=busy.code, passing=True)
            yield Pause(pause)
        answer = yield from _asked(commands)


def _asked(commands: Sequence[Command]) -> Operation[list[Reply] | Lost]:
    try:
        replies: list[Reply] = yield Batch(commands)
    except Lost as lost:
        return lost
    return replies


def read_many(ctx: Context, parts: Sequence[Sequence[Command]], take: Callable[[list[Reply]], None]) -> Operation[None]:
    """The same for many commands, part by part. take: gets the replies to each part, in order."""
    done = 0
    if len(parts) > 1:
        busy = False

        def answered(replies: list[Reply]) -> None:
            nonlocal busy, done
            busy = busy or (ServerError in map(type, replies) and _busy(replies) is not None)
            if not busy:
                take(replies)
                done += 1

        try:
            yield Flow(parts, answered)
        except Lost as lost:
            if lost.timed_out:
                raise ConnectionFailed(lost.reason, timed_out=True) from None
    for part in parts[done:]:
        take((yield from read(ctx, part)))


def _busy(replies: list[Reply]) -> ServerError | None:
    """What a server says that answers nothing yet."""
    return next((reply for reply in replies if isinstance(reply, ServerError) and reply.passes), None)


def parts_of(values: Sequence[V]) -> list[Sequence[V]]:
    """The values in pieces that can flow."""
    parts: list[Sequence[V]] = []
    start, size = 0, FIRST
    while start < len(values):
        parts.append(values[start : start + size])
        start += size
        size = min(2 * size, MOST)
    return parts


def chunks(values: Sequence[V], size: int = CHUNK) -> Iterator[Sequence[V]]:
    """The values in pieces of at most size."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def commits(ctx: Context, values: Sequence[V], key: Callable[[V], bytes], size: int = CHUNK) -> Iterator[Sequence[V]]:
    """The values in pieces that can each be one commit. key: of a value's object."""
    for share in ctx.shares(values, key):
        yield from chunks(share, size)


def run_of(info: Any) -> str:
    """What INFO calls this run of the server; nothing where it is not told."""
    lines = info.split(b"\r\n") if isinstance(info, bytes) else []
    return next((line[7:].decode() for line in lines if line.startswith(b"run_id:")), "")


def greet() -> Operation[bool]:
    """Whether the server belongs to a cluster. ConnectionFailed when it is not there; ServerRefused when it takes no
    transactions.
    """
    try:
        *replies, info = yield Batch([(b"MULTI",), (b"PING",), (b"EXEC",), (b"INFO", b"cluster")])
    except Lost as lost:
        raise ConnectionFailed(lost.reason, timed_out=lost.timed_out) from None
    for reply in (replies[0], replies[-1]):
        if not isinstance(reply, ServerError):
            continue
        if reply.code == "NOAUTH":
            raise ServerRefused(code="NOAUTH", reason="the server wants a user name or password")
        if "NOPERM" in (reply.code, *reply.detail.split()):
            # Without MULTI the commands of a commit would run one by one; without EXEC they would never run.
            raise ServerRefused(code="NOPERM", reason="the user may not run MULTI and EXEC, which every write needs")
    return isinstance(info, bytes) and b"cluster_enabled:1" in info
