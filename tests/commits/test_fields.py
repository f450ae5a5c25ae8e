"""Fields of drafts, of the object and of nested ones: they are read and written alone, and by their names only."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, cast

import pytest
import redis

from rapyer_core import (
    Codec,
    Conflict,
    ConstraintError,
    DecodeError,
    EncodeError,
    Key,
    LimitExceeded,
    PathError,
    assign,
    get,
    increment,
    pipeline,
    put,
    redis_model,
    ref,
    save,
    transaction,
)


@dataclass
class Engine:
    power: int = 1
    fuel: str = "none"
    parts: dict[str, int] = field(default_factory=dict)

    def tuned(self) -> int:
        self.power += 10
        return self.power


@dataclass
class Turbo(Engine):
    boost: int = 2

    def tuned(self) -> int:
        self.power += 100
        return self.power


class Place(NamedTuple):
    x: int = 0
    y: int = 0


@redis_model
@dataclass
class Car:
    name: Key[str]
    price: int = 5
    colour: str = "red"
    cents: Annotated[int, Codec(lambda value: f"{value}c", lambda raw: int(raw[:-1]))] = 3
    engine: Engine = field(default_factory=Engine)
    place: Place = field(default_factory=Place)
    labels: dict[str, str] = field(default_factory=dict)
    mro: int = 1
    items: int = 2
    origin: int = 3
    mark: str = "m"


@pytest.fixture(autouse=True)
async def _car(session: Any) -> None:
    await save(Car("c"))


def one() -> Car:
    return ref(Car, "c")


async def test_a_nested_field_is_changed_without_reading_the_others(redis_client: redis.Redis) -> None:
    redis_client.hset("Car:c", mapping={"price": "not a number", "engine.fuel": b"\xff"})
    async with pipeline(one()) as d:
        d.engine.power += 2
        d.engine.parts["wheel"] = 4
        assert d.engine.power == 3
    assert redis_client.hmget("Car:c", "price", "engine.power", "engine.fuel", "engine.parts.wheel") == [
        b"not a number",
        b"3",
        b"\xff",
        b"4",
    ]


async def test_what_cannot_be_read_is_said_of_the_field_without_its_value(redis_client: redis.Redis) -> None:
    redis_client.hset("Car:c", mapping={"price": "s3cret", "engine.power": "s3cret"})
    with pytest.raises(DecodeError) as caught:
        async with pipeline(one()) as d:
            d.price += 1
    assert (caught.value.model, caught.value.pk, caught.value.path) == ("Car", "c", "price")
    with pytest.raises(DecodeError) as nested:
        async with pipeline(one()) as d:
            d.engine.power += 1
    assert nested.value.path == "engine.power"
    for error in (caught.value, nested.value):
        assert "s3cret" not in str(error)
        assert error.__cause__ is None
        assert error.__context__ is None


async def test_a_nested_field_that_was_never_stored_starts_from_its_default(redis_client: redis.Redis) -> None:
    redis_client.hdel("Car:c", "engine.power", "engine.fuel", "engine.parts", "price")
    async with pipeline(one()) as d:
        d.engine.power += 1
        d.price += 1
    car = await get(Car, "c")
    assert (car.engine, car.price) == (Engine(2), 6)


async def test_the_draft_of_a_subclass_keeps_what_it_is(redis_client: redis.Redis) -> None:
    await save(Car("c", engine=Turbo(5)))
    async with pipeline(one()) as d:
        assert isinstance(d.engine, Engine)
        d.engine.power += 1
        d.engine.fuel = "gas"
        assert isinstance(d.engine, Turbo)
        assert d.engine.tuned() == 106
        with pytest.raises(AttributeError, match=r"Turbo\.boost is a field of a subclass, and the place engine"):
            assert cast(Any, d.engine).boost
        assert copy.copy(d.engine) == Turbo(106, "gas")
    assert (await get(Car, "c")).engine == Turbo(106, "gas")
    assert redis_client.hget("Car:c", "engine") == b"~Turbo:{}"


async def test_which_class_a_nested_object_is_of_counts_as_read() -> None:
    with pytest.raises(Conflict) as caught:
        async with pipeline(one()) as d:
            d.price = 20 if isinstance(d.engine, Turbo) else 10
            await assign(one(), Car.engine, Turbo())
    assert caught.value.fields == ("engine",)
    async with pipeline(one()) as d:
        d.engine.tuned()
        await assign(one(), Car.price, 7)
    assert (await get(Car, "c")).engine == Turbo(101)
    async with pipeline(one()) as d:
        d.engine = Engine(3)
        assert not isinstance(d.engine, Turbo)
        assert d.engine.tuned() == 13


async def test_a_nested_read_is_checked_and_one_that_comes_back_is_not() -> None:
    async with pipeline(one()) as d:
        d.engine.power += 1
        await increment(one(), Car.engine.power, 10)
    assert (await get(Car, "c")).engine.power == 12
    with pytest.raises(Conflict) as caught:
        async with pipeline(one()) as d:
            d.price = d.engine.power * 2
            await increment(one(), Car.engine.power, 1)
    assert caught.value.fields == ("engine.power",)


async def test_a_nested_draft_follows_its_place_only_until_it_is_replaced() -> None:
    async with pipeline(one()) as d:
        engine = d.engine
        engine.power += 1
        d.engine = Engine(50)
        with pytest.raises(ConstraintError, match="take it again"):
            engine.power += 1
        d.engine.power += 1
    assert (await get(Car, "c")).engine == Engine(51)


async def test_fields_may_be_called_like_anything() -> None:
    async with pipeline(one()) as d:
        d.mro += 1
        d.items += 1
        d.origin += 1
        d.mark += "!"
    car = await get(Car, "c")
    assert (car.mro, car.items, car.origin, car.mark) == (2, 3, 4, "m!")


@pytest.mark.parametrize("name", ["nothing", "_Draft__x", "__slots", "Price"])
async def test_other_names_are_refused(name: str) -> None:
    async with pipeline(one()) as d:
        with pytest.raises(AttributeError):
            getattr(d, name)
        with pytest.raises(AttributeError):
            getattr(d.engine, name)
        with pytest.raises(PathError):
            setattr(d, name, 1)
        with pytest.raises(PathError):
            setattr(d.engine, name, 1)
        with pytest.raises(TypeError, match="cannot be deleted"):
            del d.price
    assert await get(Car, "c") == Car("c")


async def test_names_of_python_are_no_fields() -> None:
    async with pipeline(one()) as d:
        for name in ("__dict__", "__wrapped__", "__dataclass_fields__"):
            assert not hasattr(d, name)


async def test_a_value_that_does_not_fit_is_refused_where_it_is_given() -> None:
    async with pipeline(one()) as d:
        for wrong in ("text", 1.5, True, None):
            with pytest.raises(EncodeError) as caught:
                d.price = wrong  # type: ignore[assignment]  # the test is about this
            assert (caught.value.model, caught.value.pk, caught.value.path) == ("Car", "c", "price")
        with pytest.raises(EncodeError) as text:
            d.labels.update(fine="yes", bad="\udcff")
        assert text.value.path == 'labels["bad"]'
        assert text.value.__context__ is None
        assert dict(d.labels) == {}
        with pytest.raises(ConstraintError, match="key field"):
            d.name += "x"
    assert await get(Car, "c") == Car("c")


async def test_a_codec_of_the_field_is_used(redis_client: redis.Redis) -> None:
    async with pipeline(one()) as d:
        d.cents += 4
        assert d.cents == 7
    assert redis_client.hget("Car:c", "cents") == b"7c"


async def test_a_long_int_is_counted_exactly(redis_client: redis.Redis) -> None:
    await assign(one(), Car.price, 10**30)
    async with pipeline(one()) as d:
        d.price += 1
        d.price *= 10
    assert redis_client.hget("Car:c", "price") == b"%d" % ((10**30 + 1) * 10)


async def test_a_named_tuple_is_changed_by_its_fields() -> None:
    async with pipeline(cast(Any, one())) as d:
        d.place.x += 3
        d.place.y = 4
        assert tuple(d.place) == (3, 4)
    assert (await get(Car, "c")).place == Place(3, 4)


async def test_a_deleted_object_has_no_fields_any_more() -> None:
    async with transaction() as tx:
        d = await tx.get(Car, "c")
        engine = d.engine
        await tx.delete(d)
        for use in (lambda: d.price, lambda: d.engine, lambda: d.labels, lambda: engine.power):
            with pytest.raises(LookupError, match="deleted in this block"):
                use()
        with pytest.raises(LookupError, match="deleted in this block"):
            d.price = 1


async def test_fields_can_be_read_after_the_block_and_written_no_more() -> None:
    async with pipeline(one()) as d:
        d.engine.power += 1
        d.labels["a"] = "b"
    assert (d.engine.power, d.price, dict(d.labels)) == (2, 5, {"a": "b"})
    with pytest.raises(ConstraintError, match="block of this draft is over"):
        d.engine.power += 1
    with pytest.raises(ConstraintError, match="block of this draft is over"):
        d.labels.update(c="d")


async def test_the_instance_shows_nested_changes_and_saves_no_others() -> None:
    car = await get(Car, "c")
    shared = car.engine
    async with pipeline(car) as d:
        d.engine.power += 1
        d.engine.parts.update(wheel=4, door=2)
        d.labels.update(a="b", c="d")
    assert car.engine == Engine(2, "none", {"wheel": 4, "door": 2})
    assert car.labels == {"a": "b", "c": "d"}
    assert shared == Engine()
    await increment(one(), Car.engine.power, 1)
    car.colour = "blue"
    await save(car)
    assert (await get(Car, "c")).engine.power == 3


async def test_a_result_that_is_too_long_to_store_is_refused_and_forgotten() -> None:
    async with pipeline(one()) as d:
        with pytest.raises(LimitExceeded) as caught:
            d.price *= 10**100_001
        assert (caught.value.model, caught.value.pk, caught.value.path) == ("Car", "c", "price")
        assert caught.value.__context__ is None
        assert d.price == 5
        d.price += 1
    assert (await get(Car, "c")).price == 6


async def test_an_operand_may_write_to_the_same_object() -> None:
    async with pipeline(one()) as d:

        def spent() -> int:
            d.items += 5
            d.labels["spent"] = "yes"
            return 2

        d.price += spent()
        await increment(one(), Car.price, 100)
    car = await get(Car, "c")
    assert (car.price, car.items, car.labels) == (107, 7, {"spent": "yes"})


async def test_a_field_is_counted_and_assigned_by_turns() -> None:
    async with pipeline(one()) as d:
        d.price += 1
        d.price += 1
        assert d.price == 7
        d.price = 20
        d.price += 1
        d.engine.power = d.engine.power + 4
        d.engine.power -= 2
    assert await get(Car, "c") == Car("c", price=21, engine=Engine(3))


async def test_counts_are_done_again_to_what_somebody_else_stored() -> None:
    async with pipeline(one()) as d:
        d.price += 1
        d.price *= 3
        d.engine.power += 2
        d.labels.update(mine="yes")
        await assign(one(), Car.price, 100)
        await assign(one(), Car.engine.power, 50)
        await put(one(), Car.labels, "theirs", "yes")
    car = await get(Car, "c")
    assert (car.price, car.engine.power, car.labels) == (303, 52, {"mine": "yes", "theirs": "yes"})
