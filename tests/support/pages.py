"""Runs the Python blocks of a Markdown page, in order and in one namespace, as a reader would in one session.

Every fenced block whose language is `python` or `py` runs, whatever follows the language (a title, marked
lines); what must not run is `text` or `console`. A block may use `await` outside of functions. What a
reader need not see stands in a comment and runs too:

    <!--- invisible-code-block: python
    alice = ...
    -->
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Document, Example, Region
from sybil.evaluators.python import pad
from sybil.parsers.abstract.lexers import LexerCollection
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, FencedCodeBlockLexer

LANGUAGES = ("python", "py")
LEXERS = LexerCollection(
    [
        FencedCodeBlockLexer(language=r".+", mapping={"language": "arguments", "source": "source"}),
        DirectiveInHTMLCommentLexer(directive=r"(invisible-)?code(-block)?", arguments=".+"),
    ]
)


def run_page(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    close: Callable[[asyncio.Runner], None] = lambda runner: None,
) -> None:
    """Runs every block, then `close`; an exception has the line of the page in its traceback.

    The page is the module `__main__` meanwhile, so that annotations are resolved in it, instances are
    pickled, and a program guarded by `if __name__ == "__main__"` runs.
    """
    page = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", page)
    with asyncio.Runner() as runner:
        document = Document.parse(str(path), lambda document: _blocks(document, runner, page))
        try:
            for example in document:
                example.evaluate()
        finally:
            close(runner)


def _blocks(document: Document, runner: asyncio.Runner, page: ModuleType) -> Iterable[Region]:
    def evaluate(example: Example) -> None:
        source = pad(example.parsed, example.line + example.parsed.line_offset)
        code = compile(source, example.path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        # The documentation of this repository, not data.
        result = eval(code, page.__dict__)  # noqa: S307
        if code.co_flags & inspect.CO_COROUTINE:
            runner.run(result)

    for region in LEXERS(document):
        if region.lexemes["arguments"].split()[0] in LANGUAGES:
            region.parsed = region.lexemes["source"]
            region.evaluator = evaluate
            yield region
