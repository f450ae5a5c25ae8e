"""What counts as a read (contract, section 5): each way to use a value makes a concurrent change of it a Conflict, and
a value that comes straight back to its place by one in-place operator does not.
"""

from __future__ import annotations

import json
import operator
import struct
from collections.abc import Callable
from typing import Any, cast

import pytest

from rapyer_core import Conflict, assign, get, increment, paths, pipeline, ref, save
from tests.commits.models import Award, Player, Unit, full

P: Any = paths(Player)
Use = Callable[[Any], Any]


def same(value: Any) -> Any:
    return value


class Table:
    """Indexed in C or in Python, it gives the index back."""

    def __getitem__(self, index: Any) -> Any:
        return index


def _walrus(d: Any) -> None:
    d.coins = (d_coins := d.coins) + 1
    assert d_coins


def _bound(d: Any) -> None:
    value = d.coins
    d.coins = value + 1


def _bound_after(d: Any) -> None:
    value = d.coins + 1
    d.coins = value


def _bound_in_place(d: Any) -> None:
    value = d.coins
    value += 1
    d.coins = value


def _loop(d: Any) -> None:
    for value in [d.coins]:
        d.coins = value + 1


def _two_targets(d: Any) -> None:
    d.wins = d.coins = d.coins + 1


def _tuple(d: Any) -> None:
    d.coins, d.wins = d.coins + 1, 2


def _matched(d: Any) -> None:
    match d.coins:
        case 100:
            d.wins = 1


def _star(d: Any) -> None:
    d.wins = max(*[d.coins], 1)


def _generator(d: Any) -> None:
    def numbers() -> Any:
        yield d.coins

    d.coins = next(numbers()) + 1


class Between:
    """What is read comes from the draft in C; what is assigned goes through the hands of its own code."""

    seen = 0

    def __init__(self, draft: Any) -> None:
        self.draft = draft

    def _assign(self, value: Any) -> None:
        self.seen = value
        self.draft.coins = value

    coins = property(operator.attrgetter("draft.coins"), _assign)


def _between(d: Any) -> None:
    between = Between(d)
    between.coins += 1
    assert between.seen == 101


def _between_only(d: Any) -> None:
    class Kept(Between):
        coins = property(operator.attrgetter("draft.coins"), lambda self, value: None)

    Kept(d).coins += 1


def _failed(d: Any) -> None:
    with pytest.raises(ValueError, match="negative shift"):
        d.coins <<= -1


def _failed_then_assigned(d: Any) -> None:
    _failed(d)
    d.coins = 101


def _exec(name: str) -> Use:
    """Code without positions in the source, as generators of code leave it."""
    space: dict[str, Any] = {"same": same}
    exec(name, space)
    use = space["use"]
    use.__code__ = use.__code__.replace(co_linetable=b"")
    assert set(use.__code__.co_positions()) <= {(None, None, None, None)}
    return cast(Use, use)


def _set(expression: Use) -> Use:
    def use(d: Any) -> None:
        d.coins = expression(d)

    return use


READS: dict[str, Use] = {
    "compared": lambda d: d.coins > 5,
    "equal": lambda d: d.coins == 5,
    "formatted": lambda d: f"{d.coins}",
    "percent": lambda d: "%d" % d.coins,  # noqa: UP031 - the way of C
    "str": lambda d: str(d.coins),
    "repr": lambda d: repr(d.coins),
    "hashed": lambda d: hash(d.coins),
    "in a set": lambda d: {d.coins},
    "truth": lambda d: bool(d.coins),
    "condition": lambda d: 1 if d.coins else 2,
    "index of a list": lambda d: list(range(200))[d.coins],
    "range": lambda d: range(d.coins),
    "C code": lambda d: struct.pack("i", d.coins),
    "json": lambda d: json.dumps(d.coins),
    "multiplied": lambda d: d.coins * 2,
    "negated": lambda d: -d.coins,
    "subtracted from": lambda d: 10 - d.coins,
    "sum": lambda d: sum([d.coins]),
    "assigned elsewhere": lambda d: setattr(d, "wins", d.coins),
    "added elsewhere": lambda d: setattr(d, "wins", d.coins + 1),
    "looked at only": lambda d: d.coins,
    "bound": _bound,
    "bound after": _bound_after,
    "bound, in place": _bound_in_place,
    "walrus": _walrus,
    "loop": _loop,
    "two targets": _two_targets,
    "tuple": _tuple,
    "matched": _matched,
    "star": _star,
    "generator": _generator,
    "in other hands on the way back": _between,
    "kept in other hands": _between_only,
    "an operator that fails": _failed,
    "an operator that fails, then assigned": _failed_then_assigned,
    "function": _set(lambda d: same(d.coins) + 1),
    "function after": _set(lambda d: same(d.coins + 1)),
    "returned": _set(lambda d: d.coins + 1),
    "container": _set(lambda d: [d.coins][0] + 1),
    "dict": _set(lambda d: {"x": d.coins}["x"] + 1),
    "min": _set(lambda d: min(d.coins, 500) + 1),
    "max": _set(lambda d: max(d.coins, 5) + 1),
    "sorted": _set(lambda d: sorted([d.coins, 500])[0] + 1),
    "either": _set(lambda d: (d.coins or 5) + 1),
    "chosen": _set(lambda d: (d.coins if d else 1) + 1),
    "product": _set(lambda d: d.coins * 2),
    "table": _set(lambda d: Table()[d.coins] + 1),
    "table after": _set(lambda d: Table()[d.coins + 1]),
    "added to itself": _set(lambda d: d.coins + d.coins),
    "int": _set(lambda d: int(d.coins) + 1),
    "setattr": lambda d: setattr(d, "coins", d.coins + 1),
    "getattr": _set(lambda d: getattr(d, "coins") + 1),  # noqa: B009 - another way to read
    "made code, function": _exec("def use(d): d.coins = same(d.coins) + 1"),
    "made code, table": _exec("def use(d): d.coins = [d.coins][0] + 1"),
}


@pytest.mark.parametrize("use", READS.values(), ids=READS.keys())
async def test_a_value_that_was_used_is_checked(use: Use) -> None:
    await save(full())
    with pytest.raises(Conflict) as caught:
        async with pipeline(ref(Player, "p")) as d:
            use(d)
            d.score += 1
            await increment(ref(Player, "p"), Player.coins, 7)
    assert caught.value.fields == ("coins",)
    found = await get(Player, "p")
    assert (found.coins, found.score) == (107, 0)


def _twice(d: Any) -> None:
    d.coins += 1
    d.coins += 1


def _aug(d: Any) -> None:
    d.coins += 2


def _plus(d: Any) -> None:
    d.coins = d.coins + 2


def _plus_more(d: Any) -> None:
    d.coins = d.coins + 5 - 3


def _minus(d: Any) -> None:
    d.coins = d.coins - -2


def _other_side(d: Any) -> None:
    d.coins = 2 + d.coins


def _conditional(d: Any) -> None:
    d.coins += 2 if d is not None else -2


def _call(d: Any) -> None:
    d.coins += len("ab")


def _spelled_call(d: Any) -> None:
    d.coins = d.coins + len("ab")


def _nested_function(d: Any) -> None:
    def add() -> None:
        d.coins += 2

    add()


BLIND: dict[str, Use] = {
    "twice": _twice,
    "in place": _aug,
    "spelled out": _plus,
    "two terms": _plus_more,
    "minus": _minus,
    "the other side": _other_side,
    "conditional operand": _conditional,
    "call as operand": _call,
    "spelled, call": _spelled_call,
    "in a closure": _nested_function,
    "made code": _exec("def use(d): d.coins += 2"),
    "made code, spelled": _exec("def use(d):\n d.coins = d.coins + 2"),
}


@pytest.mark.parametrize("use", BLIND.values(), ids=BLIND.keys())
async def test_a_value_that_came_straight_back_is_no_read(use: Use) -> None:
    await save(full())
    p = await get(Player, "p")
    async with pipeline(p) as d:
        use(d)
        await increment(ref(Player, "p"), Player.coins, 7)
    assert (await get(Player, "p")).coins == 109
    assert p.coins == 109


def _iadd(d: Any) -> None:
    d.coins += 3


def _isub(d: Any) -> None:
    d.coins -= 3


def _imul(d: Any) -> None:
    d.coins *= 3


def _ifloor(d: Any) -> None:
    d.coins //= 3


def _imod(d: Any) -> None:
    d.coins %= 3


def _ipow(d: Any) -> None:
    d.coins **= 3


def _ishift(d: Any) -> None:
    d.coins <<= 3


def _irshift(d: Any) -> None:
    d.coins >>= 3


def _ior(d: Any) -> None:
    d.coins |= 3


def _iand(d: Any) -> None:
    d.coins &= 3


def _ixor(d: Any) -> None:
    d.coins ^= 3


@pytest.mark.parametrize("use", [_iadd, _isub, _imul, _ifloor, _imod, _ipow, _ishift, _irshift, _ior, _iand, _ixor])
async def test_every_in_place_operator_works_on_what_is_stored_at_commit(use: Use) -> None:
    class Plain:
        coins = 10**25 + 7

    await save(full(coins=100))
    async with pipeline(ref(Player, "p")) as d:
        use(d)
        await assign(ref(Player, "p"), Player.coins, Plain.coins)
    use(Plain)
    assert (await get(Player, "p")).coins == Plain.coins


def _ratio(d: Any) -> None:
    d.ratio += 0.2


def _wealth(d: Any) -> None:
    d.wealth += 1


def _motto(d: Any) -> None:
    d.motto += "!"


def _blob(d: Any) -> None:
    d.blob += b"!"


def _best(d: Any) -> None:
    d.best += 1


def _stats(d: Any) -> None:
    d.stats.wins += 1


def _pet(d: Any) -> None:
    d.pet.hp -= 1


def _counters(d: Any) -> None:
    d.counters["k"] += 1


def _bench(d: Any) -> None:
    d.bench["x"].hp -= 1


async def _apply(use: Use) -> None:
    async with pipeline(ref(Player, "p")) as d:
        use(d)


@pytest.mark.parametrize("use", [_ratio, _wealth, _motto, _blob, _best, _stats, _pet, _counters, _bench])
async def test_two_in_place_changes_both_count(use: Use) -> None:
    await save(full(ratio=0.1))
    plain = full(ratio=0.1)
    use(plain)
    use(plain)
    async with pipeline(ref(Player, "p")) as d:
        use(d)
        await _apply(use)
    assert await get(Player, "p") == plain


CHANGES: dict[str, tuple[Use, Use]] = {
    "bool": (lambda d: d.active, lambda d: setattr(d, "active", True)),
    "None": (lambda d: d.rank is None, lambda d: setattr(d, "rank", Award.FIRST)),
    "Optional int": (lambda d: d.best is None, lambda d: setattr(d, "best", None)),
    "Optional record": (lambda d: d.pet is None, lambda d: setattr(d, "pet", None)),
    "text": (lambda d: d.motto == "go", lambda d: setattr(d, "motto", "stop")),
    "date": (lambda d: d.since.year, lambda d: setattr(d, "since", d.since.replace(year=2030))),
    "len of a list": (lambda d: len(d.numbers), lambda d: d.numbers.append(4)),
    "truth of a list": (lambda d: bool(d.numbers), lambda d: d.numbers.append(4)),
    "iteration of a list": (lambda d: list(d.numbers), lambda d: d.numbers.append(4)),
    "iteration of an empty list": (lambda d: list(d.awards), lambda d: d.awards.append(Award.FIRST)),
    "iteration of a list, element": (lambda d: list(d.numbers), lambda d: d.numbers.__setitem__(1, 9)),
    "in a list": (lambda d: 3 in d.numbers, lambda d: d.numbers.__setitem__(2, 9)),
    "in an empty list": (lambda d: Award.FIRST in d.awards, lambda d: d.awards.append(Award.FIRST)),
    "index of a list": (lambda d: d.numbers[1], lambda d: d.numbers.__setitem__(1, 9)),
    "index of a list, length": (lambda d: d.numbers[-1], lambda d: d.numbers.append(9)),
    "index past the end": (lambda d: _missing(lambda: d.numbers[7]), lambda d: d.numbers.append(9)),
    "slice of a list": (lambda d: d.numbers[:2], lambda d: d.numbers.__setitem__(1, 9)),
    "count": (lambda d: d.numbers.count(2), lambda d: d.numbers.__setitem__(1, 9)),
    "index()": (lambda d: d.numbers.index(2), lambda d: d.numbers.__setitem__(1, 9)),
    "equality of a list": (lambda d: d.numbers == [1], lambda d: d.numbers.append(1)),
    "repr of a list": (lambda d: repr(d.numbers), lambda d: d.numbers.append(1)),
    "sorted": (lambda d: sorted(d.numbers), lambda d: d.numbers.append(1)),
    "pop": (lambda d: d.numbers.pop(), lambda d: d.numbers.append(1)),
    "pop of an empty list": (lambda d: _missing(d.awards.pop), lambda d: d.awards.append(Award.FIRST)),
    "element record": (lambda d: d.squad[1].hp > 3, lambda d: d.squad.__setitem__(1, Unit("n"))),
    "key of a dict": (lambda d: d.meta["k"], lambda d: d.meta.__setitem__("k", "w")),
    "missing key": (lambda d: d.meta.get("new"), lambda d: d.meta.__setitem__("new", "w")),
    "missing key, []": (lambda d: _missing(lambda: d.meta["new"]), lambda d: d.meta.__setitem__("new", "w")),
    "in a dict": (lambda d: "k" in d.meta, lambda d: d.meta.pop("k")),
    "not in a dict": (lambda d: "new" in d.meta, lambda d: d.meta.__setitem__("new", "w")),
    "len of a dict": (lambda d: len(d.meta), lambda d: d.meta.__setitem__("new", "w")),
    "items of a dict": (lambda d: list(d.meta.items()), lambda d: d.meta.__setitem__("new", "w")),
    "values of a dict": (lambda d: list(d.meta.values()), lambda d: d.meta.__setitem__("k", "w")),
    "setdefault": (lambda d: d.meta.setdefault("new", "1"), lambda d: d.meta.__setitem__("new", "w")),
    "in a set": (lambda d: "t" in d.tags, lambda d: d.tags.discard("t")),
    "not in a set": (lambda d: "new" in d.tags, lambda d: d.tags.add("new")),
    "len of a set": (lambda d: len(d.tags), lambda d: d.tags.add("new")),
    "iteration of a set": (lambda d: set(d.tags), lambda d: d.tags.add("new")),
    "packed": (lambda d: d.options.colour, lambda d: setattr(d.options, "colour", "blue")),
    "deque": (lambda d: d.recent[0], lambda d: d.recent.append(3)),
    "equality of the object": (lambda d: d == full(), lambda d: setattr(d, "wins", 9)),
    "property": (lambda d: d.level > 3, lambda d: setattr(d, "score", 900)),
    "nested": (lambda d: d.stats.wins > 3, lambda d: setattr(d.stats, "wins", 9)),
    "nested as a whole": (lambda d: d.stats == 5, lambda d: setattr(d.stats, "average", 9.5)),
    "nested assigned": (lambda d: setattr(d, "pet", d.bench["x"]), lambda d: setattr(d.bench["x"], "hp", 1)),
}


def _missing(look: Callable[[], Any]) -> None:
    with pytest.raises(LookupError):
        look()


@pytest.mark.parametrize(("use", "change"), CHANGES.values(), ids=CHANGES.keys())
async def test_a_place_that_was_looked_at_is_checked(use: Use, change: Use) -> None:
    await save(full())
    with pytest.raises(Conflict):
        async with pipeline(ref(Player, "p")) as d:
            use(d)
            d.coins += 1
            await _apply(change)
    assert (await get(Player, "p")).coins == 100


def _own_value(d: Any) -> None:
    d.wins = 3
    assert d.wins > 2


HARMLESS: dict[str, tuple[Use, Use]] = {
    "another field": (lambda d: d.coins > 5, lambda d: setattr(d, "wins", 9)),
    "another key": (lambda d: d.meta["k"], lambda d: d.meta.__setitem__("new", "w")),
    "another member": (lambda d: "t" in d.tags, lambda d: d.tags.add("new")),
    "append, append": (lambda d: d.numbers.append(5), lambda d: d.numbers.append(4)),
    "list += , append": (lambda d: d.numbers.__iadd__([5]), lambda d: d.numbers.append(4)),
    "set |=, add": (lambda d: d.tags.update({"x"}), lambda d: d.tags.add("y")),
    "own value": (_own_value, lambda d: setattr(d, "wins", 9)),
    "another element's field": (lambda d: d.squad.append(Unit("z")), lambda d: setattr(d.squad[0], "hp", 1)),
    "assigned blindly": (lambda d: setattr(d, "motto", "x"), lambda d: setattr(d, "motto", "y")),
    "the same value again": (lambda d: d.wins > 2, lambda d: setattr(d, "wins", 0)),
}


@pytest.mark.parametrize(("use", "change"), HARMLESS.values(), ids=HARMLESS.keys())
async def test_what_was_not_looked_at_is_no_conflict(use: Use, change: Use) -> None:
    await save(full())
    async with pipeline(ref(Player, "p")) as d:
        use(d)
        d.coins += 1
        await _apply(change)
    assert (await get(Player, "p")).coins == 101


async def test_a_value_changed_there_and_back_is_worked_out_on_what_is_stored() -> None:
    """A first try that met 50 coins must not leave its result behind for a second one that meets 100 again."""
    from rapyer_core.drafts import draft_of
    from rapyer_core.operations.units import Seen
    from rapyer_core.recorders import LATER, Recorder
    from rapyer_core.sessions import current

    await save(full())
    context = current(None).context
    target = context.target(ref(Player, "p"))
    stored = target.collection.dump(full(), "p")
    recorder = Recorder(target, stored, LATER, None, False)
    draft = draft_of(recorder)
    draft.coins += 1
    assert recorder.decide(Seen(True, {**stored, b"coins": b"50"}, True)).put == {b"coins": b"51"}
    assert recorder.decide(Seen(True, dict(stored), True)).put == {b"coins": b"101"}


async def test_values_do_not_keep_their_block_alive() -> None:
    import gc
    import weakref

    await save(full())
    async with pipeline(ref(Player, "p")) as d:
        kept: Any = d.coins
        recorder = weakref.ref(kept.mark[0].recorder())
    del d
    gc.collect()
    assert recorder() is None
    assert kept == 100


async def test_code_that_ran_often_is_followed_as_well() -> None:
    """The interpreter rewrites what runs often."""
    await save(full())

    def work(d: Any) -> None:
        d.coins += 1
        d.wins = d.wins + 1
        d.counters["k"] += 1
        d.stats.wins -= 1

    for _ in range(60):
        async with pipeline(ref(Player, "p")) as d:
            work(d)
    async with pipeline(ref(Player, "p")) as d:
        work(d)
        await _apply(work)
    found = await get(Player, "p")
    assert (found.coins, found.wins, found.counters, found.stats.wins) == (162, 62, {"k": 63}, -62)
