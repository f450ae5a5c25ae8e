"""Random operations through several handles, beside a plain Python object that has them done to it.

After each: the stored object is the plain one; and a handle without unsaved changes remembers exactly what it shows,
because whatever it remembers and does not show would be written back by its next save.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

import rapyer_core as rc
from rapyer_core.models import model_of
from rapyer_core.states import state_of
from tests.objects.models import Box, Hero

pytestmark = pytest.mark.one_server

Step = tuple[Callable[[Any], Awaitable[Any]], Callable[[Box], Any]]
untyped: Any = rc


def _set(obj: Any, name: str, value: Any) -> None:
    setattr(obj, name, value)


def _add(obj: Any, name: str, by: Any) -> Any:
    setattr(obj, name, getattr(obj, name) + by)
    return getattr(obj, name)


def scalars(rng: random.Random) -> Step:
    name = rng.choice(["number", "real", "money", "maybe"])
    value: Any = {"real": rng.choice([0.5, 1e300]), "money": Decimal("0.1")}.get(
        name, rng.choice([1, -3, 2**63, -(2**64)])
    )
    match rng.choice(["increment", "assign", "modify", "text", "either", "packed"]):
        case "increment":
            return lambda box: untyped.increment(box, name, value), lambda box: _add(box, name, value)
        case "assign":
            chosen = rng.choice([value, None]) if name == "maybe" else value
            return lambda box: untyped.assign(box, name, chosen), lambda box: _set(box, name, chosen)
        case "modify":
            return lambda box: untyped.modify(box, name, lambda old: old + old), lambda box: _add(
                box, name, getattr(box, name)
            )
        case "text":
            return lambda box: rc.modify(box, Box.text, lambda old: old + "x"), lambda box: _add(box, "text", "x")
        case "either":
            either = rng.choice([5, "x", ""])
            return lambda box: rc.assign(box, Box.either, either), lambda box: _set(box, "either", either)
    numbers = [rng.randint(0, 3) for _ in range(rng.randint(0, 3))]
    return lambda box: rc.assign(box, Box.packed, numbers), lambda box: _set(box, "packed", list(numbers))


def lists(rng: random.Random) -> Step:
    name = rng.choice(["items", "list_or_none", "heroes"])
    value: Any = {"items": rng.choice("abc"), "list_or_none": rng.randint(0, 2)}.get(name) or Hero(rng.choice("xy"), 1)
    if name == "list_or_none" and not isinstance(value, int):
        value = 0
    index = rng.randint(-2, 3)
    path = name

    def own() -> Any:
        return copy.deepcopy(value)

    match rng.choice(
        ["append", "append", "extend", "insert_at", "pop", "pop at", "remove", "clear", "assign", "element"]
    ):
        case "append":
            return lambda box: untyped.append(box, path, value), lambda box: getattr(box, name).append(own())
        case "extend":
            return lambda box: untyped.extend(box, path, [value, value]), lambda box: getattr(box, name).extend(
                [own(), own()]
            )
        case "insert_at":
            return lambda box: untyped.insert_at(box, path, index, value), lambda box: getattr(box, name).insert(
                index, own()
            )
        case "pop":
            return lambda box: untyped.pop(box, path), lambda box: getattr(box, name).pop()
        case "pop at":
            return lambda box: untyped.pop(box, path, index), lambda box: getattr(box, name).pop(index)
        case "remove":
            return lambda box: untyped.remove(box, path, value), lambda box: getattr(box, name).remove(value)
        case "clear":
            return lambda box: untyped.clear(box, path), lambda box: getattr(box, name).clear()
        case "assign":
            return lambda box: untyped.assign(box, path, [value]), lambda box: _set(box, name, [own()])
    place = abs(index)
    return lambda box: untyped.assign(box, f"{name}.{place}", value), lambda box: getattr(box, name).__setitem__(
        place, own()
    )


def dicts(rng: random.Random) -> Step:
    name = rng.choice(["counts", "team", "nested", "dict_or_none"])
    key = rng.choice(["a", "b", "c.d", ""])
    number = rng.randint(0, 5)
    value: Any = {"team": Hero("h", number), "nested": [number]}.get(name, number)

    def own() -> Any:
        return copy.deepcopy(value)

    match rng.choice(["put", "put", "merge", "pop", "remove", "clear", "deep", "assign"]):
        case "put":
            return lambda box: untyped.put(box, name, key, value), lambda box: getattr(box, name).__setitem__(
                key, own()
            )
        case "merge":
            return (
                lambda box: untyped.merge(box, name, {key: value, "z": value}),
                lambda box: getattr(box, name).update({key: own(), "z": own()}),
            )
        case "pop":
            return lambda box: untyped.pop(box, name, key), lambda box: getattr(box, name).pop(key)
        case "remove":
            return lambda box: untyped.remove(box, name, key), lambda box: getattr(box, name).__delitem__(key)
        case "clear":
            return lambda box: untyped.clear(box, name), lambda box: getattr(box, name).clear()
        case "assign":
            return lambda box: untyped.assign(box, name, {key: value}), lambda box: _set(box, name, {key: own()})
    path: Any = getattr(Box, name)
    if name == "team":
        return lambda box: untyped.increment(box, path[key].hp, 2), lambda box: _add(box.team[key], "hp", 2)
    if name == "nested":
        return lambda box: untyped.append(box, path[key], number), lambda box: box.nested[key].append(number)

    def plus(box: Any) -> Any:
        getattr(box, name)[key] += 2
        return getattr(box, name)[key]

    return lambda box: untyped.increment(box, rc.some(path)[key], 2), plus


def others(rng: random.Random) -> Step:
    number = rng.randint(0, 4)
    match rng.choice(["add", "discard", "remove", "clear", "hero", "no hero", "hp", "name", "none", "some"]):
        case "add":
            return lambda box: rc.add(box, Box.members, number, 9), lambda box: box.members.update({number, 9})
        case "discard":
            return lambda box: rc.discard(box, Box.members, number), lambda box: box.members.discard(number)
        case "remove":
            return lambda box: rc.remove(box, Box.members, number), lambda box: box.members.remove(number)
        case "clear":
            return lambda box: rc.clear(box, Box.members), lambda box: box.members.clear()
        case "hero":
            return lambda box: rc.assign(box, Box.hero, Hero("n", number)), lambda box: _set(
                box, "hero", Hero("n", number)
            )
        case "no hero":
            return lambda box: rc.assign(box, Box.hero, None), lambda box: _set(box, "hero", None)
        case "hp":
            return lambda box: untyped.increment(box, "hero.hp", 1), lambda box: _add(box.hero, "hp", 1)
        case "name":
            return lambda box: untyped.assign(box, "hero.name", "z"), lambda box: _set(_some(box.hero), "name", "z")
        case "none":
            return lambda box: untyped.assign(box, "dict_or_none", None), lambda box: _set(box, "dict_or_none", None)
    return lambda box: untyped.assign(box, "list_or_none", [1]), lambda box: _set(box, "list_or_none", [1])


def _some(value: Any) -> Any:
    if value is None:
        raise AttributeError
    return value


def a_box() -> Box:
    """Something in every place."""
    return Box(
        "b",
        items=["a"],
        heroes=[Hero("x")],
        counts={"a": 1},
        team={"a": Hero("t")},
        hero=Hero("h"),
        list_or_none=[1],
        dict_or_none={},
    )


FAILS = (LookupError, TypeError, ValueError, AttributeError, OverflowError)


async def both(step: Step, box: Any, plain: Box) -> None:
    """Do it to the stored and to the plain object; both succeed with one result, or both refuse."""
    before = copy.deepcopy(plain)
    try:
        wanted = step[1](plain)
    except FAILS:
        vars(plain).update(vars(before))
        # A TypeError: what the function given to modify raises.
        with pytest.raises((rc.RapyerError, TypeError)):
            await step[0](box)
    else:
        result = await step[0](box)
        assert result is None or result == wanted


def remembers_what_it_shows(box: Box) -> None:
    mapper = model_of(Box).mapper
    diff = mapper.diff(state_of(box).stored or {}, mapper.dump(box))
    assert (diff.put, diff.drop) == ({}, [])


@pytest.mark.parametrize("seed", range(40))
async def test_random_operations_through_three_handles(seed: int) -> None:
    rng = random.Random(seed)
    plain = Box(
        "b", items=["a"], heroes=[Hero("x")], counts={"a": 1}, hero=Hero("h"), list_or_none=[1], dict_or_none={}
    )
    await rc.save(copy.deepcopy(plain))
    handles: list[Any] = [await rc.get(Box, "b"), await rc.get(Box, "b"), rc.ref(Box, "b")]
    for _ in range(60):
        box = rng.choice(handles)
        await both(rng.choice([scalars, lists, dicts, others])(rng), box, plain)
        assert await rc.get(Box, "b") == plain
        for handle in handles[:2]:
            remembers_what_it_shows(handle)
    for handle in handles[:2]:
        await rc.save(handle)
        assert await rc.get(Box, "b") == plain
        await rc.reload(handle)
        assert handle == plain


@pytest.mark.parametrize("seed", range(40))
async def test_random_saves_through_two_handles(seed: int) -> None:
    """Each save either brings exactly the local changes to what is stored, or is a Conflict and changes nothing."""
    rng = random.Random(seed)
    await rc.save(
        Box("b", items=["a"], counts={"a": 1}, hero=Hero("h"), list_or_none=[1], dict_or_none={}, team={"a": Hero("t")})
    )
    handles = [await rc.get(Box, "b"), await rc.get(Box, "b")]
    conflicts = 0
    for _ in range(40):
        box = rng.choice(handles)
        steps = [rng.choice([scalars, lists, dicts, others])(rng)[1] for _ in range(rng.randint(1, 3))]
        for step in steps:
            kept = copy.deepcopy(box)
            try:
                step(box)
            except FAILS:
                vars(box).update(vars(kept))
        before = await rc.get(Box, "b")
        overwrite = rng.random() < 0.2
        try:
            await rc.save(box, overwrite=overwrite)
        except rc.Conflict:
            assert not overwrite
            conflicts += 1
            assert await rc.get(Box, "b") == before
            await rc.reload(box)
        remembers_what_it_shows(box)
        is_one_of_both(before, box, await rc.get(Box, "b"))
    assert conflicts


def is_one_of_both(before: Box, ours: Box, after: Box) -> None:
    """What is stored after a save came from the handle or was there before: nothing is mixed or made up."""
    for name in ("number", "real", "money", "maybe", "text", "either", "packed", "items", "heroes", "list_or_none"):
        assert getattr(after, name) in (getattr(ours, name), getattr(before, name))
    assert after.members <= ours.members | before.members
    for name in ("counts", "nested", "dict_or_none"):
        for key, value in (getattr(after, name) or {}).items():
            assert value in ((getattr(ours, name) or {}).get(key), (getattr(before, name) or {}).get(key))
