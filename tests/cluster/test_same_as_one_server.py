"""A cluster answers as one server does, and stores the same: every function, on objects of all nodes."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import redis

from rapyer_core import open_session, repository, sync
from tests.cluster import program, tagged_program
from tests.cluster.models import NAMES
from tests.cluster.twins import blocking
from tests.support.clusters import Cluster, stored

PROGRAMS = [(program, "app:"), (program, "{game}:"), (tagged_program, "app:{game}:")]


def objects_in(found: dict[bytes, Any]) -> dict[bytes, Any]:
    """Objects and indexes; not what is gone by itself, nor when something expires."""
    return {key: value for key, value in found.items() if b"~{" not in key and not key.endswith(b":expiry")}


@pytest.mark.parametrize(("module", "prefix"), PROGRAMS)
async def test_the_same_answers_and_the_same_hashes(
    cluster: Cluster, cluster_url: str, url: str, redis_client: redis.Redis, module: Any, prefix: str
) -> None:
    async with open_session(url, prefix=prefix) as session:
        expected = await module.program(session)
    async with open_session(cluster_url, prefix=prefix) as session:
        said = await module.program(session)
    assert said == expected
    assert objects_in(cluster.dump()) == objects_in(stored(redis_client)) != {}


@pytest.mark.parametrize(("module", "prefix"), PROGRAMS)
def test_the_same_by_the_blocking_functions(
    cluster: Cluster, cluster_url: str, url: str, redis_client: redis.Redis, module: Any, prefix: str
) -> None:
    twin = blocking(module)
    with sync.open_session(url, prefix=prefix) as session:
        expected = twin.program(session)
    with sync.open_session(cluster_url, prefix=prefix) as session:
        said = twin.program(session)
    assert said == expected
    assert objects_in(cluster.dump()) == objects_in(stored(redis_client)) != {}


async def test_the_objects_of_the_program_are_on_all_nodes(cluster: Cluster) -> None:
    for node in cluster.masters:
        own = [name for name in NAMES if cluster.node_of(f"Player:{name}") is node]
        assert len(own) > 9


def test_every_function_is_in_a_program() -> None:
    text = "".join(Path(str(module.__file__)).read_text() for module in (program, tagged_program))
    functions = inspect.getmembers(repository, inspect.isfunction)
    names = [name for name, value in functions if value.__module__ == repository.__name__ and not name.startswith("_")]
    assert len(names) >= 30
    assert [name for name in names if f"{name}(" not in text] == []
