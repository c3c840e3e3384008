"""What a run is: refused wherever something that shapes results is not what it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from _dists import ESTIMATOR, importable, write_dist
from safetensors.torch import load_file, save_file
from tiny_model import write_folder

import ttsi
import ttsi_fakes
from ttsi import provenance
from ttsi.errors import CorruptAsset, RunError, SpecError
from ttsi.hooks import hookimpl
from ttsi.journal import read
from ttsi.run import CellResult, estimates
from ttsi.spec import load_spec
from ttsi_fakes import Rows, ScriptedEngine
from ttsi_plugins.engines.transformers import TransformersEngine, weights

OTHER = "sha256:" + "0" * 64


def spec(**changed: Any) -> dict[str, Any]:
    return {
        "name": "who",
        "model": {"id": "scripted"},
        "engine": "ttsi-fakes/scripted",
        "benchmark": {"name": "ttsi-fakes/rows", "rows": 4},
        "estimator": "always",
        "inference": {"name": "direct", "decoding": "greedy"},
        "executor": {"name": "local", "wave": 1},
    } | changed


class Interrupts:
    """Ctrl-C after the first sample."""

    @hookimpl
    def ttsi_sample_finished(self, record: Any) -> None:
        raise KeyboardInterrupt


def begun(out: Path, document: Mapping[str, Any]) -> Path:
    """The first seed's folder of a run that was interrupted after one sample."""
    with pytest.raises(KeyboardInterrupt):
        ttsi.evaluate(document, out=out, hooks=[Interrupts()])
    (folder,) = out.glob("*/seed-0")
    assert len(list(read(folder / "samples.jsonl"))) == 1
    return folder


def run(out: Path, document: Mapping[str, Any] | None = None, **options: Any) -> CellResult:
    (cell,) = ttsi.evaluate(document or spec(), out=out, **options)
    return cell


def identity(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "identity.json").read_text()))


def state(folder: Path) -> dict[str, bytes]:
    """All files with something in them."""
    files = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: held for name, held in files.items() if held}


def refused(go_on: Callable[[], object], folder: Path, *keys: str) -> str:
    """That `go_on` is refused for just these keys, and leaves the folder as it was."""
    before = state(folder)
    with pytest.raises(RunError) as caught:
        go_on()
    lines = caught.value.what.splitlines()[1:]
    assert sorted(line.split(" was ")[0].strip() for line in lines) == sorted(keys)
    assert "Get back what it was" in caught.value.cure
    assert "--fresh" in caught.value.cure
    assert state(folder) == before
    return caught.value.what


# ---------------------------------------------------------------- a real engine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("tiny") / "model")


def on_model(folder: Path, **changed: Any) -> dict[str, Any]:
    return spec(
        model={"id": str(folder)},
        engine={"name": "transformers", "device": "cpu", "memory_gib": 0.25},
        benchmark={"name": "ttsi-fakes/rows", "rows": 2},
        estimator="never",
        inference={"name": "direct", "decoding": "greedy", "max_tokens": 2},
        **changed,
    )


def change_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"][0] += 1e-3
    save_file(tensors, path, {"format": "pt"})


def change_json(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def changing(folder: Path) -> None:
        path = folder / name
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))

    return changing


def change_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("{{ m.role }}", "{{ m.role | upper }}"))


def merge_two_bytes(tokenizer: Any) -> None:
    tokenizer["model"]["vocab"]["th"] = len(tokenizer["model"]["vocab"])
    tokenizer["model"]["merges"] = [["t", "h"]]


def end_elsewhere(config: Any) -> None:
    config["eos_token_id"] = [config["eos_token_id"], 5]


def turn_slower(config: Any) -> None:
    config["rope_parameters"]["rope_theta"] = 500000.0


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (change_weights, "engine.weights_digest"),
        (change_template, "engine.chat_template_digest"),
        (change_json("tokenizer.json", merge_two_bytes), "engine.tokenizer_digest"),
        (change_json("generation_config.json", end_elsewhere), "engine.tokenizer_digest"),
        (change_json("config.json", turn_slower), "engine.config_digest"),
    ],
    ids=["weights", "template", "tokenizer", "ends", "config"],
)
def test_another_model_does_not_go_on_with_a_run(
    change: Callable[[Path], None], key: str, model: Path, tmp_path: Path
) -> None:
    own = tmp_path / "model"
    shutil.copytree(model, own)
    folder = begun(tmp_path / "runs", on_model(own))
    was = identity(folder)["engine"][key.removeprefix("engine.")]
    change(own)
    told = refused(lambda: run(tmp_path / "runs", on_model(own)), folder, key)
    assert f'{key} was "{was}", is "sha256:' in told
    shutil.rmtree(own)
    shutil.copytree(model, own)
    assert run(tmp_path / "runs", on_model(own)).errors == 0


def test_another_dtype_does_not_go_on_with_a_run(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` is float32 on a CPU and bfloat16 on a GPU."""
    folder = begun(tmp_path / "runs", on_model(model))
    monkeypatch.setattr(weights, "_dtype", lambda model, auto: "bfloat16")
    told = refused(
        lambda: run(tmp_path / "runs", on_model(model)),
        folder,
        "engine.dtype",
        "engine.weights_digest",
    )
    assert 'engine.dtype was "float32", is "bfloat16"' in told


def test_a_model_that_was_only_moved_goes_on(model: Path, tmp_path: Path) -> None:
    """What whoever saved it wrote beside the weights shapes no result."""
    own = tmp_path / "model"
    shutil.copytree(model, own)
    begun(tmp_path / "runs", on_model(own))
    change_json("config.json", lambda c: c.update(transformers_version="9", _name_or_path="x"))(own)
    assert run(tmp_path / "runs", on_model(own)).errors == 0


def test_the_commit_is_that_of_the_hubs_cache(model: Path, tmp_path: Path) -> None:
    commit = "c" * 40
    shutil.copytree(model, tmp_path / "snapshots" / commit)
    found = []
    for folder in (tmp_path / "snapshots" / commit, model):
        engine = TransformersEngine({"id": str(folder)}, device="cpu", memory_gib=0.25)
        engine.load()
        found.append(engine.identity())
        engine.close()
    assert [each.pop("model_revision") for each in found] == [commit, None]
    assert found[0] == found[1]


# ---------------------------------------------------------------- plugins and data


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[Path]:
    """A distribution with an estimator, of version 1.5."""
    where = write_dist(
        tmp_path / "acme", "acme", {"ttsi.estimators": "mine = acme_mine:Mine"}, {"acme_mine": MINE}
    )
    with importable(where):
        yield where


MINE = ESTIMATOR.replace(
    "return []", "from ttsi.types import Estimate; return [Estimate(1.0, False) for _ in tasks]"
)


def test_another_version_of_a_plugin_does_not_go_on_with_a_run(acme: Path, tmp_path: Path) -> None:
    document = spec(estimator="acme/mine")
    folder = begun(tmp_path / "runs", document)
    (acme / "acme-1.5.dist-info").rename(acme / "acme-1.6.dist-info")
    path = acme / "acme-1.6.dist-info" / "METADATA"
    path.write_text(path.read_text().replace("1.5", "1.6"))
    told = refused(lambda: run(tmp_path / "runs", document), folder, "plugins.estimator.version")
    assert 'plugins.estimator.version was "1.5", is "1.6"' in told


def test_a_finished_run_is_not_shown_as_that_of_another_plugin(acme: Path, tmp_path: Path) -> None:
    document = spec(estimator="acme/mine")
    cell = run(tmp_path / "runs", document)
    (acme / "acme-1.5.dist-info").rename(acme / "acme-1.6.dist-info")
    path = acme / "acme-1.6.dist-info" / "METADATA"
    path.write_text(path.read_text().replace("1.5", "1.6"))
    refused(lambda: run(tmp_path / "runs", document), cell.folder, "plugins.estimator.version")


def test_other_data_does_not_go_on_with_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun(tmp_path, spec())
    monkeypatch.setattr(Rows, "revision", lambda _: OTHER)
    told = refused(lambda: run(tmp_path), folder, "revision")
    assert f'is "{OTHER}"' in told


def test_another_executor_goes_on_with_a_run(tmp_path: Path, acme: Path) -> None:
    (acme / "acme_exec.py").write_text(
        "from ttsi_plugins.executors.local import Local\nclass Other(Local): ..."
    )
    path = acme / "acme-1.5.dist-info" / "entry_points.txt"
    path.write_text(path.read_text() + "[ttsi.executors]\nother = acme_exec:Other\n")
    folder = begun(tmp_path / "runs", spec())
    cell = run(tmp_path / "runs", spec(executor="acme/other"))
    assert cell.folder == folder.parent
    assert cell.errors == 0


# ---------------------------------------------------------------- what a scripted engine says


def says(monkeypatch: pytest.MonkeyPatch, **other: Any) -> None:
    plain = ScriptedEngine.identity
    monkeypatch.setattr(ScriptedEngine, "identity", lambda engine: plain(engine) | other)
    if "weights_digest" in other:
        monkeypatch.setattr(ScriptedEngine, "digest", lambda engine: other["weights_digest"])


@pytest.mark.parametrize(
    "other",
    [
        {"weights_digest": OTHER},
        {"model_revision": "c" * 40},
        {"tokenizer_digest": OTHER},
        {"chat_template_digest": OTHER},
        {"dtype": "bfloat16"},
        {"device": "cuda"},
        {"something_of_its_own": 3},
    ],
    ids=lambda other: next(iter(other)),
)
def test_all_that_an_engine_says_counts(
    other: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun(tmp_path, spec())
    says(monkeypatch, **other)
    refused(lambda: run(tmp_path), folder, *(f"engine.{key}" for key in other))
    fresh = run(tmp_path, fresh=True)
    assert fresh.folder == folder.parent
    assert identity(folder)["engine"].items() >= other.items()
    assert [r.id for r in read(folder / "samples.jsonl")] == [f"rows/{n}" for n in range(4)]


def test_the_version_of_ttsi_counts(tmp_path: Path) -> None:
    folder = begun(tmp_path, spec())
    path = folder / "identity.json"
    path.write_text(path.read_text().replace(f'"ttsi": "{ttsi.__version__}"', '"ttsi": "0.0.9"'))
    refused(lambda: run(tmp_path), folder, "ttsi")


def test_records_that_nobody_vouches_for_are_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path, spec())
    (folder / "identity.json").unlink()
    with pytest.raises(RunError, match=r"no identity\.json"):
        run(tmp_path)
    (folder / "identity.json").write_text("{")
    with pytest.raises(CorruptAsset, match="damaged"):
        run(tmp_path)
    (folder / "identity.json").unlink()
    assert run(tmp_path, fresh=True).errors == 0


def test_a_worker_with_another_engine_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(tmp_path, spec())
    says(monkeypatch, device="cuda")
    with pytest.raises(RunError, match="this process would add"):
        run(tmp_path)


# ---------------------------------------------------------------- estimates


def estimated(out: Path) -> CellResult:
    (cell,) = estimates(spec(estimator="rss_margin"), out=out)
    return cell


def test_estimates_of_another_model_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = estimated(tmp_path).folder / "seed-0"
    says(monkeypatch, weights_digest=OTHER)
    document = spec(estimator="rss_margin")
    refused(lambda: run(tmp_path, document), folder, "engine.weights_digest")
    (folder / "estimates.jsonl").write_text(
        "".join((folder / "estimates.jsonl").read_text().splitlines(keepends=True)[:2])
    )
    refused(lambda: estimated(tmp_path), folder, "engine.weights_digest")


def test_a_run_of_another_model_is_not_calibrated_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun(tmp_path, spec(estimator="rss_margin"))
    says(monkeypatch, weights_digest=OTHER)
    with pytest.raises(RunError, match=r"engine\.weights_digest was"):
        estimated(tmp_path)
    # What the run knows was taken, and is the run's.
    assert len(list(read(folder / "estimates.jsonl"))) <= 1


def test_a_budget_is_not_shared_out_by_estimates_of_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(request: Any) -> str:
        if ttsi_fakes.WRITING in request.prompt.messages[-1].content:
            raise KeyboardInterrupt
        return ttsi_fakes.default_script(request)

    document = spec(estimator="rss_margin", budget=0.5)
    defaults = ScriptedEngine.__init__.__defaults__
    assert defaults is not None
    with monkeypatch.context() as patch:
        patch.setattr(ScriptedEngine.__init__, "__defaults__", (*defaults[:-1], stops))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, document)
    (folder,) = tmp_path.glob("*/seed-0")
    assert len(list(read(folder / "estimates.jsonl"))) == 4
    says(monkeypatch, weights_digest=OTHER)
    refused(lambda: run(tmp_path, document), folder, "engine.weights_digest")


# ---------------------------------------------------------------- date and commit


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """The model objects of all engines that were loaded."""
    found: list[Mapping[str, Any]] = []
    monkeypatch.setattr(ScriptedEngine, "load", lambda engine: found.append(engine.model))
    return found


def test_a_run_has_one_date_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: list[Mapping[str, Any]]
) -> None:
    monkeypatch.setattr(provenance, "today", lambda: "2026-02-28")
    folder = begun(tmp_path, spec())
    assert identity(folder)["date"] == "2026-02-28"
    monkeypatch.setattr(provenance, "today", lambda: "2026-03-01")
    cell = run(tmp_path, spec(seeds=[0, 7]))
    assert cell.folder == folder.parent
    assert {each["identity"]["date"] for each in cell.seeds.values()} == {"2026-02-28"}
    estimates(spec(seeds=[8]), out=tmp_path)
    assert {each["date"] for each in models} == {"2026-02-28"}
    assert identity(run(tmp_path, fresh=True).folder / "seed-0")["date"] == "2026-02-28"
    shutil.rmtree(folder.parent / "seed-7")
    shutil.rmtree(folder.parent / "seed-8")
    assert identity(run(tmp_path, fresh=True).folder / "seed-0")["date"] == "2026-03-01"


def test_a_date_that_the_spec_says_is_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: list[Mapping[str, Any]]
) -> None:
    monkeypatch.setattr(provenance, "today", lambda: "2026-03-01")
    plain = run(tmp_path)
    dated = run(tmp_path, spec(model={"id": "scripted", "date": "2024-02-29"}))
    assert dated.folder != plain.folder
    assert dated.seeds[0]["identity"]["date"] == "2024-02-29"
    assert [each["date"] for each in models] == ["2026-03-01", "2024-02-29"]
    (left_open,) = load_spec(spec(model={"id": "scripted", "date": None}))
    assert left_open.digest == plain.spec.digest


@pytest.mark.parametrize("date", ["2026-02-30", "today", "2026-1-1", "20260101", 3])
def test_a_date_that_is_none_is_a_problem_of_the_spec(date: Any) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(spec(model={"id": "scripted", "date": date}))
    assert [problem.pointer for problem in caught.value.problems] == ["/model/date"]


def test_a_run_goes_on_with_the_commit_that_it_was_begun_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: list[Mapping[str, Any]]
) -> None:
    """The branch of the spec may have moved since."""
    says(monkeypatch, model_revision="c" * 40)
    folder = begun(tmp_path, spec())
    cell = run(tmp_path, spec(seeds=[0, 1]))
    assert cell.folder == folder.parent
    assert [each.get("revision") for each in models] == [None, "c" * 40]


def test_a_commit_is_needed_only_once_for_the_digest(model: Path) -> None:
    """Hashing takes as long as loading: what was loaded is hashed once."""
    engine = TransformersEngine({"id": str(model)}, device="cpu", memory_gib=0.25)
    engine.load()
    hashed = []
    plain = weights.digest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "digest", lambda model: hashed.append(1) or plain(model))
        assert engine.identity() == engine.identity()
        assert engine.identity()["weights_digest"] == plain(engine._runtime().model)
    engine.close()
    assert hashed == [1]
    assert torch.is_inference_mode_enabled() is False
