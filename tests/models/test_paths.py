"""Field paths and conditions: what a class attribute is, and what is refused."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest

from rapyer_core import PathError, asc, contains, desc, in_, is_none, not_, paths, redis_model, some
from rapyer_core.expressions import Condition, Order, as_condition


@dataclass
class Stats:
    wins: int = 0


@redis_model
@dataclass
class Hero:
    name: str = "h"
    hp: int = 10
    active: bool = True
    stats: Stats = field(default_factory=Stats)
    notes: dict[str, str] = field(default_factory=dict)
    squad: list[Stats] = field(default_factory=list)
    guild: Stats | None = None
    tags: set[str] = field(default_factory=set)


H = paths(Hero)


def holds(condition: Any, hero: Hero) -> bool:
    return as_condition(condition).matches(hero)


def test_paths_lead_through_attributes_keys_and_indexes() -> None:
    assert repr(Hero.stats.wins) == "Hero.stats.wins"
    assert repr(Hero.notes["a b"]) == "Hero.notes['a b']"
    assert repr(Hero.squad[2].wins) == "Hero.squad[2].wins"
    assert repr(H.guild.wins) == "Hero.guild.wins"  # type: ignore[union-attr]  # a path
    assert repr(some(H.guild).wins) == "Hero.guild.wins"


@pytest.mark.parametrize(
    "wrong",
    [lambda: Hero.stats.losses, lambda: Hero.hp.x, lambda: Hero.name["k"], lambda: Hero.squad["x"], lambda: H.nothing],  # type: ignore[attr-defined, call-overload, index]  # that is the point
)
def test_a_place_that_does_not_exist_is_an_error_at_once(wrong: Any) -> None:
    with pytest.raises(PathError):
        wrong()


def test_paths_cannot_be_assigned_or_iterated_or_asked_for_truth() -> None:
    with pytest.raises(TypeError, match="assign"):
        Hero.stats.wins = 3
    with pytest.raises(TypeError):
        iter(H.notes)
    with pytest.raises(TypeError, match="truth"):
        bool(H.hp)
    with pytest.raises(TypeError, match="contains"):
        assert "x" in H.tags


def test_conditions_have_no_truth_so_that_and_and_chains_are_caught() -> None:
    with pytest.raises(TypeError, match="combine"):
        assert H.hp > 1 and H.hp < 5  # noqa: PT018  # the `and` is the point
    with pytest.raises(TypeError, match="combine"):
        assert 1 < H.hp < 5


def test_conditions_say_what_python_says() -> None:
    hero = Hero("x", 7, True, Stats(2), {"k": "v"}, [Stats(5)], None, {"a"})
    true: list[Any] = [
        H.hp == 7, H.hp != 8, H.hp >= 7, H.hp < 8, H.stats.wins == 2, H.notes["k"] == "v", H.squad[0].wins > 4,
        (H.hp > 1) & (H.hp < 9), (H.hp > 9) | (H.name == "x"), in_(H.hp, [1, 7]), contains(H.tags, "a"),
        contains(H.notes, "k"), is_none(H.guild), not_(H.hp == 1), H.active, contains(H.name, "x"),
        H.notes["missing"] != "v", H.stats == Stats(2),
    ]  # fmt: skip
    for condition in true:
        assert holds(condition, hero), condition
        assert not holds(~as_condition(condition), hero), condition
    false: list[Any] = [some(H.guild).wins > 0, H.squad[3].wins == 1, H.notes["missing"] == "v", H.hp > "a"]  # type: ignore[operator]  # an order that does not exist
    for condition in false:
        assert not holds(condition, hero), condition


def test_paths_are_values() -> None:
    path = Hero.stats.wins
    for made in (copy.copy(path), copy.deepcopy(path), pickle.loads(pickle.dumps(path))):
        assert repr(made) == repr(path)
        assert hash(made) == hash(path)


def test_a_plain_value_is_no_condition_and_no_path() -> None:
    with pytest.raises(TypeError, match="condition"):
        as_condition(Hero().hp > 3)
    with pytest.raises(TypeError, match="path"):
        desc(3)
    with pytest.raises(TypeError, match="not with"):
        assert isinstance(H.hp == H.stats.wins, Condition)
    with pytest.raises(TypeError, match="compare it"):
        as_condition(H.hp)


def test_orders() -> None:
    assert isinstance(asc(H.hp), Order)
    assert desc(H.hp).descending
