"""Refusals: what an error reply, or a reply that was lost, means for a write. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from rapyer_core.collection import Target
from rapyer_core.errors import ConnectionFailed, NotApplied, OutcomeUnknown, ServerRefused, WrongKeyType
from rapyer_core.requests import Lost, Reply, ServerError


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
    return NotApplied(**target.data, code=error.code, passing=error.passes)


def unknown(targets: Sequence[Target], lost: Lost) -> Exception:
    """The error for a write whose reply was lost; if nothing was sent, that is known."""
    if not lost.sent:
        return ConnectionFailed(lost.reason, **targets[0].data, timed_out=lost.timed_out)
    names = tuple(f"{target.collection.model.name}:{target.pk}" for target in targets)
    return OutcomeUnknown(**targets[0].data, sent=names)


def raise_inner(targets: Sequence[Target], replies: Sequence[Reply]) -> None:
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
