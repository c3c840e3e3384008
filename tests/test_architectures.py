"""Each architecture runs as transformers runs it, or is refused by name when it is loaded."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import architectures
import peft
import pytest
import safetensors.torch
import torch
from banks import ids
from tiny_model import EvenTokens
from torch import Tensor, nn
from transformers import LogitsProcessor, LogitsProcessorList

from ttsi.errors import EngineError
from ttsi.types import Adapter, LoraRecipe, Message, Prompt, Request, Sampling
from ttsi_plugins.engines.transformers import carrying, lora, modes, support, together
from ttsi_plugins.engines.transformers.decode import Decoder
from ttsi_plugins.engines.transformers.drafts import EARLIER, Answers, Drafter
from ttsi_plugins.engines.transformers.native import NativeDecoder, NativeNetwork, NativeReader
from ttsi_plugins.engines.transformers.pairs import Pair, TokenJob
from ttsi_plugins.engines.transformers.passes import Network
from ttsi_plugins.engines.transformers.reading import Reader
from ttsi_plugins.engines.transformers.rows import Row
from ttsi_plugins.engines.transformers.training import fit, learning_rates
from ttsi_plugins.engines.transformers.trie import Trie

# PEFT and transformers warn of their own affairs.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

RECIPE = LoraRecipe(rank=2, learning_rate=1e-2, epochs=2)
PROMPT, TARGET = ids(1, 60), ids(2, 8)


def test_the_page_has_the_table_of_these_architectures() -> None:
    assert len(architectures.RUNS | architectures.CARRY | architectures.NATIVE) >= 60
    assert architectures.PAGE.read_text() == architectures.page()


@pytest.mark.parametrize("name", architectures.RUNS | architectures.CARRY)
def test_what_is_fast_is_transformers_own(name: str, tmp_path: Path) -> None:
    kind, settings = (architectures.RUNS | architectures.CARRY)[name]
    network, why = same_as_transformers(kind, settings, tmp_path)
    assert why == ""
    assert isinstance(network, Network)
    assert bool(network.state_bytes) == network.carries == (name in architectures.CARRY)


@pytest.mark.parametrize("name", architectures.NATIVE)
def test_what_is_native_is_transformers_own(name: str, tmp_path: Path) -> None:
    kind, settings, named = architectures.NATIVE[name]
    network, why = same_as_transformers(kind, settings, tmp_path)
    assert named in why
    assert isinstance(network, NativeNetwork)


@pytest.mark.parametrize("name", architectures.ODD)
def test_odd_configs_are_transformers_own_in_either_mode(name: str, tmp_path: Path) -> None:
    same_as_transformers(*architectures.ODD[name], tmp_path)


def same_as_transformers(
    kind: str, settings: dict[str, Any], tmp_path: Path
) -> tuple[Network | NativeNetwork, str]:
    """Assert that a tiny model's likelihoods, greedy texts, trained adapter and adapted texts are
    those of transformers and PEFT. Return how it was run, and why natively."""
    model = architectures.tiny(kind, **settings)
    plain = copy.deepcopy(model)
    network, bank, why = modes.chosen(model, "tiny")
    reader: Reader | NativeReader
    decoder: Decoder | NativeDecoder
    if isinstance(network, Network):
        # Read in small passes, so that what was read before is used.
        reader = carrying.reader(network, 10**8, 16)
        decoder = Decoder(reader, bank, [-1], 10**9)
    else:
        reader = NativeReader(network, 200)
        decoder = NativeDecoder(network, bank, [-1])

    def answers(adapter: Adapter | None) -> list[list[int]]:
        """Two plain rows of one prompt, an adapted one, and one under a grammar.

        They are written twice: the second time there is an earlier answer to guess from.
        """
        prompt = Prompt((Message("user", ""),))
        base, under = (Request(prompt, Sampling.greedy(5), 0, each) for each in (None, adapter))
        even: Any = EvenTokens()
        asked = [(base, 50, None), (base, 50, None), (under, 51, None), (under, 23, even)]
        known = Answers()
        for _ in range(2):
            rows = [
                Row(request, PROMPT[:end], grammar, drafter=drafter(PROMPT[:end], known))
                for request, end, grammar in asked
            ]
            decoder.run(rows, 4)
            texts.append([row.text for row in rows])
        assert texts[-1] == texts[-2]
        assert known.right[EARLIER] or network.mode == "native" or network.carries
        return texts[-1]

    def drafter(ids: list[int], known: Answers) -> Drafter:
        return Drafter(ids, len(ids), known, lambda text: [], str)

    def expected(adapted: Any) -> list[list[int]]:
        even = greedy(adapted, PROMPT[:23], even=True)
        base = greedy(plain, PROMPT[:50])
        return [base, base, greedy(adapted, PROMPT[:51]), even]

    texts: list[list[list[int]]] = []

    likelihoods_are_those_of(plain, reader)
    assert answers(None) == expected(plain)
    job = TokenJob("a", [Pair(PROMPT, TARGET)], RECIPE, 1)
    still = TokenJob("b", [Pair(PROMPT, TARGET)], LoraRecipe(rank=2, learning_rate=0.0), 1)
    adapter, initial = fit(network, bank, [job, still])
    theirs, losses = by_peft(plain, initial, tmp_path)
    assert adapter.training is not None
    assert adapter.training.losses == pytest.approx(losses, rel=1e-3)
    made = safetensors.torch.load(adapter.safetensors)
    assert made.keys() == theirs.keys()
    apart = sum(float((made[key] - theirs[key]).norm() ** 2) for key in made) ** 0.5
    size = sum(float(theirs[key].norm() ** 2) for key in made) ** 0.5
    assert apart <= 1e-2 * size
    # Use exactly the same weights, so that rounding in training does not matter.
    lora.export(adapter, tmp_path / "made")
    again = peft.PeftModel.from_pretrained(copy.deepcopy(plain), tmp_path / "made")
    assert answers(adapter) == expected(again)
    return network, why


def likelihoods_are_those_of(plain: Any, reader: Reader | NativeReader) -> None:
    trie = Trie([TARGET, TARGET[:3], [*TARGET[:2], *TARGET[3:]], TARGET[4:5], [7, *TARGET]])
    ((_, _, logits),) = reader.read([PROMPT], [trie])
    for candidate, found in zip(trie.candidates, trie.logprobs(logits), strict=True):
        with torch.no_grad():
            text = torch.tensor([[*PROMPT, *candidate]])
            logs = plain(input_ids=text, use_cache=False).logits[0].double().log_softmax(-1)
        whole = sum(float(logs[len(PROMPT) - 1 + at, id]) for at, id in enumerate(candidate))
        assert found == pytest.approx(whole, abs=1e-4, rel=1e-4)


class OnlyEven(LogitsProcessor):
    """The same for transformers."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores[:, 1::2] = -torch.inf
        return scores


@torch.no_grad()
def greedy(model: Any, prompt: list[int], *, even: bool = False) -> list[int]:
    """Return ten tokens decoded greedily by transformers' own loop."""
    found = model.generate(
        input_ids=torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=5,
        min_new_tokens=5,
        eos_token_id=None,
        use_cache=False,
        logits_processor=LogitsProcessorList([OnlyEven()] if even else []),
    )
    return found[0, len(prompt) :].tolist()


def by_peft(plain: Any, initial: Adapter, folder: Path) -> tuple[dict[str, Tensor], list[float]]:
    """Return weights and losses of PEFT's adapter, trained by torch on whole sequences."""
    lora.export(initial, folder / "initial")
    model = peft.PeftModel.from_pretrained(
        copy.deepcopy(plain), folder / "initial", is_trainable=True
    )
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=0.0)
    losses = []
    for rate in learning_rates(RECIPE.epochs, RECIPE):
        logits = model(input_ids=torch.tensor([PROMPT + TARGET[:-1]]), use_cache=False).logits[0]
        loss = nn.functional.cross_entropy(logits[len(PROMPT) - 1 :], torch.tensor(TARGET))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, RECIPE.max_grad_norm)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        losses.append(float(loss))
    return peft.get_peft_model_state_dict(model), losses


@pytest.mark.parametrize("name", architectures.RUNS)
def test_rows_attend_in_one_call_as_they_do_one_by_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof at load compares windows, chunks, trees, pasts and padding with the model's own."""
    monkeypatch.setattr(together, "worth", lambda device: True)
    calls, attend = [], together.Table.attend

    def counted(self: together.Table, layer: int, *given: Any) -> Tensor:
        calls.append(layer)
        return attend(self, layer, *given)

    monkeypatch.setattr(together.Table, "attend", counted)
    kind, settings = architectures.RUNS[name]
    modes.fast(architectures.tiny(kind, **settings), "tiny")
    assert calls


@pytest.mark.parametrize("name", architectures.REFUSED)
def test_what_does_not_run_is_refused_by_name(name: str) -> None:
    kind, settings, named = architectures.REFUSED[name]
    model = architectures.tiny(kind, **settings)
    for choose in (modes.chosen, modes.fast, modes.native):
        with pytest.raises(EngineError) as caught:
            choose(model, "tiny")
        assert type(model).__name__ in caught.value.what
        assert model.config.model_type in caught.value.where
        assert caught.value.cure
        assert named in caught.value.what


@pytest.mark.parametrize("name", ["Llama", "Qwen3", "OPT"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_widths_of_numbers_pass_and_fail_as_well(name: str, dtype: torch.dtype) -> None:
    kind, settings = architectures.RUNS[name]
    model = architectures.tiny(kind, **settings).to(dtype)
    network, bank = modes.fast(model, "tiny")
    network.close()
    bank.close()
    embed = model.get_input_embeddings()
    whole = embed.forward
    # A state, as in a recurrent layer, that a pass on top of a KV cache lacks.
    embed.forward = lambda given: whole(given).cumsum(1)
    with pytest.raises(EngineError, match="computes other numbers"):
        modes.fast(model, "tiny")


def test_texts_end_where_llama_4_scales_queries_by_their_place_in_a_pass() -> None:
    kind, settings = architectures.RUNS["Llama 4"]
    model = architectures.tiny(kind, **settings, floor_scale=60, max_position_embeddings=256)
    assert support.reach(model.config) == 59


def test_a_model_that_no_adapter_fits_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = architectures.tiny("llama")
    own, forward = model.config._attn_implementation, model.lm_head.forward

    def fail(*_: Any) -> None:
        raise RuntimeError("no bank")

    monkeypatch.setattr(modes, "Bank", fail)
    for choose in (modes.fast, modes.native):
        with pytest.raises(EngineError, match="no bank"):
            choose(model, "tiny")
        assert model.config._attn_implementation == own
        assert not model.lm_head._forward_pre_hooks
        assert model.lm_head.forward == forward


def test_a_native_pass_that_did_not_fit_is_made_smaller() -> None:
    kind, settings, _ = architectures.NATIVE["Falcon"]
    network, _, _ = modes.chosen(architectures.tiny(kind, **settings), "tiny")
    assert isinstance(network, NativeNetwork)
    reader = NativeReader(network, 10**6)
    whole, widths = network.run, []

    def counted(ids: Tensor, *others: Any) -> Tensor:
        widths.append(len(ids))
        if len(ids) > 2:
            raise MemoryError
        return whole(ids, *others)

    network.run = counted  # type: ignore[method-assign]
    trie = Trie([[at, 3] for at in range(4, 12)])
    while True:
        reader.room.begin()
        try:
            list(reader.read([PROMPT], [trie]))
            break
        except MemoryError:
            reader.room.shrink()
    assert widths == [8, 4, 2, 2, 2, 2]


def test_texts_end_where_rotary_frequencies_change() -> None:
    """Keys computed with the rotary frequencies of short texts do not fit those of longer ones."""
    kind, settings = architectures.RUNS["Phi-3, longrope"]
    assert support.reach(architectures.tiny(kind, **settings).config) == 128
    assert support.reach(architectures.tiny("llama").config) == 256
