"""BFCL's conversations: verdicts are the wheel's checker's, and no call leaves the worker."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
from collections import defaultdict
from typing import Any

import pytest
from turns_changes import CHANGES
from turns_play import DONE, Upstream, calling, conversation, played, right

from ttsi import UNPARSABLE, Answer, Completion, ToolCall, UsageError, registry
from ttsi.rows.rendering import Wording
from ttsi_benchmarks import _turns_world
from ttsi_benchmarks._turns_episode import Conversation
from ttsi_benchmarks._turns_rows import CATEGORIES, MORE_TOOLS, Row, rows
from ttsi_benchmarks.bfcl_multi_turn import BfclMultiTurn

# Of each change of the right calls, and of each hundred rows of every category.
_CHANGED = 20


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture(scope="module")
def mathematician() -> Row:
    """A conversation with a file system and with arithmetic."""
    return next(row for row in rows("base") if {"MathAPI", "GorillaFileSystem"} <= {*row.classes})


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_right_calls_pass(category: str) -> None:
    found = rows(category)
    assert len(found) == 200
    wrong = {row.id: score for row in found if (score := played(row, right(row))).credit != 1}
    assert not wrong


@pytest.mark.parametrize("change", CHANGES, ids=lambda each: str(each.__name__))
def test_verdicts_are_the_wheels(change: Any, upstream: Upstream) -> None:
    draw = random.Random(change.__name__)
    every = [row for category in CATEGORIES for row in rows(category)]
    reasons = defaultdict(list)
    for row in draw.sample(every, _CHANGED):
        turns = [[list(step) for step in steps] for steps in right(row)]
        change(row, turns, draw)
        turns = [[step for step in steps if step] for steps in turns]
        score = played(row, turns)
        assert score.correct == upstream.says(row, turns), (row.id, score)
        reasons[score.reason].append(score.detail)
    assert set(reasons) <= {None, "no_call", "wrong_state", "missing_result"}
    details = [detail for reason, some in reasons.items() if reason for detail in some]
    assert all(detail.startswith("turn ") for detail in details)


def test_turns_after_a_wrong_one_count_for_the_credit() -> None:
    row = rows("base")[0]
    assert len(row.turns) == 4
    turns = right(row)
    turns[3] = []
    score = played(row, turns)
    assert (score.correct, score.reason, score.credit) == (False, "no_call", 0.75)


def test_each_turn_is_told() -> None:
    row = rows("base")[0]
    turns = right(row)
    turns[1], turns[3] = [[ToolCall("pwd", {})]], []
    told = conversation(row, turns).turns()
    assert len(told) == 4
    assert (told[0].correct, told[1].correct) == (True, False)
    assert told[1].reason in ("wrong_state", "missing_result")
    assert told[1].detail.startswith("turn 2: ")
    turns[1] = [[ToolCall("pwd", {})]] * 4
    stopped = conversation(row, turns, max_steps=3).turns()
    assert [turn.reason for turn in stopped] == [None, "too_many_steps"]


def test_a_turn_has_a_bound() -> None:
    row = rows("base")[0]
    turns = right(row)
    turns[0] = [turns[0][0], [], []]
    looking = [[ToolCall("pwd", {})]]
    assert played(row, [turns[0][:1] + looking * 4, *turns[1:]], max_steps=5).correct
    score = played(row, [turns[0][:1] + looking * 5, *turns[1:]], max_steps=5)
    assert (score.reason, score.credit) == ("too_many_steps", 0)


def test_a_conversation_that_the_run_ends_is_not_right() -> None:
    row = rows("base")[0]
    episode = Conversation(row, Wording(), 20)
    episode.start()
    for answer in (calling(right(row)[0][0]), DONE, calling(right(row)[1][0])):
        assert episode.step(answer) is not None
    score = episode.score()
    assert (score.correct, score.reason, score.credit) == (False, "unfinished", 0.25)
    assert score.detail == "the run ended it in turn 2 of 4"


def test_an_answer_that_cannot_be_read_ends_the_turn() -> None:
    row = rows("base")[0]
    episode = Conversation(row, Wording(), 20)
    episode.start()
    task = episode.step(Completion('[{"name": "cd"', UNPARSABLE))
    assert task is not None
    assert task.messages[-1].content == row.turns[1].says


def test_functions_that_were_held_back_come_with_a_message() -> None:
    row = rows("miss_func")[0]
    at = next(at for at, turn in enumerate(row.turns) if turn.says == MORE_TOOLS)
    before, after = ({tool.name for tool in row.turns[n].tools} for n in (at - 1, at))
    assert len(after - before) == 1
    assert not row.turns[at - 1].right


def test_a_task_shows_results_and_no_right_call() -> None:
    (sample,) = BfclMultiTurn(ids=["bfcl_multi_turn/base/0"]).samples()
    again: Any = pickle.loads(pickle.dumps(sample))
    episode = again.episode()
    assert episode.start() == sample.task
    task = episode.step(calling([ToolCall("ls", {})]))
    assert [each.role for each in task.turns] == ["user", "assistant", "tool"]
    assert task.input == task.turns[0].content == sample.task.input
    assert "document" in task.turns[-1].content
    for call in rows("base")[0].turns[0].right:
        assert json.dumps(call.as_json()) not in str(task.messages)


def test_worlds_are_made_afresh() -> None:
    row = rows("base")[0]
    wrong = played(row, [[], *right(row)[1:]])
    assert not wrong.correct
    assert played(row, right(row)).correct
    assert played(row, [[], *right(row)[1:]]) == wrong


def test_the_model_writes_the_tools_where_it_is_asked_natively() -> None:
    options: Any = {"prompt": "native", "limit": 2}
    for sample in registry.load("benchmarks", "bfcl_multi_turn")(**options).samples():
        assert sample.task.bare
        assert sample.task.tools
        episode: Any = sample.episode
        assert episode().start() == sample.task


# ---------------------------------------------------------------- hostile


def nested() -> Any:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("add", {"a": 10**10_000, "b": 1}, "Exceeds the limit"),
        ("mean", {"numbers": nested()}, "recursion depth"),
        ("cd", {"folder": "../../../etc"}, "Unsupported path"),
        ("__class__", {}, "not defined"),
        ("cd.__globals__", {}, "not defined"),
        ("__import__('os').system", {"command": "ls"}, "not defined"),
        ("_load_scenario", {"scenario": {}}, "not defined"),
        ("cd", {"self": 1, "folder": "a"}, "multiple values"),
        ("power", {"base": 1e300, "exponent": 10**9}, "out of range"),
        ("echo", {"content": "\ud800"}, "ud800"),
    ],
)
def test_a_call_that_raises_is_an_observation(
    mathematician: Row, name: str, arguments: dict[str, Any], says: str
) -> None:
    episode = Conversation(mathematician, Wording(), 20)
    episode.start()
    answer = Answer.of([{"name": name, "arguments": arguments}])
    task = episode.step(Completion("a call", answer))
    assert task is not None
    assert says in task.turns[-1].content
    assert episode.step(DONE) is not None


def test_a_call_that_does_not_end_ends_the_episode(
    mathematician: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_turns_world, "_SECONDS", 2.0)
    episode = Conversation(mathematician, Wording(), 20)
    episode.start()
    endless = ToolCall("power", {"base": 99_999, "exponent": 10**8})
    assert episode.step(calling([endless])) is None
    score = episode.score()
    assert (score.reason, score.credit) == ("environment", 0)
    assert "more than 2 s" in score.detail
    assert played(mathematician, right(mathematician)).correct


def test_a_worker_that_was_killed_ends_the_episode(mathematician: Row) -> None:
    episode = Conversation(mathematician, Wording(), 20)
    episode.start()
    process = episode._worlds._process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert episode.step(calling([ToolCall("ls", {})])) is None
    assert episode.score().reason == "environment"


def test_ids_that_do_not_exist_are_told() -> None:
    with pytest.raises(UsageError, match="no sample"):
        BfclMultiTurn(ids=["bfcl_multi_turn/base/200"]).samples()
