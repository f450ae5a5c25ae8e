"""Packed commands: those of whole objects and of counts, ready to be sent (RESP). Pure text work.

All other commands are packed by the transports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rapyer_codecs.framing import HEADS, SHORT, framed


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


def put(key: bytes, fields: Mapping[bytes, bytes]) -> bytes:
    """Whether there is an object, and HSET of some of its fields."""
    size = len(key)
    head = b"*3\r\n$7\r\nHEXISTS\r\n$%d\r\n%b\r\n$1\r\n~\r\n*%d\r\n$4\r\nHSET\r\n$%d\r\n%b\r\n" % (
        size,
        key,
        2 + 2 * len(fields),
        size,
        key,
    )
    return head + b"".join(
        [b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(value), value) for name, value in fields.items()]
    )


def hgetall(key: bytes) -> bytes:
    """HGETALL of a key."""
    return b"*2\r\n$7\r\nHGETALL\r\n$%d\r\n%b\r\n" % (len(key), key)


def delete(key: bytes) -> bytes:
    """DEL of a key."""
    return b"*2\r\n$3\r\nDEL\r\n$%d\r\n%b\r\n" % (len(key), key)


def delete_all(keys: Sequence[bytes]) -> bytes:
    """DEL of several keys."""
    return b"*%d\r\n$3\r\nDEL\r\n%b" % (len(keys) + 1, b"".join([b"$%d\r\n%b\r\n" % (len(key), key) for key in keys]))


def end_of_front(version: bytes) -> str:
    """What ``front_of_object`` needs of a model: the field ``~``."""
    return f"\r\n$1\r\n~\r\n{framed(version)}"


_HSET = tuple(f"\r\n$4\r\nHSET\r\n{head}" for head in HEADS)


def front_of_object(key: bytes, end: str) -> str:
    """What is in front of an object's fields in an HSET of all of it (see ``rapyer_codecs.framing``)."""
    if len(key) < SHORT:
        return f"{_HSET[len(key)]}{key.decode('latin-1')}{end}"
    return f"\r\n$4\r\nHSET\r\n{framed(key)}{end}"
