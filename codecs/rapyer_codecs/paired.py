"""Code that loads an object from the flat pairs of a reply: name, text, name, text, and so on. See generate.py.

A dict of the fields costs as much as the reading. As long as nothing but texts has changed since an object was written
by its framed dump, each field is where that put it: one comparison of names tells. Where elements and entries came or
went, a dict of what follows the fixed places will do.
"""

from __future__ import annotations

from collections.abc import Iterator

from .common import is_plain
from .framed import FramedCode
from .loading import LoadCode
from .places import Entries, Met, NameLists
from .shape import Leaf
from .source import Name, Source
from .types.mappings import MARKER, DictShape
from .types.records import Part, RecordShape
from .types.sequences import ListShape

__all__ = ["OWN", "PairsCode"]

OWN = 2
"""Items before the fields of the class: one field of the layer above."""


class PairsCode(LoadCode):
    """Writes code that reads a whole object from `pairs`. `layout`: the code that dumps it, already written."""

    def __init__(self, source: Source, layout: FramedCode) -> None:
        super().__init__(source, complete=True)
        self._layout = layout
        self._start = OWN + 2 * len(layout.fixed)
        self._values: dict[bytes, str] = {}
        """The variables of containers that were read."""

    def whole(self, shape: RecordShape) -> str:
        """Code that reads a whole object; gives the expression of the instance."""
        source, layout = self.source, self._layout
        source.give_up_if(f"pairs[{OWN}:{self._start}:2] != {source.constant(layout.fixed, 'fixed')}")
        self.raws = {name: source.variable("raw") for name in layout.fixed}
        if self.raws:
            source.line(f"{', '.join(self.raws.values())}, = pairs[{OWN + 1}:{self._start}:2]")
        self._values = {name: source.variable("value") for _, name in layout.containers}
        if layout.others or sum(isinstance(container, DictShape) for container, _ in layout.containers) > 1:
            self._by_name(shape)
        else:
            self._in_place(shape)
        return self.parts(shape, Name("", b""), top=False)

    def part(self, part: Part, name: Name, top: bool) -> str:
        known = self._values.get(name.below(part.segment).rest)
        return super().part(part, name, top) if known is None else known

    def refuse_subclass(self, name: Name) -> None:
        """Of records in fixed places `_by_name` does it; elsewhere nothing is there that it would find."""
        if name.variable:
            super().refuse_subclass(name)

    def _in_place(self, shape: RecordShape) -> None:
        """Code that reads the containers where they were put, if they still are there."""
        source = self.source
        for container, name in self._layout.containers:
            if isinstance(container, DictShape):
                source.give_up_if(f"{self.raws[name]} != {MARKER!r}")
        spans, conditions = self._spans()
        with source.block(f"if {' and '.join(conditions)}:"):
            for (container, name), (start, end) in zip(self._layout.containers, spans, strict=True):
                if isinstance(container, ListShape):
                    assert isinstance(container.item, Leaf)
                    texts = f"pairs[{start} + 1:{end}:2]"
                    source.line(f"{self._values[name]} = [{self.decode(container.item, 'raw')} for raw in {texts}]")
                else:
                    self._entries(container, name, start, end)
            source.line("pass")
        with source.block("else:"):
            self._by_name(shape)

    def _spans(self) -> tuple[list[tuple[str, str]], list[str]]:
        """The expressions of where each container begins and ends, and the conditions for that to be so."""
        source, containers = self.source, self._layout.containers
        lengths = {name: source.variable("length") for shape, name in containers if isinstance(shape, ListShape)}
        for name, length in lengths.items():
            self.length(length, self.raws[name])
        spans: list[tuple[str, str]] = []
        conditions: list[str] = []
        start = str(self._start)
        for shape, name in containers:
            end = source.variable("end")
            if isinstance(shape, ListShape):
                length = lengths.pop(name)
                names = source.constant(NameLists(name), "names")
                # A length that is stored may be any; no more names are made than there can be.
                conditions.append(f"({end} := {start} + 2 * {length}) <= len(pairs)")
                conditions.append(f"pairs[{start}:{end}:2] == {names}[{length}]")
            else:
                behind = "".join(f" - 2 * {length}" for length in lengths.values())
                conditions.append(f"({end} := len(pairs){behind}) >= {start}")
            spans.append((start, end))
            start = end
        return spans, [*conditions, f"len(pairs) == {start}"]

    def _entries(self, shape: DictShape, name: bytes, start: str, end: str) -> None:
        """Code that takes pairs as the entries of a dict. Anything else among them is left to others."""
        assert isinstance(shape.value, Leaf)
        source, value = self.source, self._values[name]
        names, known = source.variable("names"), source.variable("known")
        met = source.constant(Met(), "met")
        source.line(f"{names} = pairs[{start}:{end}:2]")
        # Both at once: another thread may note others meanwhile.
        source.line(f"{known}, {value} = {met}.last")
        with source.block(f"if {names} == {known}:"):
            place = source.variable("place")
            source.line(f"{value} = {value}.copy()")
            source.line(f"{place} = {start} + 1")
            # By place: to zip keys and texts costs as much as to decode these.
            with source.block(f"for key in {value}:"):
                source.line(f"raw = pairs[{place}]")
                source.line(f"{place} += 2")
                source.line(f"{value}[key] = {self.decode(shape.value, 'raw')}")
        with source.block("else:"):
            entries = Entries(shape.key, name + b".")
            key_of = source.constant(entries.known_key, "known"), source.constant(entries.key, "key_of")
            source.line(f"{value} = {{}}")
            self.pairs(shape.value, f"zip({names}, pairs[{start} + 1:{end}:2])", key_of, value, only_entries=True)
            source.line(f"{met}.note({names}, {value})")

    def _by_name(self, shape: RecordShape) -> None:
        """Code that makes `fields` of what follows the fixed places, and reads the containers from it."""
        self.source.line(f"fields = dict(zip(pairs[{self._start}::2], pairs[{self._start + 1}::2]))")
        for record in _records(shape, b""):
            self.source.give_up_if(f"{record!r} in fields")
        for container, name in self._layout.containers:
            self.build(container, self._values[name], self.raws[name], Name("", name))


def _records(shape: RecordShape, prefix: bytes) -> Iterator[bytes]:
    """The own names of records in fixed places: a field there says that it is of a subclass."""
    for part in shape.parts:
        if is_plain(part.shape):
            name = prefix + part.segment
            yield name
            yield from _records(part.shape, name + b".")
