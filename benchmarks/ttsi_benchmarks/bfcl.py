"""Berkeley Function Calling Leaderboard, single turns: 1,000 rows with calls, 240 without.

The rows are those of the wheel `bfcl-eval`. A row has this shape (the values are invented), and
another file has the answers under the same id:

    {"id": "multiple_7",
     "question": [[{"role": "user", "content": "Book a table for four at Da Pino."}]],
     "function": [{"name": "table.book", "description": "Reserve a table in a restaurant",
                   "parameters": {"type": "dict", "required": ["restaurant"], "properties": {
                       "restaurant": {"type": "string", "description": "Which restaurant"},
                       "guests": {"type": "integer", "default": 2}}}}, ...]}
    {"id": "multiple_7",
     "ground_truth": [{"table.book": {"restaurant": ["Da Pino", "Pino"], "guests": [4, ""]}}]}

| category | functions on offer | calls |
|---|---|---|
| simple_python | 1 | 1 |
| multiple | 2 to 4 | 1 |
| parallel | 1 | 2 to 8 |
| parallel_multiple | 2 to 4 | 2 to 5 |
| irrelevance | 1 | none |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ttsi import JSON, Sample, answer_with, option
from ttsi.rows.rendering import make_task
from ttsi_benchmarks._bfcl_rows import Row, to_reference, to_tool
from ttsi_benchmarks._bfcl_source import ANSWERS, CATEGORIES, QUESTIONS, read_lines
from ttsi_benchmarks._hammer import files_revision
from ttsi_benchmarks._select import CallSelection

LOADER_VERSION = 1
"""Increase it when the same files would give other tools, references or ids."""

INSTRUCTION = (
    "Call the tools that do what the user asks, once for each thing asked. Leave out optional "
    "parameters that the user does not mention. If no tool can do it, make no call: answer []."
)


@dataclass(frozen=True)
class Bfcl(CallSelection):
    """One call, several or none: the Berkeley Function Calling Leaderboard, single turns.

    Ids are bfcl/simple_python/0 to bfcl/irrelevance/239.

    `scoring` is what BFCL's own checker forgives (docs/benchmarks.md lists where they differ).
    """

    categories: list[str] = option(
        list(CATEGORIES),
        "Which categories.",
        items={"enum": list(CATEGORIES)},
        minItems=1,
        uniqueItems=True,
    )
    scoring: ClassVar[Mapping[str, JSON]] = {
        "fill_defaults": False,
        "coerce": False,
        "trim": False,
        "fold_text": True,
        "rewritten_names": True,
    }

    def all_samples(self) -> list[Sample]:
        return [
            sample
            for category in CATEGORIES
            if category in self.categories
            for sample in _category(category)
        ]

    def revision(self) -> str:
        return files_revision(*QUESTIONS.values(), *ANSWERS.values(), loader=LOADER_VERSION)


def _category(category: str) -> list[Sample]:
    rows = read_lines(QUESTIONS[category])
    answers: list[list[Row]] = [[] for _ in rows]
    if category in ANSWERS:
        answers = [row["ground_truth"] for row in read_lines(ANSWERS[category])]
    return [
        _sample(f"bfcl/{category}/{i}", row, answer)
        for i, (row, answer) in enumerate(zip(rows, answers, strict=True))
    ]


def _sample(id: str, row: Row, answers: list[Row]) -> Sample:
    ((turn,),) = row["question"]
    functions = row["function"]
    task = make_task(id, INSTRUCTION, map(to_tool, functions), turn["content"].strip())
    return Sample(task, answer_with(to_reference(answer, functions) for answer in answers))
