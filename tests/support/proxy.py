"""A network that fails on demand: a TCP proxy on loopback in front of a real server.

It runs in threads of its own, so that tests with and without an event loop use it alike. It knows where each
request and each reply ends, so a fault hits exactly the request it was meant for:

    with Proxy(url) as proxy:
        fault = proxy.eat_reply(b"EXEC")          # the server has executed it, the client never hears of it
        ...                                       # use proxy.url
        assert fault.hits == 1

A fault matches requests by their words (`b"EXEC"`, or several: `b"HSET", b"Player:alice"`), the first of them
in any case, and hits the first match after it was set, or the `nth`, once, or `times` times in a row.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal, Self

from tests.support import frames
from tests.support.servers import connect

Kind = Literal["cut_before", "half_request", "cut_after", "eat_reply", "half_reply", "hold", "hold_reply"]

EVENT_TIMEOUT = 30.0


class Fault:
    """One programmed fault. `hits` counts how often it struck; `wait` waits for that."""

    def __init__(
        self, kind: Kind, match: tuple[bytes, ...], nth: int, times: int, seconds: float | None = None
    ) -> None:
        self.kind, self.hits = kind, 0
        self._match, self._skip, self._times, self._seconds = match, nth - 1, times, seconds
        self._struck, self._released = threading.Event(), threading.Event()

    def wait(self, timeout: float = EVENT_TIMEOUT) -> None:
        """Waits until the fault has struck; for `hold`, until the request is being held. Seconds."""
        assert self._struck.wait(timeout), f"no request met the fault {self.kind} {self._match!r}"

    def release(self) -> None:
        """Lets go what `hold` or `hold_reply` keeps back, also if the client has left meanwhile."""
        self._released.set()

    def takes(self, words: tuple[bytes, ...]) -> bool:
        """Whether this request is to be hit; counts it. Called under the proxy's lock."""
        if self.hits >= self._times or not _matches(words, self._match):
            return False
        if self._skip:
            self._skip -= 1
            return False
        self.hits += 1
        return True

    def strike(self) -> None:
        """Tells the waiters; a hold stays here until it is released or its seconds are over."""
        self._struck.set()
        if self.kind in ("hold", "hold_reply"):
            self._released.wait(self._seconds)


class Proxy:
    """Listens on a free loopback port and forwards to `upstream` (`unix://…` or `redis://host:port`).

    `requests`: the words of every request so far, in the order of arrival.
    `round_trips`: how often a client had to wait for the server: bursts of requests, whatever their size.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._faults: list[Fault] = []
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self.requests: list[tuple[bytes, ...]] = []
        self.round_trips = 0
        self.connections = 0
        self._refusing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        user, at, _ = upstream.partition("://")[2].rpartition("@")
        self.url = f"redis://{user}{at}127.0.0.1:{self.port}/0"
        self._acceptor = _thread(self._accept, "proxy-accept")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- faults ---------------------------------------------------------------------------------------------

    def cut_before(self, *match: bytes, nth: int = 1, times: int = 1) -> Fault:
        """Closes the connection instead of forwarding the request: the server never sees it."""
        return self._program(Fault("cut_before", match, nth, times))

    def half_request(self, *match: bytes, nth: int = 1, times: int = 1) -> Fault:
        """Forwards the first half of the request, then closes the connection: the server never has the whole."""
        return self._program(Fault("half_request", match, nth, times))

    def cut_after(self, *match: bytes, nth: int = 1, times: int = 1) -> Fault:
        """Forwards the request and closes the connection without waiting: its outcome is open.

        The reply never arrives, and replies to requests just before it may not either.
        """
        return self._program(Fault("cut_after", match, nth, times))

    def eat_reply(self, *match: bytes, nth: int = 1, times: int = 1) -> Fault:
        """Closes the connection when the reply has arrived, without it: the server has done its work."""
        return self._program(Fault("eat_reply", match, nth, times))

    def half_reply(self, *match: bytes, nth: int = 1, times: int = 1) -> Fault:
        """Sends the first half of the reply, then closes the connection."""
        return self._program(Fault("half_reply", match, nth, times))

    def hold(self, *match: bytes, nth: int = 1, times: int = 1) -> Fault:
        """Keeps the request back until `release()`; it then reaches the server, however late."""
        return self._program(Fault("hold", match, nth, times))

    def hold_reply(self, *match: bytes, nth: int = 1, times: int = 1) -> Fault:
        """Keeps the reply back until `release()`: the request has been executed."""
        return self._program(Fault("hold_reply", match, nth, times))

    def delay(self, seconds: float, *match: bytes, nth: int = 1, times: int = 1) -> Fault:
        """Forwards the request so much later."""
        return self._program(Fault("hold", match, nth, times, seconds))

    def refuse(self, on: bool = True) -> None:
        """Closes new connections as soon as they are made, until `refuse(False)`."""
        self._refusing = on

    def cut_all(self) -> None:
        """Closes every open connection, as a restart of the server would."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()

    def clear(self) -> None:
        """Forgets the faults and the counts."""
        with self._lock:
            for fault in self._faults:
                fault.release()
            self._faults.clear()
            self.requests.clear()
            self.round_trips = 0

    def count(self, *match: bytes) -> int:
        """How many requests so far match."""
        with self._lock:
            return sum(_matches(words, match) for words in self.requests)

    def close(self) -> None:
        """Ends the proxy, its connections and its threads."""
        self.clear()
        # A thread that waits in accept() wakes up by shutdown, not by close.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        self.cut_all()
        for link in list(self._links):
            link.join()

    # --- the inside -----------------------------------------------------------------------------------------

    def _program(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                if self._refusing:
                    raise ConnectionRefusedError
                server = connect(self._upstream)
            except OSError:
                client.close()
                continue
            link = _Link(self, client, server)
            with self._lock:
                self._links.add(link)
            link.start()

    def fault_for(self, words: tuple[bytes, ...]) -> Fault | None:
        """Notes a request; the fault that it meets, if any."""
        with self._lock:
            self.requests.append(words)
            return next((fault for fault in self._faults if fault.takes(words)), None)

    def note_round_trip(self) -> None:
        with self._lock:
            self.round_trips += 1


class _Link:
    """One connection of a client, with its connection to the server and a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        for end in (client, server):
            end.settimeout(None)
            if end.family != socket.AF_UNIX:
                # Each reply leaves by itself: without this the second waits 40 ms for the first one's ACK.
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # One entry for each request that was forwarded and not yet answered.
        self._unanswered: deque[Fault | None] = deque()
        self._waiting = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._threads = [_thread(self._requests, "proxy-requests"), _thread(self._replies, "proxy-replies")]

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _requests(self) -> None:
        for messages in _batches(self._client):
            if not self._waiting:
                self._waiting = True
                self._proxy.note_round_trip()
            if not self._forward(messages):
                break
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_WR)

    def _forward(self, messages: list[bytes]) -> bool:
        """False if a fault ended the connection."""
        ready: list[bytes] = []
        for message in messages:
            fault = self._proxy.fault_for(frames.words(message))
            if fault is not None and fault.kind in ("cut_before", "half_request", "hold"):
                self._send(ready if fault.kind != "half_request" else [*ready, message[: len(message) // 2]])
                ready = []
                fault.strike()
                if fault.kind != "hold":
                    self.close()
                    return False
            self._unanswered.append(fault)
            ready.append(message)
            if fault is not None and fault.kind == "cut_after":
                self._send(ready)
                fault.strike()
                self.close()
                return False
        self._send(ready)
        return True

    def _send(self, messages: list[bytes]) -> None:
        with contextlib.suppress(OSError):
            self._server.sendall(b"".join(messages))

    def _replies(self) -> None:
        for messages in _batches(self._server):
            for message in messages:
                fault = None
                if not frames.is_push(message) and self._unanswered:
                    # Before the reply leaves, so that the next request is seen as a new round trip.
                    self._waiting = len(self._unanswered) > 1
                    fault = self._unanswered.popleft()
                if not self._answer(message, fault):
                    break
        self.close()
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.close()

    def _answer(self, message: bytes, fault: Fault | None) -> bool:
        """False if a fault ended the connection."""
        kind = fault.kind if fault is not None else None
        if kind == "half_reply":
            message = message[: max(len(message) // 2, 1)]
        if fault is not None and kind in ("hold_reply", "eat_reply", "half_reply"):
            fault.strike()
        if kind not in ("eat_reply", "cut_after"):
            with contextlib.suppress(OSError):
                self._client.sendall(message)
        if kind in ("eat_reply", "half_reply", "cut_after"):
            self.close()
            return False
        return True


def _batches(end: socket.socket) -> Iterator[list[bytes]]:
    """The complete messages of each read, until the connection ends."""
    buffer = bytearray()
    with contextlib.suppress(OSError):
        while data := end.recv(65536):
            buffer += data
            if messages := frames.split(buffer):
                yield messages


def _matches(words: tuple[bytes, ...], match: tuple[bytes, ...]) -> bool:
    if not match:
        return True
    return bool(words) and words[0].upper() == match[0].upper() and all(word in words for word in match[1:])


def _thread(target: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread
