"""H by likelihood: how likely the model finds names and values of its own greedy answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ttsi import Engine, Estimate, Task, option, read_completion
from ttsi_plugins.estimators._likelihood import Over, Reduce, likelihood
from ttsi_plugins.inference._requests import Asking


@dataclass(frozen=True)
class CallLikelihood(Asking):
    """Unsure where the names and values of the greedy answer are unlikely.

    u = exp(mean or minimum of log p over the tokens of names and values of the greedy answer).

    Unlike `perplexity` it leaves out notation and forced tokens, of which the model is always sure.
    An answer that cannot be read has u = 0.
    """

    over: Over = option(
        "all", "Tokens that count: of all parts, of names of tools and arguments, or of values."
    )
    reduce: Reduce = option("mean", "Take the mean over the tokens, or the least likely of them.")
    threshold: float = option(0.95, "Adapt where u is below this.", minimum=0, maximum=1)

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]:
        made = engine.generate([self.request(task, None, seed=0) for task in tasks])
        estimates = []
        for task, each in zip(tasks, made, strict=True):
            confidence = likelihood(each, read_completion(task, each), self.over, self.reduce)
            estimates.append(Estimate(confidence, confidence < self.threshold))
        return estimates
