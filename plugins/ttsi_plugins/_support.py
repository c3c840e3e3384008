"""Support: how far the request bears out each claim of an answer, shared by several plugins.

A claim is a part of an answer, such as an argument of a call (`ttsi.Claim`). What supports it:

    lexical     1 if the request's own words state the value, else 0
    likelihood  s(g), where s is the logistic function and g the gain of the claim: what the
                request adds to log P(value | answer so far), compared with a blank request
    both        s(g + STATED) if the words state it, else s(g - STATED)

A gain is a log likelihood ratio: did the request make the model write the value, or would it have
written it to anyone? `both` adds the words as a second, independent piece of evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ttsi import Claim, Engine, EngineCapability, Message, Prompt, Task

Basis: TypeAlias = Literal["lexical", "likelihood", "both"]

STATED = 2.0
"""The evidence, in nats, that a stated value counts for."""

BASIS = (
    "What supports a value: its words stand in the request, or the request makes the model "
    "likelier to write it than a blank request does, or both as two pieces of evidence."
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """The claims that an answer to `task` makes."""

    task: Task
    claims: Sequence[Claim]


def needs(basis: Basis) -> frozenset[EngineCapability]:
    """Return what `supports` asks of an engine."""
    return frozenset() if basis == "lexical" else frozenset({EngineCapability.LOGLIKELIHOOD})


def supports(made: Sequence[Claimed], engine: Engine, basis: Basis) -> list[list[float]]:
    """Return the support of each claim of each answer, in [0, 1]; one call for all of them."""
    if basis == "lexical":
        return [[float(claim.stated) for claim in each.claims] for each in made]
    weight = STATED if basis == "both" else 0.0
    return [
        [
            logistic(gain + (weight if claim.stated else -weight))
            for claim, gain in zip(each.claims, own, strict=True)
        ]
        for each, own in zip(made, gains(made, engine), strict=True)
    ]


def gains(made: Sequence[Claimed], engine: Engine) -> list[list[float]]:
    """Return the gain of each claim of each answer, in nats."""
    slots = [(each.task, claim) for each in made for claim in each.claims]
    prompts = [task.prompt(claim.opening) for task, claim in slots]
    prompts += [blank(prompt) for prompt in prompts]
    texts = [[claim.text] for _, claim in slots]
    if not slots:
        return [[] for _ in made]
    scored = [own[0].logprob for own in engine.loglikelihoods(prompts, texts * 2)]
    found = iter([a - b for a, b in zip(scored[: len(slots)], scored[len(slots) :], strict=True)])
    return [[next(found) for _ in each.claims] for each in made]


def blank(prompt: Prompt) -> Prompt:
    """Return the prompt with an empty user turn in place of everything after the system turn."""
    told = [turn for turn in prompt.messages[:1] if turn.role == "system"]
    return replace(prompt, messages=(*told, Message("user", "")))


def logistic(x: float) -> float:
    """Return 1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
