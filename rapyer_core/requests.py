"""Requests: what an operation asks of its driver, as plain values. No sockets, no waiting, no redis import.

An operation is a generator. It yields requests and receives their answers; a driver (one for asyncio, one for
blocking code) carries them out:

* ``Batch``  -> ``list`` of replies, one per command, in order. An error reply is a :class:`ServerError` value in
  that list, never raised. A connection that was lost, or did not answer in time, is *thrown* into the
  generator as :class:`Lost`.
* ``Pause``  -> ``None`` after that many seconds. The driver gives back a held connection first.
* ``Listen`` -> whether the operation hears the channel from here on, after something was published there or so many
  seconds. The driver gives back a held connection first; it hears the channel until the operation ends.
* ``Turn``   -> whether it had to wait, once this operation is the only one of its process and session that writes these
  keys. It ends with the operation, or with its next Turn. A shared one only waits for operations and transactions
  that were tried in vain and now have the keys to themselves; it is over at once. Whoever waits gives back a held
  connection first.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

R = TypeVar("R")

Command = tuple[bytes | int, ...]
"""One command: its name and arguments."""

Reply = Any
"""What the server answered: bytes, int, None, a list of these, or a :class:`ServerError`."""


class Batch(NamedTuple):
    """Commands that travel in one write and whose replies are read together: one round trip.

    hold: keep the connection for this operation's next Batch, because a WATCH lives on it.
    """

    commands: Sequence[Command]
    hold: bool = False


class Pause(NamedTuple):
    """Wait. seconds: how long."""

    seconds: float


class Listen(NamedTuple):
    """Wait until something is published on the channel, since the last Listen. seconds: how long at most.

    The first time there was nobody to hear it. So the beginning of the subscription ends the wait too, and whoever
    waits looks again.
    """

    channel: bytes
    seconds: float


class Turn(NamedTuple):
    """Wait until no other operation of this session writes these keys. timeout: seconds.

    shared: only let those pass who have the keys to themselves. alone: have them to oneself, so that those with a
    shared turn wait too.
    """

    keys: tuple[bytes, ...]
    timeout: float
    shared: bool = False
    alone: bool = False


Request = Batch | Pause | Listen | Turn
Operation = Generator[Request, Any, R]
"""Several requests with logic between them; returns the result of the whole."""


@dataclass(slots=True, frozen=True)
class ServerError:
    """An error reply. code: its first word (``WRONGTYPE``). The rest is kept apart: it may quote arguments."""

    code: str
    detail: str = ""


class Lost(Exception):
    """The connection broke, or the server did not answer in time. sent: whether bytes may have left us."""

    def __init__(self, sent: bool, timed_out: bool = False) -> None:
        super().__init__("connection lost")
        self.sent = sent
        self.timed_out = timed_out


MULTI: Command = (b"MULTI",)
EXEC: Command = (b"EXEC",)


def atomic(commands: Sequence[Command], *, hold: bool = False) -> Batch:
    """The commands as one MULTI/EXEC."""
    return Batch((MULTI, *commands, EXEC), hold=hold)


def exec_replies(replies: list[Reply]) -> list[Reply] | ServerError | None:
    """What an :func:`atomic` batch came to: its replies, None (a watched key changed), or why it was refused."""
    last = replies[-1]
    if isinstance(last, ServerError):
        queued = (reply for reply in replies[:-1] if isinstance(reply, ServerError))
        return next(queued, last)
    if last is None:
        return None
    return list(last)
