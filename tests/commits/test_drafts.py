"""Drafts: what they show, record and write back; and what local objects look like afterwards."""

from __future__ import annotations

import asyncio
import copy
import pickle
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import pytest
import redis

from rapyer_core import (
    Conflict,
    ConstraintError,
    EncodeError,
    NotFound,
    append,
    assign,
    delete,
    get,
    increment,
    insert_at,
    pipeline,
    ref,
    save,
    transaction,
)
from rapyer_core.transactions import Transaction
from tests.commits.models import Account, Award, Fixed, Options, Player, Stats, Unit, full


@pytest.fixture(autouse=True)
async def _player(session: Any) -> None:
    await save(full())


async def stored() -> Player:
    return await get(Player, "p")


async def test_reads_see_the_own_writes() -> None:
    async with pipeline(ref(Player, "p")) as d:
        d.coins += 5
        assert d.coins == 105
        d.coins = 1
        assert d.coins == 1
        d.numbers.append(4)
        assert list(d.numbers) == [1, 2, 3, 4]
        assert d.numbers[-1] == 4
        d.meta["new"] = "n"
        assert dict(d.meta) == {"k": "v", "new": "n"}
        del d.meta["k"]
        assert "k" not in d.meta
        d.tags.add("x")
        assert set(d.tags) == {"t", "x"}
        d.pet = Unit("dog")
        assert d.pet.name == "dog"
        d.pet.hp -= 4
        assert d.pet.hp == 6
        assert (await stored()).coins == 100
    found = await stored()
    assert (found.coins, found.numbers, found.meta, found.tags) == (1, [1, 2, 3, 4], {"new": "n"}, {"t", "x"})
    assert found.pet == Unit("dog", 6)


async def test_the_local_object_carries_the_new_values_after_the_commit() -> None:
    p = await stored()
    await increment(ref(Player, "p"), Player.coins, 50)
    async with pipeline(p) as d:
        d.coins += 1
        d.numbers.append(4)
        d.squad[0].hp = 3
        d.meta["new"] = "n"
        assert (p.coins, p.numbers, p.meta) == (100, [1, 2, 3], {"k": "v"})
    assert (p.coins, p.numbers, p.squad[0].hp, p.meta["new"]) == (151, [1, 2, 3, 4], 3, "n")
    assert p == await stored()
    # It is as loaded: saving it again writes nothing, and finds no conflict.
    await save(p)


async def test_after_an_exception_all_is_as_it_was() -> None:
    p = await stored()
    with pytest.raises(ZeroDivisionError):
        async with pipeline(p) as d:
            d.coins += 1
            d.numbers.append(4)
            d.options.colour = "blue"
            raise ZeroDivisionError
    assert p == full()
    assert await stored() == full()


async def test_after_a_conflict_the_local_object_is_as_it_was() -> None:
    p = await stored()
    with pytest.raises(Conflict):
        async with pipeline(p) as d:
            if d.coins:
                d.wins += 1
            await increment(ref(Player, "p"), Player.coins, 1)
    assert p == full()


async def test_a_draft_can_be_read_after_its_block_and_not_written() -> None:
    async with pipeline(ref(Player, "p")) as d:
        d.coins += 1
        numbers, options = d.numbers, d.options
    assert (d.coins, d.stats.wins, list(numbers), options.colour) == (101, 0, [1, 2, 3], "red")
    late: list[Callable[[], Any]] = [
        lambda: setattr(d, "coins", 1),
        lambda: numbers.append(1),
        lambda: d.meta.update(a="b"),
        lambda: setattr(d.stats, "wins", 1),
        lambda: d.tags.add("x"),
    ]
    for write in late:
        with pytest.raises(ConstraintError, match="over"):
            write()
    assert (await stored()).coins == 101


async def test_what_is_written_while_the_commit_runs_is_refused() -> None:
    refused: list[bool] = []

    async with pipeline(ref(Player, "p")) as d:
        d.coins += 1

        async def late() -> None:
            for _ in range(200):
                try:
                    d.wins += 1
                except ConstraintError:
                    refused.append(True)
                    return
                d.wins -= 1
                await asyncio.sleep(0)

        task = asyncio.create_task(late())
        await asyncio.sleep(0)
    await task
    assert refused
    assert (await stored()).wins == 0


async def test_an_element_by_index_is_the_right_one_or_a_conflict() -> None:
    async with pipeline(ref(Player, "p")) as d:
        d.squad[2].hp -= 5
        d.squad[-3].hp -= 1
    assert [unit.hp for unit in (await stored()).squad] == [9, 10, 5]
    with pytest.raises(Conflict):
        async with pipeline(ref(Player, "p")) as d:
            d.squad[2].hp -= 5
            await insert_at(ref(Player, "p"), Player.squad, 0, Unit("first"))
    assert [unit.hp for unit in (await stored()).squad] == [10, 9, 10, 5]


async def test_an_element_that_the_block_itself_moved_is_never_the_wrong_one() -> None:
    async with pipeline(ref(Player, "p")) as d:
        last = d.squad[2]
        d.squad.append(Unit("d"))
        last.hp = 1
        d.squad.insert(0, Unit("z"))
        with pytest.raises(ConstraintError, match="again"):
            last.hp -= 5
        with pytest.raises(ConstraintError, match="again"):
            assert last.hp
        d.squad[3].hp += 1
    assert [(unit.name, unit.hp) for unit in (await stored()).squad] == [
        ("z", 10),
        ("a", 10),
        ("b", 10),
        ("c", 2),
        ("d", 10),
    ]


async def test_lists_do_what_lists_do() -> None:
    plain = [3, 1, 2]
    async with pipeline(ref(Player, "p")) as d:
        d.numbers = plain
        for values in (plain, d.numbers):
            values.append(5)
            values.extend([7, 8])
            values.insert(1, 9)
            assert values.pop() == 8
            assert values.pop(0) == 3
            values.remove(7)
            del values[0]
            values[0] = 4
            values[1:2] = [6, 6]
            values.sort(reverse=True)
            values.reverse()
            values += [1]
            values *= 2
            assert values[1:3] == [5, 6]
            assert values + [1] == [*values, 1]  # noqa: RUF005 - the operator is the point
            assert values.index(6) == 2
            del values[::2]
        assert d.numbers == plain
        assert [0] + d.numbers == [0, *plain]  # noqa: RUF005 - the operator is the point
        with pytest.raises(IndexError):
            d.numbers.pop(99)
        with pytest.raises(ValueError):
            d.numbers.remove(99)
    assert (await stored()).numbers == plain


async def test_dicts_do_what_dicts_do() -> None:
    plain: dict[str, int] = {"k": 1}
    async with pipeline(ref(Player, "p")) as d:
        for values in (plain, d.counters):
            values["a"] = 2
            values.update({"b": 3}, c=4)
            values |= {"d": 5}
            assert values.pop("b") == 3
            assert values.pop("b", None) is None
            assert values.setdefault("e", 6) == 6
            assert values.setdefault("e", 7) == 6
            assert values.popitem() == ("e", 6)
            del values["k"]
            assert values | {"x": 1} == {**values, "x": 1}
            assert sorted(values.items()) == [("a", 2), ("c", 4), ("d", 5)]
            with pytest.raises(KeyError):
                values["b"]
        assert d.counters == plain
        d.lists.setdefault("new", []).append(3)
        d.lists["l"].append(2)
        d.bench["x"].tags.append("t")
    found = await stored()
    assert found.counters == plain
    assert found.lists == {"l": [1, 2], "new": [3]}
    assert found.bench == {"x": Unit("x", 10, ["t"])}


async def test_sets_do_what_sets_do() -> None:
    plain = {"t"}
    async with pipeline(ref(Player, "p")) as d:
        for values in (plain, d.tags):
            values.add("a")
            values.update({"b", "c"}, ["d"])
            values |= {"e"}
            values -= {"a"}
            values ^= {"e", "f"}
            values &= {"b", "c", "d", "f"}
            values.discard("zz")
            values.remove("b")
            with pytest.raises(KeyError):
                values.remove("b")
            assert values | {"x"} == {"c", "d", "f", "x"}
            assert values.union({"x"}) == {"c", "d", "f", "x"}
            assert values.issuperset({"c"})
            assert cast(Any, 5) not in values  # what Python says of a member of another type
        assert d.tags == plain
    assert (await stored()).tags == plain


async def test_a_mutable_copy_that_was_changed_is_written_back() -> None:
    async with pipeline(ref(Player, "p")) as d:
        d.options.colour = "blue"
        d.options.sizes.append(3)
        assert d.options.colour == "blue"
        d.recent.appendleft(0)
    found = await stored()
    assert found.options == Options("blue", [3])
    assert found.recent == deque([0, 1, 2])


async def test_a_copy_is_not_written_over_what_was_assigned_later() -> None:
    async with pipeline(ref(Player, "p")) as d:
        old = d.options
        old.colour = "blue"
        d.options = Options("green")
        old.colour = "black"
    assert (await stored()).options == Options("green")


async def test_a_copy_that_was_only_read_is_not_written() -> None:
    async with pipeline(ref(Player, "p")) as d:
        assert d.options.colour == "red"
        d.coins += 1
    with pytest.raises(Conflict):
        async with pipeline(ref(Player, "p")) as d:
            assert d.options.colour == "red"
            d.coins += 1
            await assign(ref(Player, "p"), Player.options, Options("blue"))


async def test_methods_and_properties_of_the_class_work_on_drafts() -> None:
    async with pipeline(ref(Player, "p")) as d:
        assert d.win(30) == 30
        await asyncio.gather(*[_win() for _ in range(5)])
        assert isinstance(d, Player)
    found = await stored()
    assert (found.score, found.stats.games, found.level) == (80, 6, 0)
    async with pipeline(ref(Player, "p")) as d:
        d.level = 7
        assert d.level == 7
        with pytest.raises(AttributeError):
            d.nonsense = 1  # type: ignore[attr-defined]  # the point of the test
        with pytest.raises(AttributeError):
            assert d.nonsense  # type: ignore[attr-defined]  # the point of the test
    assert (await stored()).score == 700


async def _win() -> None:
    async with pipeline(ref(Player, "p")) as d:
        d.win(10)


async def test_drafts_are_refused_by_repository_functions() -> None:
    async with pipeline(ref(Player, "p")) as d:
        for call in (save(d), increment(d, Player.coins, 1), append(d, Player.numbers, 1), delete(d)):
            with pytest.raises(TypeError, match="draft"):
                await call
        with pytest.raises(TypeError, match="draft"):
            async with pipeline(d):
                pass


async def test_frozen_objects_are_changed_through_drafts_and_stay_as_they_are() -> None:
    fixed = Fixed("f", 1)
    await save(fixed)
    async with pipeline(fixed) as d:
        d.value += 1  # type: ignore[misc]  # a draft is typed as the frozen class
    assert (fixed.value, d.value) == (1, 2)
    assert await get(Fixed, "f") == Fixed("f", 2)


async def test_bad_values_are_refused_at_once_and_nothing_is_written() -> None:
    async with pipeline(ref(Player, "p")) as d:
        d.coins += 1
        changes: list[Callable[[], Any]] = [
            lambda: setattr(d, "coins", "x"),
            lambda: d.numbers.append("x"),  # type: ignore[arg-type]  # the point of the test
            lambda: d.meta.update(a=cast(Any, 3)),
            lambda: d.tags.add(3),  # type: ignore[arg-type]  # the point of the test
            lambda: setattr(d, "pet", Stats()),
        ]
        for change in changes:
            with pytest.raises(EncodeError):
                change()
        with pytest.raises(EncodeError):
            d.coins /= 3  # type: ignore[assignment]  # the point of the test
        with pytest.raises(ConstraintError, match="key field"):
            d.name = "other"
        with pytest.raises(TypeError):
            d.rank += 1  # type: ignore[operator,assignment]  # None is not a number
        with pytest.raises(TypeError):
            del d.coins
    assert await stored() == full(coins=101)


async def test_a_key_that_is_gone_is_never_written_in_part(redis_client: Any) -> None:
    with pytest.raises(NotFound):
        async with pipeline(ref(Player, "p")) as d:
            d.coins += 1
            await delete(ref(Player, "p"))
    with pytest.raises(NotFound):
        async with pipeline(ref(Player, "p")):
            pass
    await save(full())
    with pytest.raises(NotFound):
        async with pipeline(ref(Player, "p")) as d:
            d.coins += 1
            redis_client.pexpire("Player:p", 1)
            await asyncio.to_thread(_gone, redis_client, "Player:p")
    assert redis_client.keys("*Player:p*") == []


def _gone(client: redis.Redis, key: str) -> None:
    while client.exists(key):
        time.sleep(0.001)


async def test_a_ttl_that_somebody_set_survives(redis_client: Any) -> None:
    redis_client.expire("Player:p", 1000)
    async with pipeline(ref(Player, "p")) as d:
        d.coins += 1
        d.numbers.append(1)
        d.squad = []
    assert 900 < redis_client.ttl("Player:p") <= 1000


async def test_values_behave_as_plain_ones() -> None:
    async with pipeline(ref(Player, "p")) as d:
        values = [d.coins, d.ratio, d.motto, d.blob, d.wealth, d.since, d.played]
        plain = [100, 0.0, "go", b"", Decimal(0), full().since, full().played]
        assert values == plain
        for value, expected in zip(values, plain, strict=True):
            assert isinstance(value, type(expected))
            assert type(pickle.loads(pickle.dumps(value))) is type(expected)
            assert type(copy.deepcopy(value)) is type(expected)
            assert (repr(expected) in repr(value), hash(value)) == (True, hash(expected))


async def test_what_a_transaction_returns_is_plain() -> None:
    @transaction()
    async def work(tx: Transaction) -> int:
        p = await tx.get(Player, "p")
        p.coins -= 5
        return p.coins

    left = await work()
    assert (left, type(left)) == (95, int)


async def test_awaitables_of_the_post_record_the_same() -> None:
    async with pipeline(ref(Player, "p")) as drafted:
        d: Any = drafted
        await d.coins.aincrease(5)
        await d.motto.aset("hi")
        await d.numbers.aappend(4)
        await d.numbers.aextend([5])
        assert await d.numbers.apop() == 5
        await d.meta.aupdate(a="b")
        await d.meta.aset_item("c", "d")
        await d.meta.adel_item("k")
        await d.tags.aadd("x")
        await d.awards.aappend(Award.FIRST)
        await d.stats.aset(Stats(9))
        await increment(ref(Player, "p"), Player.coins, 1)
    found = await stored()
    assert (found.coins, found.motto, found.numbers, found.awards) == (106, "hi", [1, 2, 3, 4], [Award.FIRST])
    assert (found.meta, found.tags, found.stats) == ({"a": "b", "c": "d"}, {"t", "x"}, Stats(9))


async def test_a_value_that_is_only_local_changes_nothing() -> None:
    p = await stored()
    async with pipeline(p) as d:
        number = d.coins
        number += 5
        texts = d.numbers.copy()
        texts.append(9)
    p.coins += 1
    assert await stored() == full()


async def test_several_objects_in_one_pipeline() -> None:
    await save(Account("a", 5))
    with pytest.raises(Conflict) as caught:
        async with pipeline(ref(Player, "p"), ref(Account, "a")) as (p, a):
            if a.coins == 5:
                p.coins += 1
            await increment(ref(Account, "a"), Account.coins, 1)
    assert (caught.value.model, caught.value.fields) == ("Account", ("coins",))
    async with pipeline(ref(Player, "p"), ref(Account, "a")) as (p, a):
        p.coins -= 1
        a.coins += 1
    assert ((await stored()).coins, (await get(Account, "a")).coins) == (99, 7)
    with pytest.raises(TypeError):
        pipeline(ref(Player, "p"), ref(Player, "p"))


async def test_errors_and_reprs_show_no_values() -> None:
    secret = "canary-7c1"
    await save(Player("p", motto=secret, meta={"k": secret}, options=Options(secret)))
    with pytest.raises(Conflict) as caught:
        async with pipeline(ref(Player, "p")) as d:
            assert d.motto == secret
            assert secret not in repr(d)
            assert secret not in repr(d.stats)
            await assign(ref(Player, "p"), Player.motto, secret + "2")
            d.coins += 1
    assert secret not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is None


@dataclass
class Nothing:
    pass


async def test_a_block_takes_models_only() -> None:
    with pytest.raises(TypeError):
        pipeline(Nothing())


async def test_after_a_block_of_many_changes_all_is_shown_and_nothing_is_left_to_save(
    redis_client: redis.Redis,
) -> None:
    p = await stored()
    async with pipeline(p) as d:
        for number in range(500):
            d.bench[f"x{number}"] = Unit("u", number)
            d.counters[f"x{number}"] = number
        for number in range(0, 500, 2):
            d.bench[f"x{number}"].hp += 1
            del d.counters[f"x{number}"]
    assert p == await stored()
    assert len(p.bench) == 501
    assert p.bench["x498"].hp == 499
    redis_client.hset("Player:p", "bench.x1.hp", "-1")
    await save(p)
    assert (await stored()).bench["x1"].hp == -1, "what the instance did not change, its save does not write"
