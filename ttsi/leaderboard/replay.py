"""Play an episode again with recorded answers, in a new environment of the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ttsi.answers import form_of
from ttsi.errors import ends_the_run
from ttsi.optional import turns_of
from ttsi.types import Completion, Sample, Score, Step, Task


@dataclass(frozen=True)
class Replay:
    """What an environment gave for a play's answers.

    `tasks`: those that it asked, named as a run names them; if it goes on after the last answer,
    one more. `score`: what it says then; None where it raised. `error`: the type of that.
    """

    tasks: tuple[Task, ...]
    score: Score | None = None
    turns: tuple[Score, ...] = ()
    error: str = ""


def replay(sample: Sample, steps: Sequence[Step]) -> Replay:
    """Play a sample's episode with the texts of `steps`, each read again as an answer to its task.

    Raises a TtsiError where this machine lacks what the environment needs.
    """
    tasks: list[Task] = []
    try:
        if sample.episode is None:
            raise ValueError(f"sample {sample.id} is no episode")
        episode = sample.episode()
        task = episode.start()
        for step in steps:
            if task is None:
                break
            tasks.append(replace(task, id=f"{sample.id}@{len(tasks)}"))
            task = episode.step(read_again(task, step.answer))
        if task is not None:
            tasks.append(replace(task, id=f"{sample.id}@{len(tasks)}"))
        return Replay(tuple(tasks), *_ended(episode))
    except Exception as error:  # a stranger's answers may bring an environment to raise anything
        if ends_the_run(error):
            raise
        return Replay(tuple(tasks), error=type(error).__name__)


def read_again(task: Task, completion: Completion) -> Completion:
    """Return a recorded answer to `task` as its text is read."""
    return replace(completion, answer=form_of(task).parse(task, completion.text))


def _ended(episode: Any) -> tuple[Score, tuple[Score, ...]]:
    score: Score = episode.score()
    return score, turns_of(episode)
