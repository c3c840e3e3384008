"""Several sampled answers to each task, and the one that most of them agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from ttsi import (
    Adaptation,
    Completion,
    Engine,
    Generation,
    Task,
    draw_seed,
    form_of,
    option,
)
from ttsi_plugins.inference._requests import Decoding, read_completion


@dataclass(frozen=True)
class MajorityVote(Decoding):
    """A vote over answers that score alike; ties go to the highest mean log-probability a token."""

    samples: int = option(5, "How many answers are drawn.", minimum=1)

    def answer(
        self,
        tasks: Sequence[Task],
        adaptations: Sequence[Adaptation | None],
        engine: Engine,
        seed: int,
    ) -> list[Completion]:
        requests = [
            self.request(task, adaptation, draw_seed(seed, task.id, "answer", draw))
            for task, adaptation in zip(tasks, adaptations, strict=True)
            for draw in range(self.samples)
        ]
        drawn = engine.generate(requests)
        return [
            vote(task, [read_completion(task, each) for each in own])
            for task, own in zip(tasks, groups_of(self.samples, drawn), strict=True)
        ]


def groups_of(size: int, drawn: Sequence[Generation]) -> list[Sequence[Generation]]:
    """Return each task's draws, `size` of them."""
    return [drawn[at : at + size] for at in range(0, len(drawn), size)]


def vote(task: Task, answers: Sequence[Completion]) -> Completion:
    """Return the first answer of the winning group, with the completion tokens of all answers.

    An answer that declines votes for declining. One that cannot be parsed, or was cut off before
    its answer, has no vote unless there are no others.
    """
    readable = [each for each in answers if each.readable] or answers
    groups = same_answers(task, readable)
    winner = max(groups.values(), key=lambda group: (len(group), _mean_logprob(group)))[0]
    return replace(winner, completion_tokens=sum(answer.completion_tokens for answer in answers))


def same_answers(task: Task, answers: Sequence[Completion]) -> dict[str, list[Completion]]:
    """Return the answers in groups that score alike."""
    form = form_of(task)
    groups: dict[str, list[Completion]] = {}
    for answer in answers:
        groups.setdefault(form.key(task, answer.answer), []).append(answer)
    return groups


def _mean_logprob(group: Sequence[Completion]) -> float:
    return fmean(answer.logprob / max(answer.completion_tokens, 1) for answer in group)
