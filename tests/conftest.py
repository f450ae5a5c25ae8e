"""Fixtures for every test: one server a run, empty at the start of each test that asks for its address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from rapyer_core.embedded import EmbeddedServer
from tests.support.proxy import Proxy
from tests.support.servers import command, running_server, running_tcp_server


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """The server of the run. Ask for `url` instead, unless its process matters."""
    with running_server() as server:
        yield server


@pytest.fixture
def url(server: EmbeddedServer) -> str:
    """The address (`unix://…`) of an empty server."""
    assert command(server.url, "FLUSHALL") == b"+OK\r\n"
    return server.url


@pytest.fixture(scope="session")
def _tcp_server() -> Iterator[str]:
    with running_tcp_server() as url:
        yield url


@pytest.fixture
def tcp_url(_tcp_server: str) -> str:
    """The address (`redis://127.0.0.1:…`) of an empty server."""
    assert command(_tcp_server, "FLUSHALL") == b"+OK\r\n"
    return _tcp_server


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    """A faulty network in front of the server of `url`; connect to `proxy.url`."""
    with Proxy(url) as proxy:
        yield proxy


@pytest.fixture
def redis_client(url: str) -> Iterator[redis.Redis]:
    """A plain redis-py client, to look at what is stored: bytes, nothing decoded."""
    with redis.Redis.from_url(url) as client:
        yield client
