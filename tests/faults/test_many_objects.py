"""The connection breaks while many objects are written or read part by part: each is whole or not there, what is noted
as saved is stored, and what may be stored beside that is named.
"""

from __future__ import annotations

from typing import Any

import pytest
import redis

from rapyer_core import ConnectionFailed, DecodeError, OutcomeUnknown, get_many, save_many
from rapyer_core.sessions import Session
from rapyer_core.states import state_of
from tests.commits.models import Account
from tests.faults.held import assert_nothing_held
from tests.support.proxy import Proxy

pytestmark = pytest.mark.one_server

COUNT = 400


def accounts() -> list[Account]:
    return [Account(f"a{number}", number) for number in range(COUNT)]


@pytest.mark.parametrize("kind", ["cut_before", "half_request", "cut_after", "eat_reply", "half_reply"])
@pytest.mark.parametrize(("word", "nth"), [(b"EXEC", 1), (b"EXEC", 3), (b"HSET", 1), (b"HSET", 150), (b"MULTI", 4)])
async def test_what_was_saved_is_known(
    session: Session, proxy: Proxy, redis_client: redis.Redis, kind: str, word: bytes, nth: int
) -> None:
    objs = accounts()
    fault = getattr(proxy, kind)(word, nth=nth)
    with pytest.raises((OutcomeUnknown, ConnectionFailed)) as caught:
        await save_many(objs)
    assert fault.hits == 1
    keys: Any = redis_client.keys("Account:*")
    stored = {key.decode() for key in keys}
    noted = {f"Account:{obj.owner}" for obj in objs if state_of(obj).loaded}
    doubtful = set(caught.value.sent) if isinstance(caught.value, OutcomeUnknown) else set()
    assert noted <= stored <= noted | doubtful
    assert not noted & doubtful
    for key in stored:
        fields: Any = redis_client.hgetall(key)
        assert fields[b"~"] == b"1"
        assert fields[b"coins"] == key.removeprefix("Account:a").encode()
    proxy.clear()
    await save_many(objs)
    assert await get_many(Account, [obj.owner for obj in objs]) == objs
    await assert_nothing_held(session)


@pytest.mark.parametrize("kind", ["cut_before", "half_request", "cut_after", "eat_reply", "half_reply"])
async def test_reading_goes_on_where_it_was(session: Session, proxy: Proxy, kind: str) -> None:
    await save_many(accounts())
    names = [f"a{number}" for number in range(COUNT)]
    for nth in (1, 33, 200, COUNT):
        proxy.clear()
        fault = getattr(proxy, kind)(b"HGETALL", nth=nth)
        assert await get_many(Account, names) == accounts()
        assert fault.hits == 1
    await assert_nothing_held(session)


@pytest.mark.parametrize("kind", [TimeoutError, ConnectionError, redis.ConnectionError])
async def test_what_the_callers_own_function_raises_is_no_lost_connection(
    session: Session, redis_client: redis.Redis, kind: type[Exception]
) -> None:
    await save_many(accounts())
    redis_client.hset("Account:a40", "coins", "many")

    def refuse(error: DecodeError) -> None:
        raise kind("mine")

    names = [f"a{number}" for number in range(COUNT)]
    with pytest.raises(kind, match="mine"):
        await get_many(Account, names, on_error=refuse)
    assert await get_many(Account, names[:40]) == accounts()[:40]
    await assert_nothing_held(session)
