"""Hostile answers: code that must not be executed, and texts that are slow to read."""

from __future__ import annotations

import json
from collections.abc import Callable

_CALL = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'

FAMILIES: dict[str, Callable[[int], str]] = {
    "brackets": lambda n: "[" * n,
    "pairs of brackets": lambda n: "[" * n + "]" * n,
    "braces": lambda n: '{"a":' * n,
    "quotes": lambda n: '["' * n,
    "backslashes": lambda n: '["' + "\\" * n,
    "digits": lambda n: "[" + "1" * n,
    "white space": lambda n: "[" + " " * n + "x",
    "tags": lambda n: "<tool_call>" * n,
    "fences": lambda n: "```json\n" * n,
    "surrogates": lambda n: '{"name": "' + "\ud800" * n + '"}',
    "many calls": lambda n: "[" + ", ".join([_CALL] * n) + "]",
    "tagged calls": lambda n: f"<tool_call>{_CALL}</tool_call>" * n,
    "many arguments": lambda n: _call_of({f"a{i}": i for i in range(n)}),
    "a long text": lambda n: _call_of({"city": "Oslo " * n}),
    "a long list": lambda n: _call_of({"city": ["Oslo"] * n}),
}
"""By name: a function that returns a text whose length grows with n."""


def payloads(mark: str) -> list[str]:
    """Return code and commands that would create the file `mark`: Python, shell, YAML, Jinja."""
    opened = f"open({mark!r}, 'w')"
    return [
        f"{opened}.close()",
        f"__import__('pathlib').Path({mark!r}).touch()",
        f"(lambda: {opened})()",
        f"[{opened} for _ in '1']",
        f"{{{opened}: 1}}",
        f"exec({opened!r})",
        f"__import__('os').system('touch {mark}')",
        f"!!python/object/apply:os.system ['touch {mark}']",
        f"$(touch {mark})",
        f"`touch {mark}`",
        f"; touch {mark} ;",
        f"{{{{ cycler.__init__.__globals__.os.popen('touch {mark}') }}}}",
    ]


def carriers(payload: str) -> list[str]:
    """Return answers that contain `payload`: bare, as code, and as a value."""
    return [
        payload,
        f'{{"name": "get_weather", "arguments": {{"city": {payload}}}}}',
        f"get_weather(city={payload})",
        f"```python\n{payload}\n```",
        _call_of({"city": payload}),
        repr([{"name": "get_weather", "arguments": {"city": payload}}]),
    ]


def _call_of(arguments: dict[str, object]) -> str:
    return json.dumps([{"name": "get_weather", "arguments": arguments}])
