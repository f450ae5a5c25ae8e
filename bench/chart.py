"""The chart of the rows, as SVG, in light and dark. `python -m bench.chart RESULTS.json CHART.svg`.

Written by hand, so that the picture needs no library, no font and no script, and is the same on every machine.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from bench.result import Result

WIDTH = 880
LABELS = 196
"""Room for the names, on the left."""
VALUES = 128
"""Room for the numbers, on the right."""
ROW = 24
GROUP = 32
TOP = 92
BOTTOM = 52

KEYS = (("met", "target met", 104), ("unmet", "target not met", 128), ("plain", "no target", 98))
"""Of the colours: class, words and the room they take."""

STYLE = """
  .card { fill: #ffffff; stroke: #d9dde3 }
  text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; font-size: 13px }
  text { fill: #1f2430 }
  .title { font-size: 17px; font-weight: 600 }
  .quiet { fill: #667085; font-size: 12px }
  .group { font-weight: 600 }
  .number { font-variant-numeric: tabular-nums; font-weight: 600 }
  .grid { stroke: #e6e9ee }
  .one { stroke: #98a2b3; stroke-width: 1.5 }
  .met { fill: #2f855a }
  .unmet { fill: #d08b2c }
  .plain { fill: #7b8794 }
  .spread { stroke: #1f2430; stroke-opacity: 0.65; stroke-width: 1.5 }
  .target { fill: none; stroke: #b42318; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #1b1f27; stroke: #333a46 }
    text { fill: #e6e9ef }
    .quiet { fill: #9aa4b2 }
    .grid { stroke: #2b313c }
    .one { stroke: #7b8595 }
    .met { fill: #48bb78 }
    .unmet { fill: #e0a84a }
    .plain { fill: #8b97a6 }
    .spread { stroke: #f2f4f7 }
    .target { stroke: #ff8a7a }
  }
"""


def chart(results: Sequence[Result], machine: Mapping[str, str]) -> str:
    """The picture: a bar for each row, on a logarithmic scale, with its quartiles and its target."""
    scale = _Scale(results)
    rows = list(_places(results))
    bottom = rows[-1][0] + ROW if rows else TOP
    height = bottom + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-labelledby="title">',
        '<title id="title">rapyer_core against hand-written redis-py</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        *_head(),
        *_grid(scale, bottom),
        *(part for y, row in rows for part in (_group(y, row) if isinstance(row, str) else _bar(scale, y, row))),
        _text(24, height - 18, _footer(machine), "quiet"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Scale:
    """From ratios to places, by their logarithms. Ends at powers of two, with 1x always in sight."""

    def __init__(self, results: Sequence[Result]) -> None:
        seen = [0.5, 2.0]
        for found in results:
            seen += [found.ratio.low, found.ratio.high, found.ratio.median, found.target or 1.0]
        self.first = math.floor(math.log2(max(min(seen), 2**-6)))
        self.last = math.ceil(math.log2(max(seen)))

    def place(self, ratio: float) -> float:
        part = (math.log2(max(ratio, 2**self.first)) - self.first) / (self.last - self.first)
        return round(LABELS + part * (WIDTH - LABELS - VALUES), 1)

    def ticks(self) -> Iterator[tuple[float, str]]:
        for power in range(self.first, self.last + 1):
            yield 2.0**power, f"{2.0**power:g}x"


def _places(results: Sequence[Result]) -> Iterator[tuple[int, Result | str]]:
    """Each row and each heading, with the place of its upper edge."""
    y, group = TOP, ""
    for found in results:
        if found.group != group:
            group = found.group
            yield y, group
            y += GROUP
        yield y, found
        y += ROW


def _head() -> Iterator[str]:
    yield _text(24, 34, "Times as fast as hand-written redis-py", "title")
    x = 24
    for kind, words, width in KEYS:
        yield f'<rect class="{kind}" x="{x}" y="48" width="12" height="12" rx="2"/>'
        yield _text(x + 18, 58, words, "quiet")
        x += width
    yield f'<path class="target" d="M{x + 6} 47v14"/>'
    yield _text(x + 18, 58, "target", "quiet")
    yield f'<path class="spread" d="M{x + 76} 54h18M{x + 76} 50v8M{x + 94} 50v8"/>'
    yield _text(x + 102, 58, "quartiles of the rounds", "quiet")


def _grid(scale: _Scale, bottom: int) -> Iterator[str]:
    for ratio, label in scale.ticks():
        x = scale.place(ratio)
        yield f'<path class="{"one" if ratio == 1 else "grid"}" d="M{x} {TOP - 6}V{bottom + 4}"/>'
        yield _text(x, TOP - 12, label, "quiet", "middle")


def _group(y: int, name: str) -> Iterator[str]:
    yield _text(24, y + 21, name, "group")


def _bar(scale: _Scale, y: int, found: Result) -> Iterator[str]:
    ratio = found.ratio
    one, end = scale.place(1), scale.place(ratio.median)
    kind = {None: "plain", True: "met", False: "unmet"}[found.met]
    middle = y + ROW // 2
    yield _text(36, middle + 5, found.name)
    left, width = min(one, end), max(abs(end - one), 1.0)
    yield f'<rect class="{kind}" x="{left}" y="{y + 5}" width="{width:.1f}" height="{ROW - 10}" rx="2"/>'
    low, high = scale.place(ratio.low), scale.place(ratio.high)
    yield f'<path class="spread" d="M{low} {middle}H{high}M{low} {middle - 3}v6M{high} {middle - 3}v6"/>'
    if found.target is not None:
        yield f'<path class="target" d="M{scale.place(found.target)} {y + 2}v{ROW - 4}"/>'
    yield _text(WIDTH - VALUES + 54, middle + 5, f"{ratio.median:.2f}x", "number", "end")
    if found.target is not None:
        yield _text(WIDTH - 24, middle + 5, f"of {found.target:g}x", "quiet", "end")


def _footer(machine: Mapping[str, str]) -> str:
    return (
        f"{machine['date']}; {machine['cores']} cores ({machine['processor']}); {machine['python']}; "
        f"{machine['server']}; redis-py {machine['redis']}. Logarithmic scale."
    )


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    placed = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text{named} x="{x:g}" y="{y:g}"{placed}>{escape(text)}</text>'


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    found = json.loads(source.read_text())
    target.write_text(chart([Result.from_json(row) for row in found["rows"]], found["machine"]))


if __name__ == "__main__":
    main()
