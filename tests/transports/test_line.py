"""The shared connection of an event loop: what travels together, and that each request stays its own."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio
from redis._parsers.resp2 import _AsyncRESP2Parser
from redis.credentials import CredentialProvider

from rapyer_core.errors import ServerRefused, SessionClosed
from rapyer_core.requests import EXEC, MULTI, Lost, ServerError
from rapyer_core.settings import Settings
from rapyer_core.transports import line
from rapyer_core.transports.aio import Pool
from rapyer_core.transports.replies import Replies
from tests.support.proxy import Proxy
from tests.support.servers import command

ECHO = b"ECHO"


class Writes:
    """Counts what the shared connection is given to write. parts: requests in each write."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parts: list[int] = []
        send, send_all = Replies.send, Replies.send_all

        def one(replies: Replies, *arguments: Any) -> None:
            self.parts.append(1)
            send(replies, *arguments)

        def several(replies: Replies, parts: Any, due: float) -> None:
            self.parts.append(len(parts))
            send_all(replies, parts, due)

        monkeypatch.setattr(Replies, "send", one)
        monkeypatch.setattr(Replies, "send_all", several)


async def test_a_lone_request_is_written_at_once(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = Writes(monkeypatch)
    asked = pool.ask([(ECHO, b"1")])
    assert writes.parts == [1]
    assert await asked == [b"1"]
    assert await pool.ask([(ECHO, b"2")]) == [b"2"]
    assert writes.parts == [1, 1]


async def test_what_many_ask_in_one_tick_travels_in_few_writes(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = Writes(monkeypatch)

    async def ask(number: int) -> None:
        for turn in range(5):
            text = b"%d/%d" % (number, turn)
            assert await pool.ask([(ECHO, text), (ECHO, text[::-1])]) == [text, text[::-1]]

    await asyncio.gather(*(ask(number) for number in range(100)))
    assert sum(writes.parts) == 500
    assert len(writes.parts) <= 30


async def test_a_request_that_cannot_be_packed_is_its_callers_error_alone(pool: Pool) -> None:
    good = [pool.ask([(ECHO, b"%d" % number)]) for number in range(50)]
    with pytest.raises(TypeError):
        await pool.ask([(ECHO, object())])  # type: ignore[list-item]
    assert await asyncio.gather(*good) == [[b"%d" % number] for number in range(50)]


async def test_an_error_reply_is_its_callers_alone(pool: Pool) -> None:
    replies = await asyncio.gather(
        pool.ask([(ECHO, b"1")]), pool.ask([(b"NOSUCH",), (ECHO, b"2")]), pool.ask([(ECHO, b"3")])
    )
    assert replies[0] == [b"1"]
    assert replies[2] == [b"3"]
    refused, answered = replies[1]
    assert isinstance(refused, ServerError)
    assert answered == b"2"


async def test_a_transaction_is_never_torn_by_what_travels_with_it(pool: Pool) -> None:
    async def write(number: int) -> None:
        *_, done = await pool.ask((MULTI, (b"RPUSH", b"list", number), (b"RPUSH", b"list", -number), EXEC))
        assert isinstance(done, list)

    await asyncio.gather(*(write(number) for number in range(1, 101)), *(pool.ask([(ECHO, b"x")]) for _ in range(100)))
    [numbers] = await pool.ask([(b"LRANGE", b"list", 0, -1)])
    assert len(numbers) == 200
    assert all(int(one) == -int(other) for one, other in zip(numbers[::2], numbers[1::2], strict=True))


async def test_what_is_cancelled_before_it_is_written_is_never_sent(pool: Pool, redis_client: redis.Redis) -> None:
    first = pool.ask([(ECHO, b"1")])
    later = [asyncio.ensure_future(pool.ask([(b"INCR", b"n")])) for _ in range(30)]
    for one in later[::2]:
        one.cancel()
    await first
    await asyncio.gather(*later[1::2])
    assert redis_client.get("n") == b"15"


async def test_many_are_not_collected_to_the_end(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has something to do while the tick goes on."""
    writes = Writes(monkeypatch)
    asked = [pool.ask([(ECHO, b"%d" % number)]) for number in range(1 + 2 * line.EARLY)]
    assert writes.parts == [1, line.EARLY, line.EARLY]
    asked.append(pool.ask([(ECHO, b"last")]))
    assert len(writes.parts) == 3
    found = await asyncio.gather(*asked)
    assert found == [*([b"%d" % number] for number in range(1 + 2 * line.EARLY)), [b"last"]]
    assert writes.parts == [1, line.EARLY, line.EARLY, 1]


async def test_what_is_cancelled_later_takes_nobodys_reply(pool: Pool) -> None:
    async def ask(number: int) -> list[Any]:
        return await pool.ask([(ECHO, b"%d" % number)])

    for _ in range(20):
        tasks = [asyncio.create_task(ask(number)) for number in range(60)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        for number, replies in enumerate(found):
            if number % 3:
                assert replies == [b"%d" % number]
            else:
                assert isinstance(replies, asyncio.CancelledError) or replies == [b"%d" % number]
    assert await pool.ask([(ECHO, b"mine")]) == [b"mine"]


@pytest.mark.parametrize("large", [[(ECHO, b"x")] * line.MANY, [(ECHO, b"x" * line.LARGE)]], ids=["many", "large"])
async def test_a_large_request_gets_a_connection_of_its_own(pool: Pool, large: Any) -> None:
    assert len(pool._links) == 0
    assert await pool.ask(large) == [large[0][1]] * len(large)
    assert len(pool._links) == len(pool._idle) == 1


async def test_more_than_one_write_may_have_is_spread(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "ONE_WRITE", 1000)
    texts = [b"%d" % number * 30 for number in range(100)]
    found = await asyncio.gather(*(pool.ask([(ECHO, text)]) for text in texts))
    assert found == [[text] for text in texts]


async def test_far_more_than_the_socket_takes_arrives(pool: Pool) -> None:
    text = b"x" * (line.LARGE - 100)
    found = await asyncio.gather(*(pool.ask([(ECHO, text)]) for _ in range(300)))
    assert all(replies == [text] for replies in found)


async def test_a_broken_connection_is_said_to_all_who_wait_and_replaced(pool: Pool, url: str) -> None:
    waiting = [asyncio.ensure_future(pool.ask([(b"BLPOP", b"nothing", 30)])) for _ in range(3)]
    await asyncio.sleep(0.05)
    command(url, "CLIENT", "KILL", "TYPE", "normal")
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(error, Lost) and error.sent and not error.timed_out for error in found)
    assert len({id(error) for error in found}) == 3
    assert await pool.ask([(b"PING",)]) == [b"PONG"]


async def test_a_server_that_does_not_answer_in_time_is_lost(url: str) -> None:
    pool = Pool(Settings(url, timeout=0.2))
    with pytest.raises(Lost) as caught:
        await pool.ask([(b"BLPOP", b"nothing", 30)])
    assert caught.value.timed_out
    assert await pool.ask([(b"PING",)]) == [b"PONG"]
    await pool.close()


async def test_nothing_is_sent_on_a_connection_whose_end_was_seen(pool: Pool, url: str) -> None:
    command(url, "CLIENT", "KILL", "TYPE", "normal")
    await asyncio.sleep(0.05)
    assert await asyncio.gather(*(pool.ask([(b"INCR", b"n")]) for _ in range(50))) == [[n] for n in range(1, 51)]


async def test_who_waits_for_a_connection_that_cannot_be_made_is_told(proxy: Proxy) -> None:
    proxy.refuse()
    pool = Pool(Settings(proxy.url))
    found = await asyncio.gather(*(pool.ask([(b"PING",)]) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(error, Lost) and not error.sent for error in found)
    await pool.close()


async def test_a_server_that_refuses_the_password_is_said_to_each(url: str) -> None:
    client = redis.asyncio.Redis.from_url(url, username="nobody", password="wrong")
    pool = Pool(Settings(client=client))
    found = await asyncio.gather(*(pool.ask([(b"PING",)]) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in found] == [ServerRefused] * 3
    await pool.close()
    await client.aclose()


class Vault(CredentialProvider):
    """Gives credentials once it is open."""

    is_open = False

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        if not self.is_open:
            raise KeyError("vault")
        return ("default", "anything")


async def test_what_the_lenders_own_code_raises_is_told_to_each_who_waits(tcp_url: str) -> None:
    vault = Vault()
    parts = urlsplit(tcp_url)
    client = redis.asyncio.Redis(host=parts.hostname or "", port=parts.port or 0, credential_provider=vault)
    pool = Pool(Settings(client=client))
    asked = asyncio.gather(*(pool.ask([(b"PING",)]) for _ in range(50)), return_exceptions=True)
    assert [type(error) for error in await asyncio.wait_for(asked, 5)] == [KeyError] * 50
    vault.is_open = True
    assert await pool.ask([(b"PING",)]) == [b"PONG"]
    await pool.close()
    await client.aclose()


async def test_a_connection_that_only_redis_py_can_read_is_not_shared(url: str) -> None:
    client = redis.asyncio.Redis.from_url(url, parser_class=_AsyncRESP2Parser)
    pool = Pool(Settings(client=client))

    async def ask(number: int) -> list[Any]:
        return await pool.ask([(ECHO, b"%d" % number), (ECHO, b"too")])

    for _ in range(2):
        found = await asyncio.gather(*(ask(number) for number in range(50)))
        assert found == [[b"%d" % number, b"too"] for number in range(50)]
    await pool.close()
    await client.aclose()


async def test_one_connection_alone_is_not_shared_either(url: str) -> None:
    pool = Pool(Settings(url, max_connections=1))
    assert await asyncio.gather(*(pool.ask([(b"INCR", b"n")]) for _ in range(50))) == [[n] for n in range(1, 51)]
    assert len(pool._links) == 1
    await pool.close()


async def test_closing_waits_for_what_is_under_way_and_refuses_the_rest(url: str) -> None:
    pool = Pool(Settings(url))
    await pool.ask([(b"PING",)])
    sent = pool.ask([(b"INCR", b"n")])
    unsent = asyncio.ensure_future(pool.ask([(b"INCR", b"n")]))
    await pool.close()
    assert await sent == [1]
    with pytest.raises(SessionClosed):
        await unsent
    with pytest.raises(SessionClosed):
        await pool.ask([(b"PING",)])


@pytest.mark.parametrize("turns", range(8))
async def test_closing_while_it_connects_leaves_nothing_open(url: str, turns: int) -> None:
    pool = Pool(Settings(url))
    [link] = pool._every
    asked = asyncio.ensure_future(pool.ask([(b"PING",)]))
    for _ in range(turns):
        await asyncio.sleep(0)
    await pool.close()
    with pytest.raises(SessionClosed):
        await asked
    await asyncio.sleep(0.02)
    assert not link._connection.is_connected
    assert not pool._working
