"""The tests of this folder run on each server program."""

from __future__ import annotations

from tests.support.builds import on_every_server

pytest_generate_tests = on_every_server
