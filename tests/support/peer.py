"""A peer that is not a server: it does what a test says with each connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import hiredis


class Peer:
    """Listens on loopback; `play` has each connection, in a thread of its own. `url` is its address."""

    def __init__(self, play: Callable[[socket.socket], None]) -> None:
        self._play = play
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._play(connection)
            except OSError:
                return


def commands_of(connection: socket.socket) -> Iterator[list[bytes]]:
    """What a client sends. Nothing is read ahead of what is asked for, but for 64 KB."""
    reader = hiredis.Reader()
    while data := connection.recv(65536):
        reader.feed(data)
        while (found := reader.gets()) is not False:
            yield found


def answered(words: list[bytes]) -> bytes:
    """What a server says to what a client greets with, and to PING and ECHO."""
    if words[0] == b"ECHO":
        return b"$%d\r\n%b\r\n" % (len(words[1]), words[1])
    return b"+PONG\r\n" if words[0] == b"PING" else b"+OK\r\n"
