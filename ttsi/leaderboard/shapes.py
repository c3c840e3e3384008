"""Validation of untrusted files against the published schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from ttsi.leaderboard.faults import Fault
from ttsi.types import JSON

_FOLDER = Path(__file__).parent.parent / "schemas"
_TOLD = 3
_LARGEST = 2.0**53
"""The largest number allowed outside answers. Larger ones mean nothing, and sums could overflow."""


def shape_faults(name: str, value: JSON, where: str) -> Iterator[Fault]:
    """Yield the first faults of `value` under the schema `name`.

    `name`: submission, board, results, record, or a part of the schema submission: spec, identity,
    sessions, manifest.
    """
    errors = list(islice(_validator(name).iter_errors(value), _TOLD))
    for error in errors:
        place = "/".join(map(str, error.absolute_path))
        what = f"{place or 'it'} is not of its schema: {_short(error.message)}."
        yield Fault("schema", where, what, "`ttsi schema` prints what is allowed.")
    if not errors and _immense(value):
        what = f"holds a number above {_LARGEST:g}."
        yield Fault("schema", where, what, "Restore it from the run.")


@lru_cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator

    if name in ("spec", "identity", "sessions", "manifest"):
        whole = _schema("submission")
        return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": whole["$defs"]})
    return Draft202012Validator(_schema(name))


def _schema(name: str) -> Any:
    return json.loads((_FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))


def _immense(value: JSON) -> bool:
    """Return whether any number is too large, except in answers, which a model wrote."""
    if isinstance(value, dict):
        return any(_immense(part) for key, part in value.items() if key != "answer")
    if isinstance(value, list):
        return any(map(_immense, value))
    return isinstance(value, int | float) and abs(value) > _LARGEST


def _short(message: str) -> str:
    text = message.encode("ascii", "backslashreplace").decode()
    text = " ".join(text.split())
    return text if len(text) <= 160 else f"{text[:60]} ... {text[-80:]}"
