"""Calls in the notations that models use, by name of the notation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ttsi.answers.calls.values import ToolCall


def literal(value: Any) -> str:
    return repr(value)


def python_call(call: ToolCall) -> str:
    return f"{call.name}({', '.join(f'{k}={literal(v)}' for k, v in call.arguments.items())})"


def body(call: ToolCall) -> str:
    return json.dumps(call.as_json())


def arguments(call: ToolCall) -> str:
    return json.dumps(call.arguments)


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def each(form: str) -> Callable[[Sequence[ToolCall]], str]:
    """Return a writer that writes one call after another in one notation."""

    def write(calls: Sequence[ToolCall]) -> str:
        return "\n".join(
            form.replace("NAME", call.name)
            .replace("BODY", body(call))
            .replace("OBJECT", arguments(call))
            .replace("PYTHON", python_call(call))
            for call in calls
        )

    return write


def python_list(calls: Sequence[ToolCall]) -> str:
    return f"[{', '.join(map(python_call, calls))}]"


def qwen_coder(calls: Sequence[ToolCall]) -> str:
    def one(call: ToolCall) -> str:
        parameters = "".join(
            f"<parameter={key}>\n{text_of(value)}\n</parameter>\n"
            for key, value in call.arguments.items()
        )
        return f"<tool_call>\n<function={call.name}>\n{parameters}</function>\n</tool_call>"

    return "\n".join(map(one, calls))


def invoke(calls: Sequence[ToolCall]) -> str:
    def one(call: ToolCall) -> str:
        parameters = "".join(
            f'<parameter name="{key}">{text_of(value)}</parameter>'
            for key, value in call.arguments.items()
        )
        return f'<invoke name="{call.name}">{parameters}</invoke>'

    return f"<function_calls>\n{''.join(map(one, calls))}\n</function_calls>"


def glm(calls: Sequence[ToolCall]) -> str:
    def one(call: ToolCall) -> str:
        pairs = "".join(
            f"<arg_key>{key}</arg_key>\n<arg_value>{text_of(value)}</arg_value>\n"
            for key, value in call.arguments.items()
        )
        return f"<tool_call>{call.name}\n{pairs}</tool_call>"

    return "\n".join(map(one, calls))


def keyed(calls: Sequence[ToolCall]) -> str:
    return json.dumps([{call.name: call.arguments} for call in calls])


def openai(calls: Sequence[ToolCall]) -> str:
    listed = [
        {"type": "function", "function": {"name": c.name, "arguments": json.dumps(c.arguments)}}
        for c in calls
    ]
    return json.dumps({"content": None, "tool_calls": listed})


def deepseek(calls: Sequence[ToolCall]) -> str:
    inside = "".join(
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{c.name}\n```json\n{arguments(c)}\n```"
        "<｜tool▁call▁end｜>"
        for c in calls
    )
    return f"<｜tool▁calls▁begin｜>{inside}<｜tool▁calls▁end｜>"


def kimi(calls: Sequence[ToolCall]) -> str:
    inside = "".join(
        f"<|tool_call_begin|>functions.{c.name}:{at}<|tool_call_argument_begin|>{arguments(c)}"
        "<|tool_call_end|>"
        for at, c in enumerate(calls)
    )
    return f"<|tool_calls_section_begin|>{inside}<|tool_calls_section_end|>"


NOTATIONS: dict[str, Callable[[Sequence[ToolCall]], str]] = {
    "json list": lambda calls: json.dumps([call.as_json() for call in calls]),
    "json rows": each("BODY"),
    "fences": each("```json\nBODY\n```"),
    "tags": each("<tool_call>\nBODY\n</tool_call>"),
    "mistral, old": lambda calls: "[TOOL_CALLS]" + json.dumps([c.as_json() for c in calls]),
    "mistral": each("[TOOL_CALLS]NAME[ARGS]OBJECT"),
    "mistral with ids": each("[TOOL_CALLS]NAME[CALL_ID]a1b2[ARGS]OBJECT"),
    "llama": lambda calls: "<|python_tag|>" + "; ".join(map(body, calls)),
    "llama's functions": each("<function=NAME>OBJECT</function>"),
    "liquid": lambda calls: f"<|tool_call_start|>{python_list(calls)}<|tool_call_end|>",
    "name and object": each("NAMEOBJECT"),
    "name over object": each("NAME\nOBJECT"),
    "element": each("<NAME>OBJECT</NAME>"),
    "keyed": keyed,
    "openai": openai,
    "cohere": lambda calls: (
        "<|START_ACTION|>"
        + json.dumps([{"tool_name": c.name, "parameters": dict(c.arguments)} for c in calls])
        + "<|END_ACTION|>"
    ),
    "python": each("PYTHON"),
    "python list": python_list,
    "python in a fence": lambda calls: f"```python\n{python_list(calls)}\n```",
    "gemini": each("```tool_code\nprint(default_api.PYTHON)\n```"),
    "react": each("Action: NAME\nAction Input: OBJECT"),
    "react in a fence": each("Thought: so.\nAction: `NAME`\nAction Input:\n```json\nOBJECT\n```"),
    "gpt-oss": each(
        "<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>OBJECT<|call|>"
    ),
    "qwen coder": qwen_coder,
    "invoke": invoke,
    "glm": glm,
    "deepseek": deepseek,
    "kimi": kimi,
}
