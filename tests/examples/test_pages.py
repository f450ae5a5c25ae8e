"""The documentation says everything there is: each public name in the reference, each error in its tree."""

from __future__ import annotations

import builtins
import re
from pathlib import Path

import rapyer_core
from rapyer_core import RapyerError

DOCS = Path(__file__).parents[2] / "docs"
TREE = re.compile(r"^(?P<lead>[│├└─ ]*)(?P<name>\w+) *(?P<bases>[\w, ]*)$")


def test_every_public_name_is_in_the_reference_once() -> None:
    named = re.findall(r"^::: rapyer_core\.(\w+)$", (DOCS / "reference.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(rapyer_core.__all__)


def test_the_tree_of_errors_is_that_of_the_classes() -> None:
    drawing = (DOCS / "errors.md").read_text().partition("```text\nRapyerError\n")[2].partition("```")[0]
    drawn: dict[str, tuple[type, ...]] = {}
    parents: list[str] = ["RapyerError"]
    for line in drawing.splitlines():
        found = TREE.match(line)
        assert found is not None, line
        depth = len(found["lead"]) // 4
        parents[depth:] = [found["name"]]
        python = [getattr(builtins, base.strip()) for base in found["bases"].split(",") if base.strip()]
        drawn[found["name"]] = (getattr(rapyer_core, parents[depth - 1] if depth > 1 else "RapyerError"), *python)
    errors = {name for name in rapyer_core.__all__ if _is_error(name)} - {"RapyerError"}
    assert set(drawn) == errors
    for name, bases in drawn.items():
        error = getattr(rapyer_core, name)
        assert all(issubclass(error, base) for base in bases), name
        public = {base for base in error.__mro__[1:] if base.__module__ == "builtins"}
        said = {base for drawn_base in bases for base in drawn_base.__mro__}
        assert public <= said, f"{name} is also a {public - said}"


def test_every_error_has_a_row_that_says_what_to_do() -> None:
    text = (DOCS / "errors.md").read_text()
    embedded = {"ServerNotFound", "ServerStartFailed", "InvalidServerUrl"}
    for name in rapyer_core.__all__:
        if _is_error(name) and name not in embedded | {"RapyerError"}:
            assert f"| `{name}` |" in text, name


def test_every_function_is_on_a_page_of_its_group() -> None:
    pages = ["objects", "fields", "blocks", "search", "sessions", "models", "codecs", "changes"]
    text = "\n".join((DOCS / f"{page}.md").read_text() for page in pages)
    missing = [name for name in rapyer_core.__all__ if name[0].islower() and not re.search(rf"\b{name}\b", text)]
    assert not missing


def _is_error(name: str) -> bool:
    value = getattr(rapyer_core, name)
    return isinstance(value, type) and issubclass(value, RapyerError)
