"""save_many when some cannot be saved: what is stored, what is said, and that a second call does the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

import rapyer_core as rc
from rapyer_core.states import state_of
from tests.objects.models import Box
from tests.support.builds import Build


@pytest.fixture
def full(redis_client: redis.Redis) -> Iterator[redis.Redis]:
    """A client of the server, which is out of memory as soon as ``maxmemory`` is set, and never after the test."""
    yield redis_client
    redis_client.config_set("maxmemory", 0)


async def test_a_server_without_memory_refuses_new_objects_and_takes_what_makes_others_smaller(
    full: redis.Redis, build: Build
) -> None:
    loaded = [Box(f"b{number}", counts={"a": 1, "b": 2}) for number in range(120)]
    await rc.save_many(loaded)
    for box in loaded:
        del box.counts["a"]
    new = [Box(f"n{number}") for number in range(120)]
    full.config_set("maxmemory", 1)
    with pytest.raises(rc.NotApplied) as caught:
        await rc.save_many([*new, *loaded])
    assert (caught.value.code, caught.value.pk) == ("OOM", "n0")
    assert not any(state_of(box).loaded for box in new)
    # Without memory, older servers queue nothing in a MULTI.
    left = 120 if build.name == "redis-7.0" else 0
    assert sum(full.hexists(f"Box:b{number}", "counts.a") for number in range(120)) == left
    full.config_set("maxmemory", 0)
    await rc.save_many([*new, *loaded])
    assert await rc.get_many(Box, [box.name for box in (*new, *loaded)]) == [*new, *loaded]


async def test_a_refusal_does_not_hide_what_else_could_not_be_saved(full: redis.Redis) -> None:
    gone = Box("gone")
    loaded = [Box(f"b{number}") for number in range(250)]
    await rc.save_many([gone, *loaded])
    await rc.delete(rc.ref(Box, "gone"))
    gone.number = 1
    for box in loaded[150:]:
        box.number = 1
    full.config_set("maxmemory", 1)
    with pytest.raises(rc.NotApplied) as caught:
        await rc.save_many([gone, *loaded])
    notes: Any = caught.value.__notes__
    assert [note.startswith("not saved either: Box(gone): ") for note in notes] == [True]
    full.config_set("maxmemory", 0)
    with pytest.raises(rc.NotFound) as missing:
        await rc.save_many([gone, *loaded])
    assert missing.value.pk == "gone"
    assert await rc.get_many(Box, [box.name for box in loaded]) == loaded
