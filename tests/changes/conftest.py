"""The fixtures of the tests of objects."""

from __future__ import annotations

from tests.objects.conftest import session, stored, trips

__all__ = ["session", "stored", "trips"]
