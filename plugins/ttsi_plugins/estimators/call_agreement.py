"""H by agreement: how far several sampled answers agree with the commonest, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from ttsi import Engine, Estimate, Generation, Task, option, read_completion
from ttsi_plugins.estimators._likelihood import Reduce, likelihood
from ttsi_plugins.inference._agreement import shares
from ttsi_plugins.inference._requests import Decoding
from ttsi_plugins.inference._votes import generated, majority


@dataclass(frozen=True)
class CallAgreement(Decoding):
    """Unsure where sampled answers differ, name by name and argument by argument.

    u = mean or minimum, over names and arguments, of the share of answers that agree on it.

    They agree with the answer of the majority. Unlike `self_consistency` this tells answers that
    differ in one argument from answers that differ in all.
    """

    samples: int = option(5, "How many answers are drawn.", minimum=2)
    reduce: Reduce = option(
        "mean", "Take the mean over names and arguments, or the least agreed of them."
    )
    likelihood: bool = option(
        False, "Multiply by exp(mean log p) of the majority's answer, as call_likelihood takes it."
    )
    threshold: float = option(0.95, "Adapt where u is below this.", minimum=0, maximum=1)

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]:
        requests = [self.draws(task, None, seed, "estimate", self.samples) for task in tasks]
        estimates = []
        for task, drawn in zip(tasks, generated(requests, engine), strict=True):
            confidence = self._confidence(task, drawn)
            estimates.append(Estimate(confidence, confidence < self.threshold))
        return estimates

    def _confidence(self, task: Task, drawn: Sequence[Generation]) -> float:
        answers = [read_completion(task, each) for each in drawn]
        chosen = majority(task, answers)[0]
        agreed = shares(task, chosen, answers)
        confidence = fmean(agreed) if self.reduce == "mean" else min(agreed)
        if self.likelihood:
            (made,) = [
                each for each, answer in zip(drawn, answers, strict=True) if answer is chosen
            ]
            confidence *= likelihood(made, chosen, "all", "mean")
        return confidence
