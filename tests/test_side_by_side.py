"""Estimators side by side: each number by brute force, selection by runs under a budget."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise, permutations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import document, made
from sklearn.metrics import roc_auc_score

import ttsi_fakes
from ttsi.cli.main import main
from ttsi.errors import UsageError
from ttsi.results.calibration import Case, auroc
from ttsi.results.estimators import ece, prr, selection, side_by_side
from ttsi.results.runs import Run

levels = st.sampled_from([0.0, 0.2, 0.2, 0.5, 0.9, 1.0])
few = st.lists(
    st.builds(Case, st.just("x"), levels, st.booleans(), st.booleans()), min_size=1, max_size=6
)


def orders(cases: Sequence[Case]) -> list[tuple[Case, ...]]:
    """Return every order from the most to the least confident."""
    return [
        order
        for order in permutations(cases)
        if all(a.confidence >= b.confidence for a, b in pairwise(order))
    ]


def mean_risk(order: Sequence[Case]) -> float:
    return fmean(fmean(c.wrong for c in order[:k]) for k in range(1, len(order) + 1))


@settings(max_examples=40, deadline=None)
@given(few)
def test_prr_is_the_mean_over_the_orders_of_ties(cases: list[Case]) -> None:
    wrong = [case.wrong for case in cases]
    if len(set(wrong)) < 2:
        assert prr(cases) is None
        return
    ours = fmean(map(mean_risk, orders(cases)))
    oracle = min(map(mean_risk, permutations(cases)))
    assert prr(cases) == pytest.approx((fmean(wrong) - ours) / (fmean(wrong) - oracle))
    # A chooser by chance is worth 0.
    same = [Case(case.id, 0.5, case.wrong, None) for case in cases]
    assert prr(same) == pytest.approx(0, abs=1e-12)


def test_an_oracle_has_a_prr_of_1() -> None:
    cases = [Case("x", 0.1 * n, n < 4, None) for n in range(10)]
    assert prr(cases) == pytest.approx(1)
    assert prr([Case("x", 1 - c.confidence, c.wrong, None) for c in cases]) < 0  # type: ignore[operator]


@settings(max_examples=40, deadline=None)
@given(few, st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 2))
def test_selection_is_the_mean_over_the_choices(
    cases: list[Case], share: float, errors: int
) -> None:
    whole = len(cases) + errors
    count = min(round(share * whole), len(cases))
    found = fmean(
        sum(c.adapted_correct is True for c in reversed(order[len(order) - count :]))
        + sum(not c.wrong for c in order[: len(order) - count])
        for order in orders(cases)
    )
    assert selection(cases, share, errors) == (pytest.approx(found / whole), 0)


def test_selection_without_an_answer_that_it_needs_is_unknown() -> None:
    cases = [Case("a", 0.1, True, True), Case("b", 0.2, True, None), Case("c", 0.2, False, True)]
    assert selection(cases, 1 / 3) == (pytest.approx(2 / 3), 0)
    assert selection(cases, 2 / 3) == (None, 1)
    assert selection([], 0.5) == (None, 0)


rated = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=60)


@settings(max_examples=40, deadline=None)
@given(rated)
def test_ece_and_auroc_are_those_of_numpy_and_sklearn(pairs: list[tuple[float, bool]]) -> None:
    cases = [Case("x", u, wrong, None) for u, wrong in pairs]
    u, right = np.array([u for u, _ in pairs]), np.array([not wrong for _, wrong in pairs])
    bins = np.minimum((u * 10).astype(int), 9)
    gaps = [
        abs(u[bins == b].mean() - right[bins == b].mean()) * (bins == b).sum() for b in set(bins)
    ]
    assert ece(cases) == pytest.approx(sum(gaps) / len(pairs))
    if len(set(right)) == 2:
        assert auroc(cases) == pytest.approx(roc_auc_score(right, u))


# ---------------------------------------------------------------- runs

MARGIN = {"name": "rss_margin", "threshold": 0.5}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    out = tmp_path_factory.mktemp("runs")
    return [made(out, estimator=name) for name in (MARGIN, "entropy", "always")]


@pytest.mark.parametrize("estimator", [MARGIN, "entropy"])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_selection_is_the_accuracy_of_a_run_under_that_budget(
    runs: list[Run], tmp_path: Path, estimator: Any, share: float
) -> None:
    found: Any = side_by_side(runs, ["rss_margin", "entropy", "always"], share)
    name = estimator if isinstance(estimator, str) else estimator["name"]
    (row,) = [row for row in found["rows"] if row["label"] == name]
    results = made(tmp_path, estimator=estimator, budget=share).seeds[0].results
    assert row["selection"] == pytest.approx(results["accuracy"])
    assert row["auroc"] == pytest.approx(results["estimator"]["auroc"])
    assert row["lacking"] == 0


def test_without_a_run_that_adapts_all_selection_is_unknown(
    runs: list[Run], tmp_path: Path
) -> None:
    never = made(tmp_path, estimator="never")
    found: Any = side_by_side([never, runs[0]], ["never", "margin"], 1.0)
    assert [row["selection"] for row in found["rows"]] == [None, None]
    assert all(row["lacking"] > 0 for row in found["rows"])


def test_runs_that_differ_in_more_than_the_estimator_are_refused(
    runs: list[Run], tmp_path: Path
) -> None:
    in_context = made(tmp_path, learner="icl")
    with pytest.raises(UsageError, match="differ in their learner"):
        side_by_side([runs[0], in_context], ["a", "b"])
    other = made(tmp_path, benchmark={"name": "ttsi-fakes/rows", "rows": 3})
    with pytest.raises(UsageError, match="different samples"):
        side_by_side([runs[0], other], ["a", "b"])


def test_the_command_puts_runs_side_by_side(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(run.folder) for run in runs]
    assert main(["calibrate", *folders, "--plot", str(tmp_path / "roc.svg")]) == 0
    out = capsys.readouterr().out
    assert "estimator entropy" in out
    assert "the least confident 25 % were adapted to" in " ".join(out.split())
    assert (tmp_path / "roc.svg").read_text().count("curve series-") == 2 * 3
    assert main(["calibrate", *folders, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["estimator"]["name"] for row in rows] == ["rss_margin", "entropy", "always"]


def test_estimators_of_a_spec_share_their_base_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(document()))
    asked: list[Any] = []
    generate = ttsi_fakes.ScriptedEngine.generate

    def watched(engine: Any, requests: Any) -> Any:
        asked.extend(requests)
        return generate(engine, requests)

    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "generate", watched)
    command = ["calibrate", str(spec), "--estimators", "rss_margin,entropy,random", "--json"]
    command += ["--out", str(tmp_path / "runs")]
    assert main(command) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["estimator"]["name"] for row in rows] == ["rss_margin", "entropy", "random"]
    assert len(asked) == 12
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == rows
    assert len(asked) == 12


def test_a_cell_of_a_matrix_is_calibrated_with_several_estimators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.json"
    methods = {"base": {"/estimator": "never"}, "tt-si": {}, "in-context": {"/learner": "icl"}}
    spec.write_text(json.dumps(document(matrix={"method": methods})))
    command = ["calibrate", str(spec), "--cell", "method=in-context", "--json"]
    command += ["--out", str(tmp_path / "runs")]
    assert main(command) == 0
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert found["estimator"]["name"] == "rss_margin"
    assert main([*command, "--estimators", "rss_margin,entropy"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["estimator"]["name"] for row in rows] == ["rss_margin", "entropy"]
    specs = [json.loads(p.read_text()) for p in tmp_path.glob("runs/*/seed-0/spec.resolved.json")]
    assert {spec["learner"]["name"] for spec in specs} == {"icl"}
    monkeypatch.setenv("TTSI_SEEDS", "3")
    more = ["--estimators", "rss_margin,entropy", "--set", "estimator.threshold=0.25"]
    assert main([*command, *more, "--seeds", "1,2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seeds"] == [1, 2]
    assert [row["estimator"]["threshold"] for row in told["rows"]] == [0.25, 0.25]
    both = ["--cell", "method=base", "--cell", "method=tt-si", "--estimators", "rss_margin,entropy"]
    assert main([*command[:2], *both, *command[4:]]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2
    assert main([*command[:3], "method=other"]) == 2
    assert "no cell" in capsys.readouterr().err.lower()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["{run}", "--cell", "method=a"], "cannot be changed in cell"),
        (["{run}", "{spec}"], "folders of runs"),
        (["{run}", "--estimators", "entropy"], "cannot be changed in estimator"),
        (["{run}", "--plot", "x.svg"], "draws several"),
        (["{run}", "{run}", "--thresholds", "0.5"], "--thresholds"),
        (["{run}", "{run}", "--budget", "2"], "no"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    runs: list[Run],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    part: str,
) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(document()))
    named = [each.format(run=runs[0].folder, spec=spec) for each in arguments]
    assert main(["calibrate", *named]) == 2
    assert part in capsys.readouterr().err
