"""A user with few rights on every node: what docs/security.md lists for a cluster is enough, and all needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from rapyer_core import (
    NotApplied,
    RapyerError,
    ServerRefused,
    Session,
    get,
    increment,
    lock,
    open_session,
    ref,
    save,
    save_many,
)
from tests.cluster.models import NAMES, Player
from tests.cluster.program import program
from tests.cluster.tagged_program import program as tagged_program
from tests.security.everything import everything
from tests.support.clusters import Cluster, slot_of
from tests.support.rights import as_user, cluster_commands, listed_commands


@pytest.fixture
def watched(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster whose nodes have noted nothing as refused yet."""
    for node in cluster.masters:
        node.run("ACL", "LOG", "RESET")
    yield cluster
    cluster.create_user(["-@all"])


def refused(cluster: Cluster) -> set[str]:
    """Commands that some node has refused."""
    found = set()
    for node in cluster.masters:
        for entry in node.run("ACL", "LOG"):
            values = list(entry.values()) if isinstance(entry, dict) else entry[1::2]
            names = list(entry) if isinstance(entry, dict) else entry[::2]
            named = {_text(name): value for name, value in zip(names, values, strict=True)}
            found.add(_text(named["object"]))
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


async def _all_there_is(cluster: Cluster, url: str) -> None:
    async with open_session(url, prefix="app:") as session:
        await program(session)
        await _wait_for_a_lock(url, session)
        # A slot has moved: both nodes answer, and where it is now is asked again.
        name = NAMES[55]
        key = f"app:Player:{name}"
        source, target = cluster.node_of(key), cluster.masters[0]
        if source is target:
            target = cluster.masters[1]
        cluster.begin_move(slot_of(key), target)
        cluster.move_keys(slot_of(key), target)
        await increment(ref(Player, name), Player.coins, 1, session=session)
        cluster.end_move(slot_of(key), target)
        await increment(ref(Player, name), Player.coins, 1, session=session)
    async with open_session(url, prefix="app:{game}:") as session:
        await tagged_program(session)
        await everything(session, cluster.client_of("app:{game}:"))


async def _wait_for_a_lock(url: str, session: Session) -> None:
    """Of another session, so that it is waited for by listening."""

    async def take() -> None:
        async with lock(ref(Player, NAMES[0]), session=session):
            pass

    async with open_session(url, prefix="app:") as other:
        async with lock(ref(Player, NAMES[0]), session=other):
            waiting = asyncio.create_task(take())
            await asyncio.sleep(0.1)
        await waiting


async def test_the_listed_commands_are_enough(watched: Cluster) -> None:
    watched.create_user([*listed_commands(), *cluster_commands()], names="app:*")
    await _all_there_is(watched, as_user(watched.url))
    # redis-py names itself to the server, and does not mind when it may not.
    assert refused(watched) <= {"client|setinfo"}


@pytest.mark.parametrize("command", cluster_commands())
async def test_each_of_those_for_a_cluster_is_needed(watched: Cluster, command: str) -> None:
    others = [other for other in cluster_commands() if other != command]
    watched.create_user([*listed_commands(), *others], names="app:*")
    error = None
    try:
        await _all_there_is(watched, as_user(watched.url))
    except RapyerError as caught:
        error = caught
    assert error is not None or command.removeprefix("+") in refused(watched)
    if error is not None:
        assert isinstance(error, ServerRefused)
        assert error.code == "NOPERM"


async def test_without_the_right_to_see_the_slots_the_opening_says_so(watched: Cluster) -> None:
    watched.create_user(listed_commands())
    with pytest.raises(ServerRefused, match=r"(?i)cluster.slots|cluster.shards") as caught:
        async with open_session(as_user(watched.url)):
            pass
    assert caught.value.code == "NOPERM"


async def test_keys_of_others_are_out_of_reach_on_every_node(watched: Cluster) -> None:
    watched.create_user([*listed_commands(), *cluster_commands()], names="app:*")
    async with open_session(watched.url) as other:
        await save_many([Player(name, coins=7) for name in NAMES], session=other)
    async with open_session(as_user(watched.url)) as session:
        for name in NAMES[:9]:
            for work in (
                lambda name=name: get(Player, name, session=session),
                lambda name=name: increment(ref(Player, name), Player.coins, 1, session=session),
                lambda name=name: save(Player(name, coins=8), session=session),
            ):
                with pytest.raises(NotApplied) as caught:
                    await work()
                assert caught.value.code == "NOPERM"
        with pytest.raises(NotApplied):
            await save_many([Player(name) for name in NAMES], session=session)
    async with open_session(watched.url) as other:
        assert (await get(Player, NAMES[0], session=other)).coins == 7
