"""BIG-Bench Hard: 6,511 rows of 27 tasks that were hard for language models in 2022.

23 tasks choose among options or fixed words, two ask for a number, two for a text; `_bbh_source`
lists them. Three rows of two choosing tasks do not list the answer among their options, because a
comma in the name of the film or band split it. These rows ask for a text, as the authors score
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ttsi import JSON, Sample, Task, UsageError, form_of, option
from ttsi_benchmarks._bbh_source import FILES, OTHER_FORMS, TASKS, choices_of, read_examples
from ttsi_benchmarks._hammer import files_revision
from ttsi_benchmarks._select import Selection, evenly, places

LOADER_VERSION = 1
"""Increase it when the same files would give other tasks, references or ids."""

INSTRUCTION = (
    "Answer the question. Think step by step, in a few short sentences. Then end with a line of "
    "its own: So the answer is X. There X is {wanted}, and nothing else."
)
FORMS = ("choice", "number", "text")
LETTER = "the letter of the right option in its brackets"
FULL_TEXT = "the right option's text, without a letter"
WANTED: Mapping[str, str] = {
    "dyck_languages": "the brackets that are missing, with a space between two",
    "multistep_arithmetic_two": "a number",
    "object_counting": "a number",
    "word_sorting": "all words in their order, with a space between two",
}


@dataclass(frozen=True)
class Bbh(Selection):
    """BIG-Bench Hard: 27 tasks of reasoning; a choice, a number or a text is right.

    Ids are bbh/boolean_expressions/0 to bbh/word_sorting/249.
    """

    tasks: list[str] = option(
        list(TASKS),
        "Which tasks.",
        items={"enum": list(TASKS)},
        minItems=1,
        uniqueItems=True,
    )
    forms: list[str] = option(
        list(FORMS),
        "Rows of which answer forms; those of `choice` alone have candidates that can be scored.",
        items={"enum": list(FORMS)},
        minItems=1,
        uniqueItems=True,
    )
    scoring: ClassVar[Mapping[str, JSON]] = {}

    def all_samples(self) -> list[Sample]:
        samples = [
            _sample(name, i, row)
            for name in TASKS
            if name in self.tasks
            for i, row in enumerate(read_examples(FILES[name]))
        ]
        found = [sample for sample in samples if sample.task.form in self.forms]
        if not found:
            raise UsageError(
                f"No row of {', '.join(self.tasks)} is answered in the form "
                f"{' or '.join(self.forms)}.",
                where="options `tasks` and `forms`",
                cure="Leave one of the two out, or name tasks that have rows of the form.",
            )
        return found

    def revision(self) -> str:
        return files_revision(*FILES.values(), loader=LOADER_VERSION)

    def places(self, rows: Sequence[Sample]) -> list[int]:
        """Distribute `limit` evenly over the tasks, then over the rows of each task."""
        if self.limit is None or self.select == "first":
            return super().places(rows)
        tasks: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            tasks.setdefault(row.id.rpartition("/")[0], []).append(place)
        shares = evenly([len(own) for own in tasks.values()], self.limit)
        return [
            own[place]
            for own, share in zip(tasks.values(), shares, strict=True)
            for place in places(len(own), share, "even")
        ]


def _sample(name: str, place: int, row: Mapping[str, str]) -> Sample:
    task = _task(f"bbh/{name}/{place}", name, row["input"].strip(), row["target"])
    return Sample(task, form_of(task).read(task, row["target"]))


def _task(id: str, name: str, input: str, target: str) -> Task:
    if name in OTHER_FORMS:
        return Task(id, (), _instruction(WANTED[name]), input, form=OTHER_FORMS[name])
    choices = tuple(choices_of(name, input))
    if target not in choices:
        return Task(id, (), _instruction(FULL_TEXT), input, form="text")
    wanted = LETTER if choices[0].startswith("(") else " or ".join(choices)
    return Task(id, (), _instruction(wanted), input, form="choice", choices=choices)


def _instruction(wanted: str) -> str:
    return INSTRUCTION.format(wanted=wanted)
