"""Clients of redis-py that lend their address: of both kinds, and however they were made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio

import rapyer_core as rc
from rapyer_core import Key, redis_model, sync


@redis_model
@dataclass
class Lent:
    name: Key[str]
    wins: int = 0


def _by_arguments(kind: Any) -> Callable[[str], Any]:
    def make(url: str) -> Any:
        parts = urlsplit(url)
        return kind(host=parts.hostname, port=parts.port, username=parts.username, password=parts.password)

    return make


MADE: dict[str, Callable[[str], Any]] = {
    "asyncio, by its arguments": _by_arguments(redis.asyncio.Redis),
    "asyncio, by its address": redis.asyncio.Redis.from_url,
    "blocking, by its arguments": _by_arguments(redis.Redis),
    "blocking, by its address": redis.Redis.from_url,
}


@pytest.mark.parametrize("how", MADE)
async def test_a_session_of_any_client(tcp_url: str, how: str) -> None:
    async with rc.open_session(client=MADE[how](tcp_url)) as session:
        await rc.save(Lent("a", 1), session=session)
        assert await rc.increment(rc.ref(Lent, "a"), Lent.wins, 1, session=session) == 2


@pytest.mark.parametrize("how", MADE)
def test_a_blocking_session_of_any_client(tcp_url: str, how: str) -> None:
    with sync.open_session(client=MADE[how](tcp_url)) as session:
        sync.save(Lent("a", 1), session=session)
        assert sync.increment(rc.ref(Lent, "a"), Lent.wins, 1, session=session) == 2
