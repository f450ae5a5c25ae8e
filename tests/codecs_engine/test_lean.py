"""Lean dataclasses behave as those of the standard library, and generate nothing before they are used."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import threading
import types
import weakref
from typing import Any

import pytest

from rapyer_codecs.lean import dataclass, field


@dataclass(frozen=True, slots=True)
class Point:
    """A point."""

    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list, compare=False)


@dataclass(slots=True)
class Counter:
    count: int
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        self.twice = 2 * self.count


@dataclass(eq=False, slots=True, weakref_slot=True)
class Thing:
    name: str


@dataclass(frozen=True)
class Base:
    a: int = 1


@dataclass(frozen=True)
class Heir(Base):
    b: int = 2


def test_values() -> None:
    assert Point(1) == Point(1, 2, ["not compared"])
    assert Point(1) != Point(2)
    assert Point(1) != object()
    assert hash(Point(1)) == hash(Point(1, y=2))
    assert repr(Point(1)) == "Point(x=1, y=2, tags=[])"
    assert Point(1).tags is not Point(1).tags


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Point(1).x = 3  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        delattr(Point(1), "x")
    assert not hasattr(Point(1), "__dict__")


def test_mutable_ones_have_no_hash_unless_they_are_compared_by_identity() -> None:
    with pytest.raises(TypeError):
        hash(Counter(1))
    assert Counter(2).twice == 4
    assert Thing("a") != Thing("a")
    assert len({Thing("a"), Thing("a")}) == 2
    thing = Thing("a")
    assert weakref.ref(thing)() is thing


def test_heirs() -> None:
    assert Heir(3, 4) == Heir(a=3, b=4)
    assert Heir() != Base()
    assert repr(Heir()) == "Heir(a=1, b=2)"


@pytest.mark.parametrize("value", [Point(1, 3, ["t"]), Counter(5), Heir(7)])
def test_copies_and_pickles(value: Any) -> None:
    assert copy.copy(value) == value
    assert copy.deepcopy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value


def test_the_functions_of_dataclasses() -> None:
    assert dataclasses.replace(Point(1), y=5) == Point(1, 5)
    assert dataclasses.asdict(Heir()) == {"a": 1, "b": 2}
    assert [known.name for known in dataclasses.fields(Counter)] == ["count", "twice"]
    assert str(inspect.signature(Base)) == "(a: 'int' = 1) -> None"
    match Point(1):
        case Point(x, y):
            assert (x, y) == (1, 2)


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        Point(1, z=3)  # type: ignore[call-arg]


def test_methods_are_generated_when_they_are_needed() -> None:
    @dataclass(frozen=True)
    class Fresh:
        a: int

    assert not isinstance(vars(Fresh)["__init__"], types.FunctionType)
    assert Fresh(1) == Fresh(1)
    assert isinstance(vars(Fresh)["__init__"], types.FunctionType)
    assert isinstance(vars(Fresh)["__eq__"], types.FunctionType)
    assert not isinstance(vars(Fresh)["__hash__"], types.FunctionType)


def test_the_first_use_by_many_threads() -> None:
    @dataclass(frozen=True)
    class Fresh:
        a: int

    barrier = threading.Barrier(16)
    made: list[Fresh] = []

    def make() -> None:
        barrier.wait()
        made.append(Fresh(1))

    threads = [threading.Thread(target=make) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [Fresh(1)] * 16


HEAVY = ("cattrs", "attr", "attrs", "typing_extensions", "zoneinfo", "numpy", "pydantic", "msgspec", "dis")


def test_importing_the_package_imports_nothing_heavy_that_may_not_be_needed() -> None:
    code = (
        "import redis, redis.asyncio, sys; before = set(sys.modules); import rapyer_core; "
        f"print(*(set(sys.modules) - before) & set({HEAVY!r}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
