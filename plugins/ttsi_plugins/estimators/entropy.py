"""H by entropy: how evenly the model's probability is spread over the candidates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ttsi import Engine, Estimate, Task, option
from ttsi_plugins.estimators._candidates import Candidates, entropy, opened, softmax


def evenness(logprobs: Sequence[float]) -> float:
    """Return H(p) / log n in [0, 1] with p = softmax(l); 0 for fewer than two candidates."""
    if len(logprobs) < 2:
        return 0.0
    return min(1.0, max(0.0, entropy(softmax(logprobs)) / math.log(len(logprobs))))


@dataclass(frozen=True)
class Entropy(Candidates):
    """Unsure where the probability is spread over several tools or options.

    u = 1 - H(p) / log n over the n candidates; uncertain iff u < threshold.

    Unlike the margin it also depends on candidates beyond the two likeliest. The default threshold
    is close to the paper's: among five tools a margin of 0.95 is a u between 0.86 (the rest of the
    probability is spread evenly) and 0.93 (one other name has all the rest).
    """

    threshold: float = option(
        0.9, "Adapt where one minus the relative entropy is below this.", minimum=0, maximum=1
    )

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]:
        found = self.found(tasks, engine)
        scored = self.score(list(map(opened, tasks, found)), found, engine)
        estimates = []
        for each, values in zip(found, scored, strict=True):
            confidence = 1.0 - evenness(values)
            scores = dict(zip(each.names, values, strict=True))
            estimates.append(Estimate(confidence, confidence < self.threshold, scores))
        return estimates
