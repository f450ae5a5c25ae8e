"""The blocking twin of ``rapyer_core.watches``: the same names, for threads. Written by hand.

Each operation under WATCH has a connection of its own, and those that write the same keys take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from rapyer_core.errors import Conflict
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
from rapyer_core.sync.waiting import Turns, sleep
from rapyer_core.transports.blocking import Link, Pool

PATIENCE = 5.0
"""Seconds that a blind write waits for what is tried again, at most."""

Answer = list[Reply] | ServerError | Failed | None
"""To an ``Update``; Failed: to be raised inside the operation."""


def _read(link: Link, keys: Sequence[bytes], reads: Sequence[Command]) -> list[Reply] | ServerError:
    """The replies to the reads, under WATCH of the keys."""
    try:
        watched, *replies = link.roundtrip([(b"WATCH", *keys), *reads])
    except Lost as lost:
        raise lost.unsent() from None
    return watched if isinstance(watched, ServerError) else replies


def _write(link: Link, decide: Decide, replies: list[Reply]) -> Answer:
    """Write what is decided on by the replies to what was read, if nothing watched has changed."""
    others: Others = {}
    try:
        decided = decide(replies, others)
    except Exception as error:
        return Failed(error)
    if decided is None:
        return []
    unsent = [command for key, effects in others.items() for command in effects.unsent(key)]
    answer = outcome(link.roundtrip([MULTI, *unsent, *decided, EXEC]), 0, len(unsent) + len(decided), alone=True)
    if isinstance(answer, list):
        inner = [reply for reply in answer[: len(unsent)] if isinstance(reply, ServerError)]
        return [*inner, *answer[len(unsent) :]]
    return answer


class Watcher:
    """A block under WATCH, from its wish to its end."""

    def __init__(self, watches: Watches, watch: Watch) -> None:
        self._watches = watches
        self._pool = watches.pool
        self._watch = watch
        self._keys = list(watch[0])
        self._link: Link | None = None

    def replies(self) -> list[Reply] | None:
        """The replies to the reads, once the keys are watched. None: no connection to spare."""
        # Some connections are left to others, at least one, or the block could not use the session.
        self._link = self._pool.spare(reserve=max(1, self._pool.size // 8))
        return self._read(self._watch)

    def more(self, watch: Watch) -> list[Reply] | None:
        """The replies to further reads, once these keys are watched as well. None: nothing is watched any more."""
        if self._link is None or not self._link.watching:
            return None
        self._keys += watch[0]
        return self._read(watch)

    def _read(self, watch: Watch) -> list[Reply] | None:
        if self._link is None:
            return None
        keys, reads, _ = watch
        found = _read(self._link, keys, reads)
        return [found] * len(reads) if isinstance(found, ServerError) else found

    def commit(self, decide: Decide) -> Answer:
        """Write what is decided on, if nothing watched has changed. Ends the watching.

        None, too, when nothing is watched any more, or others may have the keys to themselves; nothing was decided
        then. What is decided gets no replies.
        """
        try:
            link, watches = self._link, self._watches
            if link is None or not link.watching or watches.closed or watches.must_wait(self._keys):
                return None
            return _write(link, decide, [])
        finally:
            self.leave()

    def leave(self) -> None:
        """End the watching without writing."""
        # Forgotten before it is given back: an interrupt between the two must not give it back twice.
        link, self._link = self._link, None
        if link is not None:
            self._pool.release(link)


class Watches:
    """The operations of one process that are under WATCH."""

    closed = False
    """Whether the session was closed: no block writes any more."""

    def __init__(self, pool: Pool, must_wait: Callable[[Sequence[bytes]], bool]) -> None:
        """must_wait: whether the running thread waits for one of these keys, which somebody else has to itself."""
        self.pool = pool
        self.must_wait = must_wait
        self.turns = Turns()
        """Who writes which keys."""
        self.held: set[bytes] = set()
        """Keys of what is tried again by now: blind writes wait for their turn."""

    @property
    def at_rest(self) -> bool:
        """Whether nobody has a turn, or waits for one."""
        return self.turns.at_rest

    def drained(self, keys: Sequence[bytes], timeout: float) -> None:
        """Wait until no operation that is under way by now writes one of these keys; no longer than timeout seconds."""
        with suppress(Conflict):
            self.turns.take(keys, timeout)
            self.turns.give_back(keys)

    def let_finish(self, keys: Sequence[bytes]) -> None:
        """Wait for what is tried again under one of these keys by now: a write that nothing can disturb would disturb
        it once more, and so on for ever.
        """
        for key in self.held.intersection(keys):
            with suppress(Conflict):
                self.turns.take((key,), PATIENCE)
                # Whoever had the turn before may have been interrupted before it could say that it is over.
                self.held.discard(key)
                self.turns.give_back((key,))

    def enter(self, watch: Watch) -> Watcher:
        """Watch and read. ``replies`` of the watcher waits for it."""
        return Watcher(self, watch)

    def update(self, update: Update) -> Answer:
        """Read, decide and write, in turns with other threads that write the same keys.

        Tried again after each pause, until there is none left: None then, and when somebody has keys to itself by then.
        """
        answer = self._try(update, update.alone)
        while answer is None:
            pause = next(update.pauses, None)
            if pause is None:
                break
            sleep(pause)
            if self.must_wait(update.keys):
                break
            answer = self._try(update, again=True)
        return answer

    def _try(self, update: Update, again: bool) -> Answer:
        """One try, in which no other thread writes the same keys, unless blindly. again: not that either."""
        turn = sorted(update.keys)
        try:
            # In here: an interrupt right after it was taken must not leave it with nobody to give it back.
            self.turns.take(turn, update.timeout)
            link = self.pool.acquire()
            try:
                if again:
                    self.held.update(turn)
                found = _read(link, update.keys, update.reads)
                return found if isinstance(found, ServerError) else _write(link, update.decide, found)
            finally:
                self.pool.release(link)
                self.held.difference_update(turn)
        finally:
            self.turns.give_back(turn)
