"""Shape: what a place stores, given its type. The base class, and Leaf, the shape of one field.

A shape writes and reads *stored fields* (a flat map of dotted names), *packed trees* (the JSON of a packed
value) and *key texts*. The containers live in `types/`; a place in a class is a Slot; nothing here knows
classes or registries.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias

from .codec import Codec, plain_type
from .errors import DecodeError, DecodeLimitExceeded, EncodeError, LimitExceeded, PathError, RapyerError
from .hints import name_of
from .interrupts import is_interrupt
from .json_text import dump_json, load_json
from .lean import dataclass, field
from .limits import Limits
from .names import escape, join, unescape
from .paths import Step
from .rules import Rule
from .stored import BAD, Stored

__all__ = ["Child", "Direct", "Inline", "Key", "Leaf", "Shape"]

Kind: TypeAlias = Literal["leaf", "record", "list", "dict", "set", "union", "tuple", "deque", "ordered"]
"""`tuple`, `deque` and `ordered` are stored like `list`, `list` and `dict`, but have no operations on their
entries.
"""

Fields: TypeAlias = dict[bytes, bytes]
Default: TypeAlias = Callable[[], Any] | None
"""Makes the value of a place that is not stored; None if there is no such value."""

EXACT, KIN, FOREIGN = 2, 1, 0


@dataclass(frozen=True)
class Child:
    """A place directly below another one.

    `former`: segments under which older data may be. `required`: always stored when the holder is.
    """

    segment: bytes
    shape: Shape
    metadata: tuple[Any, ...] = ()
    default: Default = None
    former: tuple[bytes, ...] = ()
    required: bool = True

    def place(self, holder: bytes, stored: Stored) -> bytes:
        """The name it is stored at: its own, or a former one if only that is there."""
        own = join(holder, self.segment)
        if self.former and not self.shape.present(own, stored):
            for segment in self.former:
                if self.shape.present(join(holder, segment), stored):
                    return join(holder, segment)
        return own


def kin_of(value: Any, cls: type) -> int:
    """How a value is related to a class: EXACT, KIN or FOREIGN."""
    given = plain_type(value)
    if given is cls:
        return EXACT
    return KIN if issubclass(given, cls) else FOREIGN


class Chosen(NamedTuple):
    """One alternative of a stored value: its tag, its shape (None: nothing lies below), its part of the own
    text.
    """

    tag: str
    shape: Shape | None
    own: bytes | None


Held: TypeAlias = "tuple[Shape, Any, bytes]"
"""A value in another one: its shape, itself, its stored name."""


class Shape:
    """What is stored in a place of one type. One instance for each hint; it holds no values."""

    kind: Kind
    limits: Limits
    type: Any
    """The hint without Annotated and aliases."""

    lists_elements: bool = False
    """Its elements are numbered: it changes as one unit."""
    has_entries: bool = False
    """What lies directly below it comes and goes with the value."""
    rules: tuple[Rule, ...] = ()
    """What its own Annotated says a value must be."""
    direct: Direct | None = None
    """Its codec in one call for each way, if it has one."""

    @property
    def tag(self) -> str:
        """The name of the type in the tags of unions."""
        return name_of(self.type)

    def __call__(self, fields: Mapping[bytes, bytes], _: Any = None) -> Any:
        """The value of these fields, whose own text has the empty name: a shape is a structure hook of
        cattrs.
        """
        stored = Stored(fields)
        value = self.read(b"", stored)
        if value is BAD:
            raise stored.errors[0]
        return value

    # -- which values are its own ----------------------------------------------------------------------------

    def kin(self, value: Any) -> int:
        """EXACT, KIN (a subclass or something accepted) or FOREIGN, from the type of the value alone."""
        raise NotImplementedError

    def rank(self, value: Any) -> int:
        """As `kin`, with the contents of containers looked at."""
        return self.kin(value)

    # -- stored fields ---------------------------------------------------------------------------------------

    def head(self, value: Any, name: bytes) -> bytes:
        """The own text of a value. `name` is where it is, for errors."""
        raise NotImplementedError

    def body(self, value: Any, name: bytes, out: Fields) -> None:
        """Add what lies below the own field."""

    def write(self, value: Any, name: bytes, out: Fields) -> None:
        """Add all fields of a value at `name`."""
        out[name] = self.head(value, name)
        self.body(value, name, out)

    def build(self, head: bytes, name: bytes, stored: Stored, default: Default = None) -> Any:
        """The value whose own text is `head`, or BAD."""
        raise NotImplementedError

    def read(self, name: bytes, stored: Stored, default: Default = None) -> Any:
        """The value stored at `name`, else its default, else BAD."""
        head = stored.get(name)
        if head is not None:
            return self.build(head, name, stored, default)
        return default() if default is not None else stored.bad(name, self.tag, None, "is missing")

    def present(self, name: bytes, stored: Stored) -> bool:
        """Whether a value is stored at `name`."""
        return name in stored.fields

    # -- packed trees and key texts --------------------------------------------------------------------------

    def pack(self, value: Any, depth: int = 0) -> Any:
        """The JSON tree of a value: None, bool, int, float, str, list, dict."""
        raise NotImplementedError

    def unpack(self, tree: Any, depth: int = 0) -> Any:
        """The value of a JSON tree. ValueError if it is not one of a value."""
        raise NotImplementedError

    def key_text(self, value: Any) -> bytes:
        """The text of a value as a dict key or set member, before escaping."""
        return dump_json(self.pack(value))

    def from_key_text(self, text: bytes) -> Any:
        """The value of a key text. ValueError if it is not one."""
        return self.unpack(load_json(text, self.limits))

    # -- places ----------------------------------------------------------------------------------------------

    def child(self, step: Step) -> Child:
        """The place one step below. PathError if the type has none."""
        raise PathError(f"{self.tag} has no parts")

    def step(self, segment: bytes) -> Step:
        """The step that a segment of a stored name stands for. PathError if the type has no such place."""
        raise PathError(f"{self.tag} has no parts")

    def below(self, segment: bytes, head: bytes | None) -> Shape | None:
        """The shape at `segment` below a stored value whose own text is `head`; None where it stores nothing."""
        return None

    def chosen(self, head: bytes | None) -> Chosen:
        """Which alternative a stored own text says: of a union, of a class with subclasses."""
        return Chosen("", self, head)

    # -- rules -----------------------------------------------------------------------------------------------

    def with_rules(self, rules: tuple[Rule, ...]) -> Shape:
        """The same shape, whose values must keep these rules as well."""
        made = copy.copy(self)
        made.rules = (*self.rules, *rules)
        return made

    def own_rules(self) -> bool:
        """Whether a value as a whole can break a rule, be it as one alternative."""
        return bool(self.rules)

    def rules_for(self, value: Any) -> Iterable[Rule]:
        """The rules that a value as a whole must keep."""
        return self.rules

    def ruled(self, seen: set[Shape] | None = None) -> bool:
        """Whether a value, or something in it, can break a rule. `seen`: already looked at."""
        if self.rules:
            return True
        seen = set() if seen is None else seen
        if self in seen:
            return False
        seen.add(self)
        return any(shape.ruled(seen) for shape in self.inside())

    def held(self, value: Any, name: bytes) -> Iterable[Held]:
        """The values in a value that can be stored, one level down: with their shapes and stored names."""
        return ()

    def broken(self, value: Any, name: bytes) -> Iterator[tuple[bytes, Rule]]:
        """The rules that a value which can be stored breaks, with the stored names of what breaks them.

        None keeps every rule: it is no value.
        """
        if value is None:
            return
        for rule in self.rules_for(value):
            if not rule.holds(value):
                yield name, rule
        for shape, inner, at in self.held(value, name):
            yield from shape.broken(inner, at)

    # -- checks ----------------------------------------------------------------------------------------------

    def inside(self) -> Iterable[Shape]:
        """The shapes that this one is made of."""
        return ()

    @property
    def resolved(self) -> bool:
        """Whether all names in the annotations of its own are there."""
        return True

    def check(self, seen: set[Shape]) -> None:
        """Raise UnsupportedType if a class in here has a field without a codec. `seen`: classes already checked."""
        for shape in self.inside():
            shape.check(seen)

    # -- shared ----------------------------------------------------------------------------------------------

    def refuse(self, value: Any, name: bytes = b"") -> NoReturn:
        """Raise the EncodeError for a value of a wrong type."""
        given = plain_type(value).__name__
        what = f"this {given}" if self.kin(value) == EXACT else f"{_article(given)} as {self.tag}"
        raise EncodeError(f"cannot store {what}", field=name, target=self.tag)

    def deeper(self, depth: int) -> int:
        """One level further down in a packed value."""
        if depth >= self.limits.depth:
            raise LimitExceeded(f"nested deeper than {self.limits.depth} levels", target=self.tag)
        return depth + 1

    def check_depth(self, name: bytes) -> None:
        """Refuse to write below a name that is nested too deeply."""
        if name.count(b".") >= self.limits.depth:
            raise LimitExceeded(f"nested deeper than {self.limits.depth} levels", field=name, target=self.tag)

    def too_deep(self, name: bytes, stored: Stored) -> bool:
        """Whether a name is nested too deeply to read on; noted as an error if so."""
        if name.count(b".") < self.limits.depth:
            return False
        stored.bad(name, self.tag, None, f"nested deeper than {self.limits.depth} levels", DecodeLimitExceeded)
        return True

    def check_count(self, count: int, name: bytes) -> None:
        """Refuse to write a container of too many elements."""
        if count > self.limits.fields:
            raise LimitExceeded(f"more than {self.limits.fields} elements", field=name, target=self.tag)


@dataclass(frozen=True, slots=True)
class Inline:
    """Python expressions for the common case of a leaf, for generated code; on anything else they must raise.

    `type`: what `{v}` is when `encode` is evaluated. `encode`: gives the text, of `{v}`. `decode`: gives
    the value, of `{raw}`, as strictly as the codec. `names`: what else stands in braces. `short`: its
    texts are, and do not begin with `~`. `framed`: gives the framed text (see framing.py), of `{v}`, if there is a
    quicker way than to frame the other.
    """

    type: type
    encode: str
    decode: str
    names: Mapping[str, Any] = field(default_factory=dict)
    short: bool = False
    framed: str | None = None


class Direct(NamedTuple):
    """The codec of a leaf for the common case. On anything else both raise: ask the leaf then, to say what is wrong.

    `type`: of the values; `encode` takes exactly these. `encode`, `decode`: within the limits, too.
    """

    type: type
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


_DIRECT = """
def encode(value):
    raw = {encode}
    if len(raw) > {limit}: raise ValueError
    return raw

def decode(raw):
    if len(raw) > {limit}: raise ValueError
    return {decode}
"""


def _direct(inline: Inline, limit: int) -> Direct:
    names = {f"_{name}": value for name, value in inline.names.items()}
    own = {name: f"_{name}" for name in inline.names}
    space: dict[str, Any] = dict(names)
    encode, decode = inline.encode.format(v="value", **own), inline.decode.format(raw="raw", **own)
    exec(_DIRECT.format(encode=encode, decode=decode, limit=limit), space)
    return Direct(inline.type, space["encode"], space["decode"])


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


class Leaf(Shape):
    """One field, through a codec whose `encode` gives bytes.

    `natural`: the kind of JSON that a packed value is, instead of a string. `kin`: in place of the usual one.
    `inline`: for generated code.
    """

    kind: Kind = "leaf"

    def __init__(
        self,
        type: Any,
        codec: Codec[Any],
        limits: Limits,
        *,
        natural: Literal["int", "float", "bool", "none"] | None = None,
        tag: str | None = None,
        kin: Callable[[Any], int] | None = None,
        inline: Inline | None = None,
    ) -> None:
        self.type = type
        self.codec = codec
        self.limits = limits
        self.natural = natural
        self._tag = tag or name_of(type)
        self._kin = kin
        self.inline = inline

    @cached_property
    def direct(self) -> Direct | None:  # type: ignore[override]  # made when it is first asked for
        return None if self.inline is None else _direct(self.inline, self.limits.value)

    @property
    def is_strict(self) -> bool:
        """Whether it is known that each of its values has one text."""
        return self.inline is not None and self.type in (int, str, float, bool, bytes)

    @property
    def tag(self) -> str:
        return self._tag

    def kin(self, value: Any) -> int:
        if self._kin is not None:
            return self._kin(value)
        return kin_of(value, self.type) if isinstance(self.type, type) else FOREIGN

    def encode(self, value: Any, name: bytes = b"") -> bytes:
        """The text of a value. EncodeError if it is not one of the type."""
        try:
            raw: bytes | None = self.codec.encode(value)  # type: ignore[assignment]  # ours give bytes
        except RapyerError as error:
            error.field = error.field or name
            raise
        except Exception as error:
            if is_interrupt(error):
                raise
            raw = None  # refused below, outside of the handler, so that no context quotes the value
        if raw is None:
            self.refuse(value, name)
        if len(raw) > self.limits.value:
            raise LimitExceeded(f"longer than {self.limits.value} bytes", field=name, target=self.tag)
        return raw

    def decode(self, raw: bytes, name: bytes = b"") -> Any:
        """The value of a text. DecodeError if it is not one of the type."""
        if len(raw) > self.limits.value:
            reason = f"longer than {self.limits.value} bytes"
            raise DecodeLimitExceeded(reason, field=name, target=self.tag, raw=raw)
        kind: type[DecodeError] = DecodeError
        try:
            return self.codec.decode(raw)
        except LimitExceeded as error:
            reason, kind = error.reason, DecodeLimitExceeded
        except Exception as error:
            if is_interrupt(error):
                raise
            reason = f"the stored text is not {_article(self.tag)}"
        # Raised here, outside of the handler, so that no context quotes the text.
        raise kind(reason, field=name, target=self.tag, raw=raw)

    def head(self, value: Any, name: bytes) -> bytes:
        return self.encode(value, name)

    def build(self, head: bytes, name: bytes, stored: Stored, default: Default = None) -> Any:
        try:
            return self.decode(head, name)
        except DecodeError as error:
            stored.errors.append(error)
            return BAD

    def key_text(self, value: Any) -> bytes:
        return self.encode(value)

    def from_key_text(self, text: bytes) -> Any:
        return self.decode(text)

    def pack(self, value: Any, depth: int = 0) -> Any:
        return _to_json(self.encode(value), self.natural)

    def unpack(self, tree: Any, depth: int = 0) -> Any:
        return self.decode(_from_json(tree, self.natural))


JSON_DIGITS = 600
"""Longer ints are strings in JSON: parsers refuse them, Python's own included."""


def _to_json(text: bytes, natural: str | None) -> Any:
    match natural:
        case "none":
            return None
        case "bool":
            return text == b"true"
        case "int" if len(text) <= JSON_DIGITS:
            return int(text)
        case "float" if text not in _NOT_FINITE:
            return float(text)
    return text.decode("utf-8", "surrogateescape")


def _from_json(tree: Any, natural: str | None) -> bytes:
    match tree:
        case None if natural == "none":
            return b"~"
        case bool() if natural == "bool":
            return b"true" if tree else b"false"
        case int() if natural == "int" and not isinstance(tree, bool):
            return b"%d" % tree
        case float() if natural == "float":
            return repr(tree).encode()
        case str():
            raw = tree.encode("utf-8", "surrogateescape")
            is_natural = {
                "none": True,
                "bool": True,
                "int": len(raw) <= JSON_DIGITS,
                "float": raw not in _NOT_FINITE,
            }
            if not is_natural.get(natural or "", False) and raw.decode("utf-8", "surrogateescape") == tree:
                return raw
    raise ValueError("not the JSON of this type")


_NOT_FINITE: Mapping[bytes, None] = dict.fromkeys((b"nan", b"inf", b"-inf"))


class Key:
    """How the keys of a dict or the members of a set become segments of names."""

    __slots__ = ("shape",)

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def encode(self, key: Any) -> bytes:
        """The key text, before escaping. EncodeError if the key is not of the type."""
        return self.shape.key_text(key)

    def decode(self, text: bytes) -> Any:
        """The key of a key text. ValueError if it is not one."""
        return self.shape.from_key_text(text)

    def segment(self, key: Any, holder: bytes | None = None) -> bytes:
        """The escaped key text, one segment of a stored name. `holder`: where the dict or set is, for errors."""
        try:
            segment = escape(self.shape.key_text(key))
        except RapyerError as error:
            error.field = holder
            raise
        if len(segment) > self.shape.limits.name:
            raise LimitExceeded(f"a key longer than {self.shape.limits.name} bytes", target=self.shape.tag)
        return segment

    def of(self, segment: bytes) -> Any:
        """The key of a segment. ValueError if it is not a canonical one."""
        return self.shape.from_key_text(unescape(segment))
