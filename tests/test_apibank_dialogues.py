"""API-Bank's dialogues as episodes: the same calls as the rows', and a history that is right."""

from __future__ import annotations

import pickle
from functools import cache
from itertools import groupby, pairwise
from typing import Any

import pytest

from ttsi import DECLINED, Answer, Completion, Message, Sample, Score, Task, calls_in
from ttsi_benchmarks.apibank import ApiBank
from ttsi_benchmarks.apibank_dialogues import ApiBankDialogues
from ttsi_plugins.scorers.exact import Exact

NOTHING = Completion("I do not know.", DECLINED)


@cache
def dialogues(level: int) -> list[Sample]:
    return ApiBankDialogues(levels=[level]).samples()


@cache
def rows(level: int) -> list[Sample]:
    """Return the rows without those that repeat the one before them."""
    every = ApiBank(levels=[level]).samples()
    asked = groupby(
        every, key=lambda row: (row.task.instruction, row.task.input, str(row.reference))
    )
    return [next(same) for _, same in asked]


def played(sample: Sample, *answers: Completion) -> tuple[list[Task], Any]:
    """Return the tasks, and the episode at its end or after these answers."""
    assert sample.episode is not None
    episode = sample.episode()
    tasks = [episode.start()]
    for answer in answers:
        task = episode.step(answer)
        if task is not None:
            tasks.append(task)
    return tasks, episode


def right(sample: Sample) -> list[Completion]:
    value: Any = sample.reference.value
    return [Completion("the right call", Answer.of([call])) for call in value]


@pytest.mark.parametrize(("level", "count", "calls"), [(1, 212, 389), (2, 45, 112)])
def test_every_row_is_a_call_of_one_dialogue(level: int, count: int, calls: int) -> None:
    found = dialogues(level)
    assert len(found) == count
    assert found[-1].id == f"apibank_dialogues/l{level}/{count - 1}"
    made = [call for sample in found for call in calls_in(sample.reference)]
    assert made == [call for row in rows(level) for call in calls_in(row.reference)]
    assert len(made) == calls


@pytest.mark.parametrize("level", [1, 2])
def test_each_step_asks_what_its_row_asks_and_scores_as_the_row(level: int) -> None:
    left = iter(rows(level))
    before = NOTHING
    for sample in dialogues(level):
        answers = right(sample)
        tasks, _ = played(sample, *answers[:-1])
        assert len(tasks) == len(answers)
        for at, (task, answer) in enumerate(zip(tasks, answers, strict=True)):
            row = next(left)
            assert (task.instruction, task.tools) == (row.task.instruction, row.task.tools)
            assert _words(task) == _words(row.task)
            for given in (answer, before, NOTHING):
                _, episode = played(sample, *answers[:at], given)
                scored: Score = Exact().score(row.task, row.reference, given)
                assert episode._scores[-1] == scored
            before = answer
    assert next(left, None) is None


def _words(task: Task) -> list[str]:
    """Return what was said, without the names of speakers and the data's cue."""
    words = " ".join(turn.content for turn in task.said)
    for name in ("User:", "Agent:", "Call:", "Result:", "Generate API Request:"):
        words = words.replace(name, " ")
    return words.split()


@pytest.mark.parametrize("level", [1, 2])
def test_the_history_grows_and_does_not_depend_on_the_answers(level: int) -> None:
    for sample in dialogues(level):
        answers = right(sample)
        tasks, _ = played(sample, *answers)
        assert tasks == played(sample, *[NOTHING] * len(answers))[0]
        for task, later in pairwise(tasks):
            assert later.said[: len(task.said)] == task.said
            assert later.said[len(task.said)].role == "assistant"
        assert all(task.said[-1].role in ("user", "tool") for task in tasks)


def test_a_turn_is_what_is_called_before_somebody_speaks() -> None:
    (sample,) = ApiBankDialogues(ids=["apibank_dialogues/l2/0"]).samples()
    search, call = right(sample)
    tasks, episode = played(sample, search, call)
    assert [task.said[-1].role for task in tasks] == ["user", "tool"]
    assert (episode.score(), episode.turns()) == (Score(True, credit=1.0), [Score(True)])
    _, episode = played(sample, NOTHING, call)
    assert (episode.score().reason, episode.score().credit) == ("no_call", 0.0)
    _, episode = played(sample, search)
    assert (episode.score(), episode.turns()) == (Score(False, "unfinished", credit=0.0), [])


def test_a_mistake_costs_its_own_turn() -> None:
    (sample,) = ApiBankDialogues(ids=["apibank_dialogues/l1/0"]).samples()
    first, second, third = right(sample)
    _, episode = played(sample, first, first, third)
    assert [turn.correct for turn in episode.turns()] == [True, False, True]
    score = episode.score()
    assert (score.correct, score.reason, score.credit) == (
        False,
        "wrong_name",
        pytest.approx(2 / 3),
    )
    assert second.answer != first.answer


def test_tools_may_be_written_by_the_model_and_episodes_are_sent_to_workers() -> None:
    (sample,) = ApiBankDialogues(ids=["apibank_dialogues/l2/0"], prompt="native").samples()
    again: Any = pickle.loads(pickle.dumps(sample))
    tasks, _ = played(again, *right(sample))
    assert tasks[0] == sample.task
    assert all(task.bare and task.messages[0] == Message("system", task.bare) for task in tasks)
