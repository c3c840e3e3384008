"""H: log-likelihoods of the tools' names, against lm-evaluation-harness' HFLM.

Ours are the estimator rss_margin's, on Seal-Tools (5 candidates a task) and on the VirusTotal tasks
of NexusRaven (12 candidates). HFLM scores one candidate at a time or all of a task at once,
whichever is faster here.

    python -m perf.estimate
    python -m perf.estimate --benchmarks nexusraven --samples 12 --device cuda

On two CPU cores Seal-Tools takes five minutes and NexusRaven up to fifteen: HFLM needs one to two
minutes for each of its tasks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from perf.asked import candidates
from perf.common import Bench, agree, arguments, samples
from perf.floor import candidate_paths, distinct, forward
from perf.profile import shares
from perf.references.hflm import Scorer
from perf.result import Result, compare, report
from perf.timing import Side, take_turns
from ttsi.types import Estimate
from ttsi_plugins.estimators.rss_margin import RssMargin

CANDIDATES = {"sealtool": 5, "nexusraven": 12}


def main() -> None:
    parser = arguments(__doc__ or "", samples=3, units="tasks a run, of NexusRaven a third")
    parser.add_argument("--benchmarks", default="sealtool,nexusraven", help="which, by commas")
    given = parser.parse_args()
    bench = Bench(given.model, given.device, given.dtype)
    scorer = Scorer(bench.reference)
    for benchmark in given.benchmarks.split(","):
        report(measured(bench, scorer, benchmark, given), given.out)


def measured(bench: Bench, scorer: Scorer, benchmark: str, given: argparse.Namespace) -> Result:
    """Measure both sides on the same tasks. Raises Unequal if a log-likelihood differs."""
    count = CANDIDATES[benchmark]
    # A task of NexusRaven costs HFLM ten times as much.
    number = given.samples if benchmark == "sealtool" else max(1, given.samples // 3)
    rows = samples(benchmark, number, lambda row: len(row.task.tools) == count)
    tasks = [row.task for row in rows]
    prompts, tails = candidates(bench, tasks)
    scorer.choose_batch(prompts[0], tails[0])
    ours = Side(
        "ours",
        lambda: RssMargin().estimate(tasks, bench.engine, 0),
        work=len(tasks),
        prepare=bench.forget,
    )
    hflm = Side("HFLM", lambda: scorer.score(prompts, tails), work=len(tasks))
    take_turns([ours, hflm], given.pairs, bench.device)
    fed, read = candidate_paths(prompts, tails)
    flops = forward(bench.shape, *distinct(fed), logits=read)
    return compare(
        f"estimate-{benchmark}",
        bench.machine,
        ours,
        hflm,
        referee=scorer.name,
        samples=len(tasks),
        unit="task",
        equal=agree(differences(ours.result, hflm.result), bench.tolerance.nats, "log-likelihoods"),
        floor=flops / bench.rates.flops_per_second,
        profile=shares(ours, bench.device),
        notes=f"{count} candidates a task",
    )


def differences(estimates: Sequence[Estimate], values: Sequence[Sequence[float]]) -> list[float]:
    return [
        abs(mine - theirs)
        for estimate, some in zip(estimates, values, strict=True)
        for mine, theirs in zip(estimate.scores.values(), some, strict=True)
    ]


if __name__ == "__main__":
    main()
