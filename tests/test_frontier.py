"""The frontier: its line by brute force, its verdicts by `compare`, its plot without overlaps."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import Page, made

from ttsi.cli.main import main
from ttsi.errors import UsageError
from ttsi.report import html
from ttsi.report.frontier import plots, sentences
from ttsi.report.scatter import Box, apart
from ttsi.results.comparison import compare
from ttsi.results.frontier import COSTS, Frontier, Point, frontier, line, verdict
from ttsi.results.runs import Run
from ttsi.types import StageCost

costs = st.integers(0, 20).map(float)
bits = st.lists(st.booleans(), min_size=4, max_size=4)


def point(label: str, search: bool, seconds: float, right: list[bool]) -> Point:
    by_sample = {str(number): [each] for number, each in enumerate(right)}
    return Point(label, search, sum(right) / len(right), None, seconds, 2 * seconds, by_sample)


points = st.lists(st.builds(point, st.just("p"), st.booleans(), costs, bits), max_size=12)


@settings(max_examples=25)
@given(points, st.builds(point, st.just("m"), st.just(False), costs, bits))
def test_the_line_is_the_best_search_at_a_cost_or_less(some: list[Point], method: Point) -> None:
    as_cheap = [p.accuracy for p in some if p.search and p.seconds <= method.seconds]
    found = verdict(method, some, "seconds")
    if not as_cheap:
        assert (found.search, found.points) == (None, None)
    else:
        assert found.points == pytest.approx(100 * (method.accuracy - max(as_cheap)))
    levels = line(some, "seconds")
    assert all(a.seconds <= b.seconds and a.accuracy < b.accuracy for a, b in pairwise(levels))


spots = st.tuples(st.floats(40, 344), st.floats(40, 230))


@given(st.lists(spots, min_size=1, max_size=12))
def test_numbers_cover_nothing(some: list[tuple[float, float]]) -> None:
    frame = Box(192, 135, 304, 190)
    boxes = apart(some, frame)
    marks = [Box(x, y, 9, 9) for x, y in some]
    for at, box in enumerate(boxes):
        assert not any(box.meets(other) for other in [*marks, *boxes[:at]])
        assert abs(box.x - 192) <= 152
        assert abs(box.y - 135) <= 95


def test_twelve_equal_points_have_twelve_numbers_apart() -> None:
    boxes = apart([(100.0, 100.0)] * 12, Box(192, 135, 304, 190))
    assert not any(a.meets(b) for at, a in enumerate(boxes) for b in boxes[:at])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    out = tmp_path_factory.mktemp("runs")
    votes = {"name": "best_of", "samples": 3}
    return [
        costing(made(out, name="base", estimator="never"), 1),
        costing(made(out, name="votes", estimator="never", inference=votes), 3),
        costing(made(out, name="tt-si", estimator="always"), 2),
        costing(made(out, name="icl", estimator="always", learner="icl"), 2),
    ]


def costing(run: Run, seconds: float) -> Run:
    (seed,) = run.seeds
    spent = {"answer": StageCost(seconds, 10, 5)}
    records = tuple(replace(record, costs=spent) for record in seed.records)
    return replace(run, seeds=(replace(seed, records=records),))


def test_verdicts_are_those_of_compare(runs: list[Run]) -> None:
    found = frontier(runs, ["base", "votes", "tt-si", "icl"])
    by_seconds = {v.label: v for v in found.verdicts if v.cost == "seconds"}
    told = compare(runs[0], runs[2])
    assert by_seconds["tt-si"].search == "base"
    assert by_seconds["tt-si"].points == pytest.approx(told["points"]) == 50
    assert by_seconds["tt-si"].interval == pytest.approx(told["points_interval"])
    assert by_seconds["tt-si"].p == pytest.approx(told["p"])
    assert [point.search for point in found.points] == [True, True, False, False]
    said = sentences(found)
    assert any("tt-si is above the line of search at equal seconds: 50.0" in s for s in said)
    assert any("icl is on the line" in s and "as right as base" in s for s in said)


def test_a_method_below_the_line_is_said_to_be_so(runs: list[Run]) -> None:
    best = {name: [True] for name in frontier(runs[:1], ["base"]).points[0].right}
    votes = Point("votes", True, 1.0, None, 1.5, 100.0, best)
    method = frontier(runs, ["base", "votes", "tt-si", "icl"]).points[3]
    verdicts = [verdict(method, [votes], cost) for cost in COSTS]
    said = sentences(Frontier([votes, method], verdicts))
    assert said[0].startswith("icl is below the line of search at equal seconds: 50.0 points worse")
    assert said[1] == "icl: no search was run that takes as few tokens."


def test_a_run_brings_its_base_model(runs: list[Run]) -> None:
    found = frontier(runs[2:], ["tt-si", "icl"])
    assert [point.label for point in found.points] == ["tt-si", "icl", "base model"]
    base = found.points[2]
    assert base.search
    assert base.accuracy == frontier(runs[:1], ["b"]).points[0].accuracy
    assert "than the base model" in sentences(found)[0]


def test_another_prompt_is_another_base_model(tmp_path: Path) -> None:
    rows = {"name": "quickstart", "limit": 4}
    adapted = made(tmp_path, benchmark=rows, estimator="always")
    worded = {**rows, "instruction": "{tools} {format}"}
    other = made(tmp_path, benchmark=worded, estimator="never")
    found = frontier([adapted, other], ["adapted", "other"])
    assert [point.label for point in found.points] == ["adapted", "other", "base model"]
    same = made(tmp_path, benchmark=rows, estimator="never")
    found = frontier([adapted, same], ["adapted", "same"])
    assert [point.label for point in found.points] == ["adapted", "same"]


def test_runs_over_other_samples_have_no_frontier(runs: list[Run], tmp_path: Path) -> None:
    other = made(tmp_path, benchmark={"name": "ttsi-fakes/rows", "rows": 3})
    with pytest.raises(UsageError, match="different samples"):
        frontier([runs[0], other], ["a", "b"])
    assert "No frontier can be drawn. The runs are over" in Page(html([runs[0], other])).text


@pytest.mark.parametrize("seconds", [0.0, float("nan"), float("inf"), -1.0])
def test_costs_that_cannot_be_drawn_are_not(runs: list[Run], seconds: float) -> None:
    found = frontier([costing(run, seconds) for run in runs], list("abcd"))
    assert list(plots(found)) == ["tokens"]


def test_a_plot_tells_all_in_words_and_shapes(runs: list[Run]) -> None:
    found = frontier(runs, ["base", "votes", "tt-si", "<b>&"])
    page = Page(plots(found)["seconds"].svg)
    (drawn,) = page.all("svg")
    assert "1, base: 50.0" in (drawn["aria-label"] or "")
    # Two of each shape in the plot and in its key, and one in the legend.
    assert len(page.of_class("outlined")) == len(page.of_class("dot")) == 2 * 2 + 1
    assert "<b>&" in page.text
    assert [w for w in page.words if re.fullmatch("[1-4]", w)].count("4") == 2


def test_a_report_has_the_frontier(runs: list[Run]) -> None:
    several = Page(html(runs))
    assert "tt-si is above the line of search at equal seconds" in several.text
    assert several.text.index("Accuracy and cost") < several.text.index("Answers")
    assert "is above the line of search" in Page(html([runs[2]])).text


# ---------------------------------------------------------------- the command


def test_several_runs_are_compared_with_the_first(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(run.folder) for run in runs]
    assert main(["compare", *folders, "--plot", str(tmp_path / "f.svg")]) == 0
    out = capsys.readouterr().out
    assert "C  tt-si" in out
    assert re.search(r"C +100\.0 \[75\.\d, 100\.0\] +\+50\.0 \[25\.0, 75\.0\] +0\.031", out)
    assert "tt-si is above the line of search at equal tokens" in out
    assert (tmp_path / "f.svg").read_text().startswith('<svg class="plot"')
    assert main(["compare", *folders, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [each["b"]["name"] for each in found["comparisons"]] == ["votes", "tt-si", "icl"]
    assert [each["label"] for each in found["frontier"]["points"]][:2] == ["base", "votes"]


def test_one_run_is_nothing_to_compare(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(runs[0].folder)]) == 2
    assert "One run" in capsys.readouterr().err
