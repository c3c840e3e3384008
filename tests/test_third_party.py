"""The package in examples/ as a third party's: built, installed, used by name, uninstalled, missed.

Everything runs in a clean environment, in which ttsi comes from a wheel, too.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wheels import ROOT, Environment, build

from ttsi.records.journal import read

PACKAGE = ROOT / "examples" / "ttsi-several"
ESTIMATOR, LEARNER = "ttsi-several/semantic_entropy", "ttsi-several/best_of"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(PACKAGE, tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def environment(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = Environment.create(tmp_path_factory.mktemp("clean"))
    made.install(build(ROOT, tmp_path_factory.mktemp("ttsi")))
    made.install(package)
    return made


@pytest.fixture
def without(environment: Environment, package: Path) -> Iterator[Environment]:
    environment.uninstall("ttsi-several")
    yield environment
    environment.install(package)


def write_spec(folder: Path, **changed: Any) -> str:
    """Write a smaller version of the package's own spec."""
    spec = json.loads((PACKAGE / "spec.json").read_text())
    spec["benchmark"]["limit"] = 2
    # Hot, so that answers differ: what is uncertain is adapted to.
    spec["estimator"] |= {"samples": 2, "max_tokens": 24, "threshold": 1.0, "temperature": 2.0}
    spec["generator"] |= {"attempts": 2, "max_tokens": 60}
    spec["learner"] |= {"ranks": [2, 4], "learning_rates": [1e-4], "epochs": [2]}
    spec["learner"]["target"] = "tool_call"
    spec["inference"]["max_tokens"] = 16
    spec["baseline"] = False
    path = folder / "spec.json"
    path.write_text(json.dumps(spec | changed))
    return str(path)


def test_the_wheel_holds_the_package_and_its_entry_points(environment: Environment) -> None:
    done = environment.ttsi("plugins", "--json", cwd=environment.folder)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["plugins"]
    ours = {row["name"]: row for row in rows if row["distribution"] == "ttsi-several"}
    assert {name: row["kind"] for name, row in ours.items()} == {
        ESTIMATOR: "estimators",
        LEARNER: "learners",
    }
    for row in ours.values():
        assert (row["version"], row["state"], row["builtin"]) == ("0.1.0", "ready", False)
        assert all(option["description"] for option in row["options"]["properties"].values())
    assert [row["name"] for row in rows if row["state"] != "ready"] == []


def test_its_own_tests_pass_where_it_is_installed(environment: Environment, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE / "tests", tmp_path / "tests")
    shutil.copy(PACKAGE / "pyproject.toml", tmp_path)
    done = environment.python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None
    assert int(found[1]) > 40


@pytest.mark.parametrize("name", [ESTIMATOR, LEARNER])
def test_the_command_finds_that_it_keeps_its_contract(
    name: str, environment: Environment, tmp_path: Path
) -> None:
    done = environment.ttsi("plugins", "check", name, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_imports_nothing_of_the_built_in_plugins(
    environment: Environment, tmp_path: Path
) -> None:
    code = (
        "import sys, ttsi_several.best_of, ttsi_several.semantic_entropy as s; print(s.__file__);"
        "print(sorted(n for n in sys.modules if n.partition('.')[0] in ('ttsi_plugins', 'torch')))"
    )
    done = environment.python("-c", code, cwd=tmp_path)
    origin, others = done.stdout.splitlines()
    assert Path(origin).is_relative_to(environment.folder)
    assert others == "[]"


def test_a_spec_names_both_and_a_wrong_option_is_told(
    environment: Environment, tmp_path: Path
) -> None:
    done = environment.ttsi("validate", str(PACKAGE / "spec.json"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ESTIMATOR in done.stdout
    assert LEARNER in done.stdout
    wrong = write_spec(tmp_path, learner={"name": LEARNER, "ranks": [0], "learning_rate": 1e-4})
    done = environment.ttsi("validate", wrong, cwd=tmp_path)
    assert done.returncode == 2
    assert "/learner/ranks/0" in done.stdout + done.stderr
    assert 'Did you mean "learning_rates"?' in done.stdout + done.stderr


@pytest.mark.model
def test_a_run_by_name_adapts_with_the_adapter_that_did_best(
    environment: Environment, tmp_path: Path
) -> None:
    done = environment.ttsi("eval", write_spec(tmp_path), "--out", "runs", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    records = list(read(run / "seed-0" / "samples.jsonl"))
    assert len(records) == 2
    # Two answers mean the same, or they do not.
    assert {round(r.estimate.confidence, 9) for r in records if r.estimate} <= {1.0, 0.0}
    adapted = [record for record in records if record.adapted]
    assert adapted
    for record in adapted:
        receipt = record.receipt
        assert receipt is not None
        assert receipt["config"]["r"] in (2, 4)
        assert receipt["config"]["lora_alpha"] == 2 * receipt["config"]["r"]
        # Of two examples: two epochs of the first, then the one held out. Of one: its two epochs.
        assert receipt["steps"] == 1 + len(record.examples)
    assert any(len(record.examples) == 2 for record in adapted)
    used = json.loads((run / "seed-0" / "identity.json").read_text())["plugins"]
    assert used["learner"]["name"] == LEARNER
    assert used["estimator"]["distribution"] == "ttsi-several"


def test_uninstalled_it_is_missed_and_the_error_says_what_to_install(
    without: Environment, tmp_path: Path
) -> None:
    listed = without.ttsi("plugins", cwd=tmp_path)
    assert listed.returncode == 0
    assert "ttsi-several" not in listed.stdout
    spec = write_spec(tmp_path)
    for verb in ("validate", "eval"):
        done = without.ttsi(verb, spec, cwd=tmp_path)
        told = done.stdout + done.stderr
        assert done.returncode == 2, told
        assert f'/estimator/name: there is no estimator "{ESTIMATOR}"' in told
        assert f'/learner/name: there is no learner "{LEARNER}"' in told
        assert "pip install ttsi-several" in told
        assert "Traceback" not in told
    assert not (tmp_path / "runs").exists()
