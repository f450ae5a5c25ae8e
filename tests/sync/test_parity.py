"""Both doors are the same: names, parameters, types; and the made modules are what `make sync` would make now."""

from __future__ import annotations

import importlib
import inspect
import re
import types
from typing import Any

import pytest

import rapyer_core
import rapyer_core.sync
from rapyer_core.groups import Scheduler
from rapyer_core.watches import Watcher, Watches
from tools import make_sync

MODULES = ("repository", "sessions", "transactions", "waiting", "watches")


def public_names(module: types.ModuleType) -> set[str]:
    return {name for name in module.__all__ if not name.startswith("__")}


def own_members(module: types.ModuleType) -> dict[str, Any]:
    """The public functions and classes that are defined there, or handed on from there."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and (value.__module__ == module.__name__ or name in getattr(module, "__all__", ()))
    }


def methods(cls: type[Any]) -> dict[str, Any]:
    """The public methods, and how it is entered and left, under the blocking names."""
    found = {}
    for name, value in vars(cls).items():
        name = {"__aenter__": "__enter__", "__aexit__": "__exit__"}.get(name, name)
        if inspect.isfunction(value) and (not name.startswith("_") or name in ("__init__", "__enter__", "__exit__")):
            found[name] = value
    return found


def parameters(function: Any) -> list[tuple[str, Any, Any, str]]:
    """Names, kinds, defaults and types; who waits for a result is left out of the types."""
    return [
        (each.name, each.kind, each.default, re.sub(r"Awaitable\[(\w+)\]", r"\1", str(each.annotation)))
        for each in inspect.signature(function).parameters.values()
    ]


def pairs() -> list[Any]:
    found = []
    for module in MODULES:
        there = importlib.import_module(f"rapyer_core.{module}")
        here = importlib.import_module(f"rapyer_core.sync.{module}")
        for name, value in own_members(there).items():
            found.append(pytest.param(value, getattr(here, name, None), id=f"{module}.{name}"))
    return found


def test_both_packages_export_the_same_names() -> None:
    assert public_names(rapyer_core.sync) == public_names(rapyer_core)


def test_nothing_that_waits_is_shared() -> None:
    waiting = {
        name for name in public_names(rapyer_core) if getattr(rapyer_core, name) is not getattr(rapyer_core.sync, name)
    }
    defined = {name for module in MODULES[:3] for name in own_members(importlib.import_module(f"rapyer_core.{module}"))}
    # `explain` sends nothing, but asks for the session; the base class has methods that wait.
    assert waiting == (defined | {"AtomicRedisModel"}) & public_names(rapyer_core)


def test_all_else_is_the_very_same_object() -> None:
    for name in ("NotFound", "Conflict", "redis_model", "Key", "Index", "ref", "paths", "Retry", "register_codec"):
        assert getattr(rapyer_core.sync, name) is getattr(rapyer_core, name)


@pytest.mark.parametrize(("there", "here"), pairs())
def test_the_same_parameters(there: Any, here: Any) -> None:
    assert here is not None
    if not inspect.isclass(there):
        assert parameters(here) == parameters(there)
        return
    # What it is to its groups: threads have none.
    names = methods(there).keys() - (vars(Scheduler).keys() - {"__init__"} if there is Watches else set())
    assert methods(here).keys() == names
    for name in names:
        method = methods(there)[name]
        if name == "__init__" and there is Watcher:
            continue  # how a watcher is made is a matter inside
        assert parameters(methods(here)[name]) == parameters(method), name


@pytest.mark.parametrize("module", ["repository", "sessions", "transactions"])
def test_no_blocking_function_is_a_coroutine(module: str) -> None:
    members = own_members(importlib.import_module(f"rapyer_core.sync.{module}"))
    functions = [value for value in members.values() if inspect.isfunction(value)]
    for cls in filter(inspect.isclass, members.values()):
        functions += methods(cls).values()
    assert functions
    for function in functions:
        assert not inspect.iscoroutinefunction(function)
        assert not inspect.isasyncgenfunction(function)


def test_the_made_modules_are_current() -> None:
    """After a change of an asyncio module: `make sync`."""
    assert make_sync.stale() == []
