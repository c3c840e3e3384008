"""What estimators that look at the tools' names share: where names are scored, and how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ttsi.answers.calls.writing import TOOL_CALL, Wrapper
from ttsi.options import option
from ttsi.protocols import Engine
from ttsi.types import Likelihood, Prompt, Request, Sampling, Task

NO_CALL = "none"
"""The pseudo-name scored for `no_call_candidate`."""


@dataclass(frozen=True)
class Candidates:
    """Options of scoring. The candidates are the names of the tools on offer, in their order."""

    needs: ClassVar[frozenset[str]] = frozenset({"loglikelihood", "generate"})

    context: Literal["tool_call", "as_answered", "bare"] = option(
        "tool_call",
        "Where names are scored: in the opening of a <tool_call>, in the wrapper of a short greedy "
        "draft of the answer, or bare after the prompt.",
    )
    normalise: Literal["sum", "mean"] = option(
        "sum", "Sum a name's token log-probabilities, or take their mean."
    )
    no_call_candidate: bool = option(False, "Score the name 'none' beside the tools.")

    def names(self, task: Task) -> list[str]:
        return [*task.tool_names, NO_CALL] if self.no_call_candidate else list(task.tool_names)

    def prompts(self, tasks: Sequence[Task], engine: Engine) -> list[Prompt]:
        """Each task with the opening after which its candidates are scored."""
        openings = self._openings(tasks, engine)
        return [
            Prompt(task.messages, opening) for task, opening in zip(tasks, openings, strict=True)
        ]

    def score(
        self, prompts: Sequence[Prompt], names: Sequence[Sequence[str]], engine: Engine
    ) -> list[list[float]]:
        """log P(name | prompt) of each prompt's names, in nats."""
        # A name that begins another is comparable only together with its closing quote.
        close = "" if self.context == "bare" else '"'
        scored = engine.loglikelihoods(prompts, [[name + close for name in some] for some in names])
        return [[self._value(item) for item in some] for some in scored]

    def _openings(self, tasks: Sequence[Task], engine: Engine) -> list[str]:
        if self.context == "bare":
            return ["" for _ in tasks]
        if self.context == "tool_call":
            return [TOOL_CALL.opening for _ in tasks]
        drafts = engine.generate(
            [Request(Prompt(task.messages), Sampling.greedy(128), seed=0) for task in tasks]
        )
        return [
            (Wrapper.of(draft.text, task.tool_names) or TOOL_CALL).opening
            for task, draft in zip(tasks, drafts, strict=True)
        ]

    def _value(self, item: Likelihood) -> float:
        return item.logprob / (max(item.tokens, 1) if self.normalise == "mean" else 1)


def softmax(logprobs: Sequence[float]) -> list[float]:
    """p(i) = exp(l(i)) / sum_k exp(l(k)), from l - max l. At least one value."""
    top = max(logprobs)
    weights = [math.exp(value - top) for value in logprobs]
    whole = math.fsum(weights)
    return [weight / whole for weight in weights]


def entropy(p: Sequence[float]) -> float:
    """H(p) = -sum_i p(i) log p(i), in nats; what has no probability adds nothing."""
    return -math.fsum(value * math.log(value) for value in p if value > 0)
