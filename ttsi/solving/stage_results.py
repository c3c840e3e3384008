"""What stages return is checked here, so that each fault costs its own sample and no other.

Numbers that no record can hold are faults, too: records are JSON, which knows no NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

from ttsi.errors import EngineError
from ttsi.optional import Verdict
from ttsi.types import Adaptation, Adapter, Completion, Estimate

Given = TypeVar("Given")
Made = TypeVar("Made")


def parallel(
    given: Sequence[Given], made: Sequence[Made], who: str
) -> Iterator[tuple[Given, Made]]:
    """Return pairs of what a stage was given and made of it. Raises EngineError if some lack."""
    if len(given) != len(made):
        raise EngineError(f"The {who} returned {len(made)} results for {len(given)} tasks.")
    return zip(given, made, strict=True)


def sound_estimate(estimate: Estimate) -> Estimate:
    """Return the estimate. Raises EngineError for numbers that are none of an estimate."""
    finite = all(map(math.isfinite, estimate.scores.values()))
    if not (0.0 <= estimate.confidence <= 1.0 and finite):
        raise EngineError(f"The estimator gave no sound estimate: {estimate}")
    return estimate


def sound_answer(answer: Completion) -> Completion:
    """Return the answer. Raises EngineError for a log-probability that is no finite number."""
    if not math.isfinite(answer.logprob):
        raise EngineError(f"An answer's log-probability is {answer.logprob}, which is no number.")
    return answer


def sound_adaptation(adaptation: Adaptation) -> Adaptation:
    """Return the adaptation. Raises EngineError if training diverged."""
    training = adaptation.training if isinstance(adaptation, Adapter) else None
    losses = (*training.losses, *training.held_out) if training else ()
    if not all(map(math.isfinite, losses)):
        raise EngineError(
            "Training diverged: a loss is no number.", cure="Lower learner.learning_rate."
        )
    return adaptation


def sound_verdict(verdict: Verdict | None) -> Verdict | None:
    """Return a gate's verdict. Raises EngineError for one whose values are no finite numbers."""
    if verdict is not None and not math.isfinite(verdict.base + verdict.adapted):
        raise EngineError(f"The gate gave no sound verdict: {verdict}")
    return verdict
