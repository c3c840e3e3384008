"""How generators ask for a training example (F.2), in our words or in the user's.

The model or teacher sees the task's instruction and input, never a label, and is asked for one new
request with its answer. The instruction holds the tool list, so variants keep it word for word: a
rewritten one would offer other tools.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, TypeAlias

from ttsi import Message, Prompt, Task, form_of, option
from ttsi._common.places import check_places, filled

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

PLACES = ("instruction", "past", "seed")


@dataclass(frozen=True)
class Asks:
    """The options of a generator that say how it asks for a new request.

    Making one raises UsageError for a template that lacks a place.
    """

    _wish: ClassVar[Wish] = EXAMPLE

    prompt: PromptForm = option(
        "quoted",
        "Where the writer sees the task's instruction: quoted in the request of a writer of data, "
        "or as its own system turn, which can share the cache of the other stages.",
    )
    template: str | None = option(
        None,
        "The user's turn of that prompt in your own words: a template with the places {seed}, the "
        'task\'s request as {"input": ...}, {instruction}, with the tools, and {past}, the turns '
        "before the request. It has to ask for the JSON object that becomes an example.",
        minLength=1,
    )

    def __post_init__(self) -> None:
        if self.template is not None:
            needed = ("seed", "instruction") if self.prompt == "quoted" else ("seed",)
            check_places(self.template, "generator.template", PLACES, needed=needed)

    def template_for(self, task: Task) -> str:
        """Return the template of the user's turn."""
        return self.template or template_of(task, self.prompt, self._wish)

    def asking(self, task: Task) -> Prompt:
        """Return the chat that asks for an example like `task`."""
        return asking(task, self.prompt, self._wish, self.template)


def asking(
    task: Task, form: PromptForm, wish: Wish = EXAMPLE, template: str | None = None
) -> Prompt:
    """Return the chat that asks for a wish, such as one example like `task`.

    Of a conversation it shows the turns up to what the user said last. Quoted, the tools are always
    shown in the instruction, whoever writes them for the task itself. `template` takes the place of
    the user's turn in our words.
    """
    ask = filled(
        template or template_of(task, form, wish),
        {
            "seed": json.dumps({"input": task.input}, ensure_ascii=False),
            "instruction": task.instruction,
            "past": "\n".join(f"{_SPEAKERS[turn.role]}: {turn.content}" for turn in task.past),
        },
    )
    if form == "seed_first":
        told = task.messages[: -len(task.said)]
        return Prompt((*told, *task.past, Message("user", ask)), tools=task.offered)
    writer = WRITER.format(data_for=form_of(task).asking.data_for)
    return Prompt((Message("system", writer), Message("user", ask)))


def template_of(task: Task, form: PromptForm, wish: Wish = EXAMPLE) -> str:
    """Return the template of the user's turn in our words, for a task like this one."""
    words = asdict(form_of(task).asking) | {name: f"{{{name}}}" for name in PLACES}
    told = IN_CONVERSATION if task.past else ALONE
    begun, wanted = (QUOTED, wish.quoted) if form == "quoted" else (SEED_FIRST, wish.seed_first)
    return (begun + wanted).format(**words, **told)
