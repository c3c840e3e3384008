"""One answer to each task, without the optional parts that the request does not bear out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ttsi import Adaptation, Claim, Completion, Engine, Task, form_of, option
from ttsi import EngineCapability as Can
from ttsi_plugins._support import BASIS, Basis, Claimed, needs, supports
from ttsi_plugins.inference.direct import Direct


@dataclass(frozen=True)
class Pruned(Direct):
    """`direct`, and then optional arguments without support are left out of the answer.

    By default words decide, which are free and tell invented arguments best. Likelihoods are the
    base model's, also for an adapted answer; an answer without optional parts costs none.
    """

    support: Basis = option("lexical", BASIS)
    keep: float = option(
        0.5, "Leave out what has less support than this, in [0, 1].", minimum=0, maximum=1
    )

    @property
    def needs(self) -> frozenset[Can]:
        return super().needs | needs(self.support)

    def answer(
        self,
        tasks: Sequence[Task],
        adaptations: Sequence[Adaptation | None],
        engine: Engine,
        seed: int,
    ) -> list[Completion]:
        given = super().answer(tasks, adaptations, engine, seed)
        made = [
            Claimed(task, _optional(task, each)) for task, each in zip(tasks, given, strict=True)
        ]
        found = supports(made, engine, self.support)
        return [
            self._pruned(each, completion, own)
            for each, completion, own in zip(made, given, found, strict=True)
        ]

    def _pruned(self, made: Claimed, given: Completion, found: Sequence[float]) -> Completion:
        form = form_of(made.task)
        dropped = [c for c, value in zip(made.claims, found, strict=True) if value < self.keep]
        if not dropped:
            return given
        kept = form.without(made.task, given.answer, dropped)
        text = form.write(made.task, kept, given.text)
        return replace(given, text=text, answer=form.parse(made.task, text))


def _optional(task: Task, given: Completion) -> list[Claim]:
    claims = form_of(task).claims(task, given.answer, given.text) or ()
    return [claim for claim in claims if claim.optional]
