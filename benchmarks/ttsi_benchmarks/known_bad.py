"""Rows whose reference no valid answer can match, by id; they stay in the denominator.

`known_bad.json` maps the id to the reason. A reference is listed if, with its values typed by the
schema, it calls a tool that is not offered or breaks the schema of the tool that it calls. Decoding
that is constrained to the offered tools cannot produce it. A test computes the list from the data.
"""

from __future__ import annotations

import json
from importlib import resources


def known_bad() -> dict[str, str]:
    """Return the reasons by sample id."""
    file = resources.files("ttsi_benchmarks").joinpath("known_bad.json")
    rows: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return rows
