"""Operations that share a WATCH and an EXEC: each stays its own, all or nothing, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import redis

from rapyer_core import (
    Conflict,
    ConstraintError,
    DecodeError,
    NotApplied,
    NotFound,
    PoolTimeout,
    Retry,
    SessionClosed,
    append,
    assign,
    clear,
    close_rapyer,
    delete,
    get,
    get_many,
    increment,
    init_rapyer,
    insert,
    modify,
    open_session,
    paths,
    pipeline,
    pop,
    ref,
    save,
    save_many,
    transact,
)
from rapyer_core.collection import Target
from rapyer_core.operations.commit import commit
from rapyer_core.operations.objects import Delete
from rapyer_core.operations.units import Change, Seen, Unit
from rapyer_core.requests import Command, Lost, Operation, ServerError, Update, outcome
from rapyer_core.sessions import Session
from rapyer_core.settings import Settings
from rapyer_core.transactions import Transaction
from rapyer_core.transports.aio import Pool
from rapyer_core.watches import Watches
from tests.commits.models import Account, Award, Player
from tests.commits.models import Unit as Squaddie
from tests.support.proxy import Proxy
from tests.support.servers import command, running_server

MANY = 60
P = paths(Player)


@pytest.fixture
async def session(url: str) -> AsyncIterator[Session]:
    """The default session; at the end nothing is watched, and no connection lent."""
    session = await init_rapyer(url)
    yield session
    assert session.loop.node.watches.at_rest
    assert len(session.loop.node.pool._idle) == len(session.loop.node.pool._links)
    await close_rapyer()


class Sent:
    """The commands of each EXEC, of all connections of a server, as MONITOR shows them."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def execs(self) -> int:
        """How many EXECs there were."""
        found: Any = self._client.info("commandstats")
        return int(found.get("cmdstat_exec", {"calls": 0})["calls"])


@pytest.mark.usefixtures("session")
async def test_what_many_do_to_different_objects_in_one_tick_is_few_execs(redis_client: redis.Redis) -> None:
    await save_many([Account(f"a{n}", n) for n in range(MANY)])
    sent = Sent(redis_client)
    before = sent.execs()

    async def block(number: int) -> None:
        async with pipeline(ref(Account, f"a{number}")) as a:
            a.coins += 100

    await asyncio.gather(*(block(n) for n in range(MANY)))
    assert sent.execs() - before <= 4
    assert [(await get(Account, f"a{n}")).coins for n in range(MANY)] == [100 + n for n in range(MANY)]


@pytest.mark.usefixtures("session")
async def test_what_many_do_to_one_object_in_one_tick_is_few_execs(redis_client: redis.Redis) -> None:
    await save(Player("p"))
    sent = Sent(redis_client)
    before = sent.execs()
    await asyncio.gather(*(append(ref(Player, "p"), Player.numbers, n) for n in range(MANY)))
    assert sent.execs() - before <= 4
    assert sorted((await get(Player, "p")).numbers) == list(range(MANY))


@pytest.mark.usefixtures("session")
async def test_each_sees_what_those_before_it_do_to_the_same_object() -> None:
    """Two of sixty may take from an account that has enough for two."""
    await save(Account("a", 20))

    async def take(tx: Transaction) -> bool:
        a = await tx.get(Account, "a")
        if a.coins < 10:
            return False
        a.coins -= 10
        return True

    taken = await asyncio.gather(*(transact(take) for _ in range(MANY)))
    assert sum(taken) == 2
    assert (await get(Account, "a")).coins == 0


@pytest.mark.usefixtures("session")
async def test_one_that_refuses_drops_out_alone() -> None:
    await save_many([Account(f"a{n}", n) for n in range(MANY)])

    def less(coins: int) -> int:
        if coins % 3 == 0:
            raise ZeroDivisionError
        return coins + 1000

    found = await asyncio.gather(
        *(modify(ref(Account, f"a{n}"), Account.coins, less) for n in range(MANY)), return_exceptions=True
    )
    for number, result in enumerate(found):
        if number % 3:
            assert result == number + 1000
        else:
            assert isinstance(result, ZeroDivisionError)
            assert (await get(Account, f"a{number}")).coins == number


async def test_whatever_many_do_to_one_object_in_one_tick_is_what_it_is_one_after_the_other(session: Session) -> None:
    """Of writes that are merged and writes that stand between them."""

    async def drop(tx: Transaction) -> None:
        await tx.delete(Player, "p")

    async def change(tx: Transaction) -> None:
        p = await tx.get(Player, "p")
        p.score += len(p.numbers)
        p.motto += "!"

    p = ref(Player, "p")
    ways: list[Callable[[], Awaitable[Any]]] = [
        lambda: append(p, Player.numbers, 7),
        lambda: append(p, Player.awards, Award.FIRST),
        lambda: append(p, Player.squad, Squaddie("x", tags=["a", "b"])),
        lambda: pop(p, Player.numbers, default=None),
        lambda: pop(p, Player.meta, "k", default=None),
        lambda: assign(p, Player.score, 3),
        lambda: increment(p, Player.wealth, Decimal("0.1")),
        lambda: clear(p, Player.numbers),
        lambda: modify(p, Player.ratio, lambda ratio: ratio + 0.5),
        lambda: modify(p, Player.score, lambda score: 2 * score + 1),
        lambda: insert(Player("p", score=5, numbers=[1, 2, 3], meta={"k": "w"})),
        lambda: session.run(commit(session.context, [Delete(session.context.target(p))])),
        lambda: transact(change),
        lambda: transact(drop),
    ]

    async def together(chosen: Sequence[Callable[[], Awaitable[Any]]]) -> tuple[list[str], Player | None]:
        await save(Player("p", numbers=[1], meta={"k": "first"}), overwrite=True)
        results = await asyncio.gather(*(way() for way in chosen), return_exceptions=True)
        return [type(result).__name__ for result in results], (await get_many(Player, ["p"]))[0]

    allowed = {"NoneType", "Commit", "int", "float", "str", "Decimal", "NotFound", "AlreadyExists"}
    chosen_from = random.Random(5)
    for _ in range(20):
        # Whoever comes first goes alone. Blocks read at their entry, one round trip before the others.
        chosen = [ways[0], *chosen_from.choices(ways[:12], k=MANY)]
        names, found = await together(chosen)
        await save(Player("p", numbers=[1], meta={"k": "first"}), overwrite=True)
        for way, name in zip(chosen, names, strict=True):
            result = (await asyncio.gather(way(), return_exceptions=True))[0]
            assert type(result).__name__ == name
        assert found == (await get_many(Player, ["p"]))[0]
    for _ in range(10):
        names, found = await together([ways[0], *chosen_from.choices(ways, k=MANY)])
        assert set(names) <= allowed
        assert found is None or found == await get(Player, "p")


async def test_blind_writes_of_this_process_disturb_nobody_twice(proxy: Proxy, redis_client: redis.Redis) -> None:
    calls = 0

    def change(coins: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            redis_client.hset("Account:a", "extra", "1")
        return coins + 1

    async with open_session(proxy.url) as session:
        await save_many([Account("a", 0), Account("b", 0)], session=session)
        fault = proxy.hold_reply(b"WATCH", nth=2)
        changed = asyncio.create_task(modify(ref(Account, "a"), Account.coins, change, session=session))
        await asyncio.to_thread(fault.wait)
        counted = asyncio.create_task(increment(ref(Account, "a"), Account.coins, 10, session=session))
        # What is done to other objects waits for nobody.
        assert await increment(ref(Account, "b"), Account.coins, 1, session=session) == 1
        assert not counted.done()
        fault.release()
        assert (await changed, await counted, calls) == (1, 11, 2)


@pytest.mark.usefixtures("session")
async def test_whoever_has_one_try_is_not_disturbed_by_what_happens_to_others(redis_client: redis.Redis) -> None:
    await save_many([Account(f"a{n}", 0) for n in range(MANY)])
    once = Retry(attempts=1)

    def more(coins: int) -> int:
        return coins + 1

    def disturbed(coins: int) -> int:
        redis_client.hincrby("Account:a1", "coins", 100)
        return coins + 1

    async def block(number: int) -> None:
        async with pipeline(ref(Account, f"a{number}"), retry=once) as a:
            await asyncio.sleep(0.01)
            if number == 1:
                # Of something else that nobody reads.
                redis_client.hset("Account:a1", "extra", "1")
            a.coins += 1

    functions = [disturbed if number == 1 else more for number in range(MANY)]
    found = await asyncio.gather(
        *(modify(ref(Account, f"a{n}"), Account.coins, function, retry=once) for n, function in enumerate(functions)),
        return_exceptions=True,
    )
    assert [result for result in found if result != 1] == [found[1]]
    assert isinstance(found[1], Conflict)
    assert await asyncio.gather(*(block(n) for n in range(MANY)), return_exceptions=True) == [None] * MANY


@pytest.mark.usefixtures("session")
async def test_those_whom_a_stranger_disturbed_try_again_together(redis_client: redis.Redis, url: str) -> None:
    await save(Player("p"))
    sent = Sent(redis_client)
    before, meddled = sent.execs(), 0

    def more(ratio: float) -> float:
        nonlocal meddled
        if meddled < 3:
            meddled += 1
            command(url, "HSET", "Player:p", "motto", f"{meddled}")
        return ratio + 1

    work: list[Awaitable[Any]] = [append(ref(Player, "p"), Player.numbers, n) for n in range(MANY)]
    await asyncio.gather(modify(ref(Player, "p"), P.ratio, more), *work, modify(ref(Player, "p"), P.ratio, more))
    found = await get(Player, "p")
    assert (found.motto, found.ratio, sorted(found.numbers)) == ("3", 2.0, list(range(MANY)))
    assert sent.execs() - before <= 9


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.001)


async def test_whoever_rests_goes_with_the_next_who_writes_the_same_object(session: Session, url: str) -> None:
    await save(Player("p"))
    long = Retry(base=60, cap=60, deadline=300)
    meddled = False

    def more(ratio: float) -> float:
        nonlocal meddled
        if not meddled:
            meddled = True
            command(url, "HSET", "Player:p", "motto", "x")
        return ratio + 1

    resting = asyncio.create_task(modify(ref(Player, "p"), P.ratio, more, retry=long))
    await _until(lambda: session.loop.node.watches._resting)
    await asyncio.wait_for(append(ref(Player, "p"), Player.numbers, 1), 5)
    assert await asyncio.wait_for(resting, 5) == 1.0


async def test_whoever_rests_can_be_cancelled(session: Session, url: str) -> None:
    await save(Player("p"))
    watches: Watches = session.loop.node.watches

    def more(ratio: float) -> float:
        command(url, "HSET", "Player:p", "motto", "x")
        return ratio + 1

    long = Retry(base=60, cap=60, deadline=300)
    resting = [asyncio.create_task(modify(ref(Player, "p"), P.ratio, more, retry=long)) for _ in range(MANY)]
    await _until(lambda: sum(len(members) for members, _ in watches._resting.values()) == MANY)
    assert not watches.at_rest
    for task in resting:
        task.cancel()
    await asyncio.gather(*resting, return_exceptions=True)
    assert watches.at_rest
    assert await modify(ref(Player, "p"), Player.ratio, lambda ratio: ratio + 2) == 2.0


async def test_who_wants_an_object_to_itself_lets_those_who_rest_come_through(session: Session, url: str) -> None:
    await save(Player("p"))
    calls = 0

    def more(ratio: float) -> float:
        nonlocal calls
        calls += 1
        if calls <= MANY:
            command(url, "HSET", "Player:p", "motto", f"{calls}")
        return ratio + 1

    some = Retry(base=0.2, cap=0.2)
    resting = [asyncio.create_task(modify(ref(Player, "p"), P.ratio, more, retry=some)) for _ in range(MANY)]
    await _until(lambda: session.loop.node.watches._resting)
    reservation = await session.loop.reserve([b"Player:p"], 5)
    assert (await get(Player, "p")).ratio == MANY
    reservation.stop()
    await asyncio.gather(*resting)


async def test_a_block_writes_no_object_that_another_task_has_to_itself(session: Session) -> None:
    """Not even one that watched it before; of other objects it writes."""
    await save_many([Account("a", 0), Account("b", 0)])
    ready, go = [asyncio.Event(), asyncio.Event()], asyncio.Event()

    async def block(number: int, name: str) -> None:
        async with pipeline(ref(Account, name)) as draft:
            draft.coins += 1
            ready[number].set()
            await go.wait()

    tasks = [asyncio.create_task(block(number, name)) for number, name in enumerate("ab")]
    for event in ready:
        await event.wait()
    reservation = await session.loop.reserve([b"Account:a"], 5)
    go.set()
    await tasks[1]
    assert (await get(Account, "b")).coins == 1
    done, _ = await asyncio.wait([tasks[0]], timeout=0.1)
    assert not done
    assert (await get(Account, "a")).coins == 0
    reservation.stop()
    await tasks[0]
    assert (await get(Account, "a")).coins == 1


async def test_a_block_whose_session_was_closed_keeps_no_connection(url: str, redis_client: redis.Redis) -> None:
    def connected() -> int:
        found: Any = redis_client.info("clients")
        return int(found["connected_clients"])

    before = connected()
    async with open_session(url) as session:
        await save(Account("a", 1), session=session)
        block = pipeline(ref(Account, "a"), session=session)
        a = await block.__aenter__()
        a.coins += 1
        await session.close()
        with pytest.raises(SessionClosed):
            await block.__aexit__(None, None, None)
    await _until(lambda: connected() == before)


async def test_what_cannot_be_packed_is_the_error_of_one_alone(session: Session) -> None:
    await save(Account("a", 1))

    def touch(*more: Any) -> Operation[Any]:
        commands = [(b"HSET", b"Account:a", b"coins", b"7"), *more]
        return (yield Update([b"Account:a"], [(b"EXISTS", b"Account:a")], lambda *_: commands, Retry().pauses()))

    found = await asyncio.gather(
        *(session.run(touch()) for _ in range(MANY)),
        session.run(touch((b"HSET", b"Account:a", b"coins", object()))),
        *(session.run(touch()) for _ in range(MANY)),
        return_exceptions=True,
    )
    assert found[MANY] is not None
    assert isinstance(found[MANY], Exception)
    assert [result for result in found if isinstance(result, Exception)] == [found[MANY]]
    assert (await get(Account, "a")).coins == 7


async def test_what_the_server_refuses_of_a_shared_write_is_told_to_all_who_share_it() -> None:
    with running_server(maxmemory="3mb", maxmemory_policy="noeviction") as server:
        async with open_session(server.url) as session:
            await save_many([Account("a", 0), Player("p")], session=session)
            await _fill(session)
            results = await asyncio.gather(
                *(append(ref(Player, "p"), Player.numbers, n, session=session) for n in range(MANY)),
                *(modify(ref(Account, "a"), Account.coins, lambda _: 0, session=session) for n in range(MANY)),
                return_exceptions=True,
            )
            assert {type(error) for error in results[:MANY]} == {NotApplied}
            assert {error.code for error in results[:MANY] if isinstance(error, NotApplied)} == {"OOM"}
            # Nothing to write, and nothing refused.
            assert results[MANY:] == [0] * MANY


@pytest.mark.usefixtures("session")
async def test_of_many_who_pop_each_element_is_given_once() -> None:
    await save(Player("p", numbers=list(range(20))))
    popped = await asyncio.gather(*(pop(ref(Player, "p"), Player.numbers, default=-1) for _ in range(MANY)))
    assert sorted(n for n in popped if n >= 0) == list(range(20))
    assert (await get(Player, "p")).numbers == []


@pytest.mark.usefixtures("session")
async def test_of_many_who_insert_in_one_tick_one_does() -> None:
    results = await asyncio.gather(*(insert(Account("a", n)) for n in range(MANY)), return_exceptions=True)
    assert sum(result is None for result in results) == 1
    assert (await get(Account, "a")).coins == results.index(None)


@pytest.mark.usefixtures("session")
async def test_deleted_by_one_it_is_gone_for_those_after_it(redis_client: redis.Redis) -> None:
    await save(Player("p"))

    async def drop(tx: Transaction) -> None:
        await tx.delete(Player, "p")

    results = await asyncio.gather(
        *(append(ref(Player, "p"), Player.numbers, n) for n in range(20)),
        transact(drop),
        *(append(ref(Player, "p"), Player.numbers, n) for n in range(20)),
        return_exceptions=True,
    )
    assert all(result is None or isinstance(result, NotFound) for result in results)
    assert redis_client.exists("Player:p") == 0


@pytest.mark.usefixtures("session")
async def test_a_refusal_counts_only_if_what_it_was_decided_on_came_true(url: str) -> None:
    """The first of a group would empty the account, and is undone by a stranger: the second has enough after all."""
    async with open_session(url) as other:
        await save(Account("a", 10))
        meddled = False

        def take(coins: int) -> int:
            if coins < 10:
                raise ConstraintError("not enough")
            return coins - 10

        def meddle(coins: int) -> int:
            nonlocal meddled
            if not meddled:
                meddled = True
                command(url, "HSET", "Account:a", "coins", "20")
            return take(coins)

        first = modify(ref(Account, "a"), Account.coins, meddle)
        second = modify(ref(Account, "a"), Account.coins, take)
        await asyncio.gather(modify(ref(Account, "a"), Account.coins, lambda coins: coins), first, second)
        assert (await get(Account, "a", session=other)).coins == 0


@pytest.mark.usefixtures("session")
async def test_whoever_is_cancelled_before_the_exec_writes_nothing_and_holds_nobody_up() -> None:
    await save_many([Account(f"a{n}", 0) for n in range(MANY)])
    tasks = [asyncio.create_task(modify(ref(Account, f"a{n}"), Account.coins, lambda _: 1)) for n in range(MANY)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    coins = [(await get(Account, f"a{n}")).coins for n in range(MANY)]
    assert coins == [0, 1] * (MANY // 2)


@pytest.mark.usefixtures("session")
async def test_a_block_that_lasts_keeps_nobody_waiting() -> None:
    await save_many([Account("slow", 1), Account("fast", 1)])
    both_in, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with pipeline(ref(Account, "slow")) as a:
            both_in.set()
            await go_on.wait()
            a.coins += 1

    async def fast() -> None:
        async with pipeline(ref(Account, "fast")) as a:
            a.coins += 1

    waiting = asyncio.create_task(slow())
    await asyncio.wait_for(fast(), 5)
    await asyncio.wait_for(both_in.wait(), 5)
    await asyncio.wait_for(increment(ref(Account, "slow"), Account.coins, 5), 5)
    await asyncio.wait_for(modify(ref(Account, "slow"), Account.coins, lambda coins: coins + 5), 5)
    go_on.set()
    await waiting
    assert (await get(Account, "slow")).coins == 12


async def test_what_the_server_refuses_one_is_no_error_of_the_others(session: Session, url: str) -> None:
    """An error while commands are queued makes the EXEC fail for all; only its cause is told."""
    await save_many([Account(f"a{n}", n) for n in range(3)])

    def touch(number: int, *bad: Command) -> Operation[Any]:
        key = b"Account:a%d" % number
        commands = [*bad, (b"HSET", key, b"coins", b"7")]
        while True:
            done = yield Update([key], [(b"EXISTS", key)], lambda _, __: commands)
            if done is not None:
                return done

    found = await asyncio.gather(
        session.run(touch(0)), session.run(touch(1, (b"HSET", b"too few"))), session.run(touch(2))
    )
    assert isinstance(found[1], ServerError)
    assert found[0] == found[2] == [0]
    assert [(await get(Account, f"a{n}")).coins for n in range(3)] == [7, 1, 7]


async def test_out_of_memory_is_said_to_who_needs_memory_and_others_go_on() -> None:
    with running_server(maxmemory="3mb", maxmemory_policy="noeviction") as server:
        async with open_session(server.url) as session:
            await save_many([Account(f"a{n}", n) for n in range(20)], session=session)
            await _fill(session)
            results = await asyncio.gather(
                *(delete(Account, f"a{n}", session=session) for n in range(10)),
                *(modify(ref(Account, f"a{n}"), Account.coins, lambda _: 5, session=session) for n in range(10, 20)),
                return_exceptions=True,
            )
            assert results[:10] == [True] * 10
            assert all(isinstance(error, NotApplied) and error.code == "OOM" for error in results[10:])


@pytest.mark.parametrize("retry", [None, Retry(attempts=2)])
async def test_out_of_memory_is_no_error_of_who_only_takes_out_of_the_same_object(retry: Retry | None) -> None:
    """What several put into one object is one HSET: its refusal says nothing about those who put nothing."""
    with running_server(maxmemory_policy="noeviction") as server, redis.Redis.from_url(server.url) as admin:
        async with open_session(server.url) as session:
            p = ref(Player, "p")
            await save(Player("p", meta={f"k{n}": str(n) for n in range(MANY)}), session=session)
            admin.config_set("maxmemory", "1")
            results = await asyncio.gather(
                *(append(p, Player.numbers, n, retry=retry, session=session) for n in range(MANY)),
                *(pop(p, Player.meta, f"k{n}", retry=retry, session=session) for n in range(MANY)),
                *(append(p, Player.numbers, n, retry=retry, session=session) for n in range(MANY)),
                return_exceptions=True,
            )
            popped, others = results[MANY : 2 * MANY], [*results[:MANY], *results[2 * MANY :]]
            assert popped == [str(n) for n in range(MANY)]
            assert {type(error) for error in others} == {NotApplied}
            assert {error.code for error in others if isinstance(error, NotApplied)} == {"OOM"}
            found = await get(Player, "p", session=session)
            assert (found.meta, found.numbers) == ({}, [])


async def test_out_of_memory_is_no_error_of_a_block_that_only_takes_out_of_the_same_object() -> None:
    with running_server(maxmemory_policy="noeviction") as server, redis.Redis.from_url(server.url) as admin:
        async with open_session(server.url) as session:
            p = ref(Player, "p")
            await save(Player("p", meta={f"k{n}": str(n) for n in range(MANY)}), session=session)
            admin.config_set("maxmemory", "1")

            async def block(number: int) -> None:
                async with pipeline(p, session=session) as d:
                    if number % 2:
                        del d.meta[f"k{number}"]
                    else:
                        d.score += 1

            results = await asyncio.gather(*(block(n) for n in range(MANY)), return_exceptions=True)
            assert results[1::2] == [None] * (MANY // 2)
            assert {type(error) for error in results[::2]} == {NotApplied}
            found = await get(Player, "p", session=session)
            assert (sorted(found.meta), found.score) == (sorted(f"k{n}" for n in range(0, MANY, 2)), 0)


async def _fill(session: Session) -> None:
    """Use up the memory of the server."""
    with contextlib.suppress(NotApplied):
        for n in range(1000):
            await save(Player(f"p{n}", motto="x" * 20_000), session=session)
        raise AssertionError("there is memory left")


@pytest.mark.usefixtures("session")
async def test_a_callers_function_runs_in_its_own_context() -> None:
    await save(Account("a", 0))
    who: contextvars.ContextVar[int] = contextvars.ContextVar("who")
    seen = set()

    def look(coins: int) -> int:
        seen.add(who.get())
        return coins + 1

    async def work(number: int) -> None:
        who.set(number)
        await modify(ref(Account, "a"), Account.coins, look)

    await asyncio.gather(*(asyncio.create_task(work(number)) for number in range(MANY)))
    assert seen == set(range(MANY))


async def test_without_a_free_connection_it_is_a_pool_timeout_for_each(url: str) -> None:
    async with open_session(url, max_connections=2, pool_timeout=0.1) as small:
        await save_many([Account(f"a{n}", n) for n in range(5)], session=small)
        link = await small.loop.node.pool.acquire()
        found = await asyncio.gather(
            *(modify(ref(Account, f"a{n}"), Account.coins, lambda _: 9, session=small) for n in range(5)),
            return_exceptions=True,
        )
        assert [type(error) for error in found] == [PoolTimeout] * 5
        assert (await get(Account, "a1", session=small)).coins == 1
        small.loop.node.pool.release(link)
        assert await modify(ref(Account, "a1"), Account.coins, lambda _: 9, session=small) == 9


async def test_waiting_for_others_of_the_process_ends() -> None:
    read, touch = (b"EXISTS", b"Account:a"), (b"HSET", b"Account:a", b"coins", b"1")
    with running_server() as server:
        async with open_session(server.url) as session:
            await save(Account("a", 0), session=session)
            watches: Watches = session.loop.node.watches
            command(server.url, "CLIENT", "PAUSE", "500")
            holder = watches.update(Update([b"Account:a"], [read], lambda *_: [touch]))
            later = watches.update(Update([b"Account:a"], [read], lambda *_: [touch], timeout=0.05))
            with pytest.raises(Conflict):
                await later
            assert await holder == [0]


async def test_a_connection_that_fails_at_once_keeps_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it may where tasks begin as soon as they are made (``asyncio.eager_task_factory``)."""
    pool = Pool(Settings("unix:///nowhere/at/all.sock"))
    watches = Watches(pool, lambda keys: False)

    def at_once(work: Coroutine[Any, Any, None]) -> None:
        with pytest.raises(StopIteration):
            work.send(None)

    monkeypatch.setattr(pool, "spawn", at_once)
    for _ in range(2):
        with pytest.raises(Lost):
            await watches.update(Update([b"Account:a"], [(b"EXISTS", b"Account:a")], lambda *_: None))
        assert watches.at_rest
    await pool.close()


def test_what_an_exec_came_to_for_each_of_those_who_share_it() -> None:
    queued: Sequence[Any] = [b"OK", b"QUEUED", b"QUEUED", b"QUEUED"]
    assert outcome([*queued, [1, 2, 3]], 1, 2, alone=False) == [2, 3]
    assert outcome([*queued, None], 1, 2, alone=False) is None
    bad, aborted = ServerError("OOM"), ServerError("EXECABORT")
    refused = [b"OK", b"QUEUED", bad, b"QUEUED", aborted]
    assert outcome(refused, 1, 1, alone=False) == bad
    assert outcome(refused, 0, 1, alone=False) is None
    assert outcome([b"OK", b"QUEUED", ServerError("READONLY")], 0, 1, alone=False) == ServerError("READONLY")
    torn = outcome([ServerError("NOPERM"), 1, ServerError("ERR")], 0, 1, alone=True)
    assert isinstance(torn, ServerError)
    assert torn.torn


@dataclass
class Puts(Unit):
    """Puts these fields into one object, whatever it holds."""

    target: Target
    put: dict[bytes, bytes]
    needs: Sequence[bytes] | None = ()

    def decide(self, seen: Seen) -> Change:
        return Change(put=self.put)


async def test_nobody_sees_what_a_commit_would_have_done_that_fails_at_its_last_object(session: Session) -> None:
    await save_many([Account("first", 0), Account("a", 1), Player("p")])
    ctx = session.context
    account, player = ctx.target(ref(Account, "a")), ctx.target(ref(Player, "p"))
    # No score can be made of this for the index.
    failing = commit(ctx, [Puts(account, {b"coins": b"100"}), Puts(player, {b"score": b"no number"})])

    def more(coins: int) -> int:
        return coins + 1

    work: list[Awaitable[Any]] = [
        modify(ref(Account, "first"), Account.coins, more),  # it goes alone; the next two together
        session.run(failing),
        modify(ref(Account, "a"), Account.coins, more),
    ]
    first, failed, third = await asyncio.gather(*work, return_exceptions=True)
    assert first == 1
    assert isinstance(failed, DecodeError)
    assert third == 2
    assert (await get(Account, "a")).coins == 2
