"""The faulty network of the tests: each fault does to its request exactly what it says, and to no other."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support import frames
from tests.support.proxy import Fault, Proxy
from tests.support.servers import command, connect


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with connect(proxy.url) as client:
        yield client


def encoded(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def send(client: socket.socket, *commands: bytes) -> None:
    """Several commands in one write, as a packed batch."""
    client.sendall(b"".join(encoded(*line.split()) for line in commands))


def received(client: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer if the connection ends before."""
    data = b""
    while len(data) < size:
        try:
            part = client.recv(size - len(data))
        except ConnectionResetError:
            part = b""
        if not part:
            return data
        data += part
    return data


def counter(url: str) -> bytes:
    return command(url, "GET", "n")


def test_without_a_fault_it_only_counts(client: socket.socket, proxy: Proxy, url: str) -> None:
    send(client, b"INCR n", b"INCR n")
    assert received(client, 8) == b":1\r\n:2\r\n"
    send(client, b"GET n")
    assert received(client, 7) == b"$1\r\n2\r\n"
    assert proxy.requests == [(b"INCR", b"n"), (b"INCR", b"n"), (b"GET", b"n")]
    assert (proxy.count(), proxy.count(b"incr"), proxy.count(b"GET", b"n")) == (3, 2, 1)
    assert proxy.round_trips == 2
    assert proxy.connections == 1


def test_a_request_in_pieces_and_a_large_reply_pass_whole(client: socket.socket, proxy: Proxy) -> None:
    text = b"x" * 1_000_000
    request = encoded(b"SET", b"k", text)
    for start in (0, 3, 20):
        client.sendall(request[start : {0: 3, 3: 20}.get(start)])
    assert received(client, 5) == b"+OK\r\n"
    send(client, b"GET k")
    reply = b"$1000000\r\n" + text + b"\r\n"
    assert received(client, len(reply)) == reply
    assert proxy.count() == 2


def test_cut_before_the_server_never_sees_the_request(client: socket.socket, proxy: Proxy, url: str) -> None:
    fault = proxy.cut_before(b"EXEC")
    send(client, b"MULTI", b"INCR n", b"EXEC")
    assert b"*" not in received(client, 100)
    assert fault.hits == 1
    assert counter(url) == b"$-1\r\n"


def test_eat_reply_the_server_has_done_its_work(client: socket.socket, proxy: Proxy, url: str) -> None:
    fault = proxy.eat_reply(b"EXEC")
    send(client, b"MULTI", b"INCR n", b"EXEC")
    assert received(client, 100) == b"+OK\r\n+QUEUED\r\n"
    assert fault.hits == 1
    assert counter(url) == b"$1\r\n1\r\n"


def test_half_reply(client: socket.socket, proxy: Proxy, url: str) -> None:
    proxy.half_reply(b"GET")
    send(client, b"SET n 123456", b"GET n")
    assert received(client, 100) == b"+OK\r\n" + b"$6\r\n123456\r\n"[:6]


def test_cut_after_forwards_the_request(client: socket.socket, proxy: Proxy, url: str) -> None:
    fault = proxy.cut_after(b"RPUSH")
    send(client, b"RPUSH n 1")
    assert received(client, 100) == b""
    assert fault.hits == 1
    # Blocks until the element is there.
    assert command(url, "BLMOVE", "n", "m", "LEFT", "LEFT", "5") == b"$1\r\n1\r\n"


def test_a_held_request_arrives_after_its_client_has_left(proxy: Proxy, url: str) -> None:
    fault = proxy.hold(b"RPUSH")
    with connect(proxy.url) as client:
        send(client, b"PING", b"RPUSH n 1")
        assert received(client, 7) == b"+PONG\r\n"
        fault.wait()
    assert command(url, "EXISTS", "n") == b":0\r\n"
    fault.release()
    assert command(url, "BLMOVE", "n", "m", "LEFT", "LEFT", "5") == b"$1\r\n1\r\n"


def test_a_held_reply_has_been_executed(client: socket.socket, proxy: Proxy, url: str) -> None:
    fault = proxy.hold_reply(b"INCR")
    send(client, b"INCR n")
    fault.wait()
    assert counter(url) == b"$1\r\n1\r\n"
    fault.release()
    assert received(client, 4) == b":1\r\n"


def test_delay(client: socket.socket, proxy: Proxy) -> None:
    fault = proxy.delay(0.05, b"PING")
    start = time.monotonic()
    send(client, b"PING")
    assert received(client, 7) == b"+PONG\r\n"
    assert time.monotonic() - start >= 0.05
    assert fault.hits == 1


def test_nth_and_times(proxy: Proxy, url: str) -> None:
    fault = proxy.eat_reply(b"INCR", nth=2, times=2)
    results = []
    for _ in range(5):
        with connect(proxy.url) as client:
            send(client, b"INCR n")
            results.append(received(client, 4))
    assert results == [b":1\r\n", b"", b"", b":4\r\n", b":5\r\n"]
    assert fault.hits == 2


def test_only_its_own_connection_is_cut(proxy: Proxy) -> None:
    proxy.cut_before(b"SET")
    with connect(proxy.url) as one, connect(proxy.url) as other:
        send(one, b"SET k v")
        assert received(one, 5) == b""
        send(other, b"PING")
        assert received(other, 7) == b"+PONG\r\n"


def test_cut_all_and_refuse(client: socket.socket, proxy: Proxy) -> None:
    send(client, b"PING")
    assert received(client, 7) == b"+PONG\r\n"
    proxy.cut_all()
    assert received(client, 1) == b""
    proxy.refuse()
    with connect(proxy.url) as refused:
        assert received(refused, 1) == b""
    proxy.refuse(False)
    assert command(proxy.url, "PING") == b"+PONG\r\n"


def test_waiting_for_a_fault_that_never_strikes_fails() -> None:
    with pytest.raises(AssertionError, match="EXEC"):
        Fault("hold", (b"EXEC",), 1, 1).wait(0.01)


def test_its_threads_end_with_it(url: str) -> None:
    with Proxy(url) as proxy, connect(proxy.url) as client:
        proxy.hold(b"PING").release()
        proxy.hold(b"ECHO")
        send(client, b"PING", b"ECHO x")
        assert received(client, 7) == b"+PONG\r\n"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("proxy-")]


@pytest.mark.parametrize(
    "message",
    [
        b"+OK\r\n",
        b"-ERR x\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$4\r\n\r\n\r\n\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"(123\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"!5\r\nERR x\r\n",
        b"%1\r\n+a\r\n:1\r\n",
        b"~1\r\n:1\r\n",
        b">2\r\n+invalidate\r\n*0\r\n",
        b"|1\r\n+ttl\r\n:1\r\n*1\r\n:1\r\n",
    ],
)
def test_a_message_ends_where_the_protocol_says(message: bytes) -> None:
    buffer = bytearray()
    for position, byte in enumerate(message + b":7\r\n"):
        buffer.append(byte)
        complete = frames.split(buffer)
        assert complete == {len(message) - 1: [message], len(message) + 3: [b":7\r\n"]}.get(position, [])
