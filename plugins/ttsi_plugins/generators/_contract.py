"""What generators of training examples share: what they ask for, and what they accept (F.2).

The model or teacher sees the task's instruction and input, never a label, and is asked for one new
request with its answer. The instruction holds the tool list, so variants keep it word for word: a
rewritten one would offer other tools. The task's form defines what an answer is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Literal, TypeAlias

from ttsi import (
    UNPARSABLE,
    Answer,
    AnswerStatus,
    Example,
    Message,
    Prompt,
    Task,
    find_object,
    form_of,
)

PromptForm: TypeAlias = Literal["quoted", "seed_first"]

SEED_FIRST = """A user of this assistant wrote:

{seed}

Write what another user could ask: a similar request in other words, with other names and \
values. Use the same JSON form, and add {answer_to_it} under the key "output". {rule} Reply with \
that JSON object and nothing else."""

WRITER = "You write training data for {data_for}."

QUOTED = """These are an assistant's instructions:

{instruction}

A user of that assistant wrote:

{seed}

Do not answer this request. Write one new training example like it: what another user could ask, \
in other words and with other names and values, and {answer}. {rule} Reply with one JSON object \
and nothing else: {{"input": "the new request", "output": {shape}}}"""


def asking(task: Task, form: PromptForm) -> Prompt:
    """Return the chat that asks for one example like `task`.

    Quoted, the tools are always shown in the instruction, whoever writes them for the task itself.
    """
    seed = json.dumps({"input": task.input}, ensure_ascii=False)
    words = asdict(form_of(task).asking)
    if form == "seed_first":
        ask = Message("user", SEED_FIRST.format(seed=seed, **words))
        return Prompt((task.messages[0], ask), tools=task.offered)
    quoted = QUOTED.format(instruction=task.instruction, seed=seed, **words)
    return Prompt((Message("system", WRITER.format(**words)), Message("user", quoted)))


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


def accept(task: Task, k: int, attempt: int, text: str) -> Example | None:
    """Return the k-th example of `task`, from the output `text` of `attempt` (0, 1, ...).

    Return None if the output breaks the contract of F.2.
    """
    made = find_object(text, ("input", "output"))
    if made is None or not isinstance(made["input"], str):
        return None
    new_input = made["input"].strip()
    if not new_input or _folded(new_input) == _folded(task.input):
        return None
    form = form_of(task)
    variant = form.variant(task, str(k), new_input)
    answer = form.read(variant, made["output"])
    if answer.status is not AnswerStatus.OK or form.faults(variant, answer):
        return None
    return Example(variant, answer, text, attempts=attempt + 1)


def distinct(examples: Iterable[Example]) -> list[Example]:
    """Return the first example of each digest, in order."""
    kept: dict[str, Example] = {}
    for example in examples:
        kept.setdefault(example.digest, example)
    return list(kept.values())


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
