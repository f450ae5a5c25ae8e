"""Sessions (blocking): run operations on one server. The driver, and the default session.

Made of ``rapyer_core.sessions`` by ``make sync``: change that, not this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar, overload
from weakref import WeakKeyDictionary

from rapyer_core.addresses import resolved
from rapyer_core.arguments import kind_of_value
from rapyer_core.collection import Context
from rapyer_core.errors import Conflict, SessionClosed
from rapyer_core.operations.reading import greet
from rapyer_core.requests import (
    READ,
    UNUSUAL,
    Batch,
    Blind,
    Failed,
    Flow,
    Listen,
    Operation,
    Pause,
    Request,
    Straight,
    Update,
    Watch,
)
from rapyer_core.retries import DEFAULT_RETRY, Retry
from rapyer_core.settings import Settings
from rapyer_core.slots import Nodes, suits_cluster
from rapyer_core.sync.nodes import Cluster, Node, Watching
from rapyer_core.sync.waiting import Places, Repeating, Turns, Worker, current_worker, sleep
from rapyer_core.transports.blocking_listener import Ear, Listener
from rapyer_core.transports.wire import lent_nodes

R = TypeVar("R")
T = TypeVar("T")


RESERVED = 5.0
"""Seconds that a transaction may keep its keys to itself, at most."""


class Reservation:
    """Keys that one transaction, tried in vain before, has to itself among the writers of this process."""

    def __init__(self, loop: Loop, keys: Sequence[bytes]) -> None:
        self._loop, self._keys = loop, list(keys)
        self._ending = Repeating(lambda: RESERVED, self._end)

    def _end(self) -> bool:
        self._give_back()
        return False

    def _give_back(self) -> None:
        # One by one, because the end of the time and the end of the transaction may come at once.
        while self._keys:
            with suppress(IndexError):
                key = self._keys.pop()
                self._loop.reserved.pop(key, None)
                self._loop.turns.give_back([key])

    def stop(self) -> None:
        """Let the others pass."""
        self._ending.stop()
        self._give_back()


class Loop:
    """What a session keeps for this process."""

    def __init__(self, settings: Settings, clustered: bool, seen: Nodes) -> None:
        """seen: the nodes of the cluster, if the server belongs to one (clustered)."""
        self.listener = Listener(settings, seen)
        self.turns = Turns()
        self.reserved: dict[bytes, Worker] = {}
        """Who has which keys to itself."""
        self.node = node = Node(settings, self.must_wait)
        """The server that the session was told of."""
        self.server: Node | Cluster = node
        """Where requests go."""
        if clustered:
            self.find_others(settings, seen)
        self.threads: WeakKeyDictionary[Worker, Any] = WeakKeyDictionary()
        """Open lock blocks of each thread."""

    def find_others(self, settings: Settings, seen: Nodes) -> None:
        """The server is one of a cluster: requests go to the node that has the key."""
        self.server = Cluster(settings, self.node, seen, self.must_wait)

    def reserve(self, keys: Sequence[bytes], timeout: float) -> Reservation:
        """Have these keys for the running thread alone, for a while: others that write them wait. It may pass itself.

        A courtesy, which makes sure that a long transaction comes through among many short writers of this process;
        nothing relies on it. When the keys cannot be had within timeout seconds, they stay free; who has others already
        does not wait at all.
        """
        me = current_worker()
        free = tuple(key for key in keys if self.reserved.get(key) is not me)
        try:
            self.turns.take(free, 0.0 if self._has_keys(me) else timeout)
        except Conflict:
            free = ()
        self.reserved.update(dict.fromkeys(free, me))
        reservation = Reservation(self, free)
        try:
            self.server.drained(free, timeout)
        except BaseException:
            reservation.stop()
            raise
        return reservation

    def is_queued(self, keys: Sequence[bytes]) -> bool:
        """Whether others are in line for one of the keys, so that whoever has none to itself had better be, too."""
        return self.turns.are_taken(keys) and not self._has_keys(current_worker())

    def must_wait(self, keys: Sequence[bytes]) -> bool:
        """Whether somebody else has one of the keys to itself, and the running thread may wait for that."""
        return bool(self.reserved) and bool(self._awaited(keys))

    def let_pass(self, keys: Sequence[bytes], timeout: float) -> None:
        """Wait until nobody else has one of the keys to itself, no longer than timeout seconds."""
        taken = self._awaited(keys)
        with suppress(Conflict):
            self.turns.take(taken, timeout)
            self.turns.give_back(taken)

    def _awaited(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """Those of the keys that somebody else has to itself. None for who has some: both could wait for ever."""
        taken = [key for key in keys if key in self.reserved]
        return () if not taken or self._has_keys(current_worker()) else taken

    def _has_keys(self, worker: Worker) -> bool:
        return worker in self.reserved.values()


class Session:
    """A connection pool for one server, and how objects are stored there. Made by ``open_session``."""

    def __init__(self, settings: Settings) -> None:
        self.context = Context(settings.prefix, settings.retry, settings.exactly_once)
        found, self._embedded = resolved(settings)
        nodes = lent_nodes(found)
        if nodes:
            self.context.clustered = True
            found = found.at(nodes[0])
        self._settings = found
        self._seen = Nodes()
        self._loops = Places(lambda: Loop(found, self.context.clustered, self._seen))
        self._closed = False

    def open(self) -> Self:
        """Speak to the server. ConnectionFailed, ServerRefused; ValueError: the prefix does not suit a cluster.

        What is raised leaves the session closed.
        """
        try:
            if self.run(greet()) and not self.context.clustered:
                self.context.clustered = True
                self.loop.find_others(self._settings, self._seen)
            self._check_prefix()
            if not self._seen.addresses and self.context.clustered:
                # By way of the others now, so that a user who may not see them is told at once.
                self.run(greet())
        except BaseException:
            self.close()
            raise
        return self

    def _check_prefix(self) -> None:
        prefix = self.context.prefix
        if self.context.clustered and not suits_cluster(prefix):
            raise ValueError(
                f"the braces in the prefix {prefix!r} would keep locks away from their objects in a cluster: leave "
                "them out, or let one pair, with text inside, be the hash tag of all keys, as in '{game}:'"
            )

    @property
    def loop(self) -> Loop:
        """The pool and turns of this process, made at its first use."""
        if self._closed:
            raise SessionClosed("the session was closed")
        return self._loops.get()

    def run(self, operation: Operation[R] | Straight[R]) -> R:
        """Drive an operation to its end."""
        if self._closed:
            raise SessionClosed("the session was closed")
        loop = self._loops.get()
        server = loop.server
        answer: Any = None
        failure: BaseException | None = None
        if isinstance(operation, Straight):
            kind, packed, number, subject, finish, general = operation
            asked = kind is READ or not (loop.reserved or server.held)
            if asked:
                try:
                    answer = server.begin(kind, packed, number)
                except Exception as error:
                    failure = error
                if type(answer) is list:
                    done: R = finish(subject, answer)
                    if done is not UNUSUAL:
                        return done
            operation = general(subject)
            if asked:
                operation.send(None)
        try:
            # Most operations are one request, which needs nothing of a driver.
            while True:
                request = operation.send(answer) if failure is None else operation.throw(failure)
                failure = None
                try:
                    if loop.reserved:
                        break
                    if type(request) is Batch:
                        answer = server.ask(request)
                    elif type(request) is Blind and not server.held:
                        answer = server.write(request)
                    elif type(request) is Update:
                        answer = server.update(request)
                    else:
                        break
                    if type(answer) is Failed:
                        failure = answer.error
                except Exception as error:
                    failure = error
            return _Driver(loop).drive(operation, request)
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            operation.close()

    def watch(self, watch: Watch) -> Watching:
        """Watch for a block. ``replies`` waits for what it reads; ``commit`` or ``leave`` ends it."""
        if self._closed:
            raise SessionClosed("the session was closed")
        return self._loops.get().server.enter(watch)

    @overload
    def register_codec(
        self, cls: type[T], *, encode: Callable[[T], str | bytes], decode: Callable[[bytes], T]
    ) -> None: ...
    @overload
    def register_codec(
        self, *, encode: Callable[[T], str | bytes], decode: Callable[[bytes], T]
    ) -> Callable[[type[T]], type[T]]: ...
    def register_codec(self, cls: Any = None, *, encode: Any, decode: Any) -> Any:
        """``register_codec`` for this session alone: how it stores a type, in place of what all sessions do.

        Counts from the next operation or block on, for every model; what is stored already is not changed.
        """
        return self.context.own_registry().register(cls, encode=encode, decode=decode)

    def close(self) -> None:
        """Close the connections of this process. What is asked afterwards is SessionClosed.

        The embedded server, if it is one, ends with the last session that uses it.
        """
        running = self._loops.pop()
        self._closed = True
        try:
            if running is not None:
                running.server.close()
                running.listener.close()
        finally:
            if self._embedded is not None:
                self._embedded.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Driver:
    """Carries out the requests of one operation."""

    __slots__ = ("_ear", "_loop")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._ear: Ear | None = None

    def drive(self, operation: Operation[R], request: Request) -> R:
        """Request by request; errors of one are raised inside the operation. request: the first, which was made."""
        try:
            while True:
                answer: Any = None
                failure: BaseException | None = None
                try:
                    answer = self._ask(request)
                    if type(answer) is Failed:
                        failure = answer.error
                except Exception as error:
                    failure = error
                request = operation.send(answer) if failure is None else operation.throw(failure)
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            operation.close()
            self.end()

    def _ask(self, request: Request) -> Any:
        """The answer to a request."""
        loop, server = self._loop, self._loop.server
        if type(request) is Batch:
            return server.ask(request)
        if type(request) is Update:
            if loop.must_wait(request.keys):
                loop.let_pass(request.keys, request.timeout)
            return server.update(request)
        if isinstance(request, Blind | Flow):
            if loop.must_wait(request.keys):
                loop.let_pass(request.keys, request.patience)
            server.let_finish(request.keys)
        if type(request) is Blind:
            return server.write(request)
        if type(request) is Flow:
            return server.flow(request)
        if type(request) is Pause:
            sleep(request.seconds)
            return None
        assert type(request) is Listen, request
        if self._ear is None:
            self._ear = loop.listener.ear(request.channel)
        return self._ear.wait(request.seconds)

    def end(self) -> None:
        """Hear nothing any more."""
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.close()


# -- the default session --

_default: Session | None = None


def init_rapyer(
    redis_url: str | None = None,
    *,
    client: Any = None,
    prefix: str = "",
    timeout: float = 5.0,
    max_connections: int = 100,
    pool_timeout: float = 20.0,
    retry: Retry | None = None,
    exactly_once: bool = False,
) -> Session:
    """Open the default session, which functions use that get no ``session=``. Replaces a former one.

    redis_url: ``redis://``, ``rediss://`` (TLS), ``unix://``, ``embedded://`` (a private server, gone with this
    process) or ``embedded:///some/dir`` (its data stay there); by default the environment's RAPYER_URL, else an
    embedded server. client: a redis-py client that lends address, credentials and TLS instead. prefix: of every key.
    timeout: seconds for one round trip. max_connections: of this session and process. pool_timeout: seconds to
    wait for a free one. retry: of commits that met other writers. exactly_once: the default of all writes.

    Raises ConnectionFailed when the server cannot be reached.
    """
    global _default
    session = Session(
        Settings(
            redis_url,
            client,
            prefix,
            timeout,
            max_connections,
            pool_timeout,
            DEFAULT_RETRY if retry is None else retry,
            exactly_once,
        )
    )
    session.open()
    former, _default = _default, session
    if former is not None:
        former.close()
    return session


@contextmanager
def open_session(
    url: str | None = None,
    *,
    client: Any = None,
    prefix: str = "",
    timeout: float = 5.0,
    max_connections: int = 100,
    pool_timeout: float = 20.0,
    retry: Retry | None = None,
    exactly_once: bool = False,
) -> Iterator[Session]:
    """A session of one's own, for ``session=`` of every function. Arguments as in ``init_rapyer``."""
    session = Session(
        Settings(
            url,
            client,
            prefix,
            timeout,
            max_connections,
            pool_timeout,
            DEFAULT_RETRY if retry is None else retry,
            exactly_once,
        )
    )
    try:
        yield session.open()
    finally:
        session.close()


def close_rapyer() -> None:
    """Close the default session. Without one, nothing happens."""
    global _default
    former, _default = _default, None
    if former is not None:
        former.close()


def current(session: Session | None) -> Session:
    """The session given, else the default one. SessionClosed if there is none."""
    if session is None:
        if _default is None:
            raise SessionClosed
        return _default
    if not isinstance(session, Session):
        raise TypeError(
            f"session= takes a {Session.__module__}.Session, which open_session() gives to its block, "
            f"not {kind_of_value(session)}"
        )
    return session
