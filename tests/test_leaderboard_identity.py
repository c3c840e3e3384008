"""Identities of submissions: missing evidence and forgeries are refused, each by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reports
from edits import IDENTITY, OTHER, RESULTS, SESSIONS, SPEC, put
from submissions import (
    copied,
    edit,
    faults,
    kinds,
    read,
    sealed,
    submit_run,
    submitted,
    write,
)
from submitted import ROWS, honest, mine, no_base_answer, run

from ttsi.digests import bytes_digest
from ttsi.errors import CorruptAsset, VerificationError
from ttsi.leaderboard.check_identity import KNOWN_TEMPLATE, KNOWN_WEIGHTS
from ttsi.leaderboard.faults import Fault
from ttsi.leaderboard.render import render
from ttsi.records import provenance

__all__ = ["honest", "mine", "run"]
COMMIT = "c" * 40


# ---------------------------------------------------------------- what is lacking


def _every_engine(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change what the engines reported, in the results and in the sessions."""

    def harm(seed: Path) -> None:
        results, sessions = read(seed / "results.json"), read(seed / "sessions.json")
        for engines in (results["engines"], sessions["sessions"][-1]["engines"]):
            change(engines)
        write(seed / "results.json", results)
        write(seed / "sessions.json", sessions)

    return harm


def _edited(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda seed: edit(seed, name, change)


def _no_baseline(seed: Path) -> None:
    edit(seed, "spec.resolved.json", put("baseline", False))


LACKING: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "no engine": (_every_engine(lambda engines: engines.clear()), "no-engine", "names no engine"),
    "no digest of an engine": (
        _every_engine(lambda engines: engines[0].pop("weights_digest")),
        "no-weights",
        "no digest of the weights that it loaded",
    ),
    "no digest after the run": (
        _every_engine(lambda engines: engines[0].pop("weights_digest_after")),
        "no-proof",
        "proves the reset",
    ),
    "other weights after the run": (
        _every_engine(lambda engines: engines[0].update({"weights_digest_after": OTHER})),
        "changed-weights",
        "was not thrown away",
    ),
    "no identity": (
        lambda seed: (seed / "identity.json").unlink(),
        "no-identity",
        "which weights, templates and versions",
    ),
    "no identity in the results": (
        _edited("results.json", lambda results: results.pop("identity") and None),
        "no-identity",
        "holds no identity",
    ),
    "no weights in the identity": (
        _edited("identity.json", put("engine", "weights_digest", None)),
        "no-weights",
        "nothing says which weights answered",
    ),
    "no baseline": (_no_baseline, "no-base", "asks for no baseline"),
    "no base answer of a sample": (
        no_base_answer,
        "no-base",
        "1 of 4 samples have no base answer",
    ),
}


@pytest.mark.parametrize("name", LACKING)
def test_verify_refuses_what_lacks_evidence(name: str, mine: Path) -> None:
    harm, kind, message = LACKING[name]
    harm(mine / "seed-0")
    told = [fault for fault in faults(mine) if fault.kind == kind]
    assert any(message in fault.what and fault.cure for fault in told)
    with pytest.raises(VerificationError, match="1 of 1 submissions are faulty"):
        render(mine.parents[3], third_party=True)


@pytest.mark.parametrize("name", LACKING)
def test_submit_refuses_what_lacks_evidence(name: str, run: Path, tmp_path: Path) -> None:
    """The run's own manifest is valid, as if the run had been made without the evidence."""
    harm, _, message = LACKING[name]
    mine = tmp_path / run.name
    shutil.copytree(run, mine)
    harm(mine / "seed-0")
    write(mine / "seed-0" / "manifest.json", provenance.manifest(mine / "seed-0"))
    with pytest.raises((VerificationError, CorruptAsset)) as caught:
        submit_run(mine, tmp_path)
    # Results that lack what every run's have are refused when the run is opened.
    damaged = "results.json is not what this version of ttsi writes" in str(caught.value)
    assert damaged or message in str(caught.value)
    assert not list((tmp_path / "leaderboards").rglob("*.json"))


def test_each_lack_has_a_message_of_its_own(honest: Path, tmp_path: Path) -> None:
    told = []
    for name, (harm, kind, message) in LACKING.items():
        folder = copied(honest, tmp_path / name)
        harm(folder / "seed-0")
        told += [f.what for f in faults(folder) if f.kind == kind and message in f.what]
    assert len(set(told)) == len(LACKING)


def test_a_run_without_baseline_is_refused(tmp_path: Path) -> None:
    run = reports.made(tmp_path / "runs", estimator="always", baseline=False)
    with pytest.raises(VerificationError, match=r"\[no-base\].*asks for no baseline"):
        submit_run(run.folder, tmp_path)


# ---------------------------------------------------------------- what is forged

FORGED: dict[str, tuple[Any, ...]] = {
    "weights": ("engine", "weights_digest", OTHER),
    "chat template": ("engine", "chat_template_digest", OTHER),
    "tokenizer": ("engine", "tokenizer_digest", OTHER),
    "commit of the model": ("engine", "model_revision", COMMIT),
    "dtype": ("engine", "dtype", "bfloat16"),
    "device": ("engine", "device", "cuda"),
    "version of a plugin": ("plugins", "learner", "version", "9"),
    "version of a third party's plugin": ("plugins", "engine", "version", "9"),
    "version of ttsi": ("ttsi", "9.9"),
    "date": ("date", "2001-01-01"),
    "seed": ("seed", 7),
    "data": ("revision", OTHER),
    "spec": ("spec_digest", OTHER),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_identity_is_refused(name: str, mine: Path) -> None:
    """It is refused even with all digests recomputed: the results have the run's own identity."""
    edit(mine, IDENTITY, put(*FORGED[name]))
    assert {("digest", IDENTITY)} <= {(fault.kind, fault.where) for fault in faults(mine)}
    folder = sealed(mine, alike=False)
    key = ".".join(FORGED[name][:-1])
    assert [fault for fault in _told(folder) if fault.what.startswith(f"{key} is ")]


def _told(folder: Path) -> list[Fault]:
    return [fault for fault in faults(folder) if fault.kind == "identity"]


CONTRADICTED: dict[str, tuple[Any, ...]] = {
    "weights": (*FORGED["weights"], "engine", "an engine said"),
    "version of a plugin": (*FORGED["version of a plugin"], "identity", "it cannot be"),
    "version of another's": (
        *FORGED["version of a third party's plugin"],
        "session",
        "had other plugins",
    ),
    "version of ttsi": (*FORGED["version of ttsi"], "session", "had ttsi"),
    "date": ("date", "2999-01-01", "date", "after the day"),
    "no date": ("date", "2026-13-01", "date", "no date of the calendar"),
    "seed": (*FORGED["seed"], "identity", "the folder's name"),
    "data": (*FORGED["data"], "identity", "what results.json says"),
}


@pytest.mark.parametrize("name", CONTRADICTED)
def test_an_identity_that_is_forged_in_all_places_is_contradicted(name: str, mine: Path) -> None:
    *path, kind, message = CONTRADICTED[name]
    edit(mine, IDENTITY, put(*path))
    folder = sealed(mine)
    assert [fault for fault in faults(folder) if fault.kind == kind and message in fault.what]


@pytest.mark.parametrize("key", ["dtype", "device", "tokenizer_digest"])
def test_an_engine_that_says_other_than_the_identity_is_told(key: str, mine: Path) -> None:
    _every_engine(lambda engines: engines[0].update({key: "other:1"}))(mine / "seed-0")
    assert "engine" in kinds(sealed(mine))


def test_the_dtype_is_the_spec_s(mine: Path) -> None:
    edit(mine, SPEC, put("model", "dtype", "float16"))
    assert [f for f in _told(sealed(mine)) if "the spec says 'float16'" in f.what]
    edit(mine.parent / _only(mine), SPEC, put("model", "dtype", "float32"))
    assert not _told(sealed(mine.parent / _only(mine)))


def test_the_date_is_the_spec_s(mine: Path) -> None:
    edit(mine, SPEC, put("model", "date", "2001-01-01"))
    assert [f for f in faults(sealed(mine)) if "the spec says '2001-01-01'" in f.what]


def _only(mine: Path) -> str:
    (name,) = (path.name for path in mine.parent.iterdir())
    return name


def test_what_no_other_file_contradicts_passes(mine: Path) -> None:
    """A template's digest occurs only in the identity, as CONTRIBUTING.md says."""
    edit(mine, IDENTITY, put("engine", "chat_template_digest", OTHER))
    assert faults(sealed(mine)) == []


def test_seeds_of_two_identities_are_no_submission(tmp_path: Path) -> None:
    folder = submitted(tmp_path, benchmark=ROWS, seeds=[3, 4])
    edit(folder, "seed-4/identity.json", put("engine", "tokenizer_digest", OTHER))
    told = [f.what for f in _told(sealed(folder)) if f.where == "seed-4/identity.json"]
    assert any("engine.tokenizer_digest is " in what and "in seed-3" in what for what in told)


def test_seeds_of_two_dates_are_no_submission(tmp_path: Path) -> None:
    """A run fixes one date for all its seeds, whenever each of them began."""
    folder = submitted(tmp_path, benchmark=ROWS, seeds=[3, 4])
    edit(folder, "seed-4/identity.json", put("date", "2001-01-01"))
    (told,) = _told(sealed(folder))
    assert told.where == "seed-4/identity.json"
    assert told.what.startswith("date is '2001-01-01'; in seed-3 it is ")


def test_a_spec_that_asks_for_a_seed_twice_is_refused(mine: Path) -> None:
    edit(mine, SPEC, put("seeds", [0, 0, 1]))
    (told,) = faults(sealed(mine))
    assert (told.kind, told.where) == ("schema", SPEC)
    assert "seeds" in told.what


def test_seeds_may_have_begun_on_one_date_in_other_executors(tmp_path: Path) -> None:
    folder = submitted(tmp_path, benchmark=ROWS, seeds=[3, 4])
    for seed in (3, 4):
        edit(folder, f"seed-{seed}/identity.json", put("date", "2026-11-21"))
    other = {"name": "local", "distribution": "ttsi", "version": "8"}
    edit(folder, "seed-4/sessions.json", put("sessions", 0, "plugins", "executor", other))
    assert faults(sealed(folder)) == []


# ---------------------------------------------------------------- models whose weights are known


def _of_own_engine(folder: Path, **model: Any) -> Path:
    """Return the submission as if ttsi's own engine had run this model."""
    name = {"name": "transformers", "distribution": "ttsi"}
    version = read(folder / IDENTITY)["ttsi"]
    edit(folder, SPEC, lambda spec: spec["model"].update(model))
    edit(folder, SPEC, put("engine", {"name": "transformers"}))
    for file, path in ((IDENTITY, ()), (SESSIONS, ("sessions", 0))):
        edit(folder, file, put(*path, "plugins", "engine", name | {"version": version}))
    edit(folder, RESULTS, put("model", model["id"]))
    _every_engine(lambda engines: engines[0].update({"model": model["id"]}))(folder / "seed-0")
    return sealed(folder)


def _with_weights(folder: Path, digest: str) -> Path:
    said = {"weights_digest": digest, "weights_digest_after": digest}
    _every_engine(lambda engines: engines[0].update(said))(folder / "seed-0")
    edit(folder, IDENTITY, put("engine", "weights_digest", digest))
    return sealed(folder)


def test_the_embedded_model_has_the_weights_that_are_known(mine: Path) -> None:
    folder = _of_own_engine(mine, id="smollm2-135m")
    assert [f for f in _told(folder) if "not those of smollm2-135m" in f.what]
    assert [f for f in _told(folder) if "the chat template is not that" in f.what]
    edit(folder, IDENTITY, put("engine", "chat_template_digest", KNOWN_TEMPLATE))
    folder = _with_weights(folder, KNOWN_WEIGHTS["float32"])
    assert _told(folder) == []
    edit(folder, IDENTITY, put("engine", "dtype", "bfloat16"))
    assert [f for f in _told(sealed(folder)) if "not those of smollm2-135m" in f.what]


@pytest.mark.parametrize("dtype", KNOWN_WEIGHTS)
def test_what_is_known_of_the_embedded_model_is_so(dtype: str) -> None:
    pytest.importorskip("torch")
    from ttsi_plugins.engines.transformers import weights

    loaded = weights.load({"id": "smollm2-135m", "dtype": dtype}, "cpu")
    assert weights.digest(loaded.model) == KNOWN_WEIGHTS[dtype]
    assert bytes_digest(loaded.tokenizer.chat_template.encode()) == KNOWN_TEMPLATE


def test_a_model_of_the_hub_is_named_by_its_commit(mine: Path) -> None:
    folder = _of_own_engine(mine, id="acme/model")
    assert [f for f in _told(folder) if "which commit of 'acme/model'" in f.what]
    assert "model" not in kinds(folder)
    edit(folder, IDENTITY, put("engine", "model_revision", COMMIT))
    folder = sealed(folder)
    assert _told(folder) == []
    edit(folder, SPEC, put("model", "revision", "d" * 40))
    assert [f for f in _told(sealed(folder)) if "the spec says 'dddd" in f.what]


@pytest.mark.parametrize(
    "name",
    [
        "mine",
        "./models/mine",
        "models/mine.gguf",
        "models/mine.GGUF",
        "./mine.gguf",
        ".gguf",
        "mine.GGUF",
        "m ine.gguf",
        "acme/mine.safetensors",
        "acme/model:q4",
        "acme/../model",
        "acme/.model",
        "acme/-model",
        "-acme/model",
        "acme/mod\N{LATIN SMALL LETTER E WITH ACUTE}l",
    ],
)
def test_a_model_that_only_one_machine_has_is_refused(name: str, mine: Path) -> None:
    (told,) = [f for f in faults(_of_own_engine(mine, id=name)) if f.kind == "model"]
    assert told.where == SPEC
    assert "nobody else could run it" in told.what
    assert "Hub" in told.cure


def test_a_gguf_file_is_named_by_its_bare_name_and_digest(mine: Path) -> None:
    folder = _of_own_engine(mine, id="qwen2.5-0.5b.gguf")
    (told,) = _told(folder)
    assert "nothing says which file" in told.what
    edit(folder, IDENTITY, put("engine", "config_digest", "sha256:" + "a" * 64))
    assert not {"model", "identity"} & kinds(sealed(folder))


def test_a_chat_template_that_only_one_machine_has_is_refused(mine: Path) -> None:
    folder = _of_own_engine(mine, id="smollm2-135m", chat_template="mine.jinja")
    (told,) = [fault for fault in faults(folder) if fault.kind == "model"]
    assert "chat template is a file of one machine" in told.what
    allowed = _of_own_engine(folder, id="smollm2-135m", chat_template=None, chat_template_kwargs={})
    assert [fault for fault in faults(allowed) if fault.kind in ("model", "schema")] == []


# ---------------------------------------------------------------- sessions
