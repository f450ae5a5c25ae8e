"""These tests speak to the server in commands that the library itself never sends: a restricted user may not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rapyer_core.settings import Settings
from rapyer_core.transports.aio import Pool


@pytest.fixture
def url(admin_url: str) -> str:
    """The address of an empty server, for a user who may do everything."""
    return admin_url


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    """A pool whose shared connection is there already."""
    pool = Pool(Settings(url))
    assert await pool.ask([(b"PING",)]) == [b"PONG"]
    yield pool
    await pool.close()
