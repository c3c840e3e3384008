"""Find where the answer begins in a model's text, and JSON objects in it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ttsi.answers.calls.parse import Scan
from ttsi.answers.literals import Reader, Value


def behind_thoughts(text: str) -> str | None:
    """Return the text after the model's thoughts; None if a thought is not closed. Linear time."""
    start = Scan(text).answer_start()
    return None if start is None else text[start:]


def find_object(text: str, keys: Collection[str]) -> dict[str, Any] | None:
    """Return the first object in `text`, after all thoughts, that has all of `keys`.

    None if there is none, or if a thought is not closed. Linear time; nothing is evaluated.
    """
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
