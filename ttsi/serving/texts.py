"""A request for a plain completion, made into texts that the base model goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ttsi.serving.chats import drawing, model_of, named
from ttsi.serving.fields import Fields
from ttsi.serving.refusals import bad
from ttsi.serving.served import Limits, Served
from ttsi.types import Task

_LENGTH = 16
"""The most tokens of a completion that does not say, as in OpenAI's API."""


@dataclass(frozen=True, slots=True)
class Texts:
    """A request: a task for each choice of each prompt, whose `input` is the text to go on with."""

    model: str
    tasks: tuple[Task, ...]
    stream: bool
    include_usage: bool


def read_texts(body: Mapping[str, Any], served: Served) -> Texts:
    """Return what a body asks for. Raises Refusal."""
    fields, limits = Fields(body), served.limits
    model = model_of(fields, served)
    for name in ("suffix", "logit_bias"):
        fields.refuse(name, "")
    fields.refuse("echo", "", neutral=(False,))
    fields.refuse("best_of", "; use n", neutral=(1, fields.get("n")))
    if fields.integer("logprobs", 0, 5):
        raise bad("logprobs", "Only the tokens that were drawn have a logprob: use 0.")
    listed = {**body, "max_tokens": body.get("max_tokens", _LENGTH)}
    listed["logprobs"] = "logprobs" in body
    asked = drawing(Fields(listed), limits)
    tasks = []
    for at, prompt in enumerate(_prompts(body.get("prompt"), limits)):
        task = Task("", (), "", prompt, "text", asked=asked)
        tasks += [(f"{id}~prompt{at}" if at else id, task) for id in named(fields, task, limits)]
    streaming = Fields(fields.mapping("stream_options"), "stream_options.")
    return Texts(
        model,
        tuple(replace(task, id=id) for id, task in tasks),
        stream=fields.boolean("stream"),
        include_usage=streaming.boolean("include_usage"),
    )


def _prompts(given: Any, limits: Limits) -> list[str]:
    prompts = [given] if isinstance(given, str) else given
    right = isinstance(prompts, list) and 0 < len(prompts) <= limits.texts
    if not right or not all(isinstance(each, str) and each for each in prompts):
        raise bad("prompt", f"prompt is a text, or a list of up to {limits.texts}; none is empty.")
    return list(prompts)
