"""What the reasons of wrong answers mean, for reports and docs/method.md."""

from __future__ import annotations

from collections.abc import Iterable

from ttsi.types import ENGINE_ERROR

MEANINGS = {
    "unparsable": "It looks like an answer and cannot be read as one, or a thought is not closed.",
    "no_call": "It makes no call, and one was expected.",
    "wrong_count": "It makes more calls or fewer than were expected.",
    "wrong_name": "It calls another tool than the expected one.",
    "missing_argument": "It leaves out an argument that the right call has.",
    "extra_argument": "It has an argument that the right call does not have.",
    "wrong_value": "A value is another than the right one: an argument's, or the whole answer.",
    "no_answer": "It gives no answer in the form that was asked for.",
    "wrong_state": "After a turn the environment is not as the right calls would have left it.",
    "missing_result": "No call of a turn returned what one of the right calls returns.",
    "too_many_steps": "A turn took more answers with calls than it may.",
    "unfinished": "The episode was ended before it was through, by a limit or an answer.",
    "environment": "The episode's environment failed on what the answer did.",
    ENGINE_ERROR: "There is no answer: the sample ended in an error, which its record has.",
}
"""Of each reason that comes with ttsi, in the order in which they are looked for."""


def explained(reasons: Iterable[str]) -> list[tuple[str, str]]:
    """Return (reason, its meaning) of those that are known, in the order of `MEANINGS`."""
    wanted = set(reasons)
    return [(name, meaning) for name, meaning in MEANINGS.items() if name in wanted]
