"""H by self-consistency: how many of several sampled answers score alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ttsi import Completion, Engine, Estimate, Task, option
from ttsi_plugins.inference._requests import Decoding
from ttsi_plugins.inference._votes import answers_to, same_answers


def agreement(task: Task, answers: Sequence[Completion]) -> float:
    """Return the share of the largest group of `answers` that score alike, in (0, 1].

    Answers that decline agree with each other. One that cannot be read, or was cut off before its
    answer, agrees with no other.
    """
    readable = [answer for answer in answers if answer.readable]
    groups = same_answers(task, readable).values()
    return max((len(group) for group in groups), default=1) / len(answers)


@dataclass(frozen=True)
class SelfConsistency(Decoding):
    """Unsure where sampled answers are not all the same.

    u = share of the commonest answer; uncertain iff u < threshold.

    u is a multiple of 1/n. The paper's sampling is narrow (temperature 0.7, top-p 0.8), so a single
    other answer is a sign of doubt: by the default threshold fewer than 20 answers must all agree.
    """

    samples: int = option(5, "How many answers are drawn.", minimum=2)
    threshold: float = option(
        0.95, "Adapt where a smaller share of the answers agrees.", minimum=0, maximum=1
    )

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]:
        requests = [self.draws(task, None, seed, "estimate", self.samples) for task in tasks]
        estimates = []
        for task, answers in zip(tasks, answers_to(tasks, requests, engine), strict=True):
            confidence = agreement(task, answers)
            estimates.append(Estimate(confidence, confidence < self.threshold))
        return estimates
