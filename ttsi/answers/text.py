"""The form `text`: an answer is a text that has to match exactly.

These differences do not count: the composition of characters (NFC), white space around the text and
its amount between words, bold and code marks and double quotes around it, colons before it, and
full stops at its end.

After the last mark (see worked.py) the answer is the rest of the line, or of the text if the line
ends there; of `\\boxed{` it is the content of the braces. Without a mark the answer is the whole
text. Upper and lower case differ. If the text, or what follows every mark, is empty, it declines.
"""

from __future__ import annotations

import re
import unicodedata
from typing import ClassVar

from ttsi.answers.numbers import number_text
from ttsi.answers.worked import NOT_FOUND, Found, Mark, Worked, before, marks
from ttsi.protocols import Asking
from ttsi.types import JSON, Answer, Task

_BEFORE = ' :*_`"\u201c\u201d'
_BEHIND = ' *_`"\u201c\u201d.'
_BRACE = re.compile(r"[{}]")


class Text(Worked):
    """A short text, compared in normal form.

    A value is on one line.
    """

    name: ClassVar[str] = "text"
    specimens: ClassVar[tuple[str, ...]] = (
        "ant bee cat",
        "First comes bee, then cat.\nSo the answer is bee cat.",
        "Open are [ and <.\n#### > ]",
        "Sorted:\n**Answer:** `Ant bee`",
    )

    @property
    def asking(self) -> Asking:
        ends = 'which ends with "So the answer is" and the answer itself'
        return Asking(
            data_for="assistants that answer questions step by step",
            answer=f"the worked answer that the assistant should give, {ends}",
            answer_to_it=f"its worked answer, {ends},",
            rule="Every step follows from the new question.",
            shape='"The first step. The next step.\\nSo the answer is ... ."',
        )

    def find(self, task: Task, text: str) -> Found:
        announced = marks(text)
        for mark in reversed(announced):
            value = normal(_behind(text, mark))
            if value:
                return Found(Answer.of(value, before(text, mark)), mark.end, mark)
        value = normal(text)
        return Found(Answer.of(value), bare=True) if value and not announced else NOT_FOUND

    def read(self, task: Task, value: JSON) -> Answer:
        """Read a JSON number as its text, and a text as a model's text, with its work."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return super().read(task, number_text(value) if number else value)

    def schema(self, task: Task, *, least: int = 1, most: int | None = None) -> JSON:
        return {"type": "string"}


def normal(text: str) -> str:
    """Return the normal form: equal for texts that are equal as answers."""
    words = " ".join(unicodedata.normalize("NFC", text).split())
    return words.lstrip(_BEFORE).rstrip(_BEHIND)


def _behind(text: str, mark: Mark) -> str:
    if mark.opening.startswith("\\"):
        return _braced(text, mark)
    announced = text[mark.start : mark.end].rstrip(" \t")
    if announced.endswith("\n"):
        return text[mark.end : mark.stop]
    end = text.find("\n", mark.end, mark.stop)
    return text[mark.end : mark.stop if end < 0 else end]


def _braced(text: str, mark: Mark) -> str:
    """Return the content of the braces that the mark opens."""
    depth = 1
    for brace in _BRACE.finditer(text, mark.end, mark.stop):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[mark.end : brace.start()]
    return text[mark.end : mark.stop]
