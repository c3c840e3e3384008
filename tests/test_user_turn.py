"""Where the user's turn begins: the tokens from which an activated adapter acts."""

from __future__ import annotations

import copy

import pytest
from engines import ask, shared_engine

from ttsi.errors import EngineError
from ttsi.types import LoraRecipe, Message, Prompt, Request, Sampling, TrainJob
from ttsi_plugins.engines.transformers import lora
from ttsi_plugins.engines.transformers.tokens import Tokens

pytestmark = pytest.mark.model

# As Llama 3 writes it, with the control tokens that this tokenizer has.
HEADED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}<|endoftext|>\n\n{{ m.content }}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant<|endoftext|>\n\n{% endif %}"
)
# As Llama 2 does: the system's text inside the user's turn.
FOLDED = "[INST] {{ messages[0].content }}\n\n{{ messages[1].content }} [/INST]"


def tokens_with(template: str) -> Tokens:
    own = shared_engine()._runtime()
    tokenizer = copy.deepcopy(own.loaded.tokenizer)
    tokenizer.chat_template = template or tokenizer.chat_template
    return Tokens(tokenizer, own.model.generation_config)


@pytest.mark.parametrize("template", ["", HEADED])
@pytest.mark.parametrize("text", ["Hi", "\n\nHi", " Hi", "<|im_start|>user", ""])
def test_the_user_turn_begins_after_the_system_turn(template: str, text: str) -> None:
    tokens = tokens_with(template)
    system = Message("system", "Tools: <|im_start|>user none.")
    ids = tokens.prompt(Prompt((system, Message("user", text))))
    start = tokens.user_turn(ids)
    decoded = tokens.tokenizer.decode(ids[start:])
    assert decoded.startswith("<|im_start|>user")
    assert decoded.count("<|im_start|>user") == 1 + text.count("<|im_start|>user")
    other = tokens.prompt(Prompt((system, Message("user", "else"))))
    assert other[:start] == ids[:start]
    assert lora.begins({"alora_invocation_tokens": tokens.invocation}, ids) == start


def test_it_is_the_last_of_several() -> None:
    tokens = tokens_with("")
    turns = (Message("system", "s"), Message("user", "a"), Message("assistant", "b"))
    ids = tokens.prompt(Prompt((*turns, Message("user", "c"))))
    assert tokens.tokenizer.decode(ids[tokens.user_turn(ids) :]).startswith("<|im_start|>user\nc")


def test_a_template_without_a_user_turn_of_its_own_is_an_error() -> None:
    with pytest.raises(EngineError, match="separate the user's turn") as caught:
        _ = tokens_with(FOLDED).invocation
    assert "active_from" in caught.value.cure


def test_the_system_turn_is_read_once_for_training_and_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = shared_engine()
    runtime = engine._runtime()
    engine.forget()
    long = Message("system", "You are an assistant that answers in one word. " * 8)
    asked = Prompt((long, Message("user", "What is the capital of Norway?")))
    taught = Prompt((long, Message("user", "What is the capital of Peru?")))
    engine.loglikelihoods([asked], [["Oslo"]])
    widths: list[int] = []
    run = runtime.network.run
    monkeypatch.setattr(
        runtime.network, "run", lambda ids, *rest: widths.append(ids.shape[1]) or run(ids, *rest)
    )
    recipe = LoraRecipe(active_from="user_turn", learning_rate=5e-3, epochs=6)
    (adapter,) = engine.train([TrainJob("a", ((taught, "xyzzy"),), recipe, 0)])
    engine.generate([Request(asked, Sampling.greedy(3), 0, adapter)])
    system = runtime.tokens.user_turn(runtime.tokens.prompt(asked))
    assert max(widths) < system
    assert adapter.config["alora_invocation_tokens"] == runtime.tokens.invocation


def test_an_adapter_that_would_never_act_is_refused() -> None:
    engine = shared_engine()
    recipe = LoraRecipe(active_from="user_turn", epochs=1)
    (adapter,) = engine.train([TrainJob("a", ((ask("Hi"), "Ho"),), recipe, 0)])
    alien = type(adapter)(adapter.safetensors, {**adapter.config, "alora_invocation_tokens": [9]})
    with pytest.raises(EngineError, match="begin to act"):
        engine.generate([Request(ask("Hi"), Sampling.greedy(2), 0, alien)])
