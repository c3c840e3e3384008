"""What G wrote and was rejected: its reasons, what is kept of it, and where it is shown."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports import Page
from rich.console import Console
from submissions import edit, faults, read, sealed, submit_run
from test_run import run, seed_folder, spec, valid

import ttsi
import ttsi_fakes
from ttsi import Example, Generation, Rejected, Rejections, Request
from ttsi.records.lines import from_json, to_json
from ttsi.report import html
from ttsi.results.runs import open_run
from ttsi.running.summary import show
from ttsi.solving.rejecting import LONGEST, MOST, reject, rejecting
from ttsi_plugins.generators._contract import WHY, Unfit, accept, distinct

TASK = ttsi_fakes.make_sample(0).task
RIGHT = [{"name": "get_weather", "arguments": {"city": "Rome"}}]
PROSE = "I would rather not."
COPY = json.dumps({"input": TASK.input.upper(), "output": RIGHT})


def output(input: Any = "Weather in Rome?", calls: Any = RIGHT) -> str:
    return json.dumps({"input": input, "output": calls})


@pytest.mark.parametrize(
    ("text", "reason", "more"),
    [
        (PROSE, "no_object", ""),
        (output()[:-1], "no_object", ""),
        ('{"input": "Weather in Rome?"}', "no_object", ""),
        (output(" "), "no_request", ""),
        (output(7), "no_request", ""),
        (COPY, "copy", ""),
        (output(calls="none"), "no_answer", ""),
        (output(calls=[]), "no_answer", ""),
        (output(calls=[{"name": "fly", "arguments": {}}]), "invalid", "not an offered tool"),
        (output(calls=[{"name": "get_time", "arguments": {}}]), "invalid", "'city' is a required"),
    ],
)
def test_an_output_that_is_no_example_has_a_reason(text: str, reason: str, more: str) -> None:
    found = accept(TASK, 0, 0, text)
    assert isinstance(found, Unfit)
    assert found.reason == reason
    assert more in found.more
    assert isinstance(accept(TASK, 0, 0, output()), Example)


def test_what_was_cut_off_says_so_unless_the_object_was_whole() -> None:
    assert accept(TASK, 0, 0, output()[:-1], cut=True) == Unfit("cut")
    assert isinstance(accept(TASK, 0, 0, output() + " and", cut=True), Example)


def test_the_same_example_twice_is_told() -> None:
    one, two = (accept(TASK, k, 0, output()) for k in (0, 1))
    assert isinstance(one, Example)
    assert isinstance(two, Example)
    with rejecting() as notes:
        assert distinct(TASK, [one, two]) == [one]
    assert notes.of(TASK.id).counts == {"duplicate": 1}


def test_few_outputs_are_kept_and_all_are_counted() -> None:
    with rejecting() as notes:
        for number in range(MOST + 3):
            reject("a", "copy" if number % 2 else "cut", f"{number}" + "x" * 5 * LONGEST, "y" * 999)
        reject("b", "odd", "short")
    found = notes.of("a")
    assert found.counts == {"copy": 4, "cut": 4}
    assert [each.text[0] for each in found.kept] == list("01234")
    assert all(len(each.text) < LONGEST + 40 and len(each.detail) < 260 for each in found.kept)
    assert notes.of("b") == Rejections({"odd": 1}, (Rejected("odd", "short"),))
    assert notes.of("c") == Rejections()
    reject("a", "copy", "outside of a stage nobody listens")


# ---------------------------------------------------------------- in a run

NO_TOOL = f"{WHY['invalid']}: 'fly' is not an offered tool"
WRITTEN = [PROSE, COPY, output(calls=[{"name": "fly", "arguments": {}}])]


@pytest.fixture(scope="module")
def written() -> Any:
    """Let G write WRITTEN in turn for each task, and nothing else; a copy is of the task."""
    generate = ttsi_fakes.ScriptedEngine.generate

    def useless(engine: Any, requests: Sequence[Request]) -> list[Generation]:
        turns: Counter[str] = engine.__dict__.setdefault("turns", Counter())
        made = generate(engine, requests)
        for at, request in enumerate(requests):
            text = request.prompt.messages[-1].content
            if ttsi_fakes.WRITING in text:
                wrote = WRITTEN[turns[request.owner] % len(WRITTEN)]
                turns[request.owner] += 1
                city = re.findall(r"weather in (\w+)", text)[-1]
                made[at] = replace(made[at], text=wrote.replace("CITY0", city.upper()))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ttsi_fakes.ScriptedEngine, "generate", useless)
        yield


@pytest.fixture(scope="module")
def cell(written: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    generator = {"name": "self", "attempts": 6, "at_once": 4}
    return run(tmp_path_factory.mktemp("runs"), spec(generator=generator))


def test_a_record_keeps_what_was_rejected(cell: Any) -> None:
    rows = read(seed_folder(cell) / "samples.jsonl")
    assert all(valid("record", row) for row in rows)
    for row in rows:
        assert row["rejected"]["counts"] == {"copy": 2, "invalid": 2, "no_object": 2}
        reasons = [each["reason"] for each in row["rejected"]["kept"]]
        assert reasons == ["no_object", "copy", "invalid", "no_object", "copy"]
        assert row["rejected"]["kept"][0]["text"] == PROSE
        assert row["rejected"]["kept"][2]["detail"] == NO_TOOL
        assert to_json(from_json(row)) == row
    results = read(seed_folder(cell) / "results.json")
    assert valid("results", results)
    assert results["rejected"] == {"copy": 12, "invalid": 12, "no_object": 12}
    assert (results["not_generated"], results["adapted"]) == (6, 0)


def test_how_many_are_drawn_together_changes_nothing(cell: Any, tmp_path: Path) -> None:
    generator = {"name": "self", "attempts": 6, "at_once": 1}
    again = run(tmp_path, spec(generator=generator))
    kept = [
        [row["rejected"] for row in read(seed_folder(each) / "samples.jsonl")]
        for each in (cell, again)
    ]
    assert kept[0] == kept[1]


def test_a_run_without_rejected_outputs_has_no_such_key(tmp_path: Path) -> None:
    folder = seed_folder(run(tmp_path, spec(estimator="never")))
    assert "rejected" not in read(folder / "results.json")
    assert not any("rejected" in row for row in read(folder / "samples.jsonl"))


def test_the_table_says_why_and_what_helps(cell: Any) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    show(cell, console)
    text = " ".join(console.export_text().split())
    assert "rejected │ copy 12, invalid 12, no_object 12" in text
    assert "for none of 6 uncertain samples did G write a valid example" in text
    assert "--set generator.format=json" in text
    assert "inference.format" not in text


def test_the_report_shows_them(cell: Any) -> None:
    page = Page(html([open_run(cell.folder)]))
    assert "For 6 uncertain samples no valid one could be made." in page.text.replace("\u00a0", " ")
    assert page.text.count(PROSE) == 12
    assert "1 more" in page.text
    assert "no object" in page.text
    assert NO_TOOL in page.text


def test_a_submission_has_their_numbers_and_not_their_texts(cell: Any, tmp_path: Path) -> None:
    made = submit_run(cell.folder, tmp_path)
    rows = read(made.folder / "seed-0/samples.jsonl")
    assert all(row["rejected"]["kept"] == [] for row in rows)
    assert all(sum(row["rejected"]["counts"].values()) == 6 for row in rows)
    assert PROSE not in (made.folder / "seed-0/samples.jsonl").read_text()
    assert faults(made.folder) == []
    kept = [{"reason": "copy", "text": TASK.input, "detail": ""}]

    def put(rows: list[Any]) -> None:
        rows[0]["rejected"]["kept"] = kept

    edit(made.folder, "seed-0/samples.jsonl", put)
    assert "quote" in {fault.kind for fault in faults(sealed(made.folder))}


def test_steps_of_an_episode_have_their_own(written: None, tmp_path: Path) -> None:
    cell = run(tmp_path, spec(benchmark={"name": "ttsi-fakes/tours", "rows": 1}))
    (row,) = read(seed_folder(cell) / "samples.jsonl")
    assert valid("record", row)
    assert "rejected" not in row
    counts = [sum(step["rejected"]["counts"].values()) for step in row["steps"]]
    assert counts[0] == 5
    assert all(counts)
    assert to_json(from_json(row)) == row
    assert sum(read(seed_folder(cell) / "results.json")["rejected"].values()) == sum(counts)
    assert PROSE in Page(html([open_run(cell.folder)])).text


def test_the_solver_tells_them_too(written: None) -> None:
    document = spec() | {"benchmark": "quickstart"}
    with ttsi.Solver(document) as solver:
        (found,) = solver.solve([replace(TASK, id="mine")])
    assert found.rejected.counts == {"copy": 2, "invalid": 1, "no_object": 2}
