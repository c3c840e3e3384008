"""ttsi from a wheel, in a clean environment outside the checkout: complete, same results."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
from wheels import ROOT, Environment, build, run

from ttsi import __version__

HOMES = {
    "ttsi": ROOT,
    "ttsi_plugins": ROOT / "plugins",
    "ttsi_benchmarks": ROOT / "benchmarks",
}
CALLS = '[{"name": "f", "arguments": {}}]'


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = Environment.create(tmp_path_factory.mktemp("clean"))
    made.install(wheel)
    return made


def files_of(wheel: Path) -> dict[str, int]:
    """Return checksums by name, without the wheel's own table of them."""
    with zipfile.ZipFile(wheel) as archive:
        return {each.filename: each.CRC for each in archive.infolist()}


def test_the_wheel_holds_every_file_of_the_three_packages(wheel: Path) -> None:
    in_tree = {
        path.relative_to(home).as_posix()
        for package, home in HOMES.items()
        for path in (home / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in files_of(wheel) if ".dist-info/" not in name}
    assert packed == in_tree
    suffixes = {Path(name).suffix for name in packed if not name.endswith(".py")}
    assert suffixes >= {".json", ".j2", ".css", ".js", ".typed"}
    assert {"ttsi_benchmarks/known_bad.json", "ttsi/schemas/spec.schema.json"} <= packed


def test_its_entry_points_and_extras_are_those_of_pyproject(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with zipfile.ZipFile(wheel) as archive:
        folder = f"ttsi-{__version__}.dist-info"
        entry_points = ConfigParser(delimiters="=")
        entry_points.optionxform = str  # type: ignore[assignment,method-assign]
        entry_points.read_string(archive.read(f"{folder}/entry_points.txt").decode())
        about = archive.read(f"{folder}/METADATA").decode()
    expected = project["entry-points"] | {"console_scripts": project["scripts"]}
    assert {group: dict(entry_points[group]) for group in entry_points.sections()} == expected
    extras = {line.split(": ")[1] for line in about.splitlines() if line[:14] == "Provides-Extra"}
    assert extras == set(project["optional-dependencies"])


def test_the_sdist_makes_the_same_wheel_and_carries_no_litter(
    wheel: Path, sdist: Path, tmp_path: Path
) -> None:
    assert files_of(build(sdist, tmp_path)) == files_of(wheel)
    with tarfile.open(sdist) as archive:
        names = [Path(name) for name in archive.getnames()]
    assert {"tests", "docs", "specs", "examples"} <= {name.parts[1] for name in names}
    litter = {"__pycache__", ".mypy_cache", ".tox", ".venv", ".git", ".hypothesis"}
    assert [name for name in names if litter & set(name.parts) or name.parts[1] == "runs"] == []


def test_what_is_imported_is_the_wheels(environment: Environment, tmp_path: Path) -> None:
    code = "import ttsi, ttsi_plugins, ttsi_benchmarks as b; print(ttsi.__file__, b.__file__)"
    done = environment.python("-c", code + "; print(ttsi_plugins.__file__)", cwd=tmp_path)
    origins = [Path(origin) for origin in done.stdout.split()]
    assert len(origins) == 3, done.stderr
    assert all(origin.is_relative_to(environment.folder) for origin in origins)
    code = "import sys; print(*sys.path, sep='\\n')"
    path = environment.python("-c", code, cwd=tmp_path).stdout.splitlines()
    assert not any(str(home) in path for home in HOMES.values())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["validate", "spec.json", "wrong.json"],
        ["schema", "spec"],
        ["schema", "results"],
        ["score", "predictions.jsonl", "--benchmark", "quickstart", "--json"],
        ["report", "nowhere"],
        ["eval", "wrong.json"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_every_verb_says_the_same_as_from_the_tree(
    arguments: list[str], environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / "spec.json").write_bytes((ROOT / "specs" / "quickstart.json").read_bytes())
    (tmp_path / "wrong.json").write_text('{"benchmark": "quickstrat", "sedes": [1]}')
    (tmp_path / "predictions.jsonl").write_text(
        json.dumps({"id": "quickstart/0", "text": CALLS}) + "\n"
    )
    here = run(sys.executable, "-m", "ttsi", *arguments, cwd=tmp_path)
    there = environment.ttsi(*arguments, cwd=tmp_path)
    assert (there.returncode, there.stdout, there.stderr) == (
        here.returncode,
        here.stdout,
        here.stderr,
    )
    assert there.returncode == (2 if {"wrong.json", "nowhere"} & set(arguments) else 0)
    assert "Traceback" not in there.stderr


def test_the_same_plugins_are_ready_in_another_place(
    environment: Environment, tmp_path: Path
) -> None:
    command = ["plugins", "--json"]
    here = json.loads(run(sys.executable, "-m", "ttsi", *command, cwd=tmp_path).stdout)["plugins"]
    there = json.loads(environment.ttsi(*command, cwd=tmp_path).stdout)["plugins"]
    assert {row["state"] for row in there} == {"ready"}
    for row in there:
        assert Path(row.pop("path")).is_relative_to(environment.folder)
    assert there == [{k: v for k, v in row.items() if k != "path"} for row in here]


def small_spec() -> dict[str, Any]:
    spec: dict[str, Any] = json.loads((ROOT / "specs" / "quickstart.json").read_text())
    spec["benchmark"]["limit"] = 1
    spec["estimator"]["threshold"] = 1.0
    spec["generator"] |= {"attempts": 2, "max_tokens": 48}
    spec["learner"] |= {"epochs": 2, "target": "tool_call"}
    spec["inference"]["max_tokens"] = 24
    spec["baseline"] = False
    return spec


@pytest.mark.model
def test_a_run_its_report_and_its_score_need_no_checkout(
    environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(small_spec()))
    done = environment.ttsi("eval", "spec.json", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    results = json.loads((folder / "seed-0" / "results.json").read_text())
    assert (results["samples"], results["errors"], results["uncertain"]) == (1, 0, 1)
    assert results["adapted"] > 0
    (about,) = json.loads((folder / "seed-0" / "sessions.json").read_text())["sessions"]
    assert (about["ttsi"], about["commit"]) == (__version__, None)
    done = environment.ttsi("report", str(folder), "-o", "page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "quickstart/0" in (tmp_path / "page.html").read_text()
    predictions = str(folder / "seed-0" / "predictions.jsonl")
    scored = environment.ttsi(
        "score", predictions, "--benchmark", "quickstart", "--json", cwd=tmp_path
    )
    again = json.loads(scored.stdout)
    assert (again["correct"], again["reasons"]) == (results["correct"], results["reasons"])
