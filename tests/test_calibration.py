"""What other thresholds would give, as functions of cases."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.answers.calls.values import Reason
from ttsi.errors import UsageError
from ttsi.results.calibration import (
    Case,
    at_threshold,
    auroc,
    brier,
    numbers,
    reliability,
    risk_at,
    risk_coverage,
    roc,
    suggest,
    suggest_by_budget,
    sweep,
    thresholds,
)
from ttsi.solving.budget import share_out
from ttsi.types import Estimate, Record, Score

levels = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
some_cases = st.lists(
    st.builds(Case, st.just("x/0"), levels, st.booleans(), st.sampled_from([None, True, False])),
    min_size=1,
    max_size=40,
)


@given(some_cases)
def test_thresholds_give_every_outcome_once(cases: list[Case]) -> None:
    cuts = thresholds(cases)
    confidences = [case.confidence for case in cases]
    outcomes = [sum(u < cut for u in confidences) for cut in cuts]
    assert outcomes == sorted(set(outcomes))
    assert all(0 <= cut <= 1 for cut in cuts)
    reachable = {0, *(sum(u < cut for u in confidences) for cut in [*confidences, 1.0])}
    assert set(outcomes) == reachable


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_a_threshold_is_a_short_number_where_one_will_do(confidences: list[float]) -> None:
    cuts = thresholds([Case("x/0", u, False, None) for u in confidences])
    for (low, high), cut in zip(pairwise(sorted(set(confidences))), cuts[1:], strict=False):
        if high - low > 0.1:
            assert cut == round(cut, 2)


@given(some_cases, st.floats(0, 1))
def test_accuracy_is_known_where_every_answer_is(cases: list[Case], threshold: float) -> None:
    row = at_threshold(cases, threshold)
    finals = [
        case.adapted_correct if case.confidence < threshold else not case.wrong for case in cases
    ]
    assert row["accuracy_known"] == (None not in finals)
    assert row["accuracy"] == (None if None in finals else finals.count(True) / len(finals))


@given(some_cases)
def test_the_suggested_threshold_has_no_better(cases: list[Case]) -> None:
    rows = sweep(cases, thresholds(cases))
    for key, row in (("j", suggest(cases)["by_j"]), ("accuracy", suggest(cases)["by_accuracy"])):
        known = [each for each in rows if each[key] is not None]
        if not known:
            assert row is None
            continue
        assert row[key] == max(each[key] for each in known)
        assert row["uncertain"] == min(e["uncertain"] for e in known if e[key] == row[key])


@given(st.lists(levels, min_size=1, max_size=40), st.floats(0, 1))
def test_a_budget_is_kept_to_and_used_up(confidences: list[float], fraction: float) -> None:
    threshold = suggest_by_budget(confidences, fraction)
    below = sum(u < threshold for u in confidences)
    allowed = round(fraction * len(confidences))
    assert below <= allowed
    # The next outcome up, all that tie with the least confident of the others, would exceed it.
    rest = [u for u in confidences if u >= threshold]
    if rest and min(rest) < 1:
        assert below + rest.count(min(rest)) > allowed


@given(st.lists(st.floats(0, 0.999), min_size=1, max_size=40, unique=True), st.floats(0.01, 1))
def test_a_budget_without_ties_is_the_one_that_a_spec_shares_out(
    confidences: list[float], fraction: float
) -> None:
    records = [Record(f"x/{i}", "", 0, Estimate(u, False)) for i, u in enumerate(confidences)]
    threshold = suggest_by_budget(confidences, fraction)
    shared = share_out(records, fraction)
    flags = [each.estimate.uncertain for each in shared.values() if each.estimate]
    assert flags == [u < threshold for u in confidences]


def test_a_budget_of_nothing_or_of_no_share_is_refused() -> None:
    with pytest.raises(UsageError, match="no estimates"):
        suggest_by_budget([], 0.5)
    for fraction in (-0.1, 1.1, math.nan):
        with pytest.raises(UsageError, match="not a share"):
            suggest_by_budget([0.5], fraction)


@given(some_cases)
def test_risk_at_a_coverage_lies_on_the_curve_where_it_ends_a_tie(cases: list[Case]) -> None:
    for coverage, risk in risk_coverage(cases):
        assert risk_at(cases, coverage) == pytest.approx(risk)
    assert risk_at(cases, 1.0) == pytest.approx(sum(c.wrong for c in cases) / len(cases))


def test_risk_among_ties_is_the_mean_over_choices() -> None:
    cases = [Case("a", 0.9, False, None), *(Case("b", 0.5, wrong, None) for wrong in (1, 1, 0))]
    assert risk_at(cases, 0.5) == pytest.approx((0 + 2 / 3) / 2)
    assert risk_at([], 0.5) is None


def test_one_kind_of_answer_has_no_curve_and_no_suggestion() -> None:
    cases = [Case("a", 0.2, True, True), Case("b", 0.7, True, False)]
    assert roc(cases) == []
    assert auroc(cases) is None
    assert suggest(cases)["by_j"] is None
    assert suggest(cases)["by_accuracy"]["threshold"] == at_threshold(cases, 0.4)["threshold"]


def test_reliability_bins_hold_every_case_once() -> None:
    cases = [Case("a", u, wrong, None) for u, wrong in ((0.0, True), (0.55, False), (1.0, False))]
    assert reliability(cases) == [(0.0, 0.0, 1), (0.55, 1.0, 1), (1.0, 1.0, 1)]
    assert brier(cases) == pytest.approx((0 + 0.45**2 + 0) / 3)
    assert brier([]) is None


# ---------------------------------------------------------------- records without labels


def labelled(name: str, confidence: float, correct: bool | None) -> Record:
    score = None if correct is None else Score(correct, None if correct else Reason.NO_CALL)
    return Record(name, "", 0, Estimate(confidence, False), base_score=score)


def test_rates_among_the_labelled_alone_are_not_given() -> None:
    records = [labelled("x/0", 0.9, True), labelled("x/1", 0.8, False), labelled("x/2", 0.1, None)]
    found = numbers(records, budget=1 / 3)
    assert not found["labelled"]
    assert found["auroc"] is None
    assert found["suggested"] == {"by_j": None, "by_accuracy": None}
    assert found["budget"]["uncertain"] == 1
    assert {row["tpr"] for row in found["sweep"]} == {None}
    assert [row["uncertain"] for row in found["sweep"]] == [0, 1, 2, 3]
    assert numbers(records[:2])["labelled"]
