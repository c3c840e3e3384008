"""Adapters made again from their records by a scripted engine: the same bytes, and refusals.

test_export_peft.py uses the embedded model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from exports import export, record_of, run

from ttsi.digests import file_digest
from ttsi.records import provenance
from ttsi.records.journal import read
from ttsi.types import Adapter, Prompt, TrainJob
from ttsi_fakes import ScriptedEngine

FILES = {"adapter_model.safetensors", "adapter_config.json", "README.md", "receipt.json"}


def edit(folder: Path, sample: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a sample's line in the journal."""
    path = folder / "seed-0" / "samples.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    change(next(record for record in records if record["id"] == sample))
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def refused(
    code: int, said: str, folder: Path, sample: str, capsys: pytest.CaptureFixture[str]
) -> None:
    to = folder / "out"
    assert export(folder, sample, to) == code
    err = capsys.readouterr().err
    assert said in err
    assert "cure:" in err
    assert not to.exists()


# ---------------------------------------------------------------- what is written


def test_the_folder_has_the_adapter_and_where_it_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, to = run(tmp_path), tmp_path / "deep" / "out"
    recorded = record_of(folder, "rows/3").receipt
    assert recorded is not None
    assert export(folder, "rows/3", to, "--json") == 0
    assert {path.name for path in to.iterdir()} == FILES
    assert file_digest(to / "adapter_model.safetensors") == recorded["digest"]
    receipt = json.loads((to / "receipt.json").read_text())
    assert receipt == json.loads(capsys.readouterr().out)
    assert receipt["equal"] is True
    assert receipt["digest"] == receipt["recorded"] == recorded["digest"]
    assert (receipt["sample"], receipt["seed"], receipt["run"]) == ("rows/3", 0, folder.name)
    config = json.loads((to / "adapter_config.json").read_text())
    base = {"base_model_name_or_path": "scripted", "revision": "main"}
    assert config == {**recorded["config"], **base}
    assert recorded["digest"] in (to / "README.md").read_text()


def test_a_seed_is_chosen_where_there_are_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path, seeds=[3, 4])
    refused(2, "seeds 3, 4", folder, "rows/1", capsys)
    assert export(folder, "rows/1", tmp_path / "four", "--seed", "4") == 0
    assert export(folder / "seed-4", "rows/1", tmp_path / "alone") == 0
    four, alone = (
        json.loads((tmp_path / name / "receipt.json").read_text()) for name in ("four", "alone")
    )
    assert four["seed"] == 4
    assert {**four, "environment": None} == {**alone, "environment": None}
    assert export(folder, "rows/1", tmp_path / "five", "--seed", "5") == 2


def test_a_local_model_is_named_by_its_whole_path(tmp_path: Path) -> None:
    folder = run(tmp_path, model={"id": str(tmp_path)})
    resolved = folder / "seed-0" / "spec.resolved.json"
    resolved.write_text(resolved.read_text().replace(f'"{tmp_path}"', '"."'))
    assert export(folder, "rows/1", tmp_path / "out") == 0
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(Path.cwd())


@pytest.mark.parametrize(
    ("variable", "value"),
    [("TTSI_LIMIT", "1"), ("TTSI_SEEDS", "x"), ("TTSI_MODEL", "other"), ("TTSI_WAVE", "x")],
)
def test_the_environment_does_not_change_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    folder = run(tmp_path)
    monkeypatch.setenv(variable, value)
    assert export(folder, "rows/1", tmp_path / "out") == 0


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    assert export(folder, "rows/1", tmp_path / "full") == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


# ---------------------------------------------------------------- side by side


@pytest.fixture
def rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use an engine whose adapters depend on how many others were trained in the same call."""
    plain = ScriptedEngine.train

    def train(engine: ScriptedEngine, jobs: Sequence[TrainJob]) -> list[Adapter]:
        made = plain(engine, jobs)
        return [
            Adapter(each.safetensors + b"%d" % len(jobs), each.config, each.training)
            for each in made
        ]

    monkeypatch.setattr(ScriptedEngine, "train", train)


@pytest.mark.usefixtures("rounding")
def test_what_the_wave_rounds_is_made_again_in_its_wave(tmp_path: Path) -> None:
    folder = run(tmp_path)
    found = {}
    for sample in ("rows/2", "rows/4"):
        assert export(folder, sample, tmp_path / sample) == 0
        receipt = json.loads((tmp_path / sample / "receipt.json").read_text())
        assert receipt["equal"] is True
        found[sample] = receipt["beside"]
    assert found == {"rows/2": ["rows/3"], "rows/4": []}  # the last wave has one sample


def test_the_engine_has_the_memory_that_it_had_in_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option `marks` stands for the engine's memory: null in the spec, set in the run."""
    asked = []
    plain = ScriptedEngine.load

    def load(engine: ScriptedEngine) -> None:
        asked.append(engine.marks)
        plain(engine)

    monkeypatch.setattr(ScriptedEngine, "describe", lambda _: {"marks": "chosen", "delay": 9.0})
    monkeypatch.setattr(ScriptedEngine, "load", load)
    folder = run(tmp_path)
    assert export(folder, "rows/1", tmp_path / "out") == 0
    assert asked == [None, "chosen"]


def test_what_was_read_before_an_activated_adapter_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's adapters depend on how many prompts it has scored since it was loaded."""
    plain = ScriptedEngine.train

    def train(engine: ScriptedEngine, jobs: Sequence[TrainJob]) -> list[Adapter]:
        scored = sum(isinstance(each, Prompt) for each in engine.asked)
        return [
            Adapter(
                each.safetensors + b"%d" % scored,
                {**each.config, "alora_invocation_tokens": [1]},
                each.training,
            )
            for each in plain(engine, jobs)
        ]

    monkeypatch.setattr(ScriptedEngine, "train", train)
    monkeypatch.setattr(ScriptedEngine, "load", lambda engine: engine.asked.clear())
    folder = run(tmp_path, estimator={"name": "rss_margin", "threshold": 1})
    assert export(folder, "rows/0", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "receipt.json").read_text())["beside"] == ["rows/1"]
    assert "activated" in (tmp_path / "out" / "README.md").read_text()
    # What the waves before it had read is not read again.
    assert export(folder, "rows/4", tmp_path / "later") == 4


@pytest.mark.usefixtures("rounding")
def test_a_wave_of_a_budget_is_of_the_uncertain(tmp_path: Path) -> None:
    document = {"estimator": "rss_margin", "budget": 0.6, "executor": {"name": "local", "wave": 2}}
    folder = run(tmp_path, **document)
    adapted = [each.id for each in read(folder / "seed-0" / "samples.jsonl") if each.adapted]
    assert len(adapted) == 3
    for sample in adapted:
        assert export(folder, sample, tmp_path / sample) == 0


@pytest.mark.usefixtures("rounding")
def test_what_is_not_equal_is_written_only_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path, executor={"name": "local", "wave": 3})
    resolved = folder / "seed-0" / "spec.resolved.json"
    resolved.write_text(resolved.read_text().replace('"wave": 3', '"wave": 2'))
    refused(4, "bytes are not those of the run", folder, "rows/1", capsys)
    to = tmp_path / "out"
    assert export(folder, "rows/1", to, "--allow-mismatch") == 0
    assert "NOT equal" in capsys.readouterr().out
    receipt = json.loads((to / "receipt.json").read_text())
    assert receipt["equal"] is False
    assert receipt["losses_apart"] == 0.0
    assert receipt["recorded"] != receipt["digest"]
    assert file_digest(to / "adapter_model.safetensors") == receipt["digest"]
    assert "not the one" in (to / "README.md").read_text()


# ---------------------------------------------------------------- what cannot be exported


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"estimator": "never"}, "certain"),
        ({"learner": "icl"}, "demonstrations"),
        ({"generator": {"name": "self", "max_calls": 1}, "name": "none"}, "no valid example"),
    ],
)
def test_a_sample_without_an_adapter_is_an_error(
    changed: dict[str, Any],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "name" in changed:
        monkeypatch.setattr("ttsi_fakes.default_script.__code__", (lambda _: "nothing").__code__)
    refused(2, said, run(tmp_path, **changed), "rows/1", capsys)


def test_an_errored_and_an_unknown_sample_are_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path, engine={"name": "ttsi-fakes/scripted", "failing": 1})
    refused(2, "error", folder, "rows/1", capsys)
    refused(2, '"rows/1"', folder, "row/1", capsys)


def test_a_place_that_cannot_be_written_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path)
    (tmp_path / "file").touch()
    assert export(folder, "rows/1", tmp_path / "file" / "out") == 1
    assert "cannot be written" in capsys.readouterr().err


def swap_city(record: dict[str, Any]) -> None:
    record["examples"][0]["input"] = "Weather in Rome, please"


def swap_call(record: dict[str, Any]) -> None:
    record["examples"][0]["answer"]["value"][0]["arguments"]["city"] = "Rome"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (swap_city, "rows/1#0"),
        (swap_call, "rows/1#0"),
        (lambda record: record["examples"].clear(), "0 examples"),
        (lambda record: record.update(digest="sha256:0"), "rows/1 is not what it was"),
        (
            lambda record: record["receipt"].update(digest="sha256:0"),
            "bytes are not those of the run",
        ),
    ],
)
def test_a_damaged_record_is_refused_by_name(
    damage: Callable[[dict[str, Any]], object],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = run(tmp_path)
    edit(folder, "rows/1", damage)
    refused(4, said, folder, "rows/1", capsys)


@pytest.mark.parametrize("key", ["weights_digest", "tokenizer_digest", "chat_template_digest"])
def test_another_model_is_refused(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path)
    change_identity(folder, key, "sha256:0")
    refused(4, f"{key} ", folder, "rows/1", capsys)


def change_identity(folder: Path, key: str, value: str) -> None:
    path = folder / "seed-0" / "identity.json"
    identity = json.loads(path.read_text())
    identity["engine"][key] = value
    path.write_text(json.dumps(identity))


def test_on_another_device_it_is_tried(tmp_path: Path) -> None:
    folder = run(tmp_path)
    change_identity(folder, "device", "cuda")
    assert export(folder, "rows/1", tmp_path / "out") == 0


def test_the_engine_has_the_date_and_the_commit_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ScriptedEngine.identity
    commit = "c" * 40
    monkeypatch.setattr(ScriptedEngine, "identity", lambda e: said(e) | {"model_revision": commit})
    monkeypatch.setattr(provenance, "today", lambda: "2025-12-31")
    folder = run(tmp_path)
    monkeypatch.setattr(provenance, "today", lambda: "2026-01-01")
    models = []
    monkeypatch.setattr(ScriptedEngine, "load", lambda engine: models.append(engine.model))
    assert export(folder, "rows/1", tmp_path / "out") == 0
    (model,) = models
    assert (model["date"], model["revision"]) == ("2025-12-31", commit)
    assert json.loads((tmp_path / "out" / "receipt.json").read_text())["model"] == model
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["revision"] == commit


def test_a_run_without_identity_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path)
    (folder / "seed-0" / "identity.json").unlink()
    refused(5, "no identity.json", folder, "rows/1", capsys)
