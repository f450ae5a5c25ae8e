"""AtomicRedisModel: live attributes are values; their methods change the stored field."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from typing import Any

import pytest
import pytest_asyncio

from rapyer_core import AlreadyExists, AtomicRedisModel, Index, Key, NotFound, close_rapyer, init_rapyer, top
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
    assert isinstance(hero.seen + timedelta(1), datetime)


async def test_a_computed_value_cannot_be_sent(hero: Any) -> None:
    with pytest.raises(AttributeError):
        await (hero.hp + 1).aincrease(1)
    with pytest.raises(TypeError, match="belongs to no field"):
        await (hero.seen + timedelta(1)).aset(hero.seen)


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
