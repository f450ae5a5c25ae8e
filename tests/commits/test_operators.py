"""Operators on what drafts hand out: Python's result, or Python's error, also where another writer came first."""

from __future__ import annotations

import copy
import pickle
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple, NotRequired, TypedDict

import pytest
import redis

from rapyer_core import (
    Conflict,
    ConstraintError,
    EncodeError,
    Key,
    assign,
    get,
    increment,
    insert_at,
    pipeline,
    put,
    redis_model,
    ref,
    remove,
    save,
)
from rapyer_core.models import model_of
from tests.commits.models import Player, Stats, Unit, full

pytestmark = pytest.mark.one_server


@redis_model
@dataclass
class Values:
    name: Key[str]
    other: int = 0
    i: int = 7
    big: int = 10**30
    f: float = 2.5
    d: Decimal = Decimal("1.10")
    q: Fraction = Fraction(1, 3)
    c: complex = 1 + 2j
    s: str = "ab"
    b: bytes = b"ab"
    dt: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    td: timedelta = timedelta(hours=1)
    oi: int | None = 7
    none: int | None = None
    flag: bool = True
    items: list[int] = field(default_factory=lambda: [1, 2])
    tags: set[int] = field(default_factory=lambda: {1, 2})
    maybe: set[int] | None = field(default_factory=lambda: {1, 2})
    meta: dict[str, int] = field(default_factory=lambda: {"a": 1})
    votes: Counter[str] = field(default_factory=lambda: Counter(a=1))
    sums: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int, a=1))
    order: OrderedDict[str, int] = field(default_factory=lambda: OrderedDict(a=1))


STATEMENTS = [
    f"d.{place} {operator} {operand}"
    for place, operators, operands in [
        ("i", "+= -= *= //= %= **= |= &= ^= <<= >>=", ["2", "-3", "0", "True"]),
        ("i", "+= *=", ["10**30", "2**63"]),
        ("big", "+= -= *= //= %= |= &= ^= >>=", ["2", "10**29", "-1"]),
        ("oi", "+= -= *= //= %= **= |= &= ^= <<= >>=", ["2", "0"]),
        ("none", "+= -= *= |=", ["1"]),
        ("f", "+= -= *= /= //= %= **=", ["0.1", "2", "0", "float('inf')", "float('nan')"]),
        ("d", "+= -= *= /= //= %= **=", ["Decimal('0.1')", "2", "0", "0.5"]),
        ("q", "+= -= *= /= //= %= **=", ["Fraction(1, 7)", "2", "0"]),
        ("c", "+= -= *= /= **= //=", ["1j", "2", "0"]),
        ("s", "+= *= %= -=", ["'x'", "2", "()", "b'x'"]),
        ("b", "+= *=", ["b'x'", "2", "'x'"]),
        ("dt", "+= -= *=", ["timedelta(days=1)", "1"]),
        ("td", "+= -= *= //= /=", ["timedelta(days=1)", "2", "0.5", "0"]),
        ("flag", "|= &= ^=", ["True", "False"]),
        ("items", "+= *=", ["[3]", "(3, 4)", "{5}", "2", "-1", "0", "d.items", "3.5"]),
        ("items[0]", "+= -= *= //= **= <<=", ["2", "0"]),
        ("items[5]", "+=", ["1"]),
        ("tags", "|= &= -= ^=", ["{2, 3}", "frozenset({2, 3})", "[2, 3]", "{}.keys()", "d.tags", "2"]),
        ("maybe", "|= &= -= ^=", ["{2, 3}", "frozenset({2, 3})", "[2]", "d.tags"]),
        ("meta", "|=", ["{'b': 2}", "[('b', 2)]", "d.meta", "3"]),
        ('meta["a"]', "+= -= *= //= |= <<=", ["2", "0"]),
        ('meta["nope"]', "+=", ["1"]),
        ('votes["a"]', "+= -=", ["2"]),
        ('votes["new"]', "+= -=", ["2"]),
        ('sums["new"]', "+= -=", ["2"]),
        ('order["a"]', "+= -=", ["2"]),
        ("votes", "+= -= |= &=", ["Counter(a=2, b=1)"]),
    ]
    for operator in operators.split()
    for operand in operands
]
KNOWN: dict[str, Any] = {"Counter": Counter, "Decimal": Decimal, "Fraction": Fraction, "timedelta": timedelta}


def done(statement: str, d: Any) -> type[Exception] | None:
    """Do it; the class of what it raised."""
    space: dict[str, Any] = dict(KNOWN)
    exec(f"def do(d):\n    {statement}", space)
    try:
        space["do"](d)
    except Exception as error:
        return type(error)
    return None


@pytest.mark.parametrize("statement", STATEMENTS)
async def test_operators_give_what_python_gives(statement: str) -> None:
    python = Values("v")
    raised = done(statement, python)
    try:
        model_of(Values).mapper.dump(python)
    except EncodeError:  # an int that became a float, and the like
        raised, python = EncodeError, Values("v")
    for disturbed in (False, True):
        v = Values("v")
        await save(v)
        async with pipeline(v) as d:
            if disturbed:
                await increment(ref(Values, "v"), Values.other, 1)
            ours = done(statement, d)
            assert (ours is None) == (raised is None), (ours, raised)
            assert raised is None or (ours is not None and issubclass(ours, raised))
            for name in ("i", "big", "f", "d", "q", "c", "s", "b", "dt", "td", "oi", "items", "tags", "meta", "votes"):
                assert repr(getattr(d, name)) == repr(getattr(python, name))
        found = await get(Values, "v")
        found.other = 0
        assert repr(v) == repr(found) == repr(python)
        assert type(v.i) is int
        assert type(v.s) is str


@pytest.mark.parametrize(
    "expression",
    [
        lambda d: d.tags | [3],
        lambda d: [3] - d.tags,
        lambda d: d.items + "text",
        lambda d: d.items < 3,
        lambda d: d.meta | [("a", 1)],
        lambda d: d.none + 1,
        lambda d: d.items["a"],
        lambda d: d.meta[[]],
        lambda d: d.i[0],
        lambda d: len(d.i),
    ],
)
async def test_what_python_refuses_is_refused(expression: Callable[[Any], Any]) -> None:
    await save(Values("v"))
    with pytest.raises(TypeError):
        expression(Values("v"))
    async with pipeline(ref(Values, "v")) as d:
        with pytest.raises(TypeError):
            expression(d)


@pytest.mark.parametrize(
    "expression",
    [
        lambda d: (d.items + d.items, d.items * 2, 2 * d.items, d.items[::-1], d.items.copy()),
        lambda d: (d.items < [1, 3], d.items <= [1, 2], d.items > [0], d.items >= d.items, d.items != [1]),
        lambda d: (d.tags | {3}, {3} | d.tags, d.tags & {1}, {1} & d.tags, d.tags - {1}, {1, 5} - d.tags, d.tags ^ {1}),
        lambda d: (d.tags <= {1, 2, 3}, d.tags < {1, 2}, d.tags.isdisjoint({5}), d.tags == {1, 2}, d.tags.union([5])),
        lambda d: (1 in d.maybe, 5 in d.maybe, 1 in d.tags, 5 in d.items, "a" in d.meta, "b" in d.meta),
        lambda d: (d.meta | {"b": 2}, {"a": 5} | d.meta, dict(d.meta), {**d.meta}, [*d.items], max(d.items, default=0)),
        lambda d: (f"{d.i:>5} {d.s!r} {d.dt:%Y}", d.s.join(["x", "y"]), [10, 20, 30][d.i - 6], hash(d.i)),
        lambda d: (-d.i, abs(d.f), round(d.f), divmod(d.i, 2), pow(d.i, 2, 5), ~d.i, bool(d.none), d.i.bit_length()),
    ],
)
async def test_expressions_have_pythons_value(expression: Callable[[Any], Any]) -> None:
    await save(Values("v"))
    async with pipeline(ref(Values, "v")) as d:
        assert repr(expression(d)) == repr(expression(Values("v")))


# -- containers of drafts --


@pytest.fixture(autouse=True)
async def _player(session: Any) -> None:
    await save(full())


async def test_a_list_made_of_drafts_can_be_assigned() -> None:
    async with pipeline(ref(Player, "p")) as d:
        d.squad = [unit for unit in d.squad if unit.name != "b"]
        d.bench = {unit.name: unit for unit in d.squad}
        d.numbers = [number + 1 for number in d.numbers]
    found = await get(Player, "p")
    assert [unit.name for unit in found.squad] == ["a", "c"]
    assert found.bench == {"a": Unit("a"), "c": Unit("c")}
    assert found.numbers == [2, 3, 4]


async def test_copies_of_drafts_are_plain_and_belong_to_no_block() -> None:
    async with pipeline(ref(Player, "p")) as d:
        first, last = copy.copy(d.squad[0]), copy.deepcopy(d.squad[-1])
        assert type(first) is Unit
        assert type(copy.copy(d.numbers)) is list
        assert pickle.loads(pickle.dumps(d.meta)) == {"k": "v"}
        first.hp = 3
        d.squad[0], d.squad[-1] = last, first
    assert (await get(Player, "p")).squad == [Unit("c"), Unit("b"), Unit("a", 3)]


def _swap(d: Any) -> None:
    d.squad[0], d.squad[-1] = d.squad[-1], d.squad[0]


def _replaced(d: Any) -> None:
    unit = d.squad[0]
    d.squad[0] = Unit("new")
    unit.hp = 1


def _replaced_around(d: Any) -> None:
    tags = d.squad[0].tags
    d.squad[0] = Unit("new")
    tags.append("lost")


def _replaced_record(d: Any) -> None:
    stats = d.stats
    d.stats = Stats()
    stats.wins += 1


def _replaced_list(d: Any) -> None:
    numbers = d.numbers
    d.numbers = [9]
    numbers.append(1)


def _replaced_optional(d: Any) -> None:
    pet = d.pet
    d.pet = Unit("dog")
    pet.hp += 1


def _moved(d: Any) -> None:
    unit = d.squad[1]
    d.squad.insert(0, Unit("new"))
    unit.hp += 1


def _cleared(d: Any) -> None:
    inner = d.lists["l"]
    d.lists.clear()
    d.lists["l"] = []
    inner.append(1)


@pytest.mark.parametrize(
    "block",
    [_swap, _replaced, _replaced_around, _replaced_record, _replaced_list, _replaced_optional, _moved, _cleared],
)
async def test_what_was_taken_from_a_place_never_writes_to_what_came_there_later(
    block: Callable[[Any], None], redis_client: redis.Redis
) -> None:
    """In Python it would go on meaning the old value, which is nowhere stored any more."""
    before = redis_client.dump("Player:p")
    p = await get(Player, "p")
    with pytest.raises(ConstraintError, match="take it again"):
        async with pipeline(p) as d:
            block(d)
    assert redis_client.dump("Player:p") == before
    assert p == full()


async def test_a_view_goes_on_when_it_is_rearranged_itself() -> None:
    async with pipeline(ref(Player, "p")) as d:
        numbers, meta = d.numbers, d.meta
        numbers.sort(reverse=True)
        numbers.append(0)
        numbers.reverse()
        numbers.insert(0, 7)
        numbers[1:2] = []
        meta.clear()
        meta["new"] = "n"
    found = await get(Player, "p")
    assert (found.numbers, found.meta) == ([7, 1, 2, 3], {"new": "n"})


async def test_an_element_is_found_again_or_it_is_a_conflict() -> None:
    """Somebody inserts before it meanwhile."""
    for change in (
        lambda d: setattr(d.squad[1], "hp", 0),
        lambda d: setattr(d.squad[-1], "name", "x"),
        lambda d: d.squad.pop(1),
        lambda d: d.squad.__delitem__(0),
        lambda d: d.numbers.__setitem__(1, 9),
        lambda d: d.numbers.insert(1, 9),
        lambda d: d.numbers.pop(),
    ):
        await save(full())
        with pytest.raises(Conflict):
            async with pipeline(ref(Player, "p")) as d:
                change(d)
                await insert_at(ref(Player, "p"), Player.squad, 0, Unit("first"))
                await insert_at(ref(Player, "p"), Player.numbers, 0, 0)
        found = await get(Player, "p")
        assert found.squad == [Unit("first"), *full().squad]
        assert found.numbers == [0, 1, 2, 3]


async def test_update_of_a_dict_or_set_is_all_or_nothing() -> None:
    async with pipeline(ref(Player, "p")) as d:
        with pytest.raises(TypeError):
            d.counters.update(a=1, b="text")  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            d.tags.update(["x", 3])  # type: ignore[list-item]
    assert await get(Player, "p") == full()


# -- found by the state machine --


async def test_removing_a_key_that_a_counter_does_not_have_writes_nothing(redis_client: redis.Redis) -> None:
    v = Values("v")
    await save(v)
    before = redis_client.hgetall("Values:v")
    await remove(v, Values.votes, "nobody")
    await remove(v, Values.votes, "a")
    del before[b"votes.a"]
    assert redis_client.hgetall("Values:v") == before


async def test_assigning_a_new_key_of_an_ordered_dict_keeps_its_order(redis_client: redis.Redis) -> None:
    v = Values("v")
    await save(v)
    await assign(v, "order.b", 2)
    assert redis_client.hget("Values:v", "order") == b"{a.b}"
    assert (await get(Values, "v")).order == v.order == OrderedDict(a=1, b=2)
    v.order["c"] = 3
    await save(v)
    await put(v, Values.order, "d", 4)
    assert (await get(Values, "v")).order == v.order == OrderedDict(a=1, b=2, c=3, d=4)


class Point(NamedTuple):
    x: int = 1
    y: int = 2


class Options(TypedDict):
    size: int
    colour: NotRequired[str]


@redis_model
@dataclass
class Shapes:
    name: Key[str]
    other: int = 0
    point: Point = field(default_factory=Point)
    options: Options = field(default_factory=lambda: Options(size=1))
    notes: dict[str, str] = field(default_factory=dict)
    maybe: Options | None = field(default_factory=lambda: Options(size=1))


@pytest.mark.parametrize(
    "statement",
    [
        "d.options['size'] += 5",
        "d.options['colour'] = 'red'",
        "d.options.update(colour='red'); del d.options['colour']",
        "d.options = {**d.options, 'size': 9}",
        "d.options |= {'size': 3}",
        "d.maybe['size'] -= 1",
        "d.maybe = None",
        "d.other = d.options['size'] + len(d.options) + d.options.get('size')",
        "d.other = sum(d.point) + d.point[0] + len(d.point) + (1 in d.point) + hash(d.point) % 2",
        "x, d.other = d.point",
        "d.point = d.point._replace(y=5)",
        "d.point = Point(*d.point[::-1])",
        "d.other = (d.point + (3,))[2]",
    ],
)
async def test_named_tuples_and_typed_dicts_do_what_they_do(statement: str) -> None:
    python = Shapes("s")
    KNOWN["Point"] = Point
    assert done(statement, python) is None
    for disturbed in (False, True):
        shapes = Shapes("s")
        await save(shapes)
        async with pipeline(shapes) as d:
            if disturbed:
                await put(ref(Shapes, "s"), Shapes.notes, "k", "v")
            assert done(statement, d) is None
        found = await get(Shapes, "s")
        found.notes.clear()
        assert shapes == found == python


async def test_a_field_of_a_named_tuple_counts_by_itself() -> None:
    await save(Shapes("s"))
    async with pipeline(ref(Shapes, "s")) as d:
        d.point.x += 5  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
        await assign(ref(Shapes, "s"), Shapes.point, Point(10, 20))
    assert (await get(Shapes, "s")).point == Point(15, 20)
