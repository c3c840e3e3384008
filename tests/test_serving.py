"""`ttsi serve` over real HTTP, with a scripted engine: answers, and what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from serving import FAKE, TOOLS, Server, a_call, asking, called, serving

from ttsi.errors import UsageError
from ttsi.serving.chats import read_chat
from ttsi.serving.served import Served
from ttsi.types import Generation, Request
from ttsi_fakes import ScriptedEngine


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(FAKE) as running:
        yield running


# ---------------------------------------------------------------- answers


def test_an_uncertain_request_is_adapted_to_and_says_so(server: Server) -> None:
    status, headers, answer = server.chat()
    assert (status, called(answer)) == (200, [("get_weather", {"city": "City1"})])
    told = answer["ttsi"]
    assert told["adapted"] is True
    assert {"estimate", "answer", "generate", "learn", "adapted"} <= set(told["seconds"])
    assert told["examples"][0]["answer"][0]["name"] == "get_weather"
    assert headers["x-ttsi-adapted"] == "true"
    assert float(headers["x-ttsi-confidence"]) == told["confidence"]


def test_the_base_model_never_adapts(server: Server) -> None:
    _, _, answer = server.chat(model="fake:base")
    # The scripted engine is wrong about odd cities unless it has adapted.
    assert called(answer) == [("get_time", {"city": "City1"})]
    assert answer["ttsi"]["adapted"] is False
    assert answer["ttsi"]["confidence"] is None


def test_choices_are_drawn_apart_and_the_first_is_that_of_a_single_one(server: Server) -> None:
    _, _, one = server.chat(seed=7)
    _, _, three = server.chat(seed=7, n=3)
    assert [choice["index"] for choice in three["choices"]] == [0, 1, 2]
    examples = [each["examples"] for each in three["ttsi"]["choices"]]
    assert examples[0] == one["ttsi"]["examples"]
    assert len({json.dumps(each) for each in examples}) == 3
    assert three["usage"]["completion_tokens"] == 3 * one["usage"]["completion_tokens"]
    _, _, other = server.chat(seed=8)
    assert other["ttsi"]["examples"] != examples[0]
    _, _, again = server.chat(seed=7)
    assert again["ttsi"]["examples"] == examples[0]


def test_a_forced_tool_is_the_only_one_on_offer(server: Server) -> None:
    choice = {"type": "function", "function": {"name": "get_time"}}
    _, _, answer = server.chat(tool_choice=choice, model="fake:base")
    assert called(answer) == [("get_time", {"city": "City1"})]
    status, _, answer = server.chat(tool_choice={"type": "function", "function": {"name": "x"}})
    assert (status, answer["error"]["param"]) == (400, "tool_choice")


@pytest.mark.parametrize(
    ("choice", "least", "held", "fewest"),
    [
        ("auto", None, False, 0),
        ("auto", 0, True, 0),
        ("auto", 2, True, 2),
        ("required", None, True, 1),
        ("required", 2, True, 2),
    ],
)
def test_calls_that_need_not_be_made_are_decoded_freely_unless_the_spec_says_how_many(
    choice: str, least: int | None, held: bool, fewest: int
) -> None:
    served = Served("fake", constrained=True, least=least)
    (task,) = read_chat(asking(tool_choice=choice, stop=["]"]), served).tasks
    assert task.asked is not None
    assert (task.asked.constrained, task.asked.least) == (held, fewest)
    offers_none = "[]" in task.instruction
    assert offers_none == held
    # A stop would cut a list of calls that a grammar holds to.
    assert task.asked.stop == (() if held else ("]",))


def test_without_tools_the_answer_is_a_text(server: Server) -> None:
    _, _, answer = server.chat(tools=None)
    message = answer["choices"][0]["message"]
    assert "City1" in message["content"]
    assert "tool_calls" not in message
    assert answer["choices"][0]["finish_reason"] == "stop"
    _, _, answer = server.chat(tool_choice="none")
    assert answer["choices"][0]["message"]["content"] == message["content"]


def test_a_stop_cuts_the_text(server: Server) -> None:
    _, _, answer = server.chat(tools=None, model="fake:base", stop=["Nothing", '"arguments"'])
    assert answer["choices"][0]["message"]["content"] == '[{"name": "get_time", '
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_plain_texts_are_those_of_the_base_model(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(engine: ScriptedEngine, request: Request) -> str:
        assert request.prompt.messages == ()
        return f"{request.prompt.opening} and so on"

    monkeypatch.setattr(ScriptedEngine, "generate", _by(script))
    body = {"model": "fake", "prompt": ["Once", "Twice"], "n": 2}
    status, _, answer = server.ask("/v1/completions", body)
    assert status == 200
    assert [c["text"] for c in answer["choices"]] == ["Once and so on"] * 2 + [
        "Twice and so on"
    ] * 2
    assert [c["index"] for c in answer["choices"]] == [0, 1, 2, 3]


def _by(script: Any) -> Any:
    def generate(engine: ScriptedEngine, requests: list[Request]) -> Any:
        return [Generation(script(engine, each), 1, 1, 0.0, "stop") for each in requests]

    return generate


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hello"}]}, "messages"),
        ({"messages": [{"role": "clown", "content": "Hello"}]}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [7]}, "messages"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 9}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"seed": "x"}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"logprobs": 3}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 2}, "top_logprobs"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tools": None, "tool_choice": "required"}, "tool_choice"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools"),
        ({"tools": TOOLS + TOOLS[:1]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"not": {}}}}]},
         "tools"),
        ({"parallel_tool_calls": 0}, "parallel_tool_calls"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
         "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}},
         "response_format"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"metadata": {"ttsi_id": "a b"}}, "metadata"),
        ({"metadata": []}, "metadata"),
    ],
)  # fmt: skip
def test_an_unsupported_value_is_a_400_with_the_fields_name(
    server: Server, changed: dict[str, Any], param: str
) -> None:
    status, _, answer = server.chat(**changed)
    assert (status, answer["error"]["param"]) == (400, param)
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["message"]


def test_unknown_fields_are_ignored_and_nulls_are_left_out(server: Server) -> None:
    told = {"name": "Ann", "unheard_of": 1}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "Hello", **told},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None, "tool_calls": [a_call("Rome")], "refusal": None},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "user", "content": "And in City4?"},
    ]
    status, _, answer = server.chat(
        messages=messages, unheard_of={"a": 1}, temperature=None, response_format=None, user="me"
    )
    assert (status, called(answer)) == (200, [("get_weather", {"city": "City4"})])


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b'{"model": NaN}', 400),
        (b'{"model": "\xff"}', 400),
        (b'{"model": "\\ud800"}', 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400),
        (b'{"n": ' + b"9" * 100_000 + b"}", 400),
        (b"x" * (5 * 2**20), 413),
    ],
)
def test_a_hostile_body_is_refused_in_bounded_time(
    server: Server, data: bytes, status: int
) -> None:
    began = time.monotonic()
    try:
        found, _, answer = server.ask("/v1/chat/completions", data)
    except (BrokenPipeError, ConnectionResetError):
        # The server closes the connection before a body that is too large has been sent.
        assert status == 413
    else:
        assert (found, answer["error"]["type"]) == (status, "invalid_request_error")
    assert time.monotonic() - began < 10


def test_other_routes_models_types_and_methods_are_refused_in_the_same_form(
    server: Server,
) -> None:
    assert server.chat(model="gpt-5")[0] == 404
    assert server.ask("/v1/models/gpt-5")[0] == 404
    status, _, answer = server.ask("/v1/embeddings", {})
    assert (status, "error" in answer) == (404, True)
    status, _, answer = server.ask("/v1/chat/completions")
    assert (status, "error" in answer) == (405, True)
    status, _, answer = server.ask("/v1/chat/completions", {}, Content_Type="text/plain")
    assert (status, "error" in answer) == (415, True)
    status, _, answer = server.ask("/v1/models", Host="evil.example")
    assert (status, answer["error"]["code"]) == (403, "forbidden_host")


def test_the_openapi_file_is_of_the_models_that_are_served(server: Server) -> None:
    status, _, document = server.ask("/openapi.json")
    chat = document["components"]["schemas"]["Chat"]["properties"]
    assert (status, chat["model"]["enum"]) == (200, ["fake", "fake:base"])
    routes = {path for path in document["paths"] if "{" not in path}
    assert {server.ask(path, method="OPTIONS")[0] for path in routes} == {405}


def test_a_key_is_wanted_where_there_is_one() -> None:
    with serving(FAKE, key="secret") as server:
        assert server.ask("/health")[0] == 200
        for header in ({}, {"Authorization": "Bearer other"}, {"Authorization": "secret"}):
            status, _, answer = server.ask("/v1/models", **header)
            assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
        assert server.ask("/v1/models", Authorization="Bearer secret")[0] == 200


def test_an_address_that_is_taken_is_told_before_a_model_is_loaded(server: Server) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    from ttsi.serving.server import Settings, serve

    with pytest.raises(UsageError, match="address cannot be had"):
        serve(None, None, Settings(port=port), lambda *_: None)  # type: ignore[arg-type]
