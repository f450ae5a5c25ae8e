"""The blocking listener: the same as the asyncio one, for threads.

One daemon thread has the connection, and alone reads and writes on it: TLS connections are not for two threads. Those
who listen tell it what to send over a pair of sockets. It ends by itself when nobody has listened for a while.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import redis
from redis.exceptions import NoPermissionError

from rapyer_core.errors import ServerRefused
from rapyer_core.requests import Command, Lost, Reply
from rapyer_core.settings import Settings
from rapyer_core.slots import Nodes
from rapyer_core.transports.blocking_connector import Connector, connector_of
from rapyer_core.transports.sentinel import nobody
from rapyer_core.transports.wire import RECONNECT, REST, pack


class Ear:
    """Hears one channel until it is closed, or forgotten between two lines of an interrupted thread."""

    __slots__ = ("__weakref__", "_listener", "_rung", "channel")

    def __init__(self, listener: Listener, channel: bytes) -> None:
        self._listener = listener
        self._rung = threading.Event()
        self.channel = channel

    def wait(self, seconds: float) -> bool:
        """Until something was heard since the last wait, at most so many seconds. Whether the subscription stands.

        Its beginning and its end count as heard: what was published before, or after, was missed.
        """
        self._rung.wait(seconds)
        self._rung.clear()
        return self._listener.hears(self.channel)

    def ring(self) -> None:
        """Something was heard."""
        self._rung.set()

    def close(self) -> None:
        """Hear no more."""
        self._listener.forget(self)


class Listener:
    """The ears of one process. Connects when there is one, and stays connected for REST seconds after the last."""

    def __init__(self, settings: Settings, seen: Nodes) -> None:
        """seen: the nodes of a cluster, any of which will do; none: the server of the settings."""
        self._settings, self._seen = settings, seen
        self._connector = connector_of(settings, nobody)
        self._tries = 0
        """Connections that were begun."""
        self._guard = threading.Lock()
        self._ears: dict[bytes, WeakSet[Ear]] = {}
        self._standing: set[bytes] = set()
        """Channels that the server has confirmed."""
        self._asked: list[Command] = []
        """What the thread is to send."""
        self._wake: Callable[[], None] | None = None
        """Makes the thread look at what is asked."""
        self._refused = self._closed = False

    def ear(self, channel: bytes) -> Ear:
        """Listen to a channel. Does not wait for the subscription."""
        ear = Ear(self, channel)
        with self._guard:
            ears = self._ears.setdefault(channel, WeakSet())
            if not ears:
                self._send((b"SUBSCRIBE", channel))
            elif channel in self._standing:
                # What was published before now was for others.
                ear.ring()
            ears.add(ear)
            if self._wake is None and not (self._refused or self._closed):
                self._start()
        return ear

    def hears(self, channel: bytes) -> bool:
        """Whether what is published on the channel arrives here."""
        return channel in self._standing

    def forget(self, ear: Ear) -> None:
        """End of an ear."""
        with self._guard:
            ears = self._ears.get(ear.channel)
            if ears is not None:
                ears.discard(ear)
                self._drop_deaf()

    def _drop_deaf(self) -> None:
        for channel in [channel for channel, ears in self._ears.items() if not ears]:
            del self._ears[channel]
            self._standing.discard(channel)
            self._send((b"UNSUBSCRIBE", channel))

    def _send(self, command: Command) -> None:
        self._asked.append(command)
        if self._wake is not None:
            self._wake()

    def _start(self) -> None:
        ours, its = socket.socketpair()
        for end in (ours, its):
            end.setblocking(False)

        def wake() -> None:
            # A full buffer wakes the thread as well as one more byte would.
            with contextlib.suppress(BlockingIOError):
                ours.send(b"x")

        self._wake = wake
        threading.Thread(target=self._run, args=(ours, its), name="rapyer-listener", daemon=True).start()

    def _run(self, ours: socket.socket, its: socket.socket) -> None:
        with ours, its:
            while not self._ends():
                try:
                    self._listen(its)
                except NoPermissionError:
                    self._refused = True
                except (Lost, ServerRefused, redis.RedisError, OSError):
                    time.sleep(RECONNECT)

    def _ends(self) -> bool:
        """Whether the thread may end: it does then, and the next ear starts another."""
        with self._guard:
            self._drop_deaf()
            if self._ears and not (self._refused or self._closed):
                return False
            self._wake = None
            return True

    def _next_connector(self) -> Connector:
        """To one node of a cluster after the other, since the last one may be gone."""
        nodes = self._seen.addresses
        if not nodes:
            return self._connector
        self._tries += 1
        return connector_of(self._settings.at(nodes[self._tries % len(nodes)]), nobody)

    def _listen(self, its: socket.socket) -> None:
        """Until the connection is lost, or nobody has listened for a while."""
        connector = self._next_connector()
        connection = connector.make()
        try:
            connector.connect(connection)
            with self._guard:
                self._asked = [(b"SUBSCRIBE", *self._ears)] if self._ears else []
            with selectors.DefaultSelector() as selector:
                selector.register(connection._sock, selectors.EVENT_READ)
                selector.register(its, selectors.EVENT_READ)
                while not self._closed:
                    self._say(connection)
                    if not selector.select(REST) and not self._wanted():
                        return
                    with contextlib.suppress(BlockingIOError):
                        its.recv(65536)
                    while connection.can_read(0):
                        self._heard(connection.read_response(disable_decoding=True, disconnect_on_error=False))
        finally:
            with self._guard:
                self._standing.clear()
                self._ring_all()
            connection.disconnect()

    def _wanted(self) -> bool:
        with self._guard:
            self._drop_deaf()
            return bool(self._ears)

    def _say(self, connection: Any) -> None:
        with self._guard:
            asked, self._asked = self._asked, []
        if asked:
            connection.send_packed_command([pack(asked)], check_health=False)

    def _heard(self, reply: Reply) -> None:
        kind, channel = reply[0], reply[1]
        with self._guard:
            if channel not in self._ears:
                return
            if kind == b"subscribe":
                self._standing.add(channel)
            for ear in self._ears[channel]:
                ear.ring()

    def _ring_all(self) -> None:
        for ears in self._ears.values():
            for ear in ears:
                ear.ring()

    def close(self) -> None:
        """End the connection. Who waits goes on."""
        self._closed = True
        with self._guard:
            if self._wake is not None:
                self._wake()
            self._ring_all()
