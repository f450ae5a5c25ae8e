"""A deployment with sentinels, whole again and empty at the start of each test; and sessions that found it by them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from rapyer_core import Session, close_rapyer, init_rapyer
from tests.faults.held import assert_nothing_held
from tests.support.builds import Build
from tests.support.sentinels import Deployment


@pytest.fixture(scope="package")
def _deployment(build: Build) -> Iterator[Deployment]:
    with Deployment(binary=build.binary) as deployment:
        yield deployment


@pytest.fixture
def deployment(_deployment: Deployment) -> Deployment:
    """A primary, a replica, three sentinels."""
    _deployment.heal()
    with _deployment.client(_deployment.primary) as client:
        client.flushall()
    return _deployment


@pytest.fixture
async def session(deployment: Deployment) -> AsyncIterator[Session]:
    """The default session. At the end nothing may be held any more."""
    session = await init_rapyer(deployment.url)
    yield session
    await assert_nothing_held(session)
    await close_rapyer()
