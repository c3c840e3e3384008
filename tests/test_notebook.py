"""ttsi in a notebook: a real kernel runs docs/python.md, and shows progress and short results."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest

import ttsi
from ttsi.results import table
from ttsi.running.notebook import Notebook, in_notebook
from ttsi.types import Completion, Estimate, Task

ROOT = Path(__file__).parents[1]
SPEC = {
    "name": "scripted",
    "model": {"id": "scripted"},
    "engine": "ttsi-fakes/scripted",
    "benchmark": {"name": "ttsi-fakes/rows", "rows": 6},
    "estimator": "random",
    "inference": {"name": "direct", "decoding": "greedy"},
    "seeds": [0, 1],
}


class Kernel:
    """An IPython kernel in a process of its own, as a notebook has one."""

    def __init__(self, folder: Path) -> None:
        from jupyter_client.manager import start_new_kernel

        environment = {**os.environ, "IPYTHONDIR": str(folder / "ipython")}
        self.manager, self.client = start_new_kernel(cwd=str(folder), env=environment)

    def run(self, code: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the (type, content) of all that a cell shows. Fails if it raises."""
        said: list[tuple[str, dict[str, Any]]] = []
        self.client.execute_interactive(
            code,
            allow_stdin=False,
            timeout=300,
            output_hook=lambda message: said.append((message["msg_type"], message["content"])),
        )
        errors = [content for kind, content in said if kind == "error"]
        assert errors == [], "\n".join(errors[0]["traceback"])
        return said

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def last_code(page: str) -> str:
    """Return the last Python code of a page, with two samples."""
    code = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[-1]
    return code.replace('"specs/', f'"{ROOT}/specs/').replace('limit": 8', 'limit": 2')


def printed(said: list[tuple[str, dict[str, Any]]]) -> str:
    return "".join(content["text"] for kind, content in said if kind == "stream")


@pytest.mark.model
def test_a_notebook_runs_the_pages_and_shows_progress(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    try:
        said = kernel.run(f"import ttsi\n{last_code('docs/python.md')}")
        again = kernel.run(last_code("README.md"))
        shown = kernel.run("[cell]")
        names = kernel.run("dir(ttsi)")
    finally:
        kernel.close()
    displays = [content for kind, content in said if kind == "display_data"]
    updates = [content for kind, content in said if kind == "update_display_data"]
    assert len(displays) == 1
    assert "<progress " in displays[0]["data"]["text/html"]
    assert "0 of 2 samples" in displays[0]["data"]["text/plain"]
    assert re.search(r"2 of 2 samples in \d+ s; accuracy ", updates[-1]["data"]["text/plain"])
    told = [update["data"]["text/plain"] for update in updates]
    assert any("answer 2 of 2" in each for each in told), told
    assert re.search(r"^[\d.]+ -> [\d.]+$", printed(said), re.MULTILINE)
    assert re.fullmatch(r"[\d.]+ [\d.]+ runs/quickstart-\w+\n", printed(again))
    (result,) = (content for kind, content in shown if kind == "execute_result")
    assert len(result["data"]["text/plain"]) < 250
    (listed,) = (content for kind, content in names if kind == "execute_result")
    for name in ("evaluate", "Solver", "load_spec", "option"):
        assert f"'{name}'" in listed["data"]["text/plain"]


def test_elsewhere_nothing_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not in_notebook()
    ttsi.evaluate(SPEC, out=tmp_path)
    assert capsys.readouterr() == ("", "")


def test_errors_are_shown_without_their_markup(tmp_path: Path) -> None:
    (cell,) = ttsi.evaluate(SPEC, out=tmp_path)
    reporter = Notebook()
    reporter.seed_started(cell.spec, 0, 6, 1, tmp_path)
    reporter.sample_finished(ttsi.Record("rows/0", "d", 0, error="answer: <b>boom</b>"), 3, 6)
    assert "3 of 6 samples" in repr(reporter)
    assert "1 errors, last rows/0: answer: <b>boom</b>" in repr(reporter)
    assert "&lt;b&gt;boom" in reporter._repr_html_()


def test_records_are_a_data_frame_whose_score_is_the_accuracy(tmp_path: Path) -> None:
    (cell,) = ttsi.evaluate(SPEC, out=tmp_path)
    frame = cell.records()
    assert list(frame.columns) == [column.name for column in table.COLUMNS]
    assert sum("score" in column for column in frame.columns) == 1
    assert len(frame) == cell.samples == 12
    assert frame["score"].mean() == pytest.approx(cell.accuracy)
    assert frame["base_correct"].mean() == pytest.approx(cell.base_accuracy)
    assert frame.dtypes["adapted"] == pandas.BooleanDtype()
    assert frame["steps"].isna().all()
    (one,) = ttsi.evaluate(SPEC | {"seeds": [1]}, out=tmp_path)
    assert one.folder == cell.folder
    assert set(one.records()["seed"]) == {1}


def test_a_sample_without_an_answer_scores_0(tmp_path: Path) -> None:
    engine = {"name": "ttsi-fakes/scripted", "failing": 0.5}
    (cell,) = ttsi.evaluate(SPEC | {"engine": engine}, out=tmp_path)
    frame = cell.records()
    failed = frame[frame["error"].notna()]
    assert len(failed) == cell.errors > 0
    assert (failed["score"] == 0).all()
    assert f", {cell.errors} errors, " in repr(cell)
    assert frame["score"].mean() == pytest.approx(cell.accuracy)


def test_without_pandas_the_error_names_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell,) = ttsi.evaluate(SPEC, out=tmp_path)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ttsi.MissingAsset, match="pip install pandas"):
        cell.records()


def test_a_result_has_a_short_repr(tmp_path: Path) -> None:
    (cell,) = ttsi.evaluate(SPEC, out=tmp_path)
    base = json.loads((cell.folder / "results.json").read_text())["base_accuracy"]["mean"]
    assert repr(cell) == (
        f"<scripted: accuracy {100 * cell.accuracy:.1f} %, base model {100 * base:.1f} %, "
        f"12 samples, seed 0, 1, {cell.folder}>"
    )
    task = Task("mine/1", (), "", "Ring at seven. " * 99)
    answer = Completion("[]\n" * 99, ttsi.DECLINED)
    assert repr(ttsi.Solution(task, Estimate(0.25, True), answer)) == (
        f"<Solution of mine/1: confidence 0.25, not adapted: '{('[] ' * 19).strip()} …'>"
    )
    failed = ttsi.Solution(task, error="answer: EngineError: no memory")
    assert repr(failed) == "<Solution of mine/1: error answer: EngineError: no memory>"


def test_all_public_names_are_listed_and_there() -> None:
    assert dir(ttsi) == sorted(ttsi.__all__)
    for name in dir(ttsi):
        assert getattr(ttsi, name) is not None
