"""`make bench-page`: writes what was measured into docs/performance.md, between its markers, and draws the chart.

Reads bench/results/*.json, as `make bench-record` leaves them. A file that is absent leaves its tables as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.chart import chart
from bench.contention import SIDES, WORDS, Cell, said
from bench.engine import Step
from bench.engine import said as said_step
from bench.peers.result import OTHER_ROWS, PACKAGES, PeerResult, times
from bench.report import amount, share
from bench.result import Result
from bench.sizes import Size

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"

Line = Sequence[str]


def tables(results: Path = RESULTS) -> dict[str, str]:
    """What stands between the markers, by their names."""
    made: dict[str, str] = {}
    if found := _read(results / "redis-py.json"):
        made["rows"] = _on(found, rows([Result.from_json(row) for row in found["rows"]]))
        made["sizes"] = sizes([Size.from_json(size) for size in found["sizes"]])
    if found := _read(results / "contention.json"):
        made["contention"] = _on(found, contention([Cell.from_json(cell) for cell in found["cells"]]))
    if found := _read(results / "engine.json"):
        made["engine"] = _on(found, engine(found["ways"]))
    if found := _read(results / "peers.json"):
        made["peers"] = _on(found, peers(found))
    return made


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text()) if file.exists() else None


def filled(page: str, made: Mapping[str, str]) -> str:
    """The page with these tables. LookupError if it has no place for one."""
    for name, text in made.items():
        before, begin, rest = page.partition(f"<!-- measured: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise LookupError(f"the page has no place for {name}")
        page = f"{before}{begin}\n{text.rstrip()}\n\n{end}{after}"
    return page


# -- the tables --

HEADING = ["row", "ratio", "quartiles", "target", "met", "CPU", "ours /s", "by hand /s", "of the socket", "of the loop"]


def rows(results: Sequence[Result]) -> str:
    """Ours against hand-written redis-py."""
    lines: list[Line] = []
    group = ""
    for found in results:
        if found.group != group:
            group = found.group
            lines.append([f"**{group}**", *[""] * 9])
        ratio = found.ratio
        lines.append(
            [
                found.name,
                f"**{ratio.median:.2f}x**",
                f"{ratio.low:.2f}–{ratio.high:.2f}",
                "" if found.target is None else f"{found.target:g}x",
                {None: "", True: "yes", False: "no"}[found.met],
                f"{ratio.cpu:.2f}x",
                f"{found.ours:,.0f}",
                f"{found.hand:,.0f}",
                share(found.limit),
                share(found.loop),
            ]
        )
    errors = sum(found.errors for found in results)
    return f"{_table(HEADING, lines)}\nOperations that raised, of all sides and rows: {errors}.\n"


def sizes(found: Sequence[Size]) -> str:
    """What is no ratio of times."""
    lines = [
        [
            size.name,
            amount(size.ours, size.unit),
            "" if size.hand is None else amount(size.hand, size.unit),
            amount(size.most, size.unit),
            "yes" if size.met else "no",
            size.note,
        ]
        for size in found
    ]
    return _table(["what", "ours", "by hand", "at most", "met", "note"], lines)


def engine(ways: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Flatten and load, without a server."""
    lines = [[name, *(said_step(Step(**steps[step])) for step in ("store", "load"))] for name, steps in ways.items()]
    return _table(["way", "flatten", "load"], lines)


def contention(cells: Sequence[Cell]) -> str:
    """A table for each operation."""
    parts = []
    for operation, words in WORDS.items():
        chosen = [cell for cell in cells if cell.operation == operation]
        others = SIDES[operation][1:]
        lines = [
            [
                str(cell.processes),
                str(cell.tasks),
                *(said(cell.sides[side]) for side in SIDES[operation]),
                *(f"{cell.ratios[side].median:.1f}x" for side in others),
            ]
            for cell in chosen
        ]
        if lines:
            heading = ["processes", "tasks in each", *SIDES[operation], *(f"ours / {side}" for side in others)]
            parts.append(f"**{words[0].upper()}{words[1:]}**\n\n{_table(heading, lines)}")
    return "\n".join(parts)


def peers(found: Mapping[str, Any]) -> str:
    """Ours beside other mappers."""
    results = [PeerResult.from_json(row) for row in found["rows"]]
    names = list(dict.fromkeys(name for result in results for name in (*result.entries, *result.reasons)))
    lines = [
        [f"{result.group}: {result.words}", *map(result.cell, names), times(result.best), times(result.safest)]
        for result in results
    ]
    versions = ", ".join(f"{name} {found['machine'][name]}" for name in PACKAGES)
    notes = "".join(f"- {name}: {note}.\n" for name, note in found["notes"].items())
    failed = "".join(
        f"- {name} in *{result.group}: {result.words}*: {reason}.\n"
        for result in results
        for name, reason in result.reasons.items()
        if reason not in OTHER_ROWS
    )
    return f"{versions}.\n\n{_table(['row', *names, 'ours / best', 'ours / safest'], lines)}\n{notes}{failed}"


def _table(heading: Line, lines: Iterable[Line]) -> str:
    """Markdown; the first column to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(heading) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (heading, rule, *lines))


def _on(found: Mapping[str, Any], table: str) -> str:
    machine = "".join(_sentence(found["machine"], found["rounds"]))
    return f"{machine}\n\n{table}"


def _sentence(machine: Mapping[str, str], rounds: int) -> Iterator[str]:
    yield f"Measured on {machine['date']}: {machine['cores']} cores ({machine['processor']}), {machine['system']}, "
    yield f"{machine['python']}, {machine['server']} over a {machine['connection']}, "
    yield f"redis-py {machine['redis']}, hiredis {machine['hiredis']}, cattrs {machine['cattrs']}; "
    yield f"{rounds} round{'s' if rounds > 1 else ''}; load average before: {machine['load']}."


def main() -> None:
    PAGE.write_text(filled(PAGE.read_text(), tables()))
    found = _read(RESULTS / "redis-py.json")
    if found:
        CHART.write_text(chart([Result.from_json(row) for row in found["rows"]], found["machine"]))


if __name__ == "__main__":
    main()
