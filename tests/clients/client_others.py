"""litellm, pydantic-ai, Inspect and BFCL's own handler, unchanged, against `ttsi serve`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "The weather in a city, now", "parameters": CITY}
ASK = [{"role": "user", "content": "Is it raining in Oslo?"}]


def test_litellm(url: str) -> None:
    import litellm

    ask: dict[str, Any] = {
        "model": "openai/small",
        "api_base": url,
        "api_key": "none",
        "messages": ASK,
        "tools": [{"type": "function", "function": WEATHER}],
        "tool_choice": "required",
    }
    answer = litellm.completion(**ask)
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}
    assert answer.ttsi["reason"]
    chunks = list(litellm.completion(**ask | {"model": "openai/small:base"}, stream=True))
    built = litellm.stream_chunk_builder(chunks)
    assert built.choices[0].message.tool_calls[0].function.name == "get_weather"
    with pytest.raises(litellm.BadRequestError, match="n is a whole number"):
        litellm.completion(**ask, n=100)


def test_pydantic_ai(url: str) -> None:
    from pydantic import BaseModel
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    class Where(BaseModel):
        city: str

    model = OpenAIChatModel("small", provider=OpenAIProvider(base_url=url, api_key="none"))
    found = Agent(model, output_type=Where).run_sync("Is it raining in Oslo?")
    assert isinstance(found.output, Where)
    told = Agent(model, instructions="Answer in one word.").run_sync("Say hello.")
    assert told.output


def test_inspect(url: str, tmp_path: Path) -> None:
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import get_model
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate

    model = get_model("openai-api/ttsi/small:base", base_url=url, api_key="none")
    task = Task([Sample("Say hello.", target="ello")], generate(), includes())
    (log,) = eval(task, model=model, max_tokens=16, display="none", log_dir=str(tmp_path))
    assert log.status == "success"
    assert log.samples[0].output.usage.output_tokens <= 16
    assert log.samples[0].output.completion


def test_bfcl_s_own_handler_on_20_rows(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bfcl_eval")
    from bfcl_eval.model_handler.api_inference.openai_completion import OpenAICompletionsHandler

    from ttsi_benchmarks._bfcl_source import QUESTIONS, read_lines

    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    handler = OpenAICompletionsHandler("small:base", 0.0, "small", True)
    called = 0
    for row in list(read_lines(QUESTIONS["simple_python"]))[:20]:
        (turn,) = row["question"]
        given = handler._compile_tools(handler._pre_query_processing_FC({}, row), row)
        given = handler.add_first_turn_message_FC(given, turn)
        told = handler._parse_query_response_FC(handler._query_FC(given)[0])
        if isinstance(told["model_responses"], list):
            called += 1
            made = handler.decode_ast(told["model_responses"], "Python", False)
            names = {tool["function"]["name"] for tool in given["tools"]}
            assert {name for call in made for name in call} <= names
    assert called >= 10
