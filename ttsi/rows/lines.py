"""Read the files of the benchmark `file`: bytes, lines and JSON; errors name the line."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from ttsi._common.inputs import quoted, read_input, shown, to_utf8, unpacked
from ttsi.answers import json_lines
from ttsi.answers.calls.shapes import deeper_than
from ttsi.answers.literals import MAX_DEPTH
from ttsi.errors import UsageError
from ttsi.types import JSON


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not empty, with its number from 1."""

    path: Path
    number: int
    data: bytes

    @property
    def where(self) -> str:
        return f"{shown(self.path)}, line {self.number}"

    def row(self) -> dict[str, JSON]:
        """Return the line's JSON object. Raises UsageError."""
        value = json_of(
            _decoded(self.data, self.path, self.where), self.where, _lines_of(self.path)
        )
        if not isinstance(value, dict):
            what = "The line is JSON, and no object."
            raise UsageError(what, where=self.where, cure=_lines_of(self.path))
        return value


def content(path: str) -> bytes:
    """Return all bytes of a file, decompressed if gzip has packed it. Raises UsageError."""
    place = Path(path).expanduser()
    cure = f"A relative path begins at the current folder, {shown(os.getcwd())}."
    _refuse_pipe(place)
    return unpacked(read_input(place, noun="file", cure=cure), place, noun="file")


def lines_of(path: str) -> Iterator[Line]:
    """Yield the lines that are not empty; only a line feed ends a line, as in JSON Lines."""
    for number, data in enumerate(BytesIO(content(path)), start=1):
        if data.strip():
            yield Line(Path(path), number, data)


def document(path: str) -> JSON:
    """Return the content of a file with one JSON value. Raises UsageError."""
    place = Path(path)
    text = _decoded(content(path), place, shown(place))
    return json_of(text, shown(place), "Correct the file: it holds one JSON value.")


def json_of(text: str, where: str, cure: str) -> JSON:
    """Return the value of a JSON text that all readers understand alike. Raises UsageError."""
    try:
        read = json_lines.load(text)
        fault = _fault(read)
    except RecursionError:
        fault = _too_deep()
    except json.JSONDecodeError as error:
        line = f" of line {error.lineno}" if error.lineno > 1 else ""
        fault = f"is not JSON: {error.msg}, at column {error.colno}{line}"
    if not fault:
        value = json.loads(text)
        if _is_text(value):
            return value
        fault = "holds half of a character: a \\u escape of a surrogate without its partner"
    raise UsageError(f"The text {fault}.", where=where, cure=cure)


def _refuse_pipe(path: Path) -> None:
    """Raise UsageError for a pipe, since resumed runs, reports and comparisons read data again."""
    try:
        is_pipe = stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return  # `read_input` says what is wrong with it.
    if is_pipe:
        what = "The path is a pipe, and a run reads its data more than once."
        raise UsageError(what, where=shown(path), cure="Write what it gives to a file, name that.")


def _decoded(data: bytes, path: Path, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        cure = f"Save the file as UTF-8: {to_utf8(content(str(path)), path)}"
        raise UsageError("The text is not UTF-8.", where=where, cure=cure) from error


def _lines_of(path: Path) -> str:
    return (
        'Write one object on each line, such as {"input": "...", "reference": [...]}; of a list '
        f"in JSON, `jq -c .[] {quoted(path)}` makes such lines."
    )


def _fault(read: JSON) -> str:
    if deeper_than(MAX_DEPTH, read):
        return _too_deep()
    if json_lines.is_sound(read):
        return ""
    twice = _key_twice(read)
    if twice is not None:
        return f'is not JSON: an object has the key "{shown(twice)}" twice'
    return "is not JSON: it holds NaN, an infinity, or a number of too many digits"


def _key_twice(value: JSON) -> str | None:
    if isinstance(value, json_lines.Twice):
        return value.name
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((name for each in inner if (name := _key_twice(each)) is not None), None)


def _too_deep() -> str:
    return f"is nested deeper than {MAX_DEPTH} levels"


def _is_text(value: JSON) -> bool:
    """Whether every string can be encoded as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
