"""Servers whose clock can be set, by libfaketime. No fixtures here."""

from __future__ import annotations

import importlib.util
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from rapyer_core.embedded import EmbeddedServer, find_server
from tests.support.servers import running_server

_ON_PATH = [Path(f"/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1") for machine in ("x86_64", "aarch64")]


class ClockServer:
    """A server, and its clock. url: its address."""

    def __init__(self, server: EmbeddedServer, offset: Path) -> None:
        self.url = server.url
        self._offset = offset

    def jump(self, seconds: float) -> None:
        """The server's clock is so many seconds before (or, negative, behind) ours from here on."""
        _write(self._offset, seconds)

    @property
    def ahead(self) -> float:
        """How many seconds the server's clock is before that of the machine."""
        with redis.Redis.from_url(self.url) as client:
            seconds, micros = client.time()
        with running_server() as honest, redis.Redis.from_url(honest.url) as client:
            now, parts = client.time()
        return float(seconds - now + (micros - parts) / 1e6)


@contextmanager
def clock_server(directory: Path) -> Iterator[ClockServer]:
    """A server whose clock can be set; a skip that says why where that cannot be had."""
    library = _library()
    if library is None:
        pytest.skip("no libfaketime: pip install libfaketime (Linux on x86-64), or apt-get install libfaketime")
    offset, program = directory / "offset", directory / "server"
    _write(offset, 0)
    settings = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": offset,
        "FAKETIME_NO_CACHE": "1",
        # Nor can anybody set this one; the server waits by it.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    exports = "\n".join(f"export {name}={shlex.quote(str(value))}" for name, value in settings.items())
    program.write_text(f'#!/bin/sh\n{exports}\nexec {shlex.quote(find_server())} "$@"\n')
    program.chmod(0o700)
    with running_server(binary=str(program)) as server:
        made = ClockServer(server, offset)
        made.jump(1000)
        if abs(made.ahead - 1000) > 60:
            pytest.skip("libfaketime does not work with this server program on this machine")
        made.jump(0)
        yield made


def _library() -> str | None:
    # Not imported: the package would start this process anew.
    spec = importlib.util.find_spec("libfaketime")
    roots = spec.submodule_search_locations or () if spec else ()
    found = [Path(root) / "vendor" / "libfaketime" / "src" / "libfaketime.so.1" for root in roots] + _ON_PATH
    return next((str(path) for path in found if path.exists()), None)


def _write(offset: Path, seconds: float) -> None:
    # In one step: the server may read it at any time.
    fresh = offset.with_suffix(".new")
    fresh.write_text(f"{seconds:+.3f}\n")
    os.replace(fresh, offset)
