"""Sentinel: how it is named in a url, and what the sentinels' answers about a primary mean. No waiting here.

Which server is the primary of a service is asked of the sentinels by redis-py's ``discover_master``, for each
connection anew, through clients made for that one question: ``aio_connector`` and ``blocking_connector`` do it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.connection
import redis.sentinel
from redis.exceptions import NoPermissionError

from rapyer_core.errors import ServerRefused
from rapyer_core.requests import Lost
from rapyer_core.settings import Settings
from rapyer_core.slots import Address

T = TypeVar("T")

PORT = 26379
"""Of a sentinel, where the url does not say."""

SCHEMES = ("redis+sentinel://", "rediss+sentinel://")

MANAGED = (redis.sentinel.SentinelManagedConnection, redis.asyncio.sentinel.SentinelManagedConnection)
"""What redis-py connects to a primary with, by itself."""

MANAGED_TLS = (redis.sentinel.SentinelManagedSSLConnection, redis.asyncio.sentinel.SentinelManagedSSLConnection)

_POOLS = (redis.sentinel.SentinelConnectionPool, redis.asyncio.sentinel.SentinelConnectionPool)


Left = Callable[[Address], None]
"""Called with the address of a server that is not the primary any more."""


def nobody(address: Address) -> None:
    """Who has but one connection, which the server ends itself, need not be told."""


class Service(NamedTuple):
    """A primary and its replicas, under the eyes of sentinels. manager: redis-py's Sentinel, of either kind."""

    name: str
    manager: Any


def service_of(settings: Settings) -> Service | None:
    """The service that a session is to speak to; None: a server by its address. TypeError for replicas."""
    if settings.url is not None and settings.url.startswith(SCHEMES):
        lender = pool_of_url(settings.url)
    else:
        lender = getattr(settings.client, "connection_pool", None)
    if not isinstance(lender, _POOLS):
        return None
    if not lender.is_master:
        raise TypeError("client must be one of the primary: Sentinel(...).master_for(name)")
    return Service(lender.service_name, lender.sentinel_manager)


# -- what the sentinels say --


class Answers:
    """What the sentinels said to one question where the primary of a service is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._known = self._asked = self._timed_out = False
        self._refused: str | None = None

    def note(self, masters: Any) -> None:
        """A sentinel named these services."""
        self._asked = True
        self._known = self._known or self._name in masters

    def note_failure(self, error: Exception) -> None:
        """A sentinel did not answer, or refused."""
        self._timed_out = self._timed_out or isinstance(error, redis.TimeoutError)
        for found in (error, error.__cause__):
            if isinstance(found, redis.AuthenticationError):
                self._refused = "NOAUTH"
            elif isinstance(found, NoPermissionError):
                self._refused = self._refused or "NOPERM"

    def failure(self) -> Exception | None:
        """Why there is no use in asking again; None: the service has no primary at the moment."""
        if self._known:
            return None
        if self._asked:
            return Lost(sent=False, reason=f"the sentinels know of no service {self._name!r}; nothing was written")
        if self._refused is not None:
            what = "the user name or password" if self._refused == "NOAUTH" else "to say where the primary is"
            return ServerRefused(f"the sentinels of {self._name!r} refused {what}", code=self._refused)
        reason = f"no sentinel of {self._name!r} answers; nothing was written"
        return Lost(sent=False, timed_out=self._timed_out, reason=reason)

    def gave_up(self, seconds: float) -> Lost:
        """The error for a service that had no primary for so long."""
        reason = f"no primary of {self._name!r} could be reached within {seconds:g} s; nothing was written"
        return Lost(sent=False, timed_out=True, reason=reason)


def asking(manager: Any, kind: type[Any], clients: Sequence[Any]) -> Any:
    """A manager like the lent one that asks these clients. kind: redis-py's Sentinel, asyncio or blocking."""
    if isinstance(manager, kind):
        ours = copy(manager)
    else:
        ours = kind(())
        vars(ours).update(vars(manager))
    # A list of its own: redis-py changes the order, and does so badly if two tasks ask at once.
    ours.sentinels = list(clients)
    return ours


def first(sentinels: Sequence[T], answered: int) -> list[T]:
    """The sentinels, the one that answered before the others: it is asked first the next time."""
    return [sentinels[answered], *sentinels[:answered], *sentinels[answered + 1 :]]


def last(sentinels: Sequence[T]) -> list[T]:
    """The sentinels, the first one behind the others: it named a server that is not the primary."""
    return [*sentinels[1:], *sentinels[:1]]


def pauses() -> Iterator[float]:
    """Seconds between questions while a failover is under way."""
    pause = 0.02
    while True:
        yield pause
        pause = min(pause * 1.5, 0.25)


# -- urls --


# Any: redis-py says nothing of their types.
_sentinel: Any = redis.sentinel.Sentinel
_parse: Any = redis.connection.parse_url


def pool_of_url(url: str) -> Any:
    """A redis-py pool for ``redis+sentinel://[user:password@]host[:port][,host[:port]]/service[/db][?option=value]``.

    Options are redis-py's; those that begin with ``sentinel_`` are for the sentinels. ``rediss+sentinel``: both speak
    TLS, by the same ``ssl_`` options unless the sentinels have their own. ValueError, without what the url says.
    """
    scheme, _, rest = url.partition("+sentinel://")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    user, _, password = login.partition(":")
    name, _, db = path.partition("/")
    if not name:
        raise ValueError("a url of sentinels ends with the name of the service: redis+sentinel://host:26379/mymaster")
    if db and not db.isdecimal():
        raise ValueError("behind the name of the service a url of sentinels has nothing but a database's number")
    options = parse_qsl(query)
    of_sentinels = [(option.removeprefix("sentinel_"), value) for option, value in options if _is_theirs(option)]
    shared = [(option, value) for option, value in options if option.startswith("ssl_")]
    own = [pair for pair in options if not _is_theirs(pair[0]) and pair[0] != _OTHERS]
    manager = _sentinel(
        [_address(host) for host in hosts.split(",")],
        min_other_sentinels=_number(dict(options).get(_OTHERS, "0"), _OTHERS),
        sentinel_kwargs=_arguments(scheme, [*of_sentinels, *shared]),
    )
    arguments = _arguments(scheme, own)
    given = {"username": unquote(user), "password": unquote(password), "db": int(db or 0)}
    arguments.update({argument: value for argument, value in given.items() if value})
    return manager.master_for(unquote(name), **arguments).connection_pool


_OTHERS = "min_other_sentinels"


def _is_theirs(option: str) -> bool:
    return option.startswith("sentinel_")


def _arguments(scheme: str, options: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What redis-py makes of the options of a url. Of one that is given twice, the first counts."""
    arguments: dict[str, Any] = {}
    problem = ""
    try:
        arguments.update(_parse(f"{scheme}://?{urlencode(options)}"))
    except ValueError as error:
        problem = str(error)
    if problem:
        raise ValueError(problem)  # here, where nothing is behind it that shows the value
    if arguments.pop("connection_class", None) is not None:
        arguments["ssl"] = True
    return arguments


def _address(text: str) -> Address:
    host, bracket, port = text.partition("]")
    if bracket:
        host, port = host.removeprefix("["), port.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    if not host:
        raise ValueError("a url of sentinels names hosts, with commas between them")
    return host, _number(port, "port") if port else PORT


def _number(text: str, what: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"in a url of sentinels, {what} is a number")
    return int(text)
