"""Straight-line Python for the common case of dumping and loading a class.

Each record class becomes two functions for any place (`write_Player(value, name, out)`, `read_Player(name,
fields)`) and, for whole objects, two with all names written out. What is not common (a subclass, an absent
field, a union of several, a wrong type) either goes to the shapes or raises; whoever calls generated code
does the same by the shapes after any exception, so that an error is worded there and generated code needs
no words. The two must agree: tests compare them.

Only code made of this module's own text is compiled. Names of fields come in as bytes literals, as checked
identifiers, or as constants; values never do.
"""

from __future__ import annotations

import builtins
import keyword
import linecache
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeGuard

from .codec import plain_type
from .names import index
from .shape import Leaf, Shape
from .stored import BAD, Stored
from .types.mappings import MARKER, DictShape
from .types.records import Part, RecordShape
from .types.sequences import ListShape
from .types.sets import SetShape
from .types.unions import UnionShape

__all__ = ["Compiled", "compile_class"]

Dump = Callable[[Any], dict[bytes, bytes]]
Load = Callable[[Mapping[bytes, bytes]], Any]


class Compiled(NamedTuple):
    """The generated functions of a class. Any exception means: ask the shapes."""

    dump: Dump
    load: Load


class _Uncommon(Exception):
    """Left to the shapes."""


def compile_class(shape: RecordShape) -> Compiled:
    """Generate the functions of a class."""
    source = _Source(shape)
    source.whole_object()
    while source.pending:
        source.record(source.pending.pop())
    namespace = source.run()
    return Compiled(namespace["dump"], namespace["load"])


# -- what generated code calls
# ---------------------------------------------------------------------------------


def _check(value: Any, cls: type) -> None:
    """A value whose type is not exactly the declared one: a view of it, or uncommon."""
    if plain_type(value) is not cls:
        raise _Uncommon


def _read(shape: Shape, name: bytes, fields: Mapping[bytes, bytes], default: Any) -> Any:
    """Read one place by its shape."""
    return _good(shape.read(name, Stored(fields), default))


def _read_part(part: Part, fields: Mapping[bytes, bytes]) -> Any:
    """Read a field of the whole object by its shape: also one under a former name, or not stored at all."""
    stored = Stored(fields)
    return _good(part.shape.read(part.place(b"", stored), stored, part.default))


def _uncommon() -> Any:
    raise _Uncommon


def _good(value: Any) -> Any:
    if value is BAD:
        raise _Uncommon
    return value


def _entries(fields: Mapping[bytes, bytes], prefix: bytes) -> dict[bytes, None]:
    """The names one segment below a prefix that ends in a dot, in stored order."""
    start = len(prefix)
    names = [name for name in fields if name.startswith(prefix)]
    return dict.fromkeys(name[: name.find(b".", start)] if b"." in name[start:] else name for name in names)


COMMON: Mapping[str, Any] = {
    "Uncommon": _Uncommon,
    "check": _check,
    "entries": _entries,
    "index": index,
    "int_digits": sys.get_int_max_str_digits,
    "read": _read,
    "uncommon": _uncommon,
    "read_part": _read_part,
}


# -- names in the code
# -----------------------------------------------------------------------------------------


class _Name(NamedTuple):
    """A stored name as an expression: a variable (none for the whole object) and bytes after it."""

    variable: str
    rest: bytes

    @property
    def code(self) -> str:
        if not self.variable:
            return repr(self.rest)
        return f"{self.variable} + {self.rest!r}" if self.rest else self.variable

    def below(self, segment: bytes) -> _Name:
        dot = b"." if self.variable or self.rest else b""
        return _Name(self.variable, self.rest + dot + segment)


@dataclass
class _Source:
    """The text of one class's functions while it is written."""

    root: RecordShape
    lines: list[str] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=lambda: dict(COMMON))
    named: dict[int, str] = field(default_factory=dict)
    pending: list[RecordShape] = field(default_factory=list)
    functions: dict[int, str] = field(default_factory=dict)
    waiting: list[tuple[str, str]] = field(default_factory=list)
    has_out: bool = True
    depth: int = 0
    variables: int = 0

    # -- writing
    # -----------------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def block(self, head: str) -> _Block:
        self.line(head)
        return _Block(self)

    def constant(self, value: Any, hint: str) -> str:
        """A name for an object that the code uses; the same one for the same object."""
        name = self.named.get(id(value))
        if name is None:
            name = self.named[id(value)] = f"k{len(self.constants)}_{hint}"
            self.constants[name] = value
        return name

    def class_name(self, cls: type) -> str:
        """A name for a class."""
        return (
            cls.__name__ if vars(builtins).get(cls.__name__) is cls else self.constant(cls, _identifier(cls.__name__))
        )

    def variable(self, hint: str) -> str:
        """A new variable. Its prefix keeps it apart from constants, whatever the field is called."""
        self.variables += 1
        return f"v{self.variables}_{hint}"

    def function(self, shape: RecordShape) -> str:
        """The name that the functions of a record class end in; they are written later."""
        if id(shape) not in self.functions:
            self.functions[id(shape)] = f"{_identifier(shape.cls.__name__)}_{len(self.functions)}"
            self.pending.append(shape)
        return self.functions[id(shape)]

    def run(self) -> dict[str, Any]:
        """Compile; the text can be seen in tracebacks."""
        text = "\n".join(self.lines) + "\n"
        filename = f"<rapyer_codecs {self.root.cls.__module__}.{self.root.cls.__qualname__}>"
        linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
        namespace = dict(self.constants)
        exec(compile(text, filename, "exec"), namespace)
        return namespace

    # -- functions
    # ---------------------------------------------------------------------------------------------

    def whole_object(self) -> None:
        limits = self.root.limits
        with self.block("def dump(value):"):
            # Formatting an int is bounded by the interpreter, unless somebody lifted that.
            with self.block(f"if not 0 < int_digits() <= {limits.digits}:"):
                self.line("raise Uncommon")
            self.has_out = False
            self.write_record(self.root, "value", _Name("", b""))
            with self.block(f"if len(out) > {limits.fields}:"):
                self.line("raise Uncommon")
            self.line("return out")
        with self.block("def load(fields):"):
            with self.block(f"if len(fields) > {limits.fields}:"):
                self.line("raise Uncommon")
            self.line("get = fields.get")
            self.line(f"return {self.read_parts(self.root, _Name('', b''), True)}")

    def record(self, shape: RecordShape) -> None:
        """The functions of a record class for any place."""
        function = self.function(shape)
        for head in (f"def write_{function}(value, name, out):", f"def read_{function}(name, fields):"):
            with self.block(head):
                with self.block(f"if name.count(b'.') > {shape.limits.depth}:"):
                    self.line("raise Uncommon")
                if head.startswith("def write"):
                    self.write_record(shape, "value", _Name("name", b""))
                else:
                    self.line("get = fields.get")
                    self.line(f"return {self.read_parts(shape, _Name('name', b''), False)}")

    # -- dump
    # --------------------------------------------------------------------------------------------------

    def write_record(self, shape: RecordShape, value: str, name: _Name) -> None:
        """Code that adds the fields of a record to `out`: the leaves between two containers in one go."""
        self.check(value, shape.cls)
        self.write_parts(shape, value, name)
        self.flush()

    def write_parts(self, shape: RecordShape, value: str, name: _Name) -> None:
        for part in shape.parts:
            got = self.variable(_identifier(part.name))
            self.line(f"{got} = {self.attribute(value, part.name)}")
            self.write_part(part.shape, got, name.below(part.segment))

    def attribute(self, value: str, name: str) -> str:
        if name.isidentifier() and not keyword.iskeyword(name):
            return f"{value}.{name}"
        return f"getattr({value}, {self.constant(name, 'field')})"

    def check(self, value: str, cls: type) -> None:
        known = self.class_name(cls)
        with self.block(f"if type({value}) is not {known}:"):
            self.line(f"check({value}, {known})")

    def check_leaf(self, leaf: Leaf, value: str) -> None:
        """Only inline code needs it: a codec checks for itself."""
        if leaf.inline is not None:
            self.check(value, leaf.inline.type)

    def write_part(self, shape: Shape, value: str, name: _Name) -> None:
        """Code for a field of a record. The text of a leaf waits, to be stored with its neighbours."""
        if isinstance(shape, Leaf):
            self.check_leaf(shape, value)
            self.waiting.append((name.code, self.encode(shape, value)))
        elif isinstance(shape, UnionShape) and shape.optional and isinstance(shape.inner, Leaf):
            self.write_optional_leaf(shape.inner, value, name)
        elif _is_plain(shape):
            self.write_nested(shape, value, name)
        else:
            self.flush()
            self.write(shape, value, name)

    def flush(self) -> None:
        """Code that stores the texts that wait."""
        if self.has_out:
            for name, text in self.waiting:
                self.line(f"out[{name}] = {text}")
        else:
            with self.block("out = {"):
                for name, text in self.waiting:
                    self.line(f"{name}: {text},")
            self.line("}")
        self.has_out = True
        self.waiting.clear()

    def write(self, shape: Shape, value: str, name: _Name) -> None:
        """Code that adds the fields of a value to `out`."""
        if isinstance(shape, Leaf):
            self.check_leaf(shape, value)
            self.line(f"out[{name.code}] = {self.encode(shape, value)}")
        elif _is_plain(shape):
            self.write_elsewhere(shape, value, name)
        elif isinstance(shape, UnionShape) and shape.optional and isinstance(shape.inner, Leaf):
            self.write_optional_leaf(shape.inner, value, name)
            self.flush()
        elif isinstance(shape, UnionShape) and shape.optional and _is_plain(shape.inner):
            self.write_optional_record(shape.inner, value, name)
        elif type(shape) is ListShape and _is_simple(shape.item):
            self.write_list(shape, value, name)
        elif type(shape) is DictShape and _is_text(shape.key.shape) and _is_simple(shape.value):
            self.write_dict(shape, value, name)
        elif isinstance(shape, SetShape) and isinstance(shape.item, Leaf):
            self.write_set(shape, value, name)
        else:
            self.line(f"{self.constant(shape.write, 'write')}({value}, {name.code}, out)")

    def encode(self, leaf: Leaf, value: str) -> str:
        """An expression for the text of a value whose type was checked."""
        inline = leaf.inline
        if inline is None:
            text = f"{self.constant(leaf.codec.encode, 'encode')}({value})"
        else:
            names = {name: self.constant(known, name) for name, known in inline.names.items()}
            text = inline.encode.format(v=value, **names)
        if inline is not None and inline.short:
            return text
        return f"text if len(text := {text}) <= {leaf.limits.value} else uncommon()"

    def write_nested(self, shape: RecordShape, value: str, name: _Name) -> None:
        """A record in a fixed place: its fields are written out."""
        if not shape.subclasses():
            self.check(value, shape.cls)
            self.write_parts(shape, value, name)
            return
        self.flush()
        with self.block(f"if type({value}) is {self.class_name(shape.cls)}:"):
            self.write_parts(shape, value, name)
            self.flush()
        with self.block("else:"):
            self.line(f"{self.constant(shape.write, 'write')}({value}, {name.code}, out)")

    def write_elsewhere(self, shape: RecordShape, value: str, name: _Name) -> None:
        """A record in a place that comes and goes: by a function."""
        with self.block(f"if type({value}) is {self.class_name(shape.cls)}:"):
            self.line(f"write_{self.function(shape)}({value}, {name.code}, out)")
        with self.block("else:"):
            self.line(f"{self.constant(shape.write, 'write')}({value}, {name.code}, out)")

    def write_optional_leaf(self, inner: Leaf, value: str, name: _Name) -> None:
        if inner.inline is not None:
            known = self.class_name(inner.inline.type)
            with self.block(f"if {value} is not None and type({value}) is not {known}:"):
                self.line(f"check({value}, {known})")
        text = self.encode(inner, value)
        if inner.inline is None or not inner.inline.short:
            text = f"text if (text := {text})[:1] != b'~' else b'~:' + text"
        self.waiting.append((name.code, f"b'~' if {value} is None else {text}"))

    def write_optional_record(self, inner: RecordShape, value: str, name: _Name) -> None:
        with self.block(f"if {value} is None:"):
            self.line(f"out[{name.code}] = b'~'")
        with self.block(f"elif type({value}) is {self.class_name(inner.cls)}:"):
            self.line(f"out[{name.code}] = b'{{}}'")
            self.line(f"write_{self.function(inner)}({value}, {name.code}, out)")
        with self.block("else:"):
            self.line("raise Uncommon")

    def write_list(self, shape: ListShape, value: str, name: _Name) -> None:
        self.check(value, list)
        position, item, place = self.variable("i"), self.variable("item"), self.variable("place")
        self.line(f"out[{name.code}] = b'%d' % len({value})")
        element = self.element(name, position)
        with self.block(f"for {position}, {item} in enumerate({value}):"):
            self.line(f"{place} = {element}")
            self.write(shape.item, item, _Name(place, b""))

    def write_dict(self, shape: DictShape, value: str, name: _Name) -> None:
        self.check(value, dict)
        key, item, place = self.variable("key"), self.variable("item"), self.variable("place")
        segment = self.constant(shape.key.segment, "segment")
        self.line(f"out[{name.code}] = {MARKER!r}")
        prefix = self.prefix(name)
        with self.block(f"for {key}, {item} in {value}.items():"):
            # An identifier has nothing to escape.
            plain = f"type({key}) is str and {key}.isidentifier()"
            self.line(f"{place} = {prefix} + ({key}.encode() if {plain} else {segment}({key}))")
            self.refuse_long(place)
            self.write(shape.value, item, _Name(place, b""))

    def refuse_long(self, place: str) -> None:
        """Half of the limit is left for what lies below."""
        with self.block(f"if len({place}) > {self.root.limits.name // 2}:"):
            self.line("raise Uncommon")

    def write_set(self, shape: SetShape, value: str, name: _Name) -> None:
        self.check(value, shape.cls)
        member, place = self.variable("member"), self.variable("place")
        prefix = self.prefix(name)
        segment = self.constant(shape.key.segment, "segment")
        count = self.variable("count")
        self.line(f"out[{name.code}] = {MARKER!r}")
        self.line(f"{count} = len(out)")
        with self.block(f"for {member} in {value}:"):
            self.line(f"{place} = {prefix} + {segment}({member})")
            self.refuse_long(place)
            self.line(f"out[{place}] = b''")
        with self.block(f"if len(out) - {count} != len({value}):"):
            self.line("raise Uncommon")

    def element(self, name: _Name, position: str) -> str:
        """The expression of the name of an element."""
        if name.variable:
            return f"{self.prefix(name)} + b'%d' % {position}"
        return f"{name.rest.replace(b'%', b'%%') + b'.%d'!r} % {position}"

    def prefix(self, name: _Name) -> str:
        """The name with its dot, worked out once."""
        dotted = name._replace(rest=name.rest + b".")
        if not name.variable:
            return dotted.code
        prefix = self.variable("prefix")
        self.line(f"{prefix} = {dotted.code}")
        return prefix

    # -- load
    # --------------------------------------------------------------------------------------------------

    def read_parts(self, shape: RecordShape, name: _Name, top: bool) -> str:
        """Code that reads the parts of a record; gives the expression of the instance.

        `top`: it is the whole object, and an absent part has its default; elsewhere the default may come from
        what holds the record, which is left to the shapes.
        """
        values = {part.name: self.read_part(part, name, top) for part in shape.parts}
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
            return f"{self.constant(plan.make, 'make')}({{{items}}})"
        arguments = ", ".join(f"{f.init}={values[f.name]}" for f in plan.fields)
        return f"{self.class_name(shape.cls)}({arguments})"

    def read_part(self, part: Part, name: _Name, top: bool) -> str:
        place = name.below(part.segment)
        value = self.variable(_identifier(part.name))
        shape = part.shape
        if not top:
            if not _is_plain(shape):
                return self.read(shape, value, place)
            self.refuse_subclass(place)
            return self.read_parts(shape, place, False)
        known = self.constant(part, "part")
        if _is_plain(shape):
            with self.block("try:"):
                self.refuse_subclass(place)
                self.line(f"{value} = {self.read_parts(shape, place, False)}")
            with self.block("except (KeyError, Uncommon):"):
                self.line(f"{value} = read_part({known}, fields)")
        elif _is_common(shape):
            raw = self.variable("raw")
            self.line(f"{raw} = get({place.code})")
            with self.block(f"if {raw} is None:"):
                self.line(f"{value} = read_part({known}, fields)")
            with self.block("else:"):
                self.build(shape, value, raw, place)
        else:
            self.line(f"{value} = read_part({known}, fields)")
        return value

    def refuse_subclass(self, name: _Name) -> None:
        with self.block(f"if {name.code} in fields:"):
            self.line("raise Uncommon")

    def read(self, shape: Shape, value: str, name: _Name) -> str:
        """Code that reads a value that must be there."""
        if _is_plain(shape):
            self.refuse_subclass(name)
            self.line(f"{value} = read_{self.function(shape)}({name.code}, fields)")
        elif _is_common(shape):
            raw = self.variable("raw")
            self.line(f"{raw} = fields[{name.code}]")
            self.build(shape, value, raw, name)
        else:
            self.line(f"{value} = read({self.constant(shape, 'shape')}, {name.code}, fields, None)")
        return value

    def build(self, shape: Shape, value: str, raw: str, name: _Name) -> None:
        """Code that makes a value from its own text `raw` and what is below."""
        if isinstance(shape, Leaf):
            self.line(f"{value} = {self.decode(shape, raw)}")
        elif isinstance(shape, UnionShape):
            self.build_optional(shape, value, raw, name)
        elif isinstance(shape, ListShape):
            self.build_list(shape, value, raw, name)
        elif isinstance(shape, DictShape):
            self.build_dict(shape, value, raw, name)
        elif isinstance(shape, SetShape):
            self.build_set(shape, value, raw, name)

    def decode(self, leaf: Leaf, raw: str) -> str:
        """An expression for the value of a text."""
        inline = leaf.inline
        if inline is None:
            value = f"{self.constant(leaf.codec.decode, 'decode')}({raw})"
        else:
            names = {name: self.constant(known, name) for name, known in inline.names.items()}
            value = inline.decode.format(raw=raw, **names)
        if inline is not None and inline.short:
            return value
        return f"{value} if len({raw}) <= {leaf.limits.value} else uncommon()"

    def build_optional(self, shape: UnionShape, value: str, raw: str, name: _Name) -> None:
        inner = shape.inner
        with self.block(f"if {raw} == b'~':"):
            self.line(f"{value} = None")
        with self.block(f"elif {raw}[:1] == b'~':"):
            self.line(f"{value} = read({self.constant(shape, 'shape')}, {name.code}, fields, None)")
        if isinstance(inner, RecordShape):
            with self.block(f"elif {raw} != b'{{}}':"):
                self.line("raise Uncommon")
            with self.block("else:"):
                self.line(f"{value} = read_{self.function(inner)}({name.code}, fields)")
        elif isinstance(inner, Leaf):
            with self.block("else:"):
                self.line(f"{value} = {self.decode(inner, raw)}")

    def build_list(self, shape: ListShape, value: str, raw: str, name: _Name) -> None:
        length = self.variable("length")
        self.line(f"{length} = index({raw})")
        with self.block(f"if {length} > {shape.limits.fields}:"):
            self.line("raise Uncommon")
        position, item = self.variable("i"), self.variable("item")
        element = self.element(name, position)
        if isinstance(shape.item, Leaf):
            raws = self.variable("raws")
            self.line(f"{raws} = [fields[{element}] for {position} in range({length})]")
            self.line(f"{value} = [{self.decode(shape.item, 'raw')} for raw in {raws}]")
            return
        self.line(f"{value} = []")
        with self.block(f"for {position} in range({length}):"):
            place = self.variable("place")
            self.line(f"{place} = {element}")
            self.read(shape.item, item, _Name(place, b""))
            self.line(f"{value}.append({item})")

    def build_dict(self, shape: DictShape, value: str, raw: str, name: _Name) -> None:
        with self.block(f"if {raw} != {MARKER!r}:"):
            self.line("raise Uncommon")
        key, item, place = self.variable("key"), self.variable("item"), self.variable("place")
        prefix = self.prefix(name)
        start = f"len({prefix})" if name.variable else str(len(name.rest) + 1)
        if isinstance(shape.value, Leaf):
            places = f"[name for name in fields if name.startswith({prefix})]"
        else:
            places = f"entries(fields, {prefix})"
        self.line(f"{value} = {{}}")
        with self.block(f"for {place} in {places}:"):
            self.line(f"{key} = {place}[{start}:].decode()")
            with self.block(f"if not {key}.isidentifier():"):
                self.line(f"{key} = {self.constant(shape.key.of, 'key_of')}({place}[{start}:])")
            self.read(shape.value, item, _Name(place, b""))
            self.line(f"{value}[{key}] = {item}")

    def build_set(self, shape: SetShape, value: str, raw: str, name: _Name) -> None:
        prefix = self.prefix(name)
        found = self.variable("found")
        start = f"len({prefix})" if name.variable else str(len(name.rest) + 1)
        self.line(f"{found} = [name for name in fields if name.startswith({prefix})]")
        with self.block(f"if {raw} != {MARKER!r} or any([fields[name] for name in {found}]):"):
            self.line("raise Uncommon")
        key_of = self.constant(shape.key.of, "key_of")
        self.line(f"{value} = {shape.cls.__name__}([{key_of}(name[{start}:]) for name in {found}])")
        with self.block(f"if len({value}) != len({found}):"):
            self.line("raise Uncommon")


class _Block:
    """An indented block."""

    def __init__(self, source: _Source) -> None:
        self.source = source

    def __enter__(self) -> None:
        self.source.depth += 1

    def __exit__(self, *_: object) -> None:
        self.source.depth -= 1


# -- which shapes have code of their own
# -----------------------------------------------------------------------


def _is_plain(shape: Shape | None) -> TypeGuard[RecordShape]:
    """A record whose fields can be written out."""
    return isinstance(shape, RecordShape) and not shape.plan.subscript and not shape.hollow


def _is_simple(shape: Shape | None) -> bool:
    return isinstance(shape, Leaf) or _is_plain(shape)


def _is_text(shape: Shape) -> bool:
    return isinstance(shape, Leaf) and shape.inline is not None and shape.inline.type is str


def _is_common(shape: Shape) -> bool:
    """A shape whose own text is read by code."""
    if isinstance(shape, UnionShape):
        return shape.optional and _is_simple(shape.inner)
    if type(shape) is ListShape:
        return _is_simple(shape.item)
    if type(shape) is DictShape:
        return _is_text(shape.key.shape) and _is_simple(shape.value)
    return isinstance(shape, Leaf) or (isinstance(shape, SetShape) and isinstance(shape.item, Leaf))


def _identifier(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else "record"
