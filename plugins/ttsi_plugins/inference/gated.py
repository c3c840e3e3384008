"""One answer to each task; the adapted one only where it is worth more than the base model's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from ttsi import (
    DECLINED,
    Completion,
    Engine,
    Request,
    Rivals,
    UsageError,
    Verdict,
    form_of,
    option,
)
from ttsi import (
    EngineCapability as Can,
)
from ttsi_plugins import _support
from ttsi_plugins.inference._agreement import shares
from ttsi_plugins.inference._least_support import least_support
from ttsi_plugins.inference._requests import Decoding
from ttsi_plugins.inference._votes import answers_to, mean_logprob
from ttsi_plugins.inference.direct import Direct


@dataclass(frozen=True)
class Gated(Direct):
    """The adapted answer where it is worth more than the base answer, else the base answer.

    agreement: as many answers are drawn under the adaptation as from the base model; an answer is
    worth the mean share of all of them that agree with its parts (`call_agreement`). support: it is
    worth the support of its least supported claim, 0.5 if it claims nothing. likelihood: exp of the
    mean log-probability a token, by the model that wrote it. An answer that cannot be read is worth
    0. Where both answers score alike there is nothing to choose.
    """

    by: Literal["agreement", "support", "likelihood"] = option(
        "agreement",
        "What an answer is worth: its agreement with sampled answers of both models, the support "
        "of its least supported claim, or its own likelihood a token.",
    )
    support: _support.Basis = option("both", f"With `by` support. {_support.BASIS}")
    samples: int = option(
        3, "How many answers each of the two models draws, by which agreement is told.", minimum=1
    )
    margin: float = option(
        0.0, "By how much more the adapted answer has to be worth to be kept.", minimum=0
    )

    @property
    def needs(self) -> frozenset[Can]:
        return super().needs | (_support.needs(self.support) if self.by == "support" else set())

    def judge(self, rivals: Sequence[Rivals], engine: Engine, seed: int) -> list[Verdict | None]:
        differing = [each for each in rivals if not _alike(each)]
        measures = {
            "agreement": self._by_agreement,
            "support": self._by_support,
            "likelihood": self._by_likelihood,
        }
        worth = iter(measures[self.by](differing, engine, seed) if differing else ())
        return [None if _alike(each) else self._verdict(*next(worth)) for each in rivals]

    def _verdict(self, base: float, adapted: float) -> Verdict:
        return Verdict(adapted - base > self.margin, self.by, base, adapted)

    def _by_support(
        self, rivals: Sequence[Rivals], engine: Engine, seed: int
    ) -> list[tuple[float, float]]:
        for task in (each.task for each in rivals):
            if form_of(task).claims(task, DECLINED) is None:
                raise UsageError(
                    f"Answers of the form {task.form!r} claim nothing that could be supported.",
                    where=f"inference gated, task {task.id}",
                    cure='Set "by" to "agreement".',
                )
        both = [(each.task, answer) for each in rivals for answer in (each.base, each.adapted)]
        found = least_support(both, engine, self.support)
        return list(zip(found[::2], found[1::2], strict=True))

    def _by_likelihood(
        self, rivals: Sequence[Rivals], engine: Engine, seed: int
    ) -> list[tuple[float, float]]:
        return [(_typical(each.base), _typical(each.adapted)) for each in rivals]

    def _by_agreement(
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
        return [
            replace(
                request,
                sampling=replace(Decoding.sampling(self), max_tokens=request.sampling.max_tokens),
            )
            for adaptation in (None, rivals.adaptation)
            for request in self.draws(rivals.task, adaptation, seed, "judge", self.samples)
        ]


def _typical(answer: Completion) -> float:
    """Return the geometric mean of the answer's token probabilities."""
    return math.exp(min(0.0, mean_logprob(answer))) if answer.readable else 0.0


def _alike(rivals: Rivals) -> bool:
    key, task = form_of(rivals.task).key, rivals.task
    return key(task, rivals.base.answer) == key(task, rivals.adapted.answer)
