"""Every statistic against an independent implementation, and every interval against its coverage.

Simulations: among N repetitions with true coverage c, the observed share is within four standard
errors sqrt(c (1 - c) / N) of c except with probability 1/16000; generators are seeded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from ttsi.results import calibration, comparison, metrics
from ttsi.results.calibration import Case
from ttsi.results.runs import Run, SeedRun
from ttsi.types import Record, Score

SEEDS = range(12)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng([20, seed])


def random_cases(seed: int) -> list[Case]:
    """Return cases with right and wrong answers, and ties in confidence for every second seed."""
    draw = rng(seed)
    size = int(draw.integers(5, 200))
    wrong = np.concatenate([[True, False], draw.random(size - 2) < draw.uniform(0.1, 0.9)])
    confidence = np.clip(draw.normal(0.6 - 0.2 * wrong, 0.25), 0, 1)
    if seed % 2:
        confidence = confidence.round(1)
    pairs = zip(confidence.tolist(), wrong.tolist(), strict=True)
    return [Case(f"x/{i}", u, is_wrong, None) for i, (u, is_wrong) in enumerate(pairs)]


def arrays(cases: list[Case]) -> tuple[np.ndarray, np.ndarray]:
    """Return (wrong, confidence)."""
    return np.array([c.wrong for c in cases]), np.array([c.confidence for c in cases])


# ---------------------------------------------------------------- against other implementations


@pytest.mark.parametrize("seed", SEEDS)
def test_wilson_is_statsmodels(seed: int) -> None:
    draw = rng(seed)
    samples = int(draw.integers(1, 1000))
    correct = int(draw.integers(0, samples + 1))
    expected = proportion_confint(correct, samples, alpha=0.05, method="wilson")
    assert metrics.wilson(correct, samples) == pytest.approx(list(expected), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_mcnemar_is_statsmodels(seed: int) -> None:
    fixed, broken = (int(each) for each in rng(seed).integers(0, 40, 2))
    expected = statsmodels_mcnemar([[10, fixed], [broken, 20]], exact=True).pvalue
    assert metrics.mcnemar(fixed, broken) == pytest.approx(expected)
    gains = [1] * fixed + [-1] * broken + [0] * 30
    assert comparison.sign_flip(gains) == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_t_interval_is_scipys_and_statsmodels(seed: int) -> None:
    values = rng(seed).normal(0.6, 0.05, int(rng(seed).integers(2, 9)))
    spread = metrics.spread(values.tolist())
    assert spread["sd"] == pytest.approx(np.std(values, ddof=1))
    assert spread["interval"] == pytest.approx(DescrStatsW(values).tconfint_mean(0.05))
    scale = stats.sem(values)
    expected = stats.t.interval(0.95, len(values) - 1, loc=values.mean(), scale=scale)
    assert spread["interval"] == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_sign_flips_are_scipys_permutation_test(seed: int) -> None:
    """Exchange A and B on whole samples in all 2^n ways, by brute force."""
    draw = rng(seed)
    seeds, samples = int(draw.integers(1, 5)), int(draw.integers(2, 11))
    a, b = draw.integers(0, seeds + 1, (2, samples))
    expected = stats.permutation_test(
        (b, a),
        lambda x, y, axis: np.sum(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="two-sided",
        vectorized=True,
    ).pvalue
    assert comparison.sign_flip((b - a).tolist()) == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_auroc_and_roc_are_scikit_learns(seed: int) -> None:
    cases = random_cases(seed)
    wrong, confidence = arrays(cases)
    assert calibration.auroc(cases) == pytest.approx(
        sklearn_metrics.roc_auc_score(wrong, -confidence)
    )
    fpr, tpr, _ = sklearn_metrics.roc_curve(wrong, -confidence, drop_intermediate=False)
    points = calibration.roc(cases)
    assert [point[0] for point in points] == pytest.approx(fpr.tolist())
    assert [point[1] for point in points] == pytest.approx(tpr.tolist())
    area = sklearn_metrics.auc(*zip(*points, strict=True))
    assert area == pytest.approx(calibration.auroc(cases))


@pytest.mark.parametrize("seed", SEEDS)
def test_rates_at_a_threshold_are_scikit_learns(seed: int) -> None:
    cases = random_cases(seed)
    wrong, confidence = arrays(cases)
    for threshold in (0.3, 0.5, 0.8):
        row = calibration.at_threshold(cases, threshold)
        flagged = confidence < threshold
        assert row["uncertain"] == flagged.sum()
        assert row["tpr"] == pytest.approx(sklearn_metrics.recall_score(wrong, flagged))
        assert row["fpr"] == pytest.approx(
            1 - sklearn_metrics.recall_score(wrong, flagged, pos_label=False)
        )
        assert row["f1"] == pytest.approx(sklearn_metrics.f1_score(wrong, flagged))
        youden = sklearn_metrics.balanced_accuracy_score(wrong, flagged, adjusted=True)
        assert row["j"] == pytest.approx(youden)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_largest_j_is_that_of_the_roc_curve(seed: int) -> None:
    cases = random_cases(seed)
    wrong, confidence = arrays(cases)
    fpr, tpr, cuts = sklearn_metrics.roc_curve(wrong, -confidence)
    # Nothing below 1 flags a confidence of 1.
    reachable = cuts != -1.0
    best = calibration.suggest(cases)["by_j"]
    assert best["j"] == pytest.approx((tpr - fpr)[reachable].max())


@pytest.mark.parametrize("seed", SEEDS)
def test_risk_and_coverage_are_one_less_precision_of_the_right(seed: int) -> None:
    cases = random_cases(seed)
    wrong, confidence = arrays(cases)
    precision, _, cuts = sklearn_metrics.precision_recall_curve(~wrong, confidence)
    expected = [
        ((confidence >= cut).mean(), 1 - share)
        for cut, share in zip(cuts[::-1], precision[:-1][::-1], strict=True)
    ]
    found = calibration.risk_coverage(cases)
    assert [point[0] for point in found] == pytest.approx([each[0] for each in expected])
    assert [point[1] for point in found] == pytest.approx([each[1] for each in expected])


@pytest.mark.parametrize("seed", SEEDS)
def test_reliability_and_brier_are_scikit_learns(seed: int) -> None:
    cases = random_cases(2 * seed)
    wrong, confidence = arrays(cases)
    right, mean = calibration_curve(~wrong, confidence, n_bins=10)
    found = calibration.reliability(cases)
    assert [each[0] for each in found] == pytest.approx(mean.tolist())
    assert [each[1] for each in found] == pytest.approx(right.tolist())
    assert sum(each[2] for each in found) == len(cases)
    assert calibration.brier(cases) == pytest.approx(
        sklearn_metrics.brier_score_loss(~wrong, confidence)
    )


# ---------------------------------------------------------------- the paired bootstrap


def runs_of(a: np.ndarray, b: np.ndarray) -> tuple[Run, Run]:
    """Return runs with the right answers given by boolean arrays [seeds, samples]."""
    document = {
        "name": "drawn",
        "model": {"id": "none"},
        "benchmark": {"name": "drawn"},
        "scorer": {"name": "exact"},
    }

    def run(answers: np.ndarray) -> Run:
        seeds = tuple(
            SeedRun(
                Path("drawn"),
                number,
                tuple(
                    Record(f"x/{i}", "", number, final_score=Score(bool(right)))
                    for i, right in enumerate(some)
                ),
                {},
                True,
            )
            for number, some in enumerate(answers)
        )
        return Run(Path("drawn"), document, {}, seeds)

    return run(a), run(b)


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_bootstrap_draws_samples_with_all_their_seeds(seeds: int) -> None:
    draw = rng(seeds)
    samples = 150
    skill = draw.random(samples)
    a, b = (draw.random((seeds, samples)) < level for level in (skill * 0.8, skill))
    found = comparison.compare(*runs_of(a, b))
    assert found["points"] == pytest.approx(100 * (b.mean() - a.mean()))
    chosen = draw.integers(0, samples, (20_000, samples))
    resampled = [100 * (b[:, some].mean() - a[:, some].mean()) for some in chosen]
    # A mean moves in steps of one answer, and an end may fall on either side of one.
    expected = np.percentile(resampled, [2.5, 97.5]).tolist()
    assert found["points_interval"] == pytest.approx(expected, abs=0.1 + 100 / a.size)


def test_seeds_of_a_sample_are_no_evidence_of_their_own() -> None:
    """Repeating each sample's outcome three times adds no information."""
    draw = rng(0)
    a, b = (draw.random((1, 120)) < level for level in (0.4, 0.55))
    once = comparison.compare(*runs_of(a, b))
    thrice = comparison.compare(*runs_of(np.repeat(a, 3, axis=0), np.repeat(b, 3, axis=0)))
    assert thrice["points_interval"] == pytest.approx(once["points_interval"])
    assert thrice["p"] == pytest.approx(once["p"])


# ---------------------------------------------------------------- coverage


def tolerance(coverage: float, repetitions: int) -> float:
    return 4 * math.sqrt(coverage * (1 - coverage) / repetitions)


def covered(repetitions: int, holds: Callable[[np.random.Generator], bool]) -> float:
    draw = rng(repetitions)
    return sum(holds(draw) for _ in range(repetitions)) / repetitions


wilson = cache(metrics.wilson)


def inside(interval: list[float] | None, truth: float) -> bool:
    return interval is not None and interval[0] <= truth <= interval[1]


@pytest.mark.parametrize("samples", [20, 100, 300])
def test_wilson_covers_a_share_that_is_anywhere(samples: int) -> None:
    """Counts are whole, so coverage varies about 0.95 with p; averaged over p it is nominal."""

    def holds(draw: np.random.Generator) -> bool:
        p = draw.uniform(0.02, 0.98)
        return inside(wilson(int(draw.binomial(samples, p)), samples), p)

    assert covered(8000, holds) == pytest.approx(0.95, abs=tolerance(0.95, 8000))


@pytest.mark.parametrize("samples", [20, 100, 300])
@pytest.mark.parametrize("p", [0.05, 0.2, 0.5, 0.9])
def test_wilson_covers_a_share_as_often_as_the_formula_does(samples: int, p: float) -> None:
    counts = np.arange(samples + 1)
    low, high = proportion_confint(counts, samples, alpha=0.05, method="wilson")
    exact = stats.binom.pmf(counts, samples, p)[(low <= p) & (p <= high)].sum()
    assert exact > 0.92

    def holds(draw: np.random.Generator) -> bool:
        return inside(wilson(int(draw.binomial(samples, p)), samples), p)

    assert covered(4000, holds) == pytest.approx(exact, abs=tolerance(exact, 4000))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_t_interval_covers_the_mean_over_seeds(seeds: int) -> None:
    def holds(draw: np.random.Generator) -> bool:
        return inside(metrics.spread(draw.normal(0.6, 0.03, seeds).tolist())["interval"], 0.6)

    assert covered(4000, holds) == pytest.approx(0.95, abs=tolerance(0.95, 4000))


def test_the_t_interval_covers_accuracies_that_are_counts() -> None:
    def holds(draw: np.random.Generator) -> bool:
        accuracies = draw.binomial(300, 0.6, 5) / 300
        return inside(metrics.spread(accuracies.tolist())["interval"], 0.6)

    assert covered(4000, holds) == pytest.approx(0.95, abs=tolerance(0.95, 4000))


@pytest.mark.parametrize("samples", [100, 200, 300])
def test_the_paired_bootstrap_covers_the_difference(samples: int) -> None:
    """15 % of samples are fixed and 10 % broken: the true difference is 5 points."""

    def holds(draw: np.random.Generator) -> bool:
        gains = 100.0 * draw.choice([1, -1, 0], samples, p=[0.15, 0.10, 0.75])
        return inside(comparison.bootstrap(gains.tolist(), resamples=999), 5.0)

    assert covered(1000, holds) == pytest.approx(0.95, abs=tolerance(0.95, 1000))


def test_the_bootstrap_over_several_seeds_covers_the_difference() -> None:
    """Samples differ in difficulty for A and for B; a sample's three seeds share it."""
    samples, seeds = 150, 3

    def holds(draw: np.random.Generator) -> bool:
        a, b = draw.beta(1.0, 1.5, samples), draw.beta(1.5, 1.0, samples)
        gains = draw.binomial(seeds, b) - draw.binomial(seeds, a)
        return inside(comparison.bootstrap((gains / seeds).tolist(), resamples=999), 0.2)

    assert covered(1000, holds) == pytest.approx(0.95, abs=tolerance(0.95, 1000))


def test_sign_flips_seldom_find_a_difference_that_is_not_there() -> None:
    """Equal models, samples of different difficulty, three seeds: p <= 0.05 in at most 5 %."""

    def found(draw: np.random.Generator) -> bool:
        hardness = draw.beta(0.5, 0.5, 60)
        gains = draw.binomial(3, hardness) - draw.binomial(3, hardness)
        return comparison.sign_flip(gains.tolist()) <= 0.05

    share = covered(4000, found)
    assert 0.02 < share <= 0.05 + tolerance(0.05, 4000)
