"""increment: Python's result or an error, for every kind of number; blind where that is right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import redis

import rapyer_core as rc
from rapyer_core import Key, redis_model
from tests.objects.conftest import Hash, Trips
from tests.objects.models import Box, Player, text

TOP = 2**63 - 1


async def test_an_int_is_counted_blindly_and_stored_as_bare_decimal(stored: Hash, trips: Trips) -> None:
    await rc.save(Player("alice"))
    player = await rc.get(Player, "alice")
    with trips.expect(1):
        assert await rc.increment(player, Player.stats.wins, 3) == 3
    with trips.expect(1):
        assert await rc.increment(rc.ref(Player, "alice"), "coins", -2) == -2
    assert stored("Player:alice")["stats.wins"] == "3"
    assert stored("Player:alice")["coins"] == "-2"
    assert player.stats.wins == 3


@pytest.mark.parametrize(
    ("start", "by"),
    [(TOP, 1), (TOP - 1, 1), (-TOP - 1, -1), (0, TOP + 1), (0, -TOP - 2), (10**40, 1), (-(10**40), 10**40), (5, TOP)],
)
async def test_ints_past_64_bit_are_exact(start: int, by: int, stored: Hash) -> None:
    box = Box("b", number=start)
    await rc.save(box)
    assert await rc.increment(box, Box.number, by) == start + by == box.number
    assert stored("Box:b")["number"] == str(start + by)
    assert await rc.increment(box, Box.number, -by) == start


@pytest.mark.parametrize(
    ("start", "by"),
    [(0.1, 0.2), (1e300, 1.0), (5e-324, 5e-324), (1e308, 1e308), (math.inf, 1.0), (1.5, 1), (-0.0, 0.0), (0.0, 1e-18)],
)
async def test_floats_are_pythons(start: float, by: float, stored: Hash) -> None:
    box = Box("b", real=start)
    await rc.save(box)
    assert await rc.increment(box, Box.real, by) == start + by
    assert stored("Box:b")["real"] == repr(start + by)
    assert (await rc.get(Box, "b")).real == start + by


async def test_nan_is_stored_exactly() -> None:
    box = Box("b")
    await rc.save(box)
    assert math.isnan(await rc.increment(box, Box.real, math.nan))
    assert math.isnan((await rc.get(Box, "b")).real)


@pytest.mark.parametrize(
    ("name", "start", "by"),
    [
        ("money", Decimal("0.10"), Decimal("0.20")),
        ("money", Decimal("1E+30"), 1),
        ("part", Fraction(1, 3), Fraction(1, 6)),
        ("part", Fraction(1, 3), 1),
        ("maybe", 1, 2),
        ("maybe", TOP, 1),
    ],
)
async def test_other_numbers(name: str, start: Any, by: Any, trips: Trips) -> None:
    box = Box("b", **{name: start})
    await rc.save(box)
    with trips.expect(2):
        result = await rc.increment(box, text(name), by)
    assert result == start + by == getattr(box, name) == getattr(await rc.get(Box, "b"), name)
    assert type(result) is type(start + by)
    assert b"HGETALL" not in trips.commands[:-1]


async def test_a_union_of_several_types_is_no_number() -> None:
    box = Box("b")
    await rc.save(box)
    with pytest.raises(rc.PathError):
        await rc.increment(box, "either", 1)


@redis_model
@dataclass
class Span:
    name: Key[str]
    length: timedelta = timedelta(0)
    kind: bool = False
    needed: int = 7
    number: complex = 0j


async def test_timedelta_and_complex() -> None:
    span = Span("s")
    await rc.save(span)
    path: Any = Span.length
    assert await rc.increment(span, path, timedelta(hours=1)) == timedelta(hours=1)
    assert await rc.increment(span, Span.number, 1 + 2j) == 1 + 2j


@pytest.mark.parametrize(
    ("path", "by"),
    [
        ("number", 1.5),
        ("number", True),
        ("number", "1"),
        ("number", None),
        ("number", Decimal(1)),
        ("money", 0.5),
        ("real", 1j),
        ("real", Decimal(1)),
        ("text", "x"),
        ("flag", 1),
        ("real", 10**400),
    ],
)
async def test_what_cannot_be_added_is_refused_and_nothing_written(path: str, by: Any, stored: Hash) -> None:
    box = Box("b")
    await rc.save(box)
    before = stored("Box:b")
    with pytest.raises(rc.EncodeError) as caught:
        await rc.increment(box, text(path), by)
    assert (caught.value.model, caught.value.pk, caught.value.path) == ("Box", "b", path)
    assert stored("Box:b") == before


async def test_a_field_added_later_is_counted_from_its_default(redis_client: redis.Redis, trips: Trips) -> None:
    span = Span("s")
    await rc.save(span)
    redis_client.hdel("Span:s", "needed")
    with trips.expect(1):
        assert await rc.increment(span, Span.needed, 1) == 8
    assert redis_client.hget("Span:s", "needed") == b"8"
    redis_client.hdel("Span:s", "needed")
    assert await rc.modify(span, Span.needed, lambda n: n * 2) == 14


@pytest.mark.parametrize("raw", [b"007", b"1.0", b" 1", b"x", b"", b"1_000"])
async def test_a_corrupt_counter_is_reported_and_kept(raw: bytes, redis_client: redis.Redis) -> None:
    box = Box("b")
    await rc.save(box)
    redis_client.hset("Box:b", "number", raw)
    with pytest.raises(rc.DecodeError) as caught:
        await rc.increment(box, Box.number, 1)
    assert (caught.value.model, caught.value.pk, caught.value.path, caught.value.raw) == ("Box", "b", "number", raw)
    assert redis_client.hget("Box:b", "number") == raw


async def test_modify_is_worked_out_on_the_stored_value() -> None:
    box = Box("b", number=5, text="a")
    await rc.save(box)
    await rc.assign(rc.ref(Box, "b"), Box.number, 6)
    assert await rc.modify(box, Box.number, lambda n: n * n) == 36 == box.number
    assert await rc.modify(box, Box.text, str.upper) == "A"
    assert await rc.modify(box, Box.either, lambda value: f"{value}!") == "0!"
    assert await rc.get(Box, "b") == box


async def test_what_the_function_raises_reaches_the_caller_and_nothing_is_written(stored: Hash) -> None:
    box = Box("b", counts={"a": 1})
    await rc.save(box)
    before = stored("Box:b")

    def fails(value: Any) -> Any:
        raise KeyError("mine")

    for path in ("number", "counts", "counts.a", "items", "hero", "packed"):
        with pytest.raises(KeyError, match="mine") as caught:
            await rc.modify(box, path, fails)
        assert type(caught.value) is KeyError
    with pytest.raises(rc.EncodeError):
        await rc.modify(box, Box.number, lambda n: str(n))  # type: ignore[arg-type, return-value]  # on purpose
    with pytest.raises(rc.EncodeError):
        await rc.modify(box, text("items"), lambda items: items.append("x"))
    assert stored("Box:b") == before
