"""The default session of the blocking functions, on an empty server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rapyer_core import sync as rc


@pytest.fixture
def session(url: str) -> Iterator[rc.Session]:
    """What functions use that get no `session=`."""
    try:
        yield rc.init_rapyer(url)
    finally:
        rc.close_rapyer()
