"""Whatever a command is given: a message with what, where and cure, and an exit code that
`ttsi --help` tells of; never a traceback, never an "internal error".
"""

from __future__ import annotations

import gzip
import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from told import LINE, assert_told, finished, here, run

from ttsi._common.inputs import read_input, shown, to_utf8
from ttsi.errors import UsageError
from ttsi_plugins.engines.transformers.hub import download_command

__all__ = ["finished", "here"]


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
    "runs": ["runs", "GIVEN"],
    "compare A": ["compare", "GIVEN", "RUN"],
    "compare B": ["compare", "RUN", "GIVEN"],
    "export": ["export", "GIVEN", "-o", "records.csv"],
    "export-adapter": ["export-adapter", "GIVEN", "rows/1", "adapter"],
    "submit": ["leaderboard", "submit", "GIVEN", "--as", "a/b", "--dry-run"],
    "plugins": ["plugins", "GIVEN"],
    "plugins check": ["plugins", "check", "GIVEN"],
    "schema": ["schema", "GIVEN"],
    "new-plugin": ["new-plugin", "estimator", "GIVEN"],
    "set": ["eval", "spec.json", "--out", "out", "--set", "name=GIVEN"],
    "model": ["validate", "GIVEN", "spec.json"],
}


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
    "export": ["export", "RUN", "-o", "GIVEN"],
    "export to parquet": ["export", "RUN", "--to", "parquet", "-o", "GIVEN"],
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
