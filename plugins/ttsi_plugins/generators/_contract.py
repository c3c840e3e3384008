"""What generators of training examples accept (F.2), and why not; the task's form says what an
answer is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ttsi import (
    JSON,
    UNPARSABLE,
    Answer,
    AnswerStatus,
    Example,
    Task,
    find_object,
    form_of,
    reject,
)

WHY = {
    "cut": "cut off at max_tokens before it was a whole JSON object; raise `generator.max_tokens` "
    "or lower `generator.max_calls`",
    "no_object": 'no JSON object with "input" and "output"',
    "no_request": "no request in it",
    "copy": "its request is the task's own",
    "near_copy": "its request is nearly the task's own, or that of an earlier example",
    "no_answer": "no answer in it that can be read",
    "invalid": "its answer does not fit the task",
    "disagreement": "too few of the model's answers to its request agree",
    "unsupported": "its request does not bear out a value of its answer",
    "served": "a tool serves its request, which was to be one that none serves",
    "duplicate": "the same as an earlier example",
}
"""Why an output is no example, by reason."""


def example_schema(task: Task, max_calls: int) -> dict[str, Any]:
    """Return the JSON Schema of a valid output; it cannot demand that the input is new."""
    return _schema(task, max_calls, input={"type": "string", "minLength": 4})


def answer_schema(task: Task, max_calls: int) -> dict[str, Any]:
    """Return the JSON Schema of an object that has the answer to `task` as its `output`."""
    return _schema(task, max_calls)


def _schema(task: Task, max_calls: int, **others: Any) -> dict[str, Any]:
    output = dict(form_of(task).schema(task, most=max_calls) or {})
    definitions = output.pop("$defs", None)
    properties = {**others, "output": output}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {**schema, "$defs": definitions} if definitions else schema


def answer_of(task: Task, text: str, *, as_json: bool) -> Answer:
    """Return the answer to `task` in a text: `as_json` in an object of `answer_schema`."""
    form = form_of(task)
    if not as_json:
        return form.parse(task, text)
    made = find_object(text, ("output",))
    return UNPARSABLE if made is None else form.read(task, made["output"])


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why an output is no example: a reason of `WHY`, and more on it."""

    reason: str
    more: str = ""

    def tell(self, task: Task, text: str) -> None:
        """Report the output for the task's record."""
        detail = WHY[self.reason] + (f": {self.more}" if self.more else "")
        reject(task.id, self.reason, text, detail)


def accept(task: Task, k: int, attempt: int, text: str, *, cut: bool = False) -> Example | Unfit:
    """Return the k-th example of `task`, from the output `text` of `attempt` (0, 1, ...).

    Return why it is none if the output breaks the contract of F.2. `cut`: it was cut off.
    """
    made = find_object(text, ("input", "output"))
    if made is None:
        return Unfit("cut" if cut else "no_object")
    new_input = request_in(made)
    if not new_input:
        return Unfit("no_request")
    if is_copy(new_input, task.input):
        return Unfit("copy")
    form = form_of(task)
    variant = form.variant(task, str(k), new_input)
    answer = form.read(variant, made["output"])
    if answer.status is not AnswerStatus.OK:
        return Unfit("no_answer")
    if faults := form.faults(variant, answer):
        return Unfit("invalid", "; ".join(faults))
    return Example(variant, answer, text, attempts=attempt + 1)


def request_in(made: Mapping[str, JSON]) -> str:
    """Return the new request of an output's object; "" if it has none."""
    return made["input"].strip() if isinstance(made["input"], str) else ""


def is_copy(one: str, other: str) -> bool:
    """Whether two requests differ in case and white space at most."""
    return _folded(one) == _folded(other)


def overlap(one: str, other: str) -> float:
    """Return how alike two texts are in [0, 1]: the share of their pairs of words in both."""
    pairs, others = _pairs(one), _pairs(other)
    return len(pairs & others) / len(pairs | others)


def distinct(task: Task, examples: Iterable[Example]) -> list[Example]:
    """Return the first example of each digest, in order, and report the others."""
    kept: dict[str, Example] = {}
    for example in examples:
        if kept.setdefault(example.digest, example) is not example:
            Unfit("duplicate").tell(task, example.text)
    return list(kept.values())


def _pairs(text: str) -> set[tuple[str, str]]:
    """Return the words that follow each other; the ends of the text count as words."""
    return set(pairwise(["", *re.findall(r"\w+", text.casefold()), ""]))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
