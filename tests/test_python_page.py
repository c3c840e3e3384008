"""docs/python.md: its code runs unchanged, with the embedded model, and in a notebook's kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


@pytest.mark.model
def test_the_code_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    solver, tasks, run = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(solver, str(PAGE), "exec"), names)
    said = capsys.readouterr().out
    assert "base:" in said
    assert "adapted:" in said
    exec(compile(tasks, str(PAGE), "exec"), names)
    assert len(names["tasks"]) == 2  # type: ignore[arg-type]
    compile(run, str(PAGE), "exec")  # test_notebook.py runs it
