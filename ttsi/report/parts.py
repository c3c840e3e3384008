"""Parts of a record, or of an episode's step, as plain data: answers, examples and training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ttsi.pages import text
from ttsi.report.figures import reason
from ttsi.types import JSON, Answer, AnswerStatus, Example, Rejections, Score


def value_of(answer: Answer) -> str:
    """Return the answer's value as JSON; a list has each item on its own line if all are short."""
    if answer.status is not AnswerStatus.OK:
        return ""
    values = answer.value if isinstance(answer.value, list) and answer.value else [answer.value]
    lines = [json.dumps(each, ensure_ascii=False) for each in values]
    if max(map(len, lines)) > 72:
        lines = [json.dumps(each, ensure_ascii=False, indent=2) for each in values]
    return "\n".join(lines)


def example_view(example: Example) -> dict[str, Any]:
    return {
        "input": example.task.input,
        "answer": value_of(example.answer),
        "text": example.text,
        "attempts": text.count(example.attempts, "attempt"),
    }


def rejected_view(found: Rejections) -> dict[str, Any] | None:
    """Return the outputs of G that are no examples; None where there are none."""
    if not found.counts:
        return None
    total = sum(found.counts.values())
    return {
        "title": f"Rejected outputs of G ({total})",
        "kept": [(reason(each.reason), each.detail, each.text) for each in found.kept],
        "more": total - len(found.kept),
    }


def training_view(receipt: Mapping[str, JSON] | None) -> dict[str, Any] | None:
    if receipt is None:
        return None
    steps = list(zip(receipt.get("losses", ()), receipt.get("learning_rates", ()), strict=False))
    return {
        "kind": receipt["kind"],
        "source": receipt.get("source", ""),
        "digest": receipt.get("digest", ""),
        "seconds": text.seconds(receipt.get("seconds")),
        "tokens": f"{receipt.get('tokens', 0):,}",
        "rank": (receipt.get("config") or {}).get("r"),
        "steps": [(at, f"{loss:.4f}", f"{pace:.2g}") for at, (loss, pace) in enumerate(steps, 1)],
    }


def why(score: Score | None) -> str:
    """Return why an answer, or a turn, is wrong; "" where it is right or has no score."""
    if score is None or score.reason is None:
        return ""
    return ": ".join(part for part in (reason(score.reason), score.detail) if part)
