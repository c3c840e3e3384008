"""Contract checks of episodes: the samples of a benchmark that are played in steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import cycle, islice
from typing import Any

from ttsi.answers import form_of
from ttsi.optional import turns_of
from ttsi.testing.checks import Check, NotApplicable, require
from ttsi.testing.fake_benchmark import example_of
from ttsi.testing.gold import reaches
from ttsi.testing.subject import Subject
from ttsi.types import DECLINED, Answer, AnswerStatus, Completion, Sample, Score, Task

MOST_STEPS = 200
"""How many steps an episode may have, whatever is answered."""

_EPISODES = 5
_DECLINES = Completion("I cannot tell.", DECLINED)
_SHORT = 12
"""Characters of a text that may stand anywhere by chance."""

_Answers = Callable[[Sample], Sequence[Completion]]


@dataclass
class Playing:
    """An episode being played; `tasks`: what it asked so far."""

    sample: Sample
    episode: Any
    answers: Iterator[Completion]
    tasks: list[Task] = field(default_factory=list)
    score: Score | None = None
    turns: tuple[Score, ...] = ()

    @classmethod
    def begin(cls, sample: Sample, answers: _Answers) -> Playing:
        assert sample.episode is not None
        made = cls(sample, sample.episode(), islice(cycle(answers(sample)), MOST_STEPS))
        made._asked(made.episode.start())
        return made

    def step(self) -> bool:
        """Give the next answer; return False at the end, or when there are no more answers."""
        answer = next(self.answers, None)
        if self.score is not None or answer is None:
            return False
        self._asked(self.episode.step(answer))
        return self.score is None

    def to_the_end(self) -> Playing:
        while self.step():
            pass
        return self

    @property
    def course(self) -> list[Any]:
        """All that came of it, to be compared."""
        return [[task.digest for task in self.tasks], self.score, self.turns]

    def _asked(self, task: Task | None) -> None:
        if task is not None:
            self.tasks.append(task)
            return
        self.score = self.episode.score()
        self.turns = turns_of(self.episode)


def declining(sample: Sample) -> list[Completion]:
    return [_DECLINES]


def repeating(sample: Sample) -> list[Completion]:
    """Return the first part of the reference, or any valid answer."""
    task, value = sample.task, sample.reference.value
    if isinstance(value, list) and value:
        return [_written(task, Answer.of(value[:1]))]
    if sample.reference.status is AnswerStatus.OK and not task.tools:
        return [_written(task, sample.reference)]
    return [_written(task, example_of(task).answer)] if task.tools else [_DECLINES]


def mixed(sample: Sample) -> list[Completion]:
    """Return answers of several kinds: a part of the reference, all of it, none."""
    whole = sample.reference
    known = [_written(sample.task, whole)] if whole.status is AnswerStatus.OK else []
    return [*repeating(sample), _DECLINES, *known, _DECLINES]


def _written(task: Task, answer: Answer) -> Completion:
    return Completion(form_of(task).write(task, answer), answer)


# ---------------------------------------------------------------- the checks


def _episodes(subject: Subject) -> list[Sample]:
    """Return some of the episodes, from all over the benchmark."""
    found = [sample for sample in subject.samples if sample.episode is not None]
    if not found:
        raise NotApplicable("it has no episodes")
    return found[:: max(1, len(found) // _EPISODES)][:_EPISODES]


def plays_are_the_same(subject: Subject) -> None:
    for sample in _episodes(subject):
        one, other = Playing.begin(sample, mixed), Playing.begin(sample, mixed)
        told = f"{sample.id}: its episode begins with another task than the sample's"
        require(one.tasks[:1] and one.tasks[0].digest == sample.task.digest, told)
        # In turns, as the episodes of a wave are played.
        while one.step() and other.step():
            pass
        when = "played twice at once with the same answers"
        _require_same(one.to_the_end(), other.to_the_end(), when)


def episodes_begin_afresh(subject: Subject) -> None:
    for sample in _episodes(subject):
        before = Playing.begin(sample, mixed).to_the_end()
        Playing.begin(sample, repeating).to_the_end()
        after = Playing.begin(sample, mixed).to_the_end()
        _require_same(before, after, "played before and after another play")


def _require_same(one: Playing, other: Playing, when: str) -> None:
    pairs = enumerate(zip(one.course[0], other.course[0], strict=False))
    steps = [at for at, (asked, again) in pairs if asked != again]
    what = f"other tasks, from step {steps[0]} on" if steps else "another end"
    require(one.course == other.course, f"{one.sample.id}: {when}, it has {what}")


def tasks_of_steps_hold_no_gold(subject: Subject) -> None:
    for sample in _episodes(subject):
        playing = Playing.begin(sample, declining).to_the_end()
        for at, task in enumerate(playing.tasks):
            reached = reaches(task, sample.reference, playing.episode)
            told = f"{sample.id}: the reference can be reached from the task of step {at}"
            require(not reached, told)
            said = "\n".join(turn.content for turn in task.said)
            for text in _texts(sample.reference):
                known = text in said or not any(text in other for other in _unsaid(task))
                told = f"{sample.id}: the task of step {at} tells a part of the reference: {text}"
                require(known, told)


def _texts(reference: Answer) -> list[str]:
    """Return the reference and its parts as texts by which they would be known."""
    value = reference.value
    parts = value if isinstance(value, list) else [value]
    dumped = {json.dumps(part, separators=each) for part in parts for each in (None, (",", ":"))}
    return sorted(text for text in dumped if len(text) > _SHORT)


def _unsaid(task: Task) -> list[str]:
    """Return the texts of a task that nobody in the conversation says."""
    own = {each.name for each in fields(Task)}
    more = {each.name: getattr(task, each.name) for each in fields(task) if each.name not in own}
    more |= getattr(task, "__dict__", {})
    tools = [f"{tool.description} {json.dumps(tool.parameters)}" for tool in task.tools]
    others = [text for value in more.values() for text in (str(value), _dumped(value))]
    return [task.instruction, task.bare or "", task.input, *tools, *others]


def _dumped(value: Any) -> str:
    return json.dumps(value, default=str)


def episodes_end(subject: Subject) -> None:
    for sample in _episodes(subject):
        for answers, told in ((declining, "declining answers"), (repeating, "the same answer")):
            playing = Playing.begin(sample, answers).to_the_end()
            what = f"{sample.id}: of nothing but {told} it does not end within {MOST_STEPS} steps"
            require(playing.score is not None, what)
            for score in (playing.score, *playing.turns):
                require(_sound(score), f"{sample.id}: it ended with {score!r}, no sound Score")
        cut = Playing.begin(sample, declining)
        if cut.step():
            score = cut.episode.score()
            told = f"{sample.id}: ended by a run's limit after a step, it has {score!r}"
            require(_sound(score), told)


def _sound(score: Any) -> bool:
    if not isinstance(score, Score) or type(score.correct) is not bool:
        return False
    credit = 1.0 if score.credit is None and score.correct else score.credit or 0.0
    return (score.correct != bool(score.reason)) and 0 <= credit <= 1


CHECKS = (
    Check(
        "episode-same",
        "Who verifies a run plays its episodes again: the same answers have the same course.",
        plays_are_the_same,
    ),
    Check(
        "episode-afresh",
        "An episode is played twice, and others before it: each play begins with a new world.",
        episodes_begin_afresh,
    ),
    Check(
        "episode-gold",
        "Each step's task goes to the stages: nothing in it leads to the reference.",
        tasks_of_steps_hold_no_gold,
    ),
    Check(
        "episode-ends",
        "A model may decline or repeat itself for ever: the episode has to end, with a score.",
        episodes_end,
    ),
)
