"""Malicious submissions: each is refused, with its own message and in little memory."""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edits import IDENTITY, RESULTS, SAMPLES, SESSIONS, SPEC, put, session
from submissions import copied, edit, faults, kinds, read, sealed, submitted, write

from ttsi.leaderboard import safe
from ttsi.leaderboard.faults import Unsound
from ttsi.leaderboard.publishing import private, repeats
from ttsi.leaderboard.submission import HEAD
from ttsi.leaderboard.verify import verify
from ttsi.types import Task

ROWS = {"name": "ttsi-fakes/rows", "rows": 4}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return submitted(tmp_path_factory.mktemp("honest"), benchmark=ROWS)


@pytest.fixture
def mine(honest: Path, tmp_path: Path) -> Path:
    return copied(honest, tmp_path)


def _sparse(path: Path) -> None:
    with path.open("r+b" if path.exists() else "wb") as file:
        file.truncate(2**30)


def _zip_bomb() -> bytes:
    """Return an archive with a kilobyte for every megabyte that it would unpack to."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("samples.jsonl", b"\0" * 2**24)
    return packed.getvalue()


def _replace_by_link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def _folder_by_link(folder: Path) -> None:
    moved = folder.parents[3] / "elsewhere"
    (folder / "seed-0").rename(moved)
    (folder / "seed-0").symlink_to(moved)


def _hard_link(folder: Path) -> None:
    (folder.parents[3] / "twin").hardlink_to(folder / SESSIONS)


def _pipe(folder: Path) -> None:
    (folder / IDENTITY).unlink()
    os.mkfifo(folder / IDENTITY)


def _dots(folder: Path) -> None:
    fake = {"bytes": 1, "digest": "sha256:" + "0" * 64}
    edit(
        folder,
        "seed-0/manifest.json",
        lambda manifest: manifest["files"].update({"../../../../etc/passwd": fake}),
    )


def _brackets(name: str, count: int = 10**6) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text("[" * count + "\n") and None


def _bytes(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(data) and None


def _text(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def _many_files(folder: Path) -> None:
    for number in range(safe.MAX_ENTRIES + 1):
        (folder / f"{number}.txt").touch()


def _many_large_seeds(folder: Path) -> None:
    for number in range(1, 7):
        shutil.copytree(folder / "seed-0", folder / f"seed-{number}")
        with (folder / f"seed-{number}" / "samples.jsonl").open("r+b") as file:
            file.truncate(safe.MAX_LINES)


def _many_sessions(folder: Path) -> None:
    (folder / SESSIONS).write_text(json.dumps({"sessions": [1] * 10**5}))


HOSTILE: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "1 GB of samples": (lambda f: _sparse(f / SAMPLES), "size", "1,073,741,824 bytes"),
    "1 GB of results": (lambda f: _sparse(f / RESULTS), "size", "1,048,576 are the most"),
    "too much together": (_many_large_seeds, "size", "128 MiB together"),
    "a long line": (_bytes(SAMPLES, b"1" * 2**21 + b"\n"), "size", "a line of 2,097,152"),
    "many files": (_many_files, "size", "more than 1000 files"),
    "a zip bomb": (_bytes("samples.zip", _zip_bomb()), "archive", "None is unpacked"),
    "a zip bomb in disguise": (_bytes(SAMPLES, _zip_bomb()), "archive", "under another name"),
    "packed samples": (_bytes(SAMPLES, gzip.compress(b"{}")), "archive", "under another name"),
    "a pickle": (_bytes("seed-0/records.pkl", b"\x80\x04."), "archive", "binary file"),
    "a path with ..": (_dots, "path", "leads out of the folder"),
    "a link for a file": (
        lambda f: _replace_by_link(f / IDENTITY, Path("/etc/passwd")),
        "symlink",
        "symbolic link",
    ),
    "a link for a folder": (_folder_by_link, "symlink", "symbolic link"),
    "a hard link": (_hard_link, "hard-link", "another name elsewhere"),
    "a pipe": (_pipe, "special", "pipe, socket or device"),
    "a script": (_bytes("run.py", b"print()"), "unknown-file", "does not belong"),
    "a file like another": (_bytes("Submission.json", b"{}"), "unknown-file", "does not belong"),
    "a folder": (lambda f: (f / "seed-0/more").mkdir(), "unknown-file", "does not belong"),
    "a folder for a file": (
        lambda f: ((f / SESSIONS).unlink(), (f / SESSIONS).mkdir()),
        "unknown-file",
        "does not belong",
    ),
    "no UTF-8": (_bytes(RESULTS, b'{"name": "\xff"}'), "encoding", "not UTF-8 (byte 10)"),
    "no UTF-8 in a line": (_bytes(SAMPLES, b"\xc3\x28\n"), "encoding", "not UTF-8 (byte 0)"),
    "brackets in a line": (_brackets(SAMPLES), "depth", "nested more than 80"),
    "brackets in the head": (_brackets(HEAD), "depth", "nested more than 80"),
    "a key twice": (_text(RESULTS, '"seed": 0', '"seed": 1, "seed": 0'), "json", "'seed' stands"),
    "no number": (_text(RESULTS, '"correct": ', '"correct": NaN, "x": '), "json", "'NaN'"),
    "too large a number": (
        _text(SESSIONS, '"cores": ', '"cores": 1e999, "x": '),
        "json",
        "'1e999'",
    ),
    "a number of many digits": (
        lambda f: edit(f, SESSIONS, session("cores", 10**300)),
        "schema",
        "a number above",
    ),
    "a torn line": (_bytes(SAMPLES, b'{"id": "rows/0"'), "json", "torn"),
    "an empty file": (_bytes(SAMPLES, b""), "dropped", "no sample"),
    "half a character": (
        _text(SESSIONS, '"processor": "', '"processor": "\\ud800'),
        "encoding",
        "half of a character",
    ),
    "a version that a terminal obeys": (
        lambda f: edit(f, SESSIONS, session("python", "3\x1b[2J")),
        "schema",
        "sessions/0/python is not of its schema",
    ),
    "1 GB of identity": (lambda f: _sparse(f / IDENTITY), "size", "1,048,576 are the most"),
    "1 GB of sessions": (lambda f: _sparse(f / SESSIONS), "size", "1,048,576 are the most"),
    "brackets in the identity": (_brackets(IDENTITY, 10**5), "depth", "nested more than 80"),
    "brackets in the sessions": (_brackets(SESSIONS, 10**5), "depth", "nested more than 80"),
    "no number in the identity": (_text(IDENTITY, '"seed": 0', '"seed": NaN'), "json", "'NaN'"),
    "a link for the sessions": (
        lambda f: _replace_by_link(f / SESSIONS, Path("/etc/passwd")),
        "symlink",
        "symbolic link",
    ),
    "an unknown key in the identity": (
        _text(IDENTITY, '"seed"', '"payload": 1, "seed"'),
        "schema",
        "payload",
    ),
    "a path for a date": (
        lambda f: edit(f, IDENTITY, put("date", "../../etc")),
        "schema",
        "date is not of its schema",
    ),
    "no object for an identity": (_bytes(IDENTITY, b"[1]"), "schema", "it is not of its schema"),
    "no object for the weights": (
        lambda f: edit(f, IDENTITY, put("engine", [])),
        "schema",
        "engine is not of its schema",
    ),
    "no sessions": (_bytes(SESSIONS, b'{"sessions": []}'), "schema", "sessions is not of its"),
    "many sessions": (_many_sessions, "schema", "sessions is not of its schema"),
    "an unknown key": (_text(SESSIONS, '"cores"', '"payload": "x", "cores"'), "schema", "payload"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_refused(name: str, mine: Path) -> None:
    harm, kind, message = HOSTILE[name]
    harm(mine)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = faults(mine)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    told = [fault.what for fault in found if fault.kind == kind]
    assert any(message in what for what in told), found
    assert grown < 200 * 2**10, "kilobytes"
    if kind in ("size", "symlink", "special"):
        assert "missing-file" not in {fault.kind for fault in found}


def test_each_has_a_message_of_its_own(honest: Path, tmp_path: Path) -> None:
    told = []
    names = (
        "1 GB of samples",
        "a zip bomb",
        "a path with ..",
        "a link for a file",
        "no UTF-8",
        "brackets in a line",
    )
    for name in names:
        folder = copied(honest, tmp_path / name)
        HOSTILE[name][0](folder)
        told.append(faults(folder)[0].what)
    assert len(set(told)) == len(names)


def test_names_are_shown_without_what_a_terminal_obeys(mine: Path) -> None:
    (mine / "\x1b[2J\nok").touch()
    edit(mine, RESULTS, lambda results: results | {"name": "\x1b]0;owned\x07"})
    told = "".join(map(str, faults(mine)))
    (mine / "\x1b[2J\nok").unlink()
    told += "".join(map(str, faults(mine)))
    assert "owned" in told
    assert all(char.isprintable() or char == "\n" for char in told)
    assert "\nok" not in told


def test_brackets_in_strings_do_not_count_and_open_strings_end() -> None:
    assert safe.depth('{"a": "[[[[\\"[["}') == 1
    assert safe.depth('["' + '\\"' * 10**5 + "[[") == 1
    assert safe.depth('["abc\\') == 1
    assert safe.depth("[" * 7 + "]" * 7) == 7
    with pytest.raises(Unsound, match=r"digits"):
        safe.parse("1" * 10**5, "here")


def test_links_above_a_submission_are_not_followed(mine: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(mine.parent)
    assert kinds(link / mine.name) >= {"symlink"}
    tree = mine.parents[2]
    (tree / "linked").symlink_to(mine.parents[1])
    found = {v.path.name: {f.kind for f in v.faults} for v in verify([tree], third_party=True)}
    assert found == {mine.name: set(), "linked": {"symlink"}}
    (tmp_path / "root").symlink_to(tree)
    (verdict,) = verify([tmp_path / "root"], third_party=True)
    assert [fault.kind for fault in verdict.faults] == ["symlink"]


def test_what_lies_beside_submissions_is_told(mine: Path) -> None:
    tree = mine.parents[2]
    (tree / "quickstart").mkdir()
    (tree / "bomb.zip").touch()
    (tree / ".gitattributes").touch()
    (mine.parent / ("0" * 16)).mkdir()
    (tree / mine.parents[1].name / mine.parent.name.upper()).mkdir()
    found = {v.path.name: {f.kind for f in v.faults} for v in verify([tree], third_party=True)}
    assert found[mine.name] == set()
    assert found["quickstart"] == {"missing-file"}
    assert found["bomb.zip"] == {"archive"}
    assert found["0" * 16] == {"missing-file"}
    assert found[mine.parent.name.upper()] in ({"name"}, {"missing-file"})
    assert ".gitattributes" not in found


# ---------------------------------------------------------------- nothing is executed or imported


def test_plugins_that_a_spec_names_are_not_imported(mine: Path, tmp_path: Path) -> None:
    """An installed package that leaves a mark when it is imported."""
    folder = _marking_package(tmp_path)
    spec, roles = read(mine / SPEC), ("benchmark", "estimator", "learner", "scorer")
    for role in roles:
        spec[role] = {"name": "evil/evil"}
    write(mine / SPEC, spec)
    edit(
        mine,
        IDENTITY,
        lambda identity: identity["plugins"].update(
            {role: {"name": "evil/evil", "distribution": "evil", "version": "1"} for role in roles}
        ),
    )
    done = _verify_elsewhere(sealed(mine), folder)
    assert done.returncode == 4
    assert "is a third party's, and is not loaded" in done.stdout
    assert not (folder / "imported").exists()


def _marking_package(root: Path) -> Path:
    folder = root / "site"
    about = folder / "evil-1.dist-info"
    about.mkdir(parents=True)
    mark = f"import pathlib; pathlib.Path({str(folder / 'imported')!r}).touch()\nclass Evil: ...\n"
    (folder / "evil_module.py").write_text(mark)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    groups = ("benchmarks", "estimators", "learners", "scorers")
    entries = "\n".join(f"[ttsi.{group}]\nevil = evil_module:Evil\n" for group in groups)
    (about / "entry_points.txt").write_text(entries)
    return folder


def _verify_elsewhere(folder: Path, path: Path | None = None) -> Any:
    """Run `ttsi leaderboard verify` in a separate process that also reports its imports."""
    code = textwrap.dedent(f"""
        import sys
        from ttsi.cli.main import main
        code = main(["leaderboard", "verify", {str(folder)!r}])
        print("IMPORTED", *sorted({{name.partition(".")[0] for name in sys.modules}}))
        sys.exit(code)
    """)
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )


def test_verify_imports_nothing_heavy(tmp_path: Path) -> None:
    """The submission uses a built-in benchmark, so that no flag is needed."""
    quickstart = {"name": "quickstart", "limit": 3}
    folder = submitted(tmp_path, benchmark=quickstart, estimator="never")
    done = _verify_elsewhere(folder, Path(__file__).parent / "fakes")
    assert done.returncode == 0, done.stdout + done.stderr
    imported = set(done.stdout.splitlines()[-1].split()[1:])
    assert "ttsi_benchmarks" in imported
    heavy = {"torch", "transformers", "peft", "vllm", "openai", "ray", "xgrammar", "jinja2"}
    assert imported.isdisjoint(heavy | {"ttsi_fakes", "requests"})


def test_boards_take_one_way_of_scoring(tmp_path: Path) -> None:
    folder = submitted(tmp_path, benchmark={"name": "quickstart", "limit": 3}, estimator="never")
    assert faults(folder, third_party=False) == []
    edit(folder, SPEC, lambda spec: spec["scorer"].update(coerce=False))
    assert "scorer" in kinds(sealed(folder), third_party=False)


# ---------------------------------------------------------------- what is private, what is copied


@pytest.mark.parametrize(
    "text",
    [
        "/data/models/mine",
        "~/model",
        "C:\\models\\x",
        "see /Users/jane/x",
        "http://jane:secret@host/v1",
        "sk-proj-" + "a" * 30,
        "hf_" + "a" * 34,
    ],
)
def test_private_texts_are_found(text: str) -> None:
    assert [pointer for pointer, _ in private({"a": [text]})] == ["/a/0"]


@pytest.mark.parametrize(
    "text",
    [
        "Qwen/Qwen2.5-1.5B-Instruct",
        "hf-internal-testing/tiny-random-LlamaForCausalLM",
        "https://api.example.com/v1",
        "Linux-6.1.0-x86_64-with-glibc2.36",
        "Intel(R) Xeon(R) @ 2.20GHz",
        "cuda:0",
        "2026-11-21T22:38:31+00:00",
    ],
)
def test_public_texts_are_left_alone(text: str) -> None:
    assert list(private({"a": text})) == []


def test_pieces_of_a_task_are_found() -> None:
    seed = "Please book me a quiet table for four at Da Pino tonight, near the window"
    task = Task("t/0", (), "You may call these tools: book", seed)
    assert repeats("So: book me a quiet table for four at Mario's", task)
    assert repeats(json.dumps({"input": seed.upper()}), task)
    assert not repeats("book me a quiet table for five at Da Pino", task)
    assert not repeats("", task)
    short = Task("t/1", (), "", "Feed Rex!")
    assert repeats("please feed  rex now", short)
    assert not repeats("please feed Tom now", short)
