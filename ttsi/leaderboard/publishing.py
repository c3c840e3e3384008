"""Which parts of a run may be published, and what is removed (leaderboards/CONTRIBUTING.md).

A record holds no prompt and no reference, but it can hold pieces of them:
- a score's detail may quote the reference: removed;
- an error's message may quote anything: only its stage and type are kept;
- a note may quote anything: removed;
- a session's warning may name machines: removed;
- a synthetic example may repeat the benchmark: then its input, text and answer are withheld, and
  its digest is kept;
- a rejected output of G is often a copy of the task's request: removed, and counted;
- what was said in an episode is the benchmark's: removed, and its digest is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ttsi.leaderboard.replay import replay
from ttsi.records.lines import from_json
from ttsi.types import JSON, Sample, Task

RUN = 8
"""A text that repeats this many words in a row of a task is withheld."""

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
    """Return a row of samples.jsonl without what must not be published.

    Raises a TtsiError where this machine lacks what an episode's environment needs.
    """
    examples = [_example(each, sample.task) for each in row["examples"]]
    return {**least(row), **_plays(row, sample), "examples": examples}


def least(row: Mapping[str, Any]) -> dict[str, JSON]:
    """Return a row without all that may have to be taken out, whatever its sample is."""
    steps = {
        name: [{**_plain(step), "examples": _withheld(step)} for step in row[name]]
        for name in ("steps", "base_steps")
        if row.get(name)
    }
    return {
        **row,
        **counted(row),
        **steps,
        "examples": _withheld(row),
        "base_score": _score(row["base_score"]),
        "final_score": _score(row["final_score"]),
        "note": "",
        "error": error_kind(row["error"]),
    }


def published_sessions(document: Mapping[str, Any]) -> dict[str, JSON]:
    """Return sessions.json without its warnings, which may name machines."""
    return {"sessions": [{**session, "warnings": []} for session in document["sessions"]]}


def parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield what has examples and a receipt: the rows, and the steps of their plays."""
    for row in rows:
        yield from (row, *row["steps"], *row.get("base_steps", ()))


def is_withheld(example: Mapping[str, Any]) -> bool:
    return all(example[key] == value for key, value in WITHHELD.items())


def repeats(text: str, task: Task) -> bool:
    """Return whether `text` has RUN words in a row of the task's instruction or conversation.

    Case is ignored. All words of either count where it has fewer than RUN. What the assistant said
    is the model's own.
    """
    words = _words(text)
    said = "\n".join(turn.content for turn in task.said if turn.role != "assistant")
    for source in (_words(said), _words(task.instruction)):
        length = min(RUN, len(source)) if source else RUN
        pieces = {tuple(source[i : i + length]) for i in range(len(source) - length + 1)}
        if any(tuple(words[i : i + length]) in pieces for i in range(len(words) - length + 1)):
            return True
    return False


def error_kind(error: str) -> str:
    """Return an error's stage and type: "learn: ValueError" of "learn: ValueError: ..."."""
    found = _ERROR.match(error)
    return found[0] if found else "error" if error else ""


def private(value: JSON, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Yield (pointer, what it is) for texts with a local path, a password or a secret key."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from private(key, f"{pointer}/(key)")
            yield from private(part, f"{pointer}/{key}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from private(part, f"{pointer}/{number}")
    elif isinstance(value, str):
        yield from ((pointer, what) for what, form in _PRIVATE.items() if form.search(value))


def _plays(row: Mapping[str, Any], sample: Sample) -> dict[str, JSON]:
    """Return the steps of an episode's plays; which examples repeat its tasks, a replay tells."""
    made: dict[str, JSON] = {}
    for name in ("steps", "base_steps"):
        if row.get(name):
            # Of an episode that cannot be played again nothing is published: it is refused.
            tasks = replay(sample, getattr(from_json(dict(row)), name)).tasks or (sample.task,)
            made[name] = [
                _step(each, tasks[min(at, len(tasks) - 1)]) for at, each in enumerate(row[name])
            ]
    return made


def _step(step: Mapping[str, Any], task: Task) -> JSON:
    return {**_plain(step), "examples": [_example(each, task) for each in step["examples"]]}


def _plain(step: Mapping[str, Any]) -> dict[str, JSON]:
    """Return a step without what was said at it, and what that is quoted in."""
    return {**step, **counted(step), "said": [], "turn": _score(step["turn"])}


def counted(part: Mapping[str, Any]) -> dict[str, JSON]:
    """Return the key of what G wrote in vain, without its texts; nothing where there is none."""
    if "rejected" not in part:
        return {}
    return {"rejected": {**part["rejected"], "kept": []}}


def _example(example: Mapping[str, Any], task: Task) -> dict[str, JSON]:
    if repeats(example["input"], task) or repeats(example["text"], task):
        return {**example, **WITHHELD}
    return dict(example)


def _withheld(part: Mapping[str, Any]) -> list[JSON]:
    return [{**example, **WITHHELD} for example in part["examples"]]


def _score(score: Mapping[str, Any] | None) -> dict[str, JSON] | None:
    return None if score is None else {**score, "detail": ""}


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
