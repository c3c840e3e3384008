"""All four stages for uncertain Seal-Tools samples, against Algorithm 1 made of the references.

The reference takes one sample after another: HFLM for H, generate for G (the same greedy example,
by the same schema), PEFT and the Trainer for T, generate for the adapted answer. Ours runs the same
pipeline in waves, in two variants:

    whole-exact       the paper's recipe; margins, examples and answers must be the reference's
    whole-activated   adapter active from the user turn on, G under the task's own instruction;
                      margins must be the reference's, and every sample adapted

The samples are uncertain ones, as they come, whose greedy example is valid in both variants; the
uncertain ones whose example is not are left out before anything is timed, and counted.

    python -m perf.whole
    python -m perf.whole --samples 32 --wave 32 --device cuda

On two CPU cores the first takes twenty minutes: the reference needs up to 40 seconds a sample.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import get_args

import safetensors.torch

from perf.asked import candidates
from perf.common import Bench, Unequal, agree, arguments, first_weights, samples
from perf.counting import whole_seconds
from perf.profile import shares
from perf.references.algorithm1 import ReferenceEngine
from perf.references.hflm import Scorer
from perf.result import Result, compare, report
from perf.timing import Side, take_turns
from perf.variants import SEED, Variant, generator, pipeline
from ttsi.digests import draw_seed
from ttsi.solving.pipeline import Pipeline
from ttsi.solving.solution import Solution
from ttsi.types import LoraRecipe, Sample
from ttsi_plugins.estimators.rss_margin import RssMargin

RECIPE = LoraRecipe()


def main() -> None:
    parser = arguments(__doc__ or "", samples=4, units="uncertain samples a run")
    parser.add_argument("--wave", type=int, default=8, help="samples that ours takes together")
    given = parser.parse_args()
    bench = Bench(given.model, given.device, given.dtype, max_batch=max(16, given.wave))
    rows, left_out = chosen(bench, given.samples)
    reference = Side(
        "Algorithm 1 of the references",
        partial(in_waves, reference_pipeline(bench, rows), rows, 1),
        work=len(rows),
    )
    ours = {
        variant: Side(
            f"ours, {variant}",
            partial(in_waves, pipeline(bench.engine, variant), rows, given.wave),
            work=len(rows),
            prepare=bench.forget,
        )
        for variant in get_args(Variant)
    }
    take_turns([reference, *ours.values()], given.pairs, bench.device)
    notes = f"waves of {min(given.wave, len(rows))}; {left_out or 'no'} samples left out"
    for variant, side in ours.items():
        report(measured(bench, variant, rows, side, reference, notes), given.out)


def in_waves(made: Pipeline, rows: Sequence[Sample], wave: int) -> list[Solution]:
    """Return solutions in the order of the rows. Raises Unequal if a sample failed."""
    tasks = [row.task for row in rows]
    found: dict[str, Solution] = {}
    for start in range(0, len(tasks), wave):
        found |= {each.task.id: each for each in made.solve(tasks[start : start + wave])}
    failures = [each.error for each in found.values() if each.error]
    if failures:
        raise Unequal(f"a sample failed: {failures[0]}")
    return [found[task.id] for task in tasks]


def chosen(bench: Bench, count: int) -> tuple[list[Sample], int]:
    """Return `count` uncertain samples with valid greedy examples in both variants.

    The second value counts the uncertain samples that were left out.
    """
    # Sorted by digest, which does not depend on length.
    pool = sorted(samples("sealtool", min(8 * count, 294)), key=lambda row: row.digest)
    kept: list[Sample] = []
    looked_at = left_out = 0
    while len(kept) < count and looked_at < len(pool):
        some = pool[looked_at : looked_at + count - len(kept)]
        looked_at += len(some)
        estimates = RssMargin().estimate([row.task for row in some], bench.engine, SEED)
        some = [row for row, found in zip(some, estimates, strict=True) if found.uncertain]
        left_out += len(some)
        for variant in get_args(Variant):
            tasks = [row.task for row in some]
            made = generator(variant).generate(tasks, bench.engine, SEED)
            some = [row for row, examples in zip(some, made, strict=True) if examples]
        kept += some
        left_out -= len(some)
    if len(kept) < count:
        sys.exit(f"only {len(kept)} of {looked_at} samples are uncertain with valid examples")
    return kept, left_out


def reference_pipeline(bench: Bench, rows: Sequence[Sample]) -> Pipeline:
    scorer = Scorer(bench.reference)
    prompts, tails = candidates(bench, [rows[0].task])
    scorer.choose_batch(prompts[0], tails[0])
    seeds = [draw_seed(SEED, row.id, "learn") for row in rows]
    adapters = {seed: first_weights(bench.engine, RECIPE, seed) for seed in seeds}
    starts = {seed: safetensors.torch.load(made.safetensors) for seed, made in adapters.items()}
    config = adapters[seeds[0]].config
    return pipeline(ReferenceEngine(bench.reference, scorer, config, starts), "exact")


def measured(
    bench: Bench,
    variant: Variant,
    rows: Sequence[Sample],
    ours: Side,
    reference: Side,
    notes: str,
) -> Result:
    return compare(
        f"whole-{variant}",
        bench.machine,
        ours,
        reference,
        referee=(
            "Algorithm 1: HFLM, generate, PEFT + Trainer, generate",
            f"lm_eval {version('lm_eval')}, transformers {version('transformers')}",
        ),
        samples=len(rows),
        unit="uncertain sample",
        equal=agreement(bench, variant, ours.result, reference.result),
        floor=whole_seconds(bench, variant, ours.result),
        profile=shares(ours, bench.device),
        notes=notes,
    )


def agreement(
    bench: Bench, variant: Variant, mine: Sequence[Solution], theirs: Sequence[Solution]
) -> str:
    """Return the assertions in words. Raises Unequal if they do not hold.

    Below float32 texts may differ after a near tie, so equal texts are only counted there.
    """
    pairs = list(zip(mine, theirs, strict=True))
    margins = [abs(confidence(one) - confidence(other)) for one, other in pairs]
    said = agree(margins, bench.tolerance.nats, "margins")
    if not all(solution.adapted for solution in mine):
        raise Unequal("a sample was not adapted")
    if variant != "exact":
        return f"{said}; all {len(mine)} samples adapted"
    examples = sum(one.examples[0].text == other.examples[0].text for one, other in pairs)
    answers = sum(answer(one) == answer(other) for one, other in pairs)
    if bench.about["dtype"] == "float32" and not examples == answers == len(pairs):
        raise Unequal(f"of {len(pairs)} samples {examples} examples and {answers} answers agree")
    return f"{said}; same text in {examples} examples and {answers} answers of {len(pairs)}"


def confidence(solution: Solution) -> float:
    return solution.estimate.confidence if solution.estimate else float("nan")


def answer(solution: Solution) -> str:
    return solution.answer.text if solution.answer else ""


if __name__ == "__main__":
    main()
