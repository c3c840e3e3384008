"""What a request says is kept to, whatever else is in the call; and what cannot be is refused."""

from __future__ import annotations

import dataclasses
import json

import jsonschema
import psutil
import pytest
from cases import LOUD, greedy, louder, prompt, seal_tasks, trained

from ttsi.errors import EngineError, RunError, UsageError
from ttsi.types import Message, Prompt, Request, Sampling, TrainJob
from ttsi_plugins.engines.vllm import VllmEngine, serving

PAPERS = Sampling(max_tokens=24)


def drawn(seed: int, grammar: dict[str, object] | None = None) -> Request:
    (task,) = seal_tasks(1)
    return Request(prompt(task), PAPERS, seed, grammar=grammar)


def test_a_seed_is_its_requests_own(engine: VllmEngine) -> None:
    """A text depends on its own seed and on neither place nor neighbours."""
    seeds = [3, 2**63 - 1, 7]
    together = engine.generate([drawn(seed) for seed in seeds])
    reverse = engine.generate([greedy(seal_tasks(2)[1]), *(drawn(seed) for seed in seeds[::-1])])
    assert [each.text for each in together] == [each.text for each in reverse[:0:-1]]
    assert len({each.text for each in together}) == len(seeds)


def test_sampled_text_is_valid_for_its_grammar(engine: VllmEngine) -> None:
    """Schemas that differ by request, in one call with free text."""
    schemas = [
        {
            "type": "object",
            "properties": {
                "city": {"enum": ["Oslo", "Bergen", f"Town {n}"]},
                "days": {"type": "integer", "multipleOf": 1},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        }
        for n in range(4)
    ]
    requests = [drawn(seed, schema) for seed, schema in enumerate(schemas)]
    found = engine.generate([*requests, drawn(9)])
    for answer, schema in zip(found, schemas, strict=False):
        assert answer.finish == "stop"
        jsonschema.validate(json.loads(answer.text), schema)
        assert answer.logprob < 0


def test_an_opening_is_part_of_the_prompt(engine: VllmEngine) -> None:
    (task,) = seal_tasks(1)
    bare, opened = engine.generate(
        [Request(prompt(task, opening), PAPERS, 0) for opening in ("", '[{"name": "')]
    )
    assert opened.prompt_tokens > bare.prompt_tokens
    assert not opened.text.startswith('[{"name": "')


def test_length_is_told_from_an_end(engine: VllmEngine) -> None:
    asked = Prompt((Message("user", "Say hello."),))
    cut, whole = engine.generate(
        [
            Request(asked, Sampling.greedy(max_tokens=2), 0),
            Request(asked, Sampling.greedy(16), 0, grammar={"const": "hello"}),
        ]
    )
    assert (cut.finish, cut.completion_tokens) == ("length", 2)
    assert (whole.finish, json.loads(whole.text)) == ("stop", "hello")


def test_progress_counts_requests(engine: VllmEngine) -> None:
    told: list[tuple[int, int]] = []
    engine.on_progress = lambda done, total: told.append((done, total))
    try:
        engine.generate([drawn(seed) for seed in range(3)])
    finally:
        engine.on_progress = None
    assert told[-1] == (3, 3)
    assert sorted(told) == told


def test_an_interrupted_call_leaves_nothing_behind(engine: VllmEngine) -> None:
    """By ctrl-C, when the first of its requests is done and the others are under way."""

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    (task,) = seal_tasks(1)
    cut, whole = (Request(prompt(task), Sampling.greedy(most), 0) for most in (2, 12))
    expected = engine.generate([cut])
    engine.on_progress = interrupt
    try:
        with pytest.raises(KeyboardInterrupt):
            engine.generate([cut, whole])
    finally:
        engine.on_progress = None
    assert engine.generate([cut]) == expected


def test_activated_adapters_are_refused_before_they_are_trained(engine: VllmEngine) -> None:
    (task,) = seal_tasks(1)
    recipe = dataclasses.replace(LOUD, active_from="user_turn")
    with pytest.raises(EngineError, match="from the user turn on") as refused:
        engine.train([TrainJob("one", ((prompt(task), "yes"),), recipe, 0)])
    assert '"active_from": "start"' in refused.value.cure


def test_activated_adapters_are_refused_before_they_are_used(engine: VllmEngine) -> None:
    (task,) = seal_tasks(1)
    (adapter,) = trained(engine, [task])
    config = {**adapter.config, "alora_invocation_tokens": [1, 2]}
    with pytest.raises(EngineError, match="from the user turn on"):
        engine.generate([greedy(task, dataclasses.replace(adapter, config=config))])


def test_a_rank_above_the_limit_is_refused(engine: VllmEngine) -> None:
    (task,) = seal_tasks(1)
    recipe = dataclasses.replace(LOUD, rank=engine.max_lora_rank + 1)
    with pytest.raises(EngineError, match="max_lora_rank"):
        engine.train([TrainJob("one", ((prompt(task), "yes"),), recipe, 0)])


def test_an_adapter_that_does_not_fit_costs_its_call_and_not_the_engine(
    engine: VllmEngine,
) -> None:
    (task,) = seal_tasks(1)
    (adapter,) = trained(engine, [task])
    broken = dataclasses.replace(adapter, safetensors=adapter.safetensors[:100])
    with pytest.raises(EngineError, match="cannot load an adapter"):
        engine.generate([greedy(task, broken), greedy(task, louder(adapter, 0.5))])
    assert engine.generate([greedy(task)])[0].text


def test_a_prompt_that_is_too_long_is_refused(engine: VllmEngine) -> None:
    asked = Request(Prompt((Message("user", "word " * 5000),)), PAPERS, 0)
    with pytest.raises(EngineError, match="max_model_len"):
        engine.generate([asked])


def test_float32_on_a_gpu_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "device", lambda: "cuda")
    with pytest.raises(UsageError, match="no adapters in float32"):
        VllmEngine({"id": "smollm2-135m", "dtype": "float32"}).load()


@pytest.mark.parametrize("share", [0.999, 0.001])
def test_a_split_that_does_not_fit_is_refused_at_the_start(share: float) -> None:
    engine = VllmEngine({"id": "smollm2-135m"}, gpu_memory_utilization=share)
    with pytest.raises(RunError, match="vLLM would take") as refused:
        engine.load()
    assert "gpu_memory_utilization" in refused.value.cure


def test_vllm_takes_its_share_and_no_more(engine: VllmEngine) -> None:
    """Keys and values fill what is left of it; a tenth more is what a call needs meanwhile."""
    children = psutil.Process().children(recursive=True)
    worker = max(each.memory_info().rss for each in children)
    share = engine.gpu_memory_utilization * psutil.virtual_memory().total
    print(f"vLLM's worker: {worker >> 20} MiB of {int(share) >> 20}")
    assert 0.5 * share < worker < 1.1 * share
