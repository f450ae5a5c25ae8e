"""The budget of round trips: what each operation may cost, to the batch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import rapyer_core as rc
from rapyer_core.operations.reading import parts_of
from tests.objects.conftest import Trips
from tests.objects.models import Achievement, Player, Stats

pytestmark = pytest.mark.also_restricted

Call = Callable[[Any], Awaitable[Any]]

COSTS: list[tuple[str, int, Call]] = [
    ("get", 1, lambda player: rc.get(Player, "alice")),
    ("get_many", 1, lambda player: rc.get_many(Player, ["alice", "bob", "carol"])),
    ("reload", 1, rc.reload),
    ("exists", 1, rc.exists),
    ("delete", 1, rc.delete),
    ("delete_many", 1, lambda player: rc.delete_many([player, rc.ref(Player, "bob")])),
    ("save of a new object", 1, lambda player: rc.save(Player("new", score=3))),
    ("insert", 2, lambda player: rc.insert(Player("new"))),
    ("get_or_create of a stored one", 1, lambda player: rc.get_or_create(Player, "alice")),
    ("get_or_create of a new one", 3, lambda player: rc.get_or_create(Player, "new")),
    ("increment", 1, lambda player: rc.increment(player, Player.coins, 1)),
    ("increment in a record", 1, lambda player: rc.increment(player, Player.stats.wins, 1)),
    ("increment of an index", 2, lambda player: rc.increment(player, Player.score, 1)),
    ("increment of a float", 2, lambda player: rc.increment(player, Player.stats.average, 1.5)),
    ("assign", 1, lambda player: rc.assign(player, Player.coins, 1)),
    ("assign of an index", 2, lambda player: rc.assign(player, Player.score, 1)),
    ("assign of a record", 2, lambda player: rc.assign(player, Player.stats, Stats(5))),
    ("modify", 2, lambda player: rc.modify(player, Player.coins, lambda n: n + 1)),
    ("append", 2, lambda player: rc.append(player, Player.achievements, Achievement.STREAK)),
    ("append by ref", 2, lambda p: rc.append(rc.ref(Player, "alice"), Player.achievements, Achievement.STREAK)),
    ("put", 1, lambda player: rc.put(player, Player.metadata, "k", "v")),
    ("merge", 1, lambda player: rc.merge(player, Player.metadata, {"k": "v", "l": "w"})),
    ("assign of an entry", 1, lambda player: rc.assign(player, Player.metadata["k"], "v")),
    ("pop of an entry", 2, lambda player: rc.pop(player, Player.metadata, "old")),
    ("remove of an entry", 1, lambda player: rc.remove(player, Player.metadata, "old")),
    ("add", 1, lambda player: rc.add(player, Player.tags, "a", "b")),
    ("discard", 1, lambda player: rc.discard(player, Player.tags, "old")),
    ("remove of a member", 1, lambda player: rc.remove(player, Player.tags, "old")),
    ("clear", 2, lambda player: rc.clear(player, Player.metadata)),
    ("rank", 1, lambda player: rc.rank(player, Player.score)),
    ("top", 2, lambda player: rc.top(Player, Player.score, 3)),
]
WHOLE = {"assign of a record", "clear"}
"""What has to see more than a few fields before it writes."""


@pytest.mark.parametrize(("name", "cost", "call"), COSTS, ids=[name for name, _, _ in COSTS])
async def test_the_cost(name: str, cost: int, call: Call, trips: Trips) -> None:
    player = Player("alice", metadata={"old": "1"}, tags={"old"})
    await rc.save_many([player, Player("bob"), Player("carol")])
    trips.batches.clear()
    with trips.expect(cost):
        await call(player)
    if cost == 2 and name not in WHOLE and name != "top":
        assert b"HGETALL" not in trips.commands


async def test_save_of_a_loaded_object_sees_only_what_changed(trips: Trips) -> None:
    await rc.save(Player("alice"))
    player = await rc.get(Player, "alice")
    player.coins, player.stats.wins, player.score = 1, 2, 3
    trips.batches.clear()
    with trips.expect(2):
        await rc.save(player)
    assert b"HGETALL" not in trips.commands


async def test_a_blind_write_by_ref_never_watches(trips: Trips) -> None:
    await rc.save(Player("alice"))
    await rc.increment(rc.ref(Player, "alice"), Player.coins, 1)
    assert not {b"WATCH", b"HGETALL", b"HMGET"} & set(trips.commands)


async def test_get_many_and_find_read_in_bulk(trips: Trips) -> None:
    await rc.save_many([Player(f"p{n}", score=n) for n in range(400)])
    # Parts that do not wait for each other.
    with trips.expect(len(parts_of(range(400)))):
        assert len(await rc.get_many(Player, [f"p{n}" for n in range(400)])) == 400
    with trips.expect(2):
        assert len(await rc.find(Player, Player.score >= 300)) == 100
    with trips.expect(2):
        assert len(await rc.find(Player, order_by=rc.desc(Player.score), limit=5)) == 5
    assert b"KEYS" not in trips.commands
