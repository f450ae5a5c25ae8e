"""The asyncio listener: hears, on a connection of its own, what is published on channels. Nothing relies on it alone:
what is published while it is not connected is lost, and who waits looks again by himself.
"""

from __future__ import annotations

import asyncio
from typing import Any

import redis
from redis.exceptions import NoPermissionError

from rapyer_core.errors import ServerRefused
from rapyer_core.requests import Lost, Reply
from rapyer_core.settings import Settings
from rapyer_core.slots import Nodes
from rapyer_core.transports.aio_connector import Connector, connector_of
from rapyer_core.transports.sentinel import nobody
from rapyer_core.transports.wire import RECONNECT, REST, pack


class Ear:
    """Hears one channel until it is closed."""

    __slots__ = ("_listener", "_rung", "channel")

    def __init__(self, listener: Listener, channel: bytes) -> None:
        self._listener = listener
        self._rung = asyncio.Event()
        self.channel = channel

    async def wait(self, seconds: float) -> bool:
        """Until something was heard since the last wait, at most so many seconds. Whether the subscription stands.

        Its beginning and its end count as heard: what was published before, or after, was missed.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            pass
        self._rung.clear()
        return self._listener.hears(self.channel)

    def ring(self) -> None:
        """Something was heard."""
        self._rung.set()

    def close(self) -> None:
        """Hear no more."""
        self._listener.forget(self)


class Listener:
    """The ears of one event loop. Connects when there is one, and stays connected for REST seconds after the last."""

    def __init__(self, settings: Settings, seen: Nodes) -> None:
        """seen: the nodes of a cluster, any of which will do; none: the server of the settings."""
        self._settings, self._seen = settings, seen
        self._connector = connector_of(settings, nobody)
        self._tries = 0
        """Connections that were begun."""
        self._ears: dict[bytes, set[Ear]] = {}
        self._standing: set[bytes] = set()
        """Channels that the server has confirmed."""
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._refused = self._closed = False

    def ear(self, channel: bytes) -> Ear:
        """Listen to a channel. Does not wait for the subscription."""
        ear = Ear(self, channel)
        ears = self._ears.setdefault(channel, set())
        if not ears:
            self._send(b"SUBSCRIBE", channel)
        elif channel in self._standing:
            # What was published before now was for others.
            ear.ring()
        ears.add(ear)
        if self._task is None and not (self._refused or self._closed):
            self._task = asyncio.create_task(self._run())
        return ear

    def hears(self, channel: bytes) -> bool:
        """Whether what is published on the channel arrives here."""
        return channel in self._standing

    def forget(self, ear: Ear) -> None:
        """End of an ear."""
        ears = self._ears.get(ear.channel)
        if ears is None or ear not in ears:
            return
        ears.discard(ear)
        if not ears:
            del self._ears[ear.channel]
            self._standing.discard(ear.channel)
            self._send(b"UNSUBSCRIBE", ear.channel)
            if not self._ears and self._resting is None and self._task is not None:
                self._resting = asyncio.get_running_loop().call_later(REST, self._rest)

    def _rest(self) -> None:
        self._resting = None
        if not self._ears and self._task is not None:
            self._task.cancel()
            self._task = None

    def _send(self, *command: bytes) -> None:
        if self._connection is not None:
            self._connection._writer.write(pack([command]))

    async def _run(self) -> None:
        while not self._refused:
            try:
                await self._listen()
            except NoPermissionError:
                self._refused = True
            except (Lost, ServerRefused, redis.RedisError, OSError, EOFError):
                pass
            await asyncio.sleep(RECONNECT)
        self._task = None

    def _next_connector(self) -> Connector:
        """To one node of a cluster after the other, since the last one may be gone."""
        nodes = self._seen.addresses
        if not nodes:
            return self._connector
        self._tries += 1
        return connector_of(self._settings.at(nodes[self._tries % len(nodes)]), nobody)

    async def _listen(self) -> None:
        """Until the connection is lost."""
        connector = self._next_connector()
        connection = connector.make()
        try:
            await connector.connect(connection)
            self._connection = connection
            if self._ears:
                self._send(b"SUBSCRIBE", *self._ears)
            while True:
                self._heard(await connection.read_response(disable_decoding=True, disconnect_on_error=False))
        finally:
            self._connection = None
            self._standing.clear()
            self._ring_all()
            await connection.disconnect(nowait=True)

    def _heard(self, reply: Reply) -> None:
        kind, channel = reply[0], reply[1]
        ears = self._ears.get(channel)
        if ears is None:
            return
        if kind == b"subscribe":
            self._standing.add(channel)
        for ear in list(ears):
            ear.ring()

    def _ring_all(self) -> None:
        for ears in self._ears.values():
            for ear in list(ears):
                ear.ring()

    async def close(self) -> None:
        """End the connection. Who waits goes on."""
        self._closed = True
        task, self._task = self._task, None
        if self._resting is not None:
            self._resting.cancel()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._ring_all()
