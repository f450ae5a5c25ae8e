"""Fixtures for every test: one server for each program, empty at the start of each test that asks for its address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from rapyer_core.embedded import EmbeddedServer
from tests.support.builds import NAMES, Build, default_build
from tests.support.proxy import Proxy
from tests.support.rights import as_user, create_user, listed_commands
from tests.support.servers import command, running_server, running_tcp_server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--server", choices=NAMES, help="the server program that all tests run on")
    parser.addoption(
        "--restricted", action="store_true", help="log in as the user with the least rights of docs/security.md"
    )


@pytest.fixture(scope="session")
def build(request: pytest.FixtureRequest) -> Build:
    """The server program; tests that start servers of their own pass its `binary` on."""
    chosen: Build = getattr(request, "param", None) or default_build(request.config)
    if chosen.binary is None:
        pytest.skip(chosen.missing)
    return chosen


@pytest.fixture(scope="session")
def server(build: Build) -> Iterator[EmbeddedServer]:
    """The server of the run. Ask for `url` instead, unless its process matters."""
    with running_server(binary=build.binary) as server:
        yield server


@pytest.fixture
def admin_url(server: EmbeddedServer) -> str:
    """The address (`unix://…`) of an empty server, for a user who may do everything."""
    assert command(server.url, "FLUSHALL") == b"+OK\r\n"
    return server.url


@pytest.fixture
def url(admin_url: str, build: Build) -> str:
    """The address (`unix://…`) of an empty server, as a user of the library has it."""
    return _as_its_user(admin_url, build)


def _as_its_user(admin_url: str, build: Build) -> str:
    if not build.restricted:
        return admin_url
    # For each test: some change the rights of this very user.
    create_user(admin_url, listed_commands())
    return as_user(admin_url)


@pytest.fixture(scope="session")
def _tcp_server(build: Build) -> Iterator[str]:
    with running_tcp_server(binary=build.binary) as url:
        yield url


@pytest.fixture
def tcp_url(_tcp_server: str, build: Build) -> str:
    """The address (`redis://127.0.0.1:…`) of an empty server."""
    assert command(_tcp_server, "FLUSHALL") == b"+OK\r\n"
    return _as_its_user(_tcp_server, build)


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    """A faulty network in front of the server of `url`; connect to `proxy.url`."""
    with Proxy(url) as proxy:
        yield proxy


@pytest.fixture
def redis_client(admin_url: str) -> Iterator[redis.Redis]:
    """A plain redis-py client that may do everything, to look at what is stored: bytes, nothing decoded."""
    with redis.Redis.from_url(admin_url) as client:
        yield client
