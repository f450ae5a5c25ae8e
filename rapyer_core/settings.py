"""Settings of a session: where the server is and how patiently it is spoken to. Pure values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rapyer_codecs.lean import dataclass
from rapyer_core.retries import DEFAULT_RETRY, Retry


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
        if self.max_connections < 1:
            raise ValueError("max_connections counts connections: 1 or more")
        if not self.timeout > 0 or not self.pool_timeout > 0:
            raise ValueError("timeout and pool_timeout are seconds: more than 0")

    def at(self, node: tuple[str, int]) -> Settings:
        """The same for a node of the cluster."""
        return replace(self, node=node)

    def __repr__(self) -> str:
        # The url may hold a password.
        return f"Settings(prefix={self.prefix!r}, max_connections={self.max_connections})"
