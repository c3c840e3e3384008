"""Metrics that add up, against textbook formulas and brute force."""

from __future__ import annotations

import dataclasses
import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.answers.calls.values import Reason
from ttsi.results import metrics
from ttsi.types import AnswerStatus, Completion, Estimate, Example, Record, Score, StageCost, Task

RIGHT, WRONG = Score(True), Score(False, Reason.WRONG_VALUE)
ANSWER = Completion("", (), AnswerStatus.OK)


def record(
    base: bool | None, final: bool | None, confidence: float = 0.5, uncertain: bool = False
) -> Record:
    def score(correct: bool | None) -> Score | None:
        return None if correct is None else RIGHT if correct else WRONG

    failed = final is None
    return Record(
        id="x/0",
        digest="",
        seed=0,
        estimate=None if failed else Estimate(confidence, uncertain),
        base=ANSWER if base is not None else None,
        base_score=score(base),
        final=None if failed else ANSWER,
        final_score=score(final),
        error="answer: boom" if failed else "",
    )


outcomes = st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=60)


@given(outcomes)
def test_samples_are_correct_wrong_or_errors(finals: list[bool | None]) -> None:
    results = metrics.summarise([record(final, final) for final in finals])
    assert results["samples"] == results["correct"] + results["wrong"] + results["errors"]
    assert results["accuracy"] == finals.count(True) / len(finals)
    assert sum(results["reasons"].values()) == results["wrong"] + results["errors"]
    low, high = results["accuracy_interval"]
    assert -1e-12 <= low <= results["accuracy"] <= high <= 1 + 1e-12


def test_conversations_have_the_mean_credit_of_their_turns() -> None:
    assert "credit" not in metrics.outcome([Score(True), Score(False, "wrong_value"), None])
    scores = [Score(True, credit=1.0), Score(False, "no_call", credit=0.25), None, None]
    assert metrics.outcome(scores)["credit"] == 1.25 / 4


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_the_textbook_formula(case: tuple[int, int]) -> None:
    k, n = case
    z, p = 1.959963984540054, k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert metrics.wilson(k, n) == pytest.approx([centre - half, centre + half], abs=1e-9)


@pytest.mark.parametrize(("fixed", "broken"), list(product(range(0, 7, 2), range(0, 7, 3))))
def test_mcnemar_is_the_exact_two_sided_binomial(fixed: int, broken: int) -> None:
    records = [record(False, True)] * fixed + [record(True, False)] * broken + [record(True, True)]
    change = metrics.paired_change(records)
    n = fixed + broken
    tail = sum(math.comb(n, i) for i in range(min(fixed, broken) + 1)) / 2**n
    assert change is not None
    assert (change["fixed"], change["broken"]) == (fixed, broken)
    assert change["mcnemar_p"] == pytest.approx(min(1.0, 2 * tail))
    assert change["accuracy_points"] == pytest.approx(100 * (fixed - broken) / (n + 1))


cases = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])), min_size=1, max_size=40
)


@given(cases)
def test_estimator_quality_is_counted_by_hand(pairs: list[tuple[bool, float]]) -> None:
    records = [record(right, right, u, uncertain=u < 0.6) for right, u in pairs]
    quality = metrics.estimator_quality(records)
    wrong = [u for right, u in pairs if not right]
    right = [u for correct, u in pairs if correct]
    assert quality is not None
    assert quality["tpr"] == (sum(u < 0.6 for u in wrong) / len(wrong) if wrong else None)
    assert quality["fpr"] == (sum(u < 0.6 for u in right) / len(right) if right else None)
    if wrong and right:
        won = sum((r > w) + 0.5 * (r == w) for r, w in product(right, wrong))
        assert quality["auroc"] == pytest.approx(won / (len(right) * len(wrong)))
        assert quality["j"] == pytest.approx(quality["tpr"] - quality["fpr"])
    else:
        assert quality["auroc"] is None


def test_an_errored_sample_stays_in_the_denominator_of_base_and_final() -> None:
    results = metrics.summarise([record(True, True), record(None, None)])
    assert results["accuracy"] == results["base"]["accuracy"] == 0.5
    assert results["reasons"] == {"engine_error": 1}


OF_THE_BASE = ("base", "change", "estimator")
"""Figures that need a base answer of every sample."""


@given(st.lists(st.tuples(st.sampled_from([True, False, None]), st.booleans()), max_size=20))
def test_figures_of_the_base_need_its_answer_to_every_sample_that_did_not_fail(
    pairs: list[tuple[bool | None, bool]],
) -> None:
    """Without a baseline, certain samples have a base answer and adapted ones have none."""
    records = [record(base, final, uncertain=base is None) for base, final in pairs]
    records.append(record(None, None))
    records.append(record(True, True))
    results = metrics.summarise(records)
    for key in OF_THE_BASE:
        assert (results[key] is None) == any(base is None for base, _ in pairs)
    assert metrics.paired(records) == all(base is not None for base, _ in pairs)


def test_rates_need_an_estimate_of_every_sample() -> None:
    without = dataclasses.replace(record(True, True), estimate=None)
    results = metrics.summarise([record(True, True), without])
    assert results["estimator"] is None
    assert results["change"] is not None


def test_where_all_failed_there_is_nothing_to_compare() -> None:
    results = metrics.summarise([record(None, None)] * 3)
    assert results["base"]["accuracy"] == 0
    assert results["change"] is results["estimator"] is None


def test_seeds_of_which_one_lacks_the_base_have_no_difference() -> None:
    whole, partly = ([record(True, True)], [record(None, True)])
    results = {seed: metrics.summarise(each) for seed, each in enumerate((whole, partly))}
    summary = metrics.across_seeds(results)
    assert summary["base_accuracy"] is summary["difference"] is None
    assert summary["accuracy"]["n"] == 2
    assert metrics.across_seeds({0: results[0]})["difference"]["mean"] == 0
    assert metrics.across_seeds({})["difference"] is None


def test_no_samples_make_no_accuracy() -> None:
    assert metrics.summarise([])["accuracy"] is None


def test_stage_seconds_add_up_and_are_shared_by_the_uncertain() -> None:
    adapted = Record(
        id="x/1",
        digest="",
        seed=0,
        estimate=Estimate(0.1, True),
        examples=(Example(Task("x/1#0", (), "", "i"), (), "", 1),),
        costs={"answer": StageCost(1, 10, 2), "generate": StageCost(2), "learn": StageCost(3.5)},
    )
    certain = Record(id="x/2", digest="", seed=0, costs={"answer": StageCost(1, 10, 2)})
    stages = metrics.summarise([adapted, certain])["stages"]
    assert stages["seconds"] == 7.5
    assert stages["seconds_per_uncertain_sample"] == 5.5
    assert stages["by_stage"]["answer"]["seconds_per_sample"] == 1
    assert stages["by_stage"]["answer"]["prompt_tokens"] == 20


def test_spread_over_seeds_is_students_interval() -> None:
    values = [0.5, 0.6, 0.55, 0.45, 0.65]
    spread = metrics.spread(values)
    assert spread["mean"] == pytest.approx(0.55)
    assert spread["sd"] == pytest.approx(0.0790569, abs=1e-6)
    half = 2.7764451 * 0.0790569 / math.sqrt(5)
    assert spread["interval"] == pytest.approx([0.55 - half, 0.55 + half], abs=1e-6)
    assert metrics.spread([0.5])["interval"] is None
