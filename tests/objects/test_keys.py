"""Primary keys of every kind, prefixes, and what a scan of one model meets."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass, make_dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

import rapyer_core as rc
from rapyer_core import Index, Key, redis_model
from rapyer_core.collection import Context
from rapyer_core.markers import KeyMarker

ODD = [
    "*",
    "?",
    "[a]",
    "a*b?c[d]^-e",
    "\\",
    "{tag}",
    "a:b",
    ":",
    "%",
    "%7B",
    "100%25",
    "new\nline\r\t\0",
    " ",
    "é 🎲 ß",
    "~",
    "'\"",
    "a" * 900,
    "\x7f",
]


@redis_model
@dataclass
class Named:
    name: Key[str]
    score: Index[int] = 0


async def test_odd_text_keys(redis_client: redis.Redis) -> None:
    await rc.save_many([Named(pk, n) for n, pk in enumerate(ODD)])
    assert redis_client.dbsize() == len(ODD) + 1
    for n, pk in enumerate(ODD):
        found = await rc.get(Named, pk)
        assert (found.name, found.score) == (pk, n)
        assert await rc.increment(found, Named.score, 100) == n + 100
        assert await rc.exists(Named, pk)
    assert {named.name for named in await rc.find(Named)} == set(ODD)
    assert {named.name for named in await rc.find(Named, Named.score >= 100)} == set(ODD)
    assert [named.name for named in await rc.top(Named, Named.score, 99)] == ODD[::-1]
    assert await rc.rank(rc.ref(Named, ODD[-1]), Named.score) == 0
    assert (await rc.verify(Named)).ok
    assert await rc.delete_many([rc.ref(Named, pk) for pk in ODD]) == len(ODD)
    assert redis_client.dbsize() == 0


async def test_a_key_never_grows_a_hash_tag_of_its_own(redis_client: redis.Redis) -> None:
    await rc.save(Named("{x}%"))
    assert redis_client.exists("Named:%7Bx%7D%25")


class Color(enum.Enum):
    RED = "red"
    BLUE = "bl:ue"


def model_of_key(hint: Any, name: str) -> Any:
    """A model whose key has this type."""
    made = make_dataclass(f"Keyed{name}", [("id", Annotated[hint, KeyMarker()]), ("n", int, 0)])
    return redis_model(name=name)(made)


@pytest.mark.parametrize(
    ("hint", "pk", "key"),
    [
        (int, -5, "-5"),
        (int, 10**30, str(10**30)),
        (uuid.UUID, uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Color, Color.BLUE, "bl:ue"),
        (date, date(2024, 5, 1), "2024-05-01"),
        (datetime, datetime(2024, 5, 1, 12, tzinfo=UTC), "2024-05-01T12:00:00+00:00"),
    ],
)
async def test_keys_of_other_types(hint: Any, pk: Any, key: str, redis_client: redis.Redis) -> None:
    cls = model_of_key(hint, f"Of{hint.__name__}")
    await rc.insert(cls(pk))
    assert redis_client.exists(f"Of{hint.__name__}:{key}")
    found = await rc.get(cls, pk)
    assert found == cls(pk)
    assert await rc.increment(rc.ref(cls, pk), cls.n, 2) == 2
    assert [one.id for one in await rc.find(cls, cls.n == 2)] == [pk]
    assert await rc.find(cls, cls.id == pk) == [cls(pk, 2)]
    assert await rc.get_many(cls, [pk]) == [cls(pk, 2)]
    with pytest.raises(rc.EncodeError):
        await rc.get(cls, object())
    assert await rc.delete(cls, pk)


@pytest.mark.parametrize("pk", ["", None, 5, b"x", "a" * 1020, "\ud800", "{" * 400])
async def test_a_primary_key_that_cannot_be_one_is_refused(pk: Any, redis_client: redis.Redis) -> None:
    for call in (rc.get, rc.exists, rc.delete, rc.get_or_create):
        with pytest.raises((TypeError, ValueError)) as caught:
            await call(Named, pk)
        assert isinstance(caught.value, rc.RapyerError)
    for write in (rc.save, rc.insert, rc.reload):
        with pytest.raises(rc.RapyerError):
            await write(Named(pk))
    with pytest.raises(rc.RapyerError):
        await rc.get_many(Named, ["a", pk])
    assert redis_client.dbsize() == 0


@pytest.mark.parametrize("prefix", ["", "app:", "a*b:", "[x]", "a?", "\\", "{tag}:", "~", "é:"])
async def test_prefixes_keep_sessions_apart(prefix: str, url: str, redis_client: redis.Redis) -> None:
    async with rc.open_session(url, prefix=prefix + "one/") as one, rc.open_session(url, prefix=prefix + "two/") as two:
        await rc.save_many([Named("a", 1), Named("b", 2)], session=one)
        await rc.save(Named("a", 3), session=two)
        assert {named.score for named in await rc.find(Named, session=one)} == {1, 2}
        assert {named.score for named in await rc.find(Named, session=two)} == {3}
        assert await rc.count(Named, session=two) == 1
        assert [named.score for named in await rc.top(Named, Named.score, 5, session=one)] == [2, 1]
        assert redis_client.exists(f"{prefix}one/Named:a")
        assert all(key.startswith(prefix.encode()) for key in redis_client.scan_iter())


async def test_model_names_with_dots_and_common_beginnings() -> None:
    @redis_model(name="A.b-c_1")
    @dataclass
    class First:
        name: Key[str]
        n: Index[int] = 0

    @redis_model(name="A")
    @dataclass
    class Second:
        name: Key[str]
        n: Index[int] = 0

    await rc.save_many([First("x", 1), Second("x", 2), Second("b-c_1:x", 3)])
    assert await rc.find(First) == [First("x", 1)]
    assert {second.n for second in await rc.find(Second)} == {2, 3}
    assert await rc.top(Second, Second.n, 1) == [Second("b-c_1:x", 3)]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "1a", "~a", "a*", "é", "a{b}"])
def test_a_model_name_that_could_be_misread_is_refused(name: str) -> None:
    with pytest.raises(ValueError):

        @redis_model(name=name)
        @dataclass
        class _Wrong:
            name: Key[str]


async def test_a_ref_is_equal_in_effect_to_the_object() -> None:
    await rc.save(Named("a", 1))
    ref = rc.ref(Named, "a")
    assert "ref(Named" in repr(ref)
    await rc.increment(ref, Named.score, 1)
    await rc.assign(ref, Named.score, 10)
    assert await rc.modify(ref, Named.score, lambda n: n + 1) == 11
    assert await rc.rank(ref, Named.score) == 0
    assert await rc.exists(ref)
    assert await rc.delete(ref)
    assert rc.pk_of(ref) == "a"


@given(st.one_of(st.sampled_from(ODD), st.text(min_size=1, max_size=40)), st.sampled_from(["", "app:", "{x}" * 300]))
def test_a_key_is_found_quickly_as_it_is_found_slowly(pk: str, prefix: str) -> None:
    collection = Context(prefix).collection_of(Named)
    try:
        expected: Any = collection.pk_text(pk), collection.key(pk)
    except rc.RapyerError as error:
        expected = type(error)
    for _ in range(2):
        try:
            found: Any = collection.address(pk)
        except rc.RapyerError as error:
            found = type(error)
        assert found == expected


@redis_model(name="Raw")
@dataclass
class Raw:
    key: Key[bytes]


async def test_a_key_whose_text_is_no_utf_8_is_refused_without_quoting_it() -> None:
    await rc.save(Raw("é".encode()))
    assert await rc.get(Raw, "é".encode()) == Raw("é".encode())
    for call in (lambda: rc.save(Raw(b"secret\xff")), lambda: rc.get(Raw, b"secret\xff")):
        with pytest.raises(rc.EncodeError, match="a primary key must be encodable as UTF-8") as caught:
            await call()
        assert caught.value.__context__ is None
