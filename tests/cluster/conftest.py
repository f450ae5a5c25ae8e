"""One cluster of three masters, empty at the start of each test. Tests that kill nodes make their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
