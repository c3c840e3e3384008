"""A check that the journal can hold what a plugin makes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from ttsi.records.lines import from_json, to_line
from ttsi.types import Adapter, Completion, Demonstrations, Record


def journaled(kind: str, made: Any) -> str:
    """Return why part of `made` cannot be written as JSON and read back; "" where all can."""
    for each in made if isinstance(made, list | tuple) else [made]:
        try:
            if isinstance(each, Adapter):
                json.dumps(dict(each.config), allow_nan=False)
            elif not isinstance(each, Demonstrations):
                fault = _there_and_back(kind, each)
                if fault:
                    return fault
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            return f"{type(error).__name__}: {error}"
    return ""


def _there_and_back(kind: str, each: Any) -> str:
    fields = {
        "estimators": "estimate",
        "generators": "examples",
        "inference": "base",
        "scorers": "base_score",
        "answers": "base",
    }
    if kind not in fields:
        return ""
    value = tuple(each) if kind == "generators" else each
    if kind == "answers":
        value = Completion("", each)
    empty = Record(id="fake/0", digest="", seed=0)
    told: dict[str, Any] = {fields[kind]: value}
    line = to_line(replace(empty, **told))
    again = to_line(from_json(json.loads(line)))
    same = kind == "generators" or again == line
    return "" if same else f"{line[:200]} is read back as {again[:200]}"
