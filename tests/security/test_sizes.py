"""What is too large is refused before anything is sent; what was allowed works."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import redis

from rapyer_codecs.limits import Limits
from rapyer_core import (
    Key,
    LimitExceeded,
    get,
    open_session,
    pipeline,
    put,
    redis_model,
    save,
)
from tests.support.proxy import Proxy

pytestmark = pytest.mark.one_server

MIB = 1024 * 1024


@redis_model
@dataclass
class Store:
    name: Key[str]
    blob: bytes = b""
    notes: dict[str, int] = field(default_factory=dict)


def many(count: int) -> dict[str, int]:
    return {f"k{number}": number for number in range(count)}


async def test_what_is_too_large_is_refused_before_anything_is_sent(proxy: Proxy) -> None:
    async with open_session(proxy.url) as session:
        await save(Store("s"), session=session)
        s = await get(Store, "s", session=session)
        proxy.clear()
        for store in (Store("s", b"x" * (8 * MIB + 1)), Store("s", notes=many(100_000)), Store("x" * 1025)):
            with pytest.raises(LimitExceeded):
                await save(store, session=session)
        with pytest.raises(LimitExceeded):
            await put(s, Store.notes, "k" * 1025, 1, session=session)
        assert proxy.requests == []
        with pytest.raises(LimitExceeded):
            async with pipeline(s, session=session) as draft:
                draft.blob = b"x" * (8 * MIB + 1)
        assert proxy.count(b"EXEC") == 0
        assert await get(Store, "s", session=session) == Store("s")


async def test_a_large_object_comes_back_where_it_is_allowed(url: str) -> None:
    async with open_session(url) as session:
        session.context.own_registry().limits = Limits(fields=100_010, value=64 * MIB)
        store = Store("s", b"\xff" * (64 * MIB), many(100_000))
        await save(store, session=session)
        assert await get(Store, "s", session=session) == store
        store.notes["k7"] = -7
        await save(store, session=session)
        assert (await get(Store, "s", session=session)).notes["k7"] == -7


async def test_what_no_server_takes_cannot_be_allowed(proxy: Proxy, redis_client: redis.Redis) -> None:
    with pytest.raises(ValueError, match="512 MiB"):
        Limits(value=513 * MIB)
    async with open_session(proxy.url) as session:
        session.context.own_registry().limits = Limits(value=512 * MIB)
        proxy.clear()
        with pytest.raises(LimitExceeded):
            await save(Store("s", bytes(513 * MIB)), session=session)
        assert proxy.requests == []
    assert not redis_client.exists("Store:s")
