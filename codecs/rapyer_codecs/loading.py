"""Code that loads: the fields of an object to an instance of its class, for the common case. See generate.py."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

from .common import is_common, is_plain
from .places import MANY, Entries, Pickers
from .shape import Leaf, Shape
from .source import Name, Source, identifier
from .types.mappings import MARKER, DictShape
from .types.records import Part, RecordShape
from .types.sequences import ListShape
from .types.sets import SetShape
from .types.unions import UnionShape

__all__ = ["LoadCode"]


class LoadCode:
    """Writes code that reads values from `fields`.

    `complete`: every field of the class is there, or KeyError. Else an absent one has its default.
    """

    def __init__(self, source: Source, complete: bool = False) -> None:
        self.source = source
        self.complete = complete
        self.raws: dict[bytes, str] = {}
        self.tail: _Tail | None = None

    def whole(self, shape: RecordShape) -> str:
        """Code that reads a whole object; gives the expression of the instance."""
        root = Name("", b"")
        if not self.complete:
            return self.parts(shape, root, top=True)
        self.pick(list(_fixed(shape, root)))
        # Entries come last: then it is known how many there are.
        order = sorted(shape.parts, key=lambda part: _is_scanned(part.shape))
        values = {part.name: self.part(part, root, top=True) for part in order}
        return self.make(shape, {part.name: values[part.name] for part in shape.parts})

    def pick(self, fixed: list[tuple[Shape, bytes]]) -> None:
        """Code that takes out all texts in fixed places at once."""
        names = [name for shape, name in fixed if is_common(shape)]
        self.raws = {name: self.source.variable("raw") for name in names}
        if len(names) > 1:
            pick = self.source.constant(itemgetter(*names), "pick")
            self.source.line(f"{', '.join(self.raws.values())} = {pick}(fields)")
        else:
            for name, raw in self.raws.items():
                self.source.line(f"{raw} = fields[{name!r}]")
        scanned = [name for shape, name in fixed if _is_scanned(shape)]
        if len(scanned) == 1 and b"." not in scanned[0] and all(_is_counted(shape) for shape, _ in fixed):
            self.tail = _Tail(names, scanned[0])

    def parts(self, shape: RecordShape, name: Name, top: bool) -> str:
        """Code that reads the parts of a record; gives the expression of the instance.

        `top`: it is the whole object, and an absent part has its default; elsewhere the default may come from
        what holds the record, which is left to the shapes.
        """
        values = {part.name: self.part(part, name, top) for part in shape.parts}
        return self.make(shape, values)

    def make(self, shape: RecordShape, values: dict[str, str]) -> str:
        plan = shape.plan
        if plan.only_assigns:
            made = self.source.variable("made")
            self.source.line(f"{made} = new({self.source.class_name(shape.cls)})")
            for name, value in values.items():
                self.source.line(f"{self.source.attribute(made, name)} = {value}")
            return made
        simple = (
            plan.construct is None
            and plan.calls_init
            and not plan.puts_back
            and all(f.init is not None for f in plan.fields)
        )
        if not simple:
            items = ", ".join(f"{name!r}: {value}" for name, value in values.items())
            return f"{self.source.constant(plan.make, 'make')}({{{items}}})"
        arguments = ", ".join(f"{f.init}={values[f.name]}" for f in plan.fields)
        return f"{self.source.class_name(shape.cls)}({arguments})"

    def part(self, part: Part, name: Name, top: bool) -> str:
        place = name.below(part.segment)
        value = self.source.variable(identifier(part.name))
        shape = part.shape
        if place.code in map(repr, self.raws):
            self.build(shape, value, self.raws[place.rest], place)
        elif is_plain(shape) and (self.complete or not top):
            self.refuse_subclass(place)
            return self.parts(shape, place, top=False)
        elif top:
            self.optional_part(part, value, place)
        else:
            self.read(shape, value, place)
        return value

    def optional_part(self, part: Part, value: str, place: Name) -> None:
        """Code that reads a field of the whole object, which may be absent."""
        known, shape = self.source.constant(part, "part"), part.shape
        if is_plain(shape):
            with self.source.block("try:"):
                self.refuse_subclass(place)
                self.source.line(f"{value} = {self.parts(shape, place, top=False)}")
            with self.source.block("except (KeyError, Uncommon):"):
                self.source.line(f"{value} = read_part({known}, fields)")
        elif is_common(shape):
            raw = self.source.variable("raw")
            self.source.line(f"{raw} = get({place.code})")
            with self.source.block(f"if {raw} is None:"):
                self.source.line(f"{value} = read_part({known}, fields)")
            with self.source.block("else:"):
                self.build(shape, value, raw, place)
        else:
            self.source.line(f"{value} = read_part({known}, fields)")

    def refuse_subclass(self, name: Name) -> None:
        self.source.give_up_if(f"{name.code} in fields")

    def read(self, shape: Shape, value: str, name: Name) -> str:
        """Code that reads a value that must be there."""
        if is_plain(shape):
            self.refuse_subclass(name)
            self.source.line(f"{value} = read_{self.source.function(shape)}({name.code}, fields)")
        elif is_common(shape):
            raw = self.source.variable("raw")
            self.source.line(f"{raw} = fields[{name.code}]")
            self.build(shape, value, raw, name)
        else:
            self.source.line(f"{value} = read({self.source.constant(shape, 'shape')}, {name.code}, fields, None)")
        return value

    def build(self, shape: Shape, value: str, raw: str, name: Name) -> None:
        """Code that makes a value from its own text `raw` and what is below."""
        if isinstance(shape, Leaf):
            self.source.line(f"{value} = {self.decode(shape, raw)}")
        elif isinstance(shape, UnionShape):
            self.optional(shape, value, raw, name)
        elif isinstance(shape, ListShape):
            self.list_(shape, value, raw, name)
        elif isinstance(shape, DictShape):
            self.dict_(shape, value, raw, name)
        elif isinstance(shape, SetShape):
            self.set_(shape, value, raw, name)

    def decode(self, leaf: Leaf, raw: str) -> str:
        """An expression for the value of a text."""
        inline = leaf.inline
        if inline is None:
            value = f"{self.source.constant(leaf.codec.decode, 'decode')}({raw})"
        else:
            value = self.source.inline(leaf, inline.decode, raw=raw)
        if inline is not None and inline.short:
            return value
        return f"{value} if len({raw}) <= {leaf.limits.value} else uncommon()"

    def optional(self, shape: UnionShape, value: str, raw: str, name: Name) -> None:
        inner = shape.inner
        with self.source.block(f"if {raw} == b'~':"):
            self.source.line(f"{value} = None")
        with self.source.block(f"elif {raw}[:1] == b'~':"):
            self.source.line(f"{value} = read({self.source.constant(shape, 'shape')}, {name.code}, fields, None)")
        if isinstance(inner, RecordShape):
            with self.source.block(f"elif {raw} != b'{{}}':"):
                self.source.line("raise Uncommon")
            with self.source.block("else:"):
                self.source.line(f"{value} = read_{self.source.function(inner)}({name.code}, fields)")
        elif isinstance(inner, Leaf):
            with self.source.block("else:"):
                self.source.line(f"{value} = {self.decode(inner, raw)}")

    def list_(self, shape: ListShape, value: str, raw: str, name: Name) -> None:
        length = self.source.variable("length")
        self.length(length, raw)
        self.source.give_up_if(f"{length} > {shape.limits.readable}")
        if isinstance(shape.item, Leaf):
            if name.variable:
                raws = f"[fields[name] for name in numbered({name.code}, {length})]"
            else:
                raws = f"{self.source.constant(Pickers(name.rest), 'pickers')}[{length}](fields)"
                if self.tail is not None:
                    self.tail.lengths[name.rest] = length
            self.source.line(f"{value} = [{self.decode(shape.item, 'raw')} for raw in {raws}]")
            return
        item, place = self.source.variable("item"), self.source.variable("place")
        self.source.line(f"{value} = []")
        with self.source.block(f"for {place} in ({self.source.elements(name, length)})[:{length}]:"):
            self.read(shape.item, item, Name(place, b""))
            self.source.line(f"{value}.append({item})")

    def length(self, length: str, raw: str) -> None:
        """Code that reads the length of a list."""
        self.source.line(f"{length} = small if (small := small_index({raw})) is not None else index({raw})")

    def dict_(self, shape: DictShape, value: str, raw: str, name: Name) -> None:
        self.source.give_up_if(f"{raw} != {MARKER!r}")
        key, item, place = self.source.variable("key"), self.source.variable("item"), self.source.variable("place")
        self.source.line(f"{value} = {{}}")
        if isinstance(shape.value, Leaf) and not name.variable:
            self.fixed_dict(shape, value, name)
            return
        prefix = self.source.prefix(name)
        with self.source.block(f"for {place} in entries(fields, {prefix}):"):
            key_of = self.source.constant(shape.key.of, "key_of")
            self.source.line(f"{key} = {key_of}({place}[len({prefix}):])")
            self.read(shape.value, item, Name(place, b""))
            self.source.line(f"{value}[{key}] = {item}")

    def fixed_dict(self, shape: DictShape, value: str, name: Name) -> None:
        """Code for a dict of leaves in a fixed place."""
        assert isinstance(shape.value, Leaf)
        entries = Entries(shape.key, name.rest + b".")
        known, key_of = self.source.constant(entries.known_key, "known"), self.source.constant(entries.key, "key_of")
        with self.source.block(f"if len(fields) > {MANY}:"):
            self.many(shape.value, name.rest + b".", key_of, value)
        if self.tail is None:
            with self.source.block("else:"):
                self.pairs(shape.value, "fields.items()", (known, key_of), value)
            return
        with self.source.block("else:"):
            self.pairs(shape.value, f"islice(fields.items(), {self.tail.start}, None)", (known, key_of), value)
            with self.source.block(f"if len({value}) != len(fields) - {self.tail.others}:"):
                self.pairs(shape.value, "fields.items()", (known, key_of), value)

    def many(self, leaf: Leaf, prefix: bytes, key_of: str, value: str) -> None:
        """Code that takes the entries of a dict out of so many fields that most have not been met before."""
        place, raw, key = (self.source.variable(hint) for hint in ("place", "raw", "key"))
        with self.source.block(f"for {place} in [name for name in fields if name.startswith({prefix!r})]:"):
            self.source.line(f"{key} = {place}[{len(prefix)}:].decode()")
            with self.source.block(f"if not {key}.isidentifier():"):
                self.source.line(f"{key} = {key_of}({place})")
            with self.source.block(f"if {key} is not False:"):
                self.source.line(f"{raw} = fields[{place}]")
                self.source.line(f"{value}[{key}] = {self.decode(leaf, raw)}")

    def pairs(
        self, leaf: Leaf, pairs: str, functions: tuple[str, str], value: str, *, only_entries: bool = False
    ) -> None:
        """Code that takes the entries of a dict out of pairs of name and text. `functions`: from name to key.

        `only_entries`: anything else among them is left to others; else it is passed over.
        """
        place, raw, key = (self.source.variable(hint) for hint in ("place", "raw", "key"))
        with self.source.block(f"for {place}, {raw} in {pairs}:"):
            self.source.line(f"{key} = {functions[0]}({place})")
            with self.source.block(f"if {key} is None:"):
                self.source.line(f"{key} = {functions[1]}({place})")
            entry = f"{value}[{key}] = {self.decode(leaf, raw)}"
            if only_entries:
                self.source.give_up_if(f"{key} is False")
                self.source.line(entry)
                return
            with self.source.block(f"if {key} is not False:"):
                self.source.line(entry)

    def set_(self, shape: SetShape, value: str, raw: str, name: Name) -> None:
        prefix = self.source.prefix(name)
        found = self.source.variable("found")
        start = f"len({prefix})" if name.variable else str(len(name.rest) + 1)
        self.source.line(f"{found} = [name for name in fields if name.startswith({prefix})]")
        self.source.give_up_if(f"{raw} != {MARKER!r} or any([fields[name] for name in {found}])")
        key_of = self.source.constant(shape.key.of, "key_of")
        self.source.line(f"{value} = {shape.cls.__name__}([{key_of}(name[{start}:]) for name in {found}])")
        self.source.give_up_if(f"len({value}) != len({found})")


class _Tail:
    """The entries of a dict that is the only one, in fields in the order of dump: behind all that the class has before
    them. As many as there are other names tell whether that was all.
    """

    def __init__(self, names: list[bytes], name: bytes) -> None:
        self.names = names
        self.name = name
        self.lengths: dict[bytes, str] = {}
        """The variables with the lengths of the lists of the class."""

    @property
    def start(self) -> str:
        """The expression of where the entries start."""
        before = self.names.index(self.name) + 1
        lists = [length for name, length in self.lengths.items() if self.names.index(name) < before]
        return " + ".join([str(before), *lists])

    @property
    def others(self) -> str:
        """The expression of how many fields are no entries."""
        return " - ".join([str(len(self.names)), *self.lengths.values()])


def _fixed(shape: RecordShape, name: Name) -> Iterator[tuple[Shape, bytes]]:
    """The shapes and names of all fields in fixed places, those of nested records in place of their own."""
    for part in shape.parts:
        place = name.below(part.segment)
        if is_plain(part.shape):
            yield from _fixed(part.shape, place)
        else:
            yield part.shape, place.rest


def _is_scanned(shape: Shape) -> bool:
    """Whether all names must be looked through for its entries, and their number is not known."""
    return type(shape) is DictShape and is_common(shape) and isinstance(shape.value, Leaf)


def _is_counted(shape: Shape) -> bool:
    """Whether it is known how many names there are of it, the one dict aside."""
    if isinstance(shape, UnionShape):
        return shape.optional and isinstance(shape.inner, Leaf)
    if type(shape) is ListShape:
        return isinstance(shape.item, Leaf)
    return isinstance(shape, Leaf) or _is_scanned(shape)
