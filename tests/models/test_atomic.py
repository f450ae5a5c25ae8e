"""AtomicRedisModel: live attributes are values; their methods change the stored field."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import AsyncIterator, Callable
from dataclasses import FrozenInstanceError, asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from typing import Any

import pytest
import pytest_asyncio

from rapyer_core import (
    AlreadyExists,
    AtomicRedisModel,
    Index,
    Key,
    NotFound,
    close_rapyer,
    evolve,
    increment,
    init_rapyer,
    top,
)
from rapyer_core.live import LiveInt
from rapyer_core.sync import AtomicRedisModel as BlockingModel


class Rank(Enum):
    LOW = 1
    HIGH = 2


@dataclass
class Stats:
    wins: int = 0
    tags: list[str] = None  # type: ignore[assignment]  # set below

    def __post_init__(self) -> None:
        self.tags = self.tags or []


@dataclass(slots=True)
class Tight:
    level: int = 1


class Hero(AtomicRedisModel):
    name: Key[str]
    hp: Index[int] = 10
    weight: float = 1.5
    motto: str = "m"
    blob: bytes = b"b"
    born: date = date(2020, 1, 2)
    seen: datetime = datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))
    active: bool = True
    rank: Rank = Rank.LOW
    items: list[str] = []  # noqa: RUF012  # copied for each instance
    notes: dict[str, int] = {}  # noqa: RUF012  # copied for each instance
    friends: set[str] = set()  # noqa: RUF012  # copied for each instance
    stats: Stats = Stats()
    tight: Tight = Tight()
    boss: Stats | None = None


@pytest_asyncio.fixture
async def hero(url: str) -> AsyncIterator[Any]:
    await init_rapyer(url)
    made = Hero(name="h")
    await made.asave()
    yield made
    await close_rapyer()


async def stored() -> Any:
    return await Hero.aget("h")


async def test_scalars(hero: Any) -> None:
    assert await hero.hp.aincrease(5) == 15
    assert await hero.weight.aincrease(0.25) == 1.75
    await hero.motto.aset("new")
    await hero.blob.aset(b"\0\xff")
    await hero.born.aset(date(1999, 1, 1))
    await hero.seen.aset(datetime(2021, 1, 1))
    assert await stored() == hero
    assert (hero.hp, hero.weight, hero.motto, hero.blob) == (15, 1.75, "new", b"\0\xff")
    assert (hero.born, hero.seen) == (date(1999, 1, 1), datetime(2021, 1, 1))


async def test_containers(hero: Any) -> None:
    await hero.items.aappend("a")
    await hero.items.aextend(["b", "c"])
    await hero.items.ainsert(0, "z")
    assert await hero.items.apop() == "c"
    await hero.items.aremove("b")
    await hero.notes.aset_item("k", 1)
    await hero.notes.aupdate(a=2, b=3)
    await hero.notes.adel_item("a")
    assert await hero.notes.apop("b") == 3
    assert await hero.notes.apop("b", None) is None
    await hero.friends.aadd("x", "y")
    await hero.friends.aremove("x")
    assert (hero.items, hero.notes, hero.friends) == (["z", "a"], {"k": 1}, {"y"})
    assert await stored() == hero
    await hero.items.aclear()
    await hero.notes.aclear()
    await hero.friends.aclear()
    assert (hero.items, hero.notes, hero.friends) == ([], {}, set())
    assert await stored() == hero


async def test_nested_dataclasses_are_live_field_by_field(hero: Any) -> None:
    assert issubclass(type(hero.stats), Stats)
    assert hero.stats == Stats()
    assert Stats() == hero.stats
    assert repr(hero.stats) == repr(Stats())
    await hero.stats.wins.aincrease(3)
    await hero.stats.tags.aappend("t")
    await hero.tight.level.aincrease(1)
    assert (hero.stats, hero.tight.level) == (Stats(3, ["t"]), 2)
    assert await stored() == hero


async def test_local_changes_stay_local_until_saved(hero: Any) -> None:
    copy_of_hp = hero.hp
    copy_of_hp += 5
    hero.items.append("x")
    hero.stats.wins = 9
    hero.stats.tags.append("t")
    hero.tight.level = 4
    hero.hp += 1
    assert (copy_of_hp, hero.hp, hero.items, hero.stats.wins) == (15, 11, ["x"], 9)
    assert await stored() == Hero(name="h")
    await hero.asave()
    found = await stored()
    assert found == hero
    assert (found.hp, found.items, found.stats, found.tight) == (11, ["x"], Stats(9, ["t"]), Tight(4))


async def test_bool_none_and_enum_are_plain_and_set_by_aupdate(hero: Any) -> None:
    assert hero.active is True
    assert hero.rank is Rank.LOW
    assert hero.boss is None
    await hero.aupdate(active=False, rank=Rank.HIGH, boss=Stats(4), hp=3)
    found: Any = (hero.active, hero.rank, hero.boss, hero.hp)
    assert found == (False, Rank.HIGH, Stats(4), 3)
    assert await stored() == hero
    assert [one.name for one in await top(Hero, Hero.hp, 3)] == ["h"]


async def test_copies_are_plain(hero: Any) -> None:
    hero.items.append("x")
    flat = asdict(hero)
    assert type(flat["hp"]) is int
    assert type(flat["items"]) is list
    assert flat["stats"] == {"wins": 0, "tags": []}
    for value in (
        hero.hp,
        hero.weight,
        hero.motto,
        hero.blob,
        hero.born,
        hero.seen,
        hero.items,
        hero.notes,
        hero.friends,
    ):
        for made in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
            assert made == value
            assert type(made).__module__ in ("builtins", "datetime")
    assert type(copy.copy(hero.stats)) is Stats
    assert type(vars(copy.copy(hero))["items"]) is list
    assert json.dumps([hero.hp, hero.motto, hero.items]) == '[10, "m", ["x"]]'
    assert pickle.loads(pickle.dumps(hero)) == copy.deepcopy(hero) == hero
    assert type(hero.hp + 1) is int
    for made in (
        hero.seen + timedelta(1),
        timedelta(1) + hero.seen,
        hero.seen - timedelta(1),
        hero.seen.replace(hour=1),
    ):
        assert type(made) is datetime
    for made in (hero.born + timedelta(1), hero.born - timedelta(1), hero.born.replace(day=1)):
        assert type(made) is date
    assert type(hero.seen.astimezone()) is datetime
    assert type(hero.friends | {"x"}) is set
    assert hero.seen - datetime(2020, 1, 1, tzinfo=UTC) == timedelta(days=1, seconds=3845, microseconds=6)


async def test_they_are_shown_as_plain_ones(hero: Any) -> None:
    hero.friends.add("x")
    for value in (hero.hp, hero.motto, hero.blob, hero.born, hero.seen, hero.items, hero.friends, hero.stats):
        assert repr(value) == repr(copy.copy(value))
    assert "Live" not in repr(hero)


@dataclass(frozen=True)
class Badge:
    level: int = 1


@dataclass
class Home:
    rooms: list[str] = field(default_factory=list)
    badge: Badge = Badge()

    def __post_init__(self) -> None:
        self._seen = {"post": 1}

    def __init_subclass__(cls, *, needed: str) -> None:
        raise AssertionError(needed)

    def count(self) -> int:
        return len(self.rooms) + self._seen["post"]

    @property
    def first(self) -> str:
        return self.rooms[0]

    @first.setter
    def first(self, room: str) -> None:
        self.rooms[0] = room


class Owner(AtomicRedisModel):
    name: Key[str]
    rooms: list[str] = []  # noqa: RUF012  # copied for each instance
    home: Home = Home()
    old: Home = Home()
    badge: Badge = Badge()
    homes: dict[str, Home] = {}  # noqa: RUF012  # copied for each instance


@pytest_asyncio.fixture
async def owner(url: str) -> AsyncIterator[Any]:
    await init_rapyer(url)
    made = Owner(name="o", rooms=["hall"])
    await made.asave()
    yield made
    await close_rapyer()


async def test_what_is_taken_from_another_field_is_changed_where_it_is_put(owner: Any) -> None:
    home: Any = Home(owner.rooms)
    owner.home = home
    owner.old = owner.home
    await owner.asave()
    await owner.home.rooms.aappend("attic")
    await owner.old.rooms.aappend("cellar")
    await owner.old.badge.level.aset(5)
    assert (owner.rooms, owner.home, owner.old) == (
        ["hall"],
        Home(["hall", "attic"]),
        Home(["hall", "cellar"], Badge(5)),
    )
    assert await Owner.aget("o") == owner


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda owner: pickle.loads(pickle.dumps(owner)),
    "evolve": evolve,
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())
async def test_a_live_method_changes_no_copy_of_the_object_nor_the_default_of_its_class(
    owner: Any, copied: Callable[[Any], Any]
) -> None:
    owner.homes["h"] = Home()
    await owner.asave()
    assert owner.home.badge == Badge()
    other = copied(owner)
    await owner.home.rooms.aappend("attic")
    await owner.home.badge.level.aincrease(1)
    await owner.badge.level.aincrease(1)
    await increment(owner, Owner.homes["h"].badge.level, 1)
    assert other == Owner(name="o", rooms=["hall"], homes={"h": Home()})
    assert (other.badge, other.home, Owner(name="new").badge) == (Badge(), Home(), Badge())
    await other.asave()
    assert await Owner.aget("o") == owner


async def test_a_nested_object_given_to_two_owners_is_each_one_s_own(owner: Any) -> None:
    other = Owner(name="p", home=owner.home, badge=owner.badge)
    await other.asave()
    await owner.home.badge.level.aincrease(1)
    await owner.badge.level.aincrease(1)
    assert (other.home.badge, other.badge) == (Badge(), Badge())
    await other.asave()
    assert (await Owner.aget("p"), await Owner.aget("o")) == (other, owner)


async def test_what_was_taken_from_an_object_stays_its_own(owner: Any) -> None:
    home, rooms = owner.home, owner.rooms
    owner.home = home
    owner.rooms += ["kitchen"]
    await owner.asave()
    await home.badge.level.aincrease(1)
    await rooms.aappend("attic")
    assert (home, rooms) == (Home(badge=Badge(2)), ["hall", "kitchen", "attic"])
    assert (owner.home, owner.rooms) == (home, rooms)
    assert await Owner.aget("o") == owner


async def test_a_nested_object_has_whatever_else_its_class_gives_it(owner: Any) -> None:
    await owner.home.rooms.aappend("attic")
    assert (owner.home.count(), owner.home.first) == (2, "attic")
    owner.home._seen = {"post": 5}
    owner.home.first = "cellar"
    assert (owner.home.count(), owner.home.rooms) == (6, ["cellar"])
    with pytest.raises(FrozenInstanceError):
        owner.badge.level = 3
    with pytest.raises(AttributeError, match="nothing"):
        _ = owner.home.nothing


async def test_a_computed_value_cannot_be_sent(hero: Any) -> None:
    with pytest.raises(AttributeError):
        await (hero.hp + 1).aincrease(1)
    with pytest.raises(TypeError, match="belongs to no field"):
        await LiveInt(1).aincrease(1)


async def test_a_nested_dataclass_is_set_as_a_whole(hero: Any) -> None:
    await hero.stats.aset(Stats(7, ["a"]))
    await hero.tight.aset(Tight(3))
    assert (hero.stats, hero.tight) == (Stats(7, ["a"]), Tight(3))
    assert await Hero.aget("h") == hero


async def test_methods_of_the_model(hero: Any) -> None:
    assert (hero.pk, hero.key) == ("h", "Hero:h")
    with pytest.raises(AlreadyExists):
        await Hero(name="h").ainsert()
    other, created = await Hero.aget_or_create("o", hp=3)
    assert (created, other.hp) == (True, 3)
    assert (await Hero.aget_or_create("o", hp=4))[0].hp == 3
    assert {one.name for one in await Hero.find()} == {"h", "o"}
    assert [one.name for one in await Hero.afind(Hero.hp > 5)] == ["h"]
    assert await other.aexists() is await Hero.aexists("o") is True
    assert await other.adelete() is True
    assert await Hero.adelete("o") is False
    with pytest.raises(NotFound):
        await other.aload()
    stale = await stored()
    await hero.hp.aincrease(1)
    assert await stale.aload() is stale
    assert stale.hp == 11


async def test_a_replaced_object_is_a_new_one(hero: Any) -> None:
    made = replace(hero, name="n")
    await made.ainsert()
    assert {one.name for one in await Hero.find()} == {"h", "n"}


async def test_in_a_block_the_same_methods_record(hero: Any) -> None:
    async with hero.apipeline() as p:
        assert (p.pk, p.key) == ("h", "Hero:h")
        await p.hp.aincrease(2)
        await p.stats.wins.aincrease(1)
        await p.items.aappend("q")
        await p.aupdate(motto="block")
        with pytest.raises(TypeError, match="not for drafts"):
            await p.asave()
        assert await stored() == Hero(name="h")
    assert (hero.hp, hero.stats.wins, hero.items, hero.motto) == (12, 1, ["q"], "block")
    assert await stored() == hero


@pytest.mark.parametrize(
    ("base", "name"), [(AtomicRedisModel, "pk"), (AtomicRedisModel, "find"), (BlockingModel, "save")]
)
def test_a_field_with_a_method_s_name_is_refused(base: type, name: str) -> None:
    with pytest.raises(TypeError, match="name of a method"):
        type(base)("Bad", (base,), {"__annotations__": {name: int}, "__module__": __name__})


def test_class_keywords_name_the_model() -> None:
    class Named(AtomicRedisModel, name="other", ttl=60, version=2):
        x: int = 0

    from rapyer_core.models import model_of

    model: Any = model_of(Named)
    assert (model.name, model.ttl, model.version) == ("other", 60, 2)
