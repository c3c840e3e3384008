"""`exact@1`: right only if the answer equals the reference, calls in all names and values (F.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import ClassVar

from ttsi import JSON, Answer, Completion, Score, Task, form_of, option


@dataclass(frozen=True)
class Exact:
    """An answer is right if its value is: exact match of normal forms.

    What the normal form is, the task's answer form says.

    The options are the switches of the form `calls`; the others have none.

    `version` changes whenever any answer could be scored differently.
    """

    name: ClassVar[str] = "exact"
    version: ClassVar[str] = "exact@1"

    fill_defaults: bool = option(
        True, "Fill in declared defaults; null for an optional parameter is leaving it out."
    )
    coerce: bool = option(True, "Read values by the schema's type where nothing is lost.")
    trim: bool = option(True, "Compare strings in NFC, without outer white space.")
    ordered: bool = option(False, "Calls must come in the reference's order.")
    renumber_references: bool = option(
        True, "Compare references to earlier calls (API_call_0) up to renumbering."
    )
    fold_text: bool = option(
        False,
        "Compare strings without case, spaces and , . / - _ * ^, single quotes as double ones.",
    )
    rewritten_names: bool = option(
        False,
        "Take a name as an API rewrote it (math_hypot) for the one tool that it can mean.",
    )

    def score(self, task: Task, reference: Answer, completion: Completion) -> Score:
        found = form_of(task).score(task, reference, completion.answer, self._options)
        if completion.cut and not found.correct:
            return replace(found, detail=f"{found.detail}; the answer was cut off at max_tokens")
        return found

    @cached_property
    def _options(self) -> Mapping[str, JSON]:
        return asdict(self)
