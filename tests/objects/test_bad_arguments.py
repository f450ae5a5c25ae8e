"""Arguments of a wrong kind, asyncio and blocking: what was given is told and what to give, and nothing is sent."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import redis

import rapyer_core
import rapyer_core.sync
from rapyer_core import Codec, Retry, asc, contains, evolve, extra_fields, in_, paths, pk_of, upgrade_from
from tests.objects.models import Box, Player

pytestmark = pytest.mark.one_server

untyped: Any = rapyer_core
P: Any = paths(Player)

Call = Callable[[Any], Any]


@pytest.fixture(params=[rapyer_core, rapyer_core.sync], ids=["asyncio", "blocking"])
def rc(request: pytest.FixtureRequest, url: str) -> Iterator[Any]:
    """Either kind of functions, with a default session."""
    module: ModuleType = request.param
    if module is rapyer_core.sync:
        rapyer_core.sync.init_rapyer(url)
    yield module
    rapyer_core.sync.close_rapyer()


async def outcome(made: Any) -> Any:
    """What a call comes to, whoever has to wait for it."""
    if isinstance(made, AbstractAsyncContextManager) or hasattr(type(made), "__aenter__"):
        async with made:
            return None
    if isinstance(made, AbstractContextManager) or hasattr(type(made), "__enter__"):
        with made:
            return None
    if isinstance(made, AsyncIterator):
        return [each async for each in made]
    if isinstance(made, Iterator):
        return list(made)
    return await made if inspect.isawaitable(made) else made


def calls(client: Any) -> int:
    """How many commands the server has run, without those of this question."""
    stats: dict[str, dict[str, int]] = client.info("commandstats")
    return sum(stat["calls"] for name, stat in stats.items() if name != "cmdstat_info")


class Twice:
    """A function of a transaction of either kind: it asks for an object."""

    def __init__(self, ask: Call) -> None:
        self.ask = ask

    def __call__(self, tx: Any) -> Any:
        return self.ask(tx)


def in_block(ask: Call) -> Call:
    return lambda rc: rc.transact(Twice(ask))


alice = Player("alice")

ANY: dict[str, Call] = {
    "assign": lambda o: o["rc"].assign(alice, "coins", 1, **o["options"]),
    "increment": lambda o: o["rc"].increment(alice, "coins", 1, **o["options"]),
    "modify": lambda o: o["rc"].modify(alice, "coins", abs, **o["options"]),
    "append": lambda o: o["rc"].append(alice, "achievements", 1, **o["options"]),
    "extend": lambda o: o["rc"].extend(alice, "achievements", [], **o["options"]),
    "insert_at": lambda o: o["rc"].insert_at(alice, "achievements", 0, 1, **o["options"]),
    "pop": lambda o: o["rc"].pop(alice, "achievements", **o["options"]),
    "remove": lambda o: o["rc"].remove(alice, "tags", "x", **o["options"]),
    "clear": lambda o: o["rc"].clear(alice, "tags", **o["options"]),
    "put": lambda o: o["rc"].put(alice, "metadata", "k", "v", **o["options"]),
    "merge": lambda o: o["rc"].merge(alice, "metadata", {"k": "v"}, **o["options"]),
    "add": lambda o: o["rc"].add(alice, "tags", "x", **o["options"]),
    "discard": lambda o: o["rc"].discard(alice, "tags", "x", **o["options"]),
    "save": lambda o: o["rc"].save(alice, **o["options"]),
    "save_many": lambda o: o["rc"].save_many([alice], **o["options"]),
    "insert": lambda o: o["rc"].insert(alice, **o["options"]),
    "get": lambda o: o["rc"].get(Player, "alice", **o["options"]),
    "get_many": lambda o: o["rc"].get_many(Player, ["alice"], **o["options"]),
    "get_or_create": lambda o: o["rc"].get_or_create(alice, **o["options"]),
    "reload": lambda o: o["rc"].reload(alice, **o["options"]),
    "exists": lambda o: o["rc"].exists(alice, **o["options"]),
    "delete": lambda o: o["rc"].delete(alice, **o["options"]),
    "delete_many": lambda o: o["rc"].delete_many([alice], **o["options"]),
    "find": lambda o: o["rc"].find(Player, **o["options"]),
    "find_one": lambda o: o["rc"].find_one(Player, **o["options"]),
    "count": lambda o: o["rc"].count(Player, **o["options"]),
    "iterate": lambda o: o["rc"].iterate(Player, **o["options"]),
    "explain": lambda o: o["rc"].explain(Player, **o["options"]),
    "top": lambda o: o["rc"].top(Player, P.score, **o["options"]),
    "rank": lambda o: o["rc"].rank(alice, P.score, **o["options"]),
    "verify": lambda o: o["rc"].verify(Player, **o["options"]),
    "upgrade_all": lambda o: o["rc"].upgrade_all(Player, **o["options"]),
    "pipeline": lambda o: o["rc"].pipeline(alice, **o["options"]),
    "lock": lambda o: o["rc"].lock(alice, **o["options"]),
    "transaction": lambda o: o["rc"].transaction(**o["options"]),
    "transact": lambda o: o["rc"].transact(Twice(lambda tx: tx.get(Player, "alice")), **o["options"]),
}
"""One call of every function that takes a session."""

OPTIONS = {
    "session": (["x", 5, 0, Player, rapyer_core], "session= takes a rapyer_core.*Session"),
    "retry": ([5, 0, "x", True, Retry, 0.5], r"retry= takes a Retry, such as Retry\(deadline=10\), not"),
    "exactly_once": (["no", 1, []], "exactly_once is True or False, not"),
}
"""Options of many functions, wrong values of them, and what is said of these."""


def _takes(name: str, option: str) -> bool:
    if name == "get_or_create":
        return option != "retry"
    return option in inspect.signature(getattr(rapyer_core, name)).parameters


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name in ANY for option in OPTIONS if _takes(name, option)]
)
async def test_a_wrong_option_is_told_by_every_function(
    name: str, option: str, rc: Any, redis_client: redis.Redis
) -> None:
    values, words = OPTIONS[option]
    before = calls(redis_client)
    for value in values:
        with pytest.raises(TypeError, match=words):
            await outcome(ANY[name]({"rc": rc, "options": {option: value}}))
    assert calls(redis_client) == before


def test_every_function_that_takes_a_session_is_tried_above() -> None:
    public = {name: getattr(rapyer_core, name) for name in rapyer_core.__all__}
    functions = {name for name, value in public.items() if inspect.isroutine(value)}
    assert set(ANY) == {name for name in functions if "session" in inspect.signature(public[name]).parameters}


async def test_a_session_of_the_other_kind_is_told(url: str, rc: Any) -> None:
    async with rapyer_core.open_session(url) as other:
        with rapyer_core.sync.open_session(url) as blocking:
            wrong: Any = other if rc is rapyer_core.sync else blocking
            with pytest.raises(TypeError, match=r"which open_session\(\) gives to its block, not Session"):
                await outcome(rc.get(Player, "alice", session=wrong))


OTHERS: dict[str, tuple[Call, str]] = {
    "one object for many": (lambda rc: rc.save_many(alice), "several objects are expected, not one Player"),
    "nothing for many": (lambda rc: rc.save_many(None), "several objects are expected, not one None"),
    "one object to delete for many": (lambda rc: rc.delete_many(alice), "several objects are expected"),
    "one key for many": (lambda rc: rc.get_many(Player, 5), "several primary keys are expected, not one int"),
    "a text for keys": (lambda rc: rc.get_many(Player, "alice"), "several primary keys are expected, not one str"),
    "a path for keys": (lambda rc: rc.get_many(Player, P.coins), "several primary keys are expected, not one Path"),
    "a text for keys in a block": (in_block(lambda tx: tx.get_many(Player, "alice")), "several primary keys"),
    "nothing for keys in a block": (in_block(lambda tx: tx.get_many(Player, None)), "several primary keys"),
    "a key beside an object": (in_block(lambda tx: tx.delete(alice, "bob")), "goes with a model class"),
    "a path for an object": (lambda rc: rc.save(P.coins), "an object comes first, then the field path Player.coins"),
    "a path first": (lambda rc: rc.increment(P.coins, 1, 1), "an object comes first"),
    "a condition": (lambda rc: rc.delete(P.coins > 5), "is expected, not Comparison"),
    "on_error": (lambda rc: rc.get(Player, "alice", on_error=5), "on_error is a function, not int"),
    "on_error of many": (lambda rc: rc.get_many(Player, ["a"], on_error=[]), "on_error is a function, not list"),
    "on_error of find": (lambda rc: rc.find(Player, on_error="x"), "on_error is a function, not str"),
    "on_progress": (lambda rc: rc.upgrade_all(Player, on_progress=1), "on_progress is a function, not int"),
    "limit of upgrade_all": (lambda rc: rc.upgrade_all(Player, limit="5"), "limit counts objects.*, not str"),
    "less than nothing": (lambda rc: rc.upgrade_all(Player, limit=-1), "limit counts objects: 0 or more; it was -1"),
    "limit": (lambda rc: rc.find(Player, limit="5"), "limit counts objects: an int of 0 or more, not str"),
    "n": (lambda rc: rc.top(Player, P.score, 1.5), "n counts objects: an int of 0 or more, not float"),
    "function of modify": (lambda rc: rc.modify(alice, "coins", 5), r"Player\(alice\).coins: modify takes a function"),
    "elements": (
        lambda rc: rc.extend(alice, "achievements", 5),
        r"Player\(alice\).achievements: elements are expected",
    ),
    "a key that is none": (
        lambda rc: rc.put(alice, "metadata", [], "x"),
        r"Player\(alice\).metadata\[\[\]\]: the keys",
    ),
    "no key": (lambda rc: rc.put(alice, "metadata", None, "x"), r"Player\(alice\).metadata\[None\]: the keys"),
    "no function": (lambda rc: rc.transact(None), "what transact runs is a function, not None"),
    "nothing to decorate": (lambda rc: rc.transaction()(5), r"@transaction\(\) decorates is a function, not int"),
    "lease": (lambda rc: rc.lock(alice, lease="5"), "lease is a number of seconds, not str"),
    "no lease": (lambda rc: rc.lock(alice, lease=-1), "lease is more than 0 seconds, and less than .*; it was -1"),
    "timeout": (lambda rc: rc.lock(alice, timeout=None), "timeout is a number of seconds, not None"),
    "name of a lock": (lambda rc: rc.lock(alice, name=5), "a lock name is a str, not int"),
    "half a character": (lambda rc: rc.lock(alice, name="\ud800"), "a lock name has"),
}


@pytest.mark.parametrize(("call", "words"), OTHERS.values(), ids=OTHERS.keys())
async def test_a_wrong_argument_is_told(call: Call, words: str, rc: Any, redis_client: redis.Redis) -> None:
    before = calls(redis_client)
    with pytest.raises((TypeError, ValueError), match=words):
        await outcome(call(rc))
    assert calls(redis_client) == before


async def test_functions_of_the_other_kind_are_told() -> None:
    async def waits(tx: Any) -> None: ...

    def plain(tx: Any) -> None: ...

    kinds: Any = rapyer_core
    with pytest.raises(TypeError, match="plain is no async function, and gave None: rapyer_core"):
        await kinds.transact(plain)
    with pytest.raises(TypeError, match="plain is no async function"):
        await kinds.transaction()(plain)()


def test_async_functions_are_told_to_the_blocking_ones(url: str) -> None:
    """They would be made and never run: nothing would be written, and nobody told."""

    async def waits(tx: Any) -> None: ...

    kinds: Any = rapyer_core.sync
    with kinds.open_session(url) as session:
        with pytest.raises(TypeError, match="waits is an async function: rapyer_core"):
            kinds.transact(waits, session=session)
        with pytest.raises(TypeError, match="waits is an async function"):
            kinds.transaction(session=session)(waits)()


SETTINGS: dict[str, tuple[list[Any], str]] = {
    "prefix": ([None, 5, b"x", ["x"]], "prefix is a str, the beginning of every key, not"),
    "timeout": ([None, "5", True, []], "timeout is a number of seconds, not"),
    "pool_timeout": ([None, "5", True, []], "pool_timeout is a number of seconds, not"),
    "max_connections": (
        [None, "5", 1.5, True, float("inf")],
        "max_connections counts connections: an int of 1 or more",
    ),
    "retry": ([5, 0, "x", Retry, True], "retry= takes a Retry"),
    "exactly_once": ([None, "x", 5], "exactly_once is True or False, not"),
}
RANGES: dict[str, tuple[list[Any], str]] = {
    "prefix": (["\ud800"], "prefix must be encodable as UTF-8"),
    "timeout": ([-1, 0, float("nan"), float("inf"), 1e7], "timeout is more than 0 seconds, and less than"),
    "pool_timeout": ([-1, 0, float("nan"), float("inf")], "pool_timeout is more than 0 seconds, and less than"),
    "max_connections": ([0, -1], "max_connections counts connections: 1 or more; it was"),
}


@pytest.mark.parametrize("settings", [SETTINGS, RANGES], ids=["kind", "range"])
@pytest.mark.parametrize("name", SETTINGS.keys())
async def test_a_wrong_setting_is_told(
    name: str, settings: dict[str, tuple[list[Any], str]], url: str, rc: Any
) -> None:
    values, words = settings.get(name, ([], ""))
    is_kind = settings is SETTINGS and name != "max_connections"
    for value in values:
        with pytest.raises(TypeError if is_kind else ValueError, match=words):
            await outcome(rc.open_session(url, **{name: value}))
        with pytest.raises(TypeError if is_kind else ValueError, match=words):
            await outcome(rc.init_rapyer(url, **{name: value}))
    assert await outcome(rc.exists(Player, "alice")) is False


async def test_a_wrong_address_is_told(url: str, rc: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # An empty one that a program gives is no wish for an embedded server, whose data are gone with it.
    monkeypatch.delenv("RAPYER_URL", raising=False)
    for given, kind, words in [
        (5, TypeError, "a url is a str, not int"),
        (b"redis://localhost", TypeError, "a url is a str, not bytes"),
        ([], TypeError, "a url is a str, not list"),
        ("", ValueError, "a url starts with one of redis://"),
        ("localhost", ValueError, "a url starts with one of redis://"),
    ]:
        with pytest.raises(kind, match=words):
            await outcome(rc.open_session(given))
        with pytest.raises(kind, match=words):
            await outcome(rc.init_rapyer(given))
    with pytest.raises(TypeError, match="client must be a redis-py client"):
        await outcome(rc.open_session(client=5))


RETRIES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"deadline": "5"}, TypeError, "deadline of Retry is a number of seconds, not str"),
    ({"base": None}, TypeError, "base of Retry is a number of seconds, not None"),
    ({"cap": True}, TypeError, "cap of Retry is a number of seconds, not bool"),
    ({"attempts": 1.5}, ValueError, "attempts of Retry counts tries: an int of 1 or more, not float"),
    ({"attempts": 0}, ValueError, "attempts of Retry counts tries: 1 or more; it was 0"),
    ({"deadline": -1}, ValueError, "deadline of Retry is 0 or more seconds"),
    ({"deadline": float("nan")}, ValueError, "deadline of Retry is 0 or more seconds"),
    ({"deadline": float("inf")}, ValueError, "deadline of Retry is 0 or more seconds, and less than"),
]


@pytest.mark.parametrize(("arguments", "kind", "words"), RETRIES)
def test_a_wrong_retry_is_told(arguments: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        Retry(**arguments)


def _model(**arguments: Any) -> Any:
    @dataclass
    class Fresh:
        a: int = 0

    return untyped.redis_model(**arguments)(Fresh)


PURE: dict[str, tuple[Callable[[], Any], str]] = {
    "no class": (lambda: untyped.redis_model(5), "@redis_model decorates a class, not int"),
    "an object": (lambda: untyped.redis_model(alice), "@redis_model decorates a class, not Player"),
    "name": (lambda: _model(name=5), "the model name of .*Fresh is a str, not int"),
    "ttl": (lambda: _model(ttl="5"), "the ttl of .*Fresh is a number of seconds, not str"),
    "version": (lambda: _model(version="2"), "the version of .*Fresh counts from 1: an int of 1 or more, not str"),
    "oldest": (lambda: _model(version=2, oldest="1"), "the oldest version of .*Fresh counts from 1"),
    "upgrades": (lambda: _model(version=2, upgrades=5), "the upgrades of .*Fresh are a list of them, not int"),
    "upgrade_from": (lambda: untyped.upgrade_from(print), "the version of upgrade_from counts from 1"),
    "upgrade": (lambda: untyped.upgrade_from(1)(5), r"@upgrade_from\(version\) decorates is a function, not int"),
    "one field": (lambda: upgrade_from(1, fields="a"), "fields= of upgrade_from takes several names"),
    "encode": (lambda: untyped.register_codec(Box, encode=5, decode=bytes), "encode of a codec is a function, not int"),
    "decode": (lambda: Codec(str, untyped.__version__), "decode of a codec is a function, not"),
    "no type": (lambda: untyped.register_codec(5, encode=str, decode=bytes), "registered for a type, not for one int"),
    "alias": (lambda: untyped.Alias(5), "an alias is a former field name, not int"),
    "values of in_": (lambda: untyped.in_(P.coins, 5), "in_ takes several values, such as a list or set, not int"),
    "one text": (lambda: in_(P.username, "alice"), "in_ takes several values, such as a list or set, not str"),
    "an iterator": (lambda: untyped.in_(P.coins, iter([1])), "in_ takes several values"),
    "contains of an int": (lambda: untyped.contains(P.coins, 1), "Player.coins holds one int"),
    "contains of an object": (lambda: untyped.contains(P.stats, 1), "Player.stats holds one Stats"),
    "sorted by a value": (lambda: asc(alice.coins), "a field path is expected"),
    "key of nothing": (lambda: pk_of(None), "an object of a model, or ref"),
    "key of a class": (lambda: pk_of(Player), "an object is expected, not the class Player"),
    "evolve of a class": (lambda: evolve(Player), "an object is expected, not the class Player"),
    "extra fields of a text": (lambda: extra_fields("alice"), "an object of a model, or ref"),
    "ref of a name": (lambda: untyped.ref("Player", "alice"), "a model class is expected, not str"),
    "paths of an object": (lambda: untyped.paths(alice), "a model class is expected, not Player"),
}


@pytest.mark.parametrize(("call", "words"), PURE.values(), ids=PURE.keys())
def test_what_sends_nothing_tells_as_well(call: Callable[[], Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        call()


async def test_a_condition_that_no_value_can_fulfil_finds_nothing() -> None:
    await rapyer_core.save(Player("alice", tags={"a"}))
    unhashable: Any = []
    assert await rapyer_core.find(Player, contains(Player.tags, unhashable)) == []
    assert await rapyer_core.find(Player, in_(P.tags, [{"a"}])) != []
    assert await rapyer_core.find(Player, in_(P.metadata, {"a"})) == []
