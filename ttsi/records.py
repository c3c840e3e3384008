"""Records as JSON lines: one sample's whole story, without any reference."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from ttsi.types import (
    JSON,
    Completion,
    Estimate,
    Example,
    ParseStatus,
    Reason,
    Record,
    Score,
    StageCost,
    Task,
    ToolCall,
)


def to_line(record: Record) -> str:
    """One line of samples.jsonl, without its newline. ASCII only, so any text survives."""
    return json.dumps(to_json(record), ensure_ascii=True, allow_nan=False)


def to_json(record: Record) -> dict[str, JSON]:
    fields: dict[str, Any] = {
        "id": record.id,
        "digest": record.digest,
        "seed": record.seed,
        "estimate": record.estimate and dataclasses.asdict(record.estimate),
        "examples": [_example_json(example) for example in record.examples],
        "receipt": record.receipt and dict(record.receipt),
        "base": record.base and _completion_json(record.base),
        "base_score": record.base_score and dataclasses.asdict(record.base_score),
        "final": record.final and _completion_json(record.final),
        "final_score": record.final_score and dataclasses.asdict(record.final_score),
        "adapted": record.adapted,
        "note": record.note,
        "error": record.error,
        "costs": {stage: dataclasses.asdict(cost) for stage, cost in record.costs.items()},
    }
    return fields


def from_json(data: dict[str, Any]) -> Record:
    """The inverse of `to_json`. Raises KeyError, TypeError or ValueError on anything else.

    Synthetic tasks come back as their input alone: prompts are not stored twice.
    """
    return Record(
        id=data["id"],
        digest=data["digest"],
        seed=data["seed"],
        estimate=Estimate(**data["estimate"]) if data["estimate"] else None,
        examples=tuple(_example(example) for example in data["examples"]),
        receipt=data["receipt"],
        base=_completion(data["base"]),
        base_score=_score(data["base_score"]),
        final=_completion(data["final"]),
        final_score=_score(data["final_score"]),
        adapted=data["adapted"],
        note=data["note"],
        error=data["error"],
        costs={stage: StageCost(**cost) for stage, cost in data["costs"].items()},
    )


def _example_json(example: Example) -> dict[str, JSON]:
    return {
        "id": example.task.id,
        "input": example.task.input,
        "calls": [call.as_json() for call in example.calls],
        "text": example.text,
        "attempts": example.attempts,
        "digest": example.digest,
    }


def _completion_json(completion: Completion) -> dict[str, JSON]:
    fields = {f.name: getattr(completion, f.name) for f in dataclasses.fields(completion)}
    return {**fields, "calls": [call.as_json() for call in completion.calls]}


def _calls(data: list[dict[str, Any]]) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(call["name"], call["arguments"]) for call in data)


def _example(data: dict[str, Any]) -> Example:
    task = Task(id=data["id"], tools=(), instruction="", input=data["input"])
    return Example(task, _calls(data["calls"]), data["text"], data["attempts"])


def _completion(data: dict[str, Any] | None) -> Completion | None:
    if data is None:
        return None
    return Completion(
        **{**data, "calls": _calls(data["calls"]), "status": ParseStatus(data["status"])}
    )


def _score(data: dict[str, Any] | None) -> Score | None:
    if data is None:
        return None
    reason = Reason(data["reason"]) if data["reason"] else None
    return Score(data["correct"], reason, data["detail"])
