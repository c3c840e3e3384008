"""The openai package, unchanged, against `ttsi serve` with the embedded model, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from model_server import served
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

pytestmark = pytest.mark.model

SPEC = {
    "name": "small",
    "model": {"id": "smollm2-135m", "dtype": "float32"},
    "estimator": {"name": "rss_margin", "threshold": 1.0},
    "generator": {
        "name": "self",
        "prompt": "seed_first",
        "format": "json",
        "attempts": 2,
        "max_calls": 1,
        "max_tokens": 64,
    },
    "learner": {"name": "lora_sft", "target": "as_answered", "epochs": 1},
    "inference": {
        "name": "direct",
        "format": "tool_calls",
        "decoding": "greedy",
        "max_tokens": 40,
    },
}


def tool(name: str, does: str, argument: str, kind: str) -> Any:
    schema = {"type": "object", "properties": {argument: {"type": kind}}, "required": [argument]}
    return {
        "type": "function",
        "function": {"name": name, "description": does, "parameters": schema},
    }


TOOLS = [
    tool("set_alarm", "Ring at an hour of the day", "hour", "integer"),
    tool("get_weather", "The weather in a city, now", "city", "string"),
]
ASK: dict[str, Any] = {
    "model": "small",
    "messages": [{"role": "user", "content": "Is it raining in Oslo?"}],
    "tools": TOOLS,
    "tool_choice": "required",
    "parallel_tool_calls": False,
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    spec = folder / "spec.json"
    spec.write_text(json.dumps(SPEC))
    command = [sys.executable, "-m", "ttsi", "serve", str(spec)]
    with served(command, folder / "log", patience=120.0) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120) as made:
        yield made


def test_a_tool_call_that_was_adapted(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**ASK)
    answer = raw.parse()
    (call,) = answer.choices[0].message.tool_calls or ()
    assert answer.choices[0].finish_reason == "tool_calls"
    assert call.function.name in ("set_alarm", "get_weather")
    assert json.loads(call.function.arguments)
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 40
    told = (answer.model_extra or {})["ttsi"]
    assert 0 <= told["confidence"] < 1
    assert raw.headers["x-ttsi-adapted"] == str(told["adapted"]).lower()
    assert told["adapted"] == bool(told["examples"])


def test_clients_that_ask_together_get_what_one_that_asks_alone_gets(url: str) -> None:
    asks = [ASK | {"messages": [{"role": "user", "content": f"Wake me at {h}."}]} for h in (6, 9)]

    async def all_of_them() -> list[Any]:
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as made:
            wave = await asyncio.gather(*(made.chat.completions.create(**ask) for ask in asks))
            return [*wave, await made.chat.completions.create(**asks[1])]

    texts = [
        each.choices[0].message.tool_calls[0].function.arguments
        for each in asyncio.run(all_of_them())
    ]
    assert texts[2] == texts[1]
    assert all("hour" in json.loads(text) or "city" in json.loads(text) for text in texts)


def test_a_stream_of_a_call_is_put_together_by_the_client(client: OpenAI) -> None:
    ask = {**ASK, "model": "small:base", "stream_options": {"include_usage": True}}
    with client.chat.completions.stream(**ask) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_completion()
    assert "tool_calls.function.arguments.delta" in kinds
    assert "tool_calls.function.arguments.done" in kinds
    whole = client.chat.completions.create(**{**ASK, "model": "small:base"})
    (streamed,) = answer.choices[0].message.tool_calls or ()
    (alone,) = whole.choices[0].message.tool_calls or ()
    assert streamed.function.arguments == alone.function.arguments
    assert answer.usage == whole.usage


def test_a_text_is_streamed_while_it_is_written(client: OpenAI) -> None:
    ask: dict[str, Any] = {
        "model": "small:base",
        "messages": [{"role": "user", "content": "Tell me about the sea."}],
        "max_tokens": 40,
    }
    chunks = list(client.chat.completions.create(**ask, stream=True))
    parts = [chunk.choices[0].delta.content for chunk in chunks]
    whole = client.chat.completions.create(**ask).choices[0].message.content
    assert "".join(filter(None, parts)) == whole
    assert sum(map(bool, parts)) > 1
    prompt = {"model": "small", "prompt": "The sea is", "max_tokens": 40, "temperature": 0}
    texts = [chunk.choices[0].text for chunk in client.completions.create(**prompt, stream=True)]
    assert "".join(texts) == client.completions.create(**prompt).choices[0].text
    assert sum(map(bool, texts)) > 1


def test_an_answer_is_parsed_into_a_type(client: OpenAI) -> None:
    class Colour(BaseModel):
        name: str
        warm: bool

    answer = client.chat.completions.parse(
        model="small",
        messages=[{"role": "user", "content": "Name a colour, and say whether it is warm."}],
        response_format=Colour,
    )
    assert isinstance(answer.choices[0].message.parsed, Colour)


def test_after_a_tools_result_the_model_may_speak(client: OpenAI) -> None:
    call = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    messages = [
        {"role": "user", "content": "Is it raining in Oslo?"},
        {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": call}]},
        {"role": "tool", "tool_call_id": "1", "content": "No, it is sunny in Oslo."},
    ]
    answer = client.chat.completions.create(
        model="small:base", messages=messages, tools=TOOLS, tool_choice="none", stop=["."]
    )
    assert answer.choices[0].message.content
    assert "." not in answer.choices[0].message.content
    either = client.chat.completions.create(model="small:base", messages=messages, tools=TOOLS)
    assert either.choices[0].message.content or either.choices[0].message.tool_calls


def test_log_probabilities_are_those_of_the_text(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="small",
        messages=[{"role": "user", "content": "Say hello."}],
        logprobs=True,
        max_completion_tokens=5,
    )
    choice = answer.choices[0]
    told = choice.logprobs.content if choice.logprobs else None
    assert told is not None
    assert "".join(each.token for each in told) == choice.message.content
    assert all(each.logprob <= 0 for each in told)
    plain = client.completions.create(
        model="small", prompt="The capital of France is", max_tokens=3, temperature=0, logprobs=0
    )
    assert "Paris" in plain.choices[0].text
    assert plain.choices[0].logprobs is not None
    assert "".join(plain.choices[0].logprobs.tokens or ()) == plain.choices[0].text


def test_models_and_errors_are_the_clients_own(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["small", "small:base"]
    assert client.models.retrieve("small:base").owned_by == "ttsi"
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{**ASK, "n": 100})
    assert caught.value.param == "n"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(**{**ASK, "model": "other"})
    long = [{"role": "user", "content": "a b " * 10_000}]
    with pytest.raises(openai.BadRequestError, match="max_position_embeddings"):
        client.chat.completions.create(model="small:base", messages=long)
