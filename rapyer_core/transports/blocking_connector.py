"""Connecting, for threads: the same as for asyncio. To a server by its address, or to the primary that the sentinels
name. No pools here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import redis
import redis.connection
import redis.sentinel
from redis.exceptions import NoPermissionError
from redis.retry import Retry

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
        self._class, self._arguments = connection_parameters(settings, redis.ConnectionPool, redis.connection)
        self._arguments["socket_timeout"] = settings.timeout
        self._timeout = settings.timeout

    def make(self) -> Any:
        """A connection that is not connected yet."""
        return self._class(**{**self._arguments, "retry": backoff_free_retry(Retry)})

    def connect(self, connection: Any) -> None:
        """Connect it, within the timeout. OSError, RedisError."""
        connection.connect()

    def as_error(self, connection: Any) -> AsError:
        """Makes values of the error replies on a connection."""
        return as_error

    def spent(self, connection: Any, is_spent: Callable[[], bool]) -> Callable[[], bool]:
        """Whether a connection is of no use any more. is_spent: whether it is so by itself."""
        return is_spent


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
        self._review_at = 0.0
        # No lock here, which an interrupt could leave taken: threads at once ask each for itself.

    def connect(self, connection: Any) -> None:
        """Connect it to the primary. While there is none, as in a failover, wait for one, within the timeout.

        Raises Lost, with the name of the service; RedisError when the primary refuses the connection; ServerRefused
        when the sentinels do.
        """
        end = time.monotonic() + self._timeout
        answers = Answers(self._service.name)
        for pause in pauses():
            address = self._where(answers)
            # A host that is gone says nothing at all: half of the time is for where the primary went.
            if address is not None and self._reach(connection, address, (end - time.monotonic()) / 2):
                return
            if address is not None:
                self._sentinels = last(self._sentinels)
            if time.monotonic() + pause >= end:
                raise answers.gave_up(self._timeout)
            time.sleep(pause)

    def _where(self, answers: Answers) -> Address | None:
        """Where the primary is, as the sentinels say; None: nowhere now. Raises what asking again would not change."""
        sentinels = self._sentinels
        clients = [_Sentinel(answers, *parameters) for parameters in sentinels]
        manager = asking(self._service.manager, redis.sentinel.Sentinel, clients)
        try:
            address: Address = manager.discover_master(self._service.name)
        except redis.ConnectionError:
            failure = answers.failure()
            if failure is not None:
                raise failure from None
            return None
        self._sentinels = first(sentinels, clients.index(manager.sentinels[0]))
        self._review_at = time.monotonic() + self._timeout
        former, self._address = self._address, address
        if former is not None and former != address:
            self._left(former)
        return address

    def _reach(self, connection: Any, address: Address, seconds: float) -> bool:
        """Connect to this server; whether it is the primary. Raises RedisError when it refuses the connection."""
        connection.host, connection.port = address
        connection.socket_timeout = connection.socket_connect_timeout = max(seconds, 0.001)
        primary = False
        try:
            connection.connect()
            connection.send_command("ROLE")
            primary = connection.read_response(disable_decoding=True)[0] == b"master"
        except NoPermissionError:
            primary = True  # who may not ask believes the sentinels
        except redis.RedisError as error:
            if refused_connection(error) is not None:
                raise
        except OSError:
            pass
        finally:
            if not primary:
                connection.disconnect()
        if primary:
            connection.socket_timeout = self._timeout
            connection._sock.settimeout(self._timeout)
            # Where it is noted, too.
            connection._parser.on_connect(connection)
        return primary

    def spent(self, connection: Any, is_spent: Callable[[], bool]) -> Callable[[], bool]:
        """The same; looks now and then whether it is still the primary, beside whoever uses it: not every way to demote
        a primary ends its connections.
        """
        address = connection.host, connection.port

        def left() -> bool:
            now = time.monotonic()
            if now >= self._review_at:
                self._review_at = now + self._timeout
                # At the end of the interpreter no thread can be started any more.
                with suppress(RuntimeError):
                    threading.Thread(target=self._review, name="rapyer-sentinels", daemon=True).start()
            return is_spent() or self._address != address

        return left

    def _review(self) -> None:
        with suppress(Lost, ServerRefused):
            self._where(Answers(self._service.name))

    def as_error(self, connection: Any) -> AsError:
        return noticing(partial(self._left, (connection.host, connection.port)))


def connector_of(settings: Settings, left: Left) -> Connector:
    """The connector for these settings. left: as of ``PrimaryConnector``."""
    service = service_of(settings)
    return Connector(settings) if service is None else PrimaryConnector(settings, service, left)


class _Sentinel(redis.Redis):
    """A client of one sentinel, for one question."""

    def __init__(self, answers: Answers, connection_class: type[Any], arguments: dict[str, Any]) -> None:
        pool = redis.ConnectionPool(connection_class, **{**arguments, "retry": backoff_free_retry(Retry)})
        super().__init__(connection_pool=pool)
        self._answers = answers

    def sentinel_masters(self) -> Any:
        """As redis-py's; notes what became of it. RedisError, of the kind that lets redis-py ask the next one."""
        try:
            masters = super().sentinel_masters()
        except redis.RedisError as error:
            self._answers.note_failure(error)
            raise redis.ConnectionError from None
        finally:
            self.connection_pool.disconnect()
        self._answers.note(masters)
        return masters


def _sentinel_parameters(client: Any, share: float) -> tuple[type[Any], dict[str, Any]]:
    """How to connect to the sentinel of a redis-py client. share: seconds for one question."""
    connection_class, arguments = parameters_of(client.connection_pool, redis.connection, share)
    arguments["socket_timeout"] = share
    return connection_class, arguments
