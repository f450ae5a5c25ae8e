"""The blocking twin of a module of these tests, made as ``make sync`` makes those of the library."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

from tools.make_sync import WORDS


def blocking(module: ModuleType) -> ModuleType:
    """The same module without an event loop, for ``rapyer_core.sync``."""
    text = Path(str(module.__file__)).read_text()
    for pattern, replacement in (*WORDS, (r"\bfrom rapyer_core import\b", "from rapyer_core.sync import")):
        text = re.sub(pattern, replacement, text)
    twin = ModuleType(f"{module.__name__}_blocking")
    exec(compile(text, twin.__name__, "exec"), twin.__dict__)
    return twin
