"""What an import does: nothing but define. The direction of imports is the business of `make layers`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Anything that reaches out of the process while the package is being imported.
WATCH = """
import sys
seen = []
def hook(event, args):
    if event.split(".")[0] in ("socket", "subprocess", "os", "tempfile", "shutil") and event not in HARMLESS:
        seen.append((event, args))
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        seen.append((event, args))
HARMLESS = {"os.listdir", "os.scandir", "os.register_at_fork"}
import asyncio, redis.asyncio, hiredis, cattrs, attrs
sys.addaudithook(hook)
import rapyer_core, rapyer_core.sync, rapyer_core.embedded
print(seen)
"""


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-B", "-c", program], cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_import_opens_starts_and_writes_nothing() -> None:
    assert python(WATCH) == "[]"


def test_an_import_starts_no_thread() -> None:
    assert python("import rapyer_core, threading; print(threading.active_count())") == "1"


@pytest.mark.parametrize("module", ["redis", "hiredis", "rapyer_core", "numpy", "pydantic"])
def test_the_codecs_are_imported_without(module: str) -> None:
    program = f"import sys; sys.path.insert(0, 'codecs'); import rapyer_codecs; print({module!r} in sys.modules)"
    assert python(program) == "False"
