"""`exact@1`: right only if every call's name, arguments and values match (section F.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ttsi.answers.calls import Switches
from ttsi.answers.calls.match import score_calls
from ttsi.options import option
from ttsi.types import Completion, Score, Task, ToolCall


@dataclass(frozen=True)
class Exact:
    """Exact match in normal form (DESIGN section 8); each option is a switch of `Switches`.

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

    def score(self, task: Task, reference: Sequence[ToolCall], completion: Completion) -> Score:
        return score_calls(task.tools, reference, completion, self.switches)

    @property
    def switches(self) -> Switches:
        return Switches(
            fill_defaults=self.fill_defaults,
            coerce=self.coerce,
            trim=self.trim,
            ordered=self.ordered,
            renumber_references=self.renumber_references,
            fold_text=self.fold_text,
            rewritten_names=self.rewritten_names,
        )
