"""The shortest spec on the pages is what a newcomer tries first: it shows something."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import ttsi
from ttsi.running.advice import advice

PAGE = Path(__file__).parent.parent / "docs" / "spec.md"


@pytest.mark.model
def test_the_shortest_spec_answers_and_adapts(tmp_path: Path) -> None:
    first = re.search(r"^```json\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert first is not None
    # A third of its samples, for time's sake.
    (cell,) = ttsi.evaluate(json.loads(first[1]), out=tmp_path, overrides={"benchmark.limit": 8})
    results = cell.seeds[0]
    assert results["correct"]
    assert results["adapted"]
    assert list(advice(cell.spec, results)) == []
