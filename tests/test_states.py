"""Models whose layers carry states: what is read of them, kept, and gone on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import architectures
import pytest
import torch
from banks import ids
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ttsi import EngineCapability, Message, Prompt
from ttsi.testing import check_plugin
from ttsi_plugins.engines.transformers import TransformersEngine
from ttsi_plugins.engines.transformers.caches import NO_PAST, Piece
from ttsi_plugins.engines.transformers.carrying import CarryingReader, reader
from ttsi_plugins.engines.transformers.passes import Network
from ttsi_plugins.engines.transformers.prefixes import Prefixes
from ttsi_plugins.engines.transformers.reading import NO_TRIE, Text
from ttsi_plugins.engines.transformers.trie import Trie

IDS = ids(5, 60)
TEXTS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


@pytest.fixture(params=["LFM2", "Qwen3.5", "Falcon H1", "Mamba 2"])
def model(request: pytest.FixtureRequest) -> Any:
    kind, sizes = architectures.CARRY[request.param]
    return architectures.tiny(kind, **sizes)


@torch.no_grad()
def plain(model: Any, text: list[int]) -> Tensor:
    logits: Tensor = model(input_ids=torch.tensor([text]), use_cache=False).logits[0]
    return logits


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)


def state(text: list[int]) -> Mapping[tuple[str, int, int], Tensor]:
    """A stand-in for a state, which knows all that was read."""
    return {("recurrent", 0, 0): torch.tensor([float(hash(tuple(text)) % 9973)])}


def piece(text: list[int], start: int) -> Piece:
    keys = torch.zeros(1, len(text) - start, 1)
    return Piece(len(text) - start, {0: (keys, keys)}, state(text))


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=20), st.integers(0, 400))
def test_a_text_goes_on_only_where_its_states_are_known(texts: list[list[int]], room: int) -> None:
    store = Prefixes(room, carries=True)
    for text in texts:
        past = store.longest(text)
        if past.length:
            assert past.state == state(text[: past.length])
        if past.length < len(text):
            store.add(text, past.length, piece(text, past.length))
            assert store.bytes <= room
            again = store.longest(text)
            assert again.length in (0, past.length, len(text)) or again.length < past.length
            assert not again.length or again.state == state(text[: again.length])


def test_the_end_of_a_longer_texts_beginning_gets_its_states() -> None:
    store = Prefixes(10**6, carries=True)
    store.add(IDS[:40], 0, piece(IDS[:40], 0))
    assert store.longest(IDS[:30]).length == 0
    assert store.known(IDS[:30]) == 30
    store.add(IDS[:30], 0, piece(IDS[:30], 0))
    assert store.longest([*IDS[:30], 1]).state == state(IDS[:30])
    assert store.longest(IDS[:50]).state == state(IDS[:40])
    # 40 tokens of keys and values, and two states.
    assert store.bytes == 40 * 2 * 4 + 2 * 4


def test_reading_in_any_order_and_budget_gives_the_same(model: Any) -> None:
    prompts = [IDS[:40], IDS[:25], [*IDS[:25], 7, 8, 9], IDS[5:20], IDS[:40] + IDS[:9], IDS[:1]]
    candidates = [[IDS[3:6], [*IDS[3:5], 9, 9], [4]], [[5, 6]], [], [[7] * 6, [7] * 5], [[]], [[8]]]
    whole = [
        [likelihood(model, text, tail) for tail in tails]
        for text, tails in zip(prompts, candidates, strict=True)
    ]
    expected = [plain(model, text)[-1] for text in prompts]
    network = Network(model)
    for budget, pass_tokens in product((0, 30000, 10**7), (1, 64, 1000)):
        reads = reader(network, budget, pass_tokens)
        for _ in range(2):
            tries = [Trie(tails) for tails in candidates]
            seen = set()
            for index, past, logits in reads.read(prompts, tries, [9] * len(prompts)):
                seen.add(index)
                assert past.length == len(prompts[index]) - 1
                close(logits[0], expected[index])
                assert tries[index].logprobs(logits) == pytest.approx(whole[index], abs=2e-4)
            assert seen == set(range(len(prompts)))
            assert reads.prefixes.bytes <= budget


def likelihood(model: Any, text: list[int], tail: list[int]) -> float:
    logprobs = plain(model, text + tail).double().log_softmax(-1)
    return sum(float(logprobs[len(text) - 1 + at, token]) for at, token in enumerate(tail))


def test_what_was_read_is_not_read_again(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(model)
    reads = reader(network, 10**8, 1000)
    assert isinstance(reads, CarryingReader)
    widths, whole = [], network.run
    monkeypatch.setattr(
        network, "run", lambda ids, *rest: widths.append(tuple(ids.shape)) or whole(ids, *rest)
    )
    # H reads a prompt with its opening; the answer goes on before the prompt's last token.
    trie = Trie([[5, 6], [5, 7, 8], [9, 9]])
    list(reads.read([IDS[:44]], [trie], [39]))
    assert widths == [(1, 39), (1, 4), (2, 3)]
    assert [past.length for _, past in reads.before_last([IDS[:40]])] == [39]
    assert len(widths) == 3
    # What prompts of one call have in common is read once, and by later calls not at all.
    shared = IDS[20:60]
    list(reads.before_last([[*shared, 1, 3], [*shared, 2, 3]]))
    assert widths[3:] == [(1, 40), (1, 1), (1, 1)]
    list(reads.before_last([[*shared, 4, 3]]))
    assert widths[6:] == [(1, 1)]
    # Of several that part at different places, the first is kept at each place that is worth it.
    nested = [[*IDS[40:60], *IDS[:at], at] for at in (25, 3, 1, 20)]
    begun = len(widths)
    list(reads.before_last([[*text, 3] for text in nested]))
    assert sum(tokens for _, tokens in widths[begun:]) <= 20 + 25 + 5 + 4 + 4 + 16
    # What only turns out to be shared is read again once.
    list(reads.before_last([[*IDS[:30], 1, 3]]))
    list(reads.before_last([[*IDS[:30], 2, 3]]))
    assert widths[-3:] == [(1, 30), (1, 1), (1, 1)]
    with pytest.raises(ValueError, match="one length"):
        reads.run([Text([5], NO_PAST, NO_TRIE), Text([5, 6], NO_PAST, NO_TRIE)])


def test_steps_with_rows_that_move_and_leave(model: Any) -> None:
    texts = [IDS[:20], IDS[30:36], IDS[10:44], IDS[:1]]
    expected = [plain(model, text + IDS[:8]) for text in texts]
    network = Network(model)
    reads = reader(network, 0, 1000)
    slots = network.slots(3, 44)
    for slot in range(3):
        slots.put(slot, reads.past(texts[slot]))
    order = [0, 1, 2]
    for at in range(5):
        if at == 3:
            slots.move(2, 0)
            order = [2, 1]
        step(network, slots, order, at, expected, texts)
    # A row that begins where another one was knows nothing of it.
    slots.put(1, reads.past([]))
    positions = slots.step([1, 1])
    logits = network.run(torch.tensor([[IDS[5]], texts[3]]), positions, slots, torch.arange(2))
    close(logits[0], expected[2][len(texts[2]) + 5])
    close(logits[1], expected[3][0])


def step(
    network: Network,
    slots: Any,
    order: list[int],
    at: int,
    expected: list[Tensor],
    texts: list[list[int]],
) -> None:
    given = torch.tensor([[IDS[at]]] * len(order))
    logits = network.run(given, slots.step([1] * len(order)), slots, torch.arange(len(order)))
    slots.keep([1] * len(order))
    for row, text in enumerate(order):
        close(logits[row], expected[text][len(texts[text]) + at])


def test_an_engine_of_such_a_model_keeps_the_contract_and_is_fast(tmp_path: Path) -> None:
    folder = architectures.folder(tmp_path / "model", *architectures.CARRY["Qwen3.5"])
    options = {"model": str(folder), "device": "cpu", "memory_gib": 1}
    outcomes = check_plugin("transformers", options)
    assert [(o.check.name, o.message) for o in outcomes if not o.passed] == []
    engine = TransformersEngine({"id": str(folder)}, device="cpu", memory_gib=1)
    engine.load()
    told = engine.describe()
    assert (told["mode"], "why_native" in told) == ("fast", False)
    assert EngineCapability.ACTIVATED in engine.capabilities
    prompt = Prompt((Message("system", "Answer."), Message("user", "What time is it?")), "get_")
    engine.loglikelihoods([prompt], [["time", "weather"]])
    runtime = engine._runtime()
    answered = runtime.tokens.prompt(replace(prompt, opening=""))
    assert runtime.reader.prefixes.longest(answered[:-1]).length == len(answered) - 1
    engine.close()
