"""Compare two runs over the same samples, paired: which is better, by how much, on which samples.

Each sample is answered by A and by B, once per seed. Resampling draws samples, which represent the
benchmark's population, and keeps all seeds of a sample together: answers to one sample under
several seeds are not independent evidence. An errored sample is not correct.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any, TypeAlias

from ttsi.errors import UsageError
from ttsi.results import metrics
from ttsi.results.differences import differences
from ttsi.results.runs import Run, SeedRun
from ttsi.types import ENGINE_ERROR, JSON, Record, Score, StageCost

RESAMPLES = 9999
BOOTSTRAP_SEED = 0

Pairs: TypeAlias = Mapping[int, Sequence[tuple[Record, Record]]]
"""By seed: (A's record, B's record) of every sample, in A's order."""


def compare(a: Run, b: Run) -> dict[str, JSON]:
    """Return what `ttsi compare A B` prints. Differences are B - A; `fixed`: wrong in A, right in
    B.

    Raises UsageError unless the runs have the same samples, scoring and seeds.
    """
    pairs = paired(a, b)
    gains = _gains(pairs)
    shares = [gain / len(pairs) for gain in gains.values()]
    flips = _flips(pairs)
    fixed = sum(flip["change"] == "fixed" for flip in flips)
    several = len(pairs) > 1
    by_seed = {str(seed): _of_seed(some) for seed, some in pairs.items()}
    return {
        "schema": "ttsi.comparison/1",
        "benchmark": a.spec["benchmark"]["name"],
        "samples": len(gains),
        "seeds": list(pairs),
        "a": _side(a),
        "b": _side(b),
        "settings": {k: {"a": v[0], "b": v[1]} for k, v in differences([a, b]).items()},
        "points": 100 * fmean(shares),
        "points_interval": bootstrap([100 * share for share in shares]),
        "bootstrap": {"method": "percentile", "resamples": RESAMPLES, "seed": BOOTSTRAP_SEED},
        "fixed": fixed,
        "broken": len(flips) - fixed,
        "test": "sign flips of whole samples, exact" if several else "McNemar, exact",
        "p": sign_flip(list(gains.values())) if several else by_seed[str(a.seeds[0].seed)]["p"],
        "by_seed": by_seed,
        "over_seeds": metrics.spread([each["points"] for each in by_seed.values()]),
        "flips": flips,
    }


def bootstrap(values: Sequence[float], resamples: int = RESAMPLES) -> list[float] | None:
    """Return the 95 % percentile bootstrap interval of the mean; `values` has one per sample.

    None if all values are equal: every resample is then the same and says nothing about others.
    """
    import numpy as np

    distinct, counts = np.unique(np.asarray(values, float), return_counts=True)
    if len(distinct) < 2:
        return None
    # A resample is told by how often each value is in it. Of right answers there are few values,
    # so that 100,000 samples take no longer than ten.
    drawn = np.random.default_rng(BOOTSTRAP_SEED).multinomial(
        len(values), counts / len(values), size=resamples
    )
    outside = (1 - metrics.CONFIDENCE) / 2
    low, high = np.quantile(drawn @ distinct / len(values), [outside, 1 - outside])
    return [float(low), float(high)]


def sign_flip(gains: Sequence[int]) -> float:
    """Return the exact two-sided p of the sum of `gains` (B's right answers minus A's, per sample).

    If A and B are equally good, exchanging them on any sample, in all its seeds at once, is equally
    likely; so each gain may have either sign. The distribution of the sum is computed exactly. For
    gains of -1, 0 and 1 this is McNemar's exact test.
    """
    import numpy as np

    sizes = [abs(gain) for gain in gains if gain]
    if not any(size > 1 for size in sizes):
        fixed = sum(gain > 0 for gain in gains)
        return metrics.mcnemar(fixed, len(sizes) - fixed)
    reach = sum(sizes)
    chances = np.zeros(2 * reach + 1)
    chances[reach] = 1.0
    for size in sizes:
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2
    sums = np.abs(np.arange(-reach, reach + 1))
    return min(1.0, float(chances[sums >= abs(sum(gains))].sum()))


# ---------------------------------------------------------------- what is paired

WORDING: Mapping[str, str | None] = {
    "instruction": None,
    "prompt": "paper",
    "tool_order": "given",
}
"""Options of ttsi's benchmarks that change how a task is put, and not what is right, with their
defaults, which hold for a run that was made before there was the option."""


def paired(a: Run, b: Run) -> dict[int, list[tuple[Record, Record]]]:
    """Return the paired records by seed.

    Raises UsageError unless benchmark, scorer, seeds and samples are the same. Prompts may differ
    only where the benchmark's options say so.
    """
    for key, cure in (
        ("benchmark", "Only runs on one benchmark can be compared."),
        ("scorer", "Run both with one scorer, or score both predictions.jsonl with `ttsi score`."),
    ):
        _same_component(a, b, key, cure)
    ours, theirs = ({each.seed: each for each in run.seeds} for run in (a, b))
    if ours.keys() != theirs.keys():
        raise UsageError(
            f"The runs have different seeds: {_list(ours)} and {_list(theirs)}.",
            where=f"{a.folder} and {b.folder}",
            cure="Run the seeds that are missing (`ttsi eval SPEC --seeds N,N`), or name one seed "
            "of each, such as RUN/seed-0.",
        )
    worded = _worded_otherwise(a, b)
    return {
        seed: _paired_seed(one, theirs[seed], worded=worded and _same_data(one, theirs[seed]))
        for seed, one in ours.items()
    }


def _worded_otherwise(a: Run, b: Run) -> bool:
    """Return whether the benchmark's options differ in nothing but how its tasks are worded."""
    ours, theirs = a.spec["benchmark"], b.spec["benchmark"]
    ours, theirs = {**WORDING, **ours}, {**WORDING, **theirs}
    differing = {key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)}
    return bool(differing) and differing <= WORDING.keys() and "/" not in ours["name"]


def _same_data(a: SeedRun, b: SeedRun) -> bool:
    revision = a.identity.get("revision")
    return revision is not None and revision == b.identity.get("revision")


def _same_component(a: Run, b: Run, key: str, cure: str) -> None:
    ours, theirs = a.spec[key], b.spec[key]
    # A benchmark's options may differ: their effect shows in the samples.
    if ours["name"] == theirs["name"] and (key == "benchmark" or ours == theirs):
        return
    raise UsageError(
        f"The runs have different {key}s: {_component(ours)} and {_component(theirs)}.",
        where=f"{a.folder} and {b.folder}",
        cure=cure,
    )


def _component(component: Mapping[str, Any]) -> str:
    options = ", ".join(f"{key}={value}" for key, value in component.items() if key != "name")
    return f"{component['name']} ({options})" if options else str(component["name"])


def _paired_seed(a: SeedRun, b: SeedRun, *, worded: bool) -> list[tuple[Record, Record]]:
    """Return the pairs of a seed; of the same data digests differ where `worded` otherwise."""
    theirs = {record.id: record for record in b.records}
    ours = {record.id: record for record in a.records}
    faults = [
        ("only in the first", [name for name in ours if name not in theirs]),
        ("only in the second", [name for name in theirs if name not in ours]),
        (
            "with another prompt or reference",
            [n for n in ours if n in theirs and not worded and ours[n].digest != theirs[n].digest],
        ),
    ]
    told = [f"{len(names)} {what} ({_first(names)})" for what, names in faults if names]
    if told:
        unfinished = [str(run.folder) for run in (a, b) if not run.complete]
        raise UsageError(
            f"The runs are over different samples: {'; '.join(told)}.",
            where=f"{a.folder} and {b.folder}",
            cure=f"Finish {' and '.join(unfinished)} by the command that began it."
            if unfinished
            else "Run both with the same benchmark options (limit, select, ids) and data.",
        )
    return [(record, theirs[record.id]) for record in a.records]


def _list(seeds: Mapping[int, SeedRun]) -> str:
    return ", ".join(str(seed) for seed in seeds)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


# ---------------------------------------------------------------- what comes of it


def _correct(record: Record) -> bool:
    return record.final_score is not None and record.final_score.correct


def _gains(pairs: Pairs) -> dict[str, int]:
    """Return, by sample, the number of seeds in which B is right minus that in which A is."""
    gains: dict[str, int] = {}
    for some in pairs.values():
        for a, b in some:
            gains[a.id] = gains.get(a.id, 0) + _correct(b) - _correct(a)
    return gains


def _of_seed(pairs: Sequence[tuple[Record, Record]]) -> dict[str, JSON]:
    fixed = sum(_correct(b) and not _correct(a) for a, b in pairs)
    broken = sum(_correct(a) and not _correct(b) for a, b in pairs)
    return {
        "fixed": fixed,
        "broken": broken,
        "points": 100 * (fixed - broken) / len(pairs),
        "p": metrics.mcnemar(fixed, broken),
    }


def _flips(pairs: Pairs) -> list[dict[str, Any]]:
    """Return the samples on which only one run is right, in the benchmark's order."""
    return [
        {
            "id": a.id,
            "seed": seed,
            "change": "fixed" if _correct(b) else "broken",
            "a": _answer(a),
            "b": _answer(b),
        }
        for seed, some in pairs.items()
        for a, b in some
        if _correct(a) != _correct(b)
    ]


def _answer(record: Record) -> dict[str, JSON]:
    score = record.final_score
    reason = score.reason if score else ENGINE_ERROR
    return {
        "correct": _correct(record),
        "reason": reason,
        "detail": score.detail if score else record.error,
        "adapted": record.adapted,
        "text": record.final.text if record.final else None,
    }


def _side(run: Run) -> dict[str, JSON]:
    """Return one run's own numbers: accuracy, its interval, each seed's outcome, and cost."""
    outcomes = {
        str(seed.seed): metrics.outcome([record.final_score for record in seed.records])
        for seed in run.seeds
    }
    accuracies = [outcome["accuracy"] for outcome in outcomes.values()]
    records = [record for seed in run.seeds for record in seed.records]
    costs = [cost for record in records for cost in record.costs.values()]
    return {
        "name": run.name,
        "folder": str(run.folder),
        "model": run.spec["model"]["id"],
        "complete": all(seed.complete for seed in run.seeds),
        "errors": sum(outcome["errors"] for outcome in outcomes.values()),
        "accuracy": fmean(accuracies),
        "accuracy_interval": accuracy_interval(rights(run, lambda record: record.final_score)),
        "over_seeds": metrics.spread(accuracies),
        "by_seed": outcomes,
        "cost": asdict(sum(costs, StageCost())),
    }


def rights(run: Run, of: Callable[[Record], Score | None]) -> dict[str, list[bool]]:
    """Return, by sample, whether its score is right in each seed; `of` gives a record's score."""
    found: dict[str, list[bool]] = {}
    for seed in run.seeds:
        for record in seed.records:
            score = of(record)
            found.setdefault(record.id, []).append(score is not None and score.correct)
    return found


def accuracy_interval(right: Mapping[str, Sequence[bool]]) -> list[float] | None:
    """Return Wilson's interval for one seed; for several, the bootstrap of the samples' means.

    `right`: by sample, of each seed.
    """
    if all(len(some) == 1 for some in right.values()):
        return metrics.wilson(sum(some[0] for some in right.values()), len(right))
    return bootstrap([fmean(some) for some in right.values()])
