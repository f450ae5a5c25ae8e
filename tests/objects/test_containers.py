"""Lists, dicts and sets: each operation, what it stores, what it returns, and how many round trips it takes."""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

import pytest

import rapyer_core as rc
from rapyer_core import Key, redis_model
from tests.objects.conftest import Hash, Trips
from tests.objects.models import Achievement, Box, Hero, Player, text


def part(fields: dict[str, str], name: str) -> dict[str, str]:
    """The stored fields of one place."""
    return {field: text for field, text in fields.items() if field == name or field.startswith(name + ".")}


async def test_lists(stored: Hash, trips: Trips) -> None:
    box = Box("b")
    await rc.save(box)
    with trips.expect(2):
        await rc.append(box, Box.items, "a")
    with trips.expect(2):
        await rc.extend(box, Box.items, ["b", "c", "d"])
    with trips.expect(2):
        await rc.insert_at(box, Box.items, 1, "x")
    assert box.items == ["a", "x", "b", "c", "d"]
    with trips.expect(2):
        assert await rc.pop(box, Box.items) == "d"
    assert await rc.pop(box, Box.items, 0) == "a"
    assert await rc.pop(box, Box.items, -1) == "c"
    with trips.expect(2):
        await rc.remove(box, Box.items, "x")
    assert box.items == ["b"]
    assert part(stored("Box:b"), "items") == {"items": "1", "items.0": "b"}
    await rc.extend(box, Box.items, [])
    await rc.clear(box, Box.items)
    assert part(stored("Box:b"), "items") == {"items": "0"}
    assert await rc.get(Box, "b") == box
    with pytest.raises(rc.MissingEntry):
        await rc.pop(box, Box.items)
    assert await rc.pop(box, Box.items, default=None) is None
    assert await rc.pop(box, Box.items, 7, default="none") == "none"
    with pytest.raises(rc.MissingValue):
        await rc.remove(box, Box.items, "nope")


async def test_insert_at_follows_python_past_either_end() -> None:
    box = Box("b", items=["a", "b"])
    await rc.save(box)
    plain = ["a", "b"]
    for index, value in [(100, "x"), (-100, "y"), (-1, "z")]:
        await rc.insert_at(box, Box.items, index, value)
        plain.insert(index, value)
    assert box.items == plain == (await rc.get(Box, "b")).items


async def test_lists_of_records_and_enums(stored: Hash) -> None:
    box = Box("b")
    await rc.save(box)
    await rc.append(box, Box.heroes, Hero("a"))
    await rc.insert_at(box, Box.heroes, 0, Hero("z", 5))
    await rc.increment(box, Box.heroes[1].hp, -3)
    await rc.assign(box, Box.heroes[0], Hero("y", 1))
    assert box.heroes == [Hero("y", 1), Hero("a", 7)]
    assert (await rc.pop(box, Box.heroes, 0)) == Hero("y", 1)
    assert part(stored("Box:b"), "heroes") == {"heroes": "1", "heroes.0.name": "a", "heroes.0.hp": "7"}
    with pytest.raises(rc.MissingEntry):
        await rc.increment(box, Box.heroes[5].hp, 1)
    with pytest.raises(rc.MissingEntry):
        await rc.assign(box, Box.heroes[5], Hero("x"))
    player = Player("p")
    await rc.save(player)
    await rc.append(player, Player.achievements, Achievement.STREAK)
    assert part(stored("Player:p"), "achievements") == {"achievements": "1", "achievements.0": "streak_10"}


async def test_dicts(stored: Hash, trips: Trips) -> None:
    box = Box("b")
    await rc.save(box)
    with trips.expect(1):
        await rc.put(box, Box.counts, "a", 1)
    with trips.expect(1):
        await rc.merge(box, Box.counts, {"b": 2, "c.d": 3})
    with trips.expect(1):
        await rc.assign(box, Box.counts["a"], 10)
    with trips.expect(2):
        assert await rc.increment(box, Box.counts["a"], 5) == 15
    with trips.expect(2):
        assert await rc.modify(box, Box.counts["b"], lambda n: n * 10) == 20
    with trips.expect(2):
        assert await rc.pop(box, Box.counts, "b") == 20
    assert box.counts == {"a": 15, "c.d": 3}
    assert part(stored("Box:b"), "counts") == {"counts": "{}", "counts.a": "15", "counts.c%2Ed": "3"}
    assert b"HGETALL" not in trips.commands
    with trips.expect(1):
        await rc.remove(box, Box.counts, "a")
    with pytest.raises(rc.MissingEntry) as caught:
        await rc.remove(box, Box.counts, "a")
    assert isinstance(caught.value, KeyError)
    for missing in (
        rc.pop(box, Box.counts, "a"),
        rc.increment(box, Box.counts["a"], 1),
        rc.modify(box, Box.counts["a"], lambda n: n),
    ):
        with pytest.raises(rc.MissingEntry):
            await missing
    assert await rc.pop(box, Box.counts, "a", default=-1) == -1
    assert await rc.pop(box, Box.counts, "a", -1) == -1
    await rc.clear(box, Box.counts)
    assert part(stored("Box:b"), "counts") == {"counts": "{}"}
    assert await rc.get(Box, "b") == box


async def test_pop_star_removes_at_most_one_key() -> None:
    box = Box("b", counts={"*": 1, "a": 2, "": 3, "a.b": 4, "~": 5, "é 🎲": 6, "%": 7})
    await rc.save(box)
    for key in ("*", "", "a.b", "~", "é 🎲", "%"):
        expected = {name: count for name, count in box.counts.items() if name != key}
        await rc.pop(box, Box.counts, key)
        assert (await rc.get(Box, "b")).counts == box.counts == expected


async def test_dicts_of_records_and_lists(stored: Hash) -> None:
    box = Box("b")
    await rc.save(box)
    await rc.put(box, Box.team, "k", Hero("a"))
    await rc.put(box, Box.team, "k", Hero("b", 3))
    await rc.increment(box, Box.team["k"].hp, 4)
    await rc.put(box, Box.nested, "x", [1, 2, 3])
    await rc.append(box, Box.nested["x"], 4)
    await rc.put(box, Box.nested, "y", [7, 8])
    await rc.put(box, Box.nested, "y", [9])
    assert box.team == {"k": Hero("b", 7)}
    assert box.nested == {"x": [1, 2, 3, 4], "y": [9]}
    assert part(stored("Box:b"), "nested.y") == {"nested.y": "1", "nested.y.0": "9"}
    assert await rc.pop(box, Box.team, "k") == Hero("b", 7)
    await rc.remove(box, Box.nested, "x")
    assert part(stored("Box:b"), "team") == {"team": "{}"}
    assert await rc.get(Box, "b") == box
    with pytest.raises(rc.MissingEntry):
        await rc.append(box, Box.nested["gone"], 1)
    with pytest.raises(rc.MissingEntry):
        await rc.increment(box, Box.team["gone"].hp, 1)


async def test_sets(stored: Hash, trips: Trips) -> None:
    box = Box("b")
    await rc.save(box)
    with trips.expect(1):
        await rc.add(box, Box.members, 1, 2, 3)
    with trips.expect(1):
        await rc.discard(box, Box.members, 2, 99)
    with trips.expect(1):
        await rc.remove(box, Box.members, 1)
    assert box.members == {3}
    assert part(stored("Box:b"), "members") == {"members": "{}", "members.3": ""}
    with pytest.raises(rc.MissingEntry):
        await rc.remove(box, Box.members, 1)
    await rc.add(box, Box.members)
    await rc.discard(box, Box.members)
    await rc.clear(box, Box.members)
    assert part(stored("Box:b"), "members") == {"members": "{}"}
    assert await rc.get(Box, "b") == box


async def test_containers_in_an_optional_place() -> None:
    box = Box("b")
    await rc.save(box)
    for write in (
        rc.append(box, text("list_or_none"), 1),
        rc.pop(box, text("list_or_none")),
        rc.put(box, text("dict_or_none"), "k", 1),
        rc.pop(box, text("dict_or_none"), "k"),
        rc.clear(box, text("list_or_none")),
        rc.increment(box, "dict_or_none.k", 1),
        rc.increment(box, "hero.hp", 1),
        rc.assign(box, "hero.hp", 1),
        rc.increment(box, "maybe", 1),
    ):
        with pytest.raises(rc.MissingValue) as caught:
            await write
        assert "None" in str(caught.value)
    assert await rc.get(Box, "b") == box == Box("b")
    await rc.assign(box, Box.list_or_none, [])
    await rc.assign(box, Box.dict_or_none, {})
    await rc.assign(box, Box.hero, Hero("h"))
    await rc.assign(box, Box.maybe, 4)
    await rc.append(box, text("list_or_none"), 1)
    await rc.put(box, text("dict_or_none"), "k", 1)
    await rc.increment(box, "dict_or_none.k", 1)
    await rc.increment(box, "hero.hp", 1)
    assert await rc.increment(box, "maybe", 1) == 5
    assert (box.list_or_none, box.dict_or_none, box.hero, box.maybe) == ([1], {"k": 2}, Hero("h", 11), 5)
    await rc.assign(box, "hero.hp", 2)
    assert await rc.get(Box, "b") == box
    await rc.assign(box, Box.hero, None)
    await rc.assign(box, Box.list_or_none, None)
    assert await rc.get(Box, "b") == box
    assert box.hero is None
    assert box.list_or_none is None


@redis_model
@dataclass
class Kinds:
    name: Key[str]
    counter: Counter[str] = field(default_factory=Counter)
    by_default: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    ordered: OrderedDict[str, int] = field(default_factory=OrderedDict)
    frozen: frozenset[int] = frozenset()
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=3))
    numbers: list[int] = field(default_factory=lambda: [1, 2])
    filled: dict[str, int] = field(default_factory=lambda: {"a": 1})
    known: set[int] = field(default_factory=lambda: {1})
    pair: tuple[int, str] = (1, "a")


async def test_the_kin_of_dict_set_and_list() -> None:
    kinds = Kinds("k")
    await rc.save(kinds)
    await rc.merge(kinds, Kinds.counter, {"a": 2})
    await rc.merge(kinds, Kinds.counter, {"a": 3})
    assert kinds.counter == Counter(a=3)
    assert await rc.increment(kinds, Kinds.counter["new"], 2) == 2
    assert await rc.increment(kinds, Kinds.by_default["new"], 2) == 2
    await rc.put(kinds, Kinds.ordered, "z", 1)
    await rc.put(kinds, Kinds.ordered, "a", 2)
    await rc.put(kinds, Kinds.ordered, "z", 3)
    assert list(kinds.ordered.items()) == [("z", 3), ("a", 2)]
    assert await rc.pop(kinds, Kinds.ordered, "z") == 3
    frozen: Any = Kinds.frozen
    await rc.add(kinds, frozen, 1, 2)
    await rc.discard(kinds, frozen, 1)
    assert kinds.frozen == frozenset({2})
    await rc.save(kinds)
    recent: Any = Kinds.recent
    await rc.extend(kinds, recent, [1, 2, 3, 4])
    assert kinds.recent == deque([2, 3, 4], maxlen=3)
    assert await rc.pop(kinds, recent, 0) == 2
    await rc.assign(kinds, Kinds.pair, (2, "b"))
    assert await rc.get(Kinds, "k") == kinds
    await rc.clear(kinds, frozen)
    await rc.clear(kinds, recent)
    await rc.clear(kinds, Kinds.ordered)
    assert await rc.get(Kinds, "k") == kinds


async def test_frozen_sets_in_an_optional_place() -> None:
    kinds = Kinds("k")
    await rc.save(kinds)
    await rc.remove(kinds, Kinds.known, 1)
    assert kinds.known == set()
    with pytest.raises(rc.MissingEntry):
        await rc.remove(kinds, Kinds.known, 1)


@pytest.mark.parametrize("missing", ["numbers", "filled", "known"])
async def test_the_default_of_a_container_added_later_is_materialised(
    missing: str, redis_client: Any, stored: Hash
) -> None:
    await rc.save(Kinds("k"))
    names = [name for name in stored("Kinds:k") if name == missing or name.startswith(missing + ".")]
    redis_client.hdel("Kinds:k", *names)
    kinds = await rc.get(Kinds, "k")
    assert (kinds.numbers, kinds.filled, kinds.known) == ([1, 2], {"a": 1}, {1})
    if missing == "numbers":
        await rc.append(kinds, Kinds.numbers, 3)
    elif missing == "filled":
        await rc.put(kinds, Kinds.filled, "b", 2)
    else:
        await rc.add(kinds, Kinds.known, 2)
    expected = {"numbers": [1, 2, 3], "filled": {"a": 1, "b": 2}, "known": {1, 2}}[missing]
    assert getattr(kinds, missing) == getattr(await rc.get(Kinds, "k"), missing) == expected
    assert missing in stored("Kinds:k")


async def test_append_past_the_limit_is_refused() -> None:
    box = Box("b", items=["x"] * 9_000)
    await rc.save(box)
    with pytest.raises(rc.LimitExceeded):
        await rc.extend(box, Box.items, ["x"] * 1_001)
    assert len((await rc.get(Box, "b")).items) == 9_000


class Word(enum.StrEnum):
    GOOD = "a"


async def test_a_key_that_is_equal_to_a_known_one_but_of_another_type_is_refused(stored: Hash) -> None:
    box = Box("b", counts={"a": 1})
    await rc.save(box)
    await rc.assign(box, Box.counts["a"], 2)
    with pytest.raises(rc.PathError, match="of type str"):
        await rc.assign(box, Box.counts[Word.GOOD], 3)
    assert stored("Box:b")["counts.a"] == "2"


async def test_entries_of_many_keys(stored: Hash, trips: Trips) -> None:
    """More keys than are remembered: each is found again, and put in one round trip."""
    box = Box("b")
    await rc.save(box)
    for number in (*range(600), *range(0, 600, 50)):
        with trips.expect(1):
            await rc.assign(box, Box.counts[f"k{number}"], number)
    assert box.counts == {f"k{number}": number for number in range(600)} == (await rc.get(Box, "b")).counts
    with trips.expect(1):
        await rc.merge(box, Box.counts, {"k1": -1, "new": 0})
    assert (await rc.get(Box, "b")).counts == {**box.counts, "k1": -1, "new": 0}


async def test_entries_of_an_object_that_is_gone(stored: Hash) -> None:
    box = Box("b", counts={"a": 1})
    await rc.save(box)
    await rc.delete(box)
    for work in (rc.assign(box, Box.counts["a"], 2), rc.merge(box, Box.counts, {"a": 2, "b": 3})):
        with pytest.raises(rc.NotFound) as caught:
            await work
        assert (caught.value.model, caught.value.pk) == ("Box", "b")
    assert box.counts == {"a": 1}
    assert stored("Box:b") == {}
