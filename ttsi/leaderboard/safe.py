"""Reading of untrusted files.

Names come from the folder, never from a file's content. Only plain files of bounded size are
opened; links are not followed; text must be UTF-8; the depth of JSON is checked before it is
parsed. Nothing here unpacks, unpickles or imports.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from ttsi.answers.literals import MAX_DEPTH
from ttsi.leaderboard.faults import Fault, Unsound, shown
from ttsi.types import JSON

MIB = 2**20
MAX_JSON = MIB
MAX_LINES = 32 * MIB
MAX_LINE = MIB
MAX_TOTAL = 128 * MIB
MAX_ENTRIES = 1000
"""Limits: bytes of a JSON file and of a JSON Lines file, characters of a line, bytes of a
submission, and entries in its folders."""

DEEPEST = MAX_DEPTH + 16
"""The most levels of nesting in JSON: those of the deepest answer, and of the record around it."""

_ARCHIVE = re.compile(r"\.(zip|gz|tgz|tar|bz2|xz|zst|lz4|7z|rar|br|whl|pt|pth|bin|pkl|pickle|npz)$")
_MAGIC = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf")
_NOTHING = re.compile(r"(?!)")
# An unclosed string extends to the end of the text, so that scanning takes linear time.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.|\\\Z)*+(?:"|\Z)|[\[\]{}]', re.DOTALL)


def listing(folder: Path, wanted: re.Pattern[str]) -> tuple[dict[str, int], list[Fault]]:
    """Return the sizes in bytes of the `wanted` files in a submission's folder, and all faults.

    `wanted` matches relative names, with `/` between parts and at the end of a folder's name. No
    file is opened.
    """
    sizes: dict[str, int] = {}
    faults: list[Fault] = []
    for count, (name, entry) in enumerate(_walk(folder, "", wanted)):
        if count == MAX_ENTRIES:
            what = f"there are more than {MAX_ENTRIES} files."
            faults.append(Fault("size", ".", what, "Submit fewer seeds at a time."))
            break
        found = _fault_of(name, entry, wanted)
        if found is not None:
            faults.append(found)
        elif not name.endswith("/"):
            sizes[name] = entry.stat(follow_symlinks=False).st_size
    if sum(sizes.values()) > MAX_TOTAL:
        what = f"the files are larger than {MAX_TOTAL // MIB} MiB together."
        faults.append(Fault("size", ".", what, "Submit fewer seeds at a time."))
    return sizes, faults


def _walk(
    folder: Path, prefix: str, wanted: re.Pattern[str]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield every entry of the folder and of its wanted subfolders, with its relative name."""
    with os.scandir(folder) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            name = f"{prefix}{entry.name}{'/' if is_folder else ''}"
            yield name, entry
            if is_folder and wanted.fullmatch(name):
                yield from _walk(folder / entry.name, name, wanted)


def _fault_of(name: str, entry: os.DirEntry[str], wanted: re.Pattern[str]) -> Fault | None:
    where = shown(name)[1:-1]
    belongs = wanted.fullmatch(name)
    delete = "Delete it: a submission is what `ttsi leaderboard submit` writes, and nothing else."
    if entry.is_symlink():
        return Fault("symlink", where, "is a symbolic link, which is not followed.", delete)
    about = entry.stat(follow_symlinks=False)
    if not (stat.S_ISREG(about.st_mode) or name.endswith("/")):
        return Fault("special", where, "is no plain file but a pipe, socket or device.", delete)
    if not belongs and _ARCHIVE.search(name.lower()):
        what = "is an archive or a binary file. None is unpacked: a small one may hold terabytes."
        return Fault("archive", where, what, delete)
    if not belongs:
        return Fault("unknown-file", where, "does not belong to a submission.", delete)
    if stat.S_ISREG(about.st_mode) and about.st_nlink > 1:
        what = "has another name elsewhere (a hard link), so it could change unseen."
        return Fault("hard-link", where, what, f"Copy it: cp {where} COPY; mv COPY {where}")
    most = largest(name)
    if stat.S_ISREG(about.st_mode) and about.st_size > most:
        what = f"has {about.st_size:,} bytes; {most:,} are the most, so it is not read."
        return Fault("size", where, what, "Submit fewer samples or seeds at a time.")
    return None


def stray(entry: os.DirEntry[str]) -> Fault:
    """Return the fault of a file that belongs to no submission."""
    found = _fault_of(entry.name, entry, _NOTHING)
    assert found is not None, "nothing is wanted here"
    return found


def largest(name: str) -> int:
    return MAX_LINES if name.endswith(".jsonl") else MAX_JSON


def read_bytes(path: Path, where: str) -> bytes:
    """Return the bytes of a plain file; b"" where it is no plain file (any more).

    Raises Unsound where it cannot be opened or is larger than allowed.
    """
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        handle = os.open(path, flags)
    except OSError as error:
        what = f"cannot be read: {error.strerror}."
        raise Unsound(Fault("unreadable", where, what, "Restore it from the run.")) from error
    with open(handle, "rb") as file:
        most = largest(path.name)
        # Reading one byte more than allowed detects a file that grew since it was measured.
        data = file.read(most + 1) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    if len(data) > most:
        what = f"has more than {most:,} bytes."
        raise Unsound(Fault("size", where, what, "Submit fewer samples or seeds at a time."))
    return data


def text_of(data: bytes, where: str) -> str:
    """Decode UTF-8. Raises Unsound for an archive, or bytes that are not UTF-8."""
    if data.startswith(_MAGIC):
        what = "is an archive under another name. None is unpacked: a small one may hold terabytes."
        raise Unsound(Fault("archive", where, what, "Submit the file as it is, in UTF-8."))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 (byte {error.start})."
        raise Unsound(Fault("encoding", where, what, "Restore it from the run.")) from error


def lines_of(data: bytes, where: str) -> list[str]:
    """Return the lines of a JSON Lines file, which only line feeds end.

    Raises Unsound as `text_of` does, for a last line without a line feed, and for a line of more
    than MAX_LINE characters.
    """
    *lines, rest = text_of(data, where).split("\n")
    if rest:
        what = "does not end with a line feed: the last line may be torn."
        raise Unsound(Fault("json", where, what, "Restore it from the run."))
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            what = f"has a line of {len(line):,} characters; {MAX_LINE:,} are the most."
            raise Unsound(
                Fault("size", f"{where}:{number}", what, "Submit the run without this sample.")
            )
    return lines


def value_of(data: bytes, where: str) -> JSON:
    """Return the JSON value of a file.

    Raises Unsound as `text_of` and `parse` do, and for a lone surrogate, which UTF-8 cannot encode.
    """
    value = parse(text_of(data, where), where)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        what = "holds half of a character (a lone surrogate)."
        raise Unsound(Fault("encoding", where, what, "Restore it from the run.")) from None
    return value


def parse(text: str, where: str) -> JSON:
    """Parse a JSON value.

    Raises Unsound where the text is not JSON, is nested more than DEEPEST levels, repeats a key in
    an object, or holds a number that is not finite.
    """
    restore = "Restore it from the run."
    if depth(text) > DEEPEST:
        what = f"is nested more than {DEEPEST} levels deep, so it is not parsed."
        raise Unsound(Fault("depth", where, what, restore))
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite
        )
    except ValueError as error:
        what = f"is not JSON: {str(error)[:200]}."
        raise Unsound(Fault("json", where, what, restore)) from error


def depth(text: str) -> int:
    """Return how deep brackets nest outside strings, in linear time and without recursion."""
    level = deepest = 0
    for found in _TOKEN.finditer(text):
        mark = found[0]
        if mark in ("[", "{"):
            level += 1
            deepest = max(deepest, level)
        elif mark in ("]", "}"):
            level -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {shown(twice)} stands twice in one object")
    return made


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refuse(text)
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{shown(name)} is no number of JSON's")
