"""The simulated APIs of an episode, in a process of bounded memory: BFCL's classes as they are.

It is run as a script, knows nothing of ttsi, and answers each line of JSON with one. There are two
worlds with the same beginning: the model's, and one for the right calls. A call reaches a method by
its name; no text is evaluated. What a method raises is its result.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_PACKAGE = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code"
_MODULES = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "TwitterAPI": "posting_api",
    "VehicleControlAPI": "vehicle_control",
}
_WITHOUT_STATE = "MathAPI"
# Upstream refuses these names.
_REFUSED = frozenset(("exit", "kill", "popen", "Popen", "quit", "remove", "run", "unlink"))
# Bytes that the process may take, and characters of a value that is shown.
_MEMORY, _SHOWN = 2 * 2**30, 200


class World:
    """One instance of each class, loaded with a row's `config`."""

    def __init__(self, config: Mapping[str, Any], classes: Sequence[str], long: bool) -> None:
        self.instances: dict[str, Any] = {}
        self._methods: dict[str, Callable[..., Any]] = {}
        for name in classes:
            made = getattr(importlib.import_module(f"{_PACKAGE}.{_MODULES[name]}"), name)()
            if name != _WITHOUT_STATE:
                made._load_scenario(copy.deepcopy(config.get(name, {})), long_context=long)
            self.instances[name] = made
            for method, bound in inspect.getmembers(made, inspect.ismethod):
                if not method.startswith("_"):
                    self._methods[method] = bound

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Return the result as a text, as upstream writes it."""
        try:
            if name in _REFUSED:
                raise PermissionError(f"Function call {name} is not allowed.")
            if name not in self._methods:
                raise NameError(f"name {name!r} is not defined")
            return _text(self._methods[name](**arguments))
        except Exception as error:
            return f"Error during execution: {error}"

    def differences(self, right: World) -> list[str]:
        """Return the public attributes that differ from those of `right`, with both values."""
        found = []
        for name, wanted in right.instances.items():
            mine = self.instances[name]
            for attribute, value in vars(wanted).items():
                if not attribute.startswith("_") and getattr(mine, attribute) != value:
                    given = getattr(mine, attribute)
                    found.append(f"{name}.{attribute} is {_short(given)}, not {_short(value)}")
        return found


def _text(result: Any) -> str:
    if isinstance(result, dict):
        try:
            return json.dumps(result)
        except (TypeError, ValueError):
            return str(result)
    return str(result)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


class Worlds:
    """What a line may ask for."""

    def begin(self, config: Mapping[str, Any], classes: Sequence[str], long: bool) -> str:
        self._mine, self._right = (World(config, classes, long) for _ in range(2))
        return "ready"

    def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Return the result of a call of the model's."""
        return self._mine.call(name, arguments)

    def end_turn(self, calls: Sequence[tuple[str, dict[str, Any]]]) -> list[list[str]]:
        """Make the turn's right calls; return their results, and how the model's world differs."""
        results = [self._right.call(name, arguments) for name, arguments in calls]
        return [results, self._mine.differences(self._right)]


def main() -> None:
    # What the classes print is no answer.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.append(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    worlds = Worlds()
    for line in sys.stdin:
        doing, *given = json.loads(line)
        made = {"begin": worlds.begin, "call": worlds.call, "end_turn": worlds.end_turn}[doing]
        print(json.dumps(made(*given)), file=out, flush=True)


if __name__ == "__main__":
    main()
