"""Answers as objects of OpenAI's API, each with a receipt of what was done for it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from ttsi.answers.calls import Switches
from ttsi.answers.calls.normalise import normalise
from ttsi.answers.calls.values import ToolCall, calls_in
from ttsi.answers.numbers import Untyped
from ttsi.answers.objects import behind_thoughts
from ttsi.serving.tickets import Outcome
from ttsi.types import JSON, StageCost, Token, Tool

_LONGEST_HEADER = 500
_AS_WRITTEN = Switches(fill_defaults=False, coerce=False, trim=False)


def message_of(outcome: Outcome) -> dict[str, Any]:
    """Return the assistant's message: calls, or a text with its thought apart."""
    calls = calls_in(outcome.completion.answer) if outcome.task.form == "calls" else ()
    if calls:
        made = [_call(call, outcome.task.tools) for call in calls]
        return {"role": "assistant", "content": None, "refusal": None, "tool_calls": made}
    text = outcome.completion.text
    said = behind_thoughts(text)
    said = text if said is None else said
    message = {"role": "assistant", "content": said.lstrip() if said != text else text}
    message["refusal"] = None  # type: ignore[assignment]
    thought = text[: len(text) - len(said)].strip()
    return {**message, "reasoning_content": thought} if thought else message


def finish_of(message: Mapping[str, Any], outcome: Outcome) -> str:
    if message.get("tool_calls"):
        return "tool_calls"
    return "length" if outcome.completion.cut else "stop"


def chat_completion(
    id: str, created: int, model: str, outcomes: Sequence[Outcome], fingerprint: str
) -> dict[str, Any]:
    """Return a chat completion with a choice for each outcome."""
    choices = []
    for index, outcome in enumerate(outcomes):
        message = message_of(outcome)
        choices.append(
            {
                "index": index,
                "message": message,
                "logprobs": chat_logprobs(outcome),
                "finish_reason": finish_of(message, outcome),
            }
        )
    return {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "system_fingerprint": fingerprint,
        "choices": choices,
        "usage": usage(outcomes),
        "ttsi": receipts(outcomes),
    }


def text_completion(
    id: str, created: int, model: str, outcomes: Sequence[Outcome], fingerprint: str
) -> dict[str, Any]:
    """Return a plain completion with a choice for each outcome."""
    return {
        "id": id,
        "object": "text_completion",
        "created": created,
        "model": model,
        "system_fingerprint": fingerprint,
        "choices": [text_choice(index, each) for index, each in enumerate(outcomes)],
        "usage": usage(outcomes),
        "ttsi": receipts(outcomes),
    }


def text_choice(index: int, outcome: Outcome) -> dict[str, Any]:
    return {
        "index": index,
        "text": outcome.completion.text,
        "logprobs": _text_logprobs(outcome),
        "finish_reason": "length" if outcome.completion.cut else "stop",
    }


def usage(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the tokens of the answers; what adapting took is in the receipts."""
    read = sum(each.completion.prompt_tokens for each in outcomes)
    written = sum(each.completion.completion_tokens for each in outcomes)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def receipts(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what was done for the first choice and, of several, for the others under `choices`."""
    first, *others = [receipt(each) for each in outcomes]
    return {**first, "choices": [first, *others]} if others else first


def receipt(outcome: Outcome) -> dict[str, Any]:
    """Return confidence, whether it was adapted and why, seconds by stage, and the examples."""
    return {
        "confidence": outcome.confidence,
        "adapted": outcome.adapted,
        "reason": outcome.reason,
        "seconds": {stage: round(cost.seconds, 6) for stage, cost in outcome.costs.items()},
        "tokens": _tokens(outcome.costs),
        "examples": [
            {"input": example.task.input, "answer": example.answer.value}
            for example in outcome.examples
        ],
    }


def headers_of(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return the receipt of the first choice for those who do not read bodies."""
    first = outcomes[0]
    told = {"X-TTSI-Adapted": str(first.adapted).lower(), "X-TTSI-Reason": first.reason}
    if first.confidence is not None:
        told["X-TTSI-Confidence"] = f"{first.confidence:.6f}"
    return {name: _for_head(value) for name, value in told.items()}


def _for_head(value: str) -> str:
    """Return a text that can stand in a head: one line of ASCII, and not a long one."""
    line = " ".join(value.encode("ascii", "replace").decode().split())
    return "".join(filter(str.isprintable, line))[:_LONGEST_HEADER]


def chat_logprobs(outcome: Outcome) -> dict[str, Any] | None:
    """Return the log-probabilities of all tokens that were written, if they were asked for."""
    if not (outcome.task.asked and outcome.task.asked.tokens):
        return None
    told = [
        {
            "token": token.text,
            "logprob": token.logprob,
            "bytes": list(token.text.encode()),
            "top_logprobs": [],
        }
        for token in _written(outcome)
    ]
    return {"content": told, "refusal": None}


def _text_logprobs(outcome: Outcome) -> dict[str, Any] | None:
    if not (outcome.task.asked and outcome.task.asked.tokens):
        return None
    tokens = _written(outcome)
    offsets, at = [], 0
    for token in tokens:
        offsets.append(at)
        at += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "text_offset": offsets,
        "top_logprobs": None,
    }


def _written(outcome: Outcome) -> list[Token]:
    """Return the tokens that begin within the text: what is behind a stop is no part of it."""
    kept, at = [], 0
    for token in outcome.completion.tokens:
        if at >= len(outcome.completion.text):
            break
        kept.append(token)
        at += len(token.text)
    return kept


def _tokens(costs: Mapping[str, StageCost]) -> dict[str, int]:
    """Return the tokens of all stages; a share of a wave's is rounded."""
    return {
        "prompt": round(sum(cost.prompt_tokens for cost in costs.values())),
        "completion": round(sum(cost.completion_tokens for cost in costs.values())),
    }


def _call(call: ToolCall, tools: Sequence[Tool]) -> dict[str, Any]:
    arguments: JSON = dict(call.arguments)
    tool = next((each for each in tools if each.name == call.name), None)
    if tool is not None and any(isinstance(each, Untyped) for each in call.arguments.values()):
        # In a notation without types the schema says what a value is.
        arguments = normalise(arguments, tool.schema, _AS_WRITTEN)
    function = {"name": call.name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}
