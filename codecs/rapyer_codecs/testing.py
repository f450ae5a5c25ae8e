"""Checks for codecs, for those who write one. Needs no test framework: what fails is an AssertionError."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import make_dataclass
from typing import Any

from .default import default_registry
from .errors import DecodeError
from .mapper import Mapper
from .markers import Packed
from .registry import Registry

__all__ = ["check_codec"]


def check_codec(
    hint: Any,
    examples: Mapping[bytes, Any],
    *,
    bad: Iterable[bytes] = (),
    registry: Registry = default_registry,
) -> None:
    """Check the codec of a type that is stored in one field.

    `examples`: stored text -> value, literally; each is encoded, decoded, and sent around through a field,
    an Optional, a list, a dict and a packed value. `bad`: texts that must be refused with DecodeError.
    """
    codec = registry.codec(hint)
    assert examples, "give at least one example"
    for text, value in examples.items():
        assert codec.encode(value) == text, f"{hint} is not stored as {text!r}"
        _same(codec.decode(text), value)
        for container, wrapped in _around(hint, value):
            _round_trip(container, wrapped, registry)
    for text in bad:
        try:
            codec.decode(text)
        except DecodeError:
            continue
        raise AssertionError(f"{text!r} was read as {hint}")


def _around(hint: Any, value: Any) -> list[tuple[Any, Any]]:
    return [
        (hint, value),
        (hint | None, value),
        (hint | None, None),
        (list[hint], [value, value]),
        (dict[str, hint], {"a.b": value}),
        (Packed[list[hint]], [value]),
    ]


def _round_trip(hint: Any, value: Any, registry: Registry) -> None:
    holder = make_dataclass("Holder", [("field", hint)], eq=False)
    mapper: Mapper[Any] = registry.mapper(holder)
    fields = mapper.dump(holder(value))
    loaded = mapper.load(fields)
    assert mapper.dump(loaded) == fields, f"{hint} is stored differently after a round trip"
    _same(loaded.field, value)


def _same(got: Any, expected: Any) -> None:
    # A value that is not equal to itself (nan) is compared by its text.
    assert type(got) is type(expected), f"{type(expected)} came back as {type(got)}"
    assert got == expected or repr(got) == repr(expected), "another value came back"
