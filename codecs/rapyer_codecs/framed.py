"""Code that dumps an object to one framed text, see framing.py. The texts and checks are those of dumping.py."""

from __future__ import annotations

from collections.abc import Callable

from .common import is_plain, is_text
from .dumping import DumpCode
from .framing import (
    HEADS,
    IN_FRONT,
    SHORT,
    Frames,
    few_frames,
    frame,
    framed,
    framed_fields,
    head,
    numbered_frames,
    utf8,
)
from .limits import Limits
from .places import COUNTS, FEW
from .shape import Leaf, Shape
from .source import Name, Source
from .types.mappings import DictShape
from .types.sequences import ListShape
from .types.unions import UnionShape

__all__ = ["FramedCode"]

_COUNTS = tuple(map(framed, COUNTS))


class FramedCode(DumpCode):
    """Writes code that makes `pieces` of a whole object: first what is in fixed places, then the elements and entries
    of containers of leaves, in the order of the class; at last all else, by way of `out`.

    An expression of a text is one of pieces here: the framed text, or its head and itself.

    `fixed`: the names of the first; `containers`: the shapes and names of the second; `others`: whether there is a
    third. Known once the code is written.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        super().__init__(source, limits, makes_out=True)
        self.fixed: list[bytes] = []
        self.containers: list[tuple[ListShape | DictShape, bytes]] = []
        self._others: list[Callable[[], None]] = []
        self._counts: list[str] = []
        """The expressions of how many fields there are beside the first, as they are counted."""
        self._strings: list[tuple[str, bool]] = []
        """Values in fixed places that are str, and whether each may be None."""
        self._framed = source.constant(framed, "framed")

    @property
    def others(self) -> bool:
        return bool(self._others)

    def part(self, shape: Shape, value: str, name: Name) -> None:
        if self._is_own(shape):
            if isinstance(shape, ListShape | DictShape):
                self.containers.append((shape, name.rest))
            super().part(shape, value, name)
        else:
            self._others.append(lambda: self._other(shape, value, name))

    @staticmethod
    def _is_own(shape: Shape) -> bool:
        if is_plain(shape):
            return not shape.subclasses()
        if type(shape) is ListShape:
            return isinstance(shape.item, Leaf)
        if type(shape) is DictShape:
            return is_text(shape.key.shape) and isinstance(shape.value, Leaf)
        if isinstance(shape, UnionShape):
            return shape.optional and isinstance(shape.inner, Leaf)
        return isinstance(shape, Leaf)

    def flush(self) -> None:
        source = self.source
        self.check_waiting()
        for value, may_be_none in self._strings:
            self._to_bytes(value, may_be_none)
        self.fixed = [name.rest for name, _ in self.texts]
        with source.block("pieces = ["):
            source.line("front,")
            for name, text in self.texts:
                source.line(f"{frame(name.rest)!r}, {text},")
        source.line("]")
        for write in self.later:
            write()
        if self._others:
            source.line("out = {}")
            for write in self._others:
                write()
            source.line(f"pieces += {source.constant(framed_fields, 'framed_fields')}(out.items())")
            self._counts.append("len(out)")
        self._join()

    def _join(self) -> None:
        """Code that gives the framed object."""
        source, limits = self.source, self.limits
        source.line(f"count = {' + '.join([str(len(self.fixed)), *self._counts])}")
        source.give_up_if(f"count > {limits.fields}")
        source.line(f"pieces[0] = f'*{{{IN_FRONT} + 2 * count}}{{front}}'")
        source.line("pieces.append('\\r\\n')")
        source.line("whole = ''.join(pieces)")
        # As long as the object is not longer than a text may be, no text is.
        source.give_up_if(f"len(whole) > {limits.value}")
        source.line("return whole.encode('latin-1')")

    def _other(self, shape: Shape, value: str, name: Name) -> None:
        code = DumpCode(self.source, self.limits)
        code.part(shape, value, name)
        code.flush()

    # -- texts --

    def fixed_text(self, text: bytes) -> str:
        return repr(framed(text))

    def count(self, given: str, length: str) -> str:
        counts = self.source.constant(_COUNTS, "counts")
        return f"{counts}[{length}] if ({given}) < {len(_COUNTS)} else {self._framed}(b'%d' % {length})"

    def encode(self, leaf: Leaf, value: str) -> str:
        if is_text(leaf):
            self._strings.append((value, False))
        return ", ".join(self._pieces(leaf, value))

    def optional_text(self, inner: Leaf, value: str) -> str:
        if is_text(inner):
            self._strings.append((value, True))
            text = f"'~' if {value} is None else {value} if {value}[:1] != '~' else '~:' + {value}"
            return ", ".join(self._sized(f"text := ({text})", "text"))
        if inner.inline is not None and inner.inline.framed is not None and inner.inline.short:
            return f"{framed(b'~')!r} if {value} is None else {self.encode(inner, value)}"
        text = f"text if (text := {self.text(inner, value)})[:1] != b'~' else b'~:' + text"
        return f"{self._framed}(b'~' if {value} is None else {text})"

    def _pieces(self, leaf: Leaf, value: str) -> list[str]:
        """The expressions of the pieces of a text."""
        if is_text(leaf):
            return self._sized(value, value)
        if leaf.inline is not None and leaf.inline.framed is not None:
            return [self.source.inline(leaf, leaf.inline.framed, v=value)]
        return [f"{self._framed}({self.text(leaf, value)})"]

    def _to_bytes(self, value: str, may_be_none: bool = False) -> None:
        """Code that puts the characters of the text in the place of a str."""
        condition = f"{value} is not None and not {value}" if may_be_none else f"not {value}"
        with self.source.block(f"if {condition}.isascii():"):
            self.source.line(f"{value} = {self.source.constant(utf8, 'utf8')}({value})")

    def _sized(self, first: str, text: str) -> list[str]:
        """The pieces of a text. `first`: the expression of it that is evaluated first."""
        heads, any_head = self.source.constant(HEADS, "heads"), self.source.constant(head, "head")
        return [f"{heads}[size] if (size := len({first})) < {SHORT} else {any_head}(size)", text]

    # -- containers --

    def elements(self, shape: ListShape, value: str, name: Name, length: str) -> None:
        assert isinstance(shape.item, Leaf)
        frames, position, item = (self.source.variable(hint) for hint in ("frames", "i", "item"))
        first = self.source.constant(few_frames(name.rest), "frames")
        every = self.source.constant(numbered_frames, "numbered_frames")
        self.source.line(f"{frames} = {first} if {length} <= {FEW} else {every}({name.code}, {length})")
        self.source.line(f"{position} = 0")
        with self.source.block(f"for {item} in {value}:"):
            self._check_item(shape.item, item)
            self._add(f"{frames}[{position}]", *self._pieces(shape.item, item))
            self.source.line(f"{position} += 1")
        self._counts.append(position)

    def entries(self, shape: DictShape, value: str, name: Name) -> None:
        assert isinstance(shape.value, Leaf)
        frames = Frames(shape.key, name.rest + b".")
        known, frame_of = self.source.constant(frames.known, "known"), self.source.constant(frames.of, "frame_of")
        key, item, count = (self.source.variable(hint) for hint in ("key", "item", "count"))
        pieces = [f"{known}({key}) or {frame_of}({key})", *self._pieces(shape.value, item)]
        self.source.line(f"{count} = len(pieces)")
        with self.source.block(f"for {key}, {item} in {value}.items():"):
            self.source.give_up_if(f"type({key}) is not str")
            self._check_item(shape.value, item)
            self._add(*pieces)
        # Counted by what was written: what is sent must be as long as it says, whatever another thread does meanwhile.
        self.source.line(f"{count} = (len(pieces) - {count}) // {len(pieces)}")
        self._counts.append(count)

    def _check_item(self, leaf: Leaf, item: str) -> None:
        self.check_leaf(leaf, item)
        if is_text(leaf):
            self._to_bytes(item)

    def _add(self, *pieces: str) -> None:
        for piece in pieces:
            self.source.line(f"pieces.append({piece})")
