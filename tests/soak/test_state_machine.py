"""The state machine of one client for as long as asked, with new examples each time."""

from __future__ import annotations

import os
import time

from tests.commits.test_state_machine import play

SECONDS = float(os.environ.get("RAPYER_SOAK_SECONDS", "1"))


def test_one_client_and_plain_objects_go_on_agreeing(url: str) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        play(url, examples=10, steps=20, always_the_same=False)
