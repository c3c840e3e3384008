"""Several sampled answers to each task, and the one that most of them agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from ttsi.answers.calls.match import canonical_calls
from ttsi.digests import draw_seed
from ttsi.options import option
from ttsi.protocols import Engine
from ttsi.types import Adaptation, Completion, Generation, ParseStatus, Task
from ttsi_plugins.inference._requests import Decoding, read_completion


@dataclass(frozen=True)
class MajorityVote(Decoding):
    """Votes over normalised calls; ties go to the highest mean log-probability a token."""

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
    """What was drawn for each task, of `size` draws for each."""
    return [drawn[at : at + size] for at in range(0, len(drawn), size)]


def vote(task: Task, answers: Sequence[Completion]) -> Completion:
    """The first answer of the winning group, with the tokens of all.

    An answer that makes no call votes for that. What cannot be parsed has no vote, unless nothing
    can.
    """
    readable = [each for each in answers if each.status is not ParseStatus.UNPARSABLE] or answers
    groups = same_calls(task, readable)
    winner = max(groups.values(), key=lambda group: (len(group), _mean_logprob(group)))[0]
    return replace(winner, completion_tokens=sum(answer.completion_tokens for answer in answers))


def same_calls(task: Task, answers: Sequence[Completion]) -> dict[str, list[Completion]]:
    """Answers in groups that score alike: by their calls, `[]` and prose being none."""
    groups: dict[str, list[Completion]] = {}
    for answer in answers:
        unreadable = answer.status is ParseStatus.UNPARSABLE
        same = answer.status.value if unreadable else canonical_calls(task.tools, answer.calls)
        groups.setdefault(same, []).append(answer)
    return groups


def _mean_logprob(group: Sequence[Completion]) -> float:
    return fmean(answer.logprob / max(answer.completion_tokens, 1) for answer in group)
