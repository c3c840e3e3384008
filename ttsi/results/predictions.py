"""A file of predictions, scored again: no model, nothing heavy, nothing executed.

One JSON object a line, with the sample's `id` and one of

- `text`: what a model wrote;
- `calls` or `tool_calls`: a list of calls, `{"name": "f", "arguments": {}}` or as OpenAI has them;
- `message`: OpenAI's, with `content`, a text or a list of parts, and `tool_calls`, or one
  `function_call`; calls in the content count as well.

No calls, `[]`, is no call made. What is no text, no list of calls, null, or nested too deep, is an
answer that could not be read: that answer is unparsable, and the rest is scored. Other keys are
ignored, empty lines passed over.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

from ttsi._common.inputs import read_input, shown, to_utf8, unpacked
from ttsi.answers.calls.numbers import read_number
from ttsi.answers.calls.parse import calls_of, parse_calls
from ttsi.errors import UsageError
from ttsi.protocols import Scorer
from ttsi.types import JSON, Completion, ParseStatus, Sample, Score, ToolCall

LINE = '{"id": "...", "text": "..."} or {"id": "...", "calls": [{"name": "...", "arguments": {}}]}'
_ANSWERS = ("text", "calls", "tool_calls", "message")
_ID = r'"id"\s*:\s*("(?:[^"\\]|\\.)*")'
_FIRST_ID = re.compile(rf"\{{\s*{_ID}\s*,")
_LAST_ID = re.compile(rf",\s*{_ID}\s*\}}\Z")
_LONGEST_ID = 1000
_UNREADABLE = Completion("", (), ParseStatus.UNPARSABLE)


class _Fault:
    """What stands in the place of a value that is JSON to some, such as NaN, or a key twice."""


class _Twice(dict[str, JSON]):
    """An object in which the key `name` stands twice."""

    name = ""


def read_predictions(path: Path, offered: Mapping[str, Sequence[str]]) -> dict[str, Completion]:
    """Answers by sample id, in the file's order. `offered`: the tools' names by sample id.

    UsageError, with the line's number: not JSON, not a prediction, an unknown id, an id twice.
    """
    answers: dict[str, Completion] = {}
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        where = f"{shown(path)}, line {number}"
        row = _row(line, where)
        id = row["id"]
        if id not in offered:
            _refuse_unknown(id, frozenset(offered), where)
        if id in lines:
            what = f"Sample {_short(id)} is predicted twice: here and on line {lines[id]}."
            raise UsageError(what, where=where, cure="Keep one of the two lines.")
        lines[id] = number
        answers[id] = _completion(row, offered[id])
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
        row = json.loads(
            line,
            object_pairs_hook=_object,
            parse_constant=lambda _: _Fault(),
            parse_float=_number,
            parse_int=_number,
        )
    except RecursionError as error:
        if (id := _legible_id(line)) is not None:
            return {"id": id, "calls": None}
        raise UsageError("The JSON is nested too deep.", where=where, cure=cure) from error
    except ValueError as error:
        raise UsageError(f"The line is not JSON: {error}.", where=where, cure=cure) from error
    if isinstance(row, _Twice):
        what = f"The line is not JSON: the key {_short(row.name)} stands twice in one object."
        raise UsageError(what, where=where, cure=cure)
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise UsageError('The line is not an object with an "id".', where=where, cure=cure)
    if sum(key in row for key in _ANSWERS) != 1:
        what = f"A prediction has one of {', '.join(_ANSWERS)}."
        raise UsageError(what, where=where, cure=cure)
    return row


def _legible_id(line: str) -> str | None:
    """The id of a line that is nested too deep, where it stands first or last in the object."""
    found = _FIRST_ID.match(line) or _LAST_ID.search(line, max(0, len(line) - _LONGEST_ID))
    try:
        id = json.loads(found[1]) if found else None
    except ValueError:
        return None
    return id if isinstance(id, str) else None


def _completion(row: Mapping[str, JSON], tools: Sequence[str]) -> Completion:
    if "message" in row:
        return _of_message(row["message"], tools)
    if "text" in row:
        return _of_text(row["text"], tools)
    return _of_calls(row["calls" if "calls" in row else "tool_calls"], tools)


def _of_text(text: JSON, tools: Sequence[str]) -> Completion:
    if not isinstance(text, str):
        return _UNREADABLE
    parsed = parse_calls(text, tools)
    return Completion(text, parsed.calls, parsed.status)


def _of_calls(given: JSON, tools: Sequence[str]) -> Completion:
    calls = calls_of(given, tools) if isinstance(given, list) and _is_sound(given) else None
    return _UNREADABLE if calls is None else Completion("", calls, ParseStatus.OK)


def _of_message(message: JSON, tools: Sequence[str]) -> Completion:
    """A message's calls, and those in its content; one without either is no answer."""
    if not isinstance(message, dict):
        return _UNREADABLE
    content, listed = _content(message.get("content")), message.get("tool_calls")
    if message.get("function_call") is not None:
        if listed:
            return _UNREADABLE
        listed = [message["function_call"]]
    if not listed:
        return _of_text(content, tools)
    calls, said = _of_calls(listed, tools), _of_text("" if content is None else content, tools)
    if ParseStatus.UNPARSABLE in (calls.status, said.status):
        return _UNREADABLE
    both: tuple[ToolCall, ...] = (*said.calls, *calls.calls)
    return Completion(said.text, both, ParseStatus.OK)


def _content(content: JSON) -> JSON:
    """A message's content: of a list of parts the text."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    kinds = [part.get("type", "text") if isinstance(part, dict) else "text" for part in content]
    said = [text for text, kind in zip(texts, kinds, strict=True) if "text" in str(kind)]
    return "".join(map(str, said)) if all(isinstance(text, str) for text in said) else content


def _is_sound(value: JSON) -> bool:
    """Whether all of a value is JSON; without recursion."""
    layer = [value]
    while layer:
        if any(isinstance(item, _Fault | _Twice) for item in layer):
            return False
        holders = [item for item in layer if isinstance(item, dict | list)]
        layer = [
            each
            for holder in holders
            for each in (holder.values() if isinstance(holder, dict) else holder)
        ]
    return True


def _object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    row = dict(pairs)
    if len(row) == len(pairs):
        return row
    twice = _Twice(row)
    twice.name = Counter(name for name, _ in pairs).most_common(1)[0][0]
    return twice


def _number(literal: str) -> JSON:
    number = read_number(literal)
    return _Fault() if number is None else number


def _refuse_unknown(id: str, known: frozenset[str], where: str) -> NoReturn:
    from ttsi._common.suggest import nearest

    near = nearest(id, known)
    cure = f'Did you mean "{near}"?' if near else f"Its ids look like {min(known, default='')}."
    what = f"The benchmark has no sample {_short(id)}."
    raise UsageError(what, where=where, cure=cure)


def _short(text: str) -> str:
    """For a message: of bounded length, and with nothing that UTF-8 cannot hold."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
