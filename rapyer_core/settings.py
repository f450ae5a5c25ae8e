"""Settings of a session: where the server is and how patiently it is spoken to. Pure values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rapyer_codecs.lean import dataclass
from rapyer_core.arguments import check_count, check_flag, check_seconds, is_utf8, kind_of_value
from rapyer_core.retries import DEFAULT_RETRY, LONGEST, Retry, check_retry

LONGEST_ROUND_TRIP = 1e6
"""Seconds: more than ten days. Not much more fits into what the system calls of sockets take."""


@dataclass(frozen=True, slots=True)
class Settings:
    """url: of the server. client: a redis-py client that lends address, credentials and TLS instead.

    timeout: seconds for one round trip, and for connecting. max_connections: of one session and event loop.
    pool_timeout: seconds to wait until one of them is free. retry: of commits that met other writers.
    exactly_once: the default of all writes. node: host and port, when it is one node of a cluster.
    """

    url: str | None = None
    client: Any = None
    prefix: str = ""
    timeout: float = 5.0
    max_connections: int = 100
    pool_timeout: float = 20.0
    retry: Retry = DEFAULT_RETRY
    exactly_once: bool = False
    node: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        if self.url is not None and self.client is not None:
            raise TypeError("give a url or a client, not both")
        if self.url is not None and not isinstance(self.url, str):
            raise TypeError(f"a url is a str, not {kind_of_value(self.url)}")
        if not isinstance(self.prefix, str):
            raise TypeError(f"prefix is a str, the beginning of every key, not {kind_of_value(self.prefix)}")
        if not is_utf8(self.prefix):
            raise ValueError("prefix must be encodable as UTF-8")
        check_seconds("timeout", self.timeout, LONGEST_ROUND_TRIP)
        check_seconds("pool_timeout", self.pool_timeout, LONGEST)
        check_count("max_connections", self.max_connections, "connections", 1)
        check_retry(self.retry)
        check_flag("exactly_once", self.exactly_once)

    def at(self, node: tuple[str, int]) -> Settings:
        """The same for a node of the cluster."""
        return replace(self, node=node)

    def __repr__(self) -> str:
        # The url may hold a password.
        return f"Settings(prefix={self.prefix!r}, max_connections={self.max_connections})"
