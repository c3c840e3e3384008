"""A file of predictions, scored again: no model, nothing heavy, nothing executed.

One JSON object a line: `{"id": "sealtool/17", "text": "<tool_call>..."}`, or with `"calls"`, a list
of `{"name": "f", "arguments": {}}`, in the place of `"text"`. No calls, `[]`, is no call made; null
is an answer that could not be read. Other keys are ignored, empty lines passed over.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

from ttsi.errors import UsageError
from ttsi.inputs import read_input, shown, to_utf8, unpacked
from ttsi.protocols import Scorer
from ttsi.scoring.parse import calls_of, parse_calls
from ttsi.types import JSON, Completion, ParseStatus, Sample, Score

LINE = '{"id": "...", "text": "..."} or {"id": "...", "calls": [{"name": "...", "arguments": {}}]}'


def read_predictions(path: Path, ids: Iterable[str]) -> dict[str, Completion]:
    """Answers by sample id, in the file's order. `ids` are those of the benchmark.

    UsageError, with the line's number: not JSON, not a prediction, an unknown id, an id twice.
    """
    known = frozenset(ids)
    answers: dict[str, Completion] = {}
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        where = f"{shown(path)}, line {number}"
        row = _row(line, where)
        id = row["id"]
        if id not in known:
            _refuse_unknown(id, known, where)
        if id in lines:
            what = f"Sample {_short(id)} is predicted twice: here and on line {lines[id]}."
            raise UsageError(what, where=where, cure="Keep one of the two lines.")
        lines[id] = number
        answers[id] = _completion(row, where)
    return answers


def rescore(
    samples: Sequence[Sample], answers: Mapping[str, Completion], scorer: Scorer
) -> dict[str, Score | None]:
    """The score of every sample by id; None where there is no answer."""
    return {
        sample.id: scorer.score(sample.task, sample.reference, answers[sample.id])
        if sample.id in answers
        else None
        for sample in samples
    }


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not empty; only a line feed ends one, as JSON Lines has it.

    A file that gzip has packed is read as well.
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
        row = json.loads(line, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise UsageError("The JSON is nested too deep.", where=where, cure=cure) from error
    except ValueError as error:
        raise UsageError(f"The line is not JSON: {error}.", where=where, cure=cure) from error
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise UsageError('The line is not an object with an "id".', where=where, cure=cure)
    if ("text" in row) == ("calls" in row):
        what = 'A prediction has either "text" or "calls".'
        raise UsageError(what, where=where, cure=cure)
    return row


def _completion(row: Mapping[str, JSON], where: str) -> Completion:
    if "text" in row:
        text = row["text"]
        if not isinstance(text, str):
            what = f'"text" is a string, not {type(text).__name__}.'
            raise UsageError(what, where=where, cure='Use "calls" for calls that are JSON already.')
        parsed = parse_calls(text)
        return Completion(text, parsed.calls, parsed.status)
    given = row["calls"]
    if given is None:
        return Completion("", (), ParseStatus.UNPARSABLE)
    calls = calls_of(given) if isinstance(given, list) else None
    if calls is None:
        what = '"calls" is not a list of calls.'
        raise UsageError(what, where=where, cure='A call is {"name": "...", "arguments": {...}}')
    return Completion("", calls, ParseStatus.OK)


def _unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    row = dict(pairs)
    if len(row) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise ValueError(f"the key {_short(twice)} stands twice in one object")
    return row


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _refuse_unknown(id: str, known: frozenset[str], where: str) -> NoReturn:
    from ttsi.suggest import nearest

    near = nearest(id, known)
    cure = f'Did you mean "{near}"?' if near else f"Its ids look like {min(known, default='')}."
    what = f"The benchmark has no sample {_short(id)}."
    raise UsageError(what, where=where, cure=cure)


def _short(text: str) -> str:
    """For a message: of bounded length, and with nothing that UTF-8 cannot hold."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
