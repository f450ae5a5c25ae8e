"""What a run came to: the table for the terminal, and the same as JSON. Nothing is measured here."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import redis
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.measure import Summary
from bench.rows import Row

FLOOR = 0.5
"""No row may be slower than half of the hand-written code."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row and its summary."""

    row: Row
    summary: Summary


def machine(url: str) -> dict[str, str]:
    """What the numbers were measured on."""
    with redis.Redis.from_url(url) as client:
        info = client.info("server")
    name = "Valkey" if "valkey_version" in info else "Redis"
    found = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "cores": str(os.cpu_count()),
        "server": f"{name} {info.get('valkey_version', info['redis_version'])}",
        "connection": "Unix socket" if url.startswith("unix:") else "TCP",
    }
    return found | {package: version(package) for package in ("rapyer-core", "redis", "hiredis")}


def table(entries: Iterable[Entry]) -> Table:
    """The table that `make bench` prints."""
    made = Table(
        title="rapyer_core against hand-written redis-py (more than 1x: ours is faster)",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    made.add_column("row", no_wrap=True)
    for heading in ("ratio", "quartiles", "CPU", "ours /s", "hand /s", "target"):
        made.add_column(heading, justify="right", no_wrap=True)
    group = ""
    for entry in entries:
        if entry.row.group != group:
            group = entry.row.group
            made.add_section()
            made.add_row(Text(group, style="bold"))
        made.add_row(*_cells(entry))
    return made


def _cells(entry: Entry) -> list[Text | str]:
    row, found = entry.row, entry.summary
    return [
        f" {row.name}",
        Text(f"{found.ratio:.2f}x", style=_style(row, found)),
        f"{found.low:.2f}–{found.high:.2f}",
        f"{found.cpu_ratio:.2f}x",
        f"{found.ours:,.0f}",
        f"{found.hand:,.0f}",
        "" if row.target is None else f"{row.target:g}x",
    ]


def _style(row: Row, found: Summary) -> str:
    if found.ratio < FLOOR:
        return "bold red"
    if row.target is not None and found.ratio >= row.target:
        return "bold green"
    return "green" if found.ratio >= 1 else "yellow"


def show(entries: list[Entry], machine: dict[str, str], console: Console) -> None:
    """Print the table and what it was measured on."""
    console.print(table(entries))
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), style="dim")
    console.print(
        "Medians of rounds in which the sides took turns; both were checked to have done the same. CPU is the ratio "
        "of CPU times of this process, without the server. Unchecked: against MULTI/EXEC that asserts nothing. "
        "Checked, and append: against the WATCH loop that promises what ours does. "
        "Nothing by hand has a timeout; ours has.",
        style="dim",
    )


def write_json(file: Path, entries: list[Entry], machine: dict[str, str]) -> None:
    """The same for programs. Times are in operations per second, ratios as in the table."""
    rows = [{"group": e.row.group, "name": e.row.name, "target": e.row.target, **asdict(e.summary)} for e in entries]
    file.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
