"""What generators of training examples share: what they ask for, and what they accept (F.2).

The model or teacher sees the task's instruction and input, never a label, and is asked for one new
request with its answer. The instruction holds the tool list, so variants keep it word for word: a
rewritten one would offer other tools. The task's form defines what an answer is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from ttsi import (
    JSON,
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

_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Result"}

PromptForm: TypeAlias = Literal["quoted", "seed_first"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What to write like the seed, in the words of either form of prompt."""

    seed_first: str
    quoted: str


EXAMPLE = Wish(
    """Write {similar}. Use the same JSON form, and add {answer_to_it} under the key "output". \
{rule} Reply with that JSON object and nothing else.""",
    """Write one new training example like it: {other}, and {answer}. {rule} Reply with one JSON \
object and nothing else: {{"input": "the new request", "output": {shape}}}""",
)
REQUEST = Wish(
    """Write {similar}. Use the same JSON form. Reply with that JSON object and nothing else.""",
    """Write another request like it: {other}. Reply with one JSON object and nothing else: \
{{"input": "the new request"}}""",
)
UNSERVED = Wish(
    """Write what {who} could ask that has nothing to do with the tools above: a request \
for which none of them is of use. Use the same JSON form. Reply with that JSON object and \
nothing else.""",
    """Write a request that has nothing to do with the assistant's tools: none of \
them is of use for it. Reply with one JSON object and nothing else: \
{{"input": "the new request"}}""",
)

ALONE = {
    "who": "another user",
    "similar": "what another user could ask: a similar request in other words, with other names "
    "and values",
    "other": "what another user could ask, in other words and with other names and values",
    "here": "A user of this assistant wrote:",
    "there": "A user of that assistant wrote:",
}
"""What is said of a request that begins its conversation."""

IN_CONVERSATION = {
    "who": "this user",
    "similar": "what this user could ask here instead: another request that fits what was said "
    "and what the tools returned before it",
    "other": "what this user could ask instead at the end of this conversation, so that it fits "
    "what was said and what the tools returned before it",
    "here": "At this point of the conversation the user wrote:",
    "there": "This is what a user of that assistant and the assistant said:\n\n{past}\n\nThen the "
    "user wrote:",
}
"""The same of a request that others precede."""

SEED_FIRST = """{here}

{seed}

"""

WRITER = "You write training data for {data_for}."

QUOTED = """These are an assistant's instructions:

{instruction}

{there}

{seed}

Do not answer this request. """


def asking(task: Task, form: PromptForm, wish: Wish = EXAMPLE) -> Prompt:
    """Return the chat that asks for a wish, such as one example like `task`.

    Of a conversation it shows the turns up to what the user said last. Quoted, the tools are always
    shown in the instruction, whoever writes them for the task itself.
    """
    words = asdict(form_of(task).asking) | _told(task)
    words["seed"] = json.dumps({"input": task.input}, ensure_ascii=False)
    if form == "seed_first":
        ask = Message("user", (SEED_FIRST + wish.seed_first).format(**words))
        told = task.messages[: -len(task.said)]
        return Prompt((*told, *task.past, ask), tools=task.offered)
    quoted = (QUOTED + wish.quoted).format(instruction=task.instruction, **words)
    return Prompt((Message("system", WRITER.format(**words)), Message("user", quoted)))


def _told(task: Task) -> dict[str, str]:
    """Return what is said of the request, which depends on what precedes it."""
    if not task.past:
        return ALONE
    past = "\n".join(f"{_SPEAKERS[turn.role]}: {turn.content}" for turn in task.past)
    return IN_CONVERSATION | {"there": IN_CONVERSATION["there"].format(past=past)}


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
    new_input = "" if made is None else request_in(made)
    if made is None or not new_input or is_copy(new_input, task.input):
        return None
    form = form_of(task)
    variant = form.variant(task, str(k), new_input)
    answer = form.read(variant, made["output"])
    if answer.status is not AnswerStatus.OK or form.faults(variant, answer):
        return None
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


def distinct(examples: Iterable[Example]) -> list[Example]:
    """Return the first example of each digest, in order."""
    kept: dict[str, Example] = {}
    for example in examples:
        kept.setdefault(example.digest, example)
    return list(kept.values())


def _pairs(text: str) -> set[tuple[str, str]]:
    """Return the words that follow each other; the ends of the text count as words."""
    return set(pairwise(["", *re.findall(r"\w+", text.casefold()), ""]))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
