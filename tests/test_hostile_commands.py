"""Whatever a command is given: a message with what, where and cure, and an exit code that
`ttsi --help` tells of; never a traceback, never an "internal error".

What a command reads is tried in this process; what it writes to, in processes of their own.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ttsi
from ttsi import cli
from ttsi.errors import UsageError
from ttsi.inputs import read_input, shown, to_utf8
from ttsi_plugins.engines.transformers.hub import download_command

SPEC = {
    "name": "small",
    "model": {"id": "scripted"},
    "engine": "ttsi-fakes/scripted",
    "benchmark": {"name": "ttsi-fakes/rows", "rows": 4},
    "estimator": "rss_margin",
    "inference": {"name": "direct", "decoding": "greedy"},
}
LINE = '{"id": "rows/0", "text": "[]"}\n'


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one seed."""
    (cell,) = ttsi.evaluate(SPEC, out=tmp_path_factory.mktemp("runs"))
    return cell.folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    return tmp_path


def made(name: str, data: bytes) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / name).write_bytes(data)
        return name

    return make


def linked(folder: Path) -> str:
    (folder / "loop").symlink_to("loop")
    return "loop"


def piped(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "pipe"


def kept(folder: Path) -> str:
    (folder / "kept").mkdir()
    return "kept"


def under_a_file(folder: Path) -> str:
    (folder / "file").touch()
    return "file/under"


GIVEN: dict[str, Callable[[Path], str]] = {
    "null": made("null.json", b"null"),
    "empty file": made("empty", b""),
    "list": made("list.json", b"[1]"),
    "text": made("text.json", b'"x"'),
    "too deep": made("deep.json", b"[" * 10**5),
    "latin": made("latin.json", b'{"name": "caf\xe9"}'),
    "utf-16": made("utf16.json", "{}".encode("utf-16")),
    "bytes": made("bytes", bytes(range(256)) * 9),
    "cut gzip": made("cut.gz", gzip.compress(LINE.encode() * 99)[:-9]),
    "half letters": made("half.json", b'{"benchmark": "\\ud800", "\\udc00": "\\u0000"}'),
    "folder": kept,
    "link to itself": linked,
    "pipe": piped,
    "under a file": under_a_file,
    "nothing there": lambda folder: "nowhere",
    "no name": lambda folder: "",
    "overlong": lambda folder: "x" * 5000,
    "overlong path": lambda folder: "y/" * 3000,
    "NUL": lambda folder: "a\0b",
    "no UTF-8": lambda folder: "a\udcff",
    "device": lambda folder: "/dev/zero",
    "unreadable": lambda folder: "/proc/self/mem",
}

READING = {
    "validate": ["validate", "GIVEN"],
    "validate as JSON": ["validate", "GIVEN", "--json"],
    "eval": ["eval", "GIVEN", "--out", "out", "--progress", "none"],
    "calibrate": ["calibrate", "GIVEN", "--out", "out"],
    "score": ["score", "GIVEN", "--benchmark", "ttsi-fakes/rows"],
    "report": ["report", "GIVEN", "-o", "page.html"],
    "compare A": ["compare", "GIVEN", "RUN"],
    "compare B": ["compare", "RUN", "GIVEN"],
    "export-adapter": ["export-adapter", "GIVEN", "rows/1", "adapter"],
    "submit": ["leaderboard", "submit", "GIVEN", "--as", "a/b", "--dry-run"],
    "plugins": ["plugins", "GIVEN"],
    "plugins check": ["plugins", "check", "GIVEN"],
    "schema": ["schema", "GIVEN"],
    "new-plugin": ["new-plugin", "estimator", "GIVEN"],
    "set": ["eval", "spec.json", "--out", "out", "--set", "name=GIVEN"],
    "model": ["validate", "GIVEN", "spec.json"],
}


@functools.cache
def documented() -> frozenset[int]:
    told = cli._HELP.split("exit codes:")[1]
    return frozenset(int(word) for word in told.split() if word.isdigit())


def run(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = cli.main(argv)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def assert_told(code: int, said: str) -> None:
    assert code in documented()
    assert "Traceback" not in said
    assert "internal error" not in said
    if code:
        assert "cure" in said, said
        assert len(said) < 12_000
        assert "has 0 problems" not in said


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("command", READING)
def test_what_cannot_be_read_is_told_of(
    command: str, given: str, here: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = GIVEN[given](here)
    words = {"GIVEN": value, "RUN": str(finished)}
    argv = [
        words.get(word, word.replace("GIVEN", value) if "=" in word else word)
        for word in READING[command]
    ]
    code, said = run(argv, capsys)
    assert_told(code, said)


WRITING = {
    "eval": ["eval", "spec.json", "--progress", "none", "--out", "GIVEN"],
    "calibrate": ["calibrate", "spec.json", "--out", "GIVEN"],
    "report": ["report", "RUN", "-o", "GIVEN"],
    "export-adapter": ["export-adapter", "RUN", "rows/1", "GIVEN"],
    "submit": ["leaderboard", "submit", "RUN", "--as", "a/b", "--to", "GIVEN"],
    "render": ["leaderboard", "render", "--to", "GIVEN"],
    "new-plugin": ["new-plugin", "estimator", "acme-x", "--to", "GIVEN"],
}
PLACES = ("folder", "link to itself", "pipe", "under a file", "nothing there", "overlong",
          "overlong path", "NUL", "no UTF-8", "empty file")  # fmt: skip


@pytest.mark.parametrize("given", PLACES)
@pytest.mark.parametrize("command", WRITING)
def test_what_cannot_be_written_is_told_of(
    command: str, given: str, here: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"GIVEN": GIVEN[given](here), "RUN": str(finished)}
    code, said = run([words.get(word, word) for word in WRITING[command]], capsys)
    assert_told(code, said)


# ---------------------------------------------------------------- a run's folder

FILES = ("spec.resolved.json", "env.json", "results.json", "samples.jsonl", "manifest.json")
CONTENTS = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "text": b'"x"\n',
    "number": b"1\n",
    "bytes": b"\xff\xfe\x00",
    "too deep": b"[" * 10**5 + b"\n",
}
OF_A_RUN = ("report", "compare A", "compare B", "calibrate", "export-adapter", "submit")


def copied(finished: Path, here: Path) -> Path:
    shutil.copytree(finished, here / "run")
    return here / "run" / "seed-0"


def look(
    command: str, here: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    words = {"GIVEN": str(here / "run"), "RUN": str(finished)}
    code, said = run([words.get(word, word) for word in READING[command]], capsys)
    assert_told(code, said)
    return code, said


@pytest.mark.parametrize("content", [*CONTENTS, "missing", "a folder", "a link to itself"])
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("command", OF_A_RUN)
def test_a_damaged_run_is_told_of(
    command: str,
    file: str,
    content: str,
    here: Path,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = copied(finished, here) / file
    path.unlink()
    if content == "a folder":
        path.mkdir()
    elif content == "a link to itself":
        path.symlink_to(path.name)
    elif content != "missing":
        path.write_bytes(CONTENTS[content])
    look(command, here, finished, capsys)


@pytest.mark.parametrize("value", [None, 1, "x", [1], {"a": 1}, True])
@pytest.mark.parametrize("command", ["report", "compare B", "calibrate"])
def test_a_record_of_other_types_is_told_of(
    command: str, value: Any, here: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(finished, here) / "samples.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for key in rows[1]:
        odd = rows[1] | {key: value}
        lines = [json.dumps(row) + "\n" for row in (rows[0], odd, *rows[2:])]
        path.write_text("".join(lines))
        look(command, here, finished, capsys)
    for key in ("estimate", "base", "final", "base_score"):
        for inner in rows[1][key]:
            odd = rows[1] | {key: rows[1][key] | {inner: value}}
            path.write_text("".join(json.dumps(row) + "\n" for row in (rows[0], odd, *rows[2:])))
            look(command, here, finished, capsys)


@pytest.mark.parametrize("value", [None, "x", -1])
def test_results_of_other_types_are_told_of_and_the_cure_works(
    value: Any, here: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(finished, here) / "results.json"
    results = json.loads(path.read_text())
    for key in results:
        path.write_text(json.dumps(results | {key: value}))
        code, said = look("report", here, finished, capsys)
        if code:
            assert "Delete results.json there" in said
    path.unlink()
    shutil.move(here / "run", here / "out" / finished.name)
    assert run(["eval", "spec.json", "--out", "out", "--progress", "none"], capsys)[0] == 0
    made_anew = json.loads((here / "out" / finished.name / "seed-0" / "results.json").read_text())
    assert made_anew["accuracy"] == results["accuracy"]


@pytest.mark.parametrize("command", OF_A_RUN)
def test_a_run_that_was_killed_before_its_first_sample_is_told_of(
    command: str, here: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = copied(finished, here)
    for name in ("results.json", "manifest.json", "predictions.jsonl"):
        (seed / name).unlink()
    (seed / "samples.jsonl").write_bytes(b"")
    code, _ = look(command, here, finished, capsys)
    assert (code == 0) == (command == "report")


@pytest.mark.parametrize("name", ["seed-x", "seed-\u00b2", "seed-", "seed--"])
@pytest.mark.parametrize("command", OF_A_RUN)
def test_a_seeds_folder_of_another_name_is_told_of(
    command: str, name: str, here: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied(finished, here).rename(here / "run" / name)
    assert look(command, here, finished, capsys)[0] != 0


# ---------------------------------------------------------------- what can be read after all


def test_predictions_are_read_as_gzip_has_packed_them(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "plain").write_text(LINE)
    (here / "packed").write_bytes(gzip.compress(LINE.encode()))
    scored = [
        run(["score", name, "--benchmark", "ttsi-fakes/rows", "--json"], capsys)
        for name in ("plain", "packed")
    ]
    assert scored[0] == scored[1]
    assert scored[0][0] == 0


def test_a_pipe_is_read_as_soon_as_somebody_writes(here: Path) -> None:
    os.mkfifo(here / "pipe")
    opened = threading.Event()

    def write() -> None:
        with (here / "pipe").open("wb") as pipe:
            opened.set()
            pipe.write(b"some")
            pipe.flush()
            pipe.write(b"thing" * 100_000)

    # Open for reading already, so that the writer is there before the file is read.
    holder = os.open(here / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    thread = threading.Thread(target=write)
    thread.start()
    assert opened.wait(20)
    data = read_input(here / "pipe", noun="file", cure="")
    thread.join()
    os.close(holder)
    assert data == b"some" + b"thing" * 100_000


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("caf\u00e9 \u201c".encode("cp1252"), "plain"),
        ("caf\u00e9 \u201c".encode("utf-16"), "two words"),
        ("caf\u00e9 \u201c".encode("cp1252"), "-dash"),
    ],
)
@pytest.mark.skipif(shutil.which("iconv") is None, reason="no iconv")
def test_the_command_that_saves_as_utf8_works_as_printed(
    data: bytes, name: str, here: Path
) -> None:
    (here / name).write_bytes(data)
    subprocess.run(to_utf8(data, Path(name)), shell=True, check=True)
    assert (here / "utf-8.txt").read_text(encoding="utf-8-sig") == "caf\u00e9 \u201c"


@pytest.mark.parametrize("name", ["a folder", "-x", "it's"])
def test_the_option_that_names_a_file_instead_works_as_printed(
    name: str, here: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / name).mkdir()
    _, said = run(["report", str(finished), f"-o{name}"], capsys)
    cure = said.split("cure:")[1].strip()
    assert run(["report", str(finished), *shlex.split(cure)], capsys)[0] == 0
    assert (here / name / "report.html").is_file()


def test_a_specs_words_are_quoted_in_a_command_to_paste() -> None:
    command = download_command("owner/name", "main; rm -rf ~ `id` $(id)")
    assert shlex.split(command) == [
        "hf",
        "download",
        "owner/name",
        "--revision",
        "main; rm -rf ~ `id` $(id)",
    ]


def test_a_path_is_shown_without_what_a_terminal_obeys() -> None:
    assert shown(Path("a\x1b[31mb\u202e")) == "a\\x1b[31mb\\u202e"
    assert len(shown("x" * 9999)) < 300
    with pytest.raises(UsageError) as caught:
        read_input(Path("\x1b[2J"), noun="file", cure="")
    assert "\x1b" not in str(caught.value)


# ---------------------------------------------------------------- where it is written to

TTSI = [sys.executable, "-c", "from ttsi.cli import main; raise SystemExit(main())"]
SAYING = {
    "plugins": ["plugins"],
    "plugins as JSON": ["plugins", "--json"],
    "schema": ["schema", "spec"],
    "validate": ["validate", "spec.json"],
    "score": ["score", "lines", "--benchmark", "ttsi-fakes/rows"],
    "compare": ["compare", "RUN", "RUN"],
    "calibrate": ["calibrate", "RUN"],
    "eval": ["eval", "spec.json", "--out", "out", "--progress", "lines"],
    "help": ["--help"],
    "fault": ["validate", "nowhere"],
    "usage": ["validate"],
}


@pytest.fixture
def shell(here: Path, finished: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    (here / "lines").write_text(LINE)
    paths = [str(Path(__file__).parent / "fakes"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def started(command: str, redirected: str) -> subprocess.CompletedProcess[str]:
        words = [str(finished) if word == "RUN" else word for word in SAYING[command]]
        script = f'"$@" {redirected}'
        return subprocess.run(
            ["bash", "-c", script, "bash", *TTSI, *words],
            capture_output=True,
            text=True,
            env=environment,
            timeout=300,
            check=False,
        )

    return started


def assert_clean(done: subprocess.CompletedProcess[str]) -> None:
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert "internal error" not in said
    assert done.returncode in documented()


@pytest.mark.parametrize("command", SAYING)
def test_a_full_stdout_is_told_of(command: str, shell: Any) -> None:
    done = shell(command, "> /dev/full")
    assert_clean(done)
    if command == "usage":
        assert done.returncode == 2
    else:
        assert done.returncode != 0
        assert "cure:" in done.stderr or command == "fault"


@pytest.mark.parametrize("command", ["plugins", "score", "eval", "fault"])
@pytest.mark.parametrize("redirected", [">&-", "2>&-", ">&- 2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_are_as_dev_null(command: str, redirected: str, shell: Any) -> None:
    done = shell(command, redirected)
    assert_clean(done)
    assert done.returncode == (2 if command == "fault" else 0)


def test_what_is_written_to_a_closed_stdout_goes_into_no_journal(shell: Any, here: Path) -> None:
    assert shell("eval", ">&- 2>&-").returncode == 0
    (folder,) = (here / "out").glob("small-*/seed-0")
    for line in (folder / "samples.jsonl").read_text().splitlines():
        assert json.loads(line)["error"] == ""


@pytest.mark.parametrize("command", ["plugins", "plugins as JSON", "schema", "compare"])
@pytest.mark.parametrize("reader", ["| true", "| head -1 > /dev/null", "2>&1 | true"])
def test_a_reader_that_goes_away_is_no_fault(command: str, reader: str, shell: Any) -> None:
    done = shell(command, f"{reader}; exit ${{PIPESTATUS[0]}}")
    assert_clean(done)
    assert done.returncode in (0, 1)
    assert done.stderr == "" or command == "plugins"


@pytest.mark.parametrize("command", ["plugins", "fault", "eval"])
def test_a_full_stderr_leaves_the_exit_code(command: str, shell: Any) -> None:
    done = shell(command, "2> /dev/full")
    assert_clean(done)
    assert done.returncode == (2 if command == "fault" else 0)


def test_a_stdout_that_is_not_utf8_gets_escapes(shell: Any, monkeypatch: Any) -> None:
    done = shell("score", "| cat")
    assert done.returncode == 0
