"""How often the host waits for the device, counted where no GPU is needed to count it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from tiny_model import tiny_llama
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ttsi.types import LoraRecipe, Prompt, Request, Sampling
from ttsi_plugins.engines.transformers import training
from ttsi_plugins.engines.transformers.bank import Bank
from ttsi_plugins.engines.transformers.carrying import reader
from ttsi_plugins.engines.transformers.decode import Decoder
from ttsi_plugins.engines.transformers.drafts import Answers, Drafter
from ttsi_plugins.engines.transformers.pairs import Pair, TokenJob
from ttsi_plugins.engines.transformers.passes import Network
from ttsi_plugins.engines.transformers.rows import Row
from ttsi_plugins.engines.transformers.trie import Trie

# Of a tensor on a GPU, these wait for all that was asked of it.
_OF_PYTHON = (Tensor.tolist, Tensor.cpu, Tensor.numpy)
_OF_TORCH = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique")


class Reads:
    """Within the block, counts of what makes the host wait, by name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        counts = self.counts

        class OfPython(TorchFunctionMode):
            def __torch_function__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                if func in _OF_PYTHON:
                    counts[func.__name__] += 1
                return func(*args, **(kwargs or {}))

        class OfTorch(TorchDispatchMode):
            def __torch_dispatch__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                name = func.overloadpacket.__name__
                if name.startswith(_OF_TORCH) or (name.startswith("index") and _by_mask(args)):
                    counts[name] += 1
                return func(*args, **(kwargs or {}))

        self._modes = (OfPython(), OfTorch())

    def __enter__(self) -> Counter[str]:
        for mode in self._modes:
            mode.__enter__()
        return self.counts

    def __exit__(self, *given: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*given)


def _by_mask(given: Any) -> bool:
    """Whether an index is a mask, whose result has a length that only the device knows."""
    indices = given[1] if len(given) > 1 and isinstance(given[1], list | tuple) else ()
    return any(isinstance(each, Tensor) and each.dtype == torch.bool for each in indices)


def test_reads_are_counted() -> None:
    with Reads() as counts:
        numbers = torch.arange(3)
        numbers.tolist()
        bool(numbers.sum() > 1)
        numbers[numbers > 1]
    assert counts == {"tolist": 1, "_local_scalar_dense": 1, "index": 1}


@pytest.mark.parametrize("guessing", [False, True])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling.greedy(12),
        Sampling(0.7, 0.8, 20, 1.1, 12),
        Sampling(1.0, 1.0, 0, 1.0, 12),
    ],
    ids=["greedy", "as in the paper", "all tokens"],
)
def test_a_step_of_decoding_reads_the_device_once(sampling: Sampling, guessing: bool) -> None:
    network = Network(tiny_llama())
    bank = Bank(network.model, "tiny")
    adapter = bank.adapter(bank.fresh([(LoraRecipe(rank=2), 1)]), 0, LoraRecipe(rank=2))
    prompts = [[5, 6, 7, 8, 5, 6], [9, 8, 7], [9, 8, 7]]
    answers = Answers()
    rows = []
    for seed, prompt in enumerate(prompts):
        request = Request(Prompt(()), sampling, seed, adapter if seed == 1 else None)
        drafter = Drafter(prompt, seed, answers, lambda text: [], str) if guessing else None
        rows.append(Row(request, prompt, drafter=drafter))
    decoder = Decoder(reader(network, 2**20, 2**20), bank, [0], 2**30, 1)
    steps, step = [], decoder._step

    def counted(*given: Any) -> None:
        with Reads() as counts:
            step(*given)
        steps.append(dict(counts))

    decoder._step = counted  # type: ignore[method-assign]
    decoder.run(rows, 3)
    print(f"{len(steps)} steps, reads by step: {steps}")
    assert len(steps) > 3
    assert all(counts == {"tolist": 1} for counts in steps)


def test_likelihoods_of_candidates_are_read_at_once() -> None:
    trie = Trie([[3, 4, 5], [3, 4], [6], [7, 8]])
    logits = torch.randn(1 + len(trie.ids), 50)
    with Reads() as counts:
        found = trie.logprobs(logits)
    print(f"{len(trie.candidates)} candidates, reads: {dict(counts)}")
    assert counts == {"tolist": 1}
    assert found[2] == pytest.approx(float(logits[0].double().log_softmax(-1)[6]))


OTHERWISE = {"optimizer": "sgd", "normalised": True}


@pytest.mark.parametrize("changed", [{}, {"dropout": 0.1}, OTHERWISE], ids=str)
def test_a_step_of_training_reads_nothing(changed: dict[str, Any]) -> None:
    network = Network(tiny_llama())
    bank = Bank(network.model, "tiny")
    recipe = LoraRecipe(rank=2, **changed)
    pairs = [
        Pair([5, 6, 7, 8], [9, 10], weight=0.5, prompt_loss=0.1, taught=2),
        Pair([5, 6], [7, 8, 9]),
    ]
    jobs = [
        TokenJob(str(at), [pair], recipe, at, held_out=pairs, keep_best=at == 0)
        for at, pair in enumerate(pairs)
    ]
    group = training._GroupTraining(network, bank, jobs)
    with Reads() as counts:
        group.run(lambda count: None)
    print(f"{recipe.epochs} steps, reads: {dict(counts)}")
    assert not counts
