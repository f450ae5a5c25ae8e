"""One cluster of three masters, empty at the start of each test. Tests that kill nodes make their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from rapyer_core import Session, close_rapyer, init_rapyer
from tests.faults.held import assert_nothing_held
from tests.support.builds import Build
from tests.support.clusters import Cluster, running_cluster
from tests.support.rights import as_user, listed_commands


@pytest.fixture(scope="session")
def _cluster(build: Build) -> Iterator[Cluster]:
    with running_cluster(binary=build.binary) as cluster:
        yield cluster


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """Three masters that hold nothing. Slots may be where former tests have moved them."""
    _cluster.flush()
    return _cluster


@pytest.fixture
def cluster_url(cluster: Cluster, build: Build) -> str:
    """The address of one of its nodes, as a user of the library has it."""
    if not build.restricted:
        return cluster.url
    cluster.create_user(listed_commands())
    return as_user(cluster.url)


@pytest.fixture
async def session(cluster_url: str) -> AsyncIterator[Session]:
    """The default session. At the end nothing may be held any more."""
    session = await init_rapyer(cluster_url)
    try:
        yield session
        await assert_nothing_held(session)
    finally:
        await close_rapyer()
