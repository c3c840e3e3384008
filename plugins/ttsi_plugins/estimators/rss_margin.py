"""H by relative softmax scoring: the margin between the two likeliest tool names (Eq. 2-4, F.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ttsi.calls import TOOL_CALL, Wrapper
from ttsi.options import option
from ttsi.protocols import Engine
from ttsi.types import Estimate, Likelihood, Prompt, Request, Sampling, Task

NO_CALL = "none"
"""The pseudo-name scored for `no_call_candidate`."""


def softmax_margin(logprobs: Sequence[float]) -> float:
    """u = p(1) - p(2) with p = softmax(l), from l - max l (Eq. 3, 4); 1 for fewer than two."""
    if len(logprobs) < 2:
        return 1.0
    top = max(logprobs)
    weights = sorted((math.exp(value - top) for value in logprobs), reverse=True)
    return (weights[0] - weights[1]) / math.fsum(weights)


@dataclass(frozen=True)
class RssMargin:
    """u = p(1) - p(2) over the tool names; uncertain iff u < threshold."""

    needs: ClassVar[frozenset[str]] = frozenset({"loglikelihood", "generate"})

    threshold: float = option(0.95, "Adapt where the margin is below this.", minimum=0, maximum=1)
    context: Literal["tool_call", "as_answered", "bare"] = option(
        "tool_call",
        "Where names are scored: in the opening of a <tool_call>, in the wrapper of a short greedy "
        "draft of the answer, or bare after the prompt.",
    )
    normalise: Literal["sum", "mean"] = option(
        "sum", "Sum a name's token log-probabilities, or take their mean."
    )
    no_call_candidate: bool = option(False, "Score the name 'none' beside the tools.")

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]:
        names = [self._candidates(task) for task in tasks]
        openings = self._openings(tasks, engine)
        # A name that begins another is comparable only together with its closing quote.
        close = "" if self.context == "bare" else '"'
        prompts = [
            Prompt(task.messages, opening) for task, opening in zip(tasks, openings, strict=True)
        ]
        scored = engine.loglikelihoods(prompts, [[name + close for name in some] for some in names])
        return [
            self._judge(some, likelihoods) for some, likelihoods in zip(names, scored, strict=True)
        ]

    def _candidates(self, task: Task) -> list[str]:
        return [*task.tool_names, NO_CALL] if self.no_call_candidate else list(task.tool_names)

    def _openings(self, tasks: Sequence[Task], engine: Engine) -> list[str]:
        if self.context == "bare":
            return ["" for _ in tasks]
        if self.context == "tool_call":
            return [TOOL_CALL.opening for _ in tasks]
        drafts = engine.generate(
            [Request(Prompt(task.messages), Sampling.greedy(128), seed=0) for task in tasks]
        )
        return [(Wrapper.of(draft.text) or TOOL_CALL).opening for draft in drafts]

    def _judge(self, names: Sequence[str], likelihoods: Sequence[Likelihood]) -> Estimate:
        values = [
            item.logprob / (max(item.tokens, 1) if self.normalise == "mean" else 1)
            for item in likelihoods
        ]
        margin = softmax_margin(values)
        scores = dict(zip(names, values, strict=True))
        return Estimate(confidence=margin, uncertain=margin < self.threshold, scores=scores)
