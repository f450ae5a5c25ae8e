"""The default session, on the server of the run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rapyer_core import close_rapyer, init_rapyer
from rapyer_core.sessions import Session
from tests.faults.held import held
from tests.support.builds import on_every_server

pytest_generate_tests = on_every_server


@pytest.fixture(autouse=True)
async def session(url: str) -> AsyncIterator[Session]:
    """A default session on an empty server. At the end nothing may be held any more."""
    session = await init_rapyer(url)
    yield session
    assert held(session) == []
    await close_rapyer()
