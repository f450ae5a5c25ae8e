"""What a save and an edit write, drop and compare: the unit of each change, defaults, and unknown fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any

import pytest

from rapyer_codecs import Codec, Diff, Item, Mapper, Packed, default_registry

from .classes import Animal, Lion

Fields = dict[bytes, bytes]


@dataclass
class Stats:
    wins: int = 0
    losses: int = 0


@dataclass
class Player:
    name: str = ""
    score: int = 0
    stats: Stats = field(default_factory=Stats)
    squad: list[Stats] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    pets: dict[str, Stats] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    best: Stats | None = None
    either: int | str = 0
    animal: Animal = field(default_factory=Animal)


MAPPER = default_registry.mapper(Player)


@pytest.mark.parametrize(
    ("before", "after", "put", "drop", "units"),
    [
        pytest.param(Player(), Player(), {}, [], [], id="nothing"),
        pytest.param(Player(), Player(score=5), {b"score": b"5"}, [], [(b"score", False)], id="leaf"),
        pytest.param(
            Player(), Player(stats=Stats(1)), {b"stats.wins": b"1"}, [], [(b"stats.wins", False)], id="nested leaf"
        ),
        pytest.param(
            Player(squad=[Stats(1), Stats(2)]),
            Player(squad=[Stats(1), Stats(3)]),
            {b"squad.1.wins": b"3"},
            [],
            [(b"squad", True)],
            id="a list is one unit",
        ),
        pytest.param(
            Player(squad=[Stats(1), Stats(2)]),
            Player(squad=[Stats(2)]),
            {b"squad": b"1", b"squad.0.wins": b"2"},
            [b"squad.1.losses", b"squad.1.wins"],
            [(b"squad", True)],
            id="element gone",
        ),
        pytest.param(
            Player(metadata={"a": "1"}),
            Player(metadata={"a": "2"}),
            {b"metadata.a": b"2"},
            [],
            [(b"metadata.a", False)],
            id="dict entry changed",
        ),
        pytest.param(
            Player(metadata={"a": "1"}),
            Player(metadata={"b": "1"}),
            {b"metadata.b": b"1"},
            [b"metadata.a"],
            [(b"metadata.a", True), (b"metadata.b", True)],
            id="dict entry came and went",
        ),
        pytest.param(
            Player(pets={"a": Stats(1)}),
            Player(pets={"a": Stats(2)}),
            {b"pets.a.wins": b"2"},
            [],
            [(b"pets.a.wins", False)],
            id="leaf inside an entry",
        ),
        pytest.param(
            Player(pets={"a": Stats(1)}),
            Player(),
            {},
            [b"pets.a.losses", b"pets.a.wins"],
            [(b"pets.a", True)],
            id="entry of several fields gone",
        ),
        pytest.param(
            Player(tags={"a"}),
            Player(tags={"b"}),
            {b"tags.b": b""},
            [b"tags.a"],
            [(b"tags.a", True), (b"tags.b", True)],
            id="set",
        ),
        pytest.param(
            Player(),
            Player(best=Stats(1)),
            {b"best": b"{}", b"best.wins": b"1", b"best.losses": b"0"},
            [],
            [(b"best", True)],
            id="None became a value",
        ),
        pytest.param(
            Player(best=Stats(1)),
            Player(best=Stats(2)),
            {b"best.wins": b"2"},
            [],
            [(b"best.wins", False)],
            id="leaf inside an Optional",
        ),
        pytest.param(Player(), Player(either=5), {b"either": b"5"}, [], [(b"either", False)], id="same member"),
        pytest.param(
            Player(), Player(either="5"), {b"either": b"~str:5"}, [], [(b"either", True)], id="another member"
        ),
        pytest.param(
            Player(animal=Lion("a")),
            Player(animal=Animal("a")),
            {},
            [b"animal", b"animal.mane"],
            [(b"animal", True)],
            id="another class",
        ),
    ],
)
def test_a_difference(before: Player, after: Player, put: Fields, drop: list[bytes], units: Any) -> None:
    diff = MAPPER.diff(MAPPER.dump(before), MAPPER.dump(after))
    assert diff.put == put
    assert sorted(diff.drop) == drop
    assert diff.units == units


def test_a_field_added_to_the_class_later_is_left_alone_as_long_as_it_has_its_default() -> None:
    stored = {b"name": b"a", b"score": b"1"}
    loaded = MAPPER.load(stored)
    assert MAPPER.diff(stored, MAPPER.dump(loaded)).put == {}
    loaded.stats.wins = 1
    loaded.metadata["k"] = "v"
    diff = MAPPER.diff(stored, MAPPER.dump(loaded))
    assert diff.put == {b"stats.wins": b"1", b"metadata": b"{}", b"metadata.k": b"v"}
    assert diff.drop == []


@dataclass
class Guild:
    name: str
    rank: int = 3
    notes: list[str] = field(default_factory=lambda: ["n"])
    home: Stats = field(default_factory=lambda: Stats(1, 2))


@dataclass
class BigGuild(Guild):
    size: int = 9


@dataclass
class Member:
    score: int
    guild: Guild | None
    guilds: list[Guild]
    named: dict[str, Guild]
    either: Guild | str


MEMBER = default_registry.mapper(Member)
STORED: Fields = {
    b"score": b"1",
    b"guild": b"{}",
    b"guild.name": b"a",
    b"guilds": b"2",
    b"guilds.0.name": b"b",
    b"guilds.1": b"~BigGuild:{}",
    b"guilds.1.name": b"c",
    b"named": b"{}",
    b"named.k.name": b"d",
    b"named.k.home.wins": b"7",
    b"either": b"{}",
    b"either.name": b"e",
}


def test_fields_added_to_what_comes_and_goes_are_left_alone_as_long_as_they_have_their_defaults() -> None:
    loaded = MEMBER.load(STORED)
    assert loaded.guilds == [Guild("b"), BigGuild("c")]
    assert loaded.named["k"].home == Stats(7, 2)
    assert MEMBER.diff(STORED, MEMBER.dump(loaded)) == Diff({}, [], [])
    loaded.score = 2
    assert MEMBER.diff(STORED, MEMBER.dump(loaded)) == Diff({b"score": b"2"}, [], [(b"score", False)])


@pytest.mark.parametrize(
    ("change", "put"),
    [
        (lambda m: setattr(m.guild, "rank", 4), {b"guild.rank": b"4"}),
        (
            lambda m: m.guilds[0].notes.append("o"),
            {b"guilds.0.notes": b"2", b"guilds.0.notes.0": b"n", b"guilds.0.notes.1": b"o"},
        ),
        (lambda m: setattr(m.guilds[1], "size", 1), {b"guilds.1.size": b"1"}),
        (lambda m: setattr(m.guilds[0].home, "wins", 5), {b"guilds.0.home.wins": b"5"}),
        (lambda m: setattr(m.named["k"].home, "losses", 3), {b"named.k.home.losses": b"3"}),
    ],
)
def test_a_change_of_a_field_added_to_what_comes_and_goes_is_written(
    change: Callable[[Member], None], put: Fields
) -> None:
    loaded = MEMBER.load(STORED)
    change(loaded)
    diff = MEMBER.diff(STORED, MEMBER.dump(loaded))
    assert (diff.put, diff.drop) == (put, [])


@pytest.mark.parametrize(
    ("change", "thing"),
    [
        (lambda m: m.guilds.append(Guild("f")), b"guilds.2"),
        (lambda m: m.guilds.__setitem__(1, Guild("c")), b"guilds.1"),
        (lambda m: m.named.update(j=Guild("f")), b"named.j"),
        (lambda m: setattr(m, "either", BigGuild("e")), b"either"),
    ],
)
def test_another_thing_is_written_with_all_its_fields(change: Callable[[Member], None], thing: bytes) -> None:
    loaded = MEMBER.load(STORED)
    change(loaded)
    after = MEMBER.dump(loaded)
    whole = {name: text for name, text in after.items() if name.startswith(thing + b".") and STORED.get(name) != text}
    assert thing + b".notes.0" in whole
    assert whole.items() <= MEMBER.diff(STORED, after).put.items()


@dataclass
class Packs:
    score: int
    stats: Packed[Stats]
    some: Packed[Stats] | None
    several: list[Packed[Stats]]
    hexed: Annotated[int, Codec(lambda number: f"{number:x}", lambda raw: int(raw, 16))]


PACKS = default_registry.mapper(Packs)
PACKED: Fields = {
    b"score": b"1",
    b"stats": b'{"wins":1}',
    b"some": b"{}",
    b"several": b"1",
    b"several.0": b'{"losses":2}',
    b"hexed": b"FF",
}


def test_an_entry_of_a_class_that_had_no_fields_stays_there() -> None:
    """Such a class has an own field in place of fields."""
    stored = {b"pets": b"{}", b"pets.a": b"{}", b"squad": b"1", b"squad.0": b"{}", b"best": b"{}", b"stats": b"{}"}
    loaded = MAPPER.load(stored)
    assert (loaded.pets, loaded.squad, loaded.best) == ({"a": Stats()}, [Stats()], Stats())
    loaded.score = 2
    diff = MAPPER.diff(stored, MAPPER.dump(loaded))
    after = {name: text for name, text in {**stored, **diff.put}.items() if name not in diff.drop}
    assert MAPPER.load(after) == loaded


def test_another_text_of_the_same_value_is_left_alone() -> None:
    """A packed class that has grown; a codec that takes several texts."""
    loaded = PACKS.load(PACKED)
    assert loaded == Packs(1, Stats(1), Stats(), [Stats(0, 2)], 255)
    assert PACKS.diff(PACKED, PACKS.dump(loaded)) == Diff({}, [], [])
    loaded.score = 2
    loaded.stats.losses = 3
    loaded.hexed = 1
    diff = PACKS.diff(PACKED, PACKS.dump(loaded))
    assert diff.put == {b"score": b"2", b"stats": b'{"wins":1,"losses":3}', b"hexed": b"1"}
    loaded.several.append(Stats())
    loaded.some = None
    assert PACKS.diff(PACKED, PACKS.dump(loaded)).put.keys() - diff.put.keys() == {b"several", b"several.1", b"some"}


def test_a_default_that_holds_entries_is_written_whole_when_it_changes() -> None:
    cls = make_dataclass("Late", [("a", int, 0), ("d", dict[str, int], field(default_factory=lambda: {"x": 1}))])
    mapper: Mapper[Any] = default_registry.mapper(cls)
    loaded = mapper.load({b"a": b"1"})
    assert mapper.diff({b"a": b"1"}, mapper.dump(loaded)).put == {}
    loaded.d["y"] = 2
    assert mapper.diff({b"a": b"1"}, mapper.dump(loaded)).put == {b"d": b"{}", b"d.x": b"1", b"d.y": b"2"}
    emptied = mapper.load({b"a": b"1", b"d": b"{}"})
    assert emptied.d == {}, "stored and empty is not absent"


UNKNOWN = {
    b"removed": b"1",
    b"stats.removed": b"1",
    b"squad.0.removed": b"1",
    b"squad.1.removed": b"1",
    b"pets.a.removed": b"1",
    b"pets.b.removed": b"1",
    b"best.removed": b"1",
}


@pytest.mark.parametrize("field", ["metadata", "pets", "tags", "squad"])
def test_what_lies_where_no_container_is_stored_does_not_join_a_later_one(field: str) -> None:
    """A dict in place of a class that had fields there, or whose own field somebody deleted."""
    stored = {b"name": b"a", b"score": b"1"}
    strays = {f"{field}.{rest}".encode(): b"0" for rest in ("wins", "old.wins", "7", "7.wins", "8.wins", "9.wins")}
    loaded = MAPPER.load(stored | strays)
    assert loaded == Player("a", 1)
    assert MAPPER.extras(stored | strays) == strays
    loaded.score = 2
    diff = MAPPER.diff(stored | strays, MAPPER.dump(loaded))
    assert (diff.put, diff.drop) == ({b"score": b"2"}, []), "kept as long as nobody writes there"
    full_of = {"metadata": {"k": "v"}, "pets": {"k": Stats(1)}, "tags": {"k"}, "squad": [Stats(i) for i in range(9)]}
    setattr(loaded, field, full_of[field])
    after = MAPPER.dump(loaded)
    diff = MAPPER.diff(stored | strays, after)
    slot = MAPPER.slot((field,))
    put, drop = MAPPER.edit(slot, stored | strays, slot.dump(full_of[field]))
    for way, gone in ((diff.put, diff.drop), (put, drop)):
        found = MAPPER.load({name: text for name, text in (stored | strays | way).items() if name not in gone})
        assert getattr(found, field) == full_of[field]


def full() -> Player:
    """A player with something in every place."""
    return Player("a", 1, Stats(1), [Stats(1), Stats(2)], {"k": "v"}, {"a": Stats(1), "b": Stats(2)}, {"t"}, Stats(3))


def test_unknown_fields_are_visible() -> None:
    assert MAPPER.extras(MAPPER.dump(full()) | UNKNOWN | {b"~": b"1"}) == UNKNOWN


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        (lambda p: setattr(p, "score", 9), []),
        (lambda p: setattr(p.stats, "wins", 9), []),
        (lambda p: p.squad.append(Stats()), []),
        (lambda p: p.squad.pop(), [b"squad.1.removed"]),
        (lambda p: p.squad.pop(0), [b"squad.0.removed", b"squad.1.removed"]),
        (lambda p: p.pets.pop("b"), [b"pets.b.removed"]),
        (lambda p: setattr(p.pets["a"], "wins", 9), []),
        (lambda p: setattr(p, "best", None), [b"best.removed"]),
        (lambda p: setattr(p.best, "wins", 9), []),
    ],
)
def test_an_unknown_field_is_kept_until_what_holds_it_is_gone(change: Any, gone: list[bytes]) -> None:
    stored = MAPPER.dump(full()) | UNKNOWN
    value = full()
    change(value)
    diff = MAPPER.diff(stored, MAPPER.dump(value))
    assert sorted(name for name in diff.drop if name in UNKNOWN) == gone


@pytest.mark.parametrize(
    ("steps", "value", "gone"),
    [
        (("stats",), Stats(9), []),
        (("stats", "wins"), 9, []),
        (("squad",), [Stats(1), Stats(9)], [b"squad.1.removed"]),
        (("squad",), [], [b"squad.0.removed", b"squad.1.removed"]),
        (("squad", Item(0)), Stats(9), [b"squad.0.removed"]),
        (("squad", Item(0), "wins"), 9, []),
        (("pets",), {"a": Stats(1)}, [b"pets.b.removed"]),
        (("pets", Item("b")), Stats(2), []),
        (("best",), None, [b"best.removed"]),
    ],
)
def test_an_edit_drops_what_belonged_to_the_replaced(steps: Any, value: Any, gone: list[bytes]) -> None:
    stored = MAPPER.dump(full()) | UNKNOWN
    slot = MAPPER.slot(steps)
    put, drop = MAPPER.edit(slot, stored, slot.dump(value))
    assert sorted(name for name in drop if name in UNKNOWN) == gone
    assert all(slot.under(name) for name in [*put, *drop])


def test_removing_an_entry_leaves_nothing_of_it() -> None:
    stored = MAPPER.dump(full()) | UNKNOWN
    slot = MAPPER.slot(("pets", Item("b")))
    put, drop = MAPPER.edit(slot, stored, {})
    assert put == {}
    assert sorted(drop) == [b"pets.b.losses", b"pets.b.removed", b"pets.b.wins"]
