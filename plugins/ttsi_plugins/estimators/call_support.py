"""H by support: how far does the request bear out each argument of the model's own answer?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ttsi import (
    Claim,
    Completion,
    Engine,
    Estimate,
    Task,
    UsageError,
    form_of,
    option,
    read_completion,
)
from ttsi import EngineCapability as Can
from ttsi_plugins._support import BASIS, Basis, Claimed, needs, supports
from ttsi_plugins.inference.direct import Direct


@dataclass(frozen=True)
class CallSupport:
    """Unsure where an argument of the greedy answer has no support in the request.

    u = the least support of an argument of the greedy answer; uncertain iff u < threshold.

    u is 1 if no argument needs support, and 0 if the answer cannot be read or was cut off. Forms
    whose answers have no such parts are refused.
    """

    support: Basis = option("both", BASIS)
    threshold: float = option(
        0.5, "Adapt where the least supported argument has less.", minimum=0, maximum=1
    )
    format: Literal["free", "tool_calls"] = option(
        "free", "Free text, or decoding constrained; best as the run answers."
    )
    max_tokens: int = option(128, "Length at which the answer is cut.", minimum=1)
    max_calls: int | None = option(
        None, "Most calls under format tool_calls; null: any.", minimum=1
    )

    @property
    def needs(self) -> frozenset[Can]:
        return self._answering.needs | needs(self.support)

    @property
    def _answering(self) -> Direct:
        return Direct(
            format=self.format,
            decoding="greedy",
            max_tokens=self.max_tokens,
            max_calls=self.max_calls,
        )

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]:
        # Greedy, whatever a client of the task wants for its own answer.
        requests = [self._answering.request(task, None, 0) for task in tasks]
        written = engine.generate(requests)
        answers = [read_completion(task, each) for task, each in zip(tasks, written, strict=True)]
        made = [Claimed(task, _claims(task, a)) for task, a in zip(tasks, answers, strict=True)]
        estimates = []
        for answer, found in zip(answers, supports(made, engine, self.support), strict=True):
            confidence = min(found, default=1.0) if answer.readable else 0.0
            estimates.append(Estimate(confidence, confidence < self.threshold))
        return estimates


def _claims(task: Task, answer: Completion) -> Sequence[Claim]:
    claims = form_of(task).claims(task, answer.answer, answer.text)
    if claims is None:
        raise UsageError(
            f"Answers of the form {task.form!r} have no parts that a request could bear out.",
            where=f"task {task.id}",
            cure="Choose an estimator that goes by the whole answer: self_consistency or "
            "perplexity.",
        )
    return claims
