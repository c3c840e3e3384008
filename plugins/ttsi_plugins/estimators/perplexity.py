"""H by perplexity: how likely the model finds its own greedy answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ttsi import Engine, Estimate, Request, Sampling, Task, option
from ttsi import EngineCapability as Can


@dataclass(frozen=True)
class Perplexity:
    """Unsure where the greedy answer, as a whole, is unlikely.

    u = 1 / perplexity of the free greedy answer, in (0, 1]; uncertain iff u < threshold.
    """

    needs: ClassVar[frozenset[Can]] = frozenset({Can.GENERATE})

    threshold: float = option(
        0.95, "Adapt where the inverse perplexity is below this.", minimum=0, maximum=1
    )
    max_tokens: int = option(128, "Length at which the answer is cut.", minimum=1)

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]:
        sampling = Sampling.greedy(self.max_tokens)
        answers = engine.generate(
            [Request(task.prompt(), sampling, seed=0, owner=task.id) for task in tasks]
        )
        estimates = []
        for answer in answers:
            confidence = math.exp(min(0.0, answer.logprob / max(answer.completion_tokens, 1)))
            estimates.append(Estimate(confidence, confidence < self.threshold))
        return estimates
