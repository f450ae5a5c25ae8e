"""Stored data older than the class: fields added later, renamed, and unknown ones; and time to live."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any

import pytest
import redis

import rapyer_core as rc
from rapyer_core import Alias, Index, Key, redis_model
from tests.objects.conftest import Hash

pytestmark = pytest.mark.one_server


@redis_model(name="Doc")
@dataclass
class OldDoc:
    name: Key[str]
    hits: int = 0
    words: list[str] = field(default_factory=list)


@dataclass
class Part:
    wins: int = 5
    level: int = 1


@redis_model(name="Doc")
@dataclass
class NewDoc:
    name: Key[str]
    hits: int = 0
    words: list[str] = field(default_factory=list)
    coins: int = 100
    price: Decimal = Decimal("9.99")
    ratio: float = 0.5
    rank: Index[int] = 7
    part: Part = field(default_factory=lambda: Part(wins=50))
    notes: list[str] = field(default_factory=lambda: ["first"])
    flags: dict[str, int] = field(default_factory=dict)
    label: str | None = None


async def test_added_fields_load_their_defaults_and_a_save_of_others_leaves_them(stored: Hash) -> None:
    await rc.save(OldDoc("d", 1, ["a"]))
    doc = await rc.get(NewDoc, "d")
    assert doc == NewDoc("d", 1, ["a"])
    doc.hits = 2
    await rc.save(doc)
    assert stored("Doc:d") == {"~": "1", "name": "d", "hits": "2", "words": "1", "words.0": "a"}
    doc.coins = 5
    await rc.save(doc)
    assert stored("Doc:d")["coins"] == "5"


@redis_model(name="Team")
@dataclass
class Team:
    name: Key[str]
    wins: int = 0
    losses: int = 0
    captain: Part | None = None
    parts: list[Part] = field(default_factory=list)
    named: dict[str, Part] = field(default_factory=dict)


async def test_writers_of_other_fields_do_not_meet_in_fields_added_to_what_comes_and_goes(
    redis_client: redis.Redis, stored: Hash
) -> None:
    old = {"~": "1", "name": "t", "wins": "0", "losses": "0", "captain": "{}", "captain.wins": "1"}
    old |= {"parts": "1", "parts.0.wins": "2", "named": "{}", "named.k.wins": "3"}
    redis_client.hset("Team:t", mapping=old)  # type: ignore[arg-type]  # str is what it takes
    one, other = await rc.get(Team, "t"), await rc.get(Team, "t")
    assert one == Team("t", 0, 0, Part(1), [Part(2)], {"k": Part(3)})
    one.wins, other.losses = 1, 1
    await rc.save(one)
    await rc.append(rc.ref(Team, "t"), Team.parts, Part(9))
    await rc.save(other)
    assert await rc.get(Team, "t") == Team("t", 1, 1, Part(1), [Part(2), Part(9)], {"k": Part(3)})
    assert "captain.level" not in stored("Team:t")


@pytest.mark.parametrize(
    ("path", "by", "expected"),
    [
        ("coins", 1, 101),
        ("price", Decimal("0.01"), Decimal("10.00")),
        ("ratio", 0.25, 0.75),
        ("rank", 1, 8),
        ("part.wins", 1, 51),
        ("part.level", 1, 2),
    ],
)
async def test_increment_builds_on_the_default(path: Any, by: Any, expected: Any) -> None:
    await rc.save(OldDoc("d", 1, ["a"]))
    doc = await rc.get(NewDoc, "d")
    assert await rc.increment(doc, path, by) == expected
    fresh = await rc.get(NewDoc, "d")
    assert fresh == doc
    doc.hits = 9
    await rc.save(doc)
    assert await rc.get(NewDoc, "d") == doc


async def test_containers_build_on_their_default() -> None:
    await rc.save(OldDoc("d"))
    doc = await rc.get(NewDoc, "d")
    await rc.append(doc, NewDoc.notes, "second")
    await rc.put(doc, NewDoc.flags, "a", 1)
    await rc.assign(doc, NewDoc.label, "x")
    assert doc.notes == ["first", "second"]
    assert await rc.get(NewDoc, "d") == doc
    await rc.save(OldDoc("e"))
    doc = await rc.get(NewDoc, "e")
    doc.notes.append("second")
    doc.flags["a"] = 1
    await rc.save(doc)
    assert await rc.get(NewDoc, "e") == doc
    await rc.save(OldDoc("f"))
    assert await rc.pop(rc.ref(NewDoc, "f"), NewDoc.notes) == "first"
    assert (await rc.get(NewDoc, "f")).notes == []


@redis_model(name="Shelf")
@dataclass
class OldShelf:
    name: Key[str]


@redis_model(name="Shelf")
@dataclass
class NewShelf:
    name: Key[str]
    marks: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: {"all": 1})
    parts: dict[str, Part] = field(default_factory=lambda: {"one": Part()})


async def _in_a_block(shelf: NewShelf) -> None:
    async with rc.pipeline(shelf) as draft:
        draft.marks.update(a=1, b=2)
        draft.counts["all"] += 1
        draft.parts["one"].wins += 1


@pytest.mark.parametrize(
    "write",
    [
        lambda shelf: rc.put(shelf, NewShelf.marks, "a", 1),
        lambda shelf: rc.merge(shelf, NewShelf.marks, {"a": 1, "b": 2}),
        lambda shelf: rc.assign(shelf, NewShelf.marks["a"], 1),
        lambda shelf: rc.put(shelf, NewShelf.counts, "a", 1),
        lambda shelf: rc.increment(shelf, NewShelf.counts["all"], 1),
        lambda shelf: rc.modify(shelf, NewShelf.counts["all"], lambda count: count + 1),
        lambda shelf: rc.pop(shelf, NewShelf.counts, "all"),
        lambda shelf: rc.put(shelf, NewShelf.parts, "two", Part()),
        lambda shelf: rc.increment(shelf, NewShelf.parts["one"].wins, 1),
        lambda shelf: rc.remove(shelf, NewShelf.parts, "one"),
        _in_a_block,
    ],
)
async def test_a_dict_that_came_with_its_first_entry_is_no_change_of_anybody_else(
    write: Any, redis_client: redis.Redis
) -> None:
    await rc.save(OldShelf("s"))
    shelf = await rc.get(NewShelf, "s")
    await write(shelf)
    before = redis_client.hgetall("Shelf:s")
    assert shelf == await rc.get(NewShelf, "s")
    await rc.save(shelf)
    assert redis_client.hgetall("Shelf:s") == before
    shelf.marks["last"] = shelf.counts["last"] = 9
    await rc.save(shelf)
    assert shelf == await rc.get(NewShelf, "s")


async def test_a_default_that_somebody_else_changed_is_a_conflict() -> None:
    await rc.save(OldShelf("s"))
    shelf = await rc.get(NewShelf, "s")
    await rc.increment(rc.ref(NewShelf, "s"), NewShelf.counts["all"], 5)
    await rc.put(shelf, NewShelf.counts, "a", 1)
    shelf.counts["all"] = 7
    with pytest.raises(rc.Conflict) as caught:
        await rc.save(shelf)
    assert caught.value.fields == ("counts.all",)


async def test_fields_that_an_older_class_does_not_know_are_kept() -> None:
    await rc.save(NewDoc("d", words=["a"], coins=7, notes=["n"], flags={"k": 1}, part=Part(3, 4)))
    old = await rc.get(OldDoc, "d")
    old.hits = 3
    old.words.append("b")
    await rc.save(old)
    await rc.append(old, OldDoc.words, "c")
    await rc.clear(old, OldDoc.words)
    await rc.increment(old, OldDoc.hits, 1)
    await rc.save(old, overwrite=True)
    assert await rc.get(NewDoc, "d") == NewDoc("d", 4, [], coins=7, notes=["n"], flags={"k": 1}, part=Part(3, 4))


@redis_model(name="Ren")
@dataclass
class Before:
    name: Key[str]
    points: int = 0
    things: list[str] = field(default_factory=list)
    stats: Part = field(default_factory=Part)
    table: dict[str, int] = field(default_factory=dict)
    value: Index[int] = 0


@redis_model(name="Ren")
@dataclass
class After:
    name: Key[str]
    score: Annotated[int, Alias("points")] = 0
    items: Annotated[list[str], Alias("things")] = field(default_factory=list)
    part: Annotated[Part, Alias("stats")] = field(default_factory=Part)
    counts: Annotated[dict[str, int], Alias("table")] = field(default_factory=dict)
    worth: Annotated[Index[int], Alias("value")] = 0


@pytest.fixture
async def renamed() -> After:
    await rc.save(Before("r", 5, ["a"], Part(2, 3), {"k": 1}, 9))
    return await rc.get(After, "r")


async def test_renamed_fields_are_read(renamed: After) -> None:
    assert renamed == After("r", 5, ["a"], Part(2, 3), {"k": 1}, 9)


@pytest.mark.parametrize("number", range(17))
async def test_operations_on_renamed_fields_build_on_the_old_data(number: int, renamed: After, stored: Hash) -> None:
    operations: list[Any] = [
        lambda: rc.increment(renamed, After.score, 1),
        lambda: rc.modify(renamed, After.score, lambda n: n + 1),
        lambda: rc.assign(renamed, After.score, 6),
        lambda: rc.append(renamed, After.items, "b"),
        lambda: rc.pop(renamed, After.items),
        lambda: rc.insert_at(renamed, After.items, 0, "z"),
        lambda: rc.increment(renamed, After.part.wins, 1),
        lambda: rc.assign(renamed, After.part.wins, 9),
        lambda: rc.modify(renamed, After.part.level, lambda n: n * 2),
        lambda: rc.assign(renamed, After.part, Part(7, 7)),
        lambda: rc.put(renamed, After.counts, "new", 2),
        lambda: rc.put(renamed, After.counts, "k", 2),
        lambda: rc.increment(renamed, After.counts["k"], 2),
        lambda: rc.pop(renamed, After.counts, "k"),
        lambda: rc.remove(renamed, After.counts, "k"),
        lambda: rc.clear(renamed, After.counts),
        lambda: rc.increment(renamed, After.worth, 1),
    ]
    expected: list[dict[str, Any]] = [
        {"score": 6},
        {"score": 6},
        {"score": 6},
        {"items": ["a", "b"]},
        {"items": []},
        {"items": ["z", "a"]},
        {"part": Part(3, 3)},
        {"part": Part(9, 3)},
        {"part": Part(2, 6)},
        {"part": Part(7, 7)},
        {"counts": {"k": 1, "new": 2}},
        {"counts": {"k": 2}},
        {"counts": {"k": 3}},
        {"counts": {}},
        {"counts": {}},
        {"counts": {}},
        {"worth": 10},
    ]
    await operations[number]()
    want = rc.evolve(After("r", 5, ["a"], Part(2, 3), {"k": 1}, 9), **expected[number])
    assert renamed == want
    assert await rc.get(After, "r") == want
    renamed.score += 100
    await rc.save(renamed)
    assert await rc.get(After, "r") == renamed


async def test_save_of_renamed_fields(renamed: After, stored: Hash) -> None:
    renamed.score = 6
    renamed.items.append("b")
    renamed.part.wins = 8
    renamed.counts["n"] = 2
    renamed.worth = 1
    await rc.save(renamed)
    assert await rc.get(After, "r") == renamed
    await rc.verify(After, repair=True)
    assert await rc.rank(renamed, After.worth) == 0
    renamed.counts["m"] = 3
    renamed.items.pop()
    await rc.save(renamed)
    assert await rc.get(After, "r") == renamed


@redis_model(ttl=100)
@dataclass
class Short:
    name: Key[str]
    count: int = 0
    score: Index[int] = 0
    items: list[str] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)


@redis_model
@dataclass
class Long:
    name: Key[str]
    count: int = 0
    score: Index[int] = 0
    items: list[str] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)


@pytest.mark.parametrize("cls", [Short, Long])
async def test_a_time_to_live_survives_every_partial_write(cls: Any, redis_client: redis.Redis) -> None:
    obj = cls("x")
    key = f"{cls.__name__}:x"
    await rc.save(obj)
    assert redis_client.pttl(key) == -1 if cls is Long else 90_000 < redis_client.pttl(key) <= 100_000
    redis_client.expire(key, 50)
    obj.count = 5
    await rc.save(obj)
    await rc.increment(obj, cls.count, 1)
    await rc.increment(obj, cls.score, 1)
    await rc.assign(obj, cls.count, 10**30)
    await rc.increment(obj, cls.count, 1)
    await rc.append(obj, cls.items, "a")
    await rc.clear(obj, cls.items)
    await rc.put(obj, cls.table, "a", 1)
    await rc.pop(obj, cls.table, "a")
    await rc.modify(obj, cls.items, lambda items: [*items, "b"])
    assert 40_000 < redis_client.pttl(key) <= 50_000


async def test_a_ttl_of_less_than_a_second(redis_client: redis.Redis) -> None:
    @redis_model(name="Brief", ttl=0.5)
    @dataclass
    class Brief:
        name: Key[str]

    await rc.insert(Brief("x"))
    assert 0 < redis_client.pttl("Brief:x") <= 500
