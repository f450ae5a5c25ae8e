"""Sessions through the faulty network."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rapyer_core import close_rapyer, init_rapyer
from rapyer_core.sessions import Session
from tests.faults.held import held
from tests.support.builds import on_every_server
from tests.support.proxy import Proxy

pytest_generate_tests = on_every_server


@pytest.fixture
async def session(proxy: Proxy) -> AsyncIterator[Session]:
    """The default session, through the proxy. At the end nothing may be held any more."""
    session = await init_rapyer(proxy.url, timeout=1)
    proxy.clear()
    yield session
    assert held(session) == []
    await close_rapyer()
