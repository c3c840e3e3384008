"""`ttsi new-plugin`: for every kind, a package that installs and passes its own tests."""

from __future__ import annotations

import errno
import importlib.util
import json
import keyword
import shutil
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from _environments import call, make_environment
from hypothesis import given, settings
from hypothesis import strategies as st

from ttsi import types
from ttsi.cli import main as cli
from ttsi.errors import UsageError
from ttsi.registry import KINDS
from ttsi.scaffold import package
from ttsi.scaffold.kinds import STARTS
from ttsi.scaffold.names import BESIDE, LONGEST_DISTRIBUTION, LONGEST_ENTRY, read_names
from ttsi.spec.schema import COMPONENTS
from ttsi.testing import checks_for

pytestmark = pytest.mark.slow

AWKWARD = [*keyword.kwlist, *(name for name in vars(types) if name.isalpha())]
"""Names that a class could take from Python, or from what its module imports."""

KIND_OF = {start: BESIDE.get(start, start) for start in STARTS}
"""By what a package begins with: the kind of its plugin."""

ROLES = {
    start: role for role, kind in COMPONENTS.items() for start in STARTS if KIND_OF[start] == kind
}


def noun(kind: str) -> str:
    return kind.removesuffix("s")


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "spec_name", "module", "class_name"),
    [
        ("acme-doubt/length", "acme-doubt/length", "acme_doubt", "LengthEstimator"),
        ("acme-doubt", "acme-doubt/doubt", "acme_doubt", "DoubtEstimator"),
        ("Acme_Doubt.X", "acme-doubt-x/x", "acme_doubt_x", "XEstimator"),
        ("zweifel", "zweifel/zweifel", "zweifel", "ZweifelEstimator"),
        ("acme/very-long_name", "acme/very-long_name", "acme", "VeryLongNameEstimator"),
        ("acme/my-estimator", "acme/my-estimator", "acme", "MyEstimator"),
        ("class/None", "class/None", "ttsi_class", "NoneEstimator"),
        ("json/option", "json/option", "ttsi_json", "OptionEstimator"),
        ("2fast/4u", "2fast/4u", "ttsi_2fast", "Estimator4u"),
        ("acme/2-estimator", "acme/2-estimator", "acme", "Estimator2Estimator"),
    ],
)
def test_names_are_derived(name: str, spec_name: str, module: str, class_name: str) -> None:
    names = read_names("estimator", name)
    assert (names.name, names.module, names.class_name) == (spec_name, module, class_name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "acme/", "/length", "a/b/c", "..", "../x", "acme/..", "-x", "x-", "a b", "a\n"),
        *("zweifeln/ä", "ümlaut", "acme/a.b", "x" * (LONGEST_DISTRIBUTION + 1), "a/" + "x" * 31),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be called") as refused:
        read_names("scorer", name)
    assert "acme-doubt/length" in refused.value.cure


@pytest.mark.parametrize(
    ("name", "why"),
    [("ttsi", "own"), ("TTSI_Plugins/x", "own"), ("jinja2", "module jinja2"), ("a-b/x", "a_b")],
)
def test_a_name_that_is_taken_is_refused(
    name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_b.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=why):
        read_names("scorer", name)


def test_kinds_are_taken_in_both_numbers_and_others_refused() -> None:
    assert set(KIND_OF.values()) == set(KINDS)
    for start, kind in KIND_OF.items():
        assert read_names(start, "acme-x").kind == read_names(noun(start), "acme-x").kind == kind
    with pytest.raises(UsageError, match="no kind") as refused:
        read_names("estimater", "acme-x")
    assert 'Did you mean "estimator"?' in refused.value.cure


def part(longest: int, marks: str) -> st.SearchStrategy[str]:
    text = st.from_regex(rf"[A-Za-z0-9]([A-Za-z0-9{marks}]*[A-Za-z0-9])?", fullmatch=True)
    return text.map(lambda some: some[:longest].rstrip("._-"))


@settings(max_examples=40)
@given(
    kind=st.sampled_from(list(STARTS)),
    distribution=part(LONGEST_DISTRIBUTION - 5, "._-").map("acme-{}".format),
    entry=part(LONGEST_ENTRY, "_-") | st.sampled_from(AWKWARD),
)
def test_whatever_the_name_the_files_can_be_read(kind: str, distribution: str, entry: str) -> None:
    entry = entry.strip("_-")[:LONGEST_ENTRY].strip("_-")
    names = read_names(kind, f"{distribution}/{entry}")
    files = package.files(names)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    origin = f"{names.module}:{names.class_name}"
    assert project["entry-points"] == {f"ttsi.{names.kind}": {entry: origin}}
    assert ("spec.json" in files) == (kind in ROLES)
    if kind in ROLES:
        assert json.loads(files["spec.json"])[ROLES[kind]]["name"] == names.name
    for path, text in files.items():
        if path.endswith(".py"):
            compile(text, path, "exec")
    module = executed(files[f"src/{names.module}/__init__.py"])
    assert vars(module)[names.class_name].__module__ == "made"


def executed(code: str) -> ModuleType:
    module = ModuleType("made")
    sys.modules["made"] = module  # dataclasses look their module up
    try:
        exec(compile(code, "made", "exec"), vars(module))
    finally:
        del sys.modules["made"]
    return module


# ---------------------------------------------------------------- writing


def tree(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def test_it_says_what_it_wrote_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "my plugins"
    assert cli.main(["new-plugin", "estimator", "acme-doubt/length", "--to", str(place)]) == 0
    said = capsys.readouterr().out
    written = tree(place / "acme-doubt")
    assert all(f"  {path}\n" in said for path in written)
    assert f"cd '{place}/acme-doubt'" in said
    assert "ttsi plugins check acme-doubt/length" in said
    assert {"pyproject.toml", "README.md", "spec.json", ".gitignore"} < set(written)
    assert (place / "acme-doubt").stat().st_mode == place.stat().st_mode


def test_quiet_is_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-q", "new-plugin", "scorers", "acme-x", "--to", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "acme-x" / "pyproject.toml").is_file()


def test_help_tells_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["new-plugin", "--help"])
    said = capsys.readouterr().out
    assert all(f"\n  {noun(start)} " in said for start in STARTS)


@pytest.mark.parametrize("there", ["folder", "empty folder", "file", "link"])
def test_nothing_is_overwritten(
    there: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "acme-doubt"
    if there == "file":
        place.write_text("mine")
    elif there == "link":
        place.symlink_to(tmp_path / "nowhere")
    else:
        place.mkdir()
    if there == "folder":
        (place / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["new-plugin", "estimator", "acme-doubt", "--to", str(tmp_path)]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_is_no_place_for_a_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "file"
    place.write_text("mine")
    for to in (place, place / "below"):
        assert cli.main(["new-plugin", "estimator", "acme-doubt", "--to", str(to)]) == 2
        assert "this is a file" in capsys.readouterr().err


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_text = Path.write_text

    def full(path: Path, *args: str, **more: str) -> int:
        if path.name == "spec.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write_text(path, *args, **more)

    monkeypatch.setattr(Path, "write_text", full)
    assert cli.main(["new-plugin", "estimator", "acme-doubt", "--to", str(tmp_path)]) == 1
    assert "Free some space" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- all kinds, installed


@dataclass(frozen=True)
class Installed:
    """A package of each kind, acme-KIND, in one folder and one environment."""

    folder: Path
    env: Mapping[str, str]

    def call(self, *command: str, cwd: str = ".", code: int = 0) -> str:
        return call(*command, env=self.env, cwd=self.folder / cwd, code=code).stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    base = tmp_path_factory.mktemp("acme")
    there = Installed(base / "packages", make_environment(base / "env"))
    for start in STARTS:
        package.write(read_names(start, f"acme-{noun(start)}/own"), there.folder)
    there.call("pip", "install", "-q", *(f"./acme-{noun(start)}" for start in STARTS))
    return there


@pytest.fixture(scope="module")
def outcomes(installed: Installed) -> dict[str, list[ET.Element]]:
    """Return the test cases of each package, by kind, from one pytest run."""
    tests = [f"acme-{noun(start)}/tests" for start in STARTS]
    installed.call(
        *("python", "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"),
        *("--junitxml", "outcomes.xml", *tests),
    )
    cases = list(ET.parse(installed.folder / "outcomes.xml").iter("testcase"))
    by_module = defaultdict(list)
    for case in cases:
        by_module[case.attrib["classname"].rpartition(".")[2]].append(case)
    return {start: by_module[f"test_acme_{noun(start)}"] for start in STARTS}


@pytest.mark.parametrize("start", STARTS)
def test_a_package_passes_its_own_tests(start: str, outcomes: dict[str, list[ET.Element]]) -> None:
    cases = outcomes[start]
    contract = [case for case in cases if case.attrib["name"].startswith("test_contract[")]
    assert len(contract) == len(checks_for(KIND_OF[start]))
    assert len(cases) > len(contract)
    assert [case.attrib for case in cases if case.find("failure") is not None] == []


def test_its_settings_for_pytest_are_sound(installed: Installed) -> None:
    said = installed.call("python", "-m", "pytest", "--collect-only", cwd="acme-scorer")
    assert "configfile: pyproject.toml" in said


def test_they_are_listed_and_their_specs_are_sound(installed: Installed) -> None:
    rows = json.loads(installed.call("ttsi", "plugins", "--json"))["plugins"]
    states = {(row["kind"], row["name"]): row["state"] for row in rows}
    names = {start: f"acme-{noun(start)}/own" for start in STARTS}
    found = [states[KIND_OF[start], names[start]] for start in STARTS]
    assert found == ["ready"] * len(STARTS)
    options = {row["name"]: row["options"]["properties"] for row in rows if not row["builtin"]}
    for start in STARTS:
        assert set(STARTS[start].options) <= set(options[names[start]])
        assert all(option["description"] for option in options[names[start]].values())
    specs = [f"acme-{noun(start)}/spec.json" for start in ROLES]
    installed.call("ttsi", "validate", *specs)


def test_all_eight_work_in_one_run(installed: Installed) -> None:
    spec: dict[str, object] = {"name": "all", "model": "rules"}
    for kind in ROLES.keys() & set(KINDS):
        own = json.loads((installed.folder / f"acme-{noun(kind)}/spec.json").read_text())
        spec[ROLES[kind]] = own[ROLES[kind]]
    (installed.folder / "all.json").write_text(json.dumps(spec))
    installed.call("ttsi", "-q", "eval", "all.json")
    (results,) = installed.folder.glob("runs/all-*/seed-0/results.json")
    told = json.loads(results.read_text())
    assert (told["samples"], told["errors"]) == (4, 0)
    assert (told["adapted"], told["accuracy"]) == (1, 0.75)


def test_the_environment_is_played(installed: Installed) -> None:
    spec = json.loads((installed.folder / "acme-engine/spec.json").read_text())
    own = json.loads((installed.folder / "acme-environment/spec.json").read_text())
    played = spec | {"name": "played", "benchmark": own["benchmark"]}
    (installed.folder / "played.json").write_text(json.dumps(played))
    installed.call("ttsi", "-q", "eval", "played.json")
    (seed,) = installed.folder.glob("runs/played-*/seed-0")
    told = json.loads((seed / "results.json").read_text())
    assert (told["samples"], told["errors"]) == (2, 0)
    rows = [json.loads(line) for line in (seed / "samples.jsonl").read_text().splitlines()]
    # The engine's rules call a tool in every answer, so that the bound ends each turn.
    assert [len(row["steps"]) for row in rows] == [10, 10]


@pytest.mark.skipif(shutil.which("ruff") is None, reason="ruff is not installed")
def test_their_code_is_in_order(installed: Installed) -> None:
    """Names of the shortest and of the greatest length are included."""
    folder = installed.folder / "lengths"
    for start in STARTS:
        package.write(read_names(start, "a/b"), folder / f"short-{start}")
        longest = "x" * LONGEST_DISTRIBUTION + "/" + "y" * LONGEST_ENTRY
        package.write(read_names(start, longest), folder / f"long-{start}")
    installed.call("ruff", "check", "--no-cache", ".")
    installed.call("ruff", "format", "--no-cache", "--check", ".")


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_their_types_are_right(installed: Installed) -> None:
    sources = [f"acme-{noun(start)}/src" for start in STARTS]
    installed.call("python", "-m", "mypy", "--strict", "--cache-dir", ".mypy", *sources)


def test_the_workflow_runs_what_the_readme_says(installed: Installed) -> None:
    yaml = pytest.importorskip("yaml")
    folder = installed.folder / "acme-engine"
    workflow = yaml.safe_load((folder / ".github/workflows/test.yml").read_text())
    steps = workflow["jobs"]["test"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    readme = (folder / "README.md").read_text()
    assert len(commands) == 6
    assert max(map(len, readme.splitlines())) <= 100
    assert [command for command in commands if f"\n{command}\n" not in readme] == []
