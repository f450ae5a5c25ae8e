"""What was measured is written into the page and drawn, exactly as it was measured."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from bench.chart import chart
from bench.measure import Ratio
from bench.page import CHART, PAGE, RESULTS, filled, rows, tables
from bench.result import Result

SVG = "{http://www.w3.org/2000/svg}"
MACHINE = {"date": "2026-01-02", "cores": "2", "processor": "a <b>", "python": "p", "server": "s", "redis": "8"}


def result(name: str, median: float, target: float | None = None, errors: int = 0) -> Result:
    ratio = Ratio(median, median / 2, median * 2, 3.0)
    return Result("a group", name, target, ratio, 1234.4, 99.0, 0.256, None, errors, 5)


def test_the_page_and_its_chart_show_the_recorded_results() -> None:
    """After `make bench-record`, or a change of how results are shown, `make bench-page` was run."""
    page = PAGE.read_text()
    assert filled(page, tables()) == page
    found = json.loads((RESULTS / "redis-py.json").read_text())
    assert CHART.read_text() == chart([Result.from_json(row) for row in found["rows"]], found["machine"])


def test_a_row_says_its_ratio_its_target_and_whether_it_is_met() -> None:
    lines = rows([result("slow", 0.5, 2.0), result("fast", 4.0, 2.0), result("free", 1.0), result("bad", 9.0, 2.0, 3)])
    cells = {line.split(" | ")[0]: line.split(" | ")[1:5] for line in lines.splitlines()}
    assert cells["| slow"] == ["**0.50x**", "0.25–1.00", "2x", "no"]
    assert cells["| fast"] == ["**4.00x**", "2.00–8.00", "2x", "yes"]
    assert cells["| free"] == ["**1.00x**", "0.50–2.00", "", ""]
    assert cells["| bad"][-1] == "no"
    assert "of all sides and rows: 3." in lines


def test_results_survive_json() -> None:
    found = result("a", 2.0, 3.0)
    assert Result.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    page = "before\n<!-- measured: a -->\nold\n<!-- end -->\nbetween\n<!-- measured: b -->\nkept\n<!-- end -->\nafter\n"
    assert filled(page, {"a": "new"}) == page.replace("\nold\n", "\n\nnew\n\n")
    with pytest.raises(LookupError, match="no place for c"):
        filled(page, {"c": "new"})


def test_the_chart_has_a_bar_for_each_row_on_its_side_of_1x() -> None:
    drawn = ElementTree.fromstring(chart([result("slow", 0.5, 2.0), result("fast", 4.0, 2.0)], MACHINE))
    bars = [(bar.get("class"), _span(bar)) for bar in drawn.iter(f"{SVG}rect") if bar.get("height") == "14"]
    (one,) = (float(_match(line)) for line in drawn.iter(f"{SVG}path") if line.get("class") == "one")
    assert [kind for kind, _ in bars] == ["unmet", "met"]
    assert bars[0][1][1] == pytest.approx(one, abs=0.2)
    assert bars[1][1][0] == pytest.approx(one, abs=0.2)
    # Logarithmic: 4x is twice as far from 1x as 0.5x is.
    assert bars[1][1][1] - one == pytest.approx(2 * (one - bars[0][1][0]), abs=0.5)
    assert any("a <b>" in (text.text or "") for text in drawn.iter(f"{SVG}text"))


def test_the_chart_is_made_for_light_and_dark_and_fetches_nothing() -> None:
    text = chart([result("a", 1.0)], MACHINE)
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|<script|<image", text)


def _span(bar: ElementTree.Element) -> tuple[float, float]:
    left = float(bar.get("x", ""))
    return left, left + float(bar.get("width", ""))


def _match(line: ElementTree.Element) -> str:
    found = re.match(r"M([\d.]+) ", line.get("d", ""))
    assert found is not None
    return found[1]
