"""What a model wrote to a task, as a completion."""

from __future__ import annotations

from ttsi.answers import form_of
from ttsi.answers.objects import behind_thoughts
from ttsi.types import Asked, Completion, Generation, Task


def read_completion(task: Task, generation: Generation) -> Completion:
    """Return the completion that ends where the task wants it to."""
    text, asked = generation.text, task.asked or Asked()
    answer = (behind_thoughts(text) or "") if asked.stop else text
    # Line breaks behind a thought belong to its mark.
    behind = len(text) - len(answer if answer == text else answer.lstrip())
    found = [text.find(stop, behind) for stop in asked.stop]
    end = min((at for at in found if at >= 0), default=None)
    return Completion(
        text=text[:end],
        answer=form_of(task).parse(task, text[:end]),
        prompt_tokens=generation.prompt_tokens,
        completion_tokens=generation.completion_tokens,
        logprob=generation.logprob,
        cut=generation.finish == "length" and end is None,
        tokens=generation.tokens if asked.tokens else (),
    )
