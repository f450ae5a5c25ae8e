"""The embedded server: private, portless, gone within a second however the process that started it ends."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rapyer_core.embedded import (
    EmbeddedServer,
    InvalidServerUrl,
    ServerNotFound,
    ServerStartFailed,
    use_embedded,
)
from tests.support.servers import command, running_server

ROOT = Path(__file__).parents[2]

# Starts a server, says where it is, and then does what the test wants.
STARTER = """
import os, signal, subprocess, sys, threading
from rapyer_core.embedded import EmbeddedServer
server = EmbeddedServer(*sys.argv[1:])
{start}
print(server.pid, server.socket_path, flush=True)
{then}
"""
WAIT = "sys.stdin.readline()"


@contextmanager
def starter(
    then: str, *arguments: str, start: str = "server.start()"
) -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """A process that has started a server: the process, the server's pid, and its socket."""
    process = subprocess.Popen(
        [sys.executable, "-c", STARTER.format(start=start, then=then), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "codecs")])},
    )
    with process:
        assert process.stdout is not None
        try:
            pid, socket_path = process.stdout.readline().split()
            yield process, int(pid), Path(socket_path)
        finally:
            process.kill()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def becomes_true(condition: Callable[[], bool], within: float = 1.0) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def value(url: str, key: str) -> bytes:
    return command(url, "GET", key)


# --- it ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signal_number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGABRT]
)
def test_server_and_folder_are_gone_within_a_second_of_a_signal(signal_number: int) -> None:
    with starter(WAIT) as (process, pid, socket_path):
        assert alive(pid)
        process.send_signal(signal_number)
        process.wait()
        assert becomes_true(lambda: not alive(pid))
        assert becomes_true(lambda: not socket_path.parent.exists())


@pytest.mark.parametrize(
    "then",
    ["", "sys.exit(3)", "os._exit(0)", "raise RuntimeError", "os.execlp('true', 'true')"],
    ids=["end of program", "sys.exit", "os._exit", "exception", "exec of another program"],
)
def test_server_and_folder_are_gone_within_a_second_of_an_exit(then: str) -> None:
    with starter(then) as (process, pid, socket_path):
        process.wait()
        assert becomes_true(lambda: not alive(pid))
        assert becomes_true(lambda: not socket_path.parent.exists())


def test_the_end_of_the_thread_that_started_it_is_not_the_end() -> None:
    in_a_thread = "t = threading.Thread(target=server.start); t.start(); t.join()"
    with starter(WAIT, start=in_a_thread) as (_, pid, socket_path):
        assert command(f"unix://{socket_path}", "PING") == b"+PONG\r\n"
        assert alive(pid)


def test_a_forked_child_does_not_keep_it_alive() -> None:
    fork = """
child = os.fork()
if child == 0:
    signal.pause()
print(child, flush=True)
sys.stdin.readline()
"""
    with starter(fork) as (process, pid, socket_path):
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            process.kill()
            process.wait()
            assert becomes_true(lambda: not alive(pid))
            assert becomes_true(lambda: not socket_path.parent.exists())
            assert alive(child)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_started_program_does_not_keep_it_alive() -> None:
    spawn = """
child = subprocess.Popen(["sleep", "60"], close_fds=False)
print(child.pid, flush=True)
sys.stdin.readline()
"""
    with starter(spawn) as (process, pid, _):
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            process.kill()
            process.wait()
            assert becomes_true(lambda: not alive(pid))
            assert alive(child)
        finally:
            os.kill(child, signal.SIGKILL)


def test_it_is_out_of_reach_of_ctrl_c_in_the_terminal() -> None:
    with running_server() as server:
        assert os.getsid(server.pid) != os.getsid(0)
        assert os.getpgid(server.pid) != os.getpgid(0)


def test_a_forked_child_uses_the_server_and_neither_its_stop_nor_its_exit_ends_it() -> None:
    with running_server() as server:
        child = os.fork()
        if child == 0:
            try:
                command(server.url, "SET", "from", "child")
                server.stop()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert value(server.url, "from") == b"$5\r\nchild\r\n"


def test_stop_ends_a_server_that_was_paused() -> None:
    server = EmbeddedServer().start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert not alive(pid)


# --- start and stop -----------------------------------------------------------------------------------------


def test_starting_twice_is_starting_once_and_stopping_twice_is_stopping_once() -> None:
    server = EmbeddedServer()
    assert not server.listening
    pid = server.start().pid
    assert server.start().pid == pid
    server.stop()
    assert not alive(pid)
    server.stop()
    with pytest.raises(ServerStartFailed, match="not running"):
        _ = server.url


def test_two_servers_share_nothing() -> None:
    with running_server() as one, running_server() as other:
        command(one.url, "SET", "k", "1")
        assert value(other.url, "k") == b"$-1\r\n"
        assert one.pid != other.pid


def test_an_ephemeral_server_forgets() -> None:
    server = EmbeddedServer()
    with server:
        command(server.url, "SET", "k", "1")
    with server:
        assert value(server.url, "k") == b"$-1\r\n"


def test_a_crashed_server_is_started_anew(tmp_path: Path) -> None:
    spec = f"embedded://{tmp_path / 'data'}"
    url = use_embedded(spec).url
    command(url, "SET", "k", "1")
    (pid,) = [int(line[11:]) for line in command(url, "INFO", "server").split() if line.startswith(b"process_id:")]
    os.kill(pid, signal.SIGKILL)
    assert becomes_true(lambda: not Path(url.removeprefix("unix://")).exists() or not answers(url))
    again = use_embedded(spec).url
    assert value(again, "k") == b"$1\r\n1\r\n"


def answers(url: str) -> bool:
    try:
        return command(url, "PING") == b"+PONG\r\n"
    except OSError:
        return False


# --- private ------------------------------------------------------------------------------------------------


def test_it_listens_on_a_private_socket_and_on_no_port() -> None:
    with running_server() as server:
        assert mode(server.socket_path.parent) == 0o700
        assert mode(server.socket_path) == 0o700
        assert command(server.url, "CONFIG", "GET", "port") == b"*2\r\n$4\r\nport\r\n$1\r\n0\r\n"
        assert command(server.url, "CONFIG", "GET", "protected-mode").endswith(b"$3\r\nyes\r\n")
        assert command(server.url, "DEBUG", "SLEEP", "0").startswith(b"-ERR DEBUG command not allowed")


def test_a_long_temporary_folder_is_avoided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with running_server() as server:
        assert command(server.url, "PING") == b"+PONG\r\n"
        assert deep not in server.socket_path.parents


def test_a_temporary_folder_of_any_name_makes_a_valid_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis

    odd = tmp_path / "a b%20#?"
    odd.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    with running_server() as server, redis.Redis.from_url(server.url) as client:
        assert odd in server.socket_path.parents
        assert client.ping()


# --- data that stays ----------------------------------------------------------------------------------------


def test_data_survive_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path / "new" / "data") as server:
        command(server.url, "SET", "k", "1")
    with running_server(tmp_path / "new" / "data") as server:
        assert value(server.url, "k") == b"$1\r\n1\r\n"


def test_data_survive_kill_9_of_the_process_and_its_directory_is_free_at_once(tmp_path: Path) -> None:
    with starter(WAIT, str(tmp_path)) as (process, pid, socket_path):
        for i in range(100):
            command(f"unix://{socket_path}", "RPUSH", "k", str(i))
        process.kill()
        process.wait()
        with running_server(tmp_path) as server:
            assert not alive(pid)
            assert command(server.url, "LLEN", "k") == b":100\r\n"


def test_a_new_directory_and_what_is_in_it_is_for_this_user_only(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        command(server.url, "SET", "k", "1")
        assert mode(tmp_path / "data") == 0o700
        assert all(not mode(path) & 0o077 for path in (tmp_path / "data").rglob("*"))


def test_an_empty_directory_is_made_private(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    with running_server(tmp_path / "data"):
        assert mode(tmp_path / "data") == 0o700


def test_a_directory_of_others_is_refused_and_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    (data / "letter.txt").touch()
    with pytest.raises(ServerStartFailed, match="chmod 700"):
        EmbeddedServer(data).start()
    assert mode(data) == 0o755
    assert [path.name for path in data.iterdir()] == ["letter.txt"]


def test_a_directory_has_one_owner_and_the_error_names_it(tmp_path: Path) -> None:
    with starter(WAIT, str(tmp_path)) as (process, _, socket_path):
        with pytest.raises(ServerStartFailed, match=rf"in use by process {process.pid}, unix://{socket_path}"):
            EmbeddedServer(tmp_path).start()
        assert command(f"unix://{socket_path}", "PING") == b"+PONG\r\n"


# --- addresses ----------------------------------------------------------------------------------------------


def test_a_process_has_one_server_for_each_address(tmp_path: Path) -> None:
    uses = [use_embedded(), use_embedded("embedded://")]
    uses += [use_embedded(f"embedded://{tmp_path}/a%20b"), use_embedded(f"embedded://{tmp_path}/./a%20b/")]
    assert uses[0].url == uses[1].url != uses[2].url == uses[3].url
    assert (tmp_path / "a b").is_dir()
    for use in uses:
        use.end()


def test_the_last_use_ends_the_server(tmp_path: Path) -> None:
    one, other = use_embedded(f"embedded://{tmp_path}/data"), use_embedded(f"embedded://{tmp_path}/data")
    command(one.url, "SET", "k", "1")
    one.end()
    one.end()
    assert value(other.url, "k") == b"$1\r\n1\r\n"
    other.end()
    assert not answers(other.url)
    with running_server(tmp_path / "data") as server:
        assert value(server.url, "k") == b"$1\r\n1\r\n"


@pytest.mark.parametrize(
    "spec",
    ["embedded:///", "embedded://data", "embedded://host/data", "embedded:///data?db=1", "redis://", ""],
)
def test_other_addresses_are_refused(spec: str) -> None:
    with pytest.raises(InvalidServerUrl, match="embedded:///absolute/directory"):
        use_embedded(spec)


# --- the binary ---------------------------------------------------------------------------------------------


def test_RAPYER_SERVER_names_the_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "my-server"
    program.write_text("#!/bin/sh\necho I am no server\n")
    program.chmod(0o700)
    monkeypatch.setenv("RAPYER_SERVER", str(program))
    with pytest.raises(ServerStartFailed, match="I am no server") as caught:
        EmbeddedServer().start()
    assert caught.value.output == "I am no server"


def test_RAPYER_SERVER_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPYER_SERVER", "/nowhere/server")
    with pytest.raises(ServerNotFound, match="RAPYER_SERVER=/nowhere/server"):
        EmbeddedServer().start()


def test_without_a_binary_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAPYER_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServerNotFound, match=r"rapyer-core\[embedded\]"):
        EmbeddedServer().start()


def test_a_binary_on_the_path_is_the_last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redis-server").write_text("#!/bin/sh\necho found on the path\n")
    (tmp_path / "redis-server").chmod(0o700)
    (tmp_path / "temporary").mkdir()
    monkeypatch.delenv("RAPYER_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServerStartFailed, match="found on the path"):
        EmbeddedServer().start()
    # Cleaning up does not depend on PATH.
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_server_that_fails_to_start_leaves_nothing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ServerStartFailed, match="no-such-setting"):
        EmbeddedServer(options={"no-such-setting": 1}).start()
    assert list(tmp_path.iterdir()) == []
