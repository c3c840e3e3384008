"""What runs left in docs/results, as the generated tables read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

RESULTS = Path(__file__).resolve().parent / "results"
OLD = RESULTS / "0.1.0"
"""Runs of that version, whose scoring read fewer notations."""
NOT_YET = "Not measured yet."

Stored: TypeAlias = tuple[dict[str, Any], dict[str, Any]]
"""Results and resolved spec of one seed."""


def read(folder: Path) -> Stored:
    results, spec = (
        json.loads((folder / name).read_text()) for name in ("results.json", "spec.resolved.json")
    )
    return results, spec
