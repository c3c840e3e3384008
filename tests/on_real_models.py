"""Real models of other families against transformers' own forward pass; not part of CI.

python -m pytest tests/on_real_models.py
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engines import real_tasks
from fetched import fetched

from ttsi.types import LoraRecipe, Prompt, Request, Sampling, TrainJob
from ttsi_plugins.engines.transformers import TransformersEngine

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.role }}:\n{{ m.content }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)
LENGTHS = (700, 1200, 2000)


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gemma 3 270M, a base model with windows of 512 tokens in five of six layers."""
    template = tmp_path_factory.mktemp("template") / "chat.jinja"
    template.write_text(TEMPLATE)
    model = {"id": str(fetched("gemma3-270m")), "chat_template": str(template)}
    engine = TransformersEngine({**model, "dtype": "float32"}, device="cpu", memory_gib=4)
    engine.load()
    yield engine
    engine.close()


def prompts(engine: Any) -> list[Prompt]:
    """Return a real task, made as long as each of LENGTHS by earlier requests before it."""
    (prompt, _), *others = real_tasks(5)
    system = prompt.messages[0]
    more = "\n".join(other.messages[1].content for other, _ in others)
    made = []
    for length in LENGTHS:
        text = system.content
        while len(_ids(engine, _with(prompt, text))) < length:
            text += "\n" + more
        made.append(_with(prompt, text))
    return made


def _with(prompt: Prompt, text: str) -> Prompt:
    system, question = prompt.messages
    return Prompt((type(system)("system", text), question))


def _ids(engine: Any, prompt: Prompt) -> list[int]:
    return list(engine._runtime().tokens.prompt(prompt))


def own(engine: Any, ids: list[int], start: int) -> torch.Tensor:
    """Return log-probabilities [tokens, V] from token `start` on, of the model's own pass."""
    read = torch.arange(start, len(ids))
    with torch.no_grad():
        logits = engine._runtime().network.own(torch.tensor([ids]), read)
    return logits.double().log_softmax(-1)


def test_gemma_is_fast_and_its_windows_are_shorter_than_the_prompts(gemma: Any) -> None:
    assert gemma.describe()["mode"] == "fast"
    sights = gemma._runtime().network.sights
    assert {sight.window for sight in sights} == {None, 512}
    assert [len(_ids(gemma, each)) >= 700 for each in prompts(gemma)] == [True] * 3


def test_gemma_scores_as_its_own_forward_pass(gemma: Any) -> None:
    texts = ["get_weather", "get_time", "getNews", "g"]
    asked = prompts(gemma)
    for prompt, found in zip(asked, gemma.loglikelihoods(asked, [texts] * 3), strict=True):
        ids = _ids(gemma, prompt)
        for text, likelihood in zip(texts, found, strict=True):
            candidate = gemma._runtime().tokens.text(text)
            logs = own(gemma, ids + candidate, len(ids) - 1)
            whole = sum(float(logs[at, id]) for at, id in enumerate(candidate))
            assert likelihood.logprob == pytest.approx(whole, abs=1e-3)


def test_gemma_decodes_and_adapts_as_its_own_forward_pass(gemma: Any) -> None:
    asked = prompts(gemma)
    plain = [Request(prompt, Sampling.greedy(6), 0) for prompt in asked]
    for request, made in zip(plain, gemma.generate(plain), strict=True):
        assert made.text == _greedy(gemma, request.prompt)
    (adapter,) = gemma.train(
        [TrainJob("a", ((asked[0], "get_weather"),), LoraRecipe(learning_rate=1e-3), 0)]
    )
    assert adapter.training is not None
    assert adapter.training.losses[-1] < adapter.training.losses[0]
    ids, target = _ids(gemma, asked[0]), gemma._runtime().tokens.target("get_weather")
    logs = own(gemma, ids + target[:-1], len(ids) - 1)
    loss = -sum(float(logs[at, id]) for at, id in enumerate(target)) / len(target)
    assert adapter.training.losses[0] == pytest.approx(loss, rel=1e-3)
    (adapted,) = gemma.generate([Request(asked[0], Sampling.greedy(6), 0, adapter)])
    assert adapted.text.startswith("get")


def _greedy(engine: Any, prompt: Prompt) -> str:
    ids = _ids(engine, prompt)
    start = len(ids)
    for _ in range(6):
        token = int(own(engine, ids, len(ids) - 1)[-1].argmax())
        if token in engine._runtime().tokens.ends:
            break
        ids.append(token)
    return str(engine._runtime().tokens.decode(ids[start:]))
