"""Texts with tool calls as models write them, to test the readers of answers."""

from __future__ import annotations

import json

CALL = json.dumps({"name": "get_weather", "arguments": {"city": "Oslo"}})
OTHER = json.dumps({"name": "get_weather", "arguments": {"city": "Rome"}})
REFUSAL = "None of the tools can do that."

FORMS = (
    CALL,
    f"<tool_call>\n{CALL}\n</tool_call>",
    f"<think>Perhaps {OTHER}?</think>\n\n{CALL}",
    f"Perhaps {OTHER}?\n</think>\n\n{CALL}",
    f"<think>{CALL}",
    f"{CALL}\nOr rather:\n{OTHER}",
    'get_weather(city="Oslo")',
    '<function=get_weather>{"city": "Oslo"}</function>',
    'Action: get_weather\nAction Input: {"city": "Oslo"}',
    'get_weather("Oslo")',
    CALL[:-5],
    f"No filter ([]): {CALL}",
    "[]",
    REFUSAL,
)
"""Calls of get_weather in several notations, with thoughts, hedges, errors, and refusals."""
