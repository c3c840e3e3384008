"""What runs left in docs/results, as the generated tables read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

RESULTS = Path(__file__).resolve().parent / "results"
OLD = RESULTS / "0.1.0"
"""Runs of that version, whose scoring read fewer notations."""
MODELS = {
    "smollm2-135m": "SmolLM2-135M",
    "qwen2.5-coder-0.5b.gguf": "Qwen2.5-Coder-0.5B",
    "qwen2.5-coder-1.5b.gguf": "Qwen2.5-Coder-1.5B",
}
NOT_YET = "Not measured yet."

Stored: TypeAlias = tuple[dict[str, Any], dict[str, Any]]
"""Results and resolved spec of one seed."""


def read(folder: Path) -> Stored:
    results, spec = (
        json.loads((folder / name).read_text()) for name in ("results.json", "spec.resolved.json")
    )
    return results, spec


def named(model: str) -> str:
    """Return a model's name for people."""
    return MODELS.get(model, model)


def accuracy(outcome: Mapping[str, Any]) -> str:
    """Return the share of right answers with its interval, in per cent."""
    low, high = outcome["accuracy_interval"]
    return f"{100 * outcome['accuracy']:.1f} % [{100 * low:.0f}, {100 * high:.0f}]"
