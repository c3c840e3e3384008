"""T: one adapter for each Seal-Tools task, against PEFT and transformers' Trainer; and banks.

The training example of a task is its own question and reference calls (nothing is scored here).

    train-exact            the paper's recipe, one adapter a call, against the Trainer
    train-activated        adapter active from the user turn on; the keys and values of the system
                           turn are in memory, as H leaves them in the pipeline
    train-activated-cold   the same, and they are not
    bank-*-8               8 adapters in one call, against 8 calls of ours
    train-*-bank8          the same against the Trainer, with --trainer-banks

    python -m perf.train
    python -m perf.train --exact-banks 1,8
    python -m perf.train --banks 1,8,32 --exact-banks 1,8,32 --trainer-banks --device cuda

On two CPU cores the first takes six minutes, the second twenty.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version

import safetensors.torch
import torch
from torch import Tensor

from perf.common import Bench, Unequal, agree, arguments, first_weights, samples
from perf.counting import adaptation_flops, given_tokens
from perf.floor import distinct, forward
from perf.profile import shares
from perf.references.resident import Adapted
from perf.references.trainer import Tuner
from perf.result import Result, compare, report
from perf.timing import Side, take_turns
from ttsi.answers.calls.values import calls_in
from ttsi.answers.calls.writing import TOOL_CALL
from ttsi.types import LoraRecipe, Message, Prompt, Sample, TrainJob

RECIPES = {"exact": LoraRecipe(), "activated": LoraRecipe(active_from="user_turn")}
SEED = 1

Weights = dict[str, Tensor]


def main() -> None:
    parser = arguments(__doc__ or "", samples=1, units="adapters by the Trainer in a run")
    parser.add_argument("--banks", default="1,8", help="sizes of activated banks, by commas")
    parser.add_argument("--exact-banks", default="1", help="sizes of exact banks, by commas")
    parser.add_argument(
        "--trainer-banks",
        action="store_true",
        help="measure each bank against the Trainer too, on the bank's own tasks",
    )
    given = parser.parse_args()
    bench = Bench(given.model, given.device, given.dtype)
    peer = Peer(bench)
    alone(bench, peer, given)
    for variant, sizes in (("exact", given.exact_banks), ("activated", given.banks)):
        for size in map(int, sizes.split(",")):
            if size > 1:
                as_bank(bench, peer if given.trainer_banks else None, variant, size, given)


def alone(bench: Bench, peer: Peer, given: Namespace) -> None:
    """Measure one adapter after another, in all variants, against the Trainer."""
    rows = samples("sealtool", given.samples)
    trainer = peer.side(rows)
    ours = [
        Ours(bench, variant, rows, cold=cold)
        for variant, cold in (("exact", False), ("activated", False), ("activated", True))
    ]
    take_turns([trainer, *(one.side for one in ours)], given.pairs, bench.device)
    for one in ours:
        report(against_trainer(bench, one, peer, trainer), given.out)


def as_bank(bench: Bench, peer: Peer | None, variant: str, size: int, given: Namespace) -> None:
    """Measure `size` adapters in one call against as many calls, and the Trainer if given."""
    rows = samples("sealtool", size)
    bank, turns = Ours(bench, variant, rows, bank=True), Ours(bench, variant, rows)
    trainers = [peer.side(rows)] if peer else []
    take_turns([bank.side, turns.side, *trainers], given.pairs, bench.device)
    report(against_turns(bench, bank, turns), given.out)
    for trainer in trainers:
        report(against_trainer(bench, bank, peer, trainer), given.out)


class Ours:
    """Adapters of one variant by our engine: `bank`, all in one call, or each in its own."""

    def __init__(
        self,
        bench: Bench,
        variant: str,
        rows: Sequence[Sample],
        *,
        bank: bool = False,
        cold: bool = False,
    ) -> None:
        self.variant, self.bank = variant, bank
        self.jobs = jobs = [job_of(row, variant) for row in rows]
        self.prefix_given = variant == "activated" and not cold
        self.name = f"{variant}{'-cold' if cold else ''}{f'-bank{len(rows)}' if bank else ''}"
        self.device, engine = bench.device, bench.engine
        self.side = Side(
            f"{self.name}, {len(rows)}",
            (lambda: engine.train(jobs)) if bank else lambda: [engine.train([j])[0] for j in jobs],
            work=len(rows),
            prepare=(lambda: keep_system_turns(bench, jobs)) if self.prefix_given else bench.forget,
        )

    @cached_property
    def profile(self) -> dict[str, float]:
        return shares(self.side, self.device)

    def weights(self) -> list[Weights]:
        return [safetensors.torch.load(adapter.safetensors) for adapter in self.side.result]

    def floor(self, bench: Bench) -> float:
        """Return the least seconds; distinct system turns count once, unless their caches exist."""
        flops = sum(adaptation_flops(bench, job) for job in self.jobs)
        if not self.prefix_given:
            prompts = [job.pairs[0][0] for job in self.jobs]
            given = [given_tokens(bench, prompt, self.jobs[0].recipe) for prompt in prompts]
            before = [bench.prompt_ids(p)[:n] for p, n in zip(prompts, given, strict=True)]
            flops += forward(bench.shape, *distinct(before), logits=0)
        return flops / bench.rates.flops_per_second


class Peer:
    """The Trainer, from the start weights that ours draws."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._tuners = {variant: self._tuner(variant) for variant in RECIPES}
        self._activated: dict[str, Weights] = {}

    def side(self, rows: Sequence[Sample]) -> Side:
        """Return the side of the paper's recipe, against which all variants are measured."""
        jobs = [job_of(row, "exact") for row in rows]
        return Side(
            "PEFT + Trainer", lambda: [self._train(job, "exact") for job in jobs], work=len(rows)
        )

    def activated(self, job: TrainJob) -> Weights:
        """Return the adapter of `job` as PEFT's aLoRA, by the same Trainer; this is not timed."""
        if job.id not in self._activated:
            self._activated[job.id] = self._train(job, "activated")
        return self._activated[job.id]

    def _train(self, job: TrainJob, variant: str) -> Weights:
        tuner, adapted, start = self._tuners[variant]
        tuner.train(start, self._pairs(job))
        return adapted.weights()

    def _tuner(self, variant: str) -> tuple[Tuner, Adapted, Weights]:
        start = first_weights(self._bench.engine, RECIPES[variant], SEED)
        adapted = Adapted(self._bench.reference, start.config)
        tuner = Tuner(adapted, self._bench.device)
        return tuner, adapted, safetensors.torch.load(start.safetensors)

    def _pairs(self, job: TrainJob) -> list[tuple[list[int], list[int]]]:
        tokens = self._bench.reference.tokens
        return [(tokens.prompt(prompt), tokens.target(text)) for prompt, text in job.pairs]


def job_of(row: Sample, variant: str) -> TrainJob:
    pair = (Prompt(row.task.messages), TOOL_CALL.write(calls_in(row.reference)))
    return TrainJob(row.id, (pair,), RECIPES[variant], SEED)


def keep_system_turns(bench: Bench, jobs: Sequence[TrainJob]) -> None:
    """Cache the system turns, as in the pipeline, where H has read them before other questions."""
    systems = [job.pairs[0][0].messages[0] for job in jobs]
    bench.keep_prefixes([Prompt((system, Message("user", "Hello."))) for system in systems])


def against_trainer(bench: Bench, ours: Ours, peer: Peer, trainer: Side) -> Result:
    if ours.variant == "exact":
        what = "adapters and the Trainer's, relative to their norm,"
        equal = agree(distances(ours.weights(), trainer.result), bench.tolerance.adapter, what)
    else:
        distance = distances(ours.weights()[:1], [peer.activated(ours.jobs[0])])
        what = "the first adapter and PEFT's aLoRA by the same Trainer, relative to their norm,"
        equal = agree(distance, 10 * bench.tolerance.adapter, what)
    notes = "the system turns' keys and values are in memory" if ours.prefix_given else ""
    return result(bench, ours, trainer, Tuner.name, equal, f"train-{ours.name}", notes)


def against_turns(bench: Bench, bank: Ours, turns: Ours) -> Result:
    what = "adapters of the bank and those trained in turn, relative to their norm,"
    equal = agree(distances(bank.weights(), turns.weights()), bench.tolerance.adapter, what)
    size = len(bank.jobs)
    referee = f"ttsi, {size} in turn", version("ttsi")
    return result(bench, bank, turns.side, referee, equal, f"bank-{bank.variant}-{size}", "")


def result(
    bench: Bench,
    ours: Ours,
    reference: Side,
    referee: tuple[str, str],
    equal: str,
    stage: str,
    notes: str,
) -> Result:
    return compare(
        stage,
        bench.machine,
        ours.side,
        reference,
        referee=referee,
        samples=len(ours.jobs),
        unit="adaptation",
        equal=equal,
        floor=ours.floor(bench),
        profile=ours.profile,
        notes=notes,
    )


def distances(mine: Sequence[Weights], theirs: Sequence[Weights]) -> list[float]:
    """Return how far apart adapters are, each relative to its norm."""
    return [relative(one, other) for one, other in zip(mine, theirs, strict=True)]


def relative(one: Weights, other: Weights) -> float:
    if one.keys() != other.keys():
        raise Unequal(f"{len(one.keys() ^ other.keys())} tensors are not in both adapters")
    left, right = (torch.cat([w[n].double().flatten() for n in sorted(one)]) for w in (one, other))
    return float((left - right).norm() / right.norm())


if __name__ == "__main__":
    main()
