"""Score a file of predictions again, without a model and without executing anything.

Each line is a JSON object with the sample's `id` and one of

- `text`: what a model wrote;
- `answer`: a JSON value of the task's answer form;
- `message`: an OpenAI message with `content`, a text or a list of parts, and the form's other keys;
- any other of the `fields` that the form reads.

A value that has the wrong kind, is null, or is nested too deeply makes this answer unparsable; the
others are still scored. Other keys and empty lines are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

from ttsi._common.inputs import read_input, shown, to_utf8, unpacked
from ttsi.answers import form_of, json_lines
from ttsi.errors import UsageError
from ttsi.protocols import Scorer
from ttsi.types import JSON, UNPARSABLE, Completion, Sample, Score, Task

LINE = '{"id": "...", "text": "..."} or {"id": "...", "answer": ...}'
_ID = r'"id"\s*:\s*("(?:[^"\\]|\\.)*")'
_FIRST_ID = re.compile(rf"\{{\s*{_ID}\s*,")
_LAST_ID = re.compile(rf",\s*{_ID}\s*\}}\Z")
_LONGEST_ID = 1000


def read_predictions(path: Path, tasks: Mapping[str, Task]) -> dict[str, Completion]:
    """Return answers by sample id, in the file's order. `tasks`: the benchmark's, by sample id.

    Raises UsageError, with the line's number, for a line that is not JSON or not a prediction, for
    an unknown id, and for a repeated id.
    """
    answers: dict[str, Completion] = {}
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        where = f"{shown(path)}, line {number}"
        row = _row(line, where)
        id = row["id"]
        if id not in tasks:
            _refuse_unknown(id, frozenset(tasks), where)
        if id in lines:
            what = f"Sample {_short(id)} is predicted twice: here and on line {lines[id]}."
            raise UsageError(what, where=where, cure="Keep one of the two lines.")
        lines[id] = number
        answers[id] = _completion(row, tasks[id], where)
    return answers


def rescore(
    samples: Sequence[Sample], answers: Mapping[str, Completion], scorer: Scorer
) -> dict[str, Score | None]:
    """Return the score of every sample by id; None if it has no answer."""
    return {
        sample.id: scorer.score(sample.task, sample.reference, answers[sample.id])
        if sample.id in answers
        else None
        for sample in samples
    }


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield numbered lines that are not empty; only a line feed ends a line, as in JSON Lines.

    A gzip file is decompressed.
    """
    data = read_input(path, noun="file", cure=f"Give a file with lines like {LINE}")
    data = unpacked(data, path, noun="file")
    for number, line in enumerate(BytesIO(data), start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            where = f"{shown(path)}, line {number}"
            cure = f"Save it as UTF-8: {to_utf8(data, path)}"
            raise UsageError("The line is not UTF-8.", where=where, cure=cure) from error
        if text:
            yield number, text


def _row(line: str, where: str) -> dict[str, Any]:
    cure = f"Each line is {LINE}"
    try:
        row = json_lines.load(line)
    except RecursionError as error:
        if (id := _legible_id(line)) is not None:
            return {"id": id, "text": None}
        raise UsageError("The JSON is nested too deep.", where=where, cure=cure) from error
    except ValueError as error:
        raise UsageError(f"The line is not JSON: {error}.", where=where, cure=cure) from error
    if isinstance(row, json_lines.Twice):
        what = f"The line is not JSON: the key {_short(row.name)} stands twice in one object."
        raise UsageError(what, where=where, cure=cure)
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise UsageError('The line is not an object with an "id".', where=where, cure=cure)
    return row


def _legible_id(line: str) -> str | None:
    """Return the id of a line that is nested too deeply, if it is first or last in the object."""
    found = _FIRST_ID.match(line) or _LAST_ID.search(line, max(0, len(line) - _LONGEST_ID))
    try:
        id = json.loads(found[1]) if found else None
    except ValueError:
        return None
    return id if isinstance(id, str) else None


def _completion(row: Mapping[str, JSON], task: Task, where: str) -> Completion:
    form = form_of(task)
    fields = ("text", *form.fields)
    given = [field for field in fields if field in row]
    if len(given) != 1:
        what = f"A prediction has one of {', '.join(fields)}."
        raise UsageError(what, where=where, cure=f"Each line is {LINE}")
    (field,) = given
    value = row[field]
    if field != "text":
        return Completion("", form.predicted(task, field, value))
    if not isinstance(value, str):
        return Completion("", UNPARSABLE)
    return Completion(value, form.parse(task, value))


def _refuse_unknown(id: str, known: frozenset[str], where: str) -> NoReturn:
    from ttsi._common.suggest import nearest

    near = nearest(id, known)
    cure = f'Did you mean "{near}"?' if near else f"Its ids look like {min(known, default='')}."
    what = f"The benchmark has no sample {_short(id)}."
    raise UsageError(what, where=where, cure=cure)


def _short(text: str) -> str:
    """Return the text for a message: of bounded length, without lone surrogates."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
