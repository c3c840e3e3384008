"""Passes over our KV caches against the model's own plain forward pass."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
import torch
from tiny_model import tiny_llama, tiny_qwen2
from torch import Tensor

from ttsi.errors import EngineError
from ttsi_plugins.engines.transformers import together
from ttsi_plugins.engines.transformers.bank import Bank
from ttsi_plugins.engines.transformers.caches import Past
from ttsi_plugins.engines.transformers.passes import Network, Row, Rows
from ttsi_plugins.engines.transformers.prefixes import Prefixes
from ttsi_plugins.engines.transformers.proof import prove
from ttsi_plugins.engines.transformers.reading import Reader
from ttsi_plugins.engines.transformers.sight import Sight
from ttsi_plugins.engines.transformers.trie import Trie

MODELS = [tiny_llama, tiny_qwen2]
IDS = torch.randint(3, 300, (60,), generator=torch.Generator().manual_seed(1)).tolist()

pytestmark = [
    pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__),
    pytest.mark.usefixtures("no_grad"),
]


@pytest.fixture(autouse=True, params=[False, True], ids=["row by row", "in one call"])
def calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rows attend as on a CPU, and as on a GPU."""
    monkeypatch.setattr(together, "worth", lambda device: request.param)


@pytest.fixture
def no_grad() -> Any:
    with torch.no_grad():
        yield


def plain(model: Any, ids: list[int]) -> Tensor:
    return model(input_ids=torch.tensor([ids])).logits[0]


def close(ours: Tensor, reference: Tensor) -> None:
    torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-4)


def test_the_engines_attention_is_the_models_own(make: Any) -> None:
    model = make()
    expected = plain(model, IDS)
    network = Network(model)
    read = torch.tensor([0, 7, 59])
    rows = Rows([Row(60)])
    close(network.run(torch.tensor([IDS]), torch.arange(60)[None], rows, read), expected[read])
    with network.native() as own:
        assert torch.equal(plain(own, IDS), expected)
    network.close()
    assert torch.equal(plain(model, IDS), expected)


def test_rows_of_different_pasts_and_lengths(make: Any) -> None:
    model = make()
    expected = [plain(model, ids) for ids in (IDS[:50], IDS[10:40], IDS[:20])]
    network = Network(model)
    first = Rows([Row(30)], keep=True)
    network.run(torch.tensor([IDS[:30]]), torch.arange(30)[None], first, torch.tensor([0]))
    pasts = [Past((first.piece(0, 0, 12), first.piece(0, 12, 30))), Past(), Past()]
    texts = [IDS[30:50], IDS[10:40], IDS[:20]]
    ids, positions = torch.zeros(3, 30, dtype=torch.long), torch.zeros(3, 30, dtype=torch.long)
    for row, (text, past) in enumerate(zip(texts, pasts, strict=True)):
        ids[row, : len(text)] = torch.tensor(text)
        positions[row, : len(text)] = torch.arange(len(text)) + past.length
    plan = Rows([Row(len(text), past) for text, past in zip(texts, pasts, strict=True)])
    logits = network.run(ids, positions, plan, torch.arange(90)).view(3, 30, -1)
    close(logits[0, :20], expected[0][30:])
    close(logits[1], expected[1])
    close(logits[2, :20], expected[2])


def test_reading_in_any_order_and_budget_gives_the_same(make: Any) -> None:
    model = make()
    prompts = [IDS[:40], IDS[:25], [*IDS[:25], 7, 8, 9], IDS[5:20], IDS[:40] + IDS[:9]]
    candidates = [[IDS[3:6], [*IDS[3:5], 9, 9], [4]], [[5, 6]], [], [[7] * 6, [7] * 5], [[]]]
    expected = [plain(model, ids)[-1] for ids in prompts]
    whole = [
        [likelihood(model, ids, tail) for tail in tails]
        for ids, tails in zip(prompts, candidates, strict=True)
    ]
    network = Network(model)
    for budget, pass_tokens in itertools.product((0, 3000, 10**7), (1, 64, 1000)):
        reader = Reader(network, Prefixes(budget), pass_tokens)
        for _ in range(2):
            tries = [Trie(tails) for tails in candidates]
            seen = set()
            for index, past, logits in reader.read(prompts, tries):
                seen.add(index)
                assert past.length == len(prompts[index])
                close(logits[0], expected[index])
                assert tries[index].logprobs(logits) == pytest.approx(whole[index], abs=1e-4)
            assert seen == set(range(len(prompts)))
            assert reader.prefixes.bytes <= budget


def likelihood(model: Any, ids: list[int], tail: list[int]) -> float:
    logprobs = plain(model, ids + tail).double().log_softmax(-1)
    return sum(float(logprobs[len(ids) - 1 + at, token]) for at, token in enumerate(tail))


def test_what_was_read_is_not_read_again(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(make())
    reader = Reader(network, Prefixes(10**7), 1000)
    widths, whole = [], network.run
    monkeypatch.setattr(
        network, "run", lambda ids, *rest: widths.append(tuple(ids.shape)) or whole(ids, *rest)
    )
    list(reader.read([IDS[:40]]))
    list(reader.read([[*IDS[:40], 5, 6], [*IDS[:40], 7]]))
    list(reader.read([IDS[:40]]))
    reader.past(IDS[:33])
    assert widths == [(1, 40), (2, 2), (1, 1)]
    # A prefix shared by prompts of one call is also read only once.
    list(reader.read([[*IDS[20:60], 1], [*IDS[20:60], 2], [*IDS[20:60], 3]]))
    assert widths[3:] == [(1, 41), (2, 1)]


def test_steps_with_rows_that_move_and_leave(make: Any) -> None:
    model = make()
    texts = [IDS[:20], IDS[30:36], IDS[10:44]]
    expected = [plain(model, ids + IDS[:5]) for ids in texts]
    network = Network(model)
    reader = Reader(network, Prefixes(0), 1000)
    pasts = {index: past for index, past, _ in reader.read(texts)}
    slots = network.slots(3, 40)
    for slot in range(3):
        slots.put(slot, pasts[slot])
    order = [0, 1, 2]
    for at in range(5):
        if at == 3:
            slots.move(2, 0)
            order = [2, 1]
        positions = slots.step([1] * len(order))
        ids = torch.tensor([[IDS[at]]] * len(order))
        logits = network.run(ids, positions, slots, torch.arange(len(order)))
        slots.keep([1] * len(order))
        for row, text in enumerate(order):
            close(logits[row], expected[text][len(texts[text]) + at])


def test_attention_of_another_kind_is_refused(make: Any) -> None:
    model = make()
    network, bank = Network(model), Bank(model, "tiny")
    prove(network, bank)
    attention = model.model.layers[0].self_attn
    if hasattr(attention, "sliding_window"):
        attention.sliding_window = 8
    else:
        attention.forward = functools.partial(attention.forward, sliding_window=8)
    with pytest.raises(EngineError, match="sliding_window"):
        prove(network, bank)


def test_layers_that_mix_tokens_otherwise_are_refused(make: Any) -> None:
    model = make()
    mlp = model.model.layers[0].mlp.forward
    model.model.layers[0].mlp.forward = lambda x: mlp(x) + x.cumsum(1)
    with pytest.raises(EngineError, match="computes other numbers"):
        prove(Network(model), Bank(model, "tiny"))


def test_a_state_that_fades_and_a_window_of_many_tokens_are_refused(make: Any) -> None:
    """A check on nine tokens misses such effects: they are small, or reach far back."""
    for change in (lambda x: x + 0.02 * x.roll(1, 1), lambda x: x + 0.1 * x.roll(30, 1)):
        model = make()
        # A random model is nearly linear, so that its MLP hardly affects the logits.
        model.model.layers[0].mlp.down_proj.weight.data.mul_(20)
        mlp = model.model.layers[0].mlp.forward
        model.model.layers[0].mlp.forward = lambda x, mlp=mlp, change=change: mlp(change(x))
        with pytest.raises(EngineError, match="computes other numbers"):
            prove(Network(model), Bank(model, "tiny"))


@pytest.mark.parametrize(
    "error", [IndexError("5 of 4"), KeyError("layer"), TypeError("x"), OSError]
)
def test_whatever_a_model_raises_is_a_refusal(make: Any, error: Any) -> None:
    model = make()

    def fail(*given: Any, **settings: Any) -> Any:
        raise error

    network, bank = Network(model), Bank(model, "tiny")
    model.model.layers[1].mlp.forward = fail
    with pytest.raises(EngineError, match=type(model).__name__) as caught:
        prove(network, bank)
    assert (error if isinstance(error, type) else type(error)).__name__ in caught.value.what
    assert caught.value.__context__ is None


def test_rows_that_depend_on_each_other_under_adapters_are_refused(make: Any) -> None:
    """A layer that gets its tokens in another order would apply another row's adapter."""
    model = make()
    layer = model.model.layers[0].mlp.down_proj
    whole = type(layer).forward
    layer.forward = lambda x: whole(layer, x)
    mlp = model.model.layers[0].mlp

    def turned(x: Tensor) -> Tensor:
        hidden = mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(x)
        flat = hidden.transpose(0, 1).flatten(0, 1)
        return mlp.down_proj(flat).view(x.shape[1], x.shape[0], -1).transpose(0, 1)

    mlp.forward = turned
    with pytest.raises(EngineError, match="under an adapter"):
        prove(Network(model), Bank(model, "tiny"))


def test_a_window_longer_than_the_proof_is_held_to_the_models_own(make: Any) -> None:
    """A layer that is said to have a window, and has none, would be wrong in long texts alone."""
    model = make()
    network, bank = Network(model), Bank(model, "tiny")
    assert [sight.window for sight in network.sights] == [None, None]
    prove(network, bank)
    wrong = [Sight(window=32), Sight()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ttsi_plugins.engines.transformers.passes.sights", lambda config: wrong)
        with pytest.raises(EngineError, match="computes other numbers"):
            prove(Network(make()), bank)


def test_the_config_is_as_it_was_after_a_proof(make: Any) -> None:
    model = make()
    model.config.sliding_window = 100
    with Network(model).short_sighted(32):
        assert model.config.sliding_window == 32
    assert model.config.sliding_window == 100
