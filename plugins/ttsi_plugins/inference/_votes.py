"""Several answers to each task, and groups of them that score alike."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ttsi import Completion, Engine, Generation, Request, Task, form_of, read_completion


def answers_to(
    tasks: Sequence[Task], requests: Sequence[Sequence[Request]], engine: Engine
) -> list[list[Completion]]:
    """Return the answers to each task's own requests."""
    return [
        [read_completion(task, each) for each in own]
        for task, own in zip(tasks, generated(requests, engine), strict=True)
    ]


def generated(requests: Sequence[Sequence[Request]], engine: Engine) -> list[list[Generation]]:
    """Return what the engine writes to each group of requests; it is called once for all."""
    drawn = iter(engine.generate([request for own in requests for request in own]))
    return [[next(drawn) for _ in own] for own in requests]


def same_answers(task: Task, answers: Sequence[Completion]) -> dict[str, list[Completion]]:
    """Return the answers in groups that score alike."""
    form = form_of(task)
    groups: dict[str, list[Completion]] = {}
    for answer in answers:
        groups.setdefault(form.key(task, answer.answer), []).append(answer)
    return groups


def readable(answers: Sequence[Completion]) -> Sequence[Completion]:
    """Return the answers that are known, or all of them if none is.

    An answer that declines is known. One that cannot be parsed, or was cut off before its answer,
    is not.
    """
    return [each for each in answers if each.readable] or answers


def majority(task: Task, answers: Sequence[Completion]) -> list[Completion]:
    """Return the largest group of answers that score alike.

    Of groups of one size it is that with the highest mean log-probability a token.
    """
    groups = same_answers(task, readable(answers))
    return max(groups.values(), key=lambda group: (len(group), fmean(map(mean_logprob, group))))


def mean_logprob(answer: Completion) -> float:
    """Return the mean log-probability of the answer's tokens, its end included."""
    return answer.logprob / max(answer.completion_tokens, 1)
