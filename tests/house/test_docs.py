"""The documentation: every Python block of every page runs, and the site builds without a warning."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rapyer_core
import rapyer_core.sync
from tests.support.pages import run_page

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def close_sessions(runner: asyncio.Runner) -> None:
    """What a reader's session would end with."""
    runner.run(rapyer_core.close_rapyer())
    rapyer_core.sync.close_rapyer()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_python_block_runs(page: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an empty server that is named by RAPYER_URL, in an empty working directory."""
    monkeypatch.setenv("RAPYER_URL", url)
    monkeypatch.chdir(tmp_path)
    run_page(page, monkeypatch, close_sessions)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").exists()


# --- the runner itself --------------------------------------------------------------------------------------


def page(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "page.md"
    path.write_text(text)
    return path


def test_blocks_share_one_namespace_and_one_loop_and_may_await(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
```python title="first.py" hl_lines="1"
import asyncio
loop = await asyncio.sleep(0, asyncio.get_running_loop())
```

- in a list

    ```py
    assert await asyncio.sleep(0, asyncio.get_running_loop()) is loop
    seen = [__name__]
    ```

<!--- invisible-code-block: python
seen.append("invisible")
-->

```text
this is not run
```

```python
from pathlib import Path
Path("seen").write_text(" ".join(seen))
```
"""
    monkeypatch.chdir(tmp_path)
    run_page(page(tmp_path, text), monkeypatch)
    assert (tmp_path / "seen").read_text() == "__main__ invisible"


def test_annotations_are_resolved_in_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
```python
from __future__ import annotations
from dataclasses import dataclass
from typing import get_type_hints

@dataclass
class A:
    b: B

@dataclass
class B: ...

assert get_type_hints(A) == {"b": B}
```
"""
    run_page(page(tmp_path, text), monkeypatch)


@pytest.mark.parametrize(
    "code",
    ["raise ZeroDivisionError", "import asyncio\nawait asyncio.sleep(0)\n1 / 0"],
    ids=["plain", "await"],
)
def test_a_failing_block_fails_with_its_line(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = page(tmp_path, f"# Title\n\n```python\n{code}\n```\n")
    with pytest.raises(ZeroDivisionError) as caught:
        run_page(path, monkeypatch)
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (str(path), 3 + len(code.splitlines()))
