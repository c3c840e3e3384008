"""The published schemas, held against what a stranger wrote."""

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
"""Of any number but those in answers. Larger ones mean nothing here, and could not be summed up."""


def shape_faults(name: str, value: JSON, where: str) -> Iterator[Fault]:
    """The first faults of `value` under the schema: submission, board, results, record, or one of
    submission's own parts: spec, identity, sessions, manifest."""
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
    """Whether a number is too large; what a model wrote, its answers, may hold any."""
    if isinstance(value, dict):
        return any(_immense(part) for key, part in value.items() if key != "answer")
    if isinstance(value, list):
        return any(map(_immense, value))
    return isinstance(value, int | float) and abs(value) > _LARGEST


def _short(message: str) -> str:
    text = message.encode("ascii", "backslashreplace").decode()
    text = " ".join(text.split())
    return text if len(text) <= 160 else f"{text[:60]} ... {text[-80:]}"
