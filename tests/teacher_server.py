"""A teacher's endpoint on loopback: a real HTTP server whose answers a test determines.

    with TeacherServer(lambda asked: chat("hello")) as server:
        ...  server.url, server.asked, server.most_in_flight

The attributes are the base URL, the received requests, and the peak of concurrent requests.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from ttsi_plugins.generators.teacher import TeacherGenerator

KEY = "sk-test-0123456789abcdefghijklmnopqrstuvwxyz"
KEY_ENV = "TTSI_TEACHER_KEY"
URL_ENV = "TTSI_TEACHER_URL"
AMBIENT = ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "OPENAI_CUSTOM_HEADERS",
           "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")  # fmt: skip


def surroundings(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Give a test its own cache and config folders, without key and proxy.

    Retries do not wait by themselves.
    """
    monkeypatch.setenv("TTSI_CACHE_DIR", str(cache))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(cache / "config"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("TTSI_OFFLINE", KEY_ENV, URL_ENV, *AMBIENT):
        # Set it first, so that monkeypatch also undoes what a test sets.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)


def teacher(url: str, *, key: str | None = KEY, **options: Any) -> TeacherGenerator:
    """Return a teacher at `url`, with the key configured by the user."""
    if key is not None:
        os.environ[URL_ENV], os.environ[KEY_ENV] = url, key
    return TeacherGenerator(**({"base_url": url, "retries": 0} | options))


@dataclass(frozen=True)
class Asked:
    """A request; `number` counts requests as they arrive, from 0."""

    number: int
    body: dict[str, Any]
    headers: dict[str, str]
    arrived: float


@dataclass(frozen=True)
class Reply:
    """The server's reaction. `trickle`: the head, and then a space at intervals."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    """"" | "hang" | "cut" | "cut_in_body" | "trickle"."""


def chat(text: str | None, *, prompt: Any = 100, completion: Any = 20) -> Reply:
    """Return a chat completion with its usage."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return as_json({"choices": [{"index": 0, "message": message}], "usage": usage})


def as_json(document: Any, status: int = 200, **headers: str) -> Reply:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(
        status, json.dumps(document).encode(), {"Content-Type": "application/json", **given}
    )


def refusal(status: int, message: str = "no", code: str = "", **headers: str) -> Reply:
    """Return an error in the API's format."""
    return as_json({"error": {"message": message, "code": code}}, status, **headers)


class TeacherServer:
    """Answers POST /v1/chat/completions by `script`, each request in its own thread."""

    def __init__(self, script: Callable[[Asked], Reply]) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.most_in_flight = 0
        self.released = threading.Event()
        self._in_flight = 0
        self._lock = threading.Lock()
        self._http = _Listener(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.released.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def received(self, body: dict[str, Any], headers: dict[str, str]) -> Asked:
        with self._lock:
            asked = Asked(len(self.asked), body, headers, time.monotonic())
            self.asked.append(asked)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        return asked

    def answered(self) -> None:
        with self._lock:
            self._in_flight -= 1


class _Listener(ThreadingHTTPServer):
    request_queue_size = 128


def _handler(server: TeacherServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None: ...

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length))
            asked = server.received(
                body, {name.lower(): text for name, text in self.headers.items()}
            )
            try:
                known = self.path == "/v1/chat/completions"
                reply = server.script(asked) if known else refusal(404, "no such path")
            finally:
                server.answered()
            if not reply.fault:
                self._send(reply, len(reply.body))
            else:
                getattr(self, f"_{reply.fault}")()

        def _send(self, reply: Reply, length: int) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(reply.body)
            self.wfile.flush()

        def _hang(self) -> None:
            server.released.wait()
            self.close_connection = True

        def _cut(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def _cut_in_body(self) -> None:
            self._send(Reply(body=b'{"choices": ['), length=500)
            self._cut()

        def _trickle(self) -> None:
            self._send(Reply(body=b" "), length=10**6)
            self.close_connection = True
            try:
                while not server.released.wait(0.02):
                    self.wfile.write(b" ")
            except OSError:  # the client has gone
                return

    return Handler
