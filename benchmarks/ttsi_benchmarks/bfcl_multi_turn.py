"""BFCL's multi-turn conversations: 800 episodes with eight simulated APIs.

| category | rows | what is special |
|---|---|---|
| base | 200 | |
| miss_func | 200 | functions are held back until a turn |
| miss_param | 200 | a question lacks a value, which the next one gives |
| long_context | 200 | the APIs return long contents |

The APIs are those of the wheel `bfcl-eval`, run as they are in a process of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from ttsi import JSON, Sample, answer_with, option
from ttsi_benchmarks._hammer import files_revision
from ttsi_benchmarks._select import CallSelection
from ttsi_benchmarks._turns_episode import Conversation, task_of
from ttsi_benchmarks._turns_rows import ANSWERS, CATEGORIES, DOCS, QUESTIONS, Row, rows

LOADER_VERSION = 1
"""Increase it when the same files would give other tools, references or ids."""


@dataclass(frozen=True)
class BfclMultiTurn(CallSelection):
    """Conversations of several turns with simulated APIs: BFCL, multi-turn.

    Ids are bfcl_multi_turn/base/0 to .../long_context/199.

    A turn ends with an answer that makes no call, so that constrained decoding needs
    `"min_calls": 0`.
    """

    categories: list[str] = option(
        list(CATEGORIES),
        "Which categories.",
        items={"enum": list(CATEGORIES)},
        minItems=1,
        uniqueItems=True,
    )
    max_steps: int = option(20, "Most answers with calls in a turn; one more is wrong.", minimum=1)
    scoring: ClassVar[Mapping[str, JSON]] = {}

    def all_samples(self) -> list[Sample]:
        return [
            self._sample(row)
            for category in CATEGORIES
            if category in self.categories
            for row in rows(category)
        ]

    def revision(self) -> str:
        assets = (*QUESTIONS.values(), *ANSWERS.values(), *DOCS.values())
        return files_revision(*assets, loader=LOADER_VERSION)

    def _sample(self, row: Row) -> Sample:
        return Sample(
            task_of(row, row.turns[0]),
            answer_with(call for turn in row.turns for call in turn.right),
            partial(Conversation, row, self.wording, self.max_steps),
        )
