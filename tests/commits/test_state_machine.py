"""Everything that one client can do, played against plain Python objects on a real server.

Each step is done three times: to a plain Python object, and to two stored ones. Of the first of these, blocks are
left alone, so that single fields are committed as they were written; of the second, everything is read after each
statement and somebody writes another field meanwhile, so that the commit works it all out again and compares. Results,
exceptions, local objects and stored hashes must be the same.
"""

from __future__ import annotations

import contextlib
import copy
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, ClassVar

import pytest
import redis
from annotated_types import Ge, MaxLen
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from rapyer_core import (
    AlreadyExists,
    ConstraintError,
    Index,
    Key,
    NotFound,
    Packed,
    RapyerError,
    redis_model,
    ref,
    sync,
)
from rapyer_core.models import model_of
from tests.commits.models import Award, Options, Stats, Unit
from tests.support.rights import as_admin


@redis_model
@dataclass
class Hero:
    name: Key[str]
    other: int = 0
    coins: int = 0
    score: Index[int] = 0
    health: Annotated[int, Ge(0)] = 3
    ratio: float = 1.5
    wealth: Decimal = Decimal("1.10")
    part: Fraction = Fraction(1, 3)
    wave: complex = 1 + 2j
    motto: str = "go"
    blob: bytes = b"ab"
    since: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    played: timedelta = timedelta(hours=1)
    active: bool = False
    award: Award | None = None
    best: int | None = None
    limit: float | None = 2.5
    either: int | str = 3
    stats: Stats = field(default_factory=Stats)
    pet: Unit | None = None
    numbers: list[int] = field(default_factory=lambda: [1, 2, 3])
    few: Annotated[list[int], MaxLen(4)] = field(default_factory=lambda: [1])
    names: list[str] = field(default_factory=list)
    squad: list[Unit] = field(default_factory=lambda: [Unit("a"), Unit("b")])
    grid: list[list[int]] = field(default_factory=lambda: [[1], []])
    meta: dict[str, str] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=lambda: {"a": 1})
    bench: dict[str, Unit] = field(default_factory=dict)
    lists: dict[str, list[int]] = field(default_factory=dict)
    maybe: dict[str, int | None] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    recent: deque[int] = field(default_factory=lambda: deque([1], 3))
    votes: Counter[str] = field(default_factory=Counter)
    sums: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    order: OrderedDict[str, int] = field(default_factory=OrderedDict)
    some_tags: set[str] | None = field(default_factory=lambda: {"a"})
    some_list: list[int] | None = None
    some_dict: dict[str, int] | None = field(default_factory=dict)
    options: Packed[Options] = field(default_factory=Options)
    pair: tuple[int, str] = (1, "x")


NAMES = [info.name for info in fields(Hero) if info.name not in ("name", "other")]
CODECS = model_of(Hero)
TYPES = (Award, Options, Stats, Unit, Counter, OrderedDict, Decimal, Fraction, timedelta, deque)
KNOWN = {made.__name__: made for made in TYPES}


# -- statements: the same text is run on a plain object and on drafts --

KEYS = st.sampled_from(["a", "b", "x.y", ""])
INDEXES = st.integers(-3, 3)
INTS = st.sampled_from([0, 1, 2, 3, -1, -2, 7, 2**63 - 1, -(2**63), 10**20])
FLOATS = st.sampled_from([0.0, 0.1, -0.5, 2.0, 1e300, float("inf")])


def _filled(template: str, **choices: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    names = {"k": KEYS, "j": KEYS, "i": INDEXES, "h": INDEXES, "n": INTS, "m": INTS, "f": FLOATS, **choices}
    used = {name: found for name, found in names.items() if "{" + name + "}" in template}
    return st.fixed_dictionaries(used).map(
        lambda chosen: template.format(**{name: repr(value) for name, value in chosen.items()})
    )


INT_PLACES = [
    *("coins", "score", "health", "stats.wins", "best", "pet.hp", "numbers[{i}]", "few[{i}]", "squad[{i}].hp"),
    *("grid[{h}][{i}]", "counters[{k}]", "bench[{k}].hp", "lists[{k}][{i}]", "maybe[{k}]", "recent[{i}]"),
    *("votes[{k}]", "sums[{k}]", "order[{k}]", "either", "options.sizes[{i}]"),
]
STATEMENTS: dict[str, list[str]] = {
    "int": [
        statement.replace("X", place)
        for place in INT_PLACES
        for statement in (
            "d.X += {n}",
            "d.X += {n}",
            "d.X -= {n}",
            "d.X *= {n}",
            "d.X //= {n}",
            "d.X %= {n}",
            "d.X **= 2; d.X %= 1009",
            "d.X |= {n}",
            "d.X &= {n}",
            "d.X ^= {n}",
            "d.X <<= 2; d.X >>= 1",
            "d.X = {n}",
            "d.X = d.X + {n}",
            "d.X = d.coins - d.X",
            "x = d.X; x += {n}",
            "d.X += d.X",
            "d.X = -d.X",
            "return d.X",
        )
    ],
    "numbers": [
        "d.ratio += {f}",
        "d.ratio -= {n}",
        "d.ratio /= {f}",
        "d.ratio //= {f}",
        "d.ratio %= {f}",
        "d.limit *= {f}",
        "d.limit = d.limit - {f}",
        "d.limit = None",
        "d.limit = {f}",
        "d.wealth += Decimal('0.10')",
        "d.wealth *= {n}",
        "d.wealth //= 3",
        "d.wealth = d.wealth + {n}",
        "d.part += Fraction(1, 7)",
        "d.part /= {n}",
        "d.part **= 2; d.part %= 5",
        "d.wave *= 1j",
        "d.wave -= {n}",
        "d.best = None",
        "d.either = 'text'",
        "d.either += 1",
        "d.active = not d.active",
        "d.active |= True",
        "d.since += timedelta(days={i})",
        "d.since -= timedelta(hours=1)",
        "d.since = d.since + timedelta(1)",
        "d.played += timedelta(1)",
        "d.played *= 2",
        "d.played //= {n}",
        "d.played = d.played / 3",
        "return d.since - d.since",
    ],
    "texts": [
        "d.motto += 'x'",
        "d.motto = d.motto + d.motto[:1]",
        "d.motto = d.motto.upper()",
        "d.motto *= {i}",
        "d.motto %= ()",
        "d.blob += b'x'",
        "d.blob *= {i}",
        "d.award = Award.FIRST",
        "d.award = None",
        "d.pair = ({i}, 'y')",
        "return f'{{d.motto}} {{d.coins:5}}'",
        "return d.motto in 'xgo', len(d.blob), hash(d.coins), bool(d.numbers)",
    ],
    "lists": [
        statement.replace("L", name)
        for name in ("numbers", "few", "grid[{h}]", "lists[{k}]", "some_list")
        for statement in (
            "d.L.append({n})",
            "d.L.append({n})",
            "d.L.extend([{n}, {m}])",
            "d.L += [{n}]",
            "d.L *= {i}",
            "d.L.insert({i}, {n})",
            "return d.L.pop()",
            "return d.L.pop({i})",
            "d.L.remove({n})",
            "del d.L[{i}]",
            "del d.L[{i}:{h}]",
            "d.L[{i}] = {n}",
            "d.L[{i}:{h}] = [{n}, {m}]",
            "d.L[::2] = [{n}]",
            "d.L.sort()",
            "d.L.sort(reverse=True)",
            "d.L.reverse()",
            "d.L.clear()",
            "d.L = [{n}]",
            "d.L = d.L[1:]",
            "d.L = d.L + [{n}]",
            "d.L = [x + 1 for x in d.L]",
            "return {n} in d.L, list(d.L), d.L.count({n}), d.L == [{n}], sum(d.L[:2])",
            "return d.L.index({n})",
            "d.L[{i}], d.L[{h}] = d.L[{h}], d.L[{i}]",
            "for x in d.L: d.coins += x",
        )
    ],
    "records": [
        "d.squad.append(Unit('n', {i}))",
        "d.squad[{i}] = Unit('s')",
        "d.squad[{i}].tags.append('t')",
        "d.squad[{i}].name += '!'",
        "return d.squad.pop({i}).hp",
        "d.squad.insert({i}, Unit('i'))",
        "d.squad.sort(key=lambda u: u.hp)",
        "d.squad.reverse()",
        "del d.squad[{i}]",
        "for u in d.squad: u.hp += 1",
        "d.squad = [u for u in d.squad if u.hp > 5]",
        "u = d.squad[{i}]; u.hp = 1; u.tags = ['q']",
        "d.pet = Unit('p')",
        "d.pet = None",
        "d.pet.tags.append('u')",
        "d.pet = d.squad[{i}]",
        "d.stats = Stats(1, 2, {f})",
        "d.stats.won()",
        "d.stats.average += {f}",
        "d.bench[{k}] = Unit('b')",
        "d.bench[{k}].tags += ['z']",
        "del d.bench[{k}]",
        "d.bench.update(a=Unit('u'))",
        "return d.bench.pop({k}).name",
        "d.bench[{k}] = d.bench[{j}]",
        "d.options.sizes.append({n})",
        "d.options.colour += 'x'",
        "d.options = Options('blue')",
        "return d.pet == Unit('p'), d.stats == Stats()",
    ],
    "dicts": [
        "d.meta[{k}] = 'v'",
        "d.meta[{k}] += 'w'",
        "del d.meta[{k}]",
        "return d.meta.pop({k})",
        "return d.meta.pop({k}, 'none')",
        "return d.meta.popitem()",
        "return d.meta.setdefault({k}, 's')",
        "d.meta.update({{{k}: '1', {j}: '2'}})",
        "d.meta.update(a='1')",
        "d.meta |= {{{k}: 'o'}}",
        "d.meta.clear()",
        "d.meta = {{{k}: 'n'}}",
        "d.meta = dict(d.meta, z='1')",
        "d.meta = d.meta | {{{k}: 'p'}}",
        "return d.meta.get({k}), {k} in d.meta, len(d.meta), sorted(d.meta.items())",
        "return d.meta[{k}]",
        "d.counters = {{}}",
        "d.counters.update(a={n})",
        "d.counters[{k}] = d.counters.get({k}, 0) + 1",
        "return d.counters.setdefault({k}, {n})",
        "d.lists[{k}] = [{n}]",
        "d.lists.setdefault({k}, []).append({n})",
        "del d.lists[{k}]",
        "d.maybe[{k}] = None",
        "d.maybe[{k}] = {n}",
        "d.votes[{k}] += 1",
        "d.votes.update([{k}, {j}])",
        "d.votes += Counter({k})",
        "return d.votes.most_common(1)",
        "d.sums[{k}] += {n}",
        "d.order[{k}] = {n}",
        "d.order.move_to_end({k})",
        "del d.order[{k}]",
        "return d.order.popitem(last=False)",
    ],
    "optional": [
        "d.some_tags = {{'a'}}",
        "d.some_tags = None",
        "d.some_list = [1]",
        "d.some_list = None",
        "d.some_dict = {{}}",
        "d.some_dict = None",
        "d.some_dict[{k}] = {n}",
        "d.some_dict[{k}] += 1",
        "del d.some_dict[{k}]",
        "return d.some_dict.pop({k}, None)",
        "return d.some_dict is None, d.some_list is None, d.some_tags is None",
        "return d.some_dict and len(d.some_dict)",
        "if d.some_list is not None: d.some_list.append({n})",
    ],
    "sets": [
        statement.replace("T", name)
        for name in ("tags", "some_tags")
        for statement in (
            "d.T.add({k})",
            "d.T.discard({k})",
            "d.T.remove({k})",
            "d.T |= {{{k}, {j}}}",
            "d.T &= {{{k}, {j}}}",
            "d.T -= {{{k}}}",
            "d.T ^= {{{k}}}",
            "d.T |= [{k}]",
            "d.T.update([{k}], [{j}])",
            "d.T.difference_update([{k}])",
            "d.T.clear()",
            "d.T = {{{k}}}",
            "d.T = d.T | {{{k}}}",
            "return {k} in d.T, len(d.T), sorted(d.T), d.T <= {{{k}}}, d.T - {{{k}}}, d.T == {{{k}}}",
        )
    ],
    "deques": [
        "d.recent.append({n})",
        "d.recent.appendleft({n})",
        "return d.recent.pop()",
        "d.recent.rotate(1)",
        "d.recent[{i}] = {n}",
        "d.recent.extend([{n}, {m}])",
        "d.recent += [{n}]",
        "d.recent.clear()",
        "d.recent = deque([{n}])",
    ],
}
ONE = st.one_of(*[st.sampled_from(group).flatmap(_filled) for group in STATEMENTS.values()])
BLOCK = st.lists(ONE, min_size=1, max_size=4)


def run(statement: str, d: Any) -> tuple[str, Any]:
    """What the statement does to an object: ("returned", a plain copy of the value) or ("raised", the error)."""
    space: dict[str, Any] = dict(KNOWN)
    exec(f"def do(d):\n    {statement}", space)  # the texts above
    try:
        return "returned", copy.deepcopy(space["do"](d))
    except Exception as error:
        return "raised", error


def same(ours: tuple[str, Any], pythons: tuple[str, Any]) -> bool:
    """Whether two outcomes are the same, ours perhaps with a better error that is Python's too."""
    if ours[0] != pythons[0]:
        return False
    return isinstance(ours[1], type(pythons[1])) if ours[0] == "raised" else bool(repr(ours[1]) == repr(pythons[1]))


# -- functions of one field, and what each does to a plain object --

S = sync
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "increment": lambda p, path, n, session: S.increment(p, path, n, session=session),
    "assign": lambda p, path, n, session: S.assign(p, path, n, session=session),
    "modify": lambda p, path, n, session: S.modify(p, path, lambda value: value * 3 + n, session=session),
    "append": lambda p, path, n, session: S.append(p, path, n, session=session),
    "extend": lambda p, path, n, session: S.extend(p, path, [n, n], session=session),
    "insert_at": lambda p, path, n, session: S.insert_at(p, path, 1, n, session=session),
    "pop": lambda p, path, n, session: S.pop(p, path, session=session),
    "remove": lambda p, path, n, session: S.remove(p, path, n, session=session),
    "clear": lambda p, path, n, session: S.clear(p, path, session=session),
    "put": lambda p, path, n, session: S.put(p, path, "a", n, session=session),
    "merge": lambda p, path, n, session: S.merge(p, path, {"a": n, "b": n}, session=session),
    "pop key": lambda p, path, n, session: S.pop(p, path, "a", session=session),
    "remove key": lambda p, path, n, session: S.remove(p, path, "a", session=session),
    "add": lambda p, path, n, session: S.add(p, path, "a", "b", session=session),
    "discard": lambda p, path, n, session: S.discard(p, path, "a", session=session),
    "remove member": lambda p, path, n, session: S.remove(p, path, "b", session=session),
}
IN_PYTHON = {
    "increment": "d.X += {n}; return d.X",
    "assign": "d.X = {n}",
    "modify": "d.X = d.X * 3 + {n}; return d.X",
    "append": "d.X.append({n})",
    "extend": "d.X.extend([{n}, {n}])",
    "insert_at": "d.X.insert(1, {n})",
    "pop": "return d.X.pop()",
    "remove": "d.X.remove({n})",
    "clear": "d.X.clear()",
    "put": "d.X['a'] = {n}",
    "merge": "d.X['a'] = {n}; d.X['b'] = {n}",
    "pop key": "return d.X.pop('a')",
    "remove key": "del d.X['a']",
    "add": "d.X |= {{'a', 'b'}}",
    "discard": "d.X -= {{'a'}}",
    "remove member": "d.X.remove('b')",
}
NUMBERS = ["coins", "score", "health", "stats.wins", "best", "pet.hp", "numbers.0", "few.1", "squad.1.hp", "grid.0.0"]
ENTRIES = ["counters.a", "bench.a.hp", "lists.a.0", "maybe.a", "order.a"]
PATHS = {
    **dict.fromkeys(("increment", "assign", "modify"), NUMBERS + ENTRIES),
    **{
        name: ["numbers", "few", "grid.0", "lists.a", "recent"]
        for name in ("append", "extend", "insert_at", "pop", "remove", "clear")
    },
    **{name: ["counters", "maybe", "order", "sums", "votes"] for name in ("put", "merge", "pop key", "remove key")},
    **{name: ["tags"] for name in ("add", "discard", "remove member")},
}
CALLS = st.sampled_from(sorted(FUNCTIONS)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(PATHS[name]), INTS)
)


def as_code(path: str) -> str:
    """``squad.1.hp`` -> ``squad[1].hp``, ``counters.a`` -> ``counters['a']``."""
    first, *rest = path.split(".")
    code = first
    for segment in rest:
        is_key = first in ("counters", "bench", "lists", "maybe", "order") and "[" not in code
        code += f"[{segment}]" if segment.isdigit() else f"[{segment!r}]" if is_key else f".{segment}"
    return code


PHASES = (Phase.generate, Phase.shrink)
"""Not to explain: that traces every line, for a long time."""


class Broken(Exception):
    """Raised in blocks."""


class Machine(RuleBasedStateMachine):
    """The plain object, and the two stored ones. known: what the local instances are."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.client = redis.Redis.from_url(as_admin(self.url))
        self.client.flushall()
        self.stack = contextlib.ExitStack()
        self.session = self.stack.enter_context(sync.open_session(self.url))
        self.plain: Hero | None = Hero("plain")
        self.locals = [Hero("a"), Hero("b")]
        sync.save_many(self.locals, session=self.session)

    def teardown(self) -> None:
        self.stack.close()
        self.client.close()

    # -- what must be so after every step --

    @invariant()
    def stored_is_what_the_plain_object_would_be_stored_as(self) -> None:
        for local in self.locals:
            held: Any = self.client.hgetall(f"Hero:{local.name}")
            if self.plain is None:
                assert held == {}
                continue
            want = {**CODECS.mapper.dump(self.plain), b"name": local.name.encode(), b"~": b"1"}
            _compare("stored", held, want)
            _compare("local", CODECS.mapper.dump(local), want)
            assert self.client.zscore("~Hero:index:score", local.name) == float(self.plain.score)
        names: Any = self.client.keys("*")
        assert not [key for key in names if b"lock" in key or b"token" in key]

    # -- steps --

    @precondition(lambda self: self.plain is not None)
    @rule(block=BLOCK, door=st.sampled_from(["pipeline", "transaction", "lock"]), breaks=st.sampled_from([0, 0, 0, 1]))
    def a_block(self, block: list[str], door: str, breaks: int) -> None:
        """The statements in a block: each does to the draft what it does to a plain object; then all or nothing."""
        assert self.plain is not None
        python, outcomes = copy.deepcopy(self.plain), []
        for statement in block:
            # A statement that fails may have changed something before it did, in Python and in the block.
            outcomes.append(run(statement, python))
            python = _as_stored(python)
        allowed = _keeps_rules(python)
        for local, disturbed in zip(self.locals, (False, True), strict=True):
            before = copy.deepcopy(local)
            try:
                with self._door(door, local) as d:
                    if disturbed:
                        sync.increment(ref(Hero, local.name), Hero.other, 1, session=self.session)
                    checked = copy.deepcopy(self.plain)
                    for statement, outcome in zip(block, outcomes, strict=True):
                        ours = run(statement, d)
                        if isinstance(ours[1], ConstraintError) and outcome[0] == "returned":
                            assert not allowed or not _keeps_rules_meanwhile(block, self.plain)
                            raise ours[1]
                        note(f"{local.name}: {statement} -> {ours}, Python: {outcome}")
                        assert same(ours, outcome), (statement, ours, outcome)
                        run(statement, checked)
                        checked = _as_stored(checked)
                        if disturbed:
                            for name in NAMES:
                                assert getattr(d, name) == getattr(checked, name), (statement, name)
                    if breaks:
                        raise Broken
            except Broken:
                assert local == before
            except ConstraintError:
                assert not allowed or not _keeps_rules_meanwhile(block, self.plain)
                assert local == before
            else:
                assert allowed
        if allowed and not breaks and _keeps_rules_meanwhile(block, self.plain):
            self.plain = python

    @contextlib.contextmanager
    def _door(self, door: str, local: Hero) -> Iterator[Any]:
        if door == "pipeline":
            with sync.pipeline(local, session=self.session) as d:
                yield d
        elif door == "lock":
            with sync.lock(local, session=self.session) as d:
                yield d
        else:
            with sync.transaction(session=self.session) as tx:
                d = tx.get(Hero, local.name)
                yield d
            sync.reload(local, session=self.session)

    @precondition(lambda self: self.plain is not None)
    @rule(call=CALLS)
    def a_function(self, call: tuple[str, str, int]) -> None:
        """A function of one field: Python's result, or an error where Python has one, or the rule of a field."""
        assert self.plain is not None
        name, path, number = call
        python = copy.deepcopy(self.plain)
        statement = IN_PYTHON[name].replace("X", as_code(path)).format(n=number)
        outcome = run(statement, python)
        allowed = outcome[0] == "returned" and _keeps_rules(python)
        for local in self.locals:
            before = copy.deepcopy(local)
            if allowed:
                assert FUNCTIONS[name](local, path, number, session=self.session) == outcome[1]
                continue
            # What the function of modify raises, it raises.
            with pytest.raises((TypeError, RapyerError) if name == "modify" else RapyerError) as caught:
                FUNCTIONS[name](local, path, number, session=self.session)
            note(f"{statement} -> {caught.value!r}")
            assert local == before
        if allowed:
            self.plain = python

    @precondition(lambda self: self.plain is not None)
    @rule(block=BLOCK, many=st.booleans())
    def save_of_changed_objects(self, block: list[str], many: bool) -> None:
        """Statements on the local objects themselves, and a save."""
        assert self.plain is not None
        python = copy.deepcopy(self.plain)
        for statement in block:
            run(statement, python)
            for local in self.locals:
                run(statement, local)
        try:
            if many:
                sync.save_many(self.locals, session=self.session)
            else:
                for local in self.locals:
                    sync.save(local, session=self.session)
        except ConstraintError:
            assert not _keeps_rules(python)
            for local in self.locals:
                sync.reload(local, session=self.session)
        else:
            self.plain = python

    @rule(again=st.booleans())
    def delete_and_make_anew(self, again: bool) -> None:
        """What is deleted is nowhere; what is made anew is as new, and nothing of before is in it."""
        for local in self.locals:
            assert sync.delete(local, session=self.session) is (self.plain is not None)
            assert not sync.exists(Hero, local.name, session=self.session)
        self.plain = None
        if again:
            self._make()

    @precondition(lambda self: self.plain is None)
    @rule(call=CALLS)
    def nothing_can_be_done_to_what_is_not_there(self, call: tuple[str, str, int]) -> None:
        name, path, number = call
        for local in self.locals:
            with pytest.raises(RapyerError) as caught:
                FUNCTIONS[name](ref(Hero, local.name), path, number, session=self.session)
            assert isinstance(caught.value, NotFound)
            for door in ("pipeline", "transaction", "lock"):
                with pytest.raises(NotFound), self._door(door, local) as d:
                    d.coins += 1

    @precondition(lambda self: self.plain is None)
    @rule()
    def make(self) -> None:
        self._make()

    def _make(self) -> None:
        self.plain = Hero("plain")
        self.locals = [Hero("a"), Hero("b")]
        sync.insert(self.locals[0], session=self.session)
        made, created = sync.get_or_create(self.locals[1], session=self.session)
        assert created
        self.locals[1] = made

    @precondition(lambda self: self.plain is not None)
    @rule()
    def what_is_there_is_not_made_again(self) -> None:
        for position, local in enumerate(self.locals):
            with pytest.raises(AlreadyExists):
                sync.insert(Hero(local.name, coins=99), session=self.session)
            found, created = sync.get_or_create(Hero(local.name, coins=99), session=self.session)
            assert not created
            self.locals[position] = found

    @precondition(lambda self: self.plain is not None)
    @rule(block=BLOCK)
    def replaced_whole(self, block: list[str]) -> None:
        """A save of an object that was never loaded leaves nothing of the former one."""
        fresh = [Hero("plain"), Hero("a"), Hero("b")]
        for statement in block:
            for hero in fresh:
                run(statement, hero)
        if _keeps_rules(fresh[0]):
            sync.save_many(fresh[1:], session=self.session)
            self.plain, self.locals = fresh[0], fresh[1:]


def _compare(what: str, found: dict[bytes, bytes], want: dict[bytes, bytes]) -> None:
    wrong, missing = _but_other(found) - _but_other(want), _but_other(want) - _but_other(found)
    assert (sorted(wrong), sorted(missing)) == ([], []), f"{what}: {sorted(wrong)} instead of {sorted(missing)}"


def _but_other(stored: dict[bytes, bytes]) -> set[tuple[bytes, bytes]]:
    return {(name, value) for name, value in stored.items() if name not in (b"other", b"~")}


def _as_stored(hero: Hero) -> Hero:
    """The object without aliases: what it holds twice is two values as soon as it is assigned in a block."""
    made: Hero = CODECS.mapper.load(CODECS.mapper.dump(hero))
    return made


def _keeps_rules(hero: Hero) -> bool:
    return hero.health >= 0 and len(hero.few) <= 4


def _keeps_rules_meanwhile(block: list[str], start: Hero) -> bool:
    """Whether no statement gives a value that can never be right, in which case it is refused at once."""
    hero = copy.deepcopy(start)
    for statement in block:
        run(statement, hero)
        hero = _as_stored(hero)
        if not _keeps_rules(hero):
            return False
    return True


def play(url: str, examples: int, steps: int, always_the_same: bool = True) -> None:
    """Play the machine on an empty server."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=always_the_same,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
        phases=PHASES,
    )
    run_state_machine_as_test(type("Played", (Machine,), {"url": url}), settings=chosen)


@pytest.mark.one_server
def test_one_client_and_plain_objects_agree(url: str) -> None:
    play(url, examples=50, steps=12)
