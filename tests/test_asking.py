"""The exact prompts with which G asks for calls; every draw depends on each character."""

from __future__ import annotations

import pytest

from ttsi.types import Message, Task, Tool
from ttsi_plugins.generators._asking import PromptForm, asking

INSTRUCTION = 'You call tools. {"name": "get_time"}'
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TASK = Task("a/0", (Tool("get_time", "Local time", CITY),), INSTRUCTION, 'Time in "Łódź" {now}?')

WRITER = "You write training data for assistants that answer requests by calling tools."

QUOTED = (
    "These are an assistant's instructions:\n"
    "\n"
    'You call tools. {"name": "get_time"}\n'
    "\n"
    "A user of that assistant wrote:\n"
    "\n"
    '{"input": "Time in \\"Łódź\\" {now}?"}\n'
    "\n"
    "Do not answer this request. Write one new training example like it: what another user could "
    "ask, in other words and with other names and values, and the calls that the assistant should "
    "answer with. Every value in the calls comes from the new request. Reply with one JSON object "
    'and nothing else: {"input": "the new request", "output": [{"name": "tool_name", '
    '"arguments": {...}}]}'
)

SEED_FIRST = (
    "A user of this assistant wrote:\n"
    "\n"
    '{"input": "Time in \\"Łódź\\" {now}?"}\n'
    "\n"
    "Write what another user could ask: a similar request in other words, with other names and "
    'values. Use the same JSON form, and add the calls that answer it under the key "output". '
    "Every value in the calls comes from the new request. Reply with that JSON object and nothing "
    "else."
)


@pytest.mark.parametrize(
    ("form", "system", "ask"),
    [("quoted", WRITER, QUOTED), ("seed_first", INSTRUCTION, SEED_FIRST)],
)
def test_calls_are_asked_for_in_these_very_words(form: PromptForm, system: str, ask: str) -> None:
    assert asking(TASK, form).messages == (Message("system", system), Message("user", ask))
