"""The form `choice`: an answer is one of the task's options, in the spelling of `task.choices`.

A text can name an option in these ways, in upper or lower case:
- A label of one letter or digit, such as (A): in round or square brackets; before `)`, `.` or `:`
  at the beginning of a line; alone on a line. After a mark (see worked.py) it may also be without
  brackets, but only in its own case or before punctuation or the end: "the answer is a dog" does
  not name (A).
- Any other label, such as yes or valid: as a separate word, so that invalid does not name valid.
- An option after "not" is not named, and neither is one within a longer label.

The answer is the first option that the sentence after a mark names, for the last mark whose
sentence names one. Without such a mark, it is the last option that the text names. If `or`, `and`,
a comma or a slash joins it to another option, the answer is unparsable. Without any option, the
text declines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from ttsi.answers.numbers import number_text
from ttsi.answers.worked import NOT_FOUND, Found, Worked, before, marks, said_in, sentence
from ttsi.protocols import Asking, Candidates, Context
from ttsi.types import JSON, UNPARSABLE, Answer, AnswerStatus, Task

NONE = "none"
"""The pseudo-option scored for an answer that chooses none."""

TOLD = "Another answer to this question was {option}."
TOLD_NONE = "Another answer to this question chose none of the options."

_BRACKETS = "()[]{}.: "
_JOINT = re.compile(
    r"[\s,;/&|]*(?:\b(?:and|or|and/or)\b)?[\s,;/&|]*(?:\beither\b\s*)?", re.IGNORECASE
)
_LONGEST_JOINT = 40
_OR = re.compile(r"\bor\s+(?:\w+\s+)?$", re.IGNORECASE)
_NOT = re.compile(r"\bnot\s+(?:option\s+|the\s+)?[\s\"'*`(]*$", re.IGNORECASE)
_LISTED = re.compile(r"\(([A-Z])\)")


class Choice(Worked):
    """One of the task's choices."""

    name: ClassVar[str] = "choice"
    specimens: ClassVar[tuple[str, ...]] = (
        "(A)",
        "It is not (A), for that one is blue.\nSo the answer is (B).",
        "**Answer:** c",
        "\\boxed{\\text{B}}",
        "Of all options (C) fits best",
    )

    @property
    def asking(self) -> Asking:
        return Asking(
            data_for="assistants that choose the right one of some options",
            answer="the option that the assistant should choose",
            answer_to_it="the option that answers it",
            rule="If the question lists options, the new one lists as many, with the same labels, "
            "and just one of them is right.",
            shape='"the label of the option"',
        )

    def find(self, task: Task, text: str) -> Found:
        if not task.choices:
            return NOT_FOUND
        names = _names(task.choices)
        for mark in reversed(marks(text)):
            said = sentence(text, mark)
            named = names.announced(said)
            if named:
                answer = _chosen(said, named[:2], before(text, mark))
                return Found(answer, mark.end + named[0].start, mark)
        return _last(text, names.free(text))

    def read(self, task: Task, value: JSON) -> Answer:
        """Read an option, or a text that chooses one; true and 1 name options so spelt."""
        said = value if isinstance(value, str) else _spelt(value)
        return UNPARSABLE if said is None else self.parse(task, said)

    def schema(self, task: Task, *, least: int = 1, most: int | None = None) -> JSON:
        return {"type": "string", "enum": list(task.choices)} if task.choices else None

    def variant(self, task: Task, suffix: str, input: str) -> Task:
        """Return the task with the options in the new input, "(A) ... (B) ...", or its own."""
        return task.variant(suffix, input=input, choices=_listed(task, input))

    def faults(self, task: Task, answer: Answer) -> Sequence[str]:
        if answer.status is AnswerStatus.OK and answer.value not in task.choices:
            return (f"{answer.value!r} is none of the options {', '.join(task.choices)}",)
        return super().faults(task, answer)

    def candidates(
        self, task: Task, context: Context, draft: str = "", *, decline: bool = False
    ) -> Candidates | None:
        """Return the options in order: at the end of a sentence, in the draft's place, or bare."""
        if not task.choices:
            return None
        names = (*task.choices, NONE) if decline else task.choices
        told = tuple(TOLD_NONE if name is NONE else TOLD.format(option=name) for name in names)
        if context == "bare":
            return Candidates("", names, names, told)
        opening = self._up_to_answer(task, draft) if context == "as_answered" else None
        if opening is None:
            # Tokenizers join a blank to the word after it, so it belongs to the option. The full
            # stop makes options comparable if one is a prefix of another.
            return Candidates(
                self.own.opening.rstrip(), names, tuple(f" {name}." for name in names), told
            )
        blank = " " if opening.endswith(" ") else ""
        return Candidates(
            opening.removesuffix(" "), names, tuple(f"{blank}{name}" for name in names), told
        )

    def _up_to_answer(self, task: Task, draft: str) -> str | None:
        """Return the draft up to its answer; None if it has none, or is not plain text."""
        said = said_in(draft)
        if said is None or not draft.endswith(said):
            return None
        found = self.find(task, said)
        if found.answer.status is not AnswerStatus.OK:
            return None
        return draft[: len(draft) - len(said) + found.at]


@dataclass(frozen=True, slots=True)
class _Named:
    """An option that a text names, from `start` to `end`."""

    option: str
    start: int
    end: int


class _Names:
    """Finds the places where a text names the options."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        self._cores = {choice: choice.strip(_BRACKETS) or choice for choice in choices}
        by_length = sorted(set(self._cores.values()), key=lambda core: (-len(core), core))
        short = "|".join(re.escape(core) for core in by_length if _is_short(core)) or "(?!)"
        words = "|".join(_spaced(core) for core in by_length if not _is_short(core)) or "(?!)"
        whole = rf"[(\[]\s?((?i:{short}))\s?[)\]]|(?<!\w)((?i:{words}))(?!\w)"
        line = rf"^[ \t*`>-]{{0,9}}((?i:{short}))(?=[ \t*`]{{0,9}}(?:[).:]|$))"
        stop = r"(?=[*`\"'\s]{0,9}(?:[).:,;}]|$))"
        bare = rf"(?<!\w)((?:{short}))(?!\w)|(?<!\w)((?i:{short})){stop}"
        self._free = re.compile(f"{whole}|{line}", re.MULTILINE)
        self._announced = re.compile(f"{whole}|{bare}", re.MULTILINE)

    def free(self, text: str) -> list[_Named]:
        return self._all(self._free, text)

    def announced(self, said: str) -> list[_Named]:
        named = self._all(self._announced, said)
        return [each for each in named if not _is_word(each, said)]

    def _all(self, pattern: re.Pattern[str], text: str) -> list[_Named]:
        return [
            _Named(self._option(each[each.lastindex or 0]), each.start(), each.end())
            for each in pattern.finditer(text)
            if not _NOT.search(text[max(0, each.start() - 40) : each.start()])
        ]

    def _option(self, said: str) -> str:
        """Return the option of this core: one of the same case if there is one, else the first."""
        core = " ".join(said.split())
        exact = [choice for choice, each in self._cores.items() if core == " ".join(each.split())]
        alike = (
            choice
            for choice, each in self._cores.items()
            if re.fullmatch(_spaced(each), said, re.IGNORECASE)
        )
        return exact[0] if exact else next(alike)


@lru_cache(maxsize=256)
def _names(choices: tuple[str, ...]) -> _Names:
    return _Names(choices)


def _is_short(core: str) -> bool:
    return len(core) == 1 and core.isalnum()


def _spaced(core: str) -> str:
    return r"\s{1,9}".join(map(re.escape, core.split()))


def _is_word(named: _Named, said: str) -> bool:
    """Whether a bare A or I after a mark is a word: not first, and before a small letter."""
    follows = said[named.end : named.end + 2]
    word = said[named.start : named.end] in ("A", "I") and named.start > 0
    return word and follows[:1] == " " and follows[1:].islower()


def _last(text: str, named: Sequence[_Named]) -> Found:
    """Return the option that a text without a mark names last.

    The text is the work, except for a last line that holds only the option.
    """
    if not named:
        return NOT_FOUND
    last = named[-1]
    line = text.rfind("\n", 0, last.start) + 1
    alone = not (text[line : last.start] + text[last.end :]).strip(_BRACKETS + "*`\n")
    work = text[:line].strip() if alone else text.strip()
    answer = _chosen(text, named[-2:][::-1], work)
    return Found(answer, last.start, bare=alone and not work)


def _chosen(text: str, named: Sequence[_Named], work: str) -> Answer:
    """Return the first of `named`; unparsable if it is joined to the second, another option."""
    if len(named) == 2 and named[0].option != named[1].option:
        first, second = sorted(named, key=lambda each: each.start)
        gap = text[first.end : second.start]
        joined = len(gap) < _LONGEST_JOINT and _JOINT.fullmatch(gap.strip("*`\"'"))
        if joined or _OR.search(gap[-20:]):
            return UNPARSABLE
    return Answer.of(named[0].option, work)


def _spelt(value: JSON) -> str | None:
    if isinstance(value, bool):
        return str(value)
    return number_text(value) if isinstance(value, int | float) else None


def _listed(task: Task, input: str) -> tuple[str, ...]:
    """Return the labels from (A) on in `input`, if the task has such labels; else the task's."""
    if not all(map(_LISTED.fullmatch, task.choices)):
        return task.choices
    labels: list[str] = []
    for found in _LISTED.finditer(input):
        if ord(found[1]) == ord("A") + len(labels):
            labels.append(found[0])
    return tuple(labels) if len(labels) > 1 else task.choices
