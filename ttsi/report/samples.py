"""One sample's record as plain data: its request, examples, training, answers and scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ttsi.errors import PluginError
from ttsi.pages import text
from ttsi.report import episodes
from ttsi.report.facts import Facts
from ttsi.report.figures import STAGE_NAMES, reason, stages_in_order
from ttsi.report.parts import example_view, rejected_view, training_view, value_of, why
from ttsi.types import JSON, Completion, Record, Sample, Score, Tool

MOST_CANDIDATES = 25
OUTCOMES = ("fixed", "broken", "right", "wrong", "error")


@dataclass(frozen=True)
class ToolView:
    """A tool on offer; `parameters`: (name, type, required, description)."""

    name: str
    description: str
    parameters: Sequence[tuple[str, str, bool, str]]


@dataclass(frozen=True)
class AnswerView:
    """An answer as written and as parsed, with its score."""

    title: str
    text: str
    value: str
    status: str
    correct: bool | None
    why: str
    size: str


@dataclass(frozen=True)
class SampleView:
    """All that the page shows of one record. `anchor`: its HTML id; `link`: the link to that."""

    anchor: str
    id: str
    seed: int | None
    outcome: str
    tags: Sequence[str]
    confidence: str
    uncertain: bool | None
    excerpt: str
    sample: Sample | None
    asked: Sequence[tuple[str, str]]
    tools: Sequence[ToolView]
    candidates: Sequence[tuple[str, float, float]]
    more_candidates: int
    examples: Sequence[Mapping[str, Any]]
    rejected: Mapping[str, Any] | None
    training: Mapping[str, Any] | None
    answers: Sequence[AnswerView]
    conversation: episodes.Conversation | None
    reference: str
    note: str
    error: str
    costs: Sequence[Mapping[str, str]]

    @property
    def same_text(self) -> bool:
        """Whether the adapted answer's text equals the base answer's."""
        return len({answer.text for answer in self.answers}) == 1 < len(self.answers)

    @property
    def link(self) -> str:
        return "#" + quote(self.anchor, safe="/")


def outcome(record: Record) -> str:
    """Return the sample's outcome, one of OUTCOMES."""
    if record.error or record.final_score is None:
        return "error"
    final = record.final_score.correct
    base = record.base_score.correct if record.base_score else final
    if base == final:
        return "right" if final else "wrong"
    return "fixed" if final else "broken"


def tags(record: Record) -> list[str]:
    """Return the filters that a sample matches."""
    found = [outcome(record)]
    if found == ["broken"]:
        found.append("wrong")
    if record.uncertain:
        found.append("uncertain")
    return found


def anchor(record: Record, prefix: str) -> str:
    """Return the record's HTML id, which may hold any character but white space."""
    return "sample/" + prefix + "_".join(text.visible(record.id).split())


def chosen(records: Sequence[Record], limit: int) -> list[Record]:
    """Choose at most `limit` records: flips and errors before uncertain ones before the rest.

    The chosen records keep their order.
    """
    ranks = {"fixed": 0, "broken": 0, "error": 0}
    ranked = sorted(
        range(len(records)),
        key=lambda at: (
            ranks.get(outcome(records[at]), 1),
            "uncertain" not in tags(records[at]),
            at,
        ),
    )
    return [records[at] for at in sorted(ranked[:limit])]


def view(record: Record, facts: Facts, prefix: str) -> SampleView:
    """Return the view of a record. `prefix` makes its anchor unique among several runs."""
    sample = facts.sample(record)
    several = len(facts.run.seeds) > 1
    estimate = record.estimate
    candidates = _candidates(estimate.scores) if estimate else []
    return SampleView(
        anchor=anchor_of(record, facts, prefix),
        id=record.id,
        seed=record.seed if several else None,
        outcome=outcome(record),
        tags=tags(record),
        confidence=text.rate(estimate.confidence) if estimate else "",
        uncertain=estimate.uncertain if estimate else None,
        excerpt=text.excerpt(sample.task.input) if sample else "",
        sample=sample,
        asked=episodes.spoken(sample.task.said) if sample else [],
        tools=[_tool(tool) for tool in sample.task.tools] if sample else [],
        candidates=candidates[:MOST_CANDIDATES],
        more_candidates=max(len(candidates) - MOST_CANDIDATES, 0),
        examples=[example_view(example) for example in record.examples],
        rejected=rejected_view(record.rejected),
        training=training_view(record.receipt),
        answers=[] if record.steps else _answers(record),
        conversation=episodes.view(record),
        reference=value_of(sample.reference) if sample else "",
        note=record.note,
        error=record.error,
        costs=_costs(record),
    )


def anchor_of(record: Record, facts: Facts, prefix: str) -> str:
    seed = f"seed-{record.seed}/" if len(facts.run.seeds) > 1 else ""
    return anchor(record, prefix + seed)


def _candidates(scores: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """Return (name, softmax probability, log-likelihood) of each candidate, the likeliest first."""
    if not scores:
        return []
    most = max(scores.values())
    weights = {name: math.exp(score - most) for name, score in scores.items()}
    whole = sum(weights.values())
    ranked = sorted(scores, key=lambda name: -scores[name])
    return [(name, weights[name] / whole, scores[name]) for name in ranked]


def _tool(tool: Tool) -> ToolView:
    """Return a tool's view; of alternative parameters (anyOf), those of all branches.

    A parameter is required if each branch requires it.
    """
    meant = _meant(tool)
    branches: Sequence[Any] = meant.get("anyOf", [meant])
    properties = {name: each for b in branches for name, each in b.get("properties", {}).items()}
    written = tool.parameters.get("properties", {})
    return ToolView(
        tool.name,
        tool.description,
        [
            (
                name,
                _type(schema),
                all(name in branch.get("required", ()) for branch in branches),
                str(_of(written.get(name), "description") or ""),
            )
            for name, schema in properties.items()
        ],
    )


def _meant(tool: Tool) -> Mapping[str, JSON]:
    """Return the parameters in plain form, or as written where they have no plain form."""
    try:
        return tool.schema
    except PluginError:
        return tool.parameters


def _type(schema: JSON) -> str:
    branches = _of(schema, "anyOf")
    if branches:
        return "|".join(map(_type, branches))
    kind = _of(schema, "type") or str(_of(schema, "$ref") or "any").rpartition("/")[2]
    kinds = "|".join(kind) if isinstance(kind, list) else str(kind)
    options = _of(schema, "enum")
    return f"{kinds}: {', '.join(text.setting(each) for each in options)}" if options else kinds


def _of(schema: JSON, key: str) -> Any:
    return schema.get(key) if isinstance(schema, Mapping) else None


def _answers(record: Record) -> list[AnswerView]:
    if record.final is None:
        return []
    if not record.adapted:
        return [_answer("Base model", record.final, record.final_score)]
    adapted = _answer("After adaptation", record.final, record.final_score)
    if record.base is None:
        return [adapted]
    return [_answer("Base model", record.base, record.base_score), adapted]


def _answer(title: str, answer: Completion, score: Score | None) -> AnswerView:
    size = f"{answer.prompt_tokens:,} tokens in, {answer.completion_tokens:,} out"
    if answer.logprob:
        size += f", log-probability {text.decimal(answer.logprob)}"
    if answer.cut:
        size += ", cut off at max_tokens"
    return AnswerView(
        title=title,
        text=answer.text,
        value=value_of(answer.answer),
        status=reason(answer.answer.status.value),
        correct=score.correct if score else None,
        why=why(score),
        size=size,
    )


def _costs(record: Record) -> list[dict[str, str]]:
    return [
        {
            "stage": STAGE_NAMES.get(stage, stage),
            "seconds": text.seconds(cost.seconds),
            "prompt_tokens": f"{cost.prompt_tokens:,.0f}",
            "completion_tokens": f"{cost.completion_tokens:,.0f}",
            "usd": text.dollars(cost.usd) if cost.usd else "",
        }
        for stage, cost in stages_in_order(record.costs)
    ]
