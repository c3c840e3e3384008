"""Pass answers to the parser and the scorer as a run does: on real tasks, or on tools f and g."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from ttsi import registry
from ttsi.answers import form_of
from ttsi.answers.calls.parse import parse_calls
from ttsi.answers.calls.values import ToolCall
from ttsi.types import AnswerStatus, Completion, Sample, Score

CASES = Path(os.environ["TTSI_DATA_DIR"]).parent / "cases"


def shared(name: str) -> str:
    return (CASES / name).read_text(encoding="utf-8")


@cache
def samples(benchmark: str) -> dict[str, Sample]:
    made: Any = registry.load("benchmarks", benchmark)()
    return {sample.id: sample for sample in made.samples()}


@cache
def scorer(benchmark: str) -> Any:
    made: Any = registry.load("scorers", "exact")
    return made(**registry.scoring_preset(benchmark, "exact"))


def verdict(sample: Sample, text: str) -> Score:
    said = Completion(text, form_of(sample.task).parse(sample.task, text))
    score: Score = scorer(sample.id.split("/")[0]).score(sample.task, sample.reference, said)
    return score


def read(text: str, *names: str) -> tuple[AnswerStatus, list[ToolCall]]:
    parsed = parse_calls(text, names or ("publish", "f", "g"))
    return parsed.status, list(parsed.calls)
