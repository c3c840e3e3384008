"""Records as JSON lines: everything about one sample, without any reference."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar, get_args

from ttsi.answers import form_of
from ttsi.types import (
    JSON,
    Answer,
    AnswerStatus,
    Completion,
    Estimate,
    Example,
    Message,
    Played,
    Record,
    Rejected,
    Rejections,
    Role,
    Score,
    StageCost,
    Step,
    Task,
)

Made = TypeVar("Made")

_NUMBER = (int, float)
_PLAIN: dict[str, Any] = {"str": str, "bool": bool, "int": int, "float": _NUMBER}


COSTS_ARE = "this sample's even share of its waves"
"""Written into each record: tokens that are no whole numbers would else puzzle its readers."""


def to_line(record: Record) -> str:
    """Return one line of samples.jsonl, without its newline, in ASCII so that any text survives."""
    return json.dumps(to_json(record), ensure_ascii=True, allow_nan=False)


def to_json(record: Record) -> dict[str, JSON]:
    fields: dict[str, Any] = {
        "id": record.id,
        "digest": record.digest,
        "seed": record.seed,
        "estimate": _plain(record.estimate),
        "examples": [_example_json(example) for example in record.examples],
        "receipt": record.receipt and dict(record.receipt),
        "base": record.base and _completion_json(record.base),
        "base_score": _plain(record.base_score),
        "final": record.final and _completion_json(record.final),
        "final_score": _plain(record.final_score),
        "adapted": record.adapted,
        "note": record.note,
        "error": record.error,
        "costs": _costs_json(record.costs),
        "costs_are": COSTS_ARE,
        "steps": [_step_json(step) for step in record.steps],
    }
    if record.base_steps:
        fields["base_steps"] = [_step_json(step) for step in record.base_steps]
    return {**fields, **_rejected_json(record.rejected)}


def from_json(data: dict[str, Any]) -> Record:
    """Return the inverse of `to_json`. Raises KeyError, TypeError or ValueError for other data.

    Prompts are not stored twice, so synthetic tasks have only their input; `whole_task` restores
    the rest.
    """
    return _made(
        Record,
        id=data["id"],
        digest=data["digest"],
        seed=data["seed"],
        estimate=_estimate(data["estimate"]),
        examples=tuple(_example(example) for example in _of(list, data["examples"])),
        receipt=_receipt(data["receipt"]),
        base=_completion(data["base"]),
        base_score=_score(data["base_score"]),
        final=_completion(data["final"]),
        final_score=_score(data["final_score"]),
        adapted=data["adapted"],
        note=data["note"],
        error=data["error"],
        costs=_costs(data["costs"]),
        steps=tuple(_step(step) for step in _of(list, data["steps"])),
        base_steps=tuple(_step(step) for step in _of(list, data.get("base_steps", []))),
        rejected=_rejected(data.get("rejected")),
    )


def played_to_json(played: Played) -> dict[str, JSON]:
    return {
        "id": played.id,
        "digest": played.digest,
        "alone": played.alone,
        "number": played.number,
        "step": _step_json(played.step),
        "costs": _costs_json(played.costs),
        "kept": played.kept,
    }


def played_from_json(data: dict[str, Any]) -> Played:
    """Return the inverse of `played_to_json`. Raises as `from_json`."""
    step, costs = _step(_of(dict, data["step"])), _costs(data["costs"])
    return _made(Played, **{**data, "step": step, "costs": costs})


def whole_task(example: Example, task: Task) -> Task:
    """Return the task of a stored example of `task`, with the parts that the two share."""
    whole = form_of(task).variant(task, "", example.task.input)
    return dataclasses.replace(whole, id=example.task.id)


def _plain(thing: Any) -> Any:
    """Return the fields of a dataclass by name, or None for None.

    The values are not copied: `dataclasses.asdict` copies each, which took most of a record's time.
    """
    return thing and {name: getattr(thing, name) for name in _fields(thing.__class__)}


def _made(kind: Callable[..., Made], **values: Any) -> Made:
    """Construct a record type after checking its plain fields: a file may hold anything."""
    for name, plain in _fields(kind).items():
        if plain is not None and name in values:
            _of(plain, values[name])
    return kind(**values)


@cache
def _fields(kind: Any) -> dict[str, Any]:
    """Return the fields of a record type by name: the type of a plain value, None for others.

    A field that does not count in a comparison, such as an answer's tokens, is not recorded.
    """
    every = dataclasses.fields(kind)
    return {field.name: _PLAIN.get(str(field.type)) for field in every if field.compare}


def _of(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind in (int, _NUMBER)):
        raise TypeError(f"{type(value).__name__} where something else belongs")
    return value


def _costs_json(costs: Mapping[str, StageCost]) -> dict[str, JSON]:
    return {stage: _plain(cost) for stage, cost in costs.items()}


def _costs(data: Any) -> dict[str, StageCost]:
    return {stage: _made(StageCost, **cost) for stage, cost in _of(dict, data).items()}


def _estimate(data: dict[str, Any] | None) -> Estimate | None:
    if data is None:
        return None
    for score in _of(dict, data["scores"]).values():
        _of(_NUMBER, score)
    return _made(Estimate, **data)


def _receipt(data: Any) -> dict[str, JSON] | None:
    if data is None:
        return None
    receipt: dict[str, JSON] = _of(dict, data)
    _of(str, receipt["kind"])
    return receipt


def _example_json(example: Example) -> dict[str, JSON]:
    return {
        "id": example.task.id,
        "input": example.task.input,
        "answer": _plain(example.answer),
        "text": example.text,
        "attempts": example.attempts,
        **({"evidence": dict(example.evidence)} if example.evidence else {}),
        "digest": example.digest,
    }


def _rejected_json(found: Rejections) -> dict[str, JSON]:
    """Return the key of what was rejected; nothing where nothing was."""
    if not found.counts:
        return {}
    return {
        "rejected": {
            "counts": dict(found.counts),
            "kept": [_plain(each) for each in found.kept],
        }
    }


def _completion_json(completion: Completion) -> dict[str, JSON]:
    return {**_plain(completion), "answer": _plain(completion.answer)}


def _step_json(step: Step) -> dict[str, JSON]:
    return {
        "said": [_plain(message) for message in step.said],
        "digest": step.digest,
        "estimate": _plain(step.estimate),
        "examples": [_example_json(example) for example in step.examples],
        "receipt": step.receipt and dict(step.receipt),
        "answer": _completion_json(step.answer),
        "adapted": step.adapted,
        "turn": _plain(step.turn),
        **_rejected_json(step.rejected),
    }


def _step(data: dict[str, Any]) -> Step:
    answer = _completion(_of(dict, data["answer"]))
    return _made(
        Step,
        said=tuple(_message(_of(dict, said)) for said in _of(list, data["said"])),
        estimate=_estimate(data["estimate"]),
        examples=tuple(_example(example) for example in _of(list, data["examples"])),
        receipt=_receipt(data["receipt"]),
        answer=answer,
        adapted=data["adapted"],
        digest=data["digest"],
        turn=_score(data["turn"]),
        rejected=_rejected(data.get("rejected")),
    )


def _message(data: dict[str, Any]) -> Message:
    if data["role"] not in get_args(Role):
        raise ValueError("a message of nobody that speaks in a conversation")
    return _made(Message, **data)


def _answer(data: dict[str, Any]) -> Answer:
    status = AnswerStatus(data["status"])
    if (status is AnswerStatus.OK) == (data["value"] is None):
        raise ValueError("an answer has a value if its status is ok, and only then")
    return _made(Answer, status=status, value=data["value"], work=data["work"])


def _example(data: dict[str, Any]) -> Example:
    task = _made(Task, id=data["id"], tools=(), instruction="", input=data["input"])
    evidence = _of(dict, data.get("evidence", {}))
    for share in evidence.values():
        _of(_NUMBER, share)
    return _made(
        Example,
        task=task,
        answer=_answer(_of(dict, data["answer"])),
        text=data["text"],
        attempts=data["attempts"],
        evidence=evidence,
    )


def _rejected(data: dict[str, Any] | None) -> Rejections:
    if data is None:
        return Rejections()
    counts = _of(dict, data["counts"])
    for count in counts.values():
        _of(int, count)
    kept = tuple(_made(Rejected, **_of(dict, each)) for each in _of(list, data["kept"]))
    return Rejections(counts, kept)


def _completion(data: dict[str, Any] | None) -> Completion | None:
    if data is None:
        return None
    return _made(Completion, **{**data, "answer": _answer(_of(dict, data["answer"]))})


def _score(data: dict[str, Any] | None) -> Score | None:
    if data is None:
        return None
    if data["reason"] is not None:
        _of(str, data["reason"])
    if data.get("credit") is not None:
        _of(_NUMBER, data["credit"])
    return _made(Score, **data)
