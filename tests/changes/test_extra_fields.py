"""`extra_fields`: what is stored of an object and its class does not know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import pytest
import redis

import rapyer_core as rc
from rapyer_core import Alias, Key, extra_fields, redis_model
from tests.objects.conftest import Hash


@dataclass
class Part:
    wins: int = 0


@redis_model
@dataclass
class Small:
    name: Key[str]
    hits: Annotated[int, Alias("clicks")] = 0
    part: Part = field(default_factory=Part)
    table: dict[str, Part] = field(default_factory=dict)


FIELDS = {
    b"~": b"1",
    b"name": b"x",
    b"clicks": b"3",
    b"part.wins": b"1",
    b"part.losses": b"2",
    b"table": b"{}",
    b"table.a.wins": b"4",
    b"table.a.draws": b"5",
    b"old": b"\xff\x00",
    b"\xfe": b"name that is no UTF-8",
}
EXTRAS = {"part.losses": b"2", "table.a.draws": b"5", "old": b"\xff\x00", "\udcfe": b"name that is no UTF-8"}


@pytest.fixture
async def small(redis_client: redis.Redis) -> Small:
    redis_client.hset("Small:x", mapping=FIELDS)  # type: ignore[arg-type]  # redis-py's types know str names only
    return await rc.get(Small, "x")


async def test_they_are_shown_and_survive_every_write(small: Small, redis_client: redis.Redis) -> None:
    assert extra_fields(small) == EXTRAS
    small.hits = 9
    small.part.wins = 2
    await rc.save(small)
    await rc.increment(small, Small.hits, 1)
    async with rc.pipeline(small) as draft:
        draft.part.wins += 5
        draft.table["b"] = Part(1)
    await rc.save(small, overwrite=True)
    assert extra_fields(small) == EXTRAS
    assert extra_fields(await rc.get(Small, "x")) == EXTRAS
    assert extra_fields(rc.evolve(small, hits=1)) == EXTRAS
    found = redis_client.hgetall("Small:x")
    assert {name: found[name] for name in FIELDS if name.decode(errors="surrogateescape") in EXTRAS} == {
        name.encode(errors="surrogateescape"): text for name, text in EXTRAS.items()
    }


async def test_the_result_is_the_callers_own(small: Small) -> None:
    extra_fields(small).clear()
    assert extra_fields(small) == EXTRAS


async def test_of_a_new_object_there_are_none(stored: Hash) -> None:
    assert extra_fields(Small("n")) == {}
    with pytest.raises(TypeError):
        extra_fields(rc.ref(Small, "n"))
    with pytest.raises(TypeError):
        extra_fields(Part())
