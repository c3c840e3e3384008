"""What of a run may be published, and what is taken out of it (leaderboards/CONTRIBUTING.md).

A record holds no prompt and no reference. But it can hold pieces of them:
- a score's detail quotes the reference: taken out;
- an error's message can quote anything: its stage and type are kept;
- a session's warning can name machines: taken out;
- a synthetic example can repeat the input that it was made from: where it does, its text and answer
  are withheld and its digest stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ttsi.types import JSON, Sample, Task

RUN = 8
"""So many words in a row of a task's input or instruction are a piece of the benchmark."""

WITHHELD: Mapping[str, JSON] = {
    "input": "",
    "answer": {"status": "declined", "value": None, "work": ""},
    "text": "",
}

_WORD = re.compile(r"\w+")
_ERROR = re.compile(r"(?:[a-z]*: )?[A-Za-z_][A-Za-z0-9_]{0,99}")

_PRIVATE = {
    "a path of one machine": re.compile(
        r"^(?:/|~|[A-Za-z]:[\\/]|\\\\|file:)|/(?:home|Users|root)/|[A-Za-z]:\\Users\\"
    ),
    "a name and password": re.compile(r"://[^/\s@]*@"),
    "what looks like a secret key": re.compile(
        r"\b(?:sk-[\w-]{20}|(?:hf|gh[opsu])_\w{20}|xox[abp]-[\w-]{10}|AKIA\w{16}|AIza[\w-]{30})"
    ),
}


def published(row: Mapping[str, Any], sample: Sample) -> dict[str, JSON]:
    """A record, as samples.jsonl has it, without what must not be published."""
    return {
        **row,
        "examples": [_example(each, sample.task) for each in row["examples"]],
        "base_score": _score(row["base_score"]),
        "final_score": _score(row["final_score"]),
        "note": "",
        "error": error_kind(row["error"]),
    }


def published_sessions(document: Mapping[str, Any]) -> dict[str, JSON]:
    """sessions.json without what it says of machines that were lost."""
    return {"sessions": [{**session, "warnings": []} for session in document["sessions"]]}


def is_withheld(example: Mapping[str, Any]) -> bool:
    return all(example[key] == value for key, value in WITHHELD.items())


def repeats(text: str, task: Task) -> bool:
    """Whether `text` holds a piece of the task: a run of its words, or its whole short input."""
    words = _words(text)
    for source in (_words(task.input), _words(task.instruction)):
        length = min(RUN, len(source)) if source else RUN
        pieces = {tuple(source[i : i + length]) for i in range(len(source) - length + 1)}
        if any(tuple(words[i : i + length]) in pieces for i in range(len(words) - length + 1)):
            return True
    return False


def error_kind(error: str) -> str:
    """ "learn: ValueError: ..." as "learn: ValueError"."""
    found = _ERROR.match(error)
    return found[0] if found else "error" if error else ""


def private(value: JSON, pointer: str = "") -> Iterator[tuple[str, str]]:
    """(pointer, what it is) of texts that tell of a machine or a person, or hold a secret."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from private(key, f"{pointer}/(key)")
            yield from private(part, f"{pointer}/{key}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from private(part, f"{pointer}/{number}")
    elif isinstance(value, str):
        yield from ((pointer, what) for what, form in _PRIVATE.items() if form.search(value))


def _example(example: Mapping[str, Any], task: Task) -> dict[str, JSON]:
    if repeats(example["input"], task) or repeats(example["text"], task):
        return {**example, **WITHHELD}
    return dict(example)


def _score(score: Mapping[str, Any] | None) -> dict[str, JSON] | None:
    return None if score is None else {**score, "detail": ""}


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
