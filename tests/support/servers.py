"""Real servers for tests, each started fresh and gone afterwards. No fixtures here, and no clients."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from rapyer_core.embedded import EmbeddedServer, ServerStartFailed


@contextmanager
def running_server(
    directory: Path | None = None, *, binary: str | None = None, **options: str | int
) -> Iterator[EmbeddedServer]:
    """A server on a Unix socket; its address is `.url`.

    `options` are settings of the server, with underscores for hyphens: `running_server(maxmemory="4mb")`.
    """
    settings = {name.replace("_", "-"): value for name, value in options.items()}
    with EmbeddedServer(directory, binary=binary, options=settings) as server:
        yield server


@contextmanager
def running_tcp_server(*, binary: str | None = None, **options: str | int) -> Iterator[str]:
    """A server on a free port of the loopback interface: its `redis://` address."""
    for attempt in range(5):
        port = free_port()
        try:
            server = EmbeddedServer(binary=binary, options=_tcp_settings(port, options)).start()
        except ServerStartFailed:
            # Somebody else may have taken the port between the look and the start.
            if attempt == 4:
                raise
            continue
        with server:
            yield f"redis://127.0.0.1:{port}/0"
        return


def free_port() -> int:
    """A port of the loopback interface that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(url: str, *words: str | bytes) -> bytes:
    """Sends one command over a connection of its own and returns the start of the reply, undecoded.

    For what must not depend on any client: `command(url, "FLUSHALL")`. At most 64 KiB of a reply.
    """
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    request = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    with connect(url) as connection:
        connection.sendall(request)
        return connection.recv(65536)


def connect(url: str) -> socket.socket:
    """A raw connection to a `unix://` or `redis://` address. Nobody logs in, whatever user the address names."""
    scheme, _, rest = url.partition("://")
    rest = rest.rpartition("@")[2]
    if scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(10)
            connection.connect(unquote(rest.partition("?")[0]))
        except BaseException:
            connection.close()
            raise
        return connection
    host, _, port = rest.partition("/")[0].rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def _tcp_settings(port: int, options: dict[str, str | int]) -> dict[str, str | int]:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return {"port": port, "bind": "127.0.0.1", **named}
