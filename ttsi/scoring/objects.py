"""A JSON object somewhere in a model's text."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ttsi.scoring.literals import Reader, Value


def find_object(text: str, keys: Collection[str]) -> dict[str, Any] | None:
    """The first object in `text` that has all of `keys`; in linear time, never evaluated."""
    reader = Reader(text)
    at = text.find("{")
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
