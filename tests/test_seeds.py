"""Results of a folder cover every seed in it, and every grid has a file of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_run import _scripted, run, spec

import ttsi
from ttsi.hooks import hookimpl
from ttsi.running.cell_result import CellResult


def summary_of(cell: CellResult) -> Any:
    return json.loads((cell.folder / "results.json").read_text())


def test_the_summary_is_over_every_seed_in_the_folder(tmp_path: Path) -> None:
    run(tmp_path, spec(seeds=[0]))
    cell = run(tmp_path, spec(seeds=[1]))
    assert set(cell.seeds) == {1}
    assert cell.summary == summary_of(cell)
    assert cell.summary["seeds"] == [0, 1]
    assert cell.summary["unfinished"] == []
    assert cell.summary["accuracy"]["n"] == 2
    assert cell.summary["samples"] == 12
    # Nothing of it is run anew, and a stray folder is none of its business.
    (cell.folder / "seed-x").mkdir()
    (cell.folder / "seed-x" / "samples.jsonl").touch()
    assert run(tmp_path, spec(seeds=[0])).summary == cell.summary


# A seed that is stopped before its first sample leaves no folder.
@pytest.mark.parametrize(("stopped_at", "left"), [("", []), ("City0?", []), ("City5?", [2])])
def test_an_unfinished_seed_is_named_and_in_no_number(
    stopped_at: str, left: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ttsi_fakes

    run(tmp_path, spec(seeds=[0]))
    script = ttsi_fakes.default_script

    def stops(request: Any) -> str:
        if stopped_at in request.prompt.messages[-1].content:
            raise KeyboardInterrupt
        return script(request)

    with monkeypatch.context() as patch:
        patch.setattr(ttsi_fakes.ScriptedEngine.__init__, "__defaults__", _scripted(stops))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, spec(seeds=[2, 3]))
    # Asked for again, the finished one alone: the others still lie there.
    cell = run(tmp_path, spec(seeds=[0]))
    summary = summary_of(cell)
    assert (summary["seeds"], summary["unfinished"]) == ([0], left)
    assert summary["samples"] == 6
    cell = run(tmp_path, spec(seeds=[2]))
    assert (cell.summary["seeds"], cell.summary["unfinished"]) == ([0, 2], [])


def test_a_command_that_is_stopped_leaves_a_summary_that_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ttsi_fakes

    starts: list[str] = []

    class Second:
        @hookimpl
        def ttsi_run_started(self, run: Any) -> None:
            starts.append(run["folder"])
            if len(starts) == 2:
                monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "generate", stops)

    def stops(*_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, spec(seeds=[0, 1, 2]), hooks=[Second()])
    summary = json.loads((Path(starts[0]).parent / "results.json").read_text())
    assert (summary["seeds"], summary["unfinished"]) == ([0], [1, 2])


def test_seeds_without_base_answers_have_no_difference(tmp_path: Path) -> None:
    summary = run(tmp_path, spec(seeds=[0, 1], baseline=False)).summary
    assert (summary["base_accuracy"], summary["difference"]) == (None, None)
    assert summary["accuracy"]["n"] == 2


def test_another_grid_leaves_another_file(tmp_path: Path) -> None:
    def grid(*values: float) -> dict[str, Any]:
        return spec(estimator="rss_margin", matrix={"/estimator/threshold": list(values)})

    ttsi.evaluate(grid(0.0, 0.5), out=tmp_path)
    (first,) = tmp_path.glob("scripted-*.grid.json")
    before = first.read_bytes()
    ttsi.evaluate(grid(0.0, 1.0), out=tmp_path)
    assert len(list(tmp_path.glob("scripted-*.grid.json"))) == 2
    assert first.read_bytes() == before
    # The same grid under one more seed is the same file, over both.
    ttsi.evaluate(grid(0.0, 0.5) | {"seeds": [1]}, out=tmp_path)
    assert len(list(tmp_path.glob("scripted-*.grid.json"))) == 2
    assert [cell["seeds"] for cell in json.loads(first.read_text())["cells"]] == [[0, 1]] * 2
