"""Code that loads: the fields of an object to an instance of its class, for the common case. See generate.py."""

from __future__ import annotations

from .common import is_common, is_plain
from .shape import Leaf, Shape
from .source import Name, Source, identifier
from .types.mappings import MARKER, DictShape
from .types.records import Part, RecordShape
from .types.sequences import ListShape
from .types.sets import SetShape
from .types.unions import UnionShape

__all__ = ["LoadCode"]


class LoadCode:
    """Writes code that reads values from `fields`."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def parts(self, shape: RecordShape, name: Name, top: bool) -> str:
        """Code that reads the parts of a record; gives the expression of the instance.

        `top`: it is the whole object, and an absent part has its default; elsewhere the default may come from
        what holds the record, which is left to the shapes.
        """
        values = {part.name: self.part(part, name, top) for part in shape.parts}
        return self.make(shape, values)

    def make(self, shape: RecordShape, values: dict[str, str]) -> str:
        plan = shape.plan
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
        if not top:
            if not is_plain(shape):
                return self.read(shape, value, place)
            self.refuse_subclass(place)
            return self.parts(shape, place, False)
        known = self.source.constant(part, "part")
        if is_plain(shape):
            with self.source.block("try:"):
                self.refuse_subclass(place)
                self.source.line(f"{value} = {self.parts(shape, place, False)}")
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
        return value

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
        self.source.line(f"{length} = index({raw})")
        self.source.give_up_if(f"{length} > {shape.limits.fields}")
        position, item = self.source.variable("i"), self.source.variable("item")
        element = self.source.element(name, position)
        if isinstance(shape.item, Leaf):
            raws = self.source.variable("raws")
            self.source.line(f"{raws} = [fields[{element}] for {position} in range({length})]")
            self.source.line(f"{value} = [{self.decode(shape.item, 'raw')} for raw in {raws}]")
            return
        self.source.line(f"{value} = []")
        with self.source.block(f"for {position} in range({length}):"):
            place = self.source.variable("place")
            self.source.line(f"{place} = {element}")
            self.read(shape.item, item, Name(place, b""))
            self.source.line(f"{value}.append({item})")

    def dict_(self, shape: DictShape, value: str, raw: str, name: Name) -> None:
        self.source.give_up_if(f"{raw} != {MARKER!r}")
        key, item, place = self.source.variable("key"), self.source.variable("item"), self.source.variable("place")
        prefix = self.source.prefix(name)
        start = f"len({prefix})" if name.variable else str(len(name.rest) + 1)
        if isinstance(shape.value, Leaf):
            places = f"[name for name in fields if name.startswith({prefix})]"
        else:
            places = f"entries(fields, {prefix})"
        self.source.line(f"{value} = {{}}")
        with self.source.block(f"for {place} in {places}:"):
            self.source.line(f"{key} = {place}[{start}:].decode()")
            with self.source.block(f"if not {key}.isidentifier():"):
                self.source.line(f"{key} = {self.source.constant(shape.key.of, 'key_of')}({place}[{start}:])")
            self.read(shape.value, item, Name(place, b""))
            self.source.line(f"{value}[{key}] = {item}")

    def set_(self, shape: SetShape, value: str, raw: str, name: Name) -> None:
        prefix = self.source.prefix(name)
        found = self.source.variable("found")
        start = f"len({prefix})" if name.variable else str(len(name.rest) + 1)
        self.source.line(f"{found} = [name for name in fields if name.startswith({prefix})]")
        self.source.give_up_if(f"{raw} != {MARKER!r} or any([fields[name] for name in {found}])")
        key_of = self.source.constant(shape.key.of, "key_of")
        self.source.line(f"{value} = {shape.cls.__name__}([{key_of}(name[{start}:]) for name in {found}])")
        self.source.give_up_if(f"len({value}) != len({found})")
