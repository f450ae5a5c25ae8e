"""The text of generated code while it is written: lines, the names in it, and the objects it refers to.

Only text of this package is ever compiled. Names of fields come in as bytes literals, as checked
identifiers, or as constants; values never do. Variables start with `v` and a number, constants with `k`
and a number, so that no field or class can be called like one.
"""

from __future__ import annotations

import builtins
import keyword
import linecache
from collections.abc import Mapping
from typing import Any, NamedTuple

from .lean import dataclass, field
from .places import FEW, few
from .shape import Leaf
from .types.records import RecordShape

__all__ = ["Name", "Source"]


class Name(NamedTuple):
    """A stored name as an expression: a variable (none for the whole object) and bytes after it."""

    variable: str
    rest: bytes

    @property
    def code(self) -> str:
        if not self.variable:
            return repr(self.rest)
        return f"{self.variable} + {self.rest!r}" if self.rest else self.variable

    def below(self, segment: bytes) -> Name:
        dot = b"." if self.variable or self.rest else b""
        return Name(self.variable, self.rest + dot + segment)


@dataclass
class Source:
    """The text of the functions of one class."""

    constants: dict[str, Any]
    lines: list[str] = field(default_factory=list)
    named: dict[int, str] = field(default_factory=dict)
    functions: dict[int, str] = field(default_factory=dict)
    pending: list[RecordShape] = field(default_factory=list)
    depth: int = 0
    variables: int = 0

    def line(self, text: str) -> None:
        """Write a line."""
        self.lines.append("    " * self.depth + text)

    def block(self, head: str) -> Block:
        """Write the head of a block; what is written inside `with` is its body."""
        self.line(head)
        return Block(self)

    def constant(self, value: Any, hint: str) -> str:
        """A name for an object that the code uses; the same one for the same object."""
        name = self.named.get(id(value))
        if name is None:
            name = self.named[id(value)] = f"k{len(self.constants)}_{hint}"
            self.constants[name] = value
        return name

    def class_name(self, cls: type) -> str:
        """A name for a class: its own only if that means the class everywhere."""
        name = cls.__name__
        return name if vars(builtins).get(name) is cls else self.constant(cls, identifier(name))

    def variable(self, hint: str) -> str:
        """A new variable. Its prefix keeps it apart from constants, whatever the field is called."""
        self.variables += 1
        return f"v{self.variables}_{hint}"

    def function(self, shape: RecordShape) -> str:
        """The name that the functions of a record class end in; they are written later."""
        if id(shape) not in self.functions:
            self.functions[id(shape)] = f"{identifier(shape.cls.__name__)}_{len(self.functions)}"
            self.pending.append(shape)
        return self.functions[id(shape)]

    def run(self, title: str) -> dict[str, Any]:
        """Compile; the text can be seen in tracebacks, under the title."""
        text = "\n".join(self.lines) + "\n"
        filename = f"<rapyer_codecs {title}>"
        linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
        namespace = dict(self.constants)
        exec(compile(text, filename, "exec"), namespace)
        return namespace

    def give_up_if(self, condition: str) -> None:
        """Write that the shapes have to do it."""
        with self.block(f"if {condition}:"):
            self.line("raise Uncommon")

    def attribute(self, value: str, name: str) -> str:
        """The expression of an attribute."""
        if name.isidentifier() and not keyword.iskeyword(name):
            return f"{value}.{name}"
        return f"getattr({value}, {self.constant(name, 'field')})"

    def inline(self, leaf: Leaf, template: str, **given: str) -> str:
        """The expression of a leaf's inline template."""
        known: Mapping[str, Any] = leaf.inline.names if leaf.inline is not None else {}
        names = {name: self.constant(value, name) for name, value in known.items()}
        return template.format(**given, **names)

    def elements(self, name: Name, length: str) -> str:
        """The expression of the names of so many elements, in order."""
        names = f"numbered({name.code}, {length})"
        if name.variable:
            return names
        return f"{self.constant(few(name.rest), 'names')} if {length} <= {FEW} else {names}"

    def prefix(self, name: Name) -> str:
        """The name with its dot, worked out once."""
        dotted = name._replace(rest=name.rest + b".")
        if not name.variable:
            return dotted.code
        prefix = self.variable("prefix")
        self.line(f"{prefix} = {dotted.code}")
        return prefix


class Block:
    """An indented block."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __enter__(self) -> None:
        self.source.depth += 1

    def __exit__(self, *_: object) -> None:
        self.source.depth -= 1


def identifier(name: str) -> str:
    """A name as part of a name in the code, if it can be."""
    return name if name.isidentifier() and name.isascii() else "record"
