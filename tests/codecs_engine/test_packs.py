"""Types of other packages: exact like the rest, and nothing is imported before one is met."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import make_dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pydantic
import pytest

from rapyer_codecs import DecodeError, EncodeError, Mapper, default_registry
from rapyer_codecs.testing import check_codec

from .test_types import holder, stored
from .type_table import PACKS, Row, packed


@pytest.mark.parametrize("row", PACKS, ids=lambda row: row.title)
def test_stored_form_is_literally_this(row: Row) -> None:
    cls = holder(row.hint)
    mapper: Mapper[Any] = default_registry.mapper(cls)
    for value, fields in row.examples:
        assert mapper.dump(cls(value)) == stored(fields)
        assert repr(mapper.load(stored(fields)).x) == repr(value)


class Model(pydantic.BaseModel):
    name: str
    scores: list[int] = pydantic.Field(default_factory=list)
    nick: str | None = None


class Super(Model):
    power: int = 1


class Struct(msgspec.Struct):
    name: str
    scores: list[int] = msgspec.field(default_factory=list)
    nick: str | None = None


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    size: int = 0

    def __post_init__(self) -> None:
        if self.size > 100:
            raise ValueError("too large")


FIELDS = {b"x.name": b"a", b"x.scores": b"1", b"x.scores.0": b"5", b"x.nick": b"~"}


@pytest.mark.parametrize("cls", [Model, Struct])
def test_models_and_structs_are_records(cls: Any) -> None:
    outer = make_dataclass("Holder", [("x", cls), ("all", list[cls]), ("packed", packed[cls])])
    mapper: Mapper[Any] = default_registry.mapper(outer)
    one = cls(name="a", scores=[5])
    value = outer(one, [one], one)
    fields = mapper.dump(value)
    assert FIELDS.items() <= fields.items()
    assert fields[b"packed"] == b'{"name":"a","scores":[5],"nick":null}'
    assert mapper.load(fields) == value
    assert type(mapper.load(fields).x) is cls
    short = {name: text for name, text in fields.items() if name not in (b"x.scores", b"x.scores.0", b"x.nick")}
    assert mapper.load(short).x == cls(name="a"), "absent fields have their defaults"


@pytest.mark.parametrize("cls", [Model, Struct])
def test_models_and_structs_stand_alone(cls: Any) -> None:
    mapper: Mapper[Any] = default_registry.mapper(cls)
    value = cls(name="a", scores=[1, 2], nick="n")
    assert mapper.load(mapper.dump(value)) == value
    assert mapper.diff(mapper.dump(value), mapper.dump(cls(name="b", scores=[1, 2], nick="n"))).put == {b"name": b"b"}


def test_subclasses_of_models_have_tags() -> None:
    outer = make_dataclass("Holder", [("x", Model)])
    mapper: Mapper[Any] = default_registry.mapper(outer)
    value = outer(Super(name="a", power=5))
    fields = mapper.dump(value)
    assert fields[b"x"] == b"~Super:{}"
    assert mapper.load(fields) == value


def test_a_frozen_struct() -> None:
    mapper: Mapper[Any] = default_registry.mapper(Frozen)
    assert mapper.load(mapper.dump(Frozen(size=5))) == Frozen(size=5)
    with pytest.raises(DecodeError, match="the class refused the stored values"):
        mapper.load({b"size": b"101"})


ARRAYS = [
    (np.array([[1, 2], [3, 4]], dtype="<i2"), b"<i2 2,2\n\x01\0\x02\0\x03\0\x04\0"),
    (np.array(5, dtype="u1"), b"|u1 \n\x05"),
    (np.array([], dtype="<f8"), b"<f8 0\n"),
    (np.array([True]), b"|b1 1\n\x01"),
    (np.array(["ab"], dtype="<U2"), b"<U2 1\na\0\0\0b\0\0\0"),
    (np.array([1], dtype=">i4"), b">i4 1\n\0\0\0\x01"),
    (np.array(["2024-05-01"], dtype="<M8[D]"), b"<M8[D] 1\n\x84M\0\0\0\0\0\0"),
    (np.asfortranarray(np.array([[1, 2], [3, 4]], dtype="|u1")), b"|u1 2,2\n\x01\x02\x03\x04"),
]


@pytest.mark.parametrize(("array", "text"), ARRAYS, ids=lambda value: str(getattr(value, "dtype", "")))
@pytest.mark.parametrize("hint", [np.ndarray, npt.NDArray[Any]], ids=["bare", "typed"])
def test_arrays(array: npt.NDArray[Any], text: bytes, hint: Any) -> None:
    outer = make_dataclass("Holder", [("x", hint), ("y", list[hint]), ("z", packed[hint])], eq=False)
    mapper: Mapper[Any] = default_registry.mapper(outer)
    fields = mapper.dump(outer(array, [array], array))
    assert fields[b"x"] == text
    loaded = mapper.load(fields)
    for got in (loaded.x, loaded.y[0], loaded.z):
        assert got.dtype == array.dtype
        assert got.shape == array.shape
        assert got.tobytes() == array.tobytes()
        assert got.flags.writeable
    assert mapper.dump(loaded) == fields


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.int64(-5), b"-5"),
        (np.uint8(5), b"5"),
        (np.float64(0.1), b"0.1"),
        (np.float32(0.1), b"0.10000000149011612"),
        (np.float64("-inf"), b"-inf"),
        (np.bool_(True), b"True"),
        (np.complex128(1 + 2j), b"<c16 \n" + np.complex128(1 + 2j).tobytes()),
        (np.datetime64("2024-05-01", "D"), b"<M8[D] \n\x84M\0\0\0\0\0\0"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_scalars(value: Any, text: bytes) -> None:
    check_codec(type(value), {text: value}, bad=[b"", b"x", b"1e999", b"<f8 3\n", b"|O8 \n" + b"\0" * 8])


def test_what_is_not_plain_data_is_refused() -> None:
    codec = default_registry.codec(np.ndarray)
    for array in (np.array([object()]), np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])):
        with pytest.raises(EncodeError):
            codec.encode(array)
    for text in (b"", b"<f8 2\n\0", b"|O8 1\n" + b"\0" * 8, b"<f8 99999999999\n", b"<f8 1\n" + b"\0" * 9, b"<f9 1\n"):
        with pytest.raises(DecodeError):
            codec.decode(text)


def test_nothing_is_imported_until_it_is_met() -> None:
    code = (
        "import sys, dataclasses, rapyer_codecs as r;"
        "cls = dataclasses.make_dataclass('A', [('x', dict[str, int])]);"
        "r.default_registry.mapper(cls).dump(cls({'a': 1}));"
        "assert not {'numpy', 'pydantic', 'msgspec', 'redis', 'asyncio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": "codecs"}, timeout=60)
