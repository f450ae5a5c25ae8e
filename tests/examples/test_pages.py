"""The documentation says everything there is: each public name in the reference, each error in its tree."""

from __future__ import annotations

import builtins
import os
import re
import subprocess
import sys
from pathlib import Path

import redis

import rapyer_core
from rapyer_core import RapyerError

DOCS = Path(__file__).parents[2] / "docs"
TREE = re.compile(r"^(?P<lead>[│├└─ ]*)(?P<name>\w+) *(?P<bases>[\w, ]*)$")


def test_every_public_name_is_in_the_reference_once() -> None:
    named = re.findall(r"^::: rapyer_core\.(\w+)$", (DOCS / "reference.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(rapyer_core.__all__)


def test_the_tree_of_errors_is_that_of_the_classes() -> None:
    drawing = (DOCS / "errors.md").read_text().partition("```text\nRapyerError\n")[2].partition("```")[0]
    drawn: dict[str, tuple[type, ...]] = {}
    parents: list[str] = ["RapyerError"]
    for line in drawing.splitlines():
        found = TREE.match(line)
        assert found is not None, line
        depth = len(found["lead"]) // 4
        parents[depth:] = [found["name"]]
        python = [getattr(builtins, base.strip()) for base in found["bases"].split(",") if base.strip()]
        drawn[found["name"]] = (getattr(rapyer_core, parents[depth - 1] if depth > 1 else "RapyerError"), *python)
    errors = {name for name in rapyer_core.__all__ if _is_error(name)} - {"RapyerError"}
    assert set(drawn) == errors
    for name, bases in drawn.items():
        error = getattr(rapyer_core, name)
        assert all(issubclass(error, base) for base in bases), name
        public = {base for base in error.__mro__[1:] if base.__module__ == "builtins"}
        said = {base for drawn_base in bases for base in drawn_base.__mro__}
        assert public <= said, f"{name} is also a {public - said}"


def test_every_error_has_a_row_that_says_what_to_do() -> None:
    text = (DOCS / "errors.md").read_text()
    embedded = {"ServerNotFound", "ServerStartFailed", "InvalidServerUrl"}
    for name in rapyer_core.__all__:
        if _is_error(name) and name not in embedded | {"RapyerError"}:
            assert f"| `{name}` |" in text, name


def test_every_function_is_on_a_page_of_its_group() -> None:
    pages = ["objects", "fields", "blocks", "search", "sessions", "models", "codecs", "changes"]
    text = "\n".join((DOCS / f"{page}.md").read_text() for page in pages)
    missing = [name for name in rapyer_core.__all__ if name[0].islower() and not re.search(rf"\b{name}\b", text)]
    assert missing == ["default_registry"]


def _is_error(name: str) -> bool:
    value = getattr(rapyer_core, name)
    return isinstance(value, type) and issubclass(value, RapyerError)


def test_the_commands_listed_for_a_restricted_user_are_enough_and_no_more(url: str) -> None:
    """The demonstration, and one call of each function, by a user who may run nothing else."""
    listed = re.search(r"```text\n(\+auth .*?)```", (DOCS / "sessions.md").read_text(), re.DOTALL)
    assert listed is not None
    commands = listed[1].split()
    with redis.Redis.from_url(url) as admin:
        admin.execute_command("ACL", "LOG", "RESET")
        admin.config_resetstat()
        rules = ["reset", "on", ">secret", "~app:*", "&app:*", "-@all", *commands]
        admin.execute_command("ACL", "SETUSER", "restricted", *rules)
        try:
            done = subprocess.run(
                [sys.executable, "-c", EVERYTHING, url.replace("unix://", "unix://restricted:secret@") + "?db=1"],
                cwd=DOCS.parent,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([".", "codecs"])},
                text=True,
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert admin.execute_command("ACL", "LOG") == []
            used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
        finally:
            admin.execute_command("ACL", "DELUSER", "restricted")
    assert {command[1:] for command in commands} <= used


EVERYTHING = """
import asyncio, sys
from dataclasses import dataclass, field
from rapyer_core import *

@redis_model(ttl=60)
@dataclass
class Player:
    username: Key[str]
    score: Index[int] = 0
    level: int = 1
    names: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)

async def rise(tx, username):
    (await tx.get(Player, username)).level *= 2

async def wait_for_another_session(obj):
    async with open_session(sys.argv[1], prefix="app:") as other:
        async with lock(obj, session=other):
            waiting = asyncio.create_task(take(obj))
            await asyncio.sleep(0.3)
        await waiting

async def take(obj):
    async with lock(obj):
        pass

async def main():
    await init_rapyer(sys.argv[1], prefix="app:")
    alice = Player("alice")
    await save(alice)
    await insert(Player("bob"))
    await get_or_create(Player, "carol")
    await save_many([Player("dave"), Player("erin")])
    await increment(alice, Player.score, 1)
    await increment(alice, Player.level, 1)
    await increment(alice, Player.level, 1, exactly_once=True)
    await assign(alice, Player.level, 5)
    await modify(alice, Player.level, lambda level: level + 1)
    await append(alice, Player.names, "a")
    await extend(alice, Player.names, ["b", "c"])
    await insert_at(alice, Player.names, 0, "z")
    await pop(alice, Player.names)
    await remove(alice, Player.names, "z")
    await put(alice, Player.notes, "k", "v")
    await merge(alice, Player.notes, {"a": "b"})
    await remove(alice, Player.notes, "k")
    await add(alice, Player.tags, "x", "y")
    await discard(alice, Player.tags, "x")
    await clear(alice, Player.tags)
    async with pipeline(alice) as draft:
        draft.level += 1
        await increment(ref(Player, "alice"), Player.level, 1)
    await transact(rise, "alice")
    async with lock(alice, ref(Player, "bob"), name="t", lease=0.3) as (a, b):
        a.level += 1
        await asyncio.sleep(0.3)
    await wait_for_another_session(alice)
    for block in (lock(alice, name="t"), pipeline(alice)):
        try:
            async with block:
                raise KeyError
        except KeyError:
            pass
    try:
        await increment(ref(Player, "nobody"), Player.level, 1)
    except NotFound:
        pass
    await reload(alice)
    alice.level = 3
    await save(alice)
    await find(Player, Player.score > 0, Player.level < 9)
    await find(Player, order_by=Player.score, limit=2)
    await count(Player)
    await top(Player, Player.score, 2)
    await rank(alice, Player.score)
    await exists(alice)
    await get_many(Player, ["alice", "bob"])
    await verify(Player, repair=True)
    await delete_many([ref(Player, name) for name in ("bob", "carol", "dave", "erin")])
    await delete(alice)
    await close_rapyer()

asyncio.run(main())
"""
