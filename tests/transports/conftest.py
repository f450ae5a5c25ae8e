"""These tests speak to the server in commands that the library itself never sends: a restricted user may not."""

from __future__ import annotations

import pytest


@pytest.fixture
def url(admin_url: str) -> str:
    """The address of an empty server, for a user who may do everything."""
    return admin_url
