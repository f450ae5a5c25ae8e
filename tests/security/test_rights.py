"""A user with few rights: the commands that docs/security.md lists are enough, and each of them is needed."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError

import rapyer_core
from rapyer_core import (
    NotApplied,
    RapyerError,
    ServerRefused,
    Session,
    get,
    get_many,
    increment,
    lock,
    open_session,
    ref,
    save,
    save_many,
)
from rapyer_core.collection import Context
from rapyer_core.operations import fields
from tests.security.everything import Citizen, everything
from tests.support.rights import as_user, cluster_commands, create_user, listed_commands

COMMANDS = [command.removeprefix("+") for command in listed_commands()]


async def _tried(admin_url: str, admin: redis.Redis, commands: list[str]) -> tuple[RapyerError | None, list[Any]]:
    """The error, if any, of a user with these commands only, and what the server noted as refused."""
    create_user(admin_url, [f"+{command}" for command in commands], names="app:*")
    _acl(admin, "LOG", "RESET")
    error: RapyerError | None = None
    try:
        async with open_session(as_user(admin_url), prefix="app:") as session:
            await everything(session, admin)
            await _wait_for_a_lock(admin_url, session)
    except RapyerError as caught:
        error = caught
    return error, _acl(admin, "LOG")


async def _wait_for_a_lock(admin_url: str, session: Session) -> None:
    """Of another session, so that it is waited for by listening."""

    async def take() -> None:
        async with lock(ref(Citizen, "frank"), session=session):
            pass

    await save(Citizen("frank"), session=session)
    async with open_session(as_user(admin_url), prefix="app:") as other:
        async with lock(ref(Citizen, "frank"), session=other):
            waiting = asyncio.create_task(take())
            await asyncio.sleep(0.1)
        await waiting


def _acl(admin: Any, *words: str) -> Any:
    return admin.execute_command("ACL", *words)


async def test_the_listed_commands_are_enough(admin_url: str, redis_client: redis.Redis) -> None:
    error, refused = await _tried(admin_url, redis_client, COMMANDS)
    # redis-py names itself to the server, and does not mind when it may not.
    assert error is None
    assert {entry[b"object"] for entry in map(_entry, refused)} <= {b"client|setinfo"}


def _entry(entry: Any) -> dict[bytes, Any]:
    if isinstance(entry, dict):
        return {name.encode() if isinstance(name, str) else name: value for name, value in entry.items()}
    return dict(zip(entry[::2], entry[1::2], strict=True))


@pytest.mark.one_server
@pytest.mark.parametrize("command", COMMANDS)
async def test_each_of_them_is_needed(admin_url: str, redis_client: redis.Redis, command: str) -> None:
    others = [other for other in COMMANDS if other != command]
    error, refused = await _tried(admin_url, redis_client, others)
    assert error is not None or command.encode() in {_entry(entry)[b"object"] for entry in refused}
    if error is not None:
        assert isinstance(error, ServerRefused)
        assert error.code == "NOPERM"


def test_no_command_in_the_code_is_missing_from_the_list() -> None:
    """Every tuple that starts with a name in capitals is a command, and so is such a name in what is packed already."""
    used: set[str] = set()
    for path in Path(rapyer_core.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple) and node.elts and isinstance(node.elts[0], ast.Constant):
                first = node.elts[0].value
                if isinstance(first, bytes) and first.isalpha() and first.isupper():
                    used.add(first.decode().lower())
            elif isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                used.update(name.decode().lower() for name in re.findall(rb"\r\n\$\d+\r\n([A-Z]+)\r\n", node.value))
    of_clusters = {command.removeprefix("+").partition("|")[0] for command in cluster_commands()}
    assert used == {*COMMANDS, *of_clusters}


async def test_a_user_without_multi_or_exec_is_told_at_once(admin_url: str, redis_client: redis.Redis) -> None:
    """Without them the commands of a commit would run one by one, or never end."""
    for command in ("multi", "exec"):
        create_user(admin_url, ["+@all", f"-{command}"])
        with pytest.raises(ServerRefused, match="MULTI and EXEC") as caught:
            async with open_session(as_user(admin_url)):
                pass
        assert caught.value.code == "NOPERM"


async def test_keys_of_others_are_out_of_reach(admin_url: str, redis_client: redis.Redis) -> None:
    create_user(admin_url, listed_commands(), names="app:*")
    async with open_session(admin_url) as other:
        await save(Citizen("alice", 7), session=other)
    async with open_session(as_user(admin_url)) as session:
        for work in (
            lambda: get(Citizen, "alice", session=session),
            lambda: increment(ref(Citizen, "alice"), Citizen.level, 1, session=session),
            lambda: increment(ref(Citizen, "alice"), Citizen.level, 1, session=session, exactly_once=True),
            lambda: save(Citizen("alice", 8), session=session),
        ):
            with pytest.raises(NotApplied) as caught:
                await work()
            assert caught.value.code == "NOPERM"
    assert redis_client.hget("Citizen:alice", "score") == b"7"


async def test_a_write_that_is_refused_takes_none_of_those_beside_it_with_it(admin_url: str) -> None:
    """Writes of one tick share a MULTI/EXEC, which a server that refuses one command refuses as a whole."""
    create_user(admin_url, listed_commands(), names="app:*")
    names = [f"c{number}" for number in range(60)]
    async with open_session(admin_url, prefix="app:") as setup:
        await save_many([Citizen(name) for name in names], session=setup)
    async with open_session(as_user(admin_url), prefix="app:") as session:
        # On the same connection, with the keys of a session that has another prefix.
        foreign = fields.increment(Context("other:"), ref(Citizen, "c7"), Citizen.level, 1, (None, None))
        found: list[Any] = await asyncio.gather(
            *(increment(ref(Citizen, name), Citizen.level, 5, session=session) for name in names[:30]),
            session.run(foreign),
            *(increment(ref(Citizen, name), Citizen.level, 5, session=session) for name in names[30:]),
            return_exceptions=True,
        )
        refused = found.pop(30)
        assert isinstance(refused, NotApplied)
        assert refused.code == "NOPERM"
        assert found == [6] * 60
        citizens = await get_many(Citizen, names, session=session)
        assert [citizen and citizen.level for citizen in citizens] == [6] * 60


def test_a_user_may_do_nothing_else(admin_url: str) -> None:
    create_user(admin_url, listed_commands(), names="app:*")
    with redis.Redis.from_url(as_user(admin_url)) as client:
        for words in (
            ("KEYS", "*"),
            ("FLUSHALL",),
            ("CONFIG", "GET", "*"),
            ("EVAL", "return 1", 0),
            ("FUNCTION", "LIST"),
            ("SCRIPT", "FLUSH"),
            ("ACL", "LIST"),
            ("MONITOR",),
            ("SLOWLOG", "GET"),
            ("COPY", "app:a", "app:b"),
            ("HSET", "other:a", "f", "v"),
        ):
            with pytest.raises(NoPermissionError):
                client.execute_command(*words)
