"""The table that `make bench` prints. Nothing is measured here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.result import Result
from bench.sizes import Size

FLOOR = 0.5
"""No row may be slower than half of the hand-written code."""

WIDTH = 110

NOTES = (
    "Medians of rounds in which the sides took turns; all were checked to have done the same. CPU is the ratio of CPU "
    "times without the server's. Limit: our speed as a share of a bare socket's that sends prepared bytes; loop: of a "
    "bare protocol's in the event loop. Errors: operations of either side that raised. Unchecked: against MULTI/EXEC "
    "that asserts nothing. Checked, and append: against the WATCH loop that promises what ours does. Nothing by hand "
    "has a timeout; ours has."
)


def console(width: int = WIDTH) -> Console:
    """Wide enough for the tables, wherever the output goes."""
    return Console(width=width)


@contextmanager
def progress(out: Console, title: str) -> Iterator[None]:
    """Says what is being measured: in passing on a terminal, else on a line of standard error."""
    if out.is_terminal:
        with out.status(title):
            yield
    else:
        print(title, file=sys.stderr, flush=True)
        yield


def table(results: Iterable[Result]) -> Table:
    """One line a row."""
    made = Table(
        title="rapyer_core against hand-written redis-py (more than 1x: ours is faster)",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    made.add_column("row", no_wrap=True)
    headings = ("ratio", "quartiles", "CPU", "ours /s", "hand /s", "limit", "loop", "errors", "target", "met")
    for heading in headings:
        made.add_column(heading, justify="right", no_wrap=True)
    group = ""
    for found in results:
        if found.group != group:
            group = found.group
            made.add_section()
            made.add_row(Text(group, style="bold"))
        made.add_row(*_cells(found))
    return made


def _cells(found: Result) -> list[Text | str]:
    ratio = found.ratio
    return [
        f" {found.name}",
        Text(f"{ratio.median:.2f}x", style=_style(found)),
        f"{ratio.low:.2f}–{ratio.high:.2f}",
        f"{ratio.cpu:.2f}x",
        f"{found.ours:,.0f}",
        f"{found.hand:,.0f}",
        share(found.limit),
        share(found.loop),
        Text(str(found.errors), style="bold red") if found.errors else "",
        "" if found.target is None else f"{found.target:g}x",
        {None: "", True: "yes", False: "no"}[found.met],
    ]


def share(part: float | None) -> str:
    """In percent; nothing for None."""
    return "" if part is None else f"{part:.0%}"


def _style(found: Result) -> str:
    if found.ratio.median < FLOOR:
        return "bold red"
    if found.met:
        return "bold green"
    return "green" if found.ratio.median >= 1 else "yellow"


def size_table(found: Iterable[Size]) -> Table:
    """What is no ratio of times."""
    made = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    made.add_column("what", no_wrap=True)
    for heading in ("ours", "by hand", "at most", "met"):
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("note")
    for size in found:
        made.add_row(
            size.name,
            amount(size.ours, size.unit),
            "" if size.hand is None else amount(size.hand, size.unit),
            amount(size.most, size.unit),
            Text("yes", style="green") if size.met else Text("no", style="yellow"),
            size.note,
        )
    return made


def amount(value: float, unit: str) -> str:
    """Whole bytes; a tenth of anything else."""
    return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"


def show(results: list[Result], sizes: list[Size], machine: Mapping[str, str], console: Console) -> None:
    """Print the tables and what they were measured on."""
    if results:
        console.print(table(results))
    if sizes:
        console.print(size_table(sizes))
    met = [found.met for found in results if found.met is not None] + [size.met for size in sizes]
    if met:
        console.print(f"{sum(met)} of {len(met)} targets met")
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), style="dim")
    console.print(NOTES, style="dim")
