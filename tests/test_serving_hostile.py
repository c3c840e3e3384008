"""`ttsi serve` and clients that mean harm: bounded time and memory, and the right status."""

from __future__ import annotations

import json
import os
import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from serving import FAKE, TOOLS, Server, a_call, asking, serving

from ttsi.serving import server as serving_server
from ttsi.serving.served import Limits

BODIES = int(os.environ.get("TTSI_TEST_BODIES", "300"))
"""How many bodies are sent; 10,000 in the tox environment `clients`."""

REFUSED = {400, 404, 413}
ROUTES = ("/v1/chat/completions", "/v1/completions", "/v1/feedback")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(FAKE, window=0.0) as running:
        yield running


@pytest.fixture(autouse=True)
def _still_answers(server: Server) -> Iterator[None]:
    """Hold the server to an honest answer after each attack."""
    yield
    assert server.chat()[0] == 200


# ---------------------------------------------------------------- bodies

HONEST: tuple[dict[str, Any], ...] = (
    asking(model="fake:base", n=2, stop=["x"], temperature=0.5, seed=1, logprobs=True),
    asking(
        model="fake:base",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Weather in City2?"}]},
            {"role": "assistant", "content": None, "tool_calls": [a_call("Rome")]},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        ],
        tool_choice={"type": "function", "function": {"name": "get_time"}},
        stream_options={"include_usage": True},
        metadata={"ttsi_id": "a/1"},
    ),
    asking(
        model="fake:base",
        tools=None,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": TOOLS[0]["function"]["parameters"]},
        },
    ),
    {"model": "fake", "prompt": ["Once"], "max_tokens": 4, "logprobs": 0},
    {"id": "chatcmpl-0", "correct": False, "answer": [{"name": "f", "arguments": {"a": 1}}]},
)
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, 10**40, "", "\x00", "a" * 5000, "\u202e", [], {}, [[]],
    [None], {"": {}}, {"type": []}, {"$ref": "#"}, "NaN", "{", "[" * 100, {"role": {}}, [{}] * 300,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything that stands within a value."""
    keys = value.keys() if isinstance(value, dict) else ()
    for key in range(len(value)) if isinstance(value, list) else keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def mutated(draw: random.Random) -> bytes:
    """Return an honest body of which some values, keys or bytes are others."""
    body = deepcopy(draw.choice(HONEST))
    for _ in range(draw.randrange(4)):
        *path, last = draw.choice(list(places(body)) or [("model",)])
        holder = body
        for key in path:
            holder = holder[key]
        change = draw.randrange(4)
        if change == 0:
            del holder[last]
        elif change == 1 and isinstance(holder, dict):
            holder[draw.choice(["", "model", "type", "name", "\u2028"])] = holder.pop(last)
        else:
            holder[last] = deepcopy(draw.choice(ODD))
    data = bytearray(json.dumps(body, ensure_ascii=draw.random() < 0.5).encode())
    for _ in range(draw.choice([0, 0, 1, 3])):
        at = draw.randrange(len(data) or 1)
        data[at : at + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
    return bytes(data)


def test_no_malformed_body_makes_the_server_fail(server: Server) -> None:
    def send(seed: int) -> list[int]:
        """Send bodies over one connection, which is kept alive, and return the statuses."""
        draw, connection, found = random.Random(seed), server.connection(), []
        for _ in range(BODIES // 4):
            data = mutated(draw)
            heads = {"Content-Type": "application/json"}
            connection.request("POST", draw.choice(ROUTES), data, heads)
            answer = connection.getresponse()
            read = answer.read()
            found.append(answer.status)
            assert answer.status == 200 or json.loads(read)["error"]["message"], data
            assert answer.status in {200, *REFUSED}, (data, read)
        connection.close()
        return found

    memory = psutil.Process().memory_info().rss
    with ThreadPoolExecutor(4) as pool:
        statuses = [each for found in pool.map(send, range(4)) for each in found]
    assert statuses.count(400) > BODIES / 4  # they are malformed,
    assert statuses.count(200) > 0  # and some only nearly
    assert psutil.Process().memory_info().rss - memory < 200 * 2**20


DEEP = 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        json.dumps(asking(metadata="@")).replace('"@"', "[" * 70 + "]" * 70).encode(),
    ],
)  # fmt: skip
def test_json_that_is_too_deep_is_refused(server: Server, body: bytes) -> None:
    status, _, answer = server.ask("/v1/chat/completions", body)
    assert status == 400
    assert "nested deeper" in answer["error"]["message"]


def test_arguments_that_are_too_deep_are_refused(server: Server) -> None:
    call = a_call("Rome")
    call["function"]["arguments"] = '{"city": ' + "[" * DEEP + "]" * DEEP + "}"
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": [call]}]
    status, _, answer = server.chat(messages=[*said, {"role": "tool", "content": "sunny"}])
    assert (status, answer["error"]["param"]) == (400, "messages")


# ---------------------------------------------------------------- sizes and speeds


def opened(server: Server) -> socket.socket:
    place = urlsplit(server.url)
    return socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=30)


def head(*lines: str, path: str = ROUTES[0]) -> bytes:
    told = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines]
    return "\r\n".join([*told, "", ""]).encode()


def status_of(connection: socket.socket) -> int | None:
    """Return the status of the answer; None if the server closed the connection without one."""
    try:
        line = connection.makefile("rb").readline()
    except ConnectionResetError:
        return None
    return int(line.split()[1]) if line else None


HUGE = 100 * 2**20
PIECE = b"x" * 2**16


@pytest.mark.parametrize("chunked", [False, True])
def test_of_a_body_of_100_mb_little_is_read(server: Server, chunked: bool) -> None:
    kept = psutil.Process().memory_info().rss
    most = sent = 0
    how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {HUGE}"
    piece = b"10000\r\n" + PIECE + b"\r\n" if chunked else PIECE
    with opened(server) as connection:
        connection.sendall(head(how))
        try:
            while sent < HUGE:
                connection.sendall(piece)
                sent += len(PIECE)
                if sent % 2**20 == 0:
                    most = max(most, psutil.Process().memory_info().rss)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert status_of(connection) in (413, None)
    assert most - kept < 50 * 2**20


def test_a_body_that_is_announced_as_too_large_is_refused_before_it_comes(server: Server) -> None:
    with opened(server) as connection:
        connection.sendall(head(f"Content-Length: {HUGE}", "Expect: 100-continue"))
        assert status_of(connection) == 413


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: -1"],
        ["Content-Length: 1e3"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Transfer-Encoding: gzip"],
        ["X: " + "y" * 100_000],
        ["Content-Length: 5 5"],
        ["no colon"],
    ],
)
def test_a_head_that_is_no_http_is_refused(server: Server, lines: list[str]) -> None:
    with opened(server) as connection:
        connection.sendall(head(*lines))
        assert status_of(connection) in (400, 501)


def dripped(server: Server, at_once: bytes, rest: bytes) -> int | None:
    """Return the status of an answer to bytes of which the rest comes one by one.

    None if the server closed the connection instead.
    """
    with opened(server) as connection:
        connection.sendall(at_once)
        connection.settimeout(0.05)
        for byte in rest:
            try:
                connection.sendall(bytes([byte]))
                got = connection.recv(4096)
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                return None
            return int(got.split()[1]) if got else None
    raise AssertionError("the server would have waited for more")


@pytest.mark.parametrize(
    ("at_once", "rest", "status"),
    [
        (b"", head(*(f"X-{n}: y" for n in range(40))), None),
        (head("Content-Length: 1000"), b" " * 500, 408),
        (head("Transfer-Encoding: chunked"), b"1\r\nx\r\n" * 80, 408),
    ],
)
def test_clients_that_drip_are_let_go_and_hold_up_nobody(
    monkeypatch: pytest.MonkeyPatch, at_once: bytes, rest: bytes, status: int | None
) -> None:
    monkeypatch.setattr(serving_server, "_HEAD_SECONDS", 1.0)
    limits = Limits(body_seconds=1.0)
    with serving(FAKE, window=0.0, limits=limits) as slowed, ThreadPoolExecutor(16) as pool:
        dripping = [pool.submit(dripped, slowed, at_once, rest) for _ in range(16)]
        assert slowed.chat()[0] == 200
        assert not any(each.done() for each in dripping)
        assert {each.result() for each in dripping} == {status}
