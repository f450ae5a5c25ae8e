"""Classes of every shape: saved, loaded, changed field by field; frozen instances are never mutated."""

from __future__ import annotations

import abc
import copy
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

import attrs
import pytest

import rapyer_core as rc
from rapyer_core import Index, Key, redis_model
from tests.objects.conftest import Hash

pytestmark = pytest.mark.one_server

T = TypeVar("T")


@dataclass(frozen=True)
class FrozenPart:
    wins: int = 0
    tags: tuple[str, ...] = ()


class Point(NamedTuple):
    x: int = 0
    y: int = 0


ORIGIN = Point()


class Settings(TypedDict, total=False):
    volume: int
    name: str


@redis_model
@dataclass(slots=True)
class Slotted:
    name: Key[str]
    count: int = 0
    items: list[str] = field(default_factory=list)


@redis_model
@dataclass(kw_only=True)
class KwOnly:
    name: Key[str]
    count: int = 0
    items: list[str] = field(default_factory=list)


@redis_model
@dataclass
class Base:
    name: Key[str]
    count: Index[int] = 0
    items: list[str] = field(default_factory=list)


@redis_model
@dataclass
class Child(Base):
    extra: int = 0

    def doubled(self) -> int:
        return 2 * self.count


@redis_model
@dataclass(slots=True)
class SlottedChild(Slotted):
    extra: int = 0


@redis_model
@dataclass
class Pair(Generic[T]):
    name: Key[str]
    value: T
    count: int = 0
    items: list[str] = field(default_factory=list)


class Abstract(abc.ABC):
    @abc.abstractmethod
    def greet(self) -> str: ...


@redis_model
@dataclass
class Concrete(Abstract):
    name: Key[str]
    count: int = 0
    items: list[str] = field(default_factory=list)

    def greet(self) -> str:
        return f"hello {self.name}"


@redis_model
@attrs.define
class Attrs:
    name: Key[str]
    count: int = 0
    items: list[str] = attrs.field(factory=list)


@redis_model
@attrs.define(slots=False)
class AttrsDict:
    name: Key[str]
    count: int = 0
    items: list[str] = attrs.field(factory=list)


MUTABLE: list[Any] = [
    Slotted("n"),
    KwOnly(name="n"),
    Base("n"),
    Child("n", extra=3),
    SlottedChild("n", extra=3),
    Pair("n", "any value"),
    Concrete("n"),
    Attrs("n"),
    AttrsDict("n"),
]


@pytest.mark.parametrize("made", MUTABLE, ids=lambda made: type(made).__name__)
async def test_every_shape_takes_every_operation(made: Any) -> None:
    cls = type(made)
    obj = copy.deepcopy(made)
    await rc.insert(obj)
    assert await rc.get(cls, "n") == obj == made
    assert await rc.increment(obj, cls.count, 5) == 5 == obj.count
    await rc.append(obj, cls.items, "a")
    assert obj.items == ["a"]
    obj.items.append("b")
    obj.count += 1
    await rc.save(obj)
    stored = await rc.get(cls, "n")
    assert (stored.count, stored.items) == (6, ["a", "b"])
    duplicates: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
    for duplicate in duplicates:
        twin = duplicate(stored)
        assert twin == stored
        assert repr(twin) == repr(stored)
        await rc.increment(rc.ref(cls, "n"), cls.count, 1)
        twin.items = [*twin.items, "c"]
        await rc.save(twin)
        await rc.reload(stored)
        assert stored.items[-1] == "c"
    assert stored.count == 9
    assert await rc.find(cls, cls.count == 9) == [stored]
    assert await rc.delete(stored)


@redis_model
@dataclass(frozen=True)
class Frozen:
    name: Key[str]
    count: int = 0
    score: Index[int] = 0
    items: list[str] = field(default_factory=list)
    part: FrozenPart = FrozenPart()


@redis_model
@dataclass(frozen=True, slots=True)
class FrozenSlotted:
    name: Key[str]
    count: int = 0
    score: Index[int] = 0
    items: list[str] = field(default_factory=list)
    part: FrozenPart = FrozenPart()


@redis_model
@attrs.frozen
class FrozenAttrs:
    name: Key[str]
    count: int = 0
    score: Index[int] = 0
    items: list[str] = attrs.field(factory=list)
    part: FrozenPart = FrozenPart()


@pytest.mark.parametrize("cls", [Frozen, FrozenSlotted, FrozenAttrs])
async def test_a_frozen_instance_is_never_mutated(cls: Any) -> None:
    obj = cls("n", items=["a"])
    same = copy.deepcopy(obj)
    await rc.save(obj)
    assert await rc.increment(obj, cls.count, 5) == 5
    assert await rc.increment(obj, cls.score, 5) == 5
    assert await rc.modify(obj, cls.count, lambda n: n + 1) == 6
    await rc.append(obj, cls.items, "b")
    assert await rc.pop(obj, cls.items, 0) == "a"
    await rc.increment(obj, cls.part.wins, 2)
    await rc.assign(obj, cls.part, FrozenPart(7))
    assert obj == same
    fresh = await rc.reload(obj)
    assert obj == same
    assert fresh == await rc.get(cls, "n") == cls("n", 6, 5, ["b"], FrozenPart(7))
    await rc.save(rc.evolve(fresh, count=9))
    with pytest.raises(rc.Conflict):
        await rc.save(rc.evolve(obj, count=1))
    assert (await rc.get(cls, "n")).count == 9
    await rc.save(rc.evolve(fresh, score=8))
    assert (await rc.get(cls, "n")).score == 8


@redis_model
@dataclass
class Holder:
    name: Key[str]
    part: FrozenPart = FrozenPart()
    parts: list[FrozenPart] = field(default_factory=list)
    named: dict[str, FrozenPart] = field(default_factory=dict)
    point: Point = ORIGIN
    pair: tuple[int, Point] = (0, ORIGIN)
    settings: Settings = field(default_factory=lambda: Settings(volume=3))


async def test_frozen_parts_are_replaced_not_mutated(stored: Hash) -> None:
    """FrozenPart() is one object, the default of every Holder."""
    holder = Holder("h")
    await rc.save(holder)
    before = holder.part
    assert await rc.increment(holder, Holder.part.wins, 3) == 3
    assert holder.part == FrozenPart(3)
    assert before == FrozenPart(0)
    assert Holder("other").part == FrozenPart(0)
    part = FrozenPart(1)
    await rc.append(holder, Holder.parts, part)
    await rc.put(holder, Holder.named, "k", part)
    await rc.increment(holder, Holder.parts[0].wins, 1)
    await rc.increment(holder, Holder.named["k"].wins, 1)
    assert part == FrozenPart(1)
    assert (holder.parts, holder.named) == ([FrozenPart(2)], {"k": FrozenPart(2)})
    assert await rc.get(Holder, "h") == holder


async def test_the_default_of_a_missing_frozen_part_is_not_mutated(redis_client: Any) -> None:
    await rc.save(Holder("h"))
    redis_client.hdel("Holder:h", "part.wins", "part.tags")
    await rc.assign(rc.ref(Holder, "h"), Holder.part.tags, ("wide",))
    assert Holder("other").part == FrozenPart()
    redis_client.hdel("Holder:h", "part.wins", "part.tags", "part.tags.0")
    holder = await rc.get(Holder, "h")
    assert await rc.modify(holder, Holder.part.wins, lambda n: n + 4) == 4
    assert await rc.increment(holder, "part.wins", 1) == 5
    await rc.assign(holder, Holder.part.tags, ("x",))
    assert holder.part == FrozenPart(5, ("x",))
    assert Holder("other").part == FrozenPart()


async def test_fields_of_tuples_and_typed_dicts() -> None:
    holder = Holder("h")
    await rc.save(holder)
    assert await rc.increment(holder, Holder.point.x, 2) == 2
    assert await rc.modify(holder, Holder.pair[1].y, lambda y: y + 7) == 7
    assert await rc.increment(holder, "pair.0", 1) == 1
    assert await rc.increment(holder, "settings.volume", 1) == 4
    assert (holder.point, holder.pair, holder.settings) == (Point(2), (1, Point(0, 7)), {"volume": 4})
    await rc.assign(holder, "settings.name", "x")
    assert holder.settings == {"volume": 4, "name": "x"}
    assert await rc.get(Holder, "h") == holder


async def test_a_decorated_subclass_is_a_model_of_its_own() -> None:
    await rc.save_many([Base("b", 1), Child("c", 2, extra=5)])
    assert await rc.find(Base) == [Base("b", 1)]
    assert await rc.find(Child, Base.count >= 0, Child.extra == 5) == [Child("c", 2, extra=5)]
    child = await rc.get(Child, "c")
    assert await rc.increment(child, Base.count, 3) == 5
    assert child.doubled() == 10
    assert await rc.top(Child, Child.count, 5) == [child]
    with pytest.raises(TypeError):
        await rc.increment(Base("b"), Child.extra, 1)


async def test_generic_models() -> None:
    values: list[Any] = [1, "x", None, [1, 2], {"a": True}, 1.5, b"raw"]
    for value in values:
        await rc.save(Pair("p", value))
        assert (await rc.get(Pair, "p")).value == value
    found: Any = await rc.get(Pair[int], "p")
    assert found == Pair("p", b"raw")


@redis_model
@dataclass
class NoKey:
    text: str = ""
    count: Index[int] = 0


async def test_a_generated_key_stays_with_the_object() -> None:
    one, two = NoKey("x"), NoKey("x")
    assert rc.pk_of(one) == rc.pk_of(one) < rc.pk_of(two)
    await rc.save_many([one, two])
    assert await rc.count(NoKey) == 2
    assert one == two
    assert asdict(one) == {"text": "x", "count": 0}
    found = await rc.get(NoKey, rc.pk_of(one))
    assert rc.pk_of(found) == rc.pk_of(one) == rc.pk_of(copy.copy(found)) == rc.pk_of(rc.evolve(found, text="y"))
    assert rc.pk_of(replace(found)) != rc.pk_of(found)
    await rc.increment(rc.ref(NoKey, rc.pk_of(one)), NoKey.count, 1)
    assert await rc.rank(one, NoKey.count) == 0
    made, created = await rc.get_or_create(NoKey, text="z")
    assert created
    assert (await rc.get(NoKey, rc.pk_of(made))).text == "z"
    named, created = await rc.get_or_create(NoKey, "my-own", text="z")
    assert created
    assert rc.pk_of(named) == "my-own"
