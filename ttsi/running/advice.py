"""What to try next, for who reads a run's table, where a format or a length stood in the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ttsi.records.journal import SAMPLES, read_last
from ttsi.spec import Spec, resolved

_UNREAD = ("unparsable", "no_call", "no_answer")
_MANY = 0.5
"""The share of all answers from which on those that cannot be read are told of."""


def advice(spec: Spec, results: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence where no example was valid, and one where most answers cannot be read."""
    written = resolved(spec)
    lacking, rejected = results["not_generated"], results.get("rejected")
    if rejected and not results["adapted"] and lacking == results["uncertain"]:
        said = (
            f"Nothing was adapted: for none of {lacking} uncertain samples did G write a valid "
            "example. `ttsi report` shows what it wrote and why that was rejected."
        )
        if written["generator"].get("format") == "free":
            said += (
                " Small models seldom write valid JSON freely; this allows nothing else: "
                "--set generator.format=json"
            )
        yield said
    answers = results["base"] or results
    unread = sum(answers["reasons"].get(reason, 0) for reason in _UNREAD)
    free = written["inference"].get("format") == "free"
    if free and unread > _MANY * answers["samples"]:
        whose = "answers of the base model" if results["base"] else "answers"
        yield (
            f"{unread} of {answers['samples']} {whose} give nothing that can be scored. "
            "This allows nothing but answers in the task's form: "
            "--set inference.format=tool_calls"
        )


def cut_advice(spec: Spec, results: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield a sentence where wrong answers were cut off at max_tokens; `folder` is the seed's."""
    if not any(results["reasons"].get(reason) for reason in _UNREAD):
        return
    records = read_last(folder / SAMPLES)
    wrong = [each.final for each in records if each.final_score and not each.final_score.correct]
    cut = sum(final.cut for final in wrong if final is not None)
    most = resolved(spec)["inference"].get("max_tokens")
    if cut and most:
        yield (
            f"{cut} of {len(wrong)} wrong answers were cut off at max_tokens. Longer ones: "
            f"--set inference.max_tokens={2 * most}"
        )
