"""Answer forms, registered under the entry-point group `ttsi.answers`.

form.py   the base class of forms
calls/    calls of tools
worked.py the base of the next three: answers that are worked out in the text
choice.py one of some options
number.py a number
text.py   a text
stated.py whether a request states a value
"""

from __future__ import annotations

from functools import cache

from ttsi import registry
from ttsi.protocols import AnswerForm
from ttsi.types import Task


@cache
def form_named(name: str) -> AnswerForm:
    """Return the answer form of this name. Raises as `registry.load` does."""
    made: AnswerForm = registry.load("answers", name)()
    return made


def form_of(task: Task) -> AnswerForm:
    """Return the form in which `task` is to be answered."""
    return form_named(task.form)
