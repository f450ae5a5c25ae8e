"""Code that dumps an object to framed fields, see framing.py. The texts and checks are those of dumping.py."""

from __future__ import annotations

from collections.abc import Callable

from .common import is_plain, is_text
from .dumping import DumpCode
from .framing import HEADS, SHORT, Frames, few_frames, frame, framed, head_up_to, numbered_frames
from .limits import Limits
from .places import FEW
from .shape import Leaf, Shape
from .source import Name, Source
from .types.mappings import DictShape
from .types.sequences import ListShape
from .types.unions import UnionShape

__all__ = ["FramedCode"]


class FramedCode(DumpCode):
    """Writes code that makes `pieces` of a whole object: first what is in fixed places, then the elements and entries
    of containers of leaves, in the order of the class; at last all else, by way of `out`.

    `fixed`: the names of the first; `containers`: the shapes and names of the second; `others`: whether there is a
    third. Known once the code is written.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        super().__init__(source, limits, makes_out=True)
        self.fixed: list[bytes] = []
        self.containers: list[tuple[ListShape | DictShape, bytes]] = []
        self._others: list[Callable[[], None]] = []
        self._heads = source.constant(HEADS, "heads")
        self._head = source.constant(head_up_to(limits.value), "head")

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
        self.check_waiting()
        self.fixed = [name.rest for name, _ in self.texts]
        with self.source.block("pieces = ["):
            for name, text in self.texts:
                self.source.line(f"{self._piece(repr(frame(name.rest)), text)},")
        self.source.line("]")
        for write in self.later:
            write()
        if self._others:
            self.source.line("out = {}")
            for write in self._others:
                write()
            self.source.line(f"pieces += {self.source.constant(framed, 'framed')}(out.items())")

    def _other(self, shape: Shape, value: str, name: Name) -> None:
        code = DumpCode(self.source, self.limits)
        code.part(shape, value, name)
        code.flush()

    def _piece(self, name_frame: str, text: str) -> str:
        size = f"(size := len(text := ({text})))"
        return f"{name_frame}, {self._heads}[size] if {size} < {SHORT} else {self._head}(size), text"

    def encode(self, leaf: Leaf, value: str) -> str:
        """The length is looked at when the head is chosen."""
        return self.text(leaf, value)

    def elements(self, shape: ListShape, value: str, name: Name, length: str) -> None:
        assert isinstance(shape.item, Leaf)
        frames, position, item = (self.source.variable(hint) for hint in ("frames", "i", "item"))
        first = self.source.constant(few_frames(name.rest), "frames")
        every = self.source.constant(numbered_frames, "numbered_frames")
        self.source.line(f"{frames} = {first} if {length} <= {FEW} else {every}({name.code}, {length})")
        self.source.line(f"{position} = 0")
        with self.source.block(f"for {item} in {value}:"):
            self.check_leaf(shape.item, item)
            self.source.line(f"pieces += ({self._piece(f'{frames}[{position}]', self.encode(shape.item, item))})")
            self.source.line(f"{position} += 1")

    def entries(self, shape: DictShape, value: str, name: Name) -> None:
        assert isinstance(shape.value, Leaf)
        frames = Frames(shape.key, name.rest + b".")
        known, frame_of = self.source.constant(frames.known, "known"), self.source.constant(frames.of, "frame_of")
        key, item = self.source.variable("key"), self.source.variable("item")
        with self.source.block(f"for {key}, {item} in {value}.items():"):
            self.source.give_up_if(f"type({key}) is not str")
            self.check_leaf(shape.value, item)
            text = self.encode(shape.value, item)
            self.source.line(f"pieces += ({self._piece(f'{known}({key}) or {frame_of}({key})', text)})")
