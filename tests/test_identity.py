"""The identity of a run: a change of anything that affects results is refused."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from _dists import ESTIMATOR, importable, write_dist
from resumed import OTHER, begun, identity, refused, run, says, spec
from safetensors.torch import load_file, save_file
from tiny_model import tiny_llama, write_folder, write_gguf

import ttsi
import ttsi.running.evaluate
from ttsi.digests import file_digest
from ttsi.errors import CorruptAsset, RunError
from ttsi.records.journal import read
from ttsi_fakes import Rows
from ttsi_plugins.engines.transformers import TransformersEngine, weights

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
    """Metadata that a saving program writes beside the weights does not affect results."""
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


def test_a_converted_model_has_the_settings_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The converter's config.json depends on the installed transformers."""
    monkeypatch.setenv("TTSI_CACHE_DIR", str(tmp_path / "cache"))
    path = write_gguf(tmp_path / "tiny.gguf", tiny_llama())
    engine = TransformersEngine({"id": str(path)}, device="cpu", memory_gib=0.25)
    engine.load()
    assert engine.identity()["config_digest"] == file_digest(path)
    engine.close()


# ---------------------------------------------------------------- plugins and data


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[Path]:
    """Install a distribution with an estimator, version 1.5."""
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


def test_ttsi_s_own_plugins_have_the_version_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editable install's metadata may have an older version."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "ttsi" and "__version__" in vars(module):
            monkeypatch.setattr(module, "__version__", "9.8.7")
    document = spec()
    folder = run(tmp_path, document).folder / "seed-0"
    said = identity(folder)
    own = {p["version"] for p in said["plugins"].values() if p["distribution"] == "ttsi"}
    assert own == {said["ttsi"]} == {"9.8.7"}
    assert said["plugins"]["engine"]["version"] != "9.8.7"


def test_the_package_has_the_version_of_pyproject() -> None:
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    assert tomllib.loads(pyproject.read_text())["project"]["version"] == ttsi.__version__


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
    with pytest.raises(RunError, match="another identity than this process"):
        run(tmp_path)


def test_a_commit_is_needed_only_once_for_the_digest(model: Path) -> None:
    """Hashing takes as long as loading, so loaded weights are hashed once."""
    engine = TransformersEngine({"id": str(model)}, device="cpu", memory_gib=0.25)
    hashed = []
    plain = weights.digest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "digest", lambda model: hashed.append(1) or plain(model))
        engine.load()
        assert engine.identity() == engine.identity()
        assert engine.identity()["weights_digest"] == plain(engine._runtime().model)
    engine.close()
    assert hashed == [1]
    assert torch.is_inference_mode_enabled() is False


def test_a_seed_of_another_model_is_not_added_to_a_run(model: Path, tmp_path: Path) -> None:
    """results.json of a folder summarises all its seeds, so they need the same model."""
    own = tmp_path / "model"
    shutil.copytree(model, own)
    out = tmp_path / "runs"
    folder = run(out, on_model(own, seeds=[0])).folder
    change_weights(own)
    before = (folder / "results.json").read_bytes()
    with pytest.raises(RunError, match=r"engine\.weights_digest was"):
        run(out, on_model(own, seeds=[1]))
    assert (folder / "results.json").read_bytes() == before
    assert not list(read(folder / "seed-1" / "samples.jsonl"))
    anew = run(out, on_model(own, seeds=[0, 1]), fresh=True)
    assert anew.summary["seeds"] == [0, 1]
    first, second = (identity(anew.folder / f"seed-{seed}") for seed in (0, 1))
    assert first["engine"] == second["engine"]
