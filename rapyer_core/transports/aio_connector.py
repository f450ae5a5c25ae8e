"""Connecting, for asyncio: to a server by its address, or to the primary that the sentinels name. No pools here."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.connection
import redis.asyncio.sentinel
from redis.asyncio.retry import Retry
from redis.exceptions import NoPermissionError

from rapyer_core.errors import ServerRefused
from rapyer_core.requests import Lost
from rapyer_core.settings import Settings
from rapyer_core.slots import Address
from rapyer_core.transports.sentinel import Answers, Left, Service, asking, first, last, pauses, service_of
from rapyer_core.transports.wire import (
    AsError,
    as_error,
    backoff_free_retry,
    connection_parameters,
    noticing,
    parameters_of,
    refused_connection,
)


class Connector:
    """Makes the redis-py connections of a session, and connects them."""

    def __init__(self, settings: Settings) -> None:
        self._class, self._arguments = connection_parameters(
            settings, redis.asyncio.ConnectionPool, redis.asyncio.connection
        )
        self._arguments["socket_timeout"] = None
        self._timeout = settings.timeout

    def make(self) -> Any:
        """A connection that is not connected yet."""
        return self._class(**{**self._arguments, "retry": backoff_free_retry(Retry)})

    async def connect(self, connection: Any) -> None:
        """Connect it, within the timeout. TimeoutError, OSError, RedisError."""
        async with asyncio.timeout(self._timeout):
            await connection.connect()

    def as_error(self, connection: Any) -> AsError:
        """Makes values of the error replies on a connection."""
        return as_error

    @property
    def follows(self) -> bool:
        """Whether the server may come to be another one, so that ``review`` is worth while."""
        return False

    async def review(self) -> None:
        """Look whether it is still the same one."""


class PrimaryConnector(Connector):
    """Connects to the primary of a service that sentinels watch, whichever it is at the time."""

    def __init__(self, settings: Settings, service: Service, left: Left) -> None:
        """left: called when a server turns out not to be the primary any more."""
        super().__init__(settings)
        self._service, self._left = service, left
        # One that does not answer leaves time for the others.
        share = self._timeout / (len(service.manager.sentinels) + 1)
        self._sentinels = [_sentinel_parameters(client, share) for client in service.manager.sentinels]
        self._address: Address | None = None
        self._found = 0.0
        self._turn = asyncio.Lock()
        """One asks for all, and tells whether the primary is there before the others come."""

    async def connect(self, connection: Any) -> None:
        """Connect it to the primary. While there is none, as in a failover, wait for one, within the timeout.

        Raises Lost, with the name of the service; RedisError when the primary refuses the connection; ServerRefused
        when the sentinels do.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        answers = Answers(self._service.name)
        try:
            async with asyncio.timeout(self._timeout) as limit, self._turn:
                for pause in pauses():
                    address = await self._where(answers, began)
                    end = limit.when() or 0.0
                    # A host that is gone says nothing at all: half of the time is for where the primary went.
                    if address is not None and await self._reach(connection, address, (end - loop.time()) / 2):
                        return
                    if loop.time() >= end:
                        # The time was up before, and somebody kept it to himself: the lender's code, for one.
                        raise TimeoutError
                    self._found = 0.0
                    if address is not None:
                        self._sentinels = last(self._sentinels)
                    await asyncio.sleep(pause)
        except TimeoutError:
            raise answers.gave_up(self._timeout) from None

    async def _where(self, answers: Answers, began: float) -> Address | None:
        """Where the primary is, as the sentinels say; None: nowhere now. Raises what asking again would not change."""
        if self._address is not None and self._found >= began:
            return self._address
        begins = asyncio.get_running_loop().time()
        clients = [_Sentinel(answers, *parameters) for parameters in self._sentinels]
        manager = asking(self._service.manager, redis.asyncio.sentinel.Sentinel, clients)
        try:
            address: Address = await manager.discover_master(self._service.name)
        except redis.ConnectionError:
            failure = answers.failure()
            if failure is not None:
                raise failure from None
            return None
        self._sentinels = first(self._sentinels, clients.index(manager.sentinels[0]))
        former, self._address, self._found = self._address, address, begins
        if former is not None and former != address:
            self._left(former)
        return address

    async def _reach(self, connection: Any, address: Address, seconds: float) -> bool:
        """Connect to this server; whether it is the primary. Raises RedisError when it refuses the connection."""
        connection.host, connection.port = address
        primary = False
        try:
            async with asyncio.timeout(seconds):
                await connection.connect()
                await connection.send_command("ROLE")
                primary = (await connection.read_response(disable_decoding=True))[0] == b"master"
        except NoPermissionError:
            primary = True  # who may not ask believes the sentinels
        except redis.RedisError as error:
            if refused_connection(error) is not None:
                raise
        except OSError:
            pass
        finally:
            if not primary:
                await connection.disconnect(nowait=True)
        return primary

    @property
    def follows(self) -> bool:
        return True

    async def review(self) -> None:
        """Look whether it is still the same one: not every way to demote a primary ends its connections."""
        with suppress(Lost, ServerRefused, TimeoutError):
            async with asyncio.timeout(self._timeout), self._turn:
                await self._where(Answers(self._service.name), asyncio.get_running_loop().time())

    def as_error(self, connection: Any) -> AsError:
        return noticing(partial(self._left, (connection.host, connection.port)))


def connector_of(settings: Settings, left: Left) -> Connector:
    """The connector for these settings. left: as of ``PrimaryConnector``."""
    service = service_of(settings)
    return Connector(settings) if service is None else PrimaryConnector(settings, service, left)


class _Sentinel(redis.asyncio.Redis):
    """A client of one sentinel, for one question."""

    def __init__(self, answers: Answers, connection_class: type[Any], arguments: dict[str, Any]) -> None:
        pool = redis.asyncio.ConnectionPool(connection_class, **{**arguments, "retry": backoff_free_retry(Retry)})
        super().__init__(connection_pool=pool)
        self._answers = answers

    async def sentinel_masters(self) -> Any:
        """As redis-py's; notes what became of it. RedisError, of the kind that lets redis-py ask the next one."""
        try:
            masters = await super().sentinel_masters()
        except redis.RedisError as error:
            self._answers.note_failure(error)
            raise redis.ConnectionError from None
        finally:
            # Without waiting: whoever is cancelled meanwhile would leave it open, or come to wait for something else.
            pool: Any = self.connection_pool
            for connection in (*pool._available_connections, *pool._in_use_connections):
                await connection.disconnect(nowait=True)
        self._answers.note(masters)
        return masters


def _sentinel_parameters(client: Any, share: float) -> tuple[type[Any], dict[str, Any]]:
    """How to connect to the sentinel of a redis-py client. share: seconds for one question."""
    connection_class, arguments = parameters_of(client.connection_pool, redis.asyncio.connection, share)
    arguments["socket_timeout"] = share
    return connection_class, arguments
