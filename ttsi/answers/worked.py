"""Answers that are worked out in the text and given at its end; base of choice, number and text.

An answer follows a mark: `####`, `\\boxed{`, or a phrase such as "the answer is" or "Answer:". The
last mark after which an answer can be read counts. Each form decides how to read a text without a
mark.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

from ttsi.answers.form import Form
from ttsi.answers.objects import behind_thoughts
from ttsi.types import DECLINED, JSON, UNPARSABLE, Answer, AnswerStatus, Task

_MARK = re.compile(
    r"(?P<hashes>\#{4,})\s*"
    r"|(?P<boxed>\\boxed\s?\{)\s*"
    r"|[*_]{0,3}(?P<phrase>"
    r"(?:\b(?:so|thus|hence|therefore),?[ ]{1,3})?(?:\bthe[ ]{1,3})?"
    r"(?:\b(?:final|correct|right|best)[ ]{1,3})?"
    r"\banswer[*_]{0,3}(?:[ ]{1,3}is\b|[ ]{0,3}:))[\s:*_]*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s)|\n")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark that announces an answer: it begins at `start`, and the answer may begin at `end`.

    The text up to `stop` belongs to it: to the next mark, or the end of the text. `opening` and
    `closing` are what to write around an answer to give it in the same way.
    """

    start: int
    end: int
    stop: int
    opening: str
    closing: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer that a text gives, and the position where it begins.

    `mark` announced it. Without a mark, `bare` says whether the text is nothing but the answer.
    """

    answer: Answer
    at: int = 0
    mark: Mark | None = None
    bare: bool = False


NOT_FOUND = Found(DECLINED)


class Worked(Form):
    """A form whose answers have `work`: the text before the answer."""

    own: ClassVar[Mark] = Mark(0, 0, 0, "So the answer is ", ".")
    """How an answer is written without another text as a model."""

    @abstractmethod
    def find(self, task: Task, text: str) -> Found:
        """Find the answer in `text`, which contains no thoughts, in linear time."""

    def parse(self, task: Task, text: str) -> Answer:
        said = said_in(text)
        return UNPARSABLE if said is None else self.find(task, said).answer

    def write(self, task: Task, answer: Answer, like: str | None = None) -> str:
        """Write the work and then the answer on its own line, as in `like` or in the form's own
        way.

        If the answer could not be read back from that text, it is written without the work. An
        answer without a value is written as "".
        """
        if answer.status is not AnswerStatus.OK:
            return ""
        ways = (self._way_of(task, like), self.own)
        lasts = [f"{way.opening}{answer.value}{way.closing}" for way in ways]
        for work, last in product((answer.work, ""), lasts):
            written = f"{work}\n{last}" if work else last
            if self.parse(task, written) == Answer.of(answer.value, work):
                return written
        return lasts[-1]

    def read(self, task: Task, value: JSON) -> Answer:
        """Read a text as a model's text; any other value is unparsable."""
        return self.parse(task, value) if isinstance(value, str) else UNPARSABLE

    def _way_of(self, task: Task, like: str | None) -> Mark:
        said = said_in(like) if like is not None else None
        found = NOT_FOUND if said is None else self.find(task, said)
        return Mark(0, 0, 0, "") if found.bare else found.mark or self.own


def said_in(text: str) -> str | None:
    """Return a model's text after its thoughts; None if a thought is not closed.

    If the text is one JSON string, as constrained decoding writes it, its content is returned.
    """
    rest = behind_thoughts(_unquoted(text))
    return None if rest is None else _SURROGATE.sub("\ufffd", _unquoted(rest))


def marks(text: str) -> list[Mark]:
    """Return the marks in `text`, in order."""
    found = list(_MARK.finditer(text))
    stops = [*(each.start() for each in found[1:]), len(text)]
    return [
        Mark(each.start(), each.end(), stop, *_around(each))
        for each, stop in zip(found, stops, strict=False)
    ]


def sentence(text: str, mark: Mark) -> str:
    """Return the text after a mark, to the end of the sentence or line."""
    found = _SENTENCE_END.search(text, mark.end, mark.stop)
    return text[mark.end : found.start() if found else mark.stop]


def before(text: str, mark: Mark) -> str:
    """Return the work before a mark."""
    return text[: mark.start].strip()


def _around(found: re.Match[str]) -> tuple[str, str]:
    """Return what to write before and after an answer to give it as the mark `found` does."""
    if found["hashes"]:
        return "#### ", ""
    if found["boxed"]:
        return "\\boxed{", "}"
    phrase = " ".join(re.sub(r"[*_]", "", found["phrase"]).split())
    return f"{phrase} ", "" if phrase.endswith(":") else "."


def _unquoted(text: str) -> str:
    bare = text.strip()
    if len(bare) < 2 or bare[0] != '"' or bare[-1] != '"':
        return text
    try:
        inner = json.loads(bare)
    except ValueError:
        return text
    return inner if isinstance(inner, str) else text
