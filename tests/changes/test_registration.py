"""Codecs registered late, on one session, on one field: each counts everywhere or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import pytest
import redis

import rapyer_core as rc
from rapyer_core import Codec, Index, Key, redis_model, register_codec
from tests.objects.conftest import Hash


class Code:
    """A number that is written in one of two ways."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Code) and other.number == self.number

    def __hash__(self) -> int:
        return hash(self.number)


def to_decimal(code: Code) -> str:
    return f"{code.number}"


def from_decimal(raw: bytes) -> Code:
    if not raw.isdigit():
        raise ValueError
    return Code(int(raw))


def to_hex(code: Code) -> str:
    return f"x{code.number:x}"


def from_hex(raw: bytes) -> Code:
    if raw[:1] != b"x":
        raise ValueError
    return Code(int(raw[1:], 16))


register_codec(Code, encode=to_decimal, decode=from_decimal)


@redis_model
@dataclass
class Item:
    code: Key[Code]
    other: Code = field(default_factory=lambda: Code(0))
    many: list[Code] = field(default_factory=list)
    by_code: dict[Code, int] = field(default_factory=dict)
    maybe: Code | None = None
    price: Index[int] = 0
    count: int = 0


@pytest.fixture
def late() -> Iterator[None]:
    """Leave the codec as it was."""
    yield
    register_codec(Code, encode=to_decimal, decode=from_decimal)


DECIMAL = {
    "~": "1",
    "code": "11",
    "other": "12",
    "many": "1",
    "many.0": "13",
    "by_code": "{}",
    "by_code.14": "5",
    "maybe": "15",
    "price": "7",
    "count": "0",
}
HEX = {
    "~": "1",
    "code": "xb",
    "other": "xc",
    "many": "1",
    "many.0": "xd",
    "by_code": "{}",
    "by_code.xe": "5",
    "maybe": "xf",
    "price": "7",
    "count": "0",
}


def item() -> Item:
    return Item(Code(11), Code(12), [Code(13)], {Code(14): 5}, Code(15), price=7)


async def test_a_late_registration_counts_in_keys_fields_entries_and_indexes(
    late: None, stored: Hash, redis_client: redis.Redis
) -> None:
    await rc.save(item())
    assert await rc.increment(await rc.get(Item, Code(11)), Item.price, 1) == 8
    assert [hit.code for hit in await rc.top(Item, Item.price)] == [Code(11)]
    await rc.delete(Item, Code(11))
    register_codec(Code, encode=to_hex, decode=from_hex)
    await rc.save(item())
    assert stored("Item:xb") == HEX
    loaded = await rc.get(Item, Code(11))
    assert loaded == item()
    assert await rc.get_many(Item, [Code(11), Code(12)]) == [loaded, None]
    assert redis_client.zrange("~Item:index:price", 0, -1) == [b"xb"]
    await rc.assign(loaded, Item.other, Code(255))
    await rc.append(loaded, Item.many, Code(254))
    await rc.put(loaded, Item.by_code, Code(253), 1)
    await rc.increment(loaded, Item.price, 1)
    async with rc.pipeline(loaded) as draft:
        draft.maybe = Code(252)
        draft.by_code[Code(251)] = 2
    assert stored("Item:xb") == HEX | {
        "other": "xff",
        "many": "2",
        "many.1": "xfe",
        "by_code.xfd": "1",
        "by_code.xfb": "2",
        "maybe": "xfc",
        "price": "8",
    }
    assert await rc.find(Item, Item.price == 8) == [loaded]
    assert await rc.top(Item, Item.price) == [loaded]
    assert (await rc.verify(Item)).ok


async def test_an_open_block_ends_in_the_form_it_began_in(late: None, stored: Hash) -> None:
    await rc.save(item())
    async with rc.pipeline(rc.ref(Item, Code(11))) as draft:
        draft.other = Code(1)
        register_codec(Code, encode=to_hex, decode=from_hex)
        draft.maybe = Code(2)
        draft.many.append(Code(3))
    assert stored("Item:11") == DECIMAL | {"other": "1", "maybe": "2", "many": "2", "many.1": "3"}


async def test_a_late_registration_does_not_change_what_is_stored(late: None, stored: Hash) -> None:
    await rc.save(item())
    loaded = await rc.get(Item, Code(11))
    register_codec(Code, encode=to_hex, decode=from_hex)
    assert stored("Item:11") == DECIMAL
    with pytest.raises(rc.NotFound):
        await rc.get(Item, Code(11))
    with pytest.raises(rc.RapyerError):
        await rc.save(loaded)
    assert stored("Item:11") == DECIMAL
    assert stored("Item:xb") == {}


async def test_a_codec_of_one_session_counts_there_alone(url: str, stored: Hash) -> None:
    await rc.save(item())
    async with rc.open_session(url, prefix="hex:") as own:
        await rc.save(item(), session=own)
        assert stored("hex:Item:11") == DECIMAL
        await rc.delete(Item, Code(11), session=own)
        own.register_codec(Code, encode=to_hex, decode=from_hex)
        await rc.save(item(), session=own)
        assert stored("hex:Item:xb") == HEX
        loaded = await rc.get(Item, Code(11), session=own)
        assert loaded == item()
        loaded.other = Code(255)
        await rc.save(loaded, session=own)
        await rc.increment(loaded, Item.price, 3, session=own)
        async with rc.pipeline(loaded, session=own) as draft:
            draft.many.append(Code(254))
        assert stored("hex:Item:xb") == HEX | {"other": "xff", "price": "10", "many": "2", "many.1": "xfe"}
        assert await rc.top(Item, Item.price, session=own) == [loaded]
        assert await rc.find(Item, Item.price > 9, session=own) == [loaded]
        assert await rc.rank(loaded, Item.price, session=own) == 0
    assert await rc.get(Item, Code(11)) == item()
    await rc.save(item())
    assert stored("Item:11") == DECIMAL


async def test_a_session_codec_as_a_decorator(url: str, stored: Hash) -> None:
    async with rc.open_session(url, prefix="own:") as own:
        assert own.register_codec(encode=to_hex, decode=from_hex)(Code) is Code
        await rc.save(item(), session=own)
    assert stored("own:Item:xb") == HEX


Tenfold = Annotated[int, Codec(encode=lambda n: str(-n), decode=lambda raw: -int(raw))]
"""An int whose stored text is another int."""


@redis_model
@dataclass
class Debt:
    name: Key[str]
    amount: Tenfold = 0
    parts: dict[str, Tenfold] = field(default_factory=dict)


async def test_a_field_with_a_codec_of_its_own_is_never_counted_by_the_server(stored: Hash) -> None:
    debt = Debt("d", 5, {"a": 1})
    await rc.save(debt)
    assert await rc.increment(debt, Debt.amount, 2) == 7
    assert await rc.increment(debt, Debt.parts["a"], 2) == 3
    async with rc.pipeline(debt) as draft:
        draft.amount += 1
        draft.parts["a"] += 1
    assert stored("Debt:d") == {"~": "1", "name": "d", "amount": "-8", "parts": "{}", "parts.a": "-4"}
    assert debt == Debt("d", 8, {"a": 4})
