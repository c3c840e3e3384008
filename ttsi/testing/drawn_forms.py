"""Texts and JSON values on which answer forms are tried, whatever the form."""

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
"""Of any form some is an answer; all of it is what a model, or a file, may give in its place."""

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
"""By name: a text that grows with n, as in `ttsi.testing.hostile`."""


def task_for(form: str) -> Task:
    """A task that has what any form may want: tools, and options."""
    return Task("fake/0", TOOLS, "Answer the question.", "Which one is it?", form, CHOICES)


def texts(made: Any) -> list[str]:
    """Texts to be read: the form's own specimens, those of other forms, and what is none."""
    return [*made.specimens, *FORMS, *PROSE]


def values(made: Any, task: Task) -> list[JSON]:
    """JSON values that satisfy the form's schema, drawn by a fixed seed.

    None where it has no schema, or one by which values cannot be drawn.
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
    """The answers that the form reads in `texts` and `values`, each once."""
    read = [made.parse(task, text) for text in texts(made)]
    read += [made.read(task, value) for value in values(made, task)]
    sound = [each for each in read if isinstance(each, Answer) and each.status is AnswerStatus.OK]
    return list({json.dumps([each.value, each.work]): each for each in sound}.values())


def readings(made: Any, name: str) -> list[Answer]:
    """Of a form: what it reads in texts of all kinds."""
    task = task_for(name)
    return [made.parse(task, text) for text in texts(made)]
