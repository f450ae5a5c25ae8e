"""What both transports share: connection parameters, packing, and error replies as values. No waiting here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from inspect import signature
from typing import Any

import hiredis
import redis
import redis.asyncio
import redis.connection
from redis._parsers.base import BaseParser
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.backoff import NoBackoff

from rapyer_core.arguments import kind_of_value
from rapyer_core.errors import ServerRefused
from rapyer_core.requests import EXEC, MULTI, Command, Reply, ServerError
from rapyer_core.settings import Settings
from rapyer_core.transports.sentinel import MANAGED, MANAGED_TLS, SCHEMES, pool_of_url

# Retries and maintenance notifications stay off: the first would send writes twice, the second switches off
# redis-py's check for unread replies and costs an error per idle connection after a restart of the server.
# RESP2: flat replies decode faster than maps, and no push message can stand between them.
_OURS: dict[str, Any] = {
    "protocol": 2,
    "decode_responses": False,
    "health_check_interval": 0,
    "maint_notifications_config": None,
    "retry_on_timeout": False,
    "retry_on_error": [],
}
_NOT_OURS = (
    # Of a client that lends: what it needs for maintenance notifications. Asyncio connections of 8.0 do not take it.
    "maint_notifications_config",
    "orig_host_address",
    "orig_socket_timeout",
    "orig_socket_connect_timeout",
    "maint_notifications_pool_handler",
    "oss_cluster_maint_notifications_handler",
    "event_dispatcher",
    "himport_cache",
    # Of a client that Sentinel made: whom it asks before it connects. We ask by ourselves (``sentinel``).
    "connection_pool",
)

AHEAD = 8
"""Parts of a flow that are under way while replies are waited for."""

REST = 10.0
"""Seconds that a listener stays connected after the last one listened."""

RECONNECT = 0.5
"""Seconds before a listener that lost its connection connects anew."""


def connection_parameters(settings: Settings, pool_class: type[Any], module: Any) -> tuple[type[Any], dict[str, Any]]:
    """The redis-py connection class, of this module (asyncio or blocking), and its arguments."""
    client = settings.client
    if is_of_cluster(client):
        lent, arguments = _cluster_parameters(client)
    elif client is not None:
        lender = getattr(client, "connection_pool", None)
        if lender is None:
            raise TypeError(
                "client must be a redis-py client of one server, of a cluster, or of the primary that sentinels name, "
                f"Sentinel(...).master_for(name), not {kind_of_value(client)}"
            )
        lent, arguments = lender.connection_class, dict(lender.connection_kwargs)
    elif settings.url is not None and settings.url.startswith(SCHEMES):
        lender = pool_of_url(settings.url)
        lent, arguments = lender.connection_class, dict(lender.connection_kwargs)
    else:
        lent, arguments = _url_parameters(settings.url, pool_class)
    if settings.node is not None:
        if arguments.pop("path", None) is not None:
            lent = module.Connection
        arguments["host"], arguments["port"] = settings.node
    return _ours(_class_of(lent, module), arguments, settings.timeout)


def parameters_of(lender: Any, module: Any, timeout: float) -> tuple[type[Any], dict[str, Any]]:
    """The same for connections like those of a redis-py pool. timeout: seconds, for connecting."""
    return _ours(_class_of(lender.connection_class, module), dict(lender.connection_kwargs), timeout)


def _ours(connection_class: type[Any], arguments: dict[str, Any], timeout: float) -> tuple[type[Any], dict[str, Any]]:
    """As lent, but with what we see to ourselves."""
    for name in _NOT_OURS:
        arguments.pop(name, None)
    arguments.update({name: value for name, value in _OURS.items() if takes(connection_class, name)})
    arguments["socket_connect_timeout"] = timeout
    return connection_class, arguments


def _url_parameters(url: str | None, pool_class: type[Any]) -> tuple[type[Any], dict[str, Any]]:
    """The connection class and arguments that a url means. ValueError where redis-py cannot make anything of it."""
    pool: Any = None
    failed = ""
    try:
        pool = pool_class.from_url(url)
        pool.connection_class(**pool.connection_kwargs)
    except Exception as error:
        failed = type(error).__name__
    if failed:
        # Outside of the handler: what is wrong may be that a part of the password is taken for the port.
        raise ValueError(
            f"the url cannot be used ({failed}): its port is a number, characters such as / ? # @ % in a user name or "
            "password are percent-encoded, and the options behind ? are arguments of redis-py's connections"
        )
    return pool.connection_class, dict(pool.connection_kwargs)


def is_of_cluster(client: Any) -> bool:
    """Whether it is a redis-py client of a cluster."""
    return hasattr(client, "nodes_manager")


def lent_nodes(settings: Settings) -> list[tuple[str, int]]:
    """Host and port of the nodes that a client of a cluster knows; none of any other."""
    client = settings.client
    if not is_of_cluster(client):
        return []
    nodes = [*client.nodes_manager.startup_nodes.values(), *client.get_nodes()]
    return list(dict.fromkeys((node.host, int(node.port)) for node in nodes))


def own_address(settings: Settings) -> tuple[str, int]:
    """Host and port of the server that a session was told of; of a socket in the file system, this machine."""
    if settings.node is not None:
        return settings.node
    _, arguments = connection_parameters(settings, redis.ConnectionPool, redis.connection)
    return str(arguments.get("host", "127.0.0.1")), int(arguments.get("port", 6379))


def _cluster_parameters(client: Any) -> tuple[type[Any], dict[str, Any]]:
    """The connection class and arguments that a client of a cluster has for its nodes."""
    arguments = dict(client.get_connection_kwargs())
    connection_class: Any = arguments.pop("connection_class", None)
    if connection_class is None:
        # The blocking client keeps what a client of one server is made of.
        node = next(iter(client.nodes_manager.startup_nodes.values()))
        pool = redis.Redis(**{**arguments, "host": node.host, "port": node.port}).connection_pool
        connection_class, arguments = pool.connection_class, dict(pool.connection_kwargs)
    # Makes its connections ready for redis-py's own way of following a cluster.
    arguments.pop("redis_connect_func", None)
    return connection_class, {name: value for name, value in arguments.items() if takes(connection_class, name)}


def _class_of(lent: type[Any], module: Any) -> Any:
    """The class of this module that connects as the lent one does."""
    if issubclass(lent, MANAGED):
        return module.SSLConnection if issubclass(lent, MANAGED_TLS) else module.Connection
    return getattr(module, lent.__name__, lent)


def takes(connection_class: Any, name: str) -> bool:
    """Whether connections of this class have such an argument: redis-py 8.0 knows fewer than 8.1 does."""
    return name in _parameters(connection_class)


@cache
def _parameters(connection_class: Any) -> frozenset[str]:
    # Worked out once: a connection is made for each question to a sentinel.
    return frozenset(name for base in connection_class.__mro__ for name in signature(base).parameters)


# Any: hiredis's annotation wants tuples of exactly its own union of types.
_pack: Any = hiredis.pack_command


def pack(commands: Sequence[Command]) -> bytes:
    """The commands as RESP."""
    return b"".join([command if type(command) is bytes else _pack(command) for command in commands])


BEGIN, END = pack([MULTI]), pack([EXEC])
"""Around the commands of a write."""

ASKING = pack([(b"ASKING",)])
"""In front of what a node is asked for once, while the slot is on its way to it."""


_CODES: dict[type[Exception], str] = {
    kind: code for code, kind in BaseParser.EXCEPTION_CLASSES.items() if isinstance(kind, type) and code != "WRONGPASS"
}

AsError = Callable[[str], ServerError]
"""Makes a value of the text of an error reply."""


def as_error(text: str) -> ServerError:
    """The text of an error reply as a value."""
    if text.startswith("EXECABORT"):
        # What the whole of a transaction is refused for stands behind: the server became read-only meanwhile, for one.
        text = text.partition("because of: ")[2] or text
    code = text.partition(" ")[0]
    return ServerError(code if code.isupper() else "ERR", text)


def noticing(demoted: Callable[[], None]) -> AsError:
    """The same for a server that should be the primary. demoted: called when it says that it is not."""

    def error_of(text: str) -> ServerError:
        error = as_error(text)
        if error.code != "READONLY":
            return error
        demoted()
        return replace(error, replaced=True)

    return error_of


def as_reply(reply: Any, as_error: AsError = as_error) -> Reply:
    """A reply as redis-py gives it, with error replies, nested ones too, as values."""
    if isinstance(reply, Exception):
        code = _CODES.get(type(reply))
        return as_error(f"{code} {reply}" if code else str(reply))
    if isinstance(reply, list):
        return [as_reply(part, as_error) for part in reply]
    return reply


def reply_reader(as_error: AsError = as_error) -> Any:
    """A reader of hiredis to whom error replies are values: to look for them in every list costs more than to read it.

    Gives NOT_ENOUGH_DATA where a reply is not complete.
    """
    make: Any = hiredis.Reader  # its annotation wants a class of errors
    return make(protocolError=redis.InvalidResponse, replyError=as_error, notEnoughData=NOT_ENOUGH_DATA)


def refused_connection(error: redis.RedisError) -> ServerRefused | None:
    """The error for a server that refuses the connection itself (password, user), else None."""
    # Where a user name was given, redis-py says that the connection failed, because of what the server said.
    for found in (error, error.__cause__):
        if isinstance(found, redis.AuthenticationError):
            return ServerRefused(code="NOAUTH", reason="the server refused the user name or password")
        if isinstance(found, redis.ResponseError):
            return ServerRefused(code=str(found).partition(" ")[0] if str(found)[:1].isupper() else "ERR")
    return None


def backoff_free_retry(kind: type[Any]) -> Any:
    """redis-py's retry object that tries once."""
    return kind(NoBackoff(), 0)
