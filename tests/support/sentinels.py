"""A primary, its replicas and the sentinels that watch them: real processes on free ports of the loopback interface.

    with Deployment() as deployment:
        session = open_session(deployment.url)
        deployment.kill_primary()          # SIGKILL; the sentinels make a replica the primary
        deployment.wait_for_failover()
        deployment.heal()                  # whatever died is back, as a replica

The sentinels notice a death after `DOWN_AFTER`, one after the other, and tell each other several times a second. No
fixtures here.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rapyer_core.embedded import EmbeddedServer, ServerStartFailed, find_server
from tests.support.servers import free_port

SERVICE = "mymaster"

DOWN_AFTER = 0.4
"""Seconds without an answer after which the first sentinel takes a server for dead."""

APART = 0.2
"""Seconds between one sentinel and the next: if all notice at once, each votes for itself, and they begin anew."""

PATIENCE = 30.0
"""Seconds until a deployment has settled, at most."""

Address = tuple[str, int]
HOST = "127.0.0.1"


class Deployment:
    """A primary with replicas, and sentinels. password, sentinel_password: what clients of either have to give.

    options: settings of the servers, with underscores for hyphens.
    """

    def __init__(
        self,
        *,
        replicas: int = 1,
        sentinels: int = 3,
        binary: str | None = None,
        password: str | None = None,
        sentinel_password: str | None = None,
        **options: str | int,
    ) -> None:
        self.password, self.sentinel_password = password, sentinel_password
        self._binary = binary or find_server()
        self._options = {name.replace("_", "-"): value for name, value in options.items()}
        self._folder = Path(tempfile.mkdtemp(prefix="rapyer-sentinels-"))
        self._stack = ExitStack()
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._count, self._sentinel_count = 1 + replicas, sentinels
        self.servers: dict[int, EmbeddedServer] = {}
        """By port; those that were killed, too."""
        self.sentinels: dict[int, EmbeddedServer] = {}
        self._configs: dict[int, Path] = {}

    def __enter__(self) -> Self:
        try:
            first = self._start_server(None)
            for _ in range(self._count - 1):
                self._start_server(first)
            for _ in range(self._sentinel_count):
                self._start_sentinel(first)
            self.wait_until_settled()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    # --- where it is ----------------------------------------------------------------------------------------

    @property
    def addresses(self) -> list[Address]:
        """Of the sentinels."""
        return [(HOST, port) for port in self.sentinels]

    @property
    def url(self) -> str:
        """`redis+sentinel://…`, with the passwords."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.addresses)
        user = f":{self.password}@" if self.password else ""
        query = f"?sentinel_password={self.sentinel_password}" if self.sentinel_password else ""
        return f"redis+sentinel://{user}{hosts}/{SERVICE}{query}"

    def master_for(self, sentinel_class: Any, **arguments: Any) -> Any:
        """A client of the primary, of redis-py's `Sentinel`, asyncio or blocking."""
        kwargs = {"password": self.sentinel_password} if self.sentinel_password else None
        manager = sentinel_class(self.addresses, sentinel_kwargs=kwargs)
        return manager.master_for(SERVICE, password=self.password, **arguments)

    def client(self, port: int) -> redis.Redis:
        """A plain client of one server."""
        return _client(port, self.password)

    @property
    def primary(self) -> int:
        """The port that most sentinels name."""
        named = [int(state["port"]) for state in self._states()]
        return max(named, key=named.count)

    def is_primary(self, port: int) -> bool:
        """Whether the server says so of itself; not if it does not answer."""
        try:
            with self.client(port) as client:
                answer: Any = client.role()
        except redis.RedisError:
            return False
        return bool(answer[0] in (b"master", "master"))

    # --- what happens to it ---------------------------------------------------------------------------------

    def kill_primary(self) -> int:
        """SIGKILL; its port."""
        port = self.primary
        os.kill(self.servers[port].pid, signal.SIGKILL)
        return port

    def kill_sentinel(self) -> int:
        """The one that is named first; its port."""
        port = next(iter(self.sentinels))
        os.kill(self.sentinels[port].pid, signal.SIGKILL)
        return port

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """All servers are stopped meanwhile (SIGSTOP): no replica can take over."""
        pids = [server.pid for server in self.servers.values()]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def fail_over(self, coordinated: bool = True) -> int:
        """Ask for a failover; the port of the former primary. Does not wait for it.

        coordinated: the primary stops writing and hands over what is missing first (Valkey 9); else it goes on writing
        until it is told to be a replica.
        """
        former = self.primary
        how = ["COORDINATED"] if coordinated else []

        def taken() -> bool:
            try:
                self._ask_sentinel(list(self.sentinels)[-1], "FAILOVER", SERVICE, *how)
            except redis.ResponseError as error:
                # It has not looked at the replicas since they came, or is not done with the failover before.
                if str(error).startswith(("NOGOODSLAVE", "INPROG")):
                    return False
                raise
            return True

        _wait(taken, "a replica that can take over")
        return former

    def wait_for_failover(self, former: int) -> int:
        """Until all sentinels that live name another primary, which says that it is one; its port."""

        def done() -> bool:
            ports = {int(state["port"]) for state in self._states()}
            return former not in ports and len(ports) == 1 and self.is_primary(*ports)

        _wait(done, "another primary")
        return self.primary

    def heal(self) -> None:
        """Start what was killed, as a replica or a sentinel, and wait until all is as at the beginning."""
        for port, server in list(self.servers.items()):
            if not server.listening:
                server.stop()
                self._start_server(self.primary, port)
        for port, sentinel in self.sentinels.items():
            if not sentinel.listening:
                sentinel.stop()
                self._forget_folder(port)
                sentinel.start()
                self._hurry(port)
        self.wait_until_settled()

    def wait_until_settled(self) -> None:
        """Until there is one primary, with all replicas in step, and all sentinels know all that."""
        _wait(self._is_settled, "a settled deployment")

    # --- the inside -----------------------------------------------------------------------------------------

    def _is_settled(self) -> bool:
        states = self._states()
        ports = {int(state["port"]) for state in states}
        if len(states) != self._sentinel_count or len(ports) != 1:
            return False
        for state in states:
            others = (state["num-slaves"], state["num-other-sentinels"], state["flags"])
            if others != (self._count - 1, self._sentinel_count - 1, "master"):
                return False
        with self.client(*ports) as client:
            # A replica counts as online before it receives anything: it has to confirm something.
            client.publish("settled", b"")
            return self.is_primary(*ports) and client.wait(self._count - 1, 1000) == self._count - 1

    def _states(self) -> list[dict[str, Any]]:
        """What each sentinel that lives says of the service."""
        states = []
        for port in self.sentinels:
            try:
                with _client(port, self.sentinel_password) as client:
                    masters: Any = client.sentinel_masters()
            except redis.RedisError:
                continue
            states.append(masters[SERVICE])
        return states

    def _ask_sentinel(self, port: int, *words: str) -> None:
        with _client(port, self.sentinel_password) as client:
            client.execute_command("SENTINEL", *words)

    def _start_server(self, primary: int | None, port: int | None = None) -> int:
        settings: dict[str, str | int] = {"bind": HOST, "repl-diskless-sync-delay": 0, **self._options}
        if self.password:
            settings |= {"requirepass": self.password, "masterauth": self.password}
        if primary is not None:
            settings["replicaof"] = f"{HOST} {primary}"
        return self._start(self.servers, self._binary, settings, port)

    def _start_sentinel(self, primary: int) -> None:
        number = len(self.sentinels)
        lines = [
            f"sentinel monitor {SERVICE} {HOST} {primary} {self._sentinel_count // 2 + 1}",
            f"sentinel down-after-milliseconds {SERVICE} {round((DOWN_AFTER + number * APART) * 1000)}",
            f"sentinel failover-timeout {SERVICE} 1500",
            f"sentinel parallel-syncs {SERVICE} {self._count}",
        ]
        if self.password:
            lines.append(f"sentinel auth-pass {SERVICE} {self.password}")
        if self.sentinel_password:
            lines += [f"requirepass {self.sentinel_password}", f"sentinel sentinel-pass {self.sentinel_password}"]
        config = self._folder / f"{number}.conf"
        config.write_text("\n".join(lines) + "\n")
        program = self._folder / f"{number}.sh"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(self._binary)} {shlex.quote(str(config))} --sentinel "$@"\n')
        program.chmod(0o700)
        port = self._start(self.sentinels, str(program), {"bind": HOST}, None)
        self._configs[port] = config
        self._hurry(port)

    def _forget_folder(self, port: int) -> None:
        """A sentinel notes all that it knows in its configuration: the folder that is gone with its process, too."""
        config = self._configs[port]
        lines = config.read_text().splitlines(keepends=True)
        config.write_text("".join(line for line in lines if not line.startswith("dir ")))

    def _start(
        self, among: dict[int, EmbeddedServer], binary: str, settings: dict[str, str | int], port: int | None
    ) -> int:
        for _ in range(5):
            chosen = port or free_port()
            server = EmbeddedServer(binary=binary, options={**settings, "port": chosen})
            try:
                server.start()
            except ServerStartFailed:
                continue  # somebody else may have taken the port between the look and the start
            self._stack.callback(server.stop)
            among[chosen] = server
            return chosen
        raise ServerStartFailed("no server started, at five ports")

    def _hurry(self, port: int) -> None:
        """Let a sentinel look and tell oftener than every second or two."""
        self._ask_sentinel(port, "DEBUG", "info-period", "200", "publish-period", "200", "ping-period", "100")


def _client(port: int, password: str | None) -> redis.Redis:
    return redis.Redis(HOST, port, password=password, socket_timeout=5, retry=Retry(NoBackoff(), 0))


def _wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"no sign of {what} within {PATIENCE:g} s"
        time.sleep(0.02)
