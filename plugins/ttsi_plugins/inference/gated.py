"""One answer to each task; the adapted one only where it is worth more than the base model's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from ttsi import Completion, Engine, Request, Rivals, Verdict, draw_seed, form_of, option
from ttsi_plugins.inference._agreement import shares
from ttsi_plugins.inference._requests import Decoding
from ttsi_plugins.inference._votes import answers_to, mean_logprob
from ttsi_plugins.inference.direct import Direct


@dataclass(frozen=True)
class Gated(Direct):
    """The adapted answer where it is worth more than the base answer, else the base answer.

    agreement: as many answers are drawn under the adaptation as from the base model; an answer is
    worth the mean share of all of them that agree with its parts (`call_agreement`). likelihood: an
    answer is worth exp of the mean log-probability a token, by the model that wrote it. One that
    cannot be read is worth 0. Where both answers score alike there is nothing to choose.
    """

    by: Literal["agreement", "likelihood"] = option(
        "agreement",
        "What an answer is worth: its agreement with sampled answers of both models, or its own "
        "likelihood a token.",
    )
    samples: int = option(
        3, "How many answers each of the two models draws, by which agreement is told.", minimum=1
    )
    margin: float = option(
        0.0, "By how much more the adapted answer has to be worth to be kept.", minimum=0
    )

    def judge(self, rivals: Sequence[Rivals], engine: Engine, seed: int) -> list[Verdict | None]:
        differing = [each for each in rivals if not _alike(each)]
        measure = self._agreement if self.by == "agreement" else self._likelihood
        worth = iter(measure(differing, engine, seed) if differing else ())
        return [None if _alike(each) else self._verdict(*next(worth)) for each in rivals]

    def _verdict(self, base: float, adapted: float) -> Verdict:
        return Verdict(adapted - base > self.margin, self.by, base, adapted)

    def _likelihood(
        self, rivals: Sequence[Rivals], engine: Engine, seed: int
    ) -> list[tuple[float, float]]:
        return [(_typical(each.base), _typical(each.adapted)) for each in rivals]

    def _agreement(
        self, rivals: Sequence[Rivals], engine: Engine, seed: int
    ) -> list[tuple[float, float]]:
        tasks = [each.task for each in rivals]
        pools = answers_to(tasks, [self._draws(each, seed) for each in rivals], engine)
        return [
            (
                fmean(shares(each.task, each.base, pool)),
                fmean(shares(each.task, each.adapted, pool)),
            )
            for each, pool in zip(rivals, pools, strict=True)
        ]

    def _draws(self, rivals: Rivals, seed: int) -> list[Request]:
        """Return the sampled answers to ask for; those of the two models share their seeds."""
        task = rivals.task
        return [
            replace(
                self.request(task, adaptation, draw_seed(seed, task.id, "judge", draw)),
                sampling=Decoding.sampling(self),
            )
            for adaptation in (None, rivals.adaptation)
            for draw in range(self.samples)
        ]


def _typical(answer: Completion) -> float:
    """Return the geometric mean of the answer's token probabilities."""
    return math.exp(min(0.0, mean_logprob(answer))) if answer.readable else 0.0


def _alike(rivals: Rivals) -> bool:
    key, task = form_of(rivals.task).key, rivals.task
    return key(task, rivals.base.answer) == key(task, rivals.adapted.answer)
