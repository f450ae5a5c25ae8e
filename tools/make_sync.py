"""Makes the blocking modules of ``rapyer_core/sync`` out of the asyncio ones: ``make sync``.

The words of asyncio are replaced one by one, the result is formatted, and nothing else happens: whatever waits in
another way stands behind the names of ``rapyer_core/waiting.py`` and ``rapyer_core/transports``, whose blocking twins
are written by hand. ``--check`` writes nothing and fails when a module is not current; so does a test.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "rapyer_core"
MADE = ("__init__", "nodes", "repository", "sessions", "transactions")
"""The modules that are made. The order of the list does not matter."""

TWINS = (*MADE[1:], "atomic", "waiting", "watches")
"""The modules that `rapyer_core.sync` has too: imports of them are turned to it."""

# In this order; regular expressions over the whole text, docstrings included.
WORDS = (
    (r"\bfor asyncio\b", "for threads"),
    (r"\(asyncio\)", "(blocking)"),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\bAsync(Iterator|Generator|ContextManager)\b", r"\1"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (rf"\brapyer_core\.({'|'.join(TWINS)})\b", r"rapyer_core.sync.\1"),
    (r"\brapyer_core\.transports\.aio(_listener)?\b", r"rapyer_core.transports.blocking\1"),
    (r"(?m)^__version__ = .*$", ""),
    (r"\bthe running event loop\b", "this process"),
    (r"\b(one|this) event loop\b", "this process"),
    (r"\bsession and event loop\b", "session and process"),
    (r"\bevent loop\b", "process"),
    (r"\btask(s?)\b", r"thread\1"),
    (r"``rapyer_core\.sync\.(\w+)`` is the blocking twin, made of this file by ``make sync``[^.]*\.",
     r"Made of ``rapyer_core.\1`` by ``make sync``: change that, not this file."),
    (r"Every async function has a\nblocking twin of the same name in ``rapyer_core\.sync``\.",
     "This is\n``rapyer_core`` without an event loop: for threads, and for programs that have neither."),
)  # fmt: skip


def made(module: str) -> str:
    """The text of one blocking module."""
    text = (PACKAGE / f"{module}.py").read_text()
    for pattern, replacement in WORDS:
        text = re.sub(pattern, replacement, text)
    left = re.search(r"\b(async (def|with|for)|await|(import )?asyncio\.?)\b.*", text)
    if left is not None:
        raise SystemExit(f"rapyer_core/{module}.py: cannot make this blocking: {left[0]!r}")
    path = str(PACKAGE / "sync" / f"{module}.py")
    # F401: what only the asyncio module imports. UP028: a `yield from` is not to be had in a coroutine.
    fixes = ("--fix", "--unsafe-fixes", "--exit-zero", "--select", "I,F401,UP028")
    text = _ruff(text, "check", "--quiet", *fixes, "--stdin-filename", path)
    return _ruff(text, "format", "--quiet", "--stdin-filename", path)


def stale() -> list[str]:
    """The modules that are not what would be made now."""
    return [name for name in MADE if _target(name).read_text() != made(name)]


def _target(module: str) -> Path:
    return PACKAGE / "sync" / f"{module}.py"


def _ruff(text: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "ruff", *arguments, "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        left = stale()
        sys.exit(f"not current, run `make sync`: {', '.join(left)}" if left else 0)
    for name in MADE:
        _target(name).write_text(made(name))
