"""Texts and JSON values to test any answer form with."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from ttsi.parameters.plain import SchemaFault
from ttsi.testing.call_texts import FORMS
from ttsi.testing.fake_benchmark import TOOLS
from ttsi.testing.hostile import FAMILIES
from ttsi.testing.instances import instance
from ttsi.types import JSON, Answer, AnswerStatus, Task

CHOICES = ("(A)", "(B)", "(C)")

PROSE = (
    "",
    "I do not know.",
    "42",
    "6 bags of 7 make 42.\n#### 42",
    "So the answer is (B).",
    "The answer is yes.",
    "Open are [ and <.\nAnswer: > ]",
    "It was on the 3rd of May 2024: 2024-05-03",
    "\\boxed{\\frac{1}{2}}",
    '{"answer": 42}',
    "e\u0301 and \u00e9, \ud800 and \x00",
)
DEEP: Any = [[[]]]
for _ in range(2_000):
    DEEP = [DEEP]
JUNK: tuple[JSON, ...] = (
    *(None, True, 0, -1.5, 10**30, 1e300, "", " ", "\ud800", [], [None], {}, {"a": {"b": []}}),
    DEEP,
)
"""JSON values that a model or file may give in place of an answer; a form may accept some."""

GROWING: dict[str, Callable[[int], str]] = {
    **FAMILIES,
    "answers": lambda n: "The answer is 42. " * n,
    "marks": lambda n: "#### " * n,
    "boxes": lambda n: "\\boxed{" * n,
    "groups of digits": lambda n: "1,000" + ",000" * n,
    "numbers": lambda n: "-3.5/2 " * n,
    "options": lambda n: "(A) or " * n,
    "lines": lambda n: "line\n" * n,
    "one word": lambda n: "a" * n,
    "stops": lambda n: "a. " * n,
    "dates": lambda n: "2024-05-03 " * n,
    "open thoughts": lambda n: "<think>" * n,
    "closed thoughts": lambda n: "<think>a</think>" * n,
}
"""By name: a function that returns a text whose length grows with n, as in
`ttsi.testing.hostile`."""


def task_for(form: str) -> Task:
    """Return a task of this form that has tools and choices."""
    return Task("fake/0", TOOLS, "Answer the question.", "Which one is it?", form, CHOICES)


def texts(made: Any) -> list[str]:
    """Return texts to read: the form's own specimens, calls, and prose with other answers."""
    return [*made.specimens, *FORMS, *PROSE]


def values(made: Any, task: Task) -> list[JSON]:
    """Return 20 JSON values that satisfy the form's schema, drawn with a fixed seed.

    The list is empty where the form has no schema, or values cannot be drawn for it.
    """
    from jsonschema import Draft202012Validator, SchemaError

    schema, draw = made.schema(task), Random(13)
    if not isinstance(schema, dict):
        return []
    try:
        Draft202012Validator.check_schema(schema)
        return [instance(schema, draw) for _ in range(20)]
    except (SchemaError, SchemaFault, ValueError):
        return []


def answers(made: Any, task: Task) -> list[Answer]:
    """Return the distinct answers that the form reads in `texts` and `values`."""
    read = [made.parse(task, text) for text in texts(made)]
    read += [made.read(task, value) for value in values(made, task)]
    sound = [each for each in read if isinstance(each, Answer) and each.status is AnswerStatus.OK]
    return list({json.dumps([each.value, each.work]): each for each in sound}.values())


def readings(made: Any, name: str) -> list[Answer]:
    """Return what the form reads in each of `texts`."""
    task = task_for(name)
    return [made.parse(task, text) for text in texts(made)]
