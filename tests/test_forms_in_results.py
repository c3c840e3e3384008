"""Reports, curves, comparisons and submissions work for answers of every form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import reports
from submissions import edit, faults, kinds, sealed, submit_run

import ttsi_fakes
from ttsi.answers import form_of
from ttsi.cli.main import main
from ttsi.report import html
from ttsi.results.runs import Run, open_run
from ttsi.spec import load_spec, resolved
from ttsi.types import Answer, Request, Sample


@dataclass(frozen=True)
class Kind:
    """A benchmark of one form; `value` and `other` are answers, `asked` a new request for one."""

    benchmark: dict[str, Any]
    estimator: str
    value: str
    other: str
    asked: str


KINDS = {
    "number": Kind(
        {"name": "gsm8k", "limit": 6},
        "always",
        "42",
        "7",
        "Ann reads six pages a day. How many pages does she read in seven days?",
    ),
    "choice": Kind(
        {"name": "bbh", "tasks": ["logical_deduction_three_objects"], "limit": 6},
        "rss_margin",
        "(A)",
        "(B)",
        "Tim is taller than Bo. Who is taller?\nOptions:\n(A) Tim\n(B) Bo\n(C) neither",
    ),
    "text": Kind(
        {"name": "bbh", "tasks": ["word_sorting"], "limit": 6},
        "always",
        "apple pear",
        "pear apple",
        "Sort these words: pear apple",
    ),
}


@dataclass(frozen=True)
class Made:
    kind: Kind
    run: Run
    base: Run

    @property
    def samples(self) -> list[Sample]:
        return list(self.run.samples.values())


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a run whose base model is always wrong and whose adapted one is always right."""
    kind, root = KINDS[request.param], tmp_path_factory.mktemp(request.param)
    spec = reports.document(benchmark=kind.benchmark, estimator=kind.estimator)
    asked = Run(root, resolved(load_spec(spec)[0]), {}, ()).samples
    by_input = {sample.task.messages[-1].content: sample for sample in asked.values()}

    def script(request: Request) -> str:
        said = request.prompt.messages[-1].content
        if ttsi_fakes.WRITING in said:
            return json.dumps({"input": kind.asked, "output": kind.value})
        sample = by_input[said]
        form, reference = form_of(sample.task), sample.reference
        if request.adapter is not None:
            return form.write(sample.task, reference)
        wrong = kind.value if reference.value != kind.value else kind.other
        return form.write(sample.task, Answer.of(wrong))

    scripted = ttsi_fakes.ScriptedEngine.generate

    def generate(engine: Any, requests: Sequence[Request]) -> Any:
        engine.script = script
        return scripted(engine, requests)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ttsi_fakes.ScriptedEngine, "generate", generate)
        run = reports.made(root, **{k: spec[k] for k in ("benchmark", "estimator")})
        base = reports.made(root, benchmark=kind.benchmark, estimator="never")
    return Made(kind, run, base)


def test_its_page_has_both_answers_and_the_reference(made: Made) -> None:
    results = made.run.seeds[0].results
    assert (results["base"]["correct"], results["correct"]) == (0, results["adapted"])
    assert results["adapted"] > 0
    text = html([made.run])
    page = reports.Page(text)
    assert len(page.of_class("sample")) == len(made.samples)
    shown = unescape(text)
    for sample in made.samples:
        assert json.dumps(sample.reference.value, ensure_ascii=False) in shown
    assert "wrong value" in page.text
    assert json.dumps(made.kind.value) in shown


def test_no_tools_are_told_of_where_there_are_none(made: Made) -> None:
    assert "Tools on offer" not in reports.Page(html([made.run])).text


def test_thresholds_and_pairs_are_told(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(made.run.folder)
    assert main(["calibrate", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["all"]["wrong"] == len(made.samples)
    assert main(["compare", str(made.base.folder), folder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["fixed"], found["broken"]) == (made.run.seeds[0].results["adapted"], 0)
    assert {flip["a"]["reason"] for flip in found["flips"]} == {"wrong_value"}


def test_it_is_submitted_verified_and_shown(made: Made, tmp_path: Path) -> None:
    submitted = submit_run(made.run.folder, tmp_path, third_party=True)
    assert faults(submitted.folder) == []
    assert main(["report", str(submitted.folder), "-o", str(tmp_path / "page.html")]) == 0
    assert main(["leaderboard", "render", "--to", str(tmp_path / "leaderboards")]) == 0


def test_what_is_forged_is_caught(made: Made, tmp_path: Path) -> None:
    def answer(rows: list[Any]) -> None:
        row = next(row for row in rows if row["adapted"])
        row["final"]["answer"]["value"] = made.kind.other + "9"

    def example(rows: list[Any]) -> None:
        row = next(row for row in rows if row["adapted"])
        row["examples"][0]["answer"]["value"] = made.kind.other

    for change, kind in ((answer, "prediction"), (example, "example")):
        folder = submit_run(made.run.folder, tmp_path / kind).folder
        edit(folder, "seed-0/samples.jsonl", change)
        assert kind in kinds(sealed(folder))


def test_a_run_is_read_back_whole(made: Made) -> None:
    again = open_run(made.run.folder)
    assert again.seeds[0].records == made.run.seeds[0].records
    assert all(record.final is not None for record in again.seeds[0].records)
