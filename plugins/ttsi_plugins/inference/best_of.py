"""Several answers to each task, and the best of them: by votes, likelihood or support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ttsi import (
    Adaptation,
    Completion,
    Engine,
    Request,
    Task,
    form_of,
    option,
)
from ttsi import (
    EngineCapability as Can,
)
from ttsi_plugins import _support
from ttsi_plugins.inference._least_support import least_support
from ttsi_plugins.inference._requests import Decoding
from ttsi_plugins.inference._votes import (
    answers_to,
    majority,
    mean_logprob,
    readable,
    same_answers,
)


@dataclass(frozen=True)
class BestOf(Decoding):
    """The best of several answers: by votes, likelihood or support.

    Answers that cannot be read count only if none can.

    votes: the first answer of the largest group that scores alike; of groups of one size, of that
    with the highest mean log-probability a token. likelihood: the answer with the highest mean
    log-probability a token. support: the answer whose least supported claim is supported best;
    0.5 is the support of an answer without claims. Ties go to the answer with more votes, then to
    the first. The tokens of the completion are those of all answers, since all were written for it.
    """

    samples: int = option(5, "How many answers are made.", minimum=1)
    greedy_first: bool = option(
        True, "Make the first answer the greedy one; false: draw all of them."
    )
    by: Literal["votes", "likelihood", "support"] = option(
        "votes",
        "How the best is chosen: most votes, the highest mean log-probability a token, or the best "
        "support of its least supported claim.",
    )
    support: _support.Basis = option("both", f"With `by` support. {_support.BASIS}")

    @property
    def needs(self) -> frozenset[Can]:
        return super().needs | (_support.needs(self.support) if self.by == "support" else set())

    def answer(
        self,
        tasks: Sequence[Task],
        adaptations: Sequence[Adaptation | None],
        engine: Engine,
        seed: int,
    ) -> list[Completion]:
        requests = [
            self._requests(task, adaptation, seed)
            for task, adaptation in zip(tasks, adaptations, strict=True)
        ]
        made = list(zip(tasks, answers_to(tasks, requests, engine), strict=True))
        if self.by == "votes":
            chosen = [majority(task, answers)[0] for task, answers in made]
        elif self.by == "likelihood":
            chosen = [_likeliest(task, answers) for task, answers in made]
        else:
            chosen = self._supported(made, engine)
        return [
            replace(best, completion_tokens=sum(each.completion_tokens for each in answers))
            for best, (_, answers) in zip(chosen, made, strict=True)
        ]

    def _supported(
        self, made: Sequence[tuple[Task, Sequence[Completion]]], engine: Engine
    ) -> list[Completion]:
        """Return each task's best supported answer; answers that score alike are judged as one."""
        groups = [list(same_answers(task, readable(answers)).values()) for task, answers in made]
        firsts = [
            (task, group[0]) for (task, _), own in zip(made, groups, strict=True) for group in own
        ]
        values = iter(least_support(firsts, engine, self.support))
        # max() takes the first of equals, and groups are in the order of their first answers.
        return [max(own, key=lambda group: (next(values), len(group)))[0] for own in groups]

    def _requests(self, task: Task, adaptation: Adaptation | None, seed: int) -> list[Request]:
        drawn = self.draws(task, adaptation, seed, "answer", self.samples)
        if self.greedy_first:
            length = drawn[0].sampling.max_tokens
            drawn[0] = replace(drawn[0], sampling=replace(self.greedy(), max_tokens=length))
        return drawn


def _likeliest(task: Task, answers: Sequence[Completion]) -> Completion:
    known = readable(answers)
    groups, form = same_answers(task, known), form_of(task)
    return max(
        known, key=lambda each: (mean_logprob(each), len(groups[form.key(task, each.answer)]))
    )
