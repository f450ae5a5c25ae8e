"""docs/types.md, made from the table that the tests run. `python -m tests.codecs_engine.type_page` writes it."""

from __future__ import annotations

from collections import OrderedDict
from itertools import groupby
from pathlib import Path
from typing import Any

from .type_table import PACKS, TABLE, Row

PAGE = Path(__file__).parents[2] / "docs" / "types.md"
HEAD = """\
# Types

Every type here comes back exactly as it was stored: the same value of the same type, in every container, as Optional,
as a dict key or set member where it is hashable, and under `from __future__ import annotations`. This page is made from
the table that the tests run (`tests/codecs_engine/type_table.py`). The grammar behind it: [what is stored](storage.md).

The examples are of a field named `x`. Bytes that are no text are shown as in Python.

A type that is not here is refused when its class is first looked at, by the name of class, field and type.
`register_codec` adds one, `Annotated[T, Codec(...)]` adds one for a field alone. `type[X]`, callables and ChainMap have
no form that could be read back, and are refused.

A value must be of the declared type exactly: a subclass of `str`, a bool for an int, a tuple for a list would come back
as something else, and is refused. Instances of subclasses of your classes are stored with a tag. Two exceptions: an int
is taken for a float where it is exact, and a type with a codec of your own takes subclasses.

What happens when an instance is made: a class with a generated `__init__` is called with its fields, so `__post_init__`
runs; after that every stored field is set again, so that the object is what was stored. A class whose `__init__` is
hand-written, or takes an InitVar without a default, is made without it; so is one whose generated `__init__` only
assigns the fields, which is done in its place. A class that raises refuses the stored values: DecodeError.
"""


def render() -> str:
    """The page."""
    parts = [HEAD]
    for group, rows in groupby([*TABLE, *PACKS], key=lambda row: row.group):
        parts.append(f"## {group}\n\n| type | value | stored | |\n|---|---|---|---|\n" + "".join(map(_lines, rows)))
    return "\n".join(parts)


def _lines(row: Row) -> str:
    lines = []
    for number, (value, fields) in enumerate(row.examples):
        title, note = (row.title, row.note) if number == 0 else ("", "")
        shown = "<br>".join(f"`{_cell(f'{name}={_text(text)}')}`" for name, text in fields.items())
        lines.append(f"| {title} | `{_cell(_value(value))}` | {shown} | {note} |\n")
    return "".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, memoryview):
        return f"memoryview({value.tobytes()!r})"
    if isinstance(value, (set, frozenset)):
        return _sorted(value)
    if isinstance(value, OrderedDict) and value:
        return f"OrderedDict({list(value.items())!r})"  # Python 3.12 and later have another repr
    return repr(value).replace("\n", "")


def _sorted(value: Any) -> str:
    members = ", ".join(sorted(map(repr, value)))
    if isinstance(value, frozenset):
        return f"frozenset({{{members}}})"
    return f"{{{members}}}" if members else "set()"


def _text(text: str | bytes) -> str:
    if isinstance(text, bytes):
        return repr(text)[2:-1]
    return text if text.isprintable() else repr(text)[1:-1]


def _cell(text: str) -> str:
    return text.replace("\x00", "\\0").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
