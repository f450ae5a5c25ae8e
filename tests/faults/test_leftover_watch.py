"""A WATCH that somebody left on a connection never reaches the next user of that connection."""

from __future__ import annotations

import redis

from rapyer_core.requests import EXEC, MULTI
from rapyer_core.settings import Settings
from rapyer_core.transports.aio import Pool
from rapyer_core.transports.blocking import Pool as BlockingPool

WATCH = [(b"WATCH", b"key")]
READ = [(b"HGETALL", b"key")]
WRITE = (MULTI, (b"HSET", b"other", b"f", b"v"), EXEC)


async def test_a_read_on_the_same_connection_does_not_hide_it(url: str, redis_client: redis.Redis) -> None:
    pool = Pool(Settings(url))
    link = await pool.acquire()
    await link.roundtrip(WATCH)
    await link.roundtrip(READ)
    pool.release(link)
    redis_client.hset("key", "f", "changed")
    again = await pool.acquire()
    assert again is link
    assert (await again.roundtrip(WRITE))[-1] == [1]
    pool.release(again)
    await pool.close()


def test_nor_on_a_blocking_one(url: str, redis_client: redis.Redis) -> None:
    pool = BlockingPool(Settings(url))
    link = pool.acquire()
    link.roundtrip(WATCH)
    link.roundtrip(READ)
    pool.release(link)
    redis_client.hset("key", "f", "changed")
    again = pool.acquire()
    assert again is link
    assert again.roundtrip(WRITE)[-1] == [1]
    pool.release(again)
    pool.close()
