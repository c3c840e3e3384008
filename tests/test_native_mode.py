"""An engine whose model runs natively: its contract, and what it says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import architectures
import pytest
import torch

from ttsi.errors import EngineError
from ttsi.testing import check_plugin
from ttsi.types import LoraRecipe, Message, Prompt, Request, Sampling, TrainJob
from ttsi_plugins.engines.transformers import TransformersEngine

PROMPT = Prompt((Message("system", "Answer."), Message("user", "What time is it in Rome?")))
# One whose attention cannot be replaced, and one with a state.
KINDS = ("Falcon", "Mamba")


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind, settings, _ = architectures.NATIVE[request.param]
    return architectures.folder(tmp_path_factory.mktemp("native") / "model", kind, settings)


@pytest.fixture
def engine(folder: Path) -> Any:
    made = TransformersEngine({"id": str(folder)}, device="cpu", memory_gib=1)
    made.load()
    yield made
    made.close()


def test_it_keeps_the_contract_of_engines(folder: Path) -> None:
    outcomes = check_plugin(
        "transformers", {"model": str(folder), "device": "cpu", "memory_gib": 1}
    )
    failed = [(o.check.name, o.message) for o in outcomes if not o.passed]
    assert failed == []


def test_it_says_its_mode_and_why(engine: Any) -> None:
    told = engine.describe()
    assert told["mode"] == "native"
    assert "the engine does not run that" in told["why_native"]


def test_likelihoods_are_those_of_whole_texts(engine: Any) -> None:
    texts = ["get_time", "get_weather", "get", "g", ""]
    (found,) = engine.loglikelihoods([PROMPT], [texts])
    runtime = engine._runtime()
    ids = runtime.tokens.prompt(PROMPT)
    with runtime.network.native() as model, torch.no_grad():
        for text, likelihood in zip(texts, found, strict=True):
            own = runtime.tokens.text(text)
            logits = model(input_ids=torch.tensor([ids + own]), use_cache=False).logits[0]
            logs = logits.double().log_softmax(-1)
            wanted = sum(float(logs[len(ids) - 1 + at, id]) for at, id in enumerate(own))
            assert likelihood.logprob == pytest.approx(wanted, abs=1e-4)


def test_a_grammar_holds_and_a_seed_decides(engine: Any) -> None:
    grammar = {"enum": ["get_time", "get_weather"]}
    drawn = [
        Request(
            PROMPT,
            Sampling(temperature=3.0, top_p=1.0, top_k=0, max_tokens=20),
            seed,
            grammar=grammar,
        )
        for seed in range(6)
    ]
    texts = [made.text for made in engine.generate(drawn)]
    assert {json.loads(text) for text in texts} == {"get_time", "get_weather"}
    assert [made.text for made in engine.generate(drawn[::-1])] == texts[::-1]


def test_an_activated_adapter_is_refused_with_its_cure(engine: Any) -> None:
    recipe = LoraRecipe(rank=2, active_from="user_turn")
    with pytest.raises(EngineError) as caught:
        engine.train([TrainJob("a", ((PROMPT, "get_time"),), recipe, 0)])
    assert "native mode" in caught.value.where
    assert '"active_from": "start"' in caught.value.cure
