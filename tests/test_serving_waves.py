"""`ttsi serve` over real HTTP, with a scripted engine: waves, deadlines, faults and streams."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from serving import FAKE, Server, asking, called, city, failing, serving

from ttsi.errors import DeviceLost, EngineError, RunError
from ttsi.serving import streams
from ttsi.serving.tickets import SAID
from ttsi.solving.waiting import LATE
from ttsi.types import Generation, Request
from ttsi_fakes import WRITING, ScriptedEngine

SLOW = {**FAKE, "engine": {"name": "ttsi-fakes/scripted", "delay": 0.15}}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(FAKE) as running:
        yield running


# ---------------------------------------------------------------- waves


@pytest.fixture
def waves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the number of requests in each call of the engine, examples aside."""
    seen: list[int] = []
    generate = ScriptedEngine.generate

    def generates(engine: ScriptedEngine, requests: list[Request]) -> Any:
        if not any(WRITING in r.prompt.messages[-1].content for r in requests):
            seen.append(len(requests))
        return generate(engine, requests)

    monkeypatch.setattr(ScriptedEngine, "generate", generates)
    return seen


def together(server: Server, bodies: list[dict[str, Any]]) -> list[tuple[int, Any, Any]]:
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: server.chat(**body), bodies))


def test_requests_that_arrive_together_are_a_wave(waves: list[int]) -> None:
    with serving(FAKE, window=0.5, wave=4) as server:
        found = together(server, [city(n, model="fake:base") for n in range(6)])
    assert [status for status, _, _ in found] == [200] * 6
    assert [called(answer)[0][1]["city"] for _, _, answer in found] == [
        f"City{n}" for n in range(6)
    ]
    assert waves == [4, 2]


def test_the_same_request_at_the_same_time_is_solved_once(waves: list[int]) -> None:
    with serving(FAKE, window=0.5) as server:
        found = together(server, [city(2, model="fake:base")] * 3)
        names = {"metadata": {"ttsi_id": "a"}, "model": "fake:base"}
        others = together(server, [city(2, **names), city(4, **names)])
    assert len({json.dumps(called(answer)) for _, _, answer in found}) == 1
    assert [called(answer)[0][1]["city"] for _, _, answer in others] == ["City2", "City4"]
    assert waves == [1, 1, 1]


def test_a_full_queue_is_a_429_that_says_when_to_come_again() -> None:
    with serving(SLOW, queue=2, wave=1, window=0.0) as server:
        found = together(server, [city(n, model="fake:base") for n in range(8)])
        statuses = sorted(status for status, _, _ in found)
        assert statuses.count(200) >= 2
        assert set(statuses) == {200, 429}
        refused = next(each for each in found if each[0] == 429)
        assert int(refused[1]["retry-after"]) >= 1
        assert refused[2]["error"]["code"] == "rate_limit_exceeded"
        assert server.chat(model="fake:base")[0] == 200


def test_a_request_that_fails_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "City3", EngineError("injected"))
    with serving(FAKE, window=0.5) as server:
        found = together(server, [city(n) for n in range(5)])
        assert [status for status, _, _ in found] == [200, 200, 200, 500, 200]
        assert "injected" in found[3][2]["error"]["message"]
        assert server.chat()[0] == 200


def test_a_model_that_is_lost_ends_the_server_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "City3", DeviceLost("gone"))
    ends = pytest.raises(RunError, match="gone")
    with ends, serving(FAKE) as server:
        found = [server.chat(**city(number)) for number in (1, 3)]
        assert [status for status, _, _ in found] == [200, 503]
        assert found[1][2]["error"]["type"] == "server_error"


def test_what_a_plugin_refuses_is_answered_by_the_base_model_with_the_reason() -> None:
    with serving({**FAKE, "estimator": "rss_margin"}, window=0.5) as server:
        calls, text = together(server, [city(1), city(3, tools=None)])
        assert calls[2]["ttsi"]["adapted"] is True
        assert text[2]["ttsi"]["adapted"] is False
        assert "no candidates" in text[2]["ttsi"]["reason"]


# ---------------------------------------------------------------- time


def test_after_the_deadline_the_base_model_answers_and_says_so() -> None:
    # The answer takes 0.15 s; the five attempts of G that follow, 0.75 s.
    with serving(SLOW) as server:
        began = time.monotonic()
        status, headers, answer = server.ask(
            "/v1/chat/completions", asking(), X_TTSI_Deadline="0.3"
        )
        assert time.monotonic() - began < 0.7
        assert (status, called(answer)) == (200, [("get_time", {"city": "City1"})])
        assert answer["ttsi"]["reason"] == headers["x-ttsi-reason"] == LATE
        # Of what was begun for it the model lets go.
        began = time.monotonic()
        assert server.chat(model="fake:base")[0] == 200
        assert time.monotonic() - began < 0.7
        _, _, answer = server.chat()
        assert answer["ttsi"]["adapted"] is True
        status, _, answer = server.ask("/v1/chat/completions", asking(), X_TTSI_Deadline="soon")
        assert (status, answer["error"]["param"]) == (400, "X-TTSI-Deadline")


def test_a_client_that_hangs_up_frees_its_row() -> None:
    with serving({**SLOW, "engine": {"name": "ttsi-fakes/scripted", "delay": 0.5}}) as server:
        leaving = server.connection()
        body = json.dumps(asking(n=8, seed=1)).encode()
        leaving.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        time.sleep(0.3)
        leaving.close()
        began = time.monotonic()
        assert server.chat(model="fake:base")[0] == 200
        # Eight choices, each with an answer and five attempts of G, would take 24 s.
        assert time.monotonic() - began < 4
        _, _, text = server.ask("/metrics")
        assert b'ttsi_requests_total{route="/v1/chat/completions",status="499"} 1.0' in text


def test_a_server_that_is_told_to_end_answers_what_it_has_begun() -> None:
    found: list[Any] = []
    with serving(SLOW) as server:
        asks = [
            threading.Thread(target=lambda: found.append(server.chat())),
            threading.Thread(target=lambda: found.append(server.chat(stream=True, **city(5)))),
        ]
        for each in asks:
            each.start()
        time.sleep(0.3)
        server.end()
        for each in asks:
            each.join()
    (one, other) = sorted(found, key=lambda each: isinstance(each[2], bytes))
    assert one[2]["ttsi"]["adapted"] is True
    assert other[2].endswith(b"data: [DONE]\n\n")
    assert b'"adapted": true' in other[2]


# ---------------------------------------------------------------- streams


def events(data: bytes) -> list[Any]:
    lines = [line for line in data.decode().split("\n") if line.startswith("data: ")]
    return [line.removeprefix("data: ") for line in lines]


def test_a_stream_has_one_id_and_the_arguments_as_text(server: Server) -> None:
    status, headers, data = server.chat(stream=True, stream_options={"include_usage": True})
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    *told, done = events(data)
    assert done == "[DONE]"
    chunks = [json.loads(each) for each in told]
    assert len({chunk["id"] for chunk in chunks}) == 1
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    parts = [part for delta in deltas for part in delta.get("tool_calls", ())]
    assert parts[0]["function"] == {"name": "get_weather", "arguments": ""}
    assert parts[0]["id"]
    assert json.loads("".join(p["function"]["arguments"] for p in parts)) == {"city": "City1"}
    assert {part["index"] for part in parts} == {0}
    assert [chunk["usage"] is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1]["choices"] == []
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert chunks[-2]["ttsi"]["adapted"] is True


def test_after_the_first_byte_an_error_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "City3", EngineError("injected"))
    with serving(FAKE) as server:
        status, _, data = server.chat(stream=True, **city(3))
        told, done = events(data)
        assert (status, done) == (200, "[DONE]")
        assert "injected" in json.loads(told)["error"]["message"]


def test_comments_keep_a_stream_open_while_the_model_adapts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert streams.PING_SECONDS == 10
    monkeypatch.setattr(streams, "PING_SECONDS", 0.2)
    with serving(SLOW) as server:
        _, _, data = server.chat(stream=True)
    before = data.decode().partition("data: ")[0]
    assert before.count(": at work") >= 2


WORDS = "One two three, and so on: half of a \u20ac, END and what is not said."


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        ({"tools": None, "stop": ["END"]}, WORDS.partition("END")[0]),
        ({"tools": None, "n": 2}, WORDS),
        ({"tool_choice": "none", "response_format": {"type": "json_object"}}, WORDS),
        # Where a tool may be called, what is said after an answer without one.
        ({}, WORDS),
    ],
)
def test_what_the_base_model_says_is_sent_while_it_is_written(
    monkeypatch: pytest.MonkeyPatch, body: dict[str, Any], whole: str
) -> None:
    writes_slowly(monkeypatch, WORDS, silent=not body)
    with serving(FAKE) as server:
        *told, _ = events(server.chat(model="fake:base", stream=True, **body)[2])
        text = {"model": "fake", "prompt": "Once", "stream": True}
        *plain, _ = events(server.ask("/v1/completions", text)[2])
    choices = [each for chunk in map(json.loads, told) for each in chunk["choices"]]
    first = [each["delta"] for each in choices if each["index"] == 0]
    parts = [delta["content"] for delta in first if delta.get("content")]
    assert ("".join(parts), len(parts) > 3) == (whole, True)
    assert [delta.get("role") for delta in first].count("assistant") == 1
    texts = [each["text"] for chunk in map(json.loads, plain) for each in chunk["choices"]]
    assert ("".join(texts), len(texts) > 3) == (WORDS, True)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"model": "fake"}, WORDS),
        ({"model": "fake:base", "logprobs": True}, WORDS),
        ({"model": "fake:base"}, "<think>Well.</think>Hello."),
    ],
)
def test_what_may_still_change_is_sent_when_it_is_whole(
    monkeypatch: pytest.MonkeyPatch, body: dict[str, Any], text: str
) -> None:
    writes_slowly(monkeypatch, text)
    with serving(FAKE) as server:
        *told, _ = events(server.chat(stream=True, tools=None, **body)[2])
    choices = [each for chunk in map(json.loads, told) for each in chunk["choices"]]
    parts = [each["delta"]["content"] for each in choices if each["delta"].get("content")]
    assert parts == [text.rpartition(">")[2]]


def writes_slowly(monkeypatch: pytest.MonkeyPatch, text: str, silent: bool = False) -> None:
    """Let the engine write `text`, and tell of it as one that writes bytes would.

    If it is `silent`, it calls nothing and says nothing before it is asked for its words.
    """

    def generates(engine: Any, requests: list[Request]) -> Any:
        called = [each for each in requests if each.prompt.messages and SAID not in each.owner]
        if silent and called:
            return [Generation("[]", 1, 1, 0.0, "stop") for _ in requests]
        listeners = [engine.listener(request.owner) for request in requests]
        for end in range(1, len(text.encode()) + 1):
            for listener in filter(None, listeners):
                listener(text.encode()[:end].decode(errors="replace"))
            time.sleep(0.005)
        return [Generation(text, 1, 1, 0.0, "stop") for _ in requests]

    monkeypatch.setattr(ScriptedEngine, "listener", None, raising=False)
    monkeypatch.setattr(ScriptedEngine, "generate", generates)


def test_who_waits_when_the_model_is_lost_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a request that could not join the wave, as the same one is in it for another model."""
    failing(monkeypatch, "City3", DeviceLost("gone"))
    ends = pytest.raises(RunError, match="gone")
    with ends, serving(FAKE, window=0.5) as server:
        bodies = [city(3, model=model) for model in ("fake", "fake:base", "fake")]
        assert [status for status, _, _ in together(server, bodies)] == [503] * 3


def test_work_that_several_share_counts_once(server: Server) -> None:
    def told() -> float:
        text = server.ask("/metrics")[2].decode()
        return float(re.findall(r'^ttsi_tokens_total{kind="completion"} (.*)$', text, re.M)[0])

    server.chat(**city(11))
    alone, before = told(), told()
    together(server, [city(12)] * 4)
    assert told() - before <= 2 * alone
