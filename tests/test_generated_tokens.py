"""`Generation.tokens`: what each token wrote, how likely it was, and whether it was forced."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from chat_tokens import byte_level, sentence_piece
from engines import small_engine
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import TEMPLATE
from transformers.convert_slow_tokenizer import bytes_to_unicode

from ttsi.types import Generation, Message, Prompt, Request, Sampling
from ttsi_plugins.engines.transformers.spelling import shares
from ttsi_plugins.engines.transformers.tokens import Tokens

# ---------------------------------------------------------------- texts


def lossy(parts: Sequence[bytes]) -> str:
    """Return the text of bytes as byte-level tokenizers decode them."""
    return b"".join(parts).decode(errors="replace")


def by_shares(parts: Sequence[bytes]) -> list[str]:
    """Return the share of each of `parts`, the bytes of a text's tokens."""

    def decoded(ids: Sequence[int]) -> str:
        return lossy([parts[id] for id in ids])

    ids = list(range(len(parts)))
    return shares(ids, decoded(ids), decoded, lambda id: lossy([parts[id]]))


def cut(whole: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(whole) + 1) for place in places} | {len(whole)} - {0})
    return [whole[a:b] for a, b in zip([0, *ends], ends, strict=False) if b > a]


@given(st.text(max_size=30), st.lists(st.integers(0, 200), max_size=60))
def test_a_character_belongs_to_the_token_that_completes_it(text: str, places: list[int]) -> None:
    parts = cut(text.encode(errors="ignore"), places)
    reader = codecs.getincrementaldecoder("utf-8")()
    assert by_shares(parts) == [reader.decode(part) for part in parts]


@given(st.binary(max_size=60), st.lists(st.integers(0, 200), max_size=60))
def test_whatever_the_bytes_are_the_shares_are_the_text(whole: bytes, places: list[int]) -> None:
    parts = cut(whole, places)
    found = by_shares(parts)
    assert len(found) == len(parts)
    assert "".join(found) == lossy(parts)


@pytest.mark.parametrize("byte", [b"\x80", b"\xf0", b"\xf0\x9f", "\U0001f600".encode()])
def test_a_hostile_text_takes_time_linear_in_its_length(byte: bytes) -> None:
    read = []

    def work(count: int) -> int:
        parts = [bytes([each]) for each in byte * count] + [b"ab"]
        read.clear()

        def decoded(ids: Sequence[int]) -> str:
            read.append(len(ids))
            return lossy([parts[id] for id in ids])

        ids = list(range(len(parts)))
        shares(ids, decoded(ids), decoded, lambda id: lossy([parts[id]]))
        return sum(read)

    assert work(1600) < 24 * work(200)


@pytest.mark.parametrize("make", [byte_level, sentence_piece])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_shares_of_real_tokenizers_are_what_they_decode(make: Any, data: st.DataObject) -> None:
    tokens = _tokens(make)
    size = len(tokens.tokenizer)
    ids = data.draw(st.lists(st.integers(0, size - 1), max_size=24))
    assert "".join(tokens.texts(ids)) == tokens.decode(ids)
    parts = st.sampled_from([*"ab ü日😀\n", "<tool_call>", "<think>"])
    ids = tokens.text("".join(data.draw(st.lists(parts, max_size=12))))
    reader = codecs.getincrementaldecoder("utf-8")()
    assert tokens.texts(ids) == [reader.decode(_bytes(tokens, id)) for id in ids]


def _bytes(tokens: Tokens, id: int) -> bytes:
    """Return the bytes of a token, by the names that the two tokenizers give them."""
    name = str(tokens.tokenizer.convert_ids_to_tokens(id))
    if id in tokens.tokenizer.added_tokens_decoder:
        return name.encode()
    if name.startswith("<0x"):
        return bytes([int(name[3:5], 16)])
    by_name = {letter: byte for byte, letter in bytes_to_unicode().items()}
    if tokens is _tokens(byte_level):
        return bytes(by_name[letter] for letter in name)
    return name.replace("▁", " ").encode()


_MADE: dict[Any, Tokens] = {}


def _tokens(make: Any) -> Tokens:
    if make not in _MADE:
        _MADE[make] = Tokens(make(TEMPLATE, ["<tool_call>"], ["<think>"]), None, "2031-02-03")
    return _MADE[make]


# ---------------------------------------------------------------- an engine


@pytest.fixture(scope="module", params=["fast", "native"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = small_engine(tmp_path_factory.mktemp(request.param), request.param)
    yield made
    made.close()


SCHEMA = {"enum": ["get_time", "get_weather", "日本", "日光"]}
KINDS = [
    Sampling.greedy(16),
    Sampling(temperature=1.5, top_p=0.9, top_k=50, repetition_penalty=1.3, max_tokens=16),
]


def requests() -> list[Request]:
    prompts = [
        Prompt((Message("system", "Answer."), Message("user", text)))
        for text in ("What time is it in Rome?", "日本 or 日光?")
    ]
    return [
        Request(prompt, sampling, seed, grammar=schema)
        for seed, prompt in enumerate(prompts)
        for sampling in KINDS
        for schema in (None, SCHEMA)
    ]


def same(one: Generation, other: Generation) -> None:
    assert (one.text, len(one.tokens)) == (other.text, len(other.tokens))
    for mine, theirs in zip(one.tokens, other.tokens, strict=True):
        assert (mine.text, mine.forced) == (theirs.text, theirs.forced)
        assert mine.logprob == pytest.approx(theirs.logprob, abs=1e-4)


def test_they_are_those_of_a_forward_pass_and_of_the_grammar(engine: Any) -> None:
    runtime = engine._runtime()
    forced = 0
    for request in requests():
        row = runtime._row(request)
        runtime.decoder.run([row], 1)
        made = runtime._generation(row)
        assert "".join(token.text for token in made.tokens) == made.text
        assert made.logprob == pytest.approx(sum(token.logprob for token in made.tokens))
        ids = [*row.text, *([runtime.tokens.end] if made.finish == "stop" else [])]
        assert len(made.tokens) == len(ids) == made.completion_tokens
        with torch.no_grad(), runtime.network.native() as model:
            logits = model(input_ids=torch.tensor([row.prompt + ids]), use_cache=False).logits[0]
        own = logits.double().log_softmax(-1)[len(row.prompt) - 1 : -1]
        matcher = runtime.grammars.matcher(request.grammar) if request.grammar else None
        for token, id, line in zip(made.tokens, ids, own, strict=True):
            assert token.logprob == pytest.approx(float(line[id]), abs=1e-4)
            assert token.forced == (matcher is not None and _choices(matcher, len(line)) == [id])
            forced += token.forced
            if matcher is not None:
                assert matcher.accepts(id) or id == runtime.tokens.end
    assert forced > 20


def _choices(matcher: Any, size: int) -> list[int]:
    """Return the tokens that a grammar accepts, each of them tried."""
    found = []
    for id in range(size):
        if matcher.accepts(id):
            matcher.back(1)
            found.append(id)
    return found


def test_guesses_and_neighbours_change_nothing(engine: Any) -> None:
    runtime, asked = engine._runtime(), requests()
    engine.forget()
    alone = [engine.generate([each])[0] for each in asked]
    plain = [runtime._row(each) for each in asked]
    for row in plain:
        row.drafter = None
    runtime.decoder.run(plain, 3)
    # By now there are earlier answers to guess from.
    for made in (engine.generate(asked), engine.generate(asked[::-1])[::-1]):
        for one, row, other in zip(alone, plain, made, strict=True):
            same(one, other)
            same(runtime._generation(row), other)
    if engine.describe()["mode"] == "fast":
        assert sum(runtime.answers.right.values()) > 20


def test_a_cut_text_has_no_end_and_a_whole_one_has(engine: Any) -> None:
    cut, whole = (
        engine.generate([Request(requests()[0].prompt, Sampling.greedy(most), 0, grammar=SCHEMA)])[
            0
        ]
        for most in (3, 16)
    )
    assert (cut.finish, len(cut.tokens)) == ("length", 3)
    assert (whole.finish, whole.tokens[-1].text) == ("stop", "")
    assert all(len(token.text) <= 1 for token in whole.tokens)
