"""The sessions of a submission: their contents, and what they have to prove."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from edits import OTHER, SAMPLES, SESSIONS, session
from own_rows import ROME, WEATHER
from submissions import (
    edit,
    entry,
    faults,
    kinds,
    read,
    sealed,
    submit_run,
    submitted,
    summed_up,
    write,
)
from submitted import honest, mine, no_base_answer, run

from ttsi.records import provenance

__all__ = ["honest", "mine", "run"]


def _resumed(folder: Path, **first: Any) -> Path:
    """Return the submission of a run that was killed once."""

    def change(document: Any) -> None:
        (last,) = document["sessions"]
        killed = {"finished": None, "engines": None, "samples": None}
        document["sessions"] = [last | killed | first, last]

    edit(folder, SESSIONS, change)
    return sealed(folder)


def test_a_run_that_was_killed_and_went_on_passes(mine: Path) -> None:
    folder = _resumed(mine, processor="another")
    assert faults(folder) == []
    assert "another" in str(entry(folder)["hardware"])


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ({"started": "2999-01-01T00:00:00+00:00"}, "session 1 began at"),
        ({"finished": "2001-01-01T00:00:00+00:00"}, "session 0 began at"),
        ({"ttsi": "9.9"}, "session 0 had ttsi '9.9'"),
        ({"plugins": {}}, ""),
    ],
    ids=json.dumps,
)
def test_every_session_is_looked_at(first: dict[str, Any], message: str, mine: Path) -> None:
    told = faults(_resumed(mine, **first))
    assert [fault for fault in told if fault.where == SESSIONS and message in fault.what]


def test_an_earlier_session_on_other_weights_is_told(mine: Path) -> None:
    engine = {"weights_digest": OTHER, "weights_digest_after": OTHER}
    assert "engine" in kinds(_resumed(mine, engines=[engine]))


def test_a_last_session_that_was_killed_is_no_evidence(mine: Path) -> None:
    edit(mine, SESSIONS, session("engines", None))
    assert "no-engine" in kinds(sealed(mine))


def test_warnings_which_may_name_machines_are_not_published(
    run: Path, mine: Path, tmp_path: Path
) -> None:
    source = tmp_path / run.name
    shutil.copytree(run, source)
    edit(source, SESSIONS, session("warnings", ["the worker on 10.0.0.7 was lost"]))
    write(source / "seed-0/manifest.json", provenance.manifest(source / "seed-0"))
    text = (submit_run(source, tmp_path / "to").folder / SESSIONS).read_text()
    assert "10.0.0.7" not in text
    edit(mine, SESSIONS, session("warnings", ["the worker on 10.0.0.7 was lost"]))
    assert "schema" in kinds(sealed(mine))


def test_a_summary_that_is_made_again_does_not_hide_a_lack(mine: Path) -> None:
    no_base_answer(mine / "seed-0")
    summed_up(mine)
    assert read(mine / SAMPLES)
    assert "no-base" in kinds(sealed(mine))


def test_rows_that_the_identity_does_not_name_are_told(mine: Path) -> None:
    rows = read(mine / SAMPLES)
    adapted = next(row for row in rows if row["adapted"])
    adapted["receipt"]["source"] = "file rows.jsonl, 1 row, " + OTHER
    write(mine / SAMPLES, rows)
    told = [fault.what for fault in faults(sealed(mine)) if fault.kind == "identity"]
    assert any("learnt_from is None; receipts say" in what for what in told)


@pytest.mark.parametrize("mode", ["context", "pairs"])
def test_which_labelled_rows_were_a_samples_own_may_be_said(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    row = {"tools": [WEATHER], "reference": [ROME]}
    lines = [json.dumps({"input": f"How warm is {city}?", **row}) + "\n" for city in "ABCD"]
    Path("rows.jsonl").write_text("".join(lines))
    nearest = {"name": "nearest", "file": "rows.jsonl", "shots": 2, "mode": mode}
    folder = submitted(tmp_path, learner=nearest)
    assert faults(folder) == []
    rows = read(folder / SAMPLES)
    adapted = next(row for row in rows if row["adapted"])
    assert ", of these " in adapted["receipt"]["source"]
    adapted["receipt"]["source"] += " and others"
    write(folder / SAMPLES, rows)
    told = [fault.what for fault in faults(sealed(folder)) if fault.kind == "identity"]
    assert any("receipts say" in what for what in told)
