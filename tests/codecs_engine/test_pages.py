"""The pages about stored forms say what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rapyer_codecs import default_registry
from rapyer_codecs.names import escape, unescape

from .type_page import PAGE, render
from .type_table import TABLE

STORAGE = Path(__file__).parents[2] / "docs" / "storage.md"


def test_the_page_of_types_is_current() -> None:
    """If not: `python -m tests.codecs_engine.type_page`."""
    assert PAGE.read_text(encoding="utf-8") == render()


@pytest.mark.parametrize(
    ("key", "segment"),
    [
        ("city", "city"),
        ("", "%"),
        ("a.b", "a%2Eb"),
        ("100%", "100%25"),
        ("~", "%7E"),
        ("*", "*"),
        ("[0]", "[0]"),
        (" ", " "),
        ("é", "é"),
        (b"\xff", "%FF"),
    ],
)
def test_segments_are_as_the_page_says(key: str | bytes, segment: str) -> None:
    text = key if isinstance(key, bytes) else key.encode()
    assert escape(text) == segment.encode()
    assert unescape(segment.encode()) == text
    assert f"`{segment}`" in STORAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("segment", [b"", b"%41", b"%2e", b"%2", b"a%", b"~", b"a.b", b"\n", b"%%", b"\xff", b"%C3%A9"])
def test_other_segments_are_none(segment: bytes) -> None:
    with pytest.raises(ValueError):
        unescape(segment)


def test_every_leaf_text_of_the_page_is_one() -> None:
    """The examples in the table of leaves, one by one, are read and written back."""
    by_title = {row.title: row.hint for row in TABLE}
    leaves = STORAGE.read_text(encoding="utf-8").partition("## Leaves")[2].partition("## Packed")[0]
    seen = 0
    for line in leaves.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall(r"`([^`]+)`", cells[0])
        if len(cells) == 3 and names and names[0] in by_title:
            codec = default_registry.codec(by_title[names[0]])
            for text in re.findall(r"`([^`]+)`", cells[2]):
                if names[0] not in ("Enum", "Literal", "IPv4Address"):
                    assert codec.encode(codec.decode(text.encode())) == text.encode(), (names[0], text)
                    seen += 1
    assert seen > 30
