"""Writes without WATCH on the shared connection: several share a MULTI/EXEC, and each stays its own."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
import redis
import redis.asyncio
from redis._parsers.resp2 import _AsyncRESP2Parser

from rapyer_core.requests import Lost, ServerError
from rapyer_core.settings import Settings
from rapyer_core.transports import line
from rapyer_core.transports.aio import Pool


def execs(client: redis.Redis) -> int:
    """How many EXECs the server has run."""
    counted: Any = client.info("commandstats")
    return int(counted.get("cmdstat_exec", {"calls": 0})["calls"])


async def test_a_lone_write_is_a_transaction_of_its_own(pool: Pool, redis_client: redis.Redis) -> None:
    before = execs(redis_client)
    assert await pool.write([(b"INCR", b"n"), (b"SET", b"other", b"v")]) == [1, b"OK"]
    assert execs(redis_client) == before + 1


async def test_writes_of_one_tick_share_a_transaction(pool: Pool, redis_client: redis.Redis) -> None:
    before = execs(redis_client)

    async def write(number: int) -> None:
        for turn in range(5):
            assert await pool.write([(b"INCR", b"n:%d" % number), (b"ECHO", b"%d" % turn)]) == [turn + 1, b"%d" % turn]

    await asyncio.gather(*(write(number) for number in range(100)))
    assert execs(redis_client) - before <= 25


async def test_what_is_asked_and_written_keeps_its_order(pool: Pool) -> None:
    wanted = [
        part for _ in range(30) for part in (pool.write([(b"INCR", b"n")]), pool.ask([(b"GET", b"n")]))
    ]  # fmt: skip
    found = await asyncio.gather(*wanted)
    assert found == [[part] for number in range(1, 31) for part in (number, b"%d" % number)]


async def test_an_error_inside_the_transaction_is_its_callers_alone(pool: Pool) -> None:
    await pool.ask([(b"SET", b"text", b"abc")])
    writes = [pool.write([(b"INCR", b"text" if number == 20 else b"n"), (b"ECHO", b"x")]) for number in range(50)]
    found: list[Any] = await asyncio.gather(*writes)
    refused = found.pop(20)
    assert isinstance(refused[0], ServerError)
    assert refused[1] == b"x"
    assert found == [[number, b"x"] for number in range(1, 50)]


async def test_a_write_that_cannot_be_queued_is_told_so_and_the_others_that_nothing_was_written(pool: Pool) -> None:
    writes = [pool.write([(b"INCR", b"n") if number else (b"INCR", b"n", b"too many")]) for number in range(30)]
    found: list[Any] = await asyncio.gather(*writes)
    # The first went alone, at once.
    assert isinstance(found[0], ServerError)
    assert found[1:] == [[number] for number in range(1, 30)]
    writes = [pool.write([(b"INCR", b"n") if number != 9 else (b"INCR", b"n", b"too many")]) for number in range(30)]
    found = await asyncio.gather(*writes)
    assert isinstance(found[9], ServerError)
    assert found[:9] + found[10:] == [None] * 29
    assert await pool.ask([(b"GET", b"n")]) == [b"29"]


async def test_a_write_alone_shares_nothing(pool: Pool, redis_client: redis.Redis) -> None:
    before = execs(redis_client)
    found = await asyncio.gather(*(pool.write([(b"INCR", b"n")], True) for _ in range(50)))
    assert found == [[number] for number in range(1, 51)]
    assert execs(redis_client) == before + 50


async def test_one_transaction_does_not_grow_without_end(pool: Pool, redis_client: redis.Redis) -> None:
    before = execs(redis_client)
    size = 2 * line.TOGETHER // line.EARLY
    await asyncio.gather(*(pool.write([(b"INCR", b"n")] * size) for _ in range(1 + line.EARLY)))
    # The first went alone.
    assert execs(redis_client) - before == 3
    assert await pool.ask([(b"GET", b"n")]) == [b"%d" % (size * (1 + line.EARLY))]


async def test_a_large_write_gets_a_connection_of_its_own(pool: Pool) -> None:
    writes = [(b"INCR", b"n")] * line.MANY
    assert await pool.write(writes) == list(range(1, line.MANY + 1))
    assert len(pool._links) == len(pool._idle) == 1


async def test_a_write_that_cannot_be_packed_is_its_callers_error_alone(pool: Pool) -> None:
    good = [pool.write([(b"INCR", b"n")]) for _ in range(50)]
    with pytest.raises(TypeError):
        await pool.write([(b"SET", b"n", cast(Any, object()))])
    assert await asyncio.gather(*good) == [[number] for number in range(1, 51)]


async def test_cancelled_before_it_is_sent_a_write_never_happens(pool: Pool) -> None:
    first = pool.write([(b"INCR", b"n")])
    later = [asyncio.ensure_future(pool.write([(b"INCR", b"n")])) for _ in range(30)]
    for one in later[::2]:
        one.cancel()
    await first
    assert await asyncio.gather(*later[1::2]) == [[number] for number in range(2, 17)]


async def test_cancelled_later_a_write_takes_nobodys_reply(pool: Pool) -> None:
    async def write(number: int) -> Any:
        return await pool.write([(b"ECHO", b"%d" % number), (b"INCR", b"n")])

    for _ in range(20):
        tasks = [asyncio.create_task(write(number)) for number in range(60)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        found: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
        for number, replies in enumerate(found):
            if number % 3:
                assert isinstance(replies, list)
                assert replies[0] == b"%d" % number
            else:
                assert isinstance(replies, asyncio.CancelledError) or replies[0] == b"%d" % number


async def test_a_lost_connection_is_said_to_each_by_an_error_of_its_own(pool: Pool) -> None:
    first, *others = [pool.write([(b"INCR", b"n")]) for _ in range(51)]
    [link] = pool._every
    assert link.replies is not None
    # The first went at once. The others are sent in the next turn of the event loop, whose replies nobody reads.
    asyncio.get_running_loop().call_soon(link.replies._transport.abort)
    found = await asyncio.gather(*others, return_exceptions=True)
    assert all(isinstance(error, Lost) and error.sent and not error.timed_out for error in found)
    assert len(set(map(id, found))) == 50
    await asyncio.gather(first, return_exceptions=True)


@pytest.mark.parametrize("shared", [True, False], ids=["that only redis-py can read", "that is the only one"])
async def test_over_a_connection_that_is_not_shared_each_goes_alone(url: str, shared: bool) -> None:
    client = redis.asyncio.Redis.from_url(url, parser_class=_AsyncRESP2Parser) if shared else None
    pool = Pool(Settings(client=client) if client is not None else Settings(url, max_connections=1))
    for turn in range(2):
        found = await asyncio.gather(*(pool.write([(b"INCR", b"n")]) for _ in range(50)))
        assert sorted(found) == [[number] for number in range(50 * turn + 1, 50 * turn + 51)]  # type: ignore[type-var]
    await pool.close()
    if client is not None:
        await client.aclose()
