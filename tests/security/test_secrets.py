"""A canary is stored and given everywhere; no error and no log shows it, whatever goes wrong and wherever."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis

from rapyer_core import (
    RapyerError,
    add,
    append,
    assign,
    close_rapyer,
    extend,
    get,
    increment,
    init_rapyer,
    insert,
    insert_at,
    merge,
    modify,
    pipeline,
    put,
    ref,
    remove,
    save,
    save_many,
    sync,
    transact,
)
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Options, Player, Unit, full
from tests.faults.operations import READS, WRITES, Work
from tests.support.proxy import Proxy

pytestmark = pytest.mark.one_server

SECRET = "canary-7c1f"
HIDDEN = "hidden-pass-52"


@pytest.fixture
async def player(proxy: Proxy, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Player]:
    """A loaded player full of secrets, of a session with a password. No log may show them."""
    caplog.set_level(logging.DEBUG)
    redis_client.execute_command("ACL", "SETUSER", "hush", "reset", "on", f">{HIDDEN}", "~*", "&*", "+@all")  # type: ignore[no-untyped-call]
    await init_rapyer(re.sub("redis://([^@/]*@)?", f"redis://hush:{HIDDEN}@", proxy.url), timeout=1)
    secrets: dict[str, Any] = {
        "motto": SECRET,
        "blob": SECRET.encode(),
        "meta": {"k": SECRET},
        "squad": [Unit(SECRET)],
        "pet": Unit(SECRET),
        "bench": {"x": Unit(SECRET)},
        "options": Options(SECRET),
    }
    await save_many([full(score=3, **secrets), Account("a", 100), Account("b", 100)])
    yield await get(Player, "p")
    proxy.refuse(False)
    await close_rapyer()
    redis_client.execute_command("ACL", "DELUSER", "hush")  # type: ignore[no-untyped-call]
    assert SECRET not in caplog.text
    assert HIDDEN not in caplog.text


def corrupt(proxy: Proxy, client: redis.Redis) -> None:
    """Every field holds the canary."""
    names: Any = client.hkeys("Player:p")
    client.hset("Player:p", mapping={name: SECRET for name in names if name not in (b"~", b"name")})


def no_hash(proxy: Proxy, client: redis.Redis) -> None:
    client.delete("Player:p")
    client.set("Player:p", SECRET)


def gone(proxy: Proxy, client: redis.Redis) -> None:
    client.delete("Player:p")


def changed(proxy: Proxy, client: redis.Redis) -> None:
    client.hset("Player:p", mapping={"motto": SECRET + "!", "coins": "99", "score": "77", "meta.new": SECRET})


def lost(proxy: Proxy, client: redis.Redis) -> None:
    proxy.eat_reply(b"EXEC")


def unreachable(proxy: Proxy, client: redis.Redis) -> None:
    proxy.refuse()
    proxy.cut_all()


HARMS = [corrupt, no_hash, gone, changed, lost, unreachable]
PATIENT = {"lock_two", "lock_nested"}
"""They wait for a server that cannot be reached."""


@pytest.mark.parametrize("harm", HARMS)
async def test_no_error_of_any_operation_shows_what_is_stored(
    player: Player, proxy: Proxy, redis_client: redis.Redis, harm: Callable[[Proxy, redis.Redis], None]
) -> None:
    shown: list[str] = []
    works: dict[str, Work] = {**READS, **WRITES}
    stored = redis_client.dump("Player:p")
    assert isinstance(stored, bytes)
    for name, work in works.items():
        if harm is unreachable and name in PATIENT:
            continue
        redis_client.restore("Player:p", 0, stored, replace=True)
        harm(proxy, redis_client)
        try:
            await work(player, False)
        except RapyerError as error:
            shown.append(everything_shown(error))
        proxy.clear()
        proxy.refuse(False)
    assert len(shown) > 3
    for text in shown:
        assert SECRET not in text, text
        assert HIDDEN not in text, text


def _raising(value: Any) -> Any:
    raise ValueError(f"a user's own error about {len(str(value))} characters")


async def _in_pipeline(p: Player) -> None:
    async with pipeline(p) as d:
        d.counters["k"] = SECRET  # type: ignore[assignment]  # the point of the test


async def _in_transaction(p: Player) -> None:
    async def work(tx: Transaction) -> None:
        (await tx.get(Player, "p")).numbers.append(SECRET)  # type: ignore[arg-type]  # the point of the test

    await transact(work)


WRONG: Any = SECRET
"""Typed so that it may be given anywhere."""

GIVEN: dict[str, Callable[[Player], Awaitable[Any]]] = {
    "save": lambda p: save(Player("x", coins=WRONG)),
    "save nested": lambda p: save(Player("x", squad=[Unit("x", hp=WRONG)])),
    "save packed": lambda p: save(Player("x", options=Options(sizes=[WRONG]))),
    "insert": lambda p: insert(Player("x", counters={"k": WRONG})),
    "assign": lambda p: assign(p, Player.coins, WRONG),
    "assign list": lambda p: assign(p, Player.numbers, [1, WRONG]),
    "increment": lambda p: increment(p, Player.coins, WRONG),
    "increment text": lambda p: increment(p, "motto", 1),
    "modify": lambda p: modify(p, Player.coins, lambda _: WRONG),
    "modify raises": lambda p: modify(p, Player.motto, _raising),
    "append": lambda p: append(p, Player.numbers, WRONG),
    "extend": lambda p: extend(p, Player.numbers, [WRONG]),
    "insert_at": lambda p: insert_at(p, Player.numbers, 0, WRONG),
    "remove": lambda p: remove(p, Player.numbers, WRONG),
    "put": lambda p: put(p, Player.counters, "k", WRONG),
    "merge": lambda p: merge(p, Player.counters, {"k": WRONG}),
    "add": lambda p: add(p, Player.tags, WRONG.encode()),
    "pipeline": _in_pipeline,
    "transaction": _in_transaction,
    "key": lambda p: get(Player, WRONG.encode()),
    "ref": lambda p: increment(ref(Player, "p"), Player.wins, WRONG),
}


@pytest.mark.parametrize("work", GIVEN.values(), ids=GIVEN)
async def test_no_error_shows_what_was_given(player: Player, work: Callable[[Player], Awaitable[Any]]) -> None:
    with pytest.raises((RapyerError, TypeError, ValueError)) as caught:
        await work(player)
    text = everything_shown(caught.value)
    assert SECRET not in text, text
    assert HIDDEN not in text, text
    # Nothing was written, and nothing of it is left in the object.
    assert (await get(Player, "p")) == player


WRONG_URLS = [
    f"redis://:{HIDDEN}/x@localhost:6379",
    f"redis://:{HIDDEN}#x@localhost:6379",
    f"redis://user:{HIDDEN}?x@localhost",
    f"redis://:{HIDDEN}]x@localhost:6379",
    f"redis://:{HIDDEN}@localhost:99999",
    f"redis://:x@localhost:6379?socket_timeout={HIDDEN}",
    f"redis://:{HIDDEN}@localhost:6379?nope=1",
    f"rediss://:x@localhost:6379?ssl_cert_reqs={HIDDEN}",
    f"http://:{HIDDEN}@localhost:6379",
]
"""A password with characters that are not escaped is taken for other parts of the url."""


@pytest.mark.parametrize("url", WRONG_URLS)
async def test_no_error_about_a_url_shows_its_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ValueError, match=r"a url starts with|the url cannot be used") as caught:
        await init_rapyer(url)
    with pytest.raises(ValueError, match=r"a url starts with|the url cannot be used") as blocking:
        sync.init_rapyer(url)
    for error in (caught.value, blocking.value):
        # The name of the test itself has it, too.
        shown = everything_shown(error.with_traceback(None)) + caplog.text
        assert HIDDEN not in shown
        assert error.__context__ is None


def everything_shown(error: BaseException) -> str:
    """All that a log, a traceback or a look at the error's data shows, but for `raw`."""
    seen, texts, waiting = set[int](), [], [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        data = {name: value for name, value in getattr(one, "__dict__", {}).items() if name not in ("raw", "errors")}
        texts += ["".join(traceback.format_exception(one)), str(one), repr(one), repr(one.args), repr(data)]
        hidden = one.__suppress_context__
        waiting += [other for other in (one.__cause__, None if hidden else one.__context__) if other is not None]
        waiting += getattr(one, "errors", ())
    return "\n".join(texts)
