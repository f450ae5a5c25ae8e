"""The blocking twin of ``rapyer_core.watches``: the same names, for threads. Written by hand.

Each operation under WATCH has a connection of its own, and those that write the same keys take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from rapyer_core.errors import Conflict
from rapyer_core.requests import EXEC, MULTI, Command, Decide, Failed, Lost, Reply, ServerError, Watch, outcome
from rapyer_core.sync.waiting import Turns
from rapyer_core.transports.blocking import Link, Pool


class Watcher:
    """One operation under WATCH, from its wish to its end."""

    def __init__(self, watches: Watches, watch: Watch) -> None:
        self._watches = watches
        self._watch = watch
        self._turn: Sequence[bytes] = ()
        self._link: Link | None = None

    def replies(self) -> list[Reply] | None:
        """The replies to the reads, once the keys are watched. None: no connection to spare."""
        watch = self._watch
        if watch.spare:
            # Some connections are left to others, at least one, or the block could not use the session.
            self._link = self._watches.pool.spare(reserve=max(1, self._watches.pool.size // 8))
            if self._link is None:
                return None
        else:
            # Noted before it is taken: an interrupt between the two must not leave it with nobody to give it back.
            self._turn = sorted(watch.keys)
            self._watches.turns.take(self._turn, watch.timeout)
            self._link = self._watches.pool.acquire()
        try:
            watched, *replies = self._link.roundtrip([(b"WATCH", *watch.keys), *watch.reads])
        except Lost as lost:
            raise Lost(sent=False, timed_out=lost.timed_out) from None
        return [watched] * len(replies) if isinstance(watched, ServerError) else replies

    def commit(self, decide: Decide) -> list[Reply] | ServerError | Failed | None:
        """Write what is decided on, if nothing watched has changed. Ends the watching."""
        link = self._link
        if link is None or not link.watching:
            self.leave()
            return None
        try:
            decided: Sequence[Command] | None
            try:
                decided = decide({})
            except Exception as error:
                return Failed(error)
            if decided is None:
                return []
            return outcome(link.roundtrip([MULTI, *decided, EXEC]), 0, len(decided), alone=True)
        finally:
            self.leave()

    def leave(self) -> None:
        """End the watching without writing."""
        try:
            # Forgotten before it is given back: an interrupt between the two must not give it back twice.
            link, self._link = self._link, None
            if link is not None:
                self._watches.pool.release(link)
        finally:
            turn, self._turn = self._turn, ()
            if turn:
                self._watches.turns.give_back(turn)


class Watches:
    """The operations of one process that are under WATCH."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.turns = Turns()
        """Who writes which keys."""

    @property
    def at_rest(self) -> bool:
        """Whether nobody has a turn, or waits for one."""
        return self.turns.at_rest

    def drained(self, keys: Sequence[bytes], timeout: float) -> None:
        """Wait until no operation that is under way by now writes one of these keys; no longer than timeout seconds."""
        with suppress(Conflict):
            self.turns.take(keys, timeout)
            self.turns.give_back(keys)

    def enter(self, watch: Watch) -> Watcher:
        """Watch and read. ``replies`` of the watcher waits for it."""
        return Watcher(self, watch)
