"""H by relative softmax scoring: the margin between the two likeliest candidates (Eq. 2-4, F.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ttsi import Engine, Estimate, Task, option
from ttsi_plugins.estimators._candidates import Candidates, opened


def softmax_margin(logprobs: Sequence[float]) -> float:
    """Return u = p(1) - p(2), p = softmax(l), from l - max l (Eq. 3, 4); 1 for fewer than two."""
    if len(logprobs) < 2:
        return 1.0
    top = max(logprobs)
    weights = sorted((math.exp(value - top) for value in logprobs), reverse=True)
    return (weights[0] - weights[1]) / math.fsum(weights)


@dataclass(frozen=True)
class RssMargin(Candidates):
    """The paper's: unsure where the likeliest tool is hardly likelier than the next.

    u = p(1) - p(2) over the candidates; uncertain iff u < threshold.
    """

    threshold: float = option(0.95, "Adapt where the margin is below this.", minimum=0, maximum=1)

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]:
        found = self.found(tasks, engine)
        scored = self.score(list(map(opened, tasks, found)), found, engine)
        return [self._judge(each.names, values) for each, values in zip(found, scored, strict=True)]

    def _judge(self, names: Sequence[str], values: Sequence[float]) -> Estimate:
        margin = softmax_margin(values)
        scores = dict(zip(names, values, strict=True))
        return Estimate(confidence=margin, uncertain=margin < self.threshold, scores=scores)
