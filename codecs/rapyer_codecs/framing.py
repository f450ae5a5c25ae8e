r"""Framed objects: all that a dump gives in one text, ready to be sent: an array of RESP.

In front are the texts of the layer above, then name and text of each field. A framed text has its length in front
(``$2\r\n42``); the frame of a name has a line end on either side (``\r\n$5\r\nscore\r\n``). While an object is framed,
the bytes of texts are characters of a str (latin-1): these are joined faster.
"""

from __future__ import annotations

from collections.abc import Iterable

from .places import FEW, Entries, few, numbered
from .recall import Recall
from .shape import Fields, Key

__all__ = [
    "HEADS",
    "IN_FRONT",
    "SHORT",
    "Frames",
    "few_frames",
    "frame",
    "framed",
    "framed_fields",
    "framed_object",
    "head",
    "numbered_frames",
    "unframed",
    "utf8",
]

IN_FRONT = 4
"""Texts of the layer above: they are given framed, each with a line end in front."""

SHORT = 256
"""Texts that are shorter have their heads ready."""

HEADS = tuple(f"${size}\r\n" for size in range(SHORT))


def framed(raw: bytes) -> str:
    """A framed text."""
    return f"${len(raw)}\r\n{raw.decode('latin-1')}"


def utf8(text: str) -> str:
    """The UTF-8 of a str."""
    return text.encode().decode("latin-1")


def head(size: int) -> str:
    """What is in front of a text of any size."""
    return f"${size}\r\n"


def frame(name: bytes) -> str:
    """The frame of a name."""
    return f"\r\n{framed(name)}\r\n"


def numbered_frames(name: bytes, length: int) -> list[str]:
    """The frames of the names of the elements of a list."""
    return [frame(each) for each in numbered(name, length)]


def few_frames(name: bytes) -> tuple[str, ...]:
    """The frames of the first elements of a list in a fixed place."""
    return tuple(map(frame, few(name)))


class Frames:
    """The frames of the entries of one dict with text keys. `prefix`: of their names, with its dot."""

    def __init__(self, key: Key, prefix: bytes) -> None:
        self._entries = Entries(key, prefix)
        self._frames: Recall[str, str] = Recall()
        self.known = self._frames.known

    def of(self, key: str) -> str:
        """The frame of a key's name. LimitExceeded if that is too long."""
        made = frame(self._entries.name(key))
        return self._frames.keep(key, made) if len(key) <= FEW else made


def framed_fields(fields: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Two pieces for each field."""
    pieces: list[str] = []
    for name, text in fields:
        pieces += (frame(name), framed(text))
    return pieces


def framed_object(front: str, fields: Fields) -> bytes:
    """All of an object. `front`: the texts in front of its fields."""
    pieces = framed_fields(fields.items())
    return f"*{IN_FRONT + len(pieces)}{front}{''.join(pieces)}\r\n".encode("latin-1")


def unframed(whole: bytes) -> Fields:
    """The fields of a framed object."""
    lines = whole.split(b"\r\n")
    count = int(lines[0][1:])
    # More of them where there are line ends in a text.
    texts = lines[2::2] if len(lines) == 2 * count + 2 else _texts(whole, count)
    return dict(zip(texts[IN_FRONT::2], texts[IN_FRONT + 1 :: 2], strict=True))


def _texts(whole: bytes, count: int) -> list[bytes]:
    texts = []
    at = whole.index(b"\n") + 1
    for _ in range(count):
        start = whole.index(b"\n", at) + 1
        end = start + int(whole[at + 1 : start - 2])
        texts.append(whole[start:end])
        at = end + 2
    return texts
