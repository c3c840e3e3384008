"""The learner `nearest`: BM25 against its formula, and which rows are shown or trained on."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi.answers.calls.values import ToolCall, answer_with
from ttsi.errors import MissingAsset, UsageError
from ttsi.types import Completion, Example, Sample, Task, TrainJob
from ttsi_fakes import TOOLS, ScriptedEngine, make_sample
from ttsi_plugins.learners._bm25 import Bm25
from ttsi_plugins.learners.lora_sft import LoraSft
from ttsi_plugins.learners.nearest import Nearest

TASK = make_sample(0).task
QUESTIONS = [
    "What time is it in Oslo?",
    "How warm is the water in the harbour?",
    "Is it raining in Rome this evening?",
    "Which rivers run through Rome?",
    "What time does the train to Rome leave this evening?",
]
texts = st.lists(st.lists(st.sampled_from("abcdefg"), max_size=8).map(" ".join), max_size=9)


def row(number: int, question: str) -> Sample:
    made = Task(f"rows/train/{number}", TOOLS, TASK.instruction, question)
    return Sample(made, answer_with([ToolCall("get_time", {"city": f"T{number}"})]))


ROWS = [row(number, question) for number, question in enumerate(QUESTIONS)]


def learn(
    question: str,
    rows: Sequence[Sample] = ROWS,
    base: Completion | None = None,
    engine: Any = None,
    **options: Any,
) -> Any:
    learner = Nearest(**options)
    learner.teach(lambda: rows)
    task = replace(TASK, input=question)
    (made,) = learner.learn([task], [[]], [base], engine or ScriptedEngine(), 3)
    return made


def by_the_formula(texts: Sequence[str], query: str) -> list[float]:
    split = [text.split() for text in texts]
    mean = sum(map(len, split)) / len(split)
    found = []
    for words in split:
        total = 0.0
        for word in set(query.split()):
            df = sum(word in other for other in split)
            tf = words.count(word)
            norm = 1.2 * (0.25 + 0.75 * len(words) / mean) if mean else 1.0
            total += math.log(1 + (len(split) - df + 0.5) / (df + 0.5)) * tf / (tf + norm)
        found.append(total)
    return found


@given(texts.filter(bool), st.lists(st.sampled_from("abcdefgh"), max_size=6).map(" ".join))
def test_scores_are_those_of_the_formula(texts: list[str], query: str) -> None:
    index = Bm25(texts)
    expected = by_the_formula(texts, query)
    assert index.scores(query) == pytest.approx(expected, abs=1e-12)
    scores = index.scores(query)
    assert index.ranked(query) == sorted(range(len(texts)), key=lambda at: (-scores[at], at))


def test_case_and_punctuation_do_not_count_and_no_texts_are_no_fault() -> None:
    index = Bm25(["ROME, again: rome!", "Oslo", ""])
    assert index.ranked("Rome?")[0] == 0
    assert index.scores("Oslo OSLO oslo.") == index.scores("oslo")
    assert index.scores("nothing here") == [0.0, 0.0, 0.0]
    assert Bm25([]).ranked("Rome") == []
    assert Bm25(["", "?!"]).scores("Rome") == [0.0, 0.0]


def asked(made: Any) -> list[str]:
    return [turn.content for turn in made.turns if turn.role == "user"]


def test_the_rows_that_share_rare_words_are_shown_the_nearest_last() -> None:
    made = learn("When does it rain in Rome this evening?", shots=2)
    assert asked(made) == [QUESTIONS[4], QUESTIONS[2]]
    assert made.source.endswith("of these 5, 3")
    assert made.source.startswith("train split of the benchmark, 5 rows, sha256:")
    assert len(asked(learn("Rome", shots=99))) == len(ROWS)


def test_a_row_with_the_tasks_own_question_is_left_out() -> None:
    made = learn(QUESTIONS[2], shots=5)
    assert QUESTIONS[2] not in asked(made)
    assert len(asked(made)) == 4
    with pytest.raises(UsageError, match="anything else") as caught:
        learn(QUESTIONS[2], rows=[ROWS[2]])
    assert '"file"' in caught.value.cure


def test_a_row_with_other_tools_is_shown_with_them() -> None:
    other = replace(ROWS[0], task=replace(ROWS[0].task, instruction="Other tools."))
    (shown,) = asked(learn("Oslo", rows=[other], shots=1))
    assert re.search(r"Other tools\.\n\nWhat time is it in Oslo\?$", shown)


def test_pairs_are_trained_on_as_lora_sft_would() -> None:
    ours, theirs = ScriptedEngine(), ScriptedEngine()
    options: dict[str, Any] = {"rank": 4, "epochs": 2, "learning_rate": 3e-4}
    base = Completion('[{"name": "get_time", "arguments": {}}]', ROWS[0].reference)
    question = "When does it rain in Rome this evening?"
    made = learn(question, base=base, engine=ours, mode="pairs", shots=2, **options)
    examples = [Example(ROWS[at].task, ROWS[at].reference, "", 1) for at in (4, 2)]
    task = replace(TASK, input=question)
    learner = LoraSft(target="as_answered", **options)
    (same,) = learner.learn([task], [examples], [base], theirs, 3)
    assert ours.asked == theirs.asked
    assert made.digest == same.digest
    (job,) = ours.asked
    assert isinstance(job, TrainJob)
    assert [prompt.messages[-1].content for prompt, _ in job.pairs] == [QUESTIONS[4], QUESTIONS[2]]
    assert job.pairs[-1][1] == '[{"name": "get_time", "arguments": {"city": "T2"}}]'


def test_only_pairs_need_an_engine_that_trains_and_no_mode_needs_examples() -> None:
    assert Nearest().needs == frozenset()
    assert Nearest(mode="pairs", active_from="user_turn").needs == {
        "train",
        "adapters",
        "activated",
    }
    assert not Nearest(mode="pairs").needs_examples
    assert Nearest().needs_train
    assert Nearest().needs_base
    assert not Nearest(target="tool_call").needs_base


def test_faulty_options_are_refused_when_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="set aside"):
        Nearest(mode="pairs", keep="best")
    with pytest.raises(MissingAsset):
        Nearest(file=str(tmp_path / "none.jsonl"))


def test_rows_of_another_form_are_refused() -> None:
    number = replace(ROWS[0], task=replace(ROWS[0].task, form="number"))
    with pytest.raises(UsageError, match="answers of form number, and the tasks want calls"):
        learn("Oslo", rows=[number])
