"""Stored names: segments joined by dots, and the escaping of keys. Bytes only; no shapes and no values here.

The escaping is bijective: one key has one segment, and a segment in any other form is refused.
"""

from __future__ import annotations

import re

__all__ = ["SMALL", "escape", "index", "is_own", "join", "unescape"]

EMPTY_KEY = b"%"
_SPECIAL = re.compile(rb"[%.~\x00-\x1f\x7f]")
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")
_INVALID = re.compile("[\udc80-\udcff]")
_INDEX = re.compile(rb"0|[1-9][0-9]*")
_INDEX_DIGITS = 9
SMALL = {b"%d" % number: number for number in range(100)}


def join(prefix: bytes, segment: bytes) -> bytes:
    """The name of the place `segment` below `prefix`; the root has the empty name."""
    return prefix + b"." + segment if prefix else segment


def is_own(name: bytes) -> bool:
    """Whether a name belongs to the layer above: it starts with `~`."""
    return name[:1] == b"~"


def escape(text: bytes) -> bytes:
    """The segment of a key text."""
    if not text:
        return EMPTY_KEY
    escaped = _SPECIAL.sub(lambda match: b"%%%02X" % match[0][0], text)
    try:
        escaped.decode()
    except UnicodeDecodeError:
        readable = escaped.decode("utf-8", "surrogateescape")
        return _INVALID.sub(lambda match: f"%{ord(match[0]) - 0xDC00:02X}", readable).encode()
    return escaped


def unescape(segment: bytes) -> bytes:
    """The key text of a segment. ValueError if it is not exactly what `escape` writes."""
    if segment == EMPTY_KEY:
        return b""
    if b"%" not in segment:
        text = segment
    else:
        text = _ESCAPED.sub(lambda match: bytes((int(match[1], 16),)), segment)
    if escape(text) != segment:
        raise ValueError("not a canonical key segment")
    return text


def index(segment: bytes) -> int:
    """The number a list segment or a length stands for. ValueError if it is not canonical."""
    small = SMALL.get(segment)
    if small is not None:
        return small
    if len(segment) > _INDEX_DIGITS or not _INDEX.fullmatch(segment):
        raise ValueError("not a canonical index")
    return int(segment)
