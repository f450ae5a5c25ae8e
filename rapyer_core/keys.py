"""Keys: how a primary key becomes part of a Redis key and back. Pure text work."""

from __future__ import annotations

import os
import re
import threading
import time
from urllib.parse import unquote_to_bytes

_ESCAPED = re.compile(r"[{}%\x00-\x1f\x7f]")
_GLOB = re.compile(rb"([*?\[\]^\\-])")
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


is_plain = re.compile(r"[ -$&-z|~]+").fullmatch
"""Whether a text has bytes as it is: it is not empty, and has nothing to be escaped, in ASCII."""


def escape_pk(text: str) -> str:
    """``{ } %`` and control characters percent-encoded, so that a key never grows a hash tag of its own."""
    return _ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", text)


def unescape_pk(text: str) -> str:
    """The inverse of :func:`escape_pk`."""
    return unquote_to_bytes(text).decode()


def escape_glob(name: bytes) -> bytes:
    """A pattern that SCAN matches with exactly this name."""
    return _GLOB.sub(rb"\\\1", name)


class _Ids:
    """Sortable unique ids: 48 bits of milliseconds and 80 random bits, counted up within one millisecond.

    The form is ULID's (26 characters of Crockford base 32); ids of one process are strictly increasing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def new(self) -> str:
        """A fresh id."""
        value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
        with self._lock:
            if value <= self._last or value >> 80 == self._last >> 80:
                value = self._last + 1 + int.from_bytes(os.urandom(4), "big")
            self._last = value
        return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


new_id = _Ids().new


def own_key(prefix: str, key: bytes, name: str) -> bytes:
    """A key that the library keeps for one object. Its hash tag is the object's key, so that it shares the slot."""
    return b"%b~{%b}%b" % (prefix.encode(), key, name.encode())
