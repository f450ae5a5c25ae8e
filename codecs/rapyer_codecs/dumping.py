"""Code that dumps: a value of a class to its fields, for the common case. See generate.py."""

from __future__ import annotations

from collections.abc import Callable

from .common import is_plain, is_simple, is_text
from .limits import Limits
from .places import COUNTS, MANY, Entries
from .shape import Leaf, Shape
from .source import Name, Source, identifier
from .types.mappings import MARKER, DictShape
from .types.records import RecordShape
from .types.sequences import ListShape
from .types.sets import SetShape
from .types.unions import UnionShape

__all__ = ["DumpCode"]


class DumpCode:
    """Writes code that adds the fields of a value to `out`.

    What is in fixed places waits, so that it can be checked and stored together; what lies in containers comes
    after that. `makes_out`: nothing has made `out` yet, the first fields do.
    """

    def __init__(self, source: Source, limits: Limits, makes_out: bool = False) -> None:
        self.source = source
        self.limits = limits
        self.has_out = not makes_out
        self.unchecked: dict[type, list[str]] = {}
        self.texts: list[tuple[Name, str]] = []
        self.later: list[Callable[[], None]] = []

    def record(self, shape: RecordShape, value: str, name: Name) -> None:
        """Code that adds the fields of a record to `out`."""
        self.check(value, shape.cls)
        self.parts(shape, value, name)
        self.flush()

    def parts(self, shape: RecordShape, value: str, name: Name) -> None:
        for part in shape.parts:
            got = self.source.variable(identifier(part.name))
            self.source.line(f"{got} = {self.source.attribute(value, part.name)}")
            self.part(part.shape, got, name.below(part.segment))

    def check(self, value: str, cls: type) -> None:
        known = self.source.class_name(cls)
        with self.source.block(f"if type({value}) is not {known}:"):
            self.source.line(f"check({known}, {value})")

    def check_leaf(self, leaf: Leaf, value: str) -> None:
        """Only inline code needs it: a codec checks for itself."""
        if leaf.inline is not None:
            self.check(value, leaf.inline.type)

    def part(self, shape: Shape, value: str, name: Name) -> None:
        """Code for a field of a record, or what will be written at the next flush."""
        if isinstance(shape, Leaf):
            if shape.inline is not None:
                self.unchecked.setdefault(shape.inline.type, []).append(value)
            self.texts.append((name, self.encode(shape, value)))
        elif isinstance(shape, UnionShape) and shape.optional and isinstance(shape.inner, Leaf):
            self.optional_leaf(shape.inner, value, name)
        elif is_plain(shape):
            self.nested(shape, value, name)
        elif type(shape) is ListShape and is_simple(shape.item):
            self.unchecked.setdefault(list, []).append(value)
            length = self.source.variable("length")
            self.texts.append((name, self.count(f"{length} := len({value})", length)))
            self.later.append(lambda: self.elements(shape, value, name, length))
        elif type(shape) is DictShape and is_text(shape.key.shape) and is_simple(shape.value):
            self.unchecked.setdefault(dict, []).append(value)
            self.texts.append((name, self.fixed_text(MARKER)))
            self.later.append(lambda: self.entries(shape, value, name))
        else:
            self.later.append(lambda: self.write(shape, value, name))

    def flush(self) -> None:
        """Code for all that waits."""
        self.check_waiting()
        shown = 0 if self.has_out else _IN_DISPLAY
        if not self.has_out:
            with self.source.block("out = {"):
                for name, text in self.texts[:shown]:
                    self.source.line(f"{name.code}: {text},")
            self.source.line("}")
        for name, text in self.texts[shown:]:
            self.source.line(f"out[{name.code}] = {text}")
        self.has_out = True
        later = self.later
        self.unchecked, self.texts, self.later = {}, [], []
        for write in later:
            write()

    def check_waiting(self) -> None:
        """Code that checks the types of what waits."""
        for cls, values in self.unchecked.items():
            types = " is ".join(f"type({value})" for value in values)
            with self.source.block(f"if not ({types} is {self.source.class_name(cls)}):"):
                self.source.line(f"check({self.source.class_name(cls)}, {', '.join(values)})")

    def write(self, shape: Shape, value: str, name: Name) -> None:
        """Code that adds the fields of a value to `out`, now."""
        if isinstance(shape, Leaf):
            self.check_leaf(shape, value)
            self.source.line(f"out[{name.code}] = {self.encode(shape, value)}")
        elif is_plain(shape):
            self.elsewhere(shape, value, name)
        elif isinstance(shape, UnionShape) and shape.optional and isinstance(shape.inner, Leaf):
            self.optional_leaf(shape.inner, value, name)
            self.flush()
        elif isinstance(shape, UnionShape) and shape.optional and is_plain(shape.inner):
            self.optional_record(shape.inner, value, name)
        elif isinstance(shape, SetShape) and isinstance(shape.item, Leaf):
            self.set_(shape, value, name)
        else:
            self.source.line(f"{self.source.constant(shape.write, 'write')}({value}, {name.code}, out)")

    def fixed_text(self, text: bytes) -> str:
        """An expression for a text that is always the same."""
        return repr(text)

    def count(self, given: str, length: str) -> str:
        """An expression for the text of a length. `given`: what it is the first time."""
        return f"counts[{length}] if ({given}) < {len(COUNTS)} else b'%d' % {length}"

    def encode(self, leaf: Leaf, value: str) -> str:
        """An expression for the text of a value whose type was checked, if that is not too long."""
        text = self.text(leaf, value)
        if leaf.inline is not None and leaf.inline.short:
            return text
        checked = f"text if len(text := {text}) <= {leaf.limits.value} else uncommon()"
        # No character has more than four bytes.
        return f"{text} if len({value}) <= {leaf.limits.value // 4} else {checked}" if is_text(leaf) else checked

    def text(self, leaf: Leaf, value: str) -> str:
        """The same, however long it is."""
        if leaf.inline is None:
            return f"{self.source.constant(leaf.codec.encode, 'encode')}({value})"
        return self.source.inline(leaf, leaf.inline.encode, v=value)

    def nested(self, shape: RecordShape, value: str, name: Name) -> None:
        """A record in a fixed place: its fields are written out."""
        if not shape.subclasses():
            self.check(value, shape.cls)
            self.parts(shape, value, name)
            return
        self.flush()
        with self.source.block(f"if type({value}) is {self.source.class_name(shape.cls)}:"):
            self.parts(shape, value, name)
            self.flush()
        with self.source.block("else:"):
            self.source.line(f"{self.source.constant(shape.write, 'write')}({value}, {name.code}, out)")

    def elsewhere(self, shape: RecordShape, value: str, name: Name) -> None:
        """A record in a place that comes and goes: by a function."""
        with self.source.block(f"if type({value}) is {self.source.class_name(shape.cls)}:"):
            self.source.line(f"write_{self.source.function(shape)}({value}, {name.code}, out)")
        with self.source.block("else:"):
            self.source.line(f"{self.source.constant(shape.write, 'write')}({value}, {name.code}, out)")

    def optional_leaf(self, inner: Leaf, value: str, name: Name) -> None:
        if inner.inline is not None:
            known = self.source.class_name(inner.inline.type)
            with self.source.block(f"if {value} is not None and type({value}) is not {known}:"):
                self.source.line(f"check({known}, {value})")
        self.texts.append((name, self.optional_text(inner, value)))

    def optional_text(self, inner: Leaf, value: str) -> str:
        """As `encode`, of a value that may be None."""
        text = self.encode(inner, value)
        if inner.inline is None or not inner.inline.short:
            text = f"text if (text := {text})[:1] != b'~' else b'~:' + text"
        return f"b'~' if {value} is None else {text}"

    def optional_record(self, inner: RecordShape, value: str, name: Name) -> None:
        with self.source.block(f"if {value} is None:"):
            self.source.line(f"out[{name.code}] = b'~'")
        with self.source.block(f"elif type({value}) is {self.source.class_name(inner.cls)}:"):
            self.source.line(f"out[{name.code}] = b'{{}}'")
            self.source.line(f"write_{self.source.function(inner)}({value}, {name.code}, out)")
        with self.source.block("else:"):
            self.source.line("raise Uncommon")

    def elements(self, shape: ListShape, value: str, name: Name, length: str) -> None:
        """Code for the elements of a list."""
        names, position, item = (self.source.variable(hint) for hint in ("names", "i", "item"))
        self.source.line(f"{names} = {self.source.elements(name, length)}")
        # An enumerate or zip costs as much as two elements.
        self.source.line(f"{position} = 0")
        with self.source.block(f"for {item} in {value}:"):
            self.write(shape.item, item, Name(f"{names}[{position}]", b""))
            self.source.line(f"{position} += 1")

    def entries(self, shape: DictShape, value: str, name: Name) -> None:
        """Code for the entries of a dict."""
        entries = Entries(shape.key, b"" if name.variable else name.rest + b".")
        known = self.source.constant(entries.known_name, "known")
        name_of = self.source.constant(entries.name, "name_of")
        if name.variable:
            prefix = self.source.prefix(name)
            self.entry(shape, value, lambda key: f"{prefix} + ({known}({key}) or {name_of}({key}))")
            return
        with self.source.block(f"if len({value}) <= {MANY}:"):
            self.entry(shape, value, lambda key: f"{known}({key}) or {name_of}({key})", isinstance(shape.value, Leaf))
        with self.source.block("else:"):
            start = name.rest + b"."
            self.entry(
                shape, value, lambda key: f"{start!r} + {key}.encode() if {key}.isidentifier() else {name_of}({key})"
            )

    def entry(self, shape: DictShape, value: str, name_of: Callable[[str], str], inline: bool = False) -> None:
        """Code for each entry of a dict. `name_of`: the expression of its name. `inline`: it is used once, and no
        longer than it may be.
        """
        key, item, place = self.source.variable("key"), self.source.variable("item"), self.source.variable("place")
        with self.source.block(f"for {key}, {item} in {value}.items():"):
            self.source.give_up_if(f"type({key}) is not str")
            if not inline:
                self.source.line(f"{place} = {name_of(key)}")
                self.refuse_long(place)
            self.write(shape.value, item, Name(name_of(key) if inline else place, b""))

    def refuse_long(self, place: str) -> None:
        """Half of the limit is left for what lies below."""
        self.source.give_up_if(f"len({place}) > {self.limits.name // 2}")

    def set_(self, shape: SetShape, value: str, name: Name) -> None:
        self.check(value, shape.cls)
        member, place = self.source.variable("member"), self.source.variable("place")
        prefix = self.source.prefix(name)
        segment = self.source.constant(shape.key.segment, "segment")
        count = self.source.variable("count")
        self.source.line(f"out[{name.code}] = {MARKER!r}")
        self.source.line(f"{count} = len(out)")
        with self.source.block(f"for {member} in {value}:"):
            self.source.line(f"{place} = {prefix} + {segment}({member})")
            self.refuse_long(place)
            self.source.line(f"out[{place}] = b''")
        self.source.give_up_if(f"len(out) - {count} != len({value})")


_IN_DISPLAY = 15
"""Entries of a dict display that Python makes in one step, and in the right size."""
