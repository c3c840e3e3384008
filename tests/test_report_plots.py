"""The report's plots show the given data, and its numbers are formatted for people."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reports import Page, plain

from ttsi.pages import text as shown
from ttsi.pages.plots import Scale, pieces, standalone, stepped, thinned, ticks
from ttsi.report.charts import Bar, bars, histogram
from ttsi.report.facts import Facts
from ttsi.report.figures import figures
from ttsi.results import calibration


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    (run,) = plain(tmp_path_factory.mktemp("plain"))
    return Facts(run)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
@example(1.0, 404041.0, 2)
def test_ticks_are_round_and_even(low: float, span: float, about: int) -> None:
    high = low + span
    found = ticks(low, high, about)
    assert 1 <= len(found) <= 2.6 * about + 2
    slack = span * 1e-6
    assert all(low - slack <= tick <= high + slack for tick in found)
    steps = [b - a for a, b in pairwise(found)]
    for step in steps:
        assert step == pytest.approx(steps[0], rel=1e-3)
        assert f"{step:.0e}"[0] in "1259"


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(-20, 20))
def test_a_scale_stays_within_its_ends(low: float, high: float, value: float) -> None:
    assert 10 <= Scale(low, high, 10, 300)(value) <= 300


@given(st.lists(st.tuples(st.floats(0, 1), st.none() | st.floats(0, 1)), max_size=60))
def test_lines_keep_their_points(points: list[tuple[float, float | None]]) -> None:
    known = [point for piece in pieces(points) for point in piece]
    assert known == [(x, y) for x, y in points if y is not None]
    corners = stepped(points)
    assert corners[:1] == points[:1]
    assert [y for _, y in corners[1::3]] == [y for _, y in points[:-1]]
    some = thinned(known, 7)
    assert len(some) == min(len(known), 7)
    assert some[:1] + some[-1:] == known[:1] + known[-1:]


def heights(svg: str, kind: str) -> list[float]:
    shapes = [attrs for attrs in Page(svg).all("rect") if kind in (attrs["class"] or "").split()]
    return [float(attrs["height"] or 0) for attrs in shapes if attrs["width"] != "12"]


@given(st.lists(st.floats(0, 1), min_size=1), st.lists(st.floats(0, 1)))
def test_a_histogram_holds_every_value_once(right: list[float], wrong: list[float]) -> None:
    svg = histogram("t", ("right", "right", right), ("wrong", "wrong", wrong), 0.95)
    tips = re.findall(r": (\d+) (right|wrong)</title>", svg)
    for kind, values in (("right", right), ("wrong", wrong)):
        assert sum(int(count) for count, of in tips if of == kind) == len(values)
    drawn = heights(svg, "right")
    counts = [int(count) for count, of in tips if of == "right"]
    for height, count in zip(drawn, counts, strict=True):
        assert height / drawn[0] == pytest.approx(count / counts[0], rel=0.05)


def test_bars_are_as_long_as_their_values() -> None:
    svg = bars("t", [Bar("a", [("final", 4, "4")]), Bar("b", [("final", 1, "1")])])
    long, short = (float(attrs["width"] or 0) for attrs in Page(svg).all("rect"))
    assert long == pytest.approx(4 * short, rel=0.02)


def test_a_plot_stands_alone(facts: Facts) -> None:
    found = figures(facts)
    assert set(found) >= {"accuracy", "reasons", "confidence", "roc", "risk", "sweep", "stages"}
    for figure in found.values():
        alone = standalone(figure.svg)
        assert alone.startswith('<svg class="plot"')
        assert "<style>" in alone
        assert 'xmlns="http://www.w3.org/2000/svg"' in alone


def test_the_curve_is_that_of_calibration(facts: Facts) -> None:
    roc = figures(facts)["roc"]
    assert shown.rate(calibration.auroc(facts.cases)) in roc.caption
    assert facts.pooled["estimator"]["auroc"] == pytest.approx(calibration.auroc(facts.cases))


@pytest.mark.parametrize(
    ("made_of", "text"),
    [
        (shown.percent(0.3249), "32.5\u00a0%"),
        (shown.percent(None), "–"),
        (shown.points(-0.02), "−2.0"),
        (shown.points(-0.0001), "+0.0"),
        (shown.p_said(0.00001), "p < 0.0001"),
        (shown.p_said(0.0313), "p = 0.031"),
        (shown.seconds(0), "0\u00a0s"),
        (shown.seconds(0.0004), "<\u00a00.01\u00a0s"),
        (shown.seconds(26.01), "26.0\u00a0s"),
        (shown.seconds(1575), "26\u00a0min"),
        (shown.seconds(90_000), "25.0\u00a0h"),
        (shown.count(1, "sample"), "1\u00a0sample"),
        (shown.visible("a\x00\ud800\tb\u202e"), "a\u2400\ufffd\tb⟨U+202E⟩"),
        (shown.excerpt("a  b\n" * 100, 9), "a b a b…"),
        (shown.fitted("abcdef", 30), "abc…"),
    ],
)
def test_numbers_and_text_as_people_read_them(made_of: Any, text: str) -> None:
    assert made_of == text
