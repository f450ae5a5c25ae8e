"""The blocking transport: one connection and what it exchanges, and the pool of them."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from redis._parsers import _RESP2Parser

from rapyer_core.errors import PoolTimeout
from rapyer_core.requests import Command, Lost, ServerError
from rapyer_core.settings import Settings
from rapyer_core.transports.blocking import Link, Pool
from rapyer_core.transports.channel import Channel, RedisPyChannel
from tests.support.peer import Peer, answered, commands_of
from tests.support.proxy import Proxy
from tests.support.servers import free_port, running_server
from tests.sync.leaderboard import in_threads

ECHO = b"ECHO"
PING: Command = (b"PING",)


@contextmanager
def pool_of(settings: Settings) -> Iterator[Pool]:
    pool = Pool(settings)
    try:
        yield pool
    finally:
        pool.close()


@contextmanager
def link_to(pool: Pool) -> Iterator[Link]:
    link = pool.acquire()
    try:
        yield link
    finally:
        pool.release(link)


@contextmanager
def tls_server(directory: Path) -> Iterator[str]:
    """The `rediss://` address of a server with a certificate of its own."""
    binary, openssl = shutil.which("redis-server"), shutil.which("openssl")
    if binary is None or openssl is None:
        pytest.skip("needs a redis-server with TLS and openssl on PATH")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *words.split(), *files], check=True, capture_output=True)
    port = free_port()
    options: dict[str, Any] = {
        "tls_port": port,
        "bind": "127.0.0.1",
        "tls_cert_file": str(certificate),
        "tls_key_file": str(key),
        "tls_ca_cert_file": str(certificate),
        "tls_auth_clients": "no",
    }
    with running_server(binary=binary, **options):
        yield f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"


@pytest.fixture(params=["Unix socket", "TCP", "TLS", "read by redis-py"])
def pool(request: pytest.FixtureRequest, url: str, proxy: Proxy, tmp_path: Path) -> Iterator[Pool]:
    """Pools of every kind of connection."""
    if request.param == "TLS":
        with tls_server(tmp_path) as address, pool_of(Settings(address, timeout=5.0)) as made:
            yield made
    elif request.param == "read by redis-py":
        client = redis.Redis.from_url(url, parser_class=_RESP2Parser)
        with pool_of(Settings(client=client)) as made:
            yield made
        client.close()
    else:
        with pool_of(Settings(url if request.param == "Unix socket" else proxy.url)) as made:
            yield made


def wait_until_readable(pool: Pool) -> None:
    """Until something arrived on its one idle connection, the end of it for one."""
    [link] = pool._idle
    assert link._channel is not None
    assert link._channel.poll(10_000)


# -- what is exchanged --


def test_replies_come_in_order_whatever_their_kind(pool: Pool) -> None:
    pool.ask([(b"DEL", b"k", b"n")])
    commands: list[Command] = [
        (b"SET", b"k", b"v"),
        (b"INCRBY", b"n", 2),
        (b"GET", b"missing"),
        (b"LPUSH", b"k", b"x"),
        (b"MGET", b"k", b"n"),
    ]
    for counted in (2, 4, 6):
        stored, number, missing, refused, both = pool.ask(commands)
        assert (stored, number, missing, both) == (b"OK", counted, None, [b"v", b"%d" % counted])
        assert isinstance(refused, ServerError)
        assert refused.code == "WRONGTYPE"


def test_errors_inside_an_exec_are_values_too(pool: Pool) -> None:
    pool.ask([(b"DEL", b"k"), (b"SET", b"k", b"text")])
    replies = pool.ask([(b"MULTI",), (b"INCR", b"k"), (b"GET", b"k"), (b"EXEC",)])
    error, value = replies[-1]
    assert isinstance(error, ServerError)
    assert value == b"text"


@pytest.mark.parametrize("size", [1, 60_000, 70_000, 3_000_000])
def test_large_values_go_both_ways(pool: Pool, size: int) -> None:
    value = bytes(range(256)) * (size // 256 + 1)
    assert pool.ask([(ECHO, value), PING, (ECHO, value)]) == [value, b"PONG", value]
    assert pool.ask([PING]) == [b"PONG"]


def test_many_commands_at_once(pool: Pool) -> None:
    commands: list[Command] = [(ECHO, b"%d" % number) for number in range(20_000)]
    assert pool.ask(commands) == [b"%d" % number for number in range(20_000)]


def test_which_connections_are_read_past_redis_py(pool: Pool, request: pytest.FixtureRequest) -> None:
    pool.ask([PING])
    [link] = pool._idle
    own = "redis-py" not in request.node.callspec.params["pool"]
    assert type(link._channel) is (Channel if own else RedisPyChannel)
    assert isinstance(link._connection._sock, ssl.SSLSocket) == (request.node.callspec.params["pool"] == "TLS")


def test_an_argument_that_cannot_be_sent_costs_no_connection(pool: Pool) -> None:
    pool.ask([PING])
    [link] = pool._idle
    sock = link._connection._sock
    with pytest.raises(TypeError):
        pool.ask([(ECHO, None)])  # type: ignore[list-item]
    assert pool.ask([PING]) == [b"PONG"]
    assert link._connection._sock is sock


# -- a peer that is not a server --


def test_a_peer_that_reads_no_more_until_its_replies_are_read() -> None:
    """A proxy, for one. Whoever sends all of a large batch first waits for ever."""

    def one_by_one(connection: socket.socket) -> None:
        for words in commands_of(connection):
            connection.sendall(answered(words))

    value = b"x" * 100_000
    with Peer(one_by_one) as peer, pool_of(Settings(peer.url, timeout=30.0)) as pool:
        assert pool.ask([(ECHO, value)] * 200) == [value] * 200
        taken: list[Any] = []
        pool.flow([[(ECHO, value)] * 20] * 20, taken.extend)
        assert taken == [value] * 400
        assert pool.ask([PING]) == [b"PONG"]


def test_a_peer_that_reads_nothing_is_given_up_in_time() -> None:
    def greets_only(connection: socket.socket) -> None:
        for words in commands_of(connection):
            connection.sendall(answered(words))
            if words[0] == b"PING":
                done.wait(30)

    done = threading.Event()
    with Peer(greets_only) as peer, pool_of(Settings(peer.url, timeout=0.3)) as pool:
        pool.ask([PING])
        start = time.monotonic()
        with pytest.raises(Lost) as lost:
            pool.ask([(ECHO, b"x" * 10_000_000)])
        assert lost.value.timed_out
        assert lost.value.sent
        assert 0.25 < time.monotonic() - start < 2
        done.set()


def test_replies_that_trickle_have_one_timeout_together() -> None:
    def trickles(connection: socket.socket) -> None:
        for words in commands_of(connection):
            for byte in answered(words):
                connection.sendall(bytes([byte]))
                if words[0] == b"ECHO":
                    done.wait(0.1)

    done = threading.Event()
    with Peer(trickles) as peer, pool_of(Settings(peer.url, timeout=0.5)) as pool:
        assert pool.ask([PING]) == [b"PONG"]
        start = time.monotonic()
        with pytest.raises(Lost) as lost:
            pool.ask([(ECHO, b"a long reply")])
        assert lost.value.timed_out
        assert 0.45 < time.monotonic() - start < 0.95
        done.set()


@pytest.mark.parametrize("when", ["with the reply", "later"])
def test_what_comes_unasked_is_nobodys_reply(when: str) -> None:
    def talks(connection: socket.socket) -> None:
        for words in commands_of(connection):
            reply = answered(words)
            if words == [b"ECHO", b"first"]:
                if when == "with the reply":
                    connection.sendall(reply + b"+unasked\r\n")
                else:
                    connection.sendall(reply)
                    later.wait(10)
                    connection.sendall(b"+unasked\r\n")
            else:
                connection.sendall(reply)

    later = threading.Event()
    with Peer(talks) as peer, pool_of(Settings(peer.url)) as pool:
        assert pool.ask([(ECHO, b"first")]) == [b"first"]
        if when == "later":
            later.set()
            wait_until_readable(pool)
        assert pool.ask([(ECHO, b"second")]) == [b"second"]
        assert peer.connections == 2


def test_what_is_no_reply_ends_the_connection() -> None:
    def babbles(connection: socket.socket) -> None:
        for words in commands_of(connection):
            connection.sendall(b"?what\r\n" if words[0] == b"ECHO" else answered(words))

    with Peer(babbles) as peer, pool_of(Settings(peer.url)) as pool:
        for connections in (1, 2):
            with pytest.raises(Lost) as lost:
                pool.ask([(ECHO, b"x")])
            assert lost.value.sent
            assert not lost.value.timed_out
            assert peer.connections == connections
            [link] = pool._idle
            assert not link._connection.is_connected


# -- connections that end --


def test_a_connection_closed_meanwhile_is_found_before_anything_is_sent(proxy: Proxy) -> None:
    with pool_of(Settings(proxy.url)) as pool:
        for number in range(1, 6):
            assert pool.ask([(b"INCR", b"n")]) == [number]
            proxy.cut_all()
            wait_until_readable(pool)
        assert proxy.connections == 5


def test_a_link_that_was_watching_does_not_connect_anew(proxy: Proxy) -> None:
    with pool_of(Settings(proxy.url)) as pool, link_to(pool) as link:
        link.roundtrip([(b"WATCH", b"k")])
        proxy.cut_all()
        assert link._channel is not None
        assert link._channel.poll(10_000)
        with pytest.raises(Lost) as lost:
            link.roundtrip([(b"MULTI",), (b"SET", b"k", b"v"), (b"EXEC",)])
        assert not lost.value.sent
        assert proxy.count(b"EXEC") == 0
        assert link.roundtrip([(b"GET", b"k")]) == [None]


def test_a_watch_that_nobody_ended_is_lifted_for_the_next(url: str) -> None:
    with pool_of(Settings(url, max_connections=2)) as pool:
        with link_to(pool) as other, link_to(pool) as link:
            link.roundtrip([(b"WATCH", b"k")])
            other.roundtrip([(b"SET", b"k", b"v")])
            assert link.watching
            pool.release(other)
            mine = pool.acquire()
            assert mine is other
        taken: list[Any] = []
        pool.flow([[(b"MULTI",), (b"GET", b"k"), (b"EXEC",)]] * 2, taken.append)
        assert taken == [[b"OK", b"QUEUED", [b"v"]]] * 2
        assert pool.ask([(b"MULTI",), (b"GET", b"k"), (b"EXEC",)]) == taken[0]


# -- the pool --


def test_links_go_round_among_many_threads(url: str) -> None:
    with pool_of(Settings(url, max_connections=4)) as pool:

        def ask(number: int) -> None:
            for count in range(100):
                text = b"%d-%d" % (number, count)
                assert pool.ask([(ECHO, text), (b"INCR", b"n")])[0] == text

        in_threads(50, ask)
        assert pool.ask([(b"GET", b"n")]) == [b"5000"]
        assert len(pool._links) == len(pool._idle) == len(set(map(id, pool._idle))) <= 4
        assert not pool._waiting


def test_who_waits_comes_before_who_comes_later(url: str) -> None:
    """A link that was given back is not taken past the one who waits for it."""
    with pool_of(Settings(url, max_connections=1, pool_timeout=10.0)) as pool:
        order: list[str] = []
        mine = pool.acquire()

        def wait() -> None:
            link = pool.acquire()
            order.append("first")
            pool.release(link)

        thread = threading.Thread(target=wait)
        thread.start()
        end = time.monotonic() + 10
        while not pool._waiting:
            assert time.monotonic() < end
            time.sleep(0.0005)
        pool.release(mine)
        later = pool.acquire()
        order.append("later")
        pool.release(later)
        thread.join()
        assert order == ["first", "later"]


def test_a_link_given_back_while_somebody_begins_to_wait_is_never_overlooked(url: str) -> None:
    """The lock is not taken by who gives back: he and who begins to wait must see one another."""
    with pool_of(Settings(url, max_connections=2, pool_timeout=20.0)) as pool:
        slowest: list[float] = []

        def use(number: int) -> None:
            worst = 0.0
            for _ in range(300):
                start = time.monotonic()
                pool.release(pool.acquire())
                worst = max(worst, time.monotonic() - start)
            slowest.append(worst)

        in_threads(8, use)
        # Who is overlooked wakes up by himself, but only after a whole second.
        assert max(slowest) < 0.9


def test_a_link_that_was_forgotten_makes_room_for_another(url: str) -> None:
    with pool_of(Settings(url, max_connections=1, pool_timeout=0.05)) as pool:
        forgotten: Any = pool.acquire()
        with pytest.raises(PoolTimeout):
            pool.acquire()
        del forgotten
        assert pool.ask([PING]) == [b"PONG"]


def test_what_is_given_back_to_a_closed_pool_is_closed(url: str) -> None:
    pool = Pool(Settings(url))
    links = [pool.acquire() for _ in range(3)]
    for link in links:
        link.roundtrip([PING])
    pool.release(links[0])
    pool.close()
    pool.release(links[1])
    assert [link._connection.is_connected for link in links] == [False, False, True]
    pool.release(links[2])
    assert [link._connection.is_connected for link in links] == [False] * 3
    assert pool._idle == []
