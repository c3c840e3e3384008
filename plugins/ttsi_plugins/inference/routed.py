"""A few words of routing before each answer: which tool, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ttsi import (
    Adaptation,
    Completion,
    Engine,
    Generation,
    Request,
    Task,
    draw_seed,
    option,
    read_completion,
)
from ttsi_plugins.inference.direct import Direct

OPENING = "The tool to call is"
_TAG = r"</?\w"
_ENDS = {
    "why": re.compile(rf"\n|[{{\[]|{_TAG}"),
    "name": re.compile(rf"(?<=\S)\s|[{{\[(]|{_TAG}"),
    "draft": re.compile(_TAG),
}
"""Where a routing ends: what follows is an attempt at the answer, or a mark."""


@dataclass(frozen=True)
class Routed(Direct):
    """First a free sentence that says which tool to call, then the answer.

    Where tools are on offer, the assistant's turn begins with "The tool to call is", and the model
    ends the sentence; otherwise with a short draft. Then the answer is written after it. The
    routing is kept in the text as a thought is, between <think> and </think>, so that it is not
    scored. It takes the place of the thought of `model.thinking`.
    """

    format: Literal["free", "tool_calls"] = option(
        "tool_calls",
        "Free text, or decoding constrained to the JSON of a right-shaped answer, after the "
        "routing.",
    )
    routing: Literal["why", "name"] = option(
        "why", "Ask for the tool and the reason, or for the tool's name alone."
    )
    routing_tokens: int = option(24, "Length at which a routing is cut.", minimum=1)

    def answer(
        self,
        tasks: Sequence[Task],
        adaptations: Sequence[Adaptation | None],
        engine: Engine,
        seed: int,
    ) -> list[Completion]:
        asked = self.asked(tasks, adaptations, seed)
        openings = [OPENING if task.tools else "" for task in tasks]
        first = [
            self._first(request, opening, draw_seed(seed, task.id, "route"))
            for task, request, opening in zip(tasks, asked, openings, strict=True)
        ]
        routes = engine.generate(first)
        said = [self._said(*each) for each in zip(openings, routes, strict=True)]
        then = [_after(*each) for each in zip(asked, said, strict=True)]
        answers = engine.generate(then)
        return [_joined(*each) for each in zip(tasks, said, routes, answers, strict=True)]

    def _first(self, request: Request, opening: str, seed: int) -> Request:
        """Return the request for the routing: free, short and without a thought."""
        return replace(
            request,
            prompt=replace(request.prompt, opening=opening, thinking=False),
            sampling=replace(request.sampling, max_tokens=self.routing_tokens),
            seed=seed,
            grammar=None,
            stop=(),
        )

    def _said(self, opening: str, route: Generation) -> str:
        """Return opening and routing, in plain words; "" if the model wrote none."""
        kind = self.routing if opening else "draft"
        found = _ENDS[kind].search(route.text)
        words = route.text[: found.start() if found else None].rstrip()
        return f"{opening}{words}" if words.strip() else ""


def _after(request: Request, said: str) -> Request:
    opening = f"{said}\n\n" if said else ""
    return replace(request, prompt=replace(request.prompt, opening=opening, thinking=False))


def _joined(task: Task, said: str, route: Generation, answer: Generation) -> Completion:
    """Return the completion with the routing as a thought, and the tokens of both texts."""
    read = read_completion(task, answer)
    return replace(
        read,
        text=f"<think>\n{said}\n</think>\n\n{read.text}" if said else read.text,
        completion_tokens=route.completion_tokens + answer.completion_tokens,
        logprob=route.logprob + answer.logprob,
    )
