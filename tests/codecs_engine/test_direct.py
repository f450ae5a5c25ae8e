"""The direct form of a leaf's codec does what the leaf does, or raises so that the leaf is asked."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rapyer_codecs import RapyerError, Registry, default_registry
from rapyer_codecs.limits import Limits
from rapyer_codecs.shape import Leaf


class Colour(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark blue"


TYPES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers() | st.integers(-2000, 2000),
    float: st.floats(allow_nan=False),
    str: st.text(),
    bytes: st.binary(),
    bool: st.booleans(),
    datetime: st.datetimes(),
    Colour: st.sampled_from(Colour),
}

SMALL = Registry(limits=Limits(value=20, digits=20), parent=default_registry)


@given(st.data())
def test_it_writes_and_reads_what_the_leaf_does(data: st.DataObject) -> None:
    for cls, values in TYPES.items():
        leaf = default_registry.codec(cls)
        assert leaf.direct is not None
        assert leaf.direct.type is cls
        value = data.draw(values)
        raw = leaf.direct.encode(value)
        assert raw == leaf.encode(value)
        again = leaf.direct.decode(raw)
        assert type(again) is cls
        assert again == value == leaf.decode(raw)


@given(st.sampled_from(list(TYPES)), st.binary(max_size=30) | st.from_regex(rb"[-+0]?[0-9.e_ ]{1,25}", fullmatch=True))
def test_it_reads_nothing_that_the_leaf_refuses(cls: Any, raw: bytes) -> None:
    leaf = SMALL.codec(cls)
    assert leaf.direct is not None
    try:
        value = leaf.direct.decode(raw)
    except Exception:
        return
    assert repr(leaf.decode(raw)) == repr(value)


@pytest.mark.parametrize("value", [10**25, -(10**25), "x" * 21, "\udcff", b"x" * 21])
def test_it_writes_nothing_that_the_leaf_refuses(value: Any) -> None:
    leaf = SMALL.codec(type(value))
    assert leaf.direct is not None
    with pytest.raises(Exception):  # noqa: B017 - whatever it is, the leaf is asked then
        leaf.direct.encode(value)
    with pytest.raises(RapyerError):
        leaf.encode(value)


def test_a_codec_of_ones_own_has_none() -> None:
    registry = Registry(parent=default_registry)
    registry.register(int, encode=lambda value: f"<{value}>", decode=lambda raw: int(raw[1:-1]))
    leaf = registry.shape(int)
    assert isinstance(leaf, Leaf)
    assert leaf.direct is None
    assert registry.shape(list[int]).direct is None
