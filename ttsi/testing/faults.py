"""Faults of a stage's result for one task: wrong types, ranges or answers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from ttsi.answers import form_of
from ttsi.types import (
    Adapter,
    Answer,
    AnswerStatus,
    Completion,
    Demonstrations,
    Estimate,
    Example,
    Message,
    Task,
)


def _estimate(made: Any, task: Task, result: Any) -> str:
    if not isinstance(result, Estimate):
        return f"{type(result).__name__} is no Estimate"
    if not _number(result.confidence) or not 0 <= result.confidence <= 1:
        return f"confidence {result.confidence!r} is no number from 0 to 1"
    if type(result.uncertain) is not bool:
        return f"uncertain is {type(result.uncertain).__name__}, not bool"
    if not isinstance(result.scores, Mapping) or not all(map(_number, result.scores.values())):
        return f"scores are not finite numbers by name: {result.scores!r}"
    return ""


def _examples(made: Any, task: Task, result: Any) -> str:
    if not isinstance(result, list):
        return f"{type(result).__name__} is no list of Examples"
    most = getattr(made, "samples", None)
    if isinstance(most, int) and len(result) > most:
        return f"{len(result)} examples, and its option `samples` is {most}"
    return next((fault for each in result if (fault := _example(task, each))), "")


def _example(task: Task, example: Any) -> str:
    if not isinstance(example, Example):
        return f"{type(example).__name__} is no Example"
    if example.task.tools != task.tools:
        return "an example offers other tools than its task"
    if example.task.past != task.past:
        return "an example has other turns before the user's last one than its task"
    if not isinstance(example.task.input, str) or example.task.input in ("", task.input):
        return "an example's input is empty, or the task's own"
    if type(example.attempts) is not int or example.attempts < 1:
        return f"attempts is {example.attempts!r}, not a count from 1"
    if not isinstance(example.text, str):
        return f"text is {type(example.text).__name__}, not str"
    if not all(0 <= share <= 1 for share in example.evidence.values()):
        return f"evidence is no shares from 0 to 1: {example.evidence!r}"
    if faults := answer_faults(example.answer):
        return faults
    wrong = form_of(example.task).faults(example.task, example.answer)
    return f"an example's answer is not valid for its task: {wrong[0]}" if wrong else ""


def _adaptation(made: Any, task: Task, result: Any) -> str:
    if isinstance(result, Demonstrations):
        return _demonstrations(result.turns)
    if not isinstance(result, Adapter):
        return f"{type(result).__name__} is neither an Adapter nor Demonstrations"
    if not isinstance(result.safetensors, bytes) or not isinstance(result.config, Mapping):
        return "an adapter's safetensors must be bytes, and its config a mapping"
    return ""


def _demonstrations(turns: Any) -> str:
    if not isinstance(turns, tuple):
        return "turns are not a tuple"
    for turn in turns:
        if not isinstance(turn, Message) or not isinstance(turn.content, str):
            return f"a turn of demonstrations is no Message with a text: {turn!r}"
    roles = [turn.role for turn in turns]
    if roles and (roles[0], roles[-1]) != ("user", "assistant"):
        return f"demonstrations begin with a user and end with the assistant, not {roles}"
    return ""


def _completion(made: Any, task: Task, result: Any) -> str:
    if not isinstance(result, Completion):
        return f"{type(result).__name__} is no Completion"
    if not isinstance(result.text, str):
        return f"text is {type(result.text).__name__}, not str"
    for name in ("prompt_tokens", "completion_tokens"):
        count = getattr(result, name)
        if type(count) is not int or count < 0:
            return f"{name} is {count!r}, not a count"
    if not _number(result.logprob):
        return f"logprob {result.logprob!r} is not a finite number"
    if type(result.cut) is not bool:
        return f"cut is {result.cut!r}, neither True nor False"
    return answer_faults(result.answer)


def answer_faults(answer: Any) -> str:
    """Return what is wrong with an Answer of any form; "" where nothing is."""
    if not isinstance(answer, Answer) or not isinstance(answer.status, AnswerStatus):
        return f"an answer must be an Answer with an AnswerStatus: {answer!r}"
    if (answer.value is None) == (answer.status is AnswerStatus.OK):
        return f"the value is {answer.value!r} though the status is {answer.status.value}"
    try:
        json.dumps(answer.value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return f"an answer's value is not JSON: {error}"
    return ""


def _number(value: Any) -> bool:
    return isinstance(value, float | int) and type(value) is not bool and math.isfinite(value)


FAULTS_OF: dict[str, Callable[[Any, Task, Any], str]] = {
    "estimators": _estimate,
    "generators": _examples,
    "learners": _adaptation,
    "inference": _completion,
}
"""By kind: a function of (instance, task, result); returns the result's fault, or an empty text."""
