"""The command line: help that teaches, errors with a cure, exit codes, no traceback unasked."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _dists import ESTIMATOR, importable, write_dist

from ttsi import __version__, registry
from ttsi.cli import main as cli
from ttsi.cli import schema as schema_command
from ttsi.errors import MissingAsset, SpecError, StorageError, VerificationError
from ttsi.spec import load_spec

SOUND = {
    "name": "sound",
    "benchmark": {"name": "sealtool", "limit": 5},
    "matrix": {"/estimator/threshold": [0.35, 0.95]},
    "seeds": [0, 1],
}


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.json"
    path.write_text(json.dumps(SOUND))
    return path


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    path = tmp_path / "faulty.json"
    path.write_text(json.dumps({"benchmark": "sealtol", "seeds": [-1]}))
    return path


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("TTSI_LOAD_PLUGINS", raising=False)
    lines = "mine = acme_mine:Mine\nbroken = acme_gone:Mine"
    write_dist(tmp_path / "acme", "acme", {"ttsi.estimators": lines}, {"acme_mine": ESTIMATOR})
    with importable(tmp_path / "acme"):
        yield


def raising(error: BaseException) -> Callable[..., Any]:
    def run(*_: object) -> None:
        raise error

    return run


# ---------------------------------------------------------------- help and usage


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for word in (*cli.VERBS, "TTSI_MODEL", "TTSI_LOAD_PLUGINS", "TTSI_OFFLINE", "130", "--debug"):
        assert word in out
    assert max(len(line) for line in out.splitlines()) <= 100
    assert out.count("\n") < 50


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([verb, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: ttsi {verb}" in out
    assert "--debug" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"ttsi {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["evla", "x.json"], 'Did you mean "eval"?'),
        (["validate"], "ttsi validate --help"),
        (["validate", "x.json", "--jsn"], 'Did you mean "--json"?'),
        (["validate", "x.json", "--js"], 'Did you mean "--json"?'),
        (["plugins", "estimater"], 'Did you mean "estimators"?'),
        (["plugins", "chek", "rss_margin"], "Did you mean: ttsi plugins check NAME"),
        (["schema", "spce"], 'Did you mean "spec"?'),
        (["export", "run", "--to", "cvs"], 'Did you mean "csv"? ttsi export --help'),
        (["leaderboard", "vrify", "x"], 'Did you mean "verify"? ttsi leaderboard --help'),
        (["validate", "nowhere.json"], "There is no spec nowhere.json"),
    ],
)
def test_what_cannot_be_meant_is_code_2_with_a_cure(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert words in captured.err + captured.out
    assert "Traceback" not in captured.err


def test_no_verb_shows_the_help_and_is_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "examples:" in captured.err


# ---------------------------------------------------------------- errors become exit codes


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MissingAsset("No model.", where="/model/id", cure="pip install x"), 5, "pip install x"),
        (StorageError("The disk is full."), 1, "The disk is full."),
        (VerificationError("Differs."), 4, "Differs."),
        (SpecError([]), 2, "problems"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 1, "Free some space"),
        (OSError(errno.EROFS, "Read-only file system", "runs/x"), 1, "runs/x"),
        (PermissionError(errno.EACCES, "Permission denied", "runs/x"), 1, "Permission denied."),
        (ZeroDivisionError("by zero"), 1, "internal error: ZeroDivisionError: by zero"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_failure_is_one_message_and_an_exit_code(
    error: BaseException,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(schema_command, "run", raising(error))
    assert cli.main(["schema"]) == code
    captured = capsys.readouterr()
    assert words in captured.err
    assert "Traceback" not in captured.err
    assert "\033" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("argv", [["--debug", "schema"], ["schema", "--debug"]])
def test_debug_shows_the_traceback_before_or_after_the_verb(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(schema_command, "run", raising(ZeroDivisionError("by zero")))
    assert cli.main(argv) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "quiet"),
    [
        (["schema"], False),
        (["-q", "schema"], True),
        (["schema", "-q"], True),
        (["--quiet", "schema"], True),
    ],
)
def test_quiet_reaches_the_verb(
    argv: list[str], quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(schema_command, "run", lambda args: seen.append(args.quiet) or 0)
    assert cli.main(argv) == 0
    assert seen == [quiet]


def test_a_reader_that_goes_away_is_no_complaint() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "ttsi", "schema", "spec"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


# ---------------------------------------------------------------- validate


def test_validate_says_what_would_run(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["validate", str(sound)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"OK  {sound}: sound, 2 cells x 2 seeds\n")
    assert "sealtool  limit=5" in out
    assert cli.main(["-q", "validate", str(sound)]) == 0
    assert capsys.readouterr().out == ""


def test_validate_tells_all_problems_of_all_files(
    sound: Path, faulty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["validate", str(faulty), str(sound), "nowhere.json"]) == 2
    out = capsys.readouterr().out
    for words in ("/benchmark: ", "/seeds/0: ", f"OK  {sound}", "There is no spec nowhere.json"):
        assert words in out


def test_validate_as_json(sound: Path, faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["validate", "--json", str(faulty), str(sound)]) == 2
    bad, good = json.loads(capsys.readouterr().out)["specs"]
    assert (bad["ok"], good["ok"]) == (False, True)
    assert {problem["pointer"] for problem in bad["problems"]} == {"/benchmark", "/seeds/0"}
    assert [cell["values"] for cell in good["cells"]] == [
        {"/estimator/threshold": 0.35},
        {"/estimator/threshold": 0.95},
    ]
    assert good["seeds"] == [0, 1]


@pytest.mark.usefixtures("acme")
def test_validate_is_code_5_where_only_a_plugin_is_at_fault(
    tmp_path: Path, faulty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.json"
    path.write_text(json.dumps({"benchmark": "sealtool", "estimator": "acme/broken"}))
    assert cli.main(["validate", str(path)]) == 5
    assert "pip uninstall acme" in capsys.readouterr().out
    assert cli.main(["validate", str(path), str(faulty)]) == 2


def test_validate_tells_what_does_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sft.json"
    document = {"benchmark": "apibank", "matrix": {"/learner": ["lora_sft", "sft", "icl_train"]}}
    path.write_text(json.dumps(document))
    assert cli.main(["validate", "--json", str(path)]) == 2
    (report,) = json.loads(capsys.readouterr().out)["specs"]
    assert [problem["pointer"] for problem in report["problems"]] == ["/learner", "/learner"]
    assert "'sft' learns from labelled rows" in report["problems"][0]["message"]


def test_validate_tells_the_faults_of_all_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "words.json"
    benchmark = {"name": "quickstart", "instruction": "No tools."}
    generator = {"name": "self", "template": "{seeds} {instruction}"}
    inference = {"name": "pruned", "min_calls": 3, "max_calls": 2}
    document = {"benchmark": benchmark, "generator": generator, "inference": inference}
    path.write_text(json.dumps(document))
    assert cli.main(["validate", "--json", str(path)]) == 2
    (report,) = json.loads(capsys.readouterr().out)["specs"]
    assert [(each["pointer"], each["cure"]) for each in report["problems"]] == [
        ("/benchmark/instruction", "Write {tools} where it is to stand."),
        ("/generator/template", "Did you mean {seed}?"),
        ("/inference", "Raise max_calls, or lower min_calls."),
    ]


def test_a_key_that_is_not_set_is_no_fault_of_the_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    path = tmp_path / "teacher.json"
    path.write_text(json.dumps({"benchmark": "sealtool", "generator": "teacher"}))
    assert cli.main(["validate", str(path)]) == 0


def test_validate_takes_the_changes_that_eval_takes(
    sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["validate", str(sound), "--set", "benchmark.limit=7", "--json"]) == 0
    changed = json.loads(capsys.readouterr().out)["specs"][0]["cells"][0]["digest"]
    (first, _) = load_spec(sound, {"benchmark.limit": 7})
    assert changed == first.digest
    assert cli.main(["validate", str(sound), "--set", "estimator.threshold=7"]) == 2
    assert "set by the command line" in capsys.readouterr().out


def test_validate_takes_a_spec_to_serve_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    specs = Path(__file__).parents[1] / "specs"
    assert cli.main(["validate", str(specs / "serve-smollm2.json")]) == 0
    assert "benchmark  none: a spec to serve" in capsys.readouterr().out
    # What cannot be served either lacks its benchmark.
    path = tmp_path / "neither.json"
    for neither in ({"budget": 0.5}, {"matrix": {"/learner": ["lora_sft", "icl"]}}):
        path.write_text(json.dumps(neither))
        assert cli.main(["validate", str(path)]) == 2
        assert "/benchmark: " in capsys.readouterr().out


def test_every_spec_of_the_repository_is_sound() -> None:
    specs = Path(__file__).parents[1] / "specs"
    assert cli.main(["-q", "validate", *map(str, sorted(specs.rglob("*.json")))]) == 0


# ---------------------------------------------------------------- plugins and schema


@pytest.mark.usefixtures("acme")
def test_plugins_says_what_each_is_for_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["plugins"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    said = " ".join(out.split())
    assert "acme/mine (acme 1.5)" in said
    assert "acme/broken (acme 1.5) broken: " in said
    assert "No module named 'acme_gone'" in said
    for kind in registry.KINDS:
        for name, plugin in registry.discover(kind).items():
            if plugin.builtin:
                gist = registry.description(registry.load(kind, name)).partition("\n\n")[0]
                assert gist, name
                assert f"{name} {' '.join(gist.split())}" in said


@pytest.mark.usefixtures("acme")
def test_plugins_shows_one_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins", "estimators", "acme/mine"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("estimators acme/mine options: depth=2 ")
    assert "weight=1" in said
    assert "from acme 1.5, acme_mine:Mine, in /" in said
    assert cli.main(["plugins", "estimators", "acme/broken"]) == 0
    assert "broken: " in capsys.readouterr().out
    assert cli.main(["plugins", "estimator", "rss_margin", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["plugins"]
    assert row["does"].startswith("The paper's: ")
    assert cli.main(["plugins", "estimators", "rss_margn"]) == 2
    assert 'Did you mean "rss_margin"?' in capsys.readouterr().err


@pytest.mark.usefixtures("acme")
def test_plugins_as_json_and_by_singular(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins", "estimator", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["plugins"]
    by_name = {row["name"]: row for row in rows}
    assert by_name["acme/mine"]["options"]["properties"]["depth"]["maximum"] == 9
    assert by_name["acme/broken"]["state"] == "broken"
    assert {row["kind"] for row in rows} == {"estimators"}


def test_schema_prints_each_of_its_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema"]) == 0
    names = capsys.readouterr().out.split()
    assert "spec" in names
    for name in names:
        assert cli.main(["schema", name]) == 0
        assert "$schema" in json.loads(capsys.readouterr().out)


def test_errors_are_bold_on_a_terminal_unless_no_color(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert cli.main(["nope"]) == 2
    assert "\033[1;31merror:\033[0m" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    assert cli.main(["nope"]) == 2
    assert "\033" not in capsys.readouterr().err
