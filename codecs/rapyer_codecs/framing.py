r"""Framed fields: what a dump gives, each text with its length in front, ready to be joined and sent.

A field is three pieces: the frame of its name (``\r\n$5\r\nscore\r\n``), the head of its text (``$2\r\n``), the text
(``42``). A line ends where the next field's frame begins; after the last one it is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .errors import LimitExceeded
from .places import FEW, Entries, few, numbered
from .recall import Recall
from .shape import Fields, Key

__all__ = ["HEADS", "SHORT", "Frames", "few_frames", "frame", "framed", "head_up_to", "numbered_frames", "unframed"]

SHORT = 256
"""Texts that are shorter have their heads ready."""

HEADS = tuple(b"$%d\r\n" % size for size in range(SHORT))


def head_up_to(limit: int) -> Callable[[int], bytes]:
    """Gives the head of a text of any size up to a limit; LimitExceeded beyond."""

    def head(size: int) -> bytes:
        if size > limit:
            raise LimitExceeded
        return b"$%d\r\n" % size

    return head


def frame(name: bytes) -> bytes:
    """The frame of a name."""
    return b"\r\n$%d\r\n%b\r\n" % (len(name), name)


def numbered_frames(name: bytes, length: int) -> list[bytes]:
    """The frames of the names of the elements of a list."""
    return [frame(each) for each in numbered(name, length)]


def few_frames(name: bytes) -> tuple[bytes, ...]:
    """The frames of the first elements of a list in a fixed place."""
    return tuple(map(frame, few(name)))


class Frames:
    """The frames of the entries of one dict with text keys. `prefix`: of their names, with its dot."""

    def __init__(self, key: Key, prefix: bytes) -> None:
        self._entries = Entries(key, prefix)
        self._frames: Recall[str, bytes] = Recall()
        self.known = self._frames.known

    def of(self, key: str) -> bytes:
        """The frame of a key's name. LimitExceeded if that is too long."""
        made = frame(self._entries.name(key))
        return self._frames.keep(key, made) if len(key) <= FEW else made


def framed(fields: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """The pieces of fields."""
    pieces: list[Any] = []
    for name, text in fields:
        pieces += (frame(name), b"$%d\r\n" % len(text), text)
    return pieces


def unframed(pieces: Sequence[bytes]) -> Fields:
    """The fields of pieces."""
    # No name has a line end in it: what is special in keys is escaped.
    names = b"".join(pieces[::3]).split(b"\r\n")[2::3]
    return dict(zip(names, pieces[2::3], strict=True))
