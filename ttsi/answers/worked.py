"""Answers that are worked out in the text and said at its end: what choice, number and text share.

Where an answer stands: behind a mark, that is `####`, `\\boxed{`, or a phrase such as "the answer
is" or "Answer:". The last mark behind which an answer can be read counts. What a text without a
mark says, each form decides.
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
    """Announces an answer: it begins at `start`, and the answer may begin at `end`.

    What follows belongs to it up to `stop`, where the next mark begins, or the text ends.
    `opening` and `closing`: what is written around an answer in the same way.
    """

    start: int
    end: int
    stop: int
    opening: str
    closing: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer that a text gives, and where the answer itself begins. `mark` announced it;
    where none did, `bare` says whether the text is the answer and no more."""

    answer: Answer
    at: int = 0
    mark: Mark | None = None
    bare: bool = False


NOT_FOUND = Found(DECLINED)


class Worked(Form):
    """A form whose answers have `work`: what the text says before it gives the answer."""

    own: ClassVar[Mark] = Mark(0, 0, 0, "So the answer is ", ".")
    """How an answer is written where nothing says how."""

    @abstractmethod
    def find(self, task: Task, text: str) -> Found:
        """The answer in `text`, which holds no thoughts. In linear time."""

    def parse(self, task: Task, text: str) -> Answer:
        said = said_in(text)
        return UNPARSABLE if said is None else self.find(task, said).answer

    def write(self, task: Task, answer: Answer, like: str | None = None) -> str:
        """The work, and on a line of its own the answer, in the way of `like` or the form's own.

        Where the answer could not be read from that again, it is written without the work. "" for
        an answer that is none.
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
        """A text is read as a model's."""
        return self.parse(task, value) if isinstance(value, str) else UNPARSABLE

    def _way_of(self, task: Task, like: str | None) -> Mark:
        said = said_in(like) if like is not None else None
        found = NOT_FOUND if said is None else self.find(task, said)
        return Mark(0, 0, 0, "") if found.bare else found.mark or self.own


def said_in(text: str) -> str | None:
    """What a model's text says behind its thoughts; None where a thought is not closed.

    A text that is one JSON string, as constrained decoding writes it, is the text in the string.
    """
    rest = behind_thoughts(_unquoted(text))
    return None if rest is None else _SURROGATE.sub("\ufffd", _unquoted(rest))


def marks(text: str) -> list[Mark]:
    """The marks in `text`, in their order."""
    found = list(_MARK.finditer(text))
    stops = [*(each.start() for each in found[1:]), len(text)]
    return [
        Mark(each.start(), each.end(), stop, *_around(each))
        for each, stop in zip(found, stops, strict=False)
    ]


def sentence(text: str, mark: Mark) -> str:
    """What follows a mark, to the end of the sentence or line."""
    found = _SENTENCE_END.search(text, mark.end, mark.stop)
    return text[mark.end : found.start() if found else mark.stop]


def before(text: str, mark: Mark) -> str:
    """The work that led to the answer of a mark."""
    return text[: mark.start].strip()


def _around(found: re.Match[str]) -> tuple[str, str]:
    """What to write before an answer and behind it, to give it as the mark `found` does."""
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
