"""Where one message of the Redis protocol ends (RESP2 and RESP3). No sockets, no decoding of values."""

from __future__ import annotations

AGGREGATES = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}
SIZED = (b"$", b"=", b"!")


def split(buffer: bytearray) -> list[bytes]:
    """Takes every complete message off the front of the buffer; the rest stays in it."""
    messages = []
    while (end := _end_of_message(buffer, 0)) is not None:
        messages.append(bytes(buffer[:end]))
        del buffer[:end]
    return messages


def is_push(message: bytes) -> bool:
    """Whether the server sent this on its own, as an answer to no request."""
    return message.startswith(b">")


def words(request: bytes) -> tuple[bytes, ...]:
    """The words of one request as clients send them (`*2 $3 GET $1 k`); an inline one is split at spaces."""
    if not request.startswith(b"*"):
        return tuple(request.split())
    found, position = [], request.index(b"\r\n") + 2
    while position < len(request):
        line_end = request.index(b"\r\n", position)
        size = int(request[position + 1 : line_end])
        found.append(request[line_end + 2 : line_end + 2 + size])
        position = line_end + 2 + size + 2
    return tuple(found)


def commands_in(packed: bytes) -> list[tuple[bytes, ...]]:
    """The words of each of several requests."""
    found, buffer = [], bytearray(packed)
    while buffer:
        end = _end_of_message(buffer, 0)
        assert end is not None, packed
        found.append(words(bytes(buffer[:end])))
        del buffer[:end]
    return found


def _end_of_message(buffer: bytearray, start: int) -> int | None:
    """The position after the message that starts at `start`; None while it is incomplete."""
    line_end = buffer.find(b"\r\n", start)
    if line_end < 0:
        return None
    kind, position = bytes(buffer[start : start + 1]), line_end + 2
    if kind in SIZED:
        size = int(buffer[start + 1 : line_end])
        end = position if size < 0 else position + size + 2
        return end if end <= len(buffer) else None
    parts = AGGREGATES.get(kind, 0) * max(int(buffer[start + 1 : line_end]), 0) if kind in AGGREGATES else 0
    if kind == b"|":
        parts += 1  # attributes come before the value they belong to
    for _ in range(parts):
        end_of_part = _end_of_message(buffer, position)
        if end_of_part is None:
            return None
        position = end_of_part
    return position
