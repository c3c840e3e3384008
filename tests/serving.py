"""Servers for tests: `ttsi serve` in a thread, over real HTTP."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from ttsi.serving.served import Served
from ttsi.serving.server import Settings, serve
from ttsi.solving.solver import solvable
from ttsi.types import Request
from ttsi_fakes import ScriptedEngine

FAKE: dict[str, Any] = {
    "name": "fake",
    "model": {"id": "scripted"},
    "engine": "ttsi-fakes/scripted",
    "estimator": "always",
    "inference": {"name": "direct", "decoding": "greedy"},
}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": does, "parameters": CITY}}
    for name, does in (("get_weather", "Weather now"), ("get_time", "Local time"))
]


@dataclass(frozen=True)
class Server:
    """A server that runs; `end` ends it."""

    url: str
    end: Callable[[], None]

    def ask(
        self, path: str, body: Any = None, *, method: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """Return status, headers, and the body as JSON if it is JSON, else as bytes."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = self.connection()
        connection.request(method or ("GET" if data is None else "POST"), path, data, sent)
        answer = connection.getresponse()
        read = answer.read()
        connection.close()
        told = {name.lower(): value for name, value in answer.getheaders()}
        is_json = told.get("content-type", "").startswith("application/json")
        return answer.status, told, json.loads(read) if is_json else read

    def chat(self, **body: Any) -> tuple[int, dict[str, str], Any]:
        return self.ask("/v1/chat/completions", asking(**body))

    def connection(self, timeout: float = 60) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout)


def asking(**changed: Any) -> dict[str, Any]:
    """Return the body of a request for the weather in a city."""
    messages = [{"role": "user", "content": "What is the weather in City1?"}]
    return {"model": "fake", "messages": messages, "tools": TOOLS} | changed


@contextmanager
def serving(spec: Mapping[str, Any], *, limits: Any = None, **settings: Any) -> Iterator[Server]:
    """Serve a spec in a thread and at a free port while the context lasts."""
    made = solvable(dict(spec))
    served = Served.of(made, prompt=settings.pop("prompt", None))
    served = replace(served, limits=limits or served.limits)
    began: list[Server] = []
    failed: list[BaseException] = []
    ready = threading.Event()

    def begin(address: str, end: Callable[[], None]) -> None:
        began.append(Server(address, end))
        ready.set()

    def work() -> None:
        try:
            serve(made, served, Settings(port=0, **settings), begin)
        except BaseException as error:
            failed.append(error)
        ready.set()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(120)
    try:
        if failed:
            raise failed[0]
        yield began[0]
    finally:
        for server in began:
            server.end()
        thread.join(120)
        assert not thread.is_alive()
    if failed:
        raise failed[0]


def called(answer: Any, choice: int = 0) -> list[tuple[str, Any]]:
    calls = answer["choices"][choice]["message"]["tool_calls"]
    return [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls]


def city(number: int, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"Weather in City{number}?"}], **more}


def a_call(city: str) -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": json.dumps({"city": city})}
    return {"id": "c1", "type": "function", "function": function, "index": 0}


def failing(monkeypatch: pytest.MonkeyPatch, text: str, error: BaseException) -> None:
    generate = ScriptedEngine.generate

    def generates(engine: ScriptedEngine, requests: list[Request]) -> Any:
        if any(text in request.prompt.messages[-1].content for request in requests):
            raise error
        return generate(engine, requests)

    monkeypatch.setattr(ScriptedEngine, "generate", generates)
