"""Bad input: a clear error of ours, before anything is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
import redis

import rapyer_core as rc
from rapyer_core import Key, redis_model, sync
from tests.objects.conftest import Hash, Trips
from tests.objects.models import Achievement, Box, Hero, Player

pytestmark = pytest.mark.one_server

Write = Callable[[Any], Awaitable[Any]]

untyped: Any = rc
"""What type checkers would refuse is done on purpose here."""

BAD_VALUES: list[Write] = [
    lambda box: untyped.assign(box, "number", "1"),
    lambda box: untyped.assign(box, "number", True),
    lambda box: untyped.assign(box, "number", 1.0),
    lambda box: untyped.assign(box, "number", None),
    lambda box: untyped.assign(box, "text", b"x"),
    lambda box: untyped.assign(box, "text", "\ud800"),
    lambda box: untyped.assign(box, "hero", "x"),
    lambda box: untyped.assign(box, "hero.name", 1),
    lambda box: untyped.assign(box, "items", ["a", 1]),
    lambda box: untyped.assign(box, "items", ("a",)),
    lambda box: untyped.append(box, "items", 1),
    lambda box: untyped.extend(box, "items", ["a", 1]),
    lambda box: untyped.append(box, "heroes", Hero(untyped.Retry())),
    lambda box: untyped.insert_at(box, "items", 0, 1),
    lambda box: untyped.insert_at(box, "items", "0", "x"),
    lambda box: untyped.insert_at(box, "items", True, "x"),
    lambda box: untyped.pop(box, "items", "0"),
    lambda box: untyped.pop(box, "counts"),
    lambda box: untyped.remove(box, "items", 1),
    lambda box: untyped.put(box, "counts", "k", "1"),
    lambda box: untyped.put(box, "counts", 1, 1),
    lambda box: untyped.put(box, "team", "k", {"name": "x"}),
    lambda box: untyped.merge(box, "counts", {"a": 1, "b": "2"}),
    lambda box: untyped.merge(box, "counts", [("a", 1)]),
    lambda box: untyped.remove(box, "counts", 1),
    lambda box: untyped.pop(box, "counts", 1),
    lambda box: untyped.add(box, "members", 1, "2"),
    lambda box: untyped.add(box, "members", [1]),
    lambda box: untyped.discard(box, "members", "2"),
    lambda box: untyped.remove(box, "members", "2"),
]

BAD_PATHS: list[Write] = [
    lambda box: untyped.assign(box, "nope", 1),
    lambda box: untyped.assign(box, "", 1),
    lambda box: untyped.assign(box, "number.deeper", 1),
    lambda box: untyped.assign(box, "items.x", 1),
    lambda box: untyped.assign(box, "hero.nope", 1),
    lambda box: untyped.assign(box, "~", "2"),
    lambda box: untyped.increment(box, box.number, 1),
    lambda box: untyped.increment(box, 5, 1),
    lambda box: untyped.increment(box, None, 1),
    lambda box: untyped.append(box, box.items, "x"),
    lambda box: untyped.increment(box, Player.coins, 1),
    lambda box: untyped.append(box, Box.number, 1),
    lambda box: untyped.append(box, "counts", 1),
    lambda box: untyped.put(box, "items", "k", 1),
    lambda box: untyped.add(box, "items", "k"),
    lambda box: untyped.pop(box, "members"),
    lambda box: untyped.clear(box, "number"),
    lambda box: untyped.increment(box, "items", 1),
    lambda box: untyped.increment(box, "hero", 1),
    lambda box: untyped.assign(box, rc.paths(Box), box),
]


@pytest.mark.parametrize("target", ["object", "ref"])
@pytest.mark.parametrize("number", range(len(BAD_VALUES)))
async def test_a_bad_value(number: int, target: str, stored: Hash, trips: Trips) -> None:
    box = Box("b", hero=Hero("h"), items=["a"], counts={"a": 1}, members={1})
    await rc.save(box)
    before = stored("Box:b")
    obj = box if target == "object" else rc.ref(Box, "b")
    with pytest.raises((TypeError, ValueError)) as caught:
        await BAD_VALUES[number](obj)
    assert isinstance(caught.value, rc.RapyerError)
    assert (caught.value.model, caught.value.pk) == ("Box", "b")
    assert stored("Box:b") == before
    assert box == await rc.get(Box, "b")


async def test_of_bad_elements_the_first_one_is_named(trips: Trips) -> None:
    box = Box("b", items=["a"])
    await rc.save(box)
    with trips.expect(0), pytest.raises(rc.EncodeError) as caught:
        await untyped.extend(box, "items", ["b", "c", 1, 2])
    assert (caught.value.model, caught.value.pk, caught.value.path) == ("Box", "b", "items[2]")
    assert box.items == ["a"]


@pytest.mark.parametrize("number", range(len(BAD_PATHS)))
async def test_a_bad_path(number: int, stored: Hash, trips: Trips) -> None:
    box = Box("b", hero=Hero("h"), items=["a"], number=3)
    await rc.save(box)
    before = stored("Box:b")
    with trips.expect(0), pytest.raises(TypeError) as caught:
        await BAD_PATHS[number](box)
    assert isinstance(caught.value, rc.PathError)
    assert stored("Box:b") == before


async def test_the_key_field_cannot_be_written(stored: Hash) -> None:
    player = Player("alice")
    await rc.save(player)
    before = stored("Player:alice")
    for write in (
        rc.assign(player, "username", "bob"),
        rc.modify(player, "username", str.upper),
        rc.assign(player, rc.paths(Player).username, "bob"),
    ):
        with pytest.raises(rc.ConstraintError):
            await write
    assert stored("Player:alice") == before


@pytest.mark.parametrize("field", ["number", "items", "counts", "hero", "members"])
async def test_an_object_with_a_wrong_value_is_not_saved(field: str, stored: Hash) -> None:
    box = Box("b")
    await rc.save(box)
    before = stored("Box:b")
    wrong: Any = object()
    setattr(box, field, wrong)
    for write in (rc.save(box), rc.save(box, overwrite=True), rc.insert(box), rc.save_many([Box("c"), box])):
        with pytest.raises(rc.EncodeError) as caught:
            await write
        assert (caught.value.model, caught.value.pk, caught.value.path) == ("Box", "b", field)
    assert stored("Box:b") == before
    assert stored("Box:c") == {}


async def test_what_is_no_model_is_refused() -> None:
    @dataclass
    class Plain:
        name: str

    plain = Plain("x")
    wrong: Any = plain
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: rc.save(plain),
        lambda: rc.insert(plain),
        lambda: rc.get(Plain, "x"),
        lambda: rc.reload(plain),
        lambda: rc.exists(plain),
        lambda: rc.delete(plain),
        lambda: rc.find(Plain),
        lambda: rc.increment(plain, "name", 1),
        lambda: rc.save(Player),
        lambda: rc.get(wrong, "x"),
        lambda: rc.save(None),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            await call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: untyped.save(Player),
        lambda: untyped.increment(Player, Player.coins, 1),
        lambda: untyped.reload(Player),
        lambda: untyped.delete_many([Player]),
    ],
)
async def test_a_class_instead_of_an_object_is_named(call: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises(TypeError, match=r"not the class Player: give an instance, or ref\(Player, pk\)"):
        await call()


@pytest.mark.parametrize("wrong", [None, "alice", ["alice"], 5])
async def test_what_can_be_no_object_is_not_told_to_be_decorated(wrong: Any) -> None:
    with pytest.raises(TypeError, match="an object of a model, or ref"):
        await rc.delete(wrong)


async def test_one_text_is_no_list_of_primary_keys() -> None:
    with pytest.raises(TypeError, match=r"several primary keys are expected, not one str"):
        await rc.get_many(Player, "alice")


async def test_a_session_of_the_other_kind_is_refused(url: str) -> None:
    with sync.open_session(url) as blocking:
        for wrong in (blocking, url):
            with pytest.raises(TypeError, match=r"session= takes a rapyer_core\.sessions\.Session"):
                await untyped.get(Player, "alice", session=wrong)
    async with rc.open_session(url) as other:
        with pytest.raises(TypeError, match=r"session= takes a rapyer_core\.sync\.sessions\.Session"):
            sync.get(Player, "alice", session=cast(Any, other))


async def test_a_primary_key_and_values_go_with_a_class_only() -> None:
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: rc.exists(Player("a"), "a"),
        lambda: rc.delete(Player("a"), "a"),
        lambda: untyped.get_or_create(Player("a"), "a"),
        lambda: untyped.get_or_create(Player("a"), coins=5),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="with a model class, not with an object"):
            await call()
    assert not await rc.exists(Player, "a")


async def test_an_error_about_a_key_that_has_no_utf8_can_be_printed() -> None:
    await rc.save(Player("a"))
    with pytest.raises(rc.PathError) as caught:
        await rc.put(rc.ref(Player, "a"), Player.metadata, "\ud800", "x")
    assert "\\ud800" in str(caught.value)
    assert str(caught.value).encode()


WRONG_TYPE: list[Write] = [
    rc.save,
    lambda player: untyped.get(Player, "alice"),
    lambda player: untyped.get_many(Player, ["alice"]),
    rc.reload,
    rc.exists,
    rc.insert,
    lambda player: untyped.get_or_create(Player, "alice"),
    lambda player: untyped.increment(player, "coins", 1),
    lambda player: untyped.increment(player, "score", 1),
    lambda player: untyped.assign(player, "coins", 1),
    lambda player: untyped.append(player, Player.achievements, Achievement.STREAK),
    lambda player: untyped.put(player, "metadata", "a", "b"),
    lambda player: untyped.discard(player, "tags", "x"),
    lambda player: untyped.pop(player, "metadata", "x"),
    lambda player: untyped.clear(player, "metadata"),
    lambda player: untyped.find(Player),
    lambda player: untyped.count(Player),
    lambda player: untyped.verify(Player),
]


@pytest.mark.parametrize("number", range(len(WRONG_TYPE)))
async def test_a_key_of_another_type_is_named_and_kept(number: int, redis_client: redis.Redis) -> None:
    await rc.save_many([Player(f"p{n}") for n in range(5)])
    player = Player("alice")
    await rc.save(player)
    player.coins = 1
    redis_client.delete("Player:alice")
    redis_client.set("Player:alice", "somebody else's")
    with pytest.raises(rc.WrongKeyType) as caught:
        await WRONG_TYPE[number](player)
    assert caught.value.key == "Player:alice"
    assert "somebody" not in str(caught.value)
    assert redis_client.get("Player:alice") == b"somebody else's"


async def test_save_of_a_class_that_is_only_a_subclass_of_a_model() -> None:
    @dataclass
    class Special(Player):
        extra: int = 0

    with pytest.raises(TypeError, match="decorate it"):
        await rc.save(Special("x"))


@redis_model
@dataclass
class Strict:
    name: Key[str]
    needed: int


@pytest.mark.parametrize(
    ("name", "raw"), [("needed", b"secret"), ("needed", None), ("name", b"other"), ("needed", b"1 ")]
)
async def test_a_corrupt_record_is_reported_with_all_that_is_known(
    name: str, raw: bytes | None, redis_client: redis.Redis
) -> None:
    await rc.save(Strict("s", 1))
    if raw is None:
        redis_client.hdel("Strict:s", name)
    else:
        redis_client.hset("Strict:s", name, raw)
    reads: list[Callable[[], Awaitable[Any]]] = [
        lambda: rc.get(Strict, "s"),
        lambda: rc.get_many(Strict, ["s"]),
        lambda: rc.find(Strict),
        lambda: rc.find_one(Strict),
        lambda: rc.reload(rc.ref(Strict, "s")),
        lambda: rc.count(Strict, rc.paths(Strict).needed == 1),
    ]
    for read in reads:
        with pytest.raises(rc.DecodeError) as caught:
            await read()
        error = caught.value
        assert (error.model, error.pk, error.path, error.raw) == ("Strict", "s", name, raw)
        assert isinstance(error, ValueError)
        assert "secret" not in str(error)
