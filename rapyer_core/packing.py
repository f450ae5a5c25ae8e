"""Packed commands: those of whole objects and of counts, ready to be sent (RESP). Pure text work.

All other commands are packed by the transports.
"""

from __future__ import annotations

from collections.abc import Sequence


def exists(key: bytes) -> bytes:
    """HEXISTS of the field ``~`` of a key: whether there is an object."""
    return b"*3\r\n$7\r\nHEXISTS\r\n$%d\r\n%b\r\n$1\r\n~\r\n" % (len(key), key)


def count(key: bytes, name: bytes, by: int) -> bytes:
    """Both: whether there is an object, and HINCRBY of one of its fields."""
    text, size = b"%d" % by, len(key)
    return (
        b"*3\r\n$7\r\nHEXISTS\r\n$%d\r\n%b\r\n$1\r\n~\r\n"
        b"*4\r\n$7\r\nHINCRBY\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
        % (size, key, size, key, len(name), name, len(text), text)
    )


def put(key: bytes, name: bytes, value: bytes) -> bytes:
    """Whether there is an object, and HSET of one of its fields."""
    size = len(key)
    return (
        b"*3\r\n$7\r\nHEXISTS\r\n$%d\r\n%b\r\n$1\r\n~\r\n"
        b"*4\r\n$4\r\nHSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
        % (size, key, size, key, len(name), name, len(value), value)
    )


def hgetall(key: bytes) -> bytes:
    """HGETALL of a key."""
    return b"*2\r\n$7\r\nHGETALL\r\n$%d\r\n%b\r\n" % (len(key), key)


def replace(key: bytes, version: bytes, pieces: Sequence[bytes]) -> list[bytes]:
    """DEL of an object, and HSET of its fields, which are framed, behind the field ``~`` with its version."""
    count = 4 + len(pieces) // 3 * 2
    head = b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%b\r\n$1\r\n~\r\n$%d\r\n%b" % (count, len(key), key, len(version), version)
    return [b"*2\r\n$3\r\nDEL\r\n$%d\r\n%b\r\n" % (len(key), key), head + b"".join(pieces) + b"\r\n"]
