"""Seeds beside each other, and files that were edited, under the identity of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from resumed import OTHER, begun, identity, refused, run, says, spec

import ttsi
import ttsi.running.evaluate
from ttsi.errors import CorruptAsset, RunError
from ttsi.records import provenance
from ttsi.results.runs import open_run


def rows_file(path: Path, request: str) -> str:
    output = [{"name": "get_weather", "arguments": {"city": request}}]
    row = {"instruction": "Answer with calls.", "input": request, "output": output}
    path.write_text(json.dumps(row) + "\n")
    return str(path)


def test_other_labelled_rows_do_not_go_on_with_a_run(tmp_path: Path) -> None:
    learning = spec(learner={"name": "icl_train", "file": rows_file(tmp_path / "rows", "Oslo")})
    folder = begun(tmp_path / "runs", learning)
    rows_file(tmp_path / "rows", "Rome")
    refused(lambda: run(tmp_path / "runs", learning), folder, "learnt_from")
    rows_file(tmp_path / "rows", "Oslo")
    assert run(tmp_path / "runs", learning).errors == 0


def test_the_cure_for_a_seed_beside_others_names_all_and_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (0, 1):
        run(tmp_path, spec(seeds=[seed]))
    says(monkeypatch, weights_digest=OTHER)
    with pytest.raises(RunError) as caught:
        run(tmp_path, spec(seeds=[0]), fresh=True)
    assert "seed-1" in caught.value.where
    assert "--fresh --seeds 0,1" in caught.value.cure
    assert run(tmp_path, spec(seeds=[0, 1]), fresh=True).summary["seeds"] == [0, 1]


def test_a_refused_seed_is_none_of_the_run_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path, spec(seeds=[0])).folder
    with monkeypatch.context() as other:
        says(other, weights_digest=OTHER)
        with pytest.raises(RunError):
            run(tmp_path, spec(seeds=[1]))
    assert not (whole / "seed-1" / "spec.resolved.json").exists()
    assert run(tmp_path, spec(seeds=[0])).summary["unfinished"] == []
    assert [seed.seed for seed in open_run(whole).seeds] == [0]


def test_what_was_edited_in_a_finished_run_is_not_vouched_for(tmp_path: Path) -> None:
    folder = run(tmp_path, spec(seeds=[0])).folder / "seed-0"
    for name in ("spec.json", "spec.resolved.json"):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before.replace(b"always", b"never"))
        run(tmp_path, spec(seeds=[0]))
        assert (folder / name).read_bytes() == before
    told = identity(folder)
    told["engine"]["weights_digest"] = OTHER
    (folder / "identity.json").write_text(json.dumps(told))
    with pytest.raises(RunError, match=r"engine\.weights_digest was"):
        run(tmp_path, spec(seeds=[0]))


def test_calibrating_again_leaves_a_run_whole(tmp_path: Path) -> None:
    calibrated = spec(seeds=[0])
    ttsi.running.evaluate.estimates(calibrated, out=tmp_path)
    folder = run(tmp_path, calibrated).folder / "seed-0"
    (folder / "estimates.jsonl").write_text("")
    ttsi.running.evaluate.estimates(calibrated, out=tmp_path)
    assert provenance.intact(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("identity.json", '{"engine": {}}'),
        ("sessions.json", '{"sessions": [{"engines": 5}]}'),
        ("results.json", "5"),
    ],
)
def test_damaged_evidence_is_told_or_made_again(name: str, content: str, tmp_path: Path) -> None:
    folder = run(tmp_path, spec(seeds=[0])).folder / "seed-0"
    (folder / name).write_text(content)
    (folder / "manifest.json").write_text(json.dumps(provenance.manifest(folder)))
    if name == "identity.json":
        with pytest.raises(CorruptAsset):
            run(tmp_path, spec(seeds=[0]))
    else:
        assert run(tmp_path, spec(seeds=[0])).errors == 0
        assert open_run(folder).seeds[0].complete
