"""A JSON object somewhere in a model's text."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ttsi.answers.calls.literals import Reader, Value
from ttsi.answers.calls.parse import Scan


def find_object(text: str, keys: Collection[str]) -> dict[str, Any] | None:
    """The first object in `text`, behind all thoughts, that has all of `keys`; None if there is
    none, or a thought is not closed. In linear time, never evaluated."""
    start = Scan(text).answer_start()
    if start is None:
        return None
    reader = Reader(text)
    at = text.find("{", start)
    while at >= 0:
        outcome = reader.read(at)
        if isinstance(outcome, Value):
            value = outcome.value
            if outcome.sound and isinstance(value, dict) and all(key in value for key in keys):
                return value
            at = text.find("{", outcome.end)
        else:
            at = text.find("{", max(outcome.at, at + 1))
    return None
