"""Predictions files with answers that are no calls: numbers, choices and texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ttsi.errors import UsageError
from ttsi.results.predictions import read_predictions
from ttsi.types import UNPARSABLE, AnswerStatus, Completion, Task

TASKS = {
    "n": Task("n", (), "Solve.", "How many?", form="number"),
    "c": Task("c", (), "Choose.", "Which?", form="choice", choices=("(A)", "(B)")),
    "t": Task("t", (), "Say.", "Who?", form="text"),
}


def predicted(folder: Path, line: str) -> dict[str, Completion]:
    file = folder / "predictions.jsonl"
    file.write_text(line, encoding="utf-8")
    return read_predictions(file, TASKS)


@pytest.mark.parametrize(
    ("id", "answer", "value"),
    [
        ("n", '"answer": 1000', "1000"),
        ("n", '"answer": 1e3', "1000"),
        ("n", '"answer": "6 + 6 = 12"', "12"),
        ("n", '"text": "So the answer is 12."', "12"),
        ("n", '"message": {"content": [{"type": "text", "text": "#### 12"}]}', "12"),
        ("c", '"answer": "(B)"', "(B)"),
        ("c", '"message": {"content": "The answer is (B)."}', "(B)"),
        ("t", '"answer": "Ann"', "Ann"),
    ],
)
def test_answers_of_other_forms_are_read_by_them(
    id: str, answer: str, value: str, tmp_path: Path
) -> None:
    read = predicted(tmp_path, f'{{"id": "{id}", {answer}}}')[id].answer
    assert (read.status, read.value) == (AnswerStatus.OK, value)


@pytest.mark.parametrize("id", TASKS)
@pytest.mark.parametrize(
    "answer",
    [
        '"text": null',
        '"answer": null',
        '"answer": NaN',
        '"answer": [1, NaN]',
        '"answer": {"a": 1, "a": 2}',
        '"answer": ' + "9" * 5000,
        '"answer": ' + "[" * 30_000 + "]" * 30_000,
        '"message": null',
        '"message": {}',
        '"message": {"content": null, "tool_calls": [{"function": {"name": "f"}}]}',
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_answer_of_another_form_is_unparsable(
    id: str, answer: str, tmp_path: Path
) -> None:
    assert predicted(tmp_path, f'{{"id": "{id}", {answer}}}')[id].answer == UNPARSABLE


@pytest.mark.parametrize("id", TASKS)
def test_calls_are_no_answer_where_none_are_made(id: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="A prediction has one of text, answer, message"):
        predicted(tmp_path, f'{{"id": "{id}", "calls": []}}')
