"""Adapters made again from their records: the same bytes, what PEFT makes of them, what is refused.

With a scripted engine for everything that can go wrong, and the embedded model for what is right.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import ttsi
from ttsi.cli import main
from ttsi.digests import file_digest
from ttsi.journal import read
from ttsi.types import Adapter, Prompt, Record, TrainJob
from ttsi_fakes import ScriptedEngine

FILES = {"adapter_model.safetensors", "adapter_config.json", "README.md", "receipt.json"}


def spec(**changed: Any) -> dict[str, Any]:
    return {
        "name": "scripted",
        "model": {"id": "scripted"},
        "engine": "ttsi-fakes/scripted",
        "benchmark": {"name": "ttsi-fakes/rows", "rows": 5},
        "estimator": "always",
        "inference": {"name": "direct", "decoding": "greedy"},
        "executor": {"name": "local", "wave": 2},
    } | changed


def run(out: Path, **changed: Any) -> Path:
    (cell,) = ttsi.evaluate(spec(**changed), out=out)
    return cell.folder


def record_of(folder: Path, sample: str) -> Record:
    records = read(folder / "seed-0" / "samples.jsonl")
    return next(record for record in records if record.id == sample)


def export(folder: Path, sample: str, to: Path, *words: str) -> int:
    return main(["export-adapter", str(folder), sample, str(to), *words])


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
    """An engine whose adapters show beside how many others they were trained."""
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
    """The scripted engine's option `marks` stands for it: null in the spec, a value in the run."""
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
    """An engine whose adapters show how many prompts it had scored since it was loaded."""
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
    record["examples"][0]["calls"][0]["arguments"]["city"] = "Rome"


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


def test_another_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(tmp_path)
    path = folder / "seed-0" / "results.json"
    results = json.loads(path.read_text())
    results["engines"][0]["weights_digest"] = "sha256:0"
    path.write_text(json.dumps(results))
    refused(4, "weights", folder, "rows/1", capsys)


# ---------------------------------------------------------------- a real model


REAL: dict[str, dict[str, Any]] = {
    # Two samples side by side, and no more than an adapter needs.
    "start": {
        "benchmark": {"name": "quickstart", "limit": 2},
        "baseline": False,
        "learner": {"name": "lora_sft"},
    },
    # One sample whose prompt is read before: by the estimator, and for the base answer.
    "user_turn": {
        "benchmark": {"name": "quickstart", "limit": 1},
        "estimator": {"name": "rss_margin", "threshold": 1},
        "learner": {"name": "lora_sft", "target": "as_answered", "active_from": "user_turn"},
    },
}


@pytest.fixture(scope="module", params=REAL)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the embedded model."""
    document = {
        "name": request.param,
        "model": {"id": "smollm2-135m", "dtype": "float32"},
        "engine": {"name": "transformers", "device": "cpu"},
        "generator": {
            "name": "self",
            "prompt": "seed_first",
            "format": "json",
            "attempts": 2,
            "at_once": 1,
            "max_calls": 1,
            "max_tokens": 64,
        },
        "inference": {
            "name": "direct",
            "format": "tool_calls",
            "decoding": "greedy",
            "max_tokens": 16,
        },
        "executor": {"name": "local", "wave": 2},
    }
    return run(tmp_path_factory.mktemp(request.param), **document, **REAL[request.param])


@pytest.mark.model
def test_a_real_adapter_is_the_same_and_peft_answers_by_it(real: Path, tmp_path: Path) -> None:
    records = list(read(real / "seed-0" / "samples.jsonl"))
    record = next(each for each in records if each.adapted)
    assert export(real, record.id, tmp_path / "out") == 0
    receipt = json.loads((tmp_path / "out" / "receipt.json").read_text())
    assert receipt["equal"] is True
    assert record.receipt is not None
    weights = tmp_path / "out" / "adapter_model.safetensors"
    assert file_digest(weights) == record.receipt["digest"]
    activated = real.name.startswith("user_turn")
    same_in_peft(tmp_path / "out", real, record.id, activated=activated)


def same_in_peft(folder: Path, real: Path, sample: str, *, activated: bool) -> None:
    """Logits of the sample's own prompt: ours by the engine's bank, theirs by PEFT's model."""
    import peft
    import torch
    from engines import shared_engine
    from transformers import AutoModelForCausalLM

    from ttsi.runs import open_run
    from ttsi_plugins.engines.transformers import lora
    from ttsi_plugins.engines.transformers.passes import NO_PAST, Row, Rows

    runtime = shared_engine()._runtime()
    task = open_run(real).samples[sample].task
    ids = runtime.tokens.prompt(Prompt(task.messages))
    config = json.loads((folder / "adapter_config.json").read_text())
    assert bool(config["alora_invocation_tokens"]) is activated
    start = lora.begins(config, ids)
    assert start is not None
    assert (start > 0) is activated
    text = torch.tensor([ids])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns of its own affairs
        base = AutoModelForCausalLM.from_pretrained(runtime.loaded.folder, dtype=torch.float32)
        plain = base(input_ids=text).logits[0]
        theirs = peft.PeftModel.from_pretrained(base, folder)(input_ids=text).logits[0]
        past = runtime.reader.past(ids[:start]) if start else NO_PAST
        places = torch.arange(start, len(ids))
        with runtime.bank.on(runtime.bank.load([lora.read(folder)])):
            plan = Rows([Row(len(ids) - start, past)])
            ours = runtime.network.run(text[:, start:], places[None], plan, places - start)
    assert torch.equal(theirs[:start], plain[:start])
    scale = theirs[start:].norm()
    assert (ours - theirs[start:]).norm() <= 1e-5 * scale
    assert (theirs[start:] - plain[start:]).norm() > 1e-3 * scale
