"""What writes meet: keys with a TTL, keys that expire or are deleted meanwhile, keys of others, other blocks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis

from rapyer_core import (
    AlreadyExists,
    Conflict,
    NotFound,
    OutcomeUnknown,
    WrongKeyType,
    add,
    append,
    assign,
    clear,
    delete,
    discard,
    extend,
    get,
    get_or_create,
    increment,
    insert,
    insert_at,
    lock,
    merge,
    modify,
    open_session,
    pipeline,
    pop,
    put,
    ref,
    reload,
    remove,
    save,
    save_many,
    transact,
    transaction,
)
from rapyer_core.sessions import Session
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Award, Player, Unit, full
from tests.support.proxy import Proxy

Write = Callable[[Player], Awaitable[Any]]


@contextlib.asynccontextmanager
async def _in_transaction(p: Player, session: Session | None = None) -> AsyncIterator[Any]:
    async with transaction(session=session) as tx:
        yield await tx.get(Player, p.name)


DOORS: dict[str, Callable[..., Any]] = {"pipeline": pipeline, "lock": lock, "transaction": _in_transaction}


def _block(door: str, change: Callable[[Any], Any]) -> Write:
    async def write(p: Player) -> None:
        async with DOORS[door](p) as d:
            change(d)

    return write


async def _saved(p: Player) -> None:
    p.motto, p.squad[0].hp, p.meta["new"] = "changed", 1, "n"
    p.numbers.pop()
    await save(p)


async def _overwritten(p: Player) -> None:
    p.motto = "changed"
    await save(p, overwrite=True)


async def _many(p: Player) -> None:
    p.motto = "changed"
    await save_many([p])


FUNCTIONS: dict[str, Write] = {
    "assign": lambda p: assign(p, Player.coins, 1),
    "assign indexed": lambda p: assign(p, Player.score, 1),
    "assign a record": lambda p: assign(p, Player.stats.wins, 1),
    "assign None": lambda p: assign(p, "best", None),
    "assign a list": lambda p: assign(p, Player.numbers, []),
    "increment": lambda p: increment(p, Player.coins, 1),
    "increment past 64 bit": lambda p: increment(p, Player.coins, 2**64),
    "increment a float": lambda p: increment(p, Player.ratio, 0.5),
    "increment indexed": lambda p: increment(p, Player.score, 1),
    "increment an entry": lambda p: increment(p, Player.counters["k"], 1),
    "modify": lambda p: modify(p, Player.motto, str.upper),
    "append": lambda p: append(p, Player.numbers, 4),
    "append to a deque": lambda p: append(p, Player.recent, 4),
    "extend": lambda p: extend(p, Player.awards, [Award.FIRST]),
    "insert_at": lambda p: insert_at(p, Player.squad, 0, Unit("n")),
    "pop": lambda p: pop(p, Player.numbers),
    "pop a key": lambda p: pop(p, Player.meta, "k"),
    "remove": lambda p: remove(p, Player.numbers, 2),
    "remove a key": lambda p: remove(p, Player.counters, "k"),
    "remove a member": lambda p: remove(p, Player.tags, "t"),
    "clear": lambda p: clear(p, Player.lists),
    "put": lambda p: put(p, Player.meta, "new", "v"),
    "put a record": lambda p: put(p, Player.bench, "y", Unit("y")),
    "merge": lambda p: merge(p, Player.counters, {"a": 1, "b": 2}),
    "add": lambda p: add(p, Player.tags, "new"),
    "discard": lambda p: discard(p, Player.tags, "t"),
}
SAVES: dict[str, Write] = {"save": _saved, "save overwriting": _overwritten, "save_many": _many}


def _much(d: Any) -> None:
    d.coins += 1
    d.numbers.pop()
    d.squad[0].hp = 1
    d.meta.clear()
    d.tags.add("new")
    d.pet = None
    d.recent.append(1)


BLOCKS: dict[str, Write] = {
    f"{door}: {what}": _block(door, change)
    for door in DOORS
    for what, change in {"one field": lambda d: setattr(d, "coins", 1), "much": _much}.items()
}


WRITES = {**FUNCTIONS, **SAVES, **BLOCKS}


@pytest.mark.parametrize("name", WRITES)
async def test_every_partial_write_keeps_the_ttl_that_somebody_set(name: str, redis_client: redis.Redis) -> None:
    p = full()
    await save(p)
    before = redis_client.hgetall("Player:p")
    redis_client.expire("Player:p", 1000)
    await WRITES[name](p)
    assert redis_client.hgetall("Player:p") != before
    assert redis_client.ttl("Player:p") in (999, 1000)


@pytest.mark.one_server
@pytest.mark.parametrize("name", WRITES)
async def test_a_key_of_another_type_is_named_and_left_alone(name: str, redis_client: redis.Redis) -> None:
    p = full()
    await save(p)
    redis_client.delete("Player:p", "~Player:index:score")
    redis_client.set("Player:p", "somebody else's")
    shown = repr(p)
    with pytest.raises(WrongKeyType) as caught:
        await WRITES[name](p)
    assert caught.value.key == "Player:p"
    assert "somebody" not in str(caught.value)
    assert redis_client.get("Player:p") == b"somebody else's"
    assert redis_client.keys("*") == [b"Player:p"]
    assert name in SAVES or repr(p) == shown


async def _expired(client: redis.Redis) -> None:
    client.pexpire("Player:p", 1)
    while client.exists("Player:p"):  # its clock is the server's
        pass


async def _deleted(client: redis.Redis) -> None:
    await delete(ref(Player, "p"))


@pytest.mark.parametrize("go", [_expired, _deleted])
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("what", ["one field", "much"])
async def test_what_goes_during_the_block_is_not_written_in_part(
    go: Callable[[redis.Redis], Awaitable[None]], door: str, what: str, redis_client: redis.Redis
) -> None:
    """In a transaction, which may run again, that an object is there is a read; elsewhere it is not found."""
    p = full()
    await save(p)
    with pytest.raises(Conflict if door == "transaction" else NotFound):
        async with DOORS[door](p) as d:
            if what == "much":
                _much(d)
            else:
                d.coins += 1
            await go(redis_client)
    assert not redis_client.exists("Player:p")
    assert p == full()


@pytest.mark.parametrize("name", [*FUNCTIONS, "save"])
async def test_functions_find_nothing_where_an_object_was(name: str, redis_client: redis.Redis) -> None:
    p = full()
    await save(p)
    await _expired(redis_client)
    with pytest.raises(NotFound):
        await WRITES[name](p)
    assert not redis_client.exists("Player:p")


async def test_what_was_replaced_during_the_block_takes_what_was_not_read() -> None:
    await save(full(coins=100))
    async with pipeline(ref(Player, "p")) as d:
        d.coins += 5
        await delete(ref(Player, "p"))
        await save(Player("p", coins=1))
    assert await get(Player, "p") == Player("p", coins=6)
    with pytest.raises(Conflict):
        async with pipeline(ref(Player, "p")) as d:
            d.coins = len(d.motto)
            await delete(ref(Player, "p"))
            await save(Player("p", motto="other"))


async def test_several_models_created_changed_and_deleted_in_one_commit(redis_client: redis.Redis) -> None:
    await save(full())
    await save(Account("old", 7))
    async with transaction() as tx:
        p, old = await tx.get(Player, "p"), await tx.get(Account, "old")
        new = await tx.insert(Account("new"))
        new.coins += old.coins
        p.coins -= 1
        await tx.delete(old)
        assert await tx.get_or_none(Account, "old") is None
        assert (await tx.get(Account, "new")).coins == 7
        assert redis_client.exists("Account:old", "Account:new") == 1
    assert await get(Account, "new") == Account("new", 7)
    assert (await get(Player, "p")).coins == 99
    assert not redis_client.exists("Account:old")


async def test_none_of_several_is_written_when_one_of_them_fails(redis_client: redis.Redis) -> None:
    await save(full())
    before = redis_client.hgetall("Player:p")
    with pytest.raises(AlreadyExists):
        async with transaction() as tx:
            p = await tx.get(Player, "p")
            p.coins -= 1
            await tx.insert(Account("new", 1))
            await tx.insert(Account("taken", 1))
            await insert(Account("taken", 2))
    assert redis_client.hgetall("Player:p") == before
    assert not redis_client.exists("Account:new")
    assert await get(Account, "taken") == Account("taken", 2)


async def test_of_fifty_inserts_one_wins_however_they_are_made() -> None:
    async def in_transaction(number: int) -> None:
        async with transaction() as tx:
            await tx.insert(Account("a", number))

    async def made(number: int) -> bool:
        try:
            await (in_transaction(number) if number % 2 else insert(Account("a", number)))
        except (AlreadyExists, Conflict):
            return False
        return True

    won = await asyncio.gather(*[made(number) for number in range(50)])
    assert won.count(True) == 1
    assert await get(Account, "a") == Account("a", won.index(True))


async def test_of_fifty_get_or_create_one_creates_and_all_see_it() -> None:
    found = await asyncio.gather(*[get_or_create(Account("a", number)) for number in range(50)])
    assert [created for _, created in found].count(True) == 1
    assert {account.coins for account, _ in found} == {(await get(Account, "a")).coins}


async def test_fifty_that_create_change_and_delete_leave_whole_objects(redis_client: redis.Redis) -> None:
    async def turn(number: int) -> None:
        async def work(tx: Transaction) -> None:
            held = await tx.get_or_none(Account, "a")
            if held is None:
                await tx.insert(Account("a", number))
            elif number % 3 == 0:
                await tx.delete(held)
            else:
                held.coins += 1

        await transact(work)
        with contextlib.suppress(NotFound):
            await increment(ref(Account, "a"), Account.coins, 1)

    await asyncio.gather(*[turn(number) for number in range(50)])
    fields: Any = redis_client.hgetall("Account:a")
    assert sorted(fields) in ([], [b"coins", b"owner", b"~"])


# -- blocks inside blocks --


async def test_a_pipeline_inside_another_stands_for_itself() -> None:
    """The inner one commits at its own end, whatever becomes of the outer one."""
    p = full()
    await save(p)
    with pytest.raises(RuntimeError):
        async with pipeline(p) as outer:
            outer.coins += 1
            async with pipeline(p) as inner:
                assert inner.coins == 100, "what the outer one recorded is nowhere else"
                inner.coins += 10
            assert (await get(Player, "p")).coins == 110
            assert outer.coins == 101
            raise RuntimeError
    assert (await get(Player, "p")).coins == 110


async def test_what_an_inner_block_writes_is_another_writer_to_the_outer_one() -> None:
    p = full()
    await save(p)
    async with pipeline(p) as outer:
        outer.coins += 1
        async with transaction() as tx:
            (await tx.get(Player, "p")).coins += 10
    assert p.coins == (await get(Player, "p")).coins == 111
    with pytest.raises(Conflict):
        async with transaction() as tx:
            held = await tx.get(Player, "p")
            if held.coins == 111:
                async with pipeline(p) as inner:
                    inner.coins += 1
            held.wins += 1
    assert ((await get(Player, "p")).coins, (await get(Player, "p")).wins) == (112, 0)


# -- failures --


@pytest.mark.parametrize("fault", ["cut_before", "eat_reply", "half_reply"])
@pytest.mark.parametrize("door", DOORS)
async def test_after_a_lost_connection_the_local_object_is_as_it_was(fault: str, door: str, proxy: Proxy) -> None:
    """Whatever became of the commit; the next look at the server tells."""
    p = full()
    await save(p)
    shown = repr(p)
    async with open_session(proxy.url, timeout=2) as session:
        with pytest.raises(OutcomeUnknown):
            async with DOORS[door](p, session=session) as d:
                _much(d)
                getattr(proxy, fault)(b"EXEC")
    assert repr(p) == shown
    await reload(p)
    assert (p.coins, len(p.numbers), p.pet) in ((100, 3, Unit("cat")), (101, 2, None)), "all of it or nothing"
