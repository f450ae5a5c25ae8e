"""The table of types: for each its hints, values and literal stored forms. The tests run it, docs/types.md
shows it.
"""

from __future__ import annotations

import collections
import decimal
import fractions
import ipaddress
import pathlib
import re
import typing
import uuid
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Annotated, Any, Literal, Optional, Union
from zoneinfo import ZoneInfo

import numpy as np

from rapyer_codecs import Packed

from . import classes as c

packed: Any = Packed
"""`packed[hint]` of a hint that type checkers do not know."""
optional: Any = Optional
"""`optional[hint]`, of None too."""

BERLIN = ZoneInfo("Europe/Berlin")
CEST = timezone(timedelta(hours=2))


@dataclass(frozen=True)
class Row:
    """One type. `examples`: value -> its stored fields, with the field named `x`."""

    group: str
    title: str
    hint: Any
    examples: tuple[tuple[Any, dict[str, str | bytes]], ...]
    note: str = ""


GROUP_NUMBERS = "Numbers"
GROUP_TEXT = "Text and bytes"
GROUP_NAMED = "Enums and literals"
GROUP_TIME = "Dates and times"
GROUP_NAMES = "Identifiers, paths and patterns"
GROUP_SEQUENCES = "Sequences"
GROUP_MAPPINGS = "Mappings and sets"
GROUP_UNIONS = "None, Optional, unions and Any"
GROUP_CLASSES = "Classes"
GROUP_TYPING = "Other annotations"
GROUP_PACKS = "Other packages"


def leaf(group: str, title: str, hint: Any, *examples: tuple[Any, str | bytes], note: str = "") -> Row:
    """A row for a type that is one field."""
    return Row(group, title, hint, tuple((value, {"x": text}) for value, text in examples), note)


def row(group: str, title: str, hint: Any, *examples: tuple[Any, dict[str, str | bytes]], note: str = "") -> Row:
    """A row for a type that is several fields."""
    return Row(group, title, hint, examples, note)


NUMBERS = [
    leaf(GROUP_NUMBERS, "int", int, (0, "0"), (-7, "-7"), (2**64, "18446744073709551616"), note="any size"),
    leaf(
        GROUP_NUMBERS,
        "float",
        float,
        (0.1, "0.1"),
        (1e16, "1e+16"),
        (-0.0, "-0.0"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        note="an int is taken where it is exact, and comes back as a float",
    ),
    leaf(GROUP_NUMBERS, "bool", bool, (True, "true"), (False, "false"), note="never an int, nor an int a bool"),
    leaf(GROUP_NUMBERS, "complex", complex, (1 + 2j, "1.0+2.0j"), (complex(-0.0, float("-inf")), "-0.0-infj")),
    leaf(
        GROUP_NUMBERS,
        "Decimal",
        decimal.Decimal,
        (decimal.Decimal("1.50"), "1.50"),
        (decimal.Decimal("NaN"), "NaN"),
        (decimal.Decimal("1E+3"), "1E+3"),
        (decimal.Decimal("-0"), "-0"),
    ),
    leaf(
        GROUP_NUMBERS,
        "Fraction",
        fractions.Fraction,
        (fractions.Fraction(1, 3), "1/3"),
        (fractions.Fraction(-2), "-2/1"),
    ),
]

TEXT = [
    leaf(
        GROUP_TEXT,
        "str",
        str,
        ("alice", "alice"),
        ("", ""),
        ('\0"\n', '\0"\n'),
        ("é🎲", "é🎲"),
        ("~", "~"),
        note="a lone surrogate is refused",
    ),
    leaf(GROUP_TEXT, "bytes", bytes, (b"\xff\x00", b"\xff\x00"), (b"", b"")),
    leaf(GROUP_TEXT, "bytearray", bytearray, (bytearray(b"ab"), "ab")),
    leaf(GROUP_TEXT, "memoryview", memoryview, (memoryview(b"ab"), "ab"), note="of plain bytes"),
]

NAMED = [
    leaf(GROUP_NAMED, "Enum", c.Colour, (c.Colour.RED, "red"), note="by value: a member can be renamed"),
    leaf(GROUP_NAMED, "IntEnum", c.Level, (c.Level.HIGH, "2")),
    leaf(GROUP_NAMED, "StrEnum", c.Mode, (c.Mode.READ, "r")),
    leaf(GROUP_NAMED, "Enum with values of several types", c.Mixed, (c.Mixed.TWO, "TWO"), note="by name"),
    leaf(GROUP_NAMED, "Enum with values that are no leaf", c.Corner, (c.Corner.FAR, "FAR"), note="by name"),
    leaf(GROUP_NAMED, "Flag", c.Right, (c.Right.READ | c.Right.RUN, "5"), (c.Right(0), "0")),
    leaf(GROUP_NAMED, "IntFlag", c.Bits, (c.Bits.A | c.Bits.B, "3")),
    leaf(GROUP_NAMED, "Literal", Literal["draft", "done"], ("draft", "draft")),
    leaf(
        GROUP_NAMED,
        "Literal of several types",
        Literal["a", 1, True, None],
        ("a", "a"),
        (1, "~Literal[int]:1"),
        (True, "~Literal[bool]:true"),
        (None, "~"),
    ),
]

TIMES = [
    leaf(
        GROUP_TIME,
        "datetime",
        datetime,
        (datetime(2024, 5, 1, 12), "2024-05-01T12:00:00"),
        (datetime(2024, 5, 1, 12, 0, 0, 1, UTC), "2024-05-01T12:00:00.000001+00:00"),
        (datetime(2024, 5, 1, 12, tzinfo=CEST), "2024-05-01T12:00:00+02:00"),
        (datetime(2024, 5, 1, 12, tzinfo=BERLIN), "2024-05-01T12:00:00+02:00[Europe/Berlin]"),
        (datetime(2024, 10, 27, 2, 30, fold=1), "2024-10-27T02:30:00(fold=1)"),
        (datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN), "2024-10-27T02:30:00+02:00[Europe/Berlin]"),
        (
            datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
            "2024-10-27T02:30:00+01:00[Europe/Berlin](fold=1)",
        ),
        note="zones of zoneinfo and fixed offsets",
    ),
    leaf(GROUP_TIME, "date", date, (date(2024, 5, 1), "2024-05-01"), note="never a datetime"),
    leaf(
        GROUP_TIME,
        "time",
        time,
        (time(12), "12:00:00"),
        (time(12, tzinfo=CEST), "12:00:00+02:00"),
        (time(12, tzinfo=BERLIN, fold=1), "12:00:00[Europe/Berlin](fold=1)"),
    ),
    leaf(
        GROUP_TIME,
        "timedelta",
        timedelta,
        (timedelta(minutes=1, seconds=30), "90"),
        (timedelta(microseconds=-500_000), "-0.500000"),
        (timedelta.max, "86399999999999.999999"),
    ),
    leaf(GROUP_TIME, "ZoneInfo", ZoneInfo, (BERLIN, "Europe/Berlin")),
]

NAMES = [
    leaf(
        GROUP_NAMES,
        "UUID",
        uuid.UUID,
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ),
    leaf(GROUP_NAMES, "Path", pathlib.Path, (pathlib.Path("/var/log"), "/var/log"), (pathlib.Path(), ".")),
    leaf(GROUP_NAMES, "PurePosixPath", pathlib.PurePosixPath, (pathlib.PurePosixPath("a/b"), "a/b")),
    leaf(GROUP_NAMES, "PureWindowsPath", pathlib.PureWindowsPath, (pathlib.PureWindowsPath("c:/a"), "c:\\a")),
    leaf(GROUP_NAMES, "IPv4Address", ipaddress.IPv4Address, (ipaddress.IPv4Address("10.0.0.1"), "10.0.0.1")),
    leaf(GROUP_NAMES, "IPv4Network", ipaddress.IPv4Network, (ipaddress.IPv4Network("10.0.0.0/8"), "10.0.0.0/8")),
    leaf(
        GROUP_NAMES,
        "IPv4Interface",
        ipaddress.IPv4Interface,
        (ipaddress.IPv4Interface("10.0.0.1/8"), "10.0.0.1/8"),
    ),
    leaf(GROUP_NAMES, "IPv6Address", ipaddress.IPv6Address, (ipaddress.IPv6Address("::1"), "::1")),
    leaf(GROUP_NAMES, "IPv6Network", ipaddress.IPv6Network, (ipaddress.IPv6Network("fe80::/10"), "fe80::/10")),
    leaf(
        GROUP_NAMES,
        "IPv6Interface",
        ipaddress.IPv6Interface,
        (ipaddress.IPv6Interface("::1/128"), "::1/128"),
    ),
    leaf(
        GROUP_NAMES,
        "re.Pattern",
        re.Pattern,
        (re.compile("^a.*", re.IGNORECASE), "34/^a.*"),
        (re.compile(b"^a/"), "b/0/^a/"),
        note="with its flags",
    ),
    leaf(GROUP_NAMES, "re.Pattern[str]", re.Pattern[str], (re.compile("a"), "32/a")),
    leaf(GROUP_NAMES, "range", range, (range(0, 10, 2), "0:10:2")),
    leaf(GROUP_NAMES, "slice", slice, (slice(None, 10, 2), "[null,10,2]")),
]

SEQUENCES = [
    row(GROUP_SEQUENCES, "list", list[int], ([], {"x": "0"}), ([7, 8], {"x": "2", "x.0": "7", "x.1": "8"})),
    row(
        GROUP_SEQUENCES,
        "list of lists",
        list[list[str]],
        ([["a"], []], {"x": "2", "x.0": "1", "x.0.0": "a", "x.1": "0"}),
    ),
    row(
        GROUP_SEQUENCES,
        "list of classes",
        list[c.Stats],
        ([c.Stats(1, 2)], {"x": "1", "x.0.wins": "1", "x.0.losses": "2"}),
    ),
    row(GROUP_SEQUENCES, "tuple, fixed", tuple[int, str], ((1, "a"), {"x": "2", "x.0": "1", "x.1": "a"})),
    row(GROUP_SEQUENCES, "tuple, variable", tuple[int, ...], ((1,), {"x": "1", "x.0": "1"}), ((), {"x": "0"})),
    row(GROUP_SEQUENCES, "tuple, empty", tuple[()], ((), {"x": "0"})),
    row(
        GROUP_SEQUENCES,
        "deque",
        collections.deque[int],
        (collections.deque([1]), {"x": "1", "x.0": "1"}),
        (collections.deque([1], maxlen=3), {"x": "1/3", "x.0": "1"}),
        note="with its bound",
    ),
    row(
        GROUP_SEQUENCES,
        "Sequence",
        Sequence[int],
        ([1], {"x": "1", "x.0": "1"}),
        ((1,), {"x": "~tuple[int]:1", "x.0": "1"}),
        note="a list or a tuple",
    ),
    row(GROUP_SEQUENCES, "bare list", list, ([1, "a"], {"x": "2", "x.0": "~int:1", "x.1": "a"})),
    row(GROUP_SEQUENCES, "bare tuple", tuple, ((1,), {"x": "1", "x.0": "~int:1"})),
]

MAPPINGS = [
    row(
        GROUP_MAPPINGS,
        "dict",
        dict[str, int],
        ({}, {"x": "{}"}),
        ({"a.b": 1, "": 2}, {"x": "{}", "x.a%2Eb": "1", "x.%": "2"}),
        (
            {"*": 1, " ": 2, "[0]": 3, '"': 4, "\n": 5, "é": 6},
            {"x": "{}", "x.*": "1", "x. ": "2", "x.[0]": "3", 'x."': "4", "x.%0A": "5", "x.é": "6"},
        ),
        note="any key with a codec; equal, not in order",
    ),
    row(GROUP_MAPPINGS, "dict with int keys", dict[int, str], ({-1: "a"}, {"x": "{}", "x.-1": "a"})),
    row(
        GROUP_MAPPINGS,
        "dict with bytes keys",
        dict[bytes, str],
        ({b"\xff.": "a"}, {"x": "{}", "x.%FF%2E": "a"}),
    ),
    row(
        GROUP_MAPPINGS,
        "dict with enum keys",
        dict[c.Colour, c.Stats],
        ({c.Colour.RED: c.Stats(1)}, {"x": "{}", "x.red.wins": "1", "x.red.losses": "0"}),
    ),
    row(
        GROUP_MAPPINGS,
        "dict with tuple keys",
        dict[tuple[int, str], int],
        ({(1, "a.b"): 5}, {"x": "{}", 'x.[1,"a%2Eb"]': "5"}),
    ),
    row(
        GROUP_MAPPINGS,
        "dict with date keys",
        dict[date, int],
        ({date(2024, 5, 1): 5}, {"x": "{}", "x.2024-05-01": "5"}),
    ),
    row(
        GROUP_MAPPINGS,
        "dict with union keys",
        dict[int | str | None, int],
        ({1: 1, "1": 2, None: 3}, {"x": "{}", "x.1": "1", "x.%7Estr:1": "2", "x.%7E": "3"}),
    ),
    row(
        GROUP_MAPPINGS,
        "dict of dicts",
        dict[str, dict[str, int]],
        ({"a": {}, "b": {"c": 1}}, {"x": "{}", "x.a": "{}", "x.b": "{}", "x.b.c": "1"}),
    ),
    row(GROUP_MAPPINGS, "bare dict", dict, ({"a": 1, 2: "b"}, {"x": "{}", "x.a": "~int:1", "x.%7Eint:2": "b"})),
    row(
        GROUP_MAPPINGS,
        "OrderedDict",
        collections.OrderedDict[str, int],
        (collections.OrderedDict(b=1, a=2), {"x": "{b.a}", "x.b": "1", "x.a": "2"}),
        (collections.OrderedDict(), {"x": "{}"}),
        (collections.OrderedDict({"": 1}), {"x": "{%}", "x.%": "1"}),
        note="in order",
    ),
    row(
        GROUP_MAPPINGS,
        "defaultdict",
        collections.defaultdict[str, list[int]],
        (collections.defaultdict(list, {"a": [1]}), {"x": "{}", "x.a": "1", "x.a.0": "1"}),
        note="the factory is the value type's",
    ),
    row(
        GROUP_MAPPINGS,
        "Counter",
        collections.Counter[str],
        (collections.Counter("aab"), {"x": "{}", "x.a": "2", "x.b": "1"}),
    ),
    row(GROUP_MAPPINGS, "Mapping", Mapping[str, int], ({"a": 1}, {"x": "{}", "x.a": "1"}), note="a dict"),
    row(GROUP_MAPPINGS, "set", set[int], (set(), {"x": "{}"}), ({1, 2}, {"x": "{}", "x.1": "", "x.2": ""})),
    row(GROUP_MAPPINGS, "set of tuples", set[tuple[int, int]], ({(1, 2)}, {"x": "{}", "x.[1,2]": ""})),
    row(GROUP_MAPPINGS, "frozenset", frozenset[str], (frozenset({"a", ""}), {"x": "{}", "x.a": "", "x.%": ""})),
    row(
        GROUP_MAPPINGS,
        "Set",
        Set[int],
        ({1}, {"x": "{}", "x.1": ""}),
        (frozenset({1}), {"x": "~frozenset[int]:{}", "x.1": ""}),
        note="a set or a frozenset",
    ),
]

UNIONS = [
    leaf(GROUP_UNIONS, "None", None, (None, "~")),
    leaf(GROUP_UNIONS, "Optional", optional[str], (None, "~"), ("", ""), ("null", "null"), ("~", "~:~")),
    leaf(GROUP_UNIONS, "union of scalars", int | str, (1, "1"), ("1", "~str:1")),
    leaf(
        GROUP_UNIONS,
        "union of kin",
        date | datetime | bool | int,
        (date(2024, 5, 1), "2024-05-01"),
        (datetime(2024, 5, 1), "~datetime:2024-05-01T00:00:00"),
        (True, "~bool:true"),
        (1, "~int:1"),
    ),
    row(
        GROUP_UNIONS,
        "union of classes of one shape",
        c.Cat | c.Dog,
        (c.Cat("Tom"), {"x": "{}", "x.name": "Tom"}),
        (c.Dog("Tom"), {"x": "~Dog:{}", "x.name": "Tom"}),
    ),
    row(
        GROUP_UNIONS,
        "union of containers",
        list[int] | list[str] | dict[str, int],
        ([1], {"x": "1", "x.0": "1"}),
        (["a"], {"x": "~list[str]:1", "x.0": "a"}),
        ([], {"x": "0"}),
        ({"a": 1}, {"x": "~dict[str,int]:{}", "x.a": "1"}),
    ),
    row(
        GROUP_UNIONS,
        "Optional class",
        optional[c.Stats],
        (None, {"x": "~"}),
        (c.Stats(1), {"x": "{}", "x.wins": "1", "x.losses": "0"}),
    ),
    row(
        GROUP_UNIONS,
        "Optional container",
        optional[dict[str, int | None]],
        ({"a": None}, {"x": "{}", "x.a": "~"}),
        ({}, {"x": "{}"}),
        (None, {"x": "~"}),
    ),
    row(
        GROUP_UNIONS,
        "Any",
        Any,
        (None, {"x": "~"}),
        ("a", {"x": "a"}),
        (5, {"x": "~int:5"}),
        (True, {"x": "~bool:true"}),
        ([1, "b"], {"x": "~list:2", "x.0": "~int:1", "x.1": "b"}),
        ({"k": 1.5}, {"x": "~dict:{}", "x.k": "~float:1.5"}),
        (decimal.Decimal("1.50"), {"x": "~Decimal:1.50"}),
        note="values that need no class of yours",
    ),
]

CLASSES = [
    row(GROUP_CLASSES, "dataclass", c.Stats, (c.Stats(1, 2), {"x.wins": "1", "x.losses": "2"})),
    row(GROUP_CLASSES, "frozen dataclass", c.Point, (c.Point(1, 2), {"x.x": "1", "x.y": "2"})),
    row(GROUP_CLASSES, "dataclass with slots", c.Slotted, (c.Slotted(1), {"x.x": "1", "x.y": "a"})),
    row(GROUP_CLASSES, "dataclass, keyword only", c.Keyword, (c.Keyword(a=1), {"x.a": "1", "x.b": "b"})),
    row(GROUP_CLASSES, "dataclass without fields", c.Empty, (c.Empty(), {"x": "{}"})),
    row(
        GROUP_CLASSES,
        "subclass in a field of its base",
        c.Animal,
        (c.Animal("a"), {"x.name": "a"}),
        (c.Lion("a", False), {"x": "~Lion:{}", "x.name": "a", "x.mane": "false"}),
    ),
    row(
        GROUP_CLASSES,
        "Optional base",
        optional[c.Animal],
        (c.Lion("a"), {"x": "~:~Lion:{}", "x.name": "a", "x.mane": "true"}),
    ),
    row(
        GROUP_CLASSES,
        "recursive, Optional",
        c.Node,
        (c.Node(1, c.Node(2)), {"x.value": "1", "x.next": "{}", "x.next.value": "2", "x.next.next": "~"}),
    ),
    row(
        GROUP_CLASSES,
        "recursive, list",
        c.Tree,
        (
            c.Tree("a", [c.Tree("b")]),
            {"x.label": "a", "x.children": "1", "x.children.0.label": "b", "x.children.0.children": "0"},
        ),
    ),
    row(GROUP_CLASSES, "generic", c.Box[int], (c.Box(1), {"x.item": "1"})),
    row(
        GROUP_CLASSES,
        "generic of a class",
        c.Box[c.Stats],
        (c.Box(c.Stats()), {"x.item.wins": "0", "x.item.losses": "0"}),
    ),
    row(GROUP_CLASSES, "subclass of a generic", c.IntBox, (c.IntBox(1, "a"), {"x.item": "1", "x.label": "a"})),
    row(
        GROUP_CLASSES,
        "init=False and __post_init__",
        c.Computed,
        (c.Computed(2), {"x.base": "2", "x.doubled": "4"}),
    ),
    row(
        GROUP_CLASSES,
        "InitVar",
        c.Seeded,
        (c.Seeded(5), {"x.value": "5"}),
        note="__post_init__ runs with the default, then the stored values are put back",
    ),
    row(
        GROUP_CLASSES,
        "InitVar without a default",
        c.Opened,
        (c.Opened("abc"), {"x.length": "3"}),
        note="made without __init__",
    ),
    row(
        GROUP_CLASSES,
        "hand-written __init__",
        c.HandMade,
        (c.HandMade(1, 2), {"x.total": "3"}),
        note="made without it",
    ),
    row(GROUP_CLASSES, "Final field", c.Constant, (c.Constant(2), {"x.version": "2"})),
    row(GROUP_CLASSES, "attrs class", c.Engine, (c.Engine(5, "s"), {"x.power": "5", "x._serial": "s"})),
    row(GROUP_CLASSES, "attrs class, frozen", c.Wheel, (c.Wheel(5), {"x.size": "5"})),
    row(GROUP_CLASSES, "NamedTuple", c.Pair, (c.Pair(1, "a"), {"x.left": "1", "x.right": "a"})),
    row(
        GROUP_CLASSES,
        "TypedDict",
        c.Movie,
        ({"title": "M", "year": 1931}, {"x.title": "M", "x.year": "1931"}),
    ),
    row(
        GROUP_CLASSES,
        "TypedDict, not total",
        c.Draft,
        ({}, {"x": "{}"}),
        ({"pages": 3}, {"x": "{}", "x.pages": "3"}),
    ),
    row(GROUP_CLASSES, "TypedDict, NotRequired", c.Partly, ({"title": "M"}, {"x.title": "M"})),
]

TYPING = [
    leaf(GROUP_TYPING, "NewType", c.UserId, (c.UserId(5), "5")),
    leaf(GROUP_TYPING, "Annotated", Annotated[int, "a note"], (5, "5")),
    row(GROUP_TYPING, "type alias", c.Names, (["a"], {"x": "1", "x.0": "a"})),
    leaf(
        GROUP_TYPING,
        "Packed",
        Packed[dict[str, c.Stats]],
        ({"a": c.Stats(1)}, '{"a":{"wins":1,"losses":0}}'),
        note="one field, whatever it holds",
    ),
    leaf(
        GROUP_TYPING,
        "Packed Any",
        packed[Any],
        ([1, 2.5, "a", None, {"k": True}], '[1,2.5,"a",null,{"k":true}]'),
        ((1, b"\xff"), '{"~tuple":[1,{"~bytes":"\\udcff"}]}'),
    ),
    row(GROUP_TYPING, "typing.List and kin", typing.List[int], ([1], {"x": "1", "x.0": "1"})),  # noqa: UP006  # the old names
    leaf(GROUP_TYPING, "typing.Union", Union[int, None], (None, "~"), (1, "1")),  # noqa: UP007  # the old names
]

PACKS = [
    row(
        GROUP_PACKS,
        "pydantic model",
        c.Settings,
        (c.Settings(theme="dark"), {"x.theme": "dark", "x.size": "12"}),
        note="made again without validation; private attributes are not stored",
    ),
    row(GROUP_PACKS, "msgspec Struct", c.Vector, (c.Vector(1, 2), {"x.x": "1", "x.y": "2"})),
    leaf(
        GROUP_PACKS,
        "numpy array",
        np.ndarray,
        (np.array([[1], [2]], dtype="|u1"), b"|u1 2,1\n\x01\x02"),
        note="type, shape and bytes; not of objects or structures",
    ),
    leaf(GROUP_PACKS, "numpy int", np.int64, (np.int64(-5), "-5"), note="of any width"),
    leaf(GROUP_PACKS, "numpy float", np.float32, (np.float32(0.5), "0.5"), note="of any width up to 64 bits"),
    leaf(GROUP_PACKS, "numpy bool", np.bool_, (np.bool_(True), "True")),
    leaf(
        GROUP_PACKS,
        "numpy datetime64",
        np.datetime64,
        (np.datetime64("2024-05-01", "D"), b"<M8[D] \n\x84M\0\0\0\0\0\0"),
    ),
]

TABLE = [
    *NUMBERS,
    *TEXT,
    *NAMED,
    *TIMES,
    *NAMES,
    *SEQUENCES,
    *MAPPINGS,
    *UNIONS,
    *CLASSES,
    *TYPING,
]
