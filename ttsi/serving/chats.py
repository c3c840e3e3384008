"""A request for a chat completion, made into tasks: a conversation with tools and an answer form.

| request | task |
|---|---|
| no tools, or `tool_choice` none | form `text` |
| tools, `tool_choice` auto | form `calls` in free text; it may call none |
| the same, and the spec says `min_calls` | form `calls`, as the spec's inference decodes |
| `tool_choice` required, or a tool | form `calls` under its grammar, of that tool alone |
| `response_format` with a schema | a text that is JSON, valid for the schema |

Where tools may be called and none is, the model is asked again without them for what it says.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ttsi.digests import json_digest
from ttsi.parameters.plain import SchemaFault, plain_schema
from ttsi.rows.reading import CALL, INSTRUCTIONS
from ttsi.rows.rendering import ANSWER_FORMAT, CALLS_OR_WORDS, system_turn
from ttsi.serving.conversations import Heard, check_size, heard, offered
from ttsi.serving.fields import Fields
from ttsi.serving.refusals import Refusal, bad
from ttsi.serving.served import Limits, Served
from ttsi.serving.tickets import SAID
from ttsi.types import JSON, Asked, Task, Tool

_LARGEST = 2**63 - 1
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
_OR_WORDS = f"{CALL} If no tool can do it, answer in words."
_AS_JSON = "Answer with JSON that is valid for this schema, and with nothing else: "


@dataclass(frozen=True, slots=True)
class Chat:
    """A request: a task for each choice, and for each what is asked if it calls no tool."""

    model: str
    adapts: bool
    tasks: tuple[Task, ...]
    spoken: tuple[Task | None, ...]
    stream: bool
    include_usage: bool
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Choice:
    """What `tool_choice` and `parallel_tool_calls` say of the tools that are `offered`."""

    offered: tuple[Tool, ...]
    must: bool
    most: int | None


def read_chat(body: Mapping[str, Any], served: Served) -> Chat:
    """Return what a body asks for. Raises Refusal."""
    fields, limits = Fields(body), served.limits
    model = model_of(fields, served)
    _refuse_unsupported(fields)
    said, tools = heard(body.get("messages"), limits), offered(body.get("tools"), limits)
    choice = _choice(fields, tools)
    asked = replace(drawing(fields, limits), schema=_schema(fields, limits))
    spoken = _spoken(said, asked)
    task = _calling(said, choice, asked, served) if choice.offered else spoken
    ids = named(fields, task, limits)
    otherwise = spoken if choice.offered and not choice.must else None
    streaming = Fields(fields.mapping("stream_options"), "stream_options.")
    return Chat(
        model,
        model == served.name,
        tuple(replace(task, id=id) for id in ids),
        tuple(otherwise and replace(otherwise, id=f"{id}{SAID}") for id in ids),
        stream=fields.boolean("stream"),
        include_usage=streaming.boolean("include_usage"),
        row={"messages": list(said.messages), "tools": body.get("tools") or []},
    )


def model_of(fields: Fields, served: Served) -> str:
    """Return the model's name. Raises Refusal for one that is not served."""
    model = fields.text("model")
    if model not in served.models:
        told = f"There is no model {model!r:.100}; there are {' and '.join(served.models)}."
        raise Refusal(404, told, param="model", code="model_not_found")
    return model


def drawing(fields: Fields, limits: Limits) -> Asked:
    """Return what a body says of how its answer is drawn."""
    lengths = [fields.integer(n, 1, _LARGEST) for n in ("max_completion_tokens", "max_tokens")]
    if fields.integer("top_logprobs", 0, 20):
        raise bad("top_logprobs", "Only the tokens that were drawn have a logprob: use 0.")
    return Asked(
        temperature=fields.number("temperature", 0, 2),
        top_p=fields.number("top_p", 1e-6, 1),
        max_tokens=next(filter(None, lengths), None),
        stop=fields.texts("stop", limits.stops, limits.stop_length),
        tokens=bool(fields.get("logprobs")) and fields.boolean("logprobs"),
    )


def named(fields: Fields, task: Task, limits: Limits) -> list[str]:
    """Return the ids of the choices, from which their draws are made.

    Without `temperature` the same request has the same draws, and with `seed` others for each seed;
    else they are new each time. `metadata.ttsi_id` gives the draws of a benchmark's sample.
    """
    count = fields.integer("n", 1, limits.choices) or 1
    seed = fields.integer("seed", -_LARGEST, _LARGEST)
    name = fields.mapping("metadata").get("ttsi_id")
    if name is not None and not (isinstance(name, str) and _ID.fullmatch(name)):
        raise bad("metadata", "metadata.ttsi_id is letters, digits, '.', '_', '/' and '-'.")
    id = name or json_digest([task.digest, repr(task.asked)]).removeprefix("sha256:")[:24]
    if seed is not None:
        id = f"{id}@{seed}"
    elif name is None and task.asked is not None and task.asked.temperature:
        id = f"{id}@{secrets.token_hex(8)}"
    return [id, *(f"{id}~{choice}" for choice in range(1, count))]


def _refuse_unsupported(fields: Fields) -> None:
    fields.refuse("functions", "; use tools")
    fields.refuse("function_call", "; use tool_choice", neutral=("none", "auto"))
    fields.refuse("audio", "")
    fields.refuse("modalities", ": answers are texts", neutral=(["text"],))
    fields.refuse("logit_bias", "")
    fields.refuse("web_search_options", "")
    for name in ("frequency_penalty", "presence_penalty"):
        if fields.number(name, -2, 2):
            fields.refuse(name, "; the spec's repetition_penalty counts")


def _choice(fields: Fields, tools: tuple[Tool, ...]) -> _Choice:
    most = None if fields.boolean("parallel_tool_calls", True) else 1
    given = fields.get("tool_choice")
    if given is None or given == "auto":
        return _Choice(tools, False, most)
    if given == "none":
        return _Choice((), False, most)
    if not tools:
        raise bad("tool_choice", "tool_choice is only allowed where there are tools.")
    if given == "required":
        return _Choice(tools, True, most)
    function = given.get("function") if isinstance(given, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        told = 'tool_choice is "none", "auto", "required", or names a function among the tools.'
        raise bad("tool_choice", told)
    one = tuple(tool for tool in tools if tool.name == name)
    if not one:
        raise bad("tool_choice", f"tool_choice names {name!r:.100}, which is not among the tools.")
    return _Choice(one, True, most)


def _schema(fields: Fields, limits: Limits) -> Mapping[str, JSON] | None:
    """Return the JSON Schema of an answer that is JSON."""
    given = Fields(fields.mapping("response_format"), "response_format.")
    kind = given.get("type")
    if kind in (None, "text"):
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind != "json_schema":
        raise bad("response_format", "response_format is text, json_object or json_schema.")
    schema = given.mapping("json_schema").get("schema")
    if not isinstance(schema, dict):
        raise bad("response_format", "response_format.json_schema.schema is a JSON Schema.")
    check_size(schema, limits, "response_format")
    try:
        plain = plain_schema(schema)
    except SchemaFault as fault:
        told = f"{fault.pointer}: {fault.keyword} {fault.what}. {fault.cure}"
        raise bad("response_format", told) from None
    check_size(plain, limits, "response_format")
    return schema


def _calling(said: Heard, choice: _Choice, asked: Asked, served: Served) -> Task:
    """Return the task whose answer are calls."""
    talk = said.conversation
    own, how = INSTRUCTIONS["calls"], ANSWER_FORMAT
    least, held = served.least or 0, served.constrained
    if choice.must:
        least, held = max(1, least), True
    elif served.least is None:
        # Told that [] is an answer, a small model writes little else: docs/findings.md.
        own, how, held = _OR_WORDS, CALLS_OR_WORDS, False
    instruction = system_turn(talk.system or own, choice.offered, how=how)
    wanted = replace(asked, schema=None, constrained=held, least=least, most=choice.most)
    if held:
        wanted = replace(wanted, stop=())
    task = Task("", choice.offered, instruction, talk.said, "calls", (), talk.turns, asked=wanted)
    return replace(task, bare=talk.system or "") if served.prompt == "native" else task


def _spoken(said: Heard, asked: Asked) -> Task:
    """Return the task whose answer is a text."""
    talk = said.conversation
    instruction = talk.system or ""
    if asked.schema is not None:
        told = _AS_JSON + json.dumps(asked.schema, ensure_ascii=False)
        instruction = f"{instruction}\n\n{told}".strip()
    wanted = replace(asked, constrained=False)
    return Task("", (), instruction, talk.said, "text", (), talk.turns, asked=wanted)
