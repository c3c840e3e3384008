"""GSM8K: 1,319 problems of grade-school arithmetic for testing, 7,473 for training.

A row has this shape (the values are invented). The answer ends in the number; what stands between
`<<` and `>>` is for a calculator and is left out here:

    {"question": "Mia has 3 boxes of 4 pens and gives away 2 pens. How many are left?",
     "answer": "Mia has 3*4=<<3*4=12>>12 pens.\\nShe keeps 12-2=<<12-2=10>>10.\\n#### 10"}

All numbers are whole; those of a thousand and more are written with commas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ttsi import JSON, Answer, Asset, Sample, Task, data_file, form_named, option
from ttsi.assets import github_asset
from ttsi_benchmarks._hammer import files_revision
from ttsi_benchmarks._select import Selection, places

LOADER_VERSION = 1
"""Increase it when the same files would give other tasks, references or ids."""

REPOSITORY = "openai/grade-school-math"
COMMIT = "3101c7d5072418e28b9008a6636bde82a006892c"

INSTRUCTION = (
    "Solve the problem. Write your work step by step, one step a line. Then write the answer on a "
    "last line of its own: #### and the number, without a unit."
)
SHOWN = "{instruction}\n\nSolved problems:\n\n{solved}"

Row = Mapping[str, Any]

_CALCULATION = re.compile(r"<<[^<>]*>>")


def _asset(stem: str, sha256: str) -> Asset:
    path = f"grade_school_math/data/{stem}.jsonl"
    return github_asset(f"gsm8k/{stem}.jsonl", REPOSITORY, COMMIT, path, sha256, "MIT")


TEST = _asset("test", "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14")
TRAIN = _asset("train", "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465")


@dataclass(frozen=True)
class Gsm8k(Selection):
    """Problems of grade-school arithmetic; the number that solves them is right.

    Ids are gsm8k/0 to gsm8k/1318.
    """

    shots: int = option(
        0,
        "How many solved problems of the train split the instruction shows, spread over it evenly.",
        minimum=0,
        maximum=32,
    )
    scoring: ClassVar[Mapping[str, JSON]] = {}

    def all_samples(self) -> list[Sample]:
        instruction = self._instruction()
        return [
            _sample(f"gsm8k/{i}", instruction, row) for i, row in enumerate(read_problems(TEST))
        ]

    def train(self) -> list[Sample]:
        """Return the training rows except those that `shots` shows: gsm8k/train/0 to 7472.

        Options of selection do not apply.
        """
        instruction = self._instruction()
        rows = read_problems(TRAIN)
        shown = set(places(len(rows), self.shots, "even"))
        left = (i for i in range(len(rows)) if i not in shown)
        return self.asked([_sample(f"gsm8k/train/{i}", instruction, rows[i]) for i in left])

    def revision(self) -> str:
        return files_revision(TEST, TRAIN, loader=LOADER_VERSION)

    def _instruction(self) -> str:
        """Return the system turn, with the solved problems.

        In the system turn they are shown to G, become part of its examples, and share one KV cache.
        """
        if not self.shots:
            return INSTRUCTION
        rows = read_problems(TRAIN)
        solved = [_solved(rows[place]) for place in places(len(rows), self.shots, "even")]
        return SHOWN.format(instruction=INSTRUCTION, solved="\n\n".join(solved))


def read_problems(asset: Asset) -> Sequence[Row]:
    lines = data_file(asset).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def reference(answer: str) -> Answer:
    """Return the number after `####` as the form spells it, and the work without `<<...>>`."""
    work, _, number = answer.rpartition("####")
    return Answer.of(number.strip().replace(",", ""), _CALCULATION.sub("", work).strip())


def _sample(id: str, instruction: str, row: Row) -> Sample:
    return Sample(_task(id, instruction, row), reference(row["answer"]))


def _task(id: str, instruction: str, row: Row) -> Task:
    return Task(id, (), instruction, row["question"].strip(), form="number")


def _solved(row: Row) -> str:
    """Return a problem and its solution, written as the form writes answers."""
    task = _task("shown", "", row)
    answer = form_named(task.form).write(task, reference(row["answer"]))
    return f"Problem: {task.input}\n{answer}"
