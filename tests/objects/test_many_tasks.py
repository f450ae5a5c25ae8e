"""Fifty tasks of each, and a thousand on default settings: nothing is lost and nothing raises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

import rapyer_core as rc
from tests.objects.models import Achievement, Box, Hero, Player

pytestmark = pytest.mark.one_server

TASKS = 50


async def together(*calls: Awaitable[Any]) -> list[Any]:
    """All at once."""
    return await asyncio.gather(*calls)


@pytest.fixture(params=["one object", "an object each", "refs"])
async def handles(request: pytest.FixtureRequest) -> list[Box]:
    """Fifty handles of one stored object."""
    box = Box("b", hero=Hero("h"), counts={"k": 0})
    await rc.save(box)
    if request.param == "one object":
        return [box] * TASKS
    if request.param == "refs":
        return [rc.ref(Box, "b")] * TASKS
    return [await rc.get(Box, "b") for _ in range(TASKS)]


@pytest.mark.parametrize("path", ["number", "real", "money", "part", "counts.k", "hero.hp"])
async def test_increments(handles: list[Box], path: Any) -> None:
    start = 10 if path == "hero.hp" else 0
    results = await together(*[rc.increment(box, path, 1) for box in handles])
    assert sorted(results) == [start + n for n in range(1, TASKS + 1)]
    found = await rc.get(Box, "b")
    value = found.counts["k"] if path == "counts.k" else found.hero and found.hero.hp
    assert (getattr(found, path) if path in ("number", "real", "money", "part") else value) == start + TASKS


async def test_modifications(handles: list[Box]) -> None:
    await together(*[rc.modify(box, Box.text, lambda text: text + "x") for box in handles])
    await together(*[rc.modify(box, Box.items, lambda items: [*items, "x"]) for box in handles])
    found = await rc.get(Box, "b")
    assert (found.text, found.items) == ("x" * TASKS, ["x"] * TASKS)


async def test_appends_and_inserts(handles: list[Box]) -> None:
    await together(*[rc.append(box, Box.items, f"a{n}") for n, box in enumerate(handles)])
    await together(*[rc.insert_at(box, Box.items, 0, f"i{n}") for n, box in enumerate(handles)])
    items = (await rc.get(Box, "b")).items
    assert sorted(items) == sorted([f"a{n}" for n in range(TASKS)] + [f"i{n}" for n in range(TASKS)])
    popped = await together(*[rc.pop(box, Box.items) for box in handles])
    rest = (await rc.get(Box, "b")).items
    assert sorted(popped + rest) == sorted(items)


async def test_puts_adds_and_removals(handles: list[Box]) -> None:
    await together(*[rc.put(box, Box.counts, f"k{n}", n) for n, box in enumerate(handles)])
    await together(*[rc.add(box, Box.members, n) for n, box in enumerate(handles)])
    await together(*[rc.put(box, Box.team, f"k{n}", Hero("x", n)) for n, box in enumerate(handles)])
    found = await rc.get(Box, "b")
    assert found.counts == {"k": 0, **{f"k{n}": n for n in range(TASKS)}}
    assert found.members == set(range(TASKS))
    assert found.team == {f"k{n}": Hero("x", n) for n in range(TASKS)}
    counts: Any = Box.counts
    removed = await together(*[rc.pop(box, counts, f"k{n // 2}", default=None) for n, box in enumerate(handles)])
    assert sorted(value for value in removed if value is not None) == list(range(TASKS // 2))


async def test_one_instance_shows_all_after_its_own_tasks() -> None:
    """One object, fifty tasks of every kind on it: in the end it is what is stored, and a save writes nothing wrong."""
    box = Box("b")
    await rc.save(box)
    await together(
        *[rc.append(box, Box.items, f"a{n}") for n in range(TASKS)],
        *[rc.put(box, Box.counts, f"k{n}", n) for n in range(TASKS)],
        *[rc.add(box, Box.members, n) for n in range(TASKS)],
    )
    assert sorted(box.items) == sorted(f"a{n}" for n in range(TASKS))
    assert box == await rc.get(Box, "b")
    box.text = "x"
    await rc.save(box)
    assert box == await rc.get(Box, "b")


async def test_of_many_inserts_one_wins() -> None:
    results = await asyncio.gather(*[rc.insert(Player("alice", coins=n)) for n in range(TASKS)], return_exceptions=True)
    assert results.count(None) == 1
    assert sum(isinstance(result, rc.AlreadyExists) for result in results) == TASKS - 1
    assert (await rc.get(Player, "alice")).coins == results.index(None)


async def test_of_many_get_or_create_one_creates() -> None:
    results = await together(*[rc.get_or_create(Player, "alice", coins=n) for n in range(TASKS)])
    assert sum(created for _, created in results) == 1
    assert len({player.coins for player, _ in results}) == 1


async def test_of_many_deletes_one_finds_it() -> None:
    await rc.save(Player("alice"))
    assert sum(await together(*[rc.delete(Player, "alice") for _ in range(TASKS)])) == 1


async def test_of_many_stale_saves_of_one_field_one_wins() -> None:
    await rc.save(Player("alice"))
    handles = [await rc.get(Player, "alice") for _ in range(TASKS)]
    for n, player in enumerate(handles):
        player.coins = n + 1
    results = await asyncio.gather(*[rc.save(player) for player in handles], return_exceptions=True)
    assert results.count(None) == 1
    assert sum(isinstance(result, rc.Conflict) for result in results) == TASKS - 1
    assert (await rc.get(Player, "alice")).coins == results.index(None) + 1


async def test_many_stale_saves_of_different_entries_are_all_kept() -> None:
    await rc.save(Player("alice"))
    handles = [await rc.get(Player, "alice") for _ in range(TASKS)]
    for n, player in enumerate(handles):
        player.metadata[f"k{n}"] = str(n)
        player.tags.add(f"t{n}")
    await together(*map(rc.save, handles))
    found = await rc.get(Player, "alice")
    assert found.metadata == {f"k{n}": str(n) for n in range(TASKS)}
    assert found.tags == {f"t{n}" for n in range(TASKS)}


async def test_inserts_and_deletes_leave_objects_and_index_in_step() -> None:
    async def play(number: int) -> None:
        for n in range(5):
            await rc.save(Player("alice", score=number * 10 + n))
            await rc.get_or_create(Player, "alice", score=1)
            await rc.delete(Player, "alice")

    await together(*[play(number) for number in range(10)])
    report = await rc.verify(Player)
    assert report.ok
    assert report.objects == 0


async def test_two_sessions_write_one_object(url: str) -> None:
    """The turns of one session do not order another's writers."""
    await rc.save(Box("b"))
    async with rc.open_session(url) as one, rc.open_session(url) as two:
        await together(
            *[rc.append(rc.ref(Box, "b"), Box.items, "x", session=side) for side in (one, two) for _ in range(25)],
            *[rc.increment(rc.ref(Box, "b"), Box.real, 1.0, session=side) for side in (one, two) for _ in range(25)],
        )
    found = await rc.get(Box, "b")
    assert (len(found.items), found.real) == (50, 50.0)


async def test_a_thousand_tasks_on_default_settings() -> None:
    await rc.save_many([Player(f"p{n}") for n in range(20)])

    async def play(n: int) -> None:
        player = await rc.get(Player, f"p{n % 20}")
        await rc.increment(player, Player.coins, 1)
        await rc.increment(player, Player.score, 1)
        await rc.append(player, Player.achievements, Achievement.STREAK)
        await rc.put(player, Player.metadata, f"k{n}", "x")

    await together(*[play(n) for n in range(1000)])
    players = await rc.find(Player)
    assert sum(player.coins for player in players) == sum(player.score for player in players) == 1000
    assert sum(len(player.achievements) for player in players) == 1000
    assert sum(len(player.metadata) for player in players) == 1000
    assert (await rc.verify(Player)).ok
