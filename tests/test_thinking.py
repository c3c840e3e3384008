"""`model.thinking`: a thought before an answer, bounded, and out of everything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import architectures
import pytest
import torch
from chat_tokens import byte_level
from tiny_model import write_folder

from ttsi.answers import form_named
from ttsi.types import AnswerStatus, Message, Prompt, Request, Sampling, Task
from ttsi_plugins.engines.transformers import TransformersEngine
from ttsi_plugins.engines.transformers.drawing import take
from ttsi_plugins.engines.transformers.rows import Row
from ttsi_plugins.engines.transformers.thoughts import Thought
from ttsi_plugins.engines.transformers.tokens import Tokens
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.lora_sft import LoraSft

CHAT = (Message("system", "Answer."), Message("user", "What time is it in Rome?"))
GRAMMAR = {"enum": ["get_time", "get_weather"]}
# As Qwen3's: a thought is left to the model, unless it is not to think.
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
# As those of models that always think: the template begins the thought.
OPENED = TEMPLATE.replace("assistant\n{%", "assistant\n<think>\n{%").replace(
    "<think>\n\n</think>", "\n</think>"
)


def made(template: str, thinking: str) -> Tokens:
    tokenizer = byte_level(template, ordinary=["<think>", "</think>"])
    return Tokens(tokenizer, None, "2031-02-03", None, thinking)


def shown(tokens: Tokens, *, thinking: bool) -> str:
    ids = tokens.prompt(Prompt(CHAT, thinking=thinking))
    return "".join(text for text, _ in tokens.rendered(ids).pieces).split("assistant\n")[-1]


# ---------------------------------------------------------------- the prompt


@pytest.mark.parametrize("template", [TEMPLATE, OPENED])
def test_only_an_answer_begins_with_a_thought(template: str) -> None:
    tokens = made(template, "on")
    assert shown(tokens, thinking=True) == "<think>\n"
    assert shown(tokens, thinking=False).split() == ["<think>", "</think>"]
    off = made(template, "off")
    assert shown(off, thinking=True) == shown(off, thinking=False) == shown(tokens, thinking=False)


# As R1's: the thought is begun, whatever a template is told.
ALWAYS = TEMPLATE.replace("enable_thinking is defined and not enable_thinking", "false")
ALWAYS = ALWAYS.replace("assistant\n{%", "assistant\n<think>\n{%")


def test_a_template_that_always_begins_a_thought_is_closed_where_nothing_thinks() -> None:
    assert shown(made(ALWAYS, "on"), thinking=True) == "<think>\n"
    for mode in ("on", "off"):
        assert shown(made(ALWAYS, mode), thinking=False).split() == ["<think>", "</think>"]


@pytest.mark.parametrize("said", ["Explain the tag <think>", "Say </think>", "<think> and more"])
def test_what_a_user_says_of_thoughts_begins_and_ends_none(said: str) -> None:
    chat = (CHAT[0], Message("user", said))
    for template in (TEMPLATE, ALWAYS):
        tokens = made(template, "on")
        for thinking, tail in ((True, ["<think>"]), (False, ["<think>", "</think>"])):
            ids = tokens.prompt(Prompt(chat, thinking=thinking))
            text = "".join(piece for piece, _ in tokens.rendered(ids).pieces)
            assert text.split("assistant\n")[-1].split() == tail


def test_by_default_the_template_decides() -> None:
    assert shown(made(TEMPLATE, "default"), thinking=True) == ""
    assert shown(made(OPENED, "default"), thinking=False) == "<think>\n"
    assert not made(OPENED, "default").thinks(Prompt(CHAT, thinking=True))


def test_answers_ask_for_a_thought_and_training_does_not() -> None:
    task = Task("t", (), "Answer.", "What time is it?", "text")
    request = Direct(thought_tokens=7, decoding="greedy").request(task, None, 0)
    assert request.prompt.thinking
    assert request.sampling.thought_tokens == 7
    assert not task.prompt().thinking
    assert not LoraSft().needs_base


# ---------------------------------------------------------------- the row

CLOSE, END, WIDTH = [90, 91], 99, 100


def drawn(script: list[int], *, most: int = 5, max_tokens: int = 3) -> Row:
    """Return a row whose model would draw the tokens of `script`, one after the other."""
    sampling = Sampling.greedy(max_tokens)
    thought = Thought(most, CLOSE, lambda ids: list(ids[-2:]) == CLOSE)
    row = Row(Request(Prompt(CHAT, thinking=True), sampling, 0), [1, 2], thought=thought)
    for token in script:
        if not row.finish:
            logits = torch.zeros(1, WIDTH)
            logits[0, token] = 9
            take([row], logits, [END])
    return row


def test_a_thought_that_the_model_closes_is_followed_by_the_answer() -> None:
    row = drawn([5, 6, *CLOSE, 7, 8, END])
    assert (row.text, row.finish) == ([5, 6, *CLOSE, 7, 8], "stop")


def test_a_thought_that_is_too_long_is_closed() -> None:
    row = drawn([5, 5, 5, 5, 5, 6, 6, 7, 8, END], most=5)
    assert row.text == [5, 5, 5, 5, 5, *CLOSE, 7, 8]
    # The model drew neither token of the mark, though its first choice may have been the second.
    assert row.forced == [False] * 5 + [True] * 2 + [False] * 3


def test_an_end_within_a_thought_closes_it() -> None:
    assert drawn([5, END, 6, 7, END]).text == [5, *CLOSE, 7]


def test_the_answer_alone_counts_for_its_length() -> None:
    row = drawn([5, 5, *CLOSE, 7, 7, 7, 7], max_tokens=3)
    assert (row.text, row.finish) == ([5, 5, *CLOSE, 7, 7, 7], "length")
    assert row.room == 2 + 5 + len(CLOSE) + 3


# ---------------------------------------------------------------- the engine


@pytest.fixture(scope="module", params=["fast", "native"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "chat.jinja").write_text(TEMPLATE)

    def falcon(vocabulary: int, end: int) -> Any:
        sizes = {"vocab_size": vocabulary, "max_position_embeddings": 4096}
        ends = {"eos_token_id": end, "bos_token_id": None, "pad_token_id": end}
        return architectures.tiny("falcon", num_kv_heads=2, **sizes, **ends)

    model = write_folder(folder / "model", falcon if request.param == "native" else None)
    spec = {"id": str(model), "chat_template": str(folder / "chat.jinja"), "thinking": "on"}
    made = TransformersEngine(spec, device="cpu", memory_gib=1)
    made.load()
    assert made.describe()["mode"] == request.param
    yield made
    made.close()


def requests(**changed: Any) -> list[Request]:
    sampling = Sampling(2.0, 1.0, 0, 1.0, **({"max_tokens": 20, "thought_tokens": 9} | changed))
    prompt = Prompt(CHAT, thinking=True)
    return [Request(prompt, sampling, seed, grammar=GRAMMAR) for seed in range(4)]


def test_a_grammar_holds_behind_the_thought_alone(engine: Any) -> None:
    for made in engine.generate(requests()):
        thought, _, answer = made.text.partition("</think>")
        assert json.loads(answer.strip()) in GRAMMAR["enum"]
        assert thought
        # The thought, the mark that closes it, the answer and its end.
        tokens = engine._runtime().tokens
        after = len(tokens.text("\n</think>\n\n")) + len(tokens.text(answer.strip())) + 1
        assert after < made.completion_tokens <= after + 9
        assert made.finish == "stop"


def test_each_row_has_its_own_thought_whatever_is_beside_it(engine: Any) -> None:
    asked = [*requests(thought_tokens=4), *requests(thought_tokens=11)]
    together = [made.text for made in engine.generate(asked)]
    assert together == [engine.generate([each])[0].text for each in asked]


def test_the_thought_is_in_the_text_and_not_in_the_answer(engine: Any) -> None:
    task = Task("t", (), "Answer.", "What time is it?", "text")
    inference = Direct(thought_tokens=6, max_tokens=6, decoding="sample", temperature=2.0)
    (said,) = inference.answer([task], [None], engine, 0)
    assert "</think>" in said.text
    assert said.answer == form_named("text").parse(task, said.text.partition("</think>")[2])
    assert said.answer.status is not AnswerStatus.UNPARSABLE


def test_a_spec_turns_it_on(tmp_path: Path) -> None:
    from ttsi import load_spec

    base = {"ttsi": 1, "name": "s", "benchmark": "gsm8k"}
    (plain,) = load_spec(base)
    assert plain.model.get("thinking", "default") == "default"
    (made,) = load_spec(
        {
            **base,
            "model": {"id": "smollm2-135m", "thinking": "on"},
            "inference": {"name": "direct", "thought_tokens": 64},
        }
    )
    assert made.model["thinking"] == "on"
    assert made.inference.options["thought_tokens"] == 64


@pytest.mark.parametrize("name", ["enable_thinking", "tools", "tokenize", "ttsi_dates"])
def test_what_ttsi_says_to_a_template_is_no_variable_of_the_users(name: str) -> None:
    from ttsi.spec import validate

    model = {"id": "smollm2-135m", "chat_template_kwargs": {name: True}}
    (problem,) = validate({"ttsi": 1, "name": "s", "benchmark": "gsm8k", "model": model})
    assert problem.pointer.startswith("/model/chat_template_kwargs")
