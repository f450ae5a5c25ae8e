"""Requests: what an operation asks of its driver, as plain values. No sockets, no waiting, no redis import.

An operation is a generator. It yields requests and receives their answers; a driver (one for asyncio, one for
blocking code) carries them out:

* ``Batch``  -> ``list`` of replies, one per command, in order. An error reply is a :class:`ServerError` value in
  that list, never raised. A connection that was lost, or did not answer in time, is *thrown* into the
  generator as :class:`Lost`. The commands leave no trace on the connection that carries them.
* ``Blind``  -> the replies to its commands, run as one MULTI/EXEC; a :class:`ServerError` when the server refused it,
  None when it did so because of what others had written with it. Nothing was written then.
* ``Flow``   -> None, once all its parts are answered. The connection breaks off at whatever ``take`` raises.
* ``Update`` -> the replies to the commands that were decided on, by what was read, run as one MULTI/EXEC; None when
  something that was read had changed by then; a :class:`ServerError` when the server refused it. Nothing was written
  then.
* ``Pause``  -> ``None`` after that many seconds.
* ``Listen`` -> whether the operation hears the channel from here on, after something was published there or so many
  seconds. It hears the channel until the operation ends.

Whatever writes waits while a transaction of this process and session, tried in vain before, has its keys to itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from rapyer_codecs.lean import dataclass

R = TypeVar("R")

Command = tuple[bytes | int, ...] | bytes
"""One command: its name and arguments, or all of it packed (see ``packing``)."""

Reply = Any
"""What the server answered: bytes, int, None, a list of these, or a :class:`ServerError`."""


class Batch(NamedTuple):
    """Commands that travel in one write and whose replies are read together: one round trip."""

    commands: Sequence[Command]


class Blind(NamedTuple):
    """Write without having seen anything: one round trip.

    Several operations of this session that do so in the same tick may share one MULTI/EXEC. keys: what is written.
    patience: seconds to wait while a transaction has one of them to itself. alone: with nobody else.
    """

    keys: Sequence[bytes]
    commands: Sequence[Command]
    patience: float
    alone: bool = False


FIRST, MOST = 32, 48
"""Objects in the first part of a flow, which is small so that the server begins early, and in any: what is read at once
should fit into the buffers and caches on its way.
"""

HEAVY = 256 * 1024
"""Bytes from which on a part has enough, however few objects."""


class Flow(NamedTuple):
    """Many commands, part by part: while the server works on some, others are packed, and replies are taken.

    The commands leave no trace on the connection. parts: what each write has, asked for when it is its turn. take: gets
    the replies to a part, in their order, before it is known what becomes of the next ones. keys: what is written.
    patience: as of ``Blind``.
    """

    parts: Iterable[Sequence[Command]]
    take: Callable[[list[Reply]], None]
    keys: Sequence[bytes] = ()
    patience: float = 0.0


class Effects(Protocol):
    """What operations that go into the same EXEC do to one key."""

    def unsent(self, key: bytes) -> list[Command]:
        """The commands for what no command in the EXEC does yet."""
        ...


Others = dict[bytes, Any]
"""What operations that go into the same EXEC, before this one, do to keys, as :class:`Effects`: for those that look at
the same keys. What they leave unsent is written at the end, once for all.
"""

Decide = Callable[[list[Reply], Others], "Sequence[Command] | None"]
"""Gives the commands to write, and adds what it does to the others; None if there is nothing to write and nothing to
be certain of. Given the replies to what was read. May raise: nothing of it is written then.
"""


class Update(NamedTuple):
    """Read under a WATCH of these keys, decide, and write if nothing watched has changed: two round trips.

    Nothing happens in between, so that the time in which others can interfere is short. Other operations of this
    session may share the connection and the WATCH, and then go into one EXEC with it. reads: commands that only read.
    pauses: seconds between tries: whoever carries it out may try again by itself after each, from the reading on.
    alone: with nobody else, even of the same keys. timeout: seconds to wait while others of this session write these
    keys.
    """

    keys: Sequence[bytes]
    reads: Sequence[Command]
    decide: Decide
    pauses: Iterator[float] = iter(())
    alone: bool = False
    timeout: float = 30.0


new_update: Callable[[type[Update], tuple[Any, ...]], Update] = tuple.__new__
"""Makes one: a named tuple's own way costs twice as much."""


Watch = tuple[Sequence[bytes], Sequence[Command], bool]
"""Keys that a block watches from its entry on, and what it reads there, on a connection that nobody else may need: one
round trip. Whether the reads have to be done in their order: some write, and a command that others ask for as well is
not the same one then. No request of an operation: the block's commit comes later, and goes on with the watching.
"""


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


Request = Batch | Blind | Flow | Update | Pause | Listen
Operation = Generator[Request, Any, R]
"""Several requests with logic between them; returns the result of the whole."""


READ, WRITE, ALONE = range(3)
"""What packed commands are: a Batch; a Blind, in a MULTI/EXEC with others; a Blind in one of its own."""

UNUSUAL: Any = object()
"""What came of a request is not what nearly always comes of it."""


class Straight(NamedTuple, Generic[R]):
    """An operation that is nearly always one request with one kind of answer: it runs without a generator then.

    kind: READ or WRITE. packed, number: the commands, and how many they are. finish: given the subject and the replies,
    the operation's result, or UNUSUAL. general: makes of the subject the whole operation, whose first request is this
    same one: it goes on from any other answer, or asks by itself where that has to wait.
    """

    kind: int
    packed: bytes
    number: int
    subject: Any
    finish: Callable[[Any, list[Reply]], R]
    general: Callable[[Any], Operation[R]]


straight: Callable[[type[Straight[Any]], tuple[Any, ...]], Straight[Any]] = tuple.__new__
"""Makes one: a named tuple's own way costs twice as much."""


_PASSING = frozenset({"LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "BUSY"})


@dataclass(slots=True, frozen=True)
class ServerError:
    """An error reply. code: its first word (``WRONGTYPE``). The rest is kept apart: it may quote arguments.

    torn: MULTI itself was refused, so that the commands of a commit ran one by one. replaced: another server has taken
    the place of the one that said it, and is reached by the next connection.
    """

    code: str
    detail: str = ""
    torn: bool = False
    replaced: bool = False

    @property
    def passes(self) -> bool:
        """Whether the refusal ends by itself: the write was not applied, and is tried again until the deadline."""
        return self.replaced or self.code in _PASSING


@dataclass(slots=True, frozen=True)
class Failed:
    """An answer that is to be raised inside the operation: what its ``Decide`` refused with."""

    error: BaseException


class Lost(Exception):
    """The connection broke, or the server did not answer in time. sent: whether bytes may have left us.

    reason: why there is no connection, in words without values, where that is known.
    """

    def __init__(self, sent: bool, timed_out: bool = False, reason: str = "") -> None:
        super().__init__("connection lost")
        self.sent = sent
        self.timed_out = timed_out
        self.reason = reason

    def unsent(self) -> Lost:
        """The same for somebody of whom nothing was sent, or who may send it again. To each an error of its own:
        tracebacks grow at the places that raise it.
        """
        return Lost(sent=False, timed_out=self.timed_out, reason=self.reason)


MULTI: Command = (b"MULTI",)
EXEC: Command = (b"EXEC",)


def outcome(replies: list[Reply], start: int, count: int, alone: bool) -> list[Reply] | ServerError | None:
    """What a MULTI/EXEC came to for one of those who share it, whose commands begin at start and are so many.

    None where nothing was written because of somebody else: try again. alone: nobody shares it.
    """
    last, first = replies[-1], replies[0]
    if isinstance(last, list):
        return last[start : start + count]
    if last is None:
        return None
    if isinstance(first, ServerError):
        torn = not all(isinstance(reply, ServerError) for reply in replies[1:])
        return ServerError(first.code, first.detail, torn)
    queued = replies[1 + start : 1 + start + count]
    own = next((reply for reply in queued if isinstance(reply, ServerError)), None)
    if own is not None:
        return own
    return last if alone or not any(isinstance(reply, ServerError) for reply in replies[1:-1]) else None
