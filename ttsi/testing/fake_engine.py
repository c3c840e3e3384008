"""An engine without a model: each answer is computed from its request alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NoReturn, TypeAlias

from ttsi.digests import bytes_digest, json_digest
from ttsi.errors import EngineError, MissingAsset
from ttsi.settings import EngineCapability
from ttsi.testing.instances import WORDS, instance
from ttsi.testing.subject import ALL_NEEDS
from ttsi.types import (
    JSON,
    Adapter,
    Generation,
    Likelihood,
    Prompt,
    Request,
    Token,
    Training,
    TrainJob,
)

FAKE_MODEL = {"id": "fake"}
_INVOCATION = "alora_invocation_tokens"
"""The key in PEFT's configuration for the tokens after which the adapter is active."""

Asked: TypeAlias = tuple[Prompt, tuple[str, ...]] | Request | TrainJob
"""A prompt with its continuations, a request to generate, or a training job."""


@dataclass(eq=False)
class FakeEngine:
    """A fake engine whose answers depend on prompt, seed (unless greedy) and adapter alone.

    It counts its `calls` by method and keeps what it was `asked`.

    generate: `script`, if given, makes the text. Otherwise the text is JSON that is valid for the
    request's grammar. Without a grammar it is a JSON list with a call of one of the tools that the
    prompt lists as JSON objects, one a line; or, where the prompt mentions the key "output", an
    object of "input" and "output".
    train: returns adapters that contain a digest of their job, with a loss for each step.
    Both raise EngineError for what is not in `capabilities`, and always while `failing`.
    """

    model: Mapping[str, Any] = field(default_factory=lambda: dict(FAKE_MODEL))
    capabilities: frozenset[EngineCapability] = ALL_NEEDS
    script: Callable[[Request], str] | None = None
    failing: bool = False

    on_progress: Callable[[int, int], None] | None = field(default=None, init=False)
    asked: list[Asked] = field(default_factory=list, init=False)
    calls: Counter[str] = field(default_factory=Counter, init=False)
    refused: list[str] = field(default_factory=list, init=False)
    closed: int = field(default=0, init=False)

    def load(self) -> None:
        """Raise MissingAsset unless the model's id is "fake"."""
        self.calls["load"] += 1
        if self.model.get("id") != FAKE_MODEL["id"]:
            what = f"The fake engine has no model {self.model.get('id')!r}."
            raise MissingAsset(what, where="FakeEngine", cure='The only model is {"id": "fake"}.')

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        given = zip(prompts, continuations, strict=True)
        self._begin("loglikelihoods", "loglikelihood", [(p, tuple(some)) for p, some in given])
        return [
            [self._likelihood(prompt, text) for text in some]
            for prompt, some in zip(prompts, continuations, strict=True)
        ]

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self._begin("generate", "generate", requests)
        for request in requests:
            if request.grammar is not None:
                self._need("grammar")
            if request.adapter is not None:
                self._need("adapters")
                if _INVOCATION in request.adapter.config:
                    self._need("activated")
        return [self._generation(request) for request in requests]

    def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
        self._begin("train", "train", jobs)
        for need in sorted({need for job in jobs for need in job.needs}):
            self._need(need)
        return [_adapter(job) for job in jobs]

    def digest(self) -> str:
        return bytes_digest(b"the fake engine's weights")

    def identity(self) -> dict[str, JSON]:
        return {
            "weights_digest": self.digest(),
            "model_revision": None,
            "tokenizer_digest": bytes_digest(b"the fake engine's tokenizer"),
            "chat_template_digest": None,
            "dtype": "float32",
            "device": "none",
        }

    def forget(self) -> None:
        self.calls["forget"] += 1

    def describe(self) -> dict[str, JSON]:
        return {"model": FAKE_MODEL["id"], "device": "none", "versions": {}}

    def close(self) -> None:
        self.closed += 1

    def _begin(self, method: str, capability: str, asked: Sequence[Asked]) -> None:
        self.calls[method] += 1
        self.asked += asked
        self._need(capability)
        if self.failing:
            self._refuse(method, "The fake engine was told to fail.", "failing=False")
        if self.on_progress is not None:
            self.on_progress(len(asked), len(asked))

    def _need(self, capability: str) -> None:
        if capability not in self.capabilities:
            why = f"This engine has not the capability {capability!r}."
            self._refuse(capability, why, "Choose an engine that has it.")

    def _refuse(self, what: str, why: str, cure: str) -> NoReturn:
        self.refused.append(what)
        raise EngineError(why, where="FakeEngine", cure=cure)

    def _likelihood(self, prompt: Prompt, text: str) -> Likelihood:
        tokens = _tokens(text)
        return Likelihood(-tokens * 3 * _draw(_seen(prompt), text).random(), tokens)

    def _generation(self, request: Request) -> Generation:
        greedy = request.sampling.temperature == 0
        adapter = request.adapter.digest if request.adapter is not None else ""
        seen = _seen(request.prompt)
        draw = _draw(seen, adapter, "" if greedy else str(request.seed))
        if self.script is not None:
            text = self.script(request)
        elif request.grammar is not None:
            text = json.dumps(instance(request.grammar, draw))
        else:
            text = _free_text(seen, draw)
        most = request.sampling.max_tokens
        parts = [*_parts(text), ""][:most]
        logprob = -draw.random()
        return Generation(
            "".join(parts),
            _tokens(seen),
            len(parts),
            len(parts) * logprob,
            finish="length" if parts[-1] else "stop",
            tokens=tuple(Token(part, logprob) for part in parts),
        )


def _seen(prompt: Prompt) -> str:
    tools = [f"{tool.name}: {tool.description}" for tool in prompt.tools]
    thought = ["<think>"] if prompt.thinking else []
    return "\n".join([*tools, *(m.content for m in prompt.messages), *thought, prompt.opening])


def _tokens(text: str) -> int:
    """Return the number of tokens: one for each four characters begun, at least one."""
    return max(1, -(-len(text) // 4))


def _parts(text: str) -> list[str]:
    """Return the texts of the tokens of a text, which an end token follows."""
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def _draw(*of: str) -> Random:
    return Random(json_digest(of))


def _free_text(seen: str, draw: Random) -> str:
    tools = list(_tools_in(seen))
    if not tools:
        return f"No tool is on offer: {draw.choice(WORDS)}."
    chosen = draw.choice(tools)
    call = {"name": chosen["name"], "arguments": instance(chosen["parameters"], draw)}
    if '"output"' not in seen:
        return json.dumps([call])
    return json.dumps({"input": f"Please see to {draw.choice(WORDS)} {draw.randrange(10_000)}.",
                       "output": [call]})  # fmt: skip


def _tools_in(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and {"name", "parameters"} <= value.keys():
                yield value


def _adapter(job: TrainJob) -> Adapter:
    pairs, held_out = (
        [[_seen(prompt), target] for prompt, target in some] for some in (job.pairs, job.held_out)
    )
    recipe = job.recipe
    said = [repr(recipe), job.seed, list(job.weights), job.prompt_loss, job.keep]
    digest = json_digest([pairs, held_out, *said])
    steps = len(job.pairs) * recipe.epochs
    start = 1 + _draw(digest).random()
    training = Training(
        losses=tuple(start / (step + 1) for step in range(steps)),
        learning_rates=tuple(recipe.learning_rate * (1 - step / steps) for step in range(steps)),
        seconds=0.0,
        tokens=recipe.epochs * _read(pairs) + (recipe.epochs + 1) * _read(held_out),
        held_out=tuple(start / (epoch + 1) for epoch in range(recipe.epochs + 1) if held_out),
    )
    config: dict[str, JSON] = {
        "peft_type": "LORA",
        "r": recipe.rank,
        "lora_alpha": recipe.alpha,
    }
    if recipe.active_from == "user_turn":
        config[_INVOCATION] = [0]
    return Adapter(_safetensors(digest.encode()), config, training)


def _read(pairs: Sequence[Sequence[str]]) -> int:
    return sum(_tokens(text) for pair in pairs for text in pair)


def _safetensors(data: bytes) -> bytes:
    """Return a safetensors file with one tensor of bytes."""
    tensor = {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}
    header = json.dumps({"fake": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + data
