"""Read a file, a text or a mapping as a plain JSON value, and report what is not valid JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttsi._common.inputs import read_input, to_utf8
from ttsi._common.pointers import pointer
from ttsi.errors import Problem

_DEEPEST = 32
"""The greatest nesting; a spec needs four levels. This bounds all later recursion."""

_LARGEST_INTEGER = 2**64


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys were written more than once."""

    repeated: tuple[str, ...] = ()


def read(source: Path | Mapping[str, Any] | str) -> tuple[Any, str, list[Problem]]:
    """Return (document, source, problems); the document is None if it could not be read.

    A string that begins with `{` is the JSON text itself, any other a path. Raises UsageError if
    there is no such file.
    """
    if isinstance(source, Mapping):
        document, problems = plain(source)
        return document, "", problems
    if isinstance(source, str) and source.lstrip().startswith("{"):
        document, problems = parse(source)
        return document, "", problems
    path = Path(source)
    data = read_input(path, noun="spec", cure=_files_beside(path))
    try:
        document, problems = parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        cure = f"Save it as UTF-8: {to_utf8(data, path)}"
        return None, str(path), [Problem("", f"not UTF-8 text (byte {error.start}).", cure)]
    return document, str(path), problems


def parse(text: str) -> tuple[Any, list[Problem]]:
    """Parse JSON text to a plain value; NaN, Infinity and repeated keys become problems."""
    try:
        return plain(json.loads(text, object_pairs_hook=_object))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        message = f"not JSON: {error.msg[:1].lower()}{error.msg[1:]} at {place}."
        return None, [Problem("", message)]
    except RecursionError:
        return None, [_too_deep("")]
    except ValueError:  # the one other complaint of json: an integer of thousands of digits
        return None, [Problem("", "holds a number of too many digits.")]


def plain(value: Any) -> tuple[Any, list[Problem]]:
    """Return a deep copy of dicts, lists and scalars, and a problem for each non-JSON part."""
    problems: list[Problem] = []
    copy = _copy(value, (), problems)
    return (None if any(p.pointer == "" for p in problems) else copy), problems


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        made.repeated = tuple(dict.fromkeys(key for key in keys if keys.count(key) > 1))
    return made


def _copy(value: Any, path: tuple[str | int, ...], problems: list[Problem]) -> Any:
    if len(path) > _DEEPEST:
        problems.append(_too_deep(pointer(*path[:1])))
        return None
    if isinstance(value, Mapping):
        problems += _faulty_keys(value, path)
        kept = {k: v for k, v in value.items() if isinstance(k, str) and _is_text(k)}
        return {k: _copy(v, (*path, k), problems) for k, v in kept.items()}
    if isinstance(value, list | tuple):
        return [_copy(v, (*path, place), problems) for place, v in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(Problem(pointer(*path), f"{value} is not a number that JSON knows."))
    elif isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        problems.append(Problem(pointer(*path), "a number of too many digits."))
        return None
    elif isinstance(value, str) and not _is_text(value):
        problems.append(Problem(pointer(*path), "holds what no text can: a NUL, or half a letter."))
        return None
    elif not (value is None or isinstance(value, str | bool | int | float)):
        kind = type(value).__name__
        problems.append(Problem(pointer(*path), f"a value of type {kind} is not JSON."))
        return None
    return value


def _faulty_keys(value: Mapping[Any, Any], path: tuple[str | int, ...]) -> list[Problem]:
    twice, cure = "this key is written twice.", "Keep one of the two."
    found = [Problem(pointer(*path, key), twice, cure) for key in getattr(value, "repeated", ())]
    strange = [key for key in value if not (isinstance(key, str) and _is_text(key))]
    return found + [Problem(pointer(*path), f"the key {key!r} is not a text.") for key in strange]


def _is_text(value: str) -> bool:
    """Whether the text can be encoded as UTF-8 and used as a file name."""
    return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)


def _too_deep(place: str) -> Problem:
    return Problem(place, f"nested more than {_DEEPEST} levels deep.")


def _files_beside(path: Path) -> str:
    from ttsi._common.suggest import did_you_mean

    try:
        folder = path if path.is_dir() else path.parent
        names = [each.name for each in folder.glob("*.json")]
    except (OSError, ValueError):
        names = []
    if not names:
        return "Name the file of a spec, such as specs/quickstart.json."
    return did_you_mean(path.name, names, noun="JSON files")
