"""Which process this is: a value that a fork changes. Asking the system for its number costs ten times as much."""

from __future__ import annotations

import os


class Process:
    """A process. Not the same object in a forked child as in its parent."""


current = Process()
"""The running process. Look it up each time: ``processes.current``."""


def _forked() -> None:
    global current
    current = Process()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
