"""What the numbers were measured on, and the server that they are measured on."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import redis

from rapyer_core.embedded import EmbeddedServer


@contextmanager
def server() -> Iterator[str]:
    """The address in RAPYER_URL, or that of a private server."""
    url = os.environ.get("RAPYER_URL")
    if url:
        yield url
        return
    with EmbeddedServer() as embedded:
        yield embedded.url


def machine(url: str) -> dict[str, str]:
    """Of this run. load: how many processes wanted a core in the minute before; more than 0.5 disturbs."""
    with redis.Redis.from_url(url) as client:
        info = client.info("server")
    name = "Valkey" if "valkey_version" in info else "Redis"
    found = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "server": f"{name} {info.get('valkey_version', info['redis_version'])}",
        "connection": "Unix socket" if url.startswith("unix:") else "TCP",
    }
    return found | {package: version(package) for package in ("redis", "hiredis", "cattrs")}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
