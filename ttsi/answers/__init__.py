"""What an answer is: its forms, registered under the entry-point group `ttsi.answers`.

form.py   what a form has to say of answers
calls/    calls of tools
worked.py what the next three share: answers that are worked out in the text
choice.py one of some options
number.py a number
text.py   a text
"""

from __future__ import annotations

from functools import cache

from ttsi import registry
from ttsi.protocols import AnswerForm
from ttsi.types import Task


@cache
def form_named(name: str) -> AnswerForm:
    """The answer form of this name. Raises UsageError, PluginError as `registry.load` does."""
    made: AnswerForm = registry.load("answers", name)()
    return made


def form_of(task: Task) -> AnswerForm:
    """The form in which `task` is to be answered."""
    return form_named(task.form)
