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
    draw_seed,
    form_of,
    option,
)
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
    """The best of several answers; answers that cannot be read count only if none can.

    votes: the first answer of the largest group that scores alike; of groups of one size, of that
    with the highest mean log-probability a token. likelihood: the answer with the highest mean
    log-probability a token. Ties go to the answer with more votes, then to the first.
    """

    samples: int = option(5, "How many answers are made.", minimum=1)
    greedy_first: bool = option(
        True, "Make the first answer the greedy one; false: draw all of them."
    )
    by: Literal["votes", "likelihood"] = option(
        "votes",
        "How the best is chosen: most votes, or the highest mean log-probability a token.",
    )

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
        return [
            self.best(task, answers)
            for task, answers in zip(tasks, answers_to(tasks, requests, engine), strict=True)
        ]

    def best(self, task: Task, answers: Sequence[Completion]) -> Completion:
        """Return the best answer, with the completion tokens of all of them."""
        if self.by == "votes":
            chosen = majority(task, answers)[0]
        else:
            known = readable(answers)
            groups, form = same_answers(task, known), form_of(task)
            chosen = max(
                known,
                key=lambda each: (mean_logprob(each), len(groups[form.key(task, each.answer)])),
            )
        return replace(chosen, completion_tokens=sum(each.completion_tokens for each in answers))

    def _requests(self, task: Task, adaptation: Adaptation | None, seed: int) -> list[Request]:
        drawn = [
            self.request(task, adaptation, draw_seed(seed, task.id, "answer", draw))
            for draw in range(self.samples)
        ]
        if self.greedy_first:
            drawn[0] = replace(drawn[0], sampling=self.greedy())
        return drawn
