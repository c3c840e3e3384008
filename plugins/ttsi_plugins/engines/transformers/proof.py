"""A check at load that the engine's passes compute the model's own forward pass.

A few tokens are read by the model itself and by the engine: in one pass, after a cached prefix, in
padded rows, as a tree of candidates, step by step and with guesses, behind a common prompt, under
adapters, and in training. Guesses under adapters are left to tests. Models with kinds of layers
that `support` knows not to work are not tried in the fast mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ttsi import LoraRecipe, Prompt, Request, Sampling
from ttsi.errors import release

from . import support
from .bank import Bank
from .carrying import reader
from .native import NativeDecoder, NativeNetwork, NativeReader
from .pairs import Pair, losses
from .passes import Network, Row, Rows
from .rows import Row as Decoded
from .stack import Factors
from .trie import Trie

# Tokens that are read, and the longest window or chunk while they are: they must exceed it.
_TOKENS, _SIGHT = 24, 16
# Largest relative differences that pass, by the bytes of a number. SmolLM2's are 2e-5 in float32
# (gradients 1e-4) and 0.09 in bfloat16, where the check is coarser.
_LOGITS = {2: 0.3, 4: 1e-3, 8: 1e-3}
_GRADIENTS = {2: 0.3, 4: 1e-2, 8: 1e-2}

Ready = Network | NativeNetwork

# A path's name, its result [rows, numbers], and that of the model's own forward pass.
_Found = Iterator[tuple[str, Tensor, Tensor]]


def prove(network: Network, bank: Bank) -> None:
    """Raise EngineError if a pass of the engine fails or differs from the model's own.

    Windows and chunks that are longer than the texts of the proof are made shorter for it.
    """
    with network.short_sighted(_SIGHT):
        _prove(network, bank, [_reading, _steps])


def prove_native(network: NativeNetwork, bank: Bank) -> None:
    """Raise EngineError if a model is not causal, or its own cache changes its logits."""
    _prove(network, bank, [partial(_whole, bank=bank)])


def _prove(network: Ready, bank: Bank, ways: Sequence[Callable[[Any], _Found]]) -> None:
    size = int(network.model.dtype.itemsize)
    why = ""
    try:
        with torch.no_grad():
            for found in (*(way(network) for way in ways), _adapted(network, bank)):
                why = why or _difference(found, _LOGITS[size])
        with torch.enable_grad():
            why = why or _difference(_training(network, bank), _GRADIENTS[size])
    except Exception as error:
        why = support.failing(error)
        release(error)
    if why:
        raise support.unsupported(network.model, why)


def _difference(found: _Found, tolerance: float) -> str:
    """Return which path differs from the model's own, and by how much; empty if none does."""
    for path, ours, whole in found:
        ours, whole = ours.double(), whole.double()
        # Without the mean: a constant added to all logits of a token changes no probability.
        size = (whole - whole.mean(-1, keepdim=True)).norm()
        apart = float((ours - whole).norm() / size)
        # Negated, so that NaN counts as a difference.
        if not apart <= tolerance:
            return f"computes other numbers {path} (relative difference {apart:.2g})"
    return ""


def _reading(network: Network) -> _Found:
    """Yield prompts read in one pass, after cached prefixes, with padding, and with candidates."""
    ids = _ids(network, _length(network) + 2)
    text = ids[:-2]
    whole = _own(network, [text], range(0, len(text), 3))
    at = torch.arange(0, len(text), 3, device=network.device)
    given = torch.tensor([text], device=network.device)
    places = torch.arange(len(text), device=network.device)[None]
    yield "reading a prompt", network.run(given, places, Rows([Row(len(text))]), at), whole

    reads = reader(network, 2**62, 2**62)
    for known in (len(text) // 3, 2 * len(text) // 3):
        reads.past(text[:known])
    trie, branches = _candidates(network, ids)
    other = text[: len(text) // 2][::-1]
    found = {index: logits for index, _, logits in reads.read([text, other], [trie, Trie([])])}
    yield "reading a shorter prompt", found[1], _own(network, [other], [len(other) - 1])
    yield "reading candidates", found[0], branches


def _candidates(network: Ready, ids: list[int]) -> tuple[Trie, Tensor]:
    """Return candidates after a text, ids[:-2], and the model's own logits for their tree."""
    text, (first, second, third) = ids[:-2], ids[7:10]
    last, size = len(text) - 1, len(text) + 2
    branches = [[*text, first, second], [*text, first, third], [*text, third, third]]
    wanted = [last, last + 1, last + 2, size + last + 2, 2 * size + last + 1]
    trie = Trie([[first, second, 3], [first, third, 3], [third, 3]])
    return trie, _own(network, branches, wanted)


def _steps(network: Network) -> _Found:
    """Yield tokens of generation after prompts of different lengths and after none.

    Rows read one token in a step, or one and a guess behind it, which is right or wrong. Two of
    them have the same prompt. Models whose layers carry states read no guesses.
    """
    ids = _ids(network, _length(network) + 2)
    first, second, wrong = *ids[-2:], ids[4]
    short, long, none = (
        (text, _own(network, [[*text, first, second]], range(len(text), len(text) + 2)))
        for text in (ids[:11], ids[:-2], list[int]())
    )
    prompts, whole = zip(short, long, long, none, strict=True)
    slots = network.slots(len(prompts), len(ids))
    reads = reader(network, 0, 2**62)
    common = None if network.bounded or network.carries else "a prompt of two rows"
    for row, prompt in enumerate(prompts):
        slots.put(row, reads.past(prompt), common if row in (1, 2) else None, len(prompt) - 1)
    # What each row reads in each step, and how many of its tokens are its text's. The last row
    # leaves after the first step.
    steps = [[[first], [first, wrong], [first], [first, second]], [[second]] * 3]
    kept = [[1, 1, 1, 2], [1, 1, 1]]
    if network.carries:
        steps, kept = [[[first]] * 4, [[second]] * 4], [[1] * 4] * 2
    for at, (step, counts) in enumerate(zip(steps, kept, strict=True)):
        given = torch.tensor([[token] for row in step for token in row], device=network.device)
        everything = torch.arange(len(given), device=network.device)
        ours = network.run(given, slots.step([len(row) for row in step]), slots, everything)
        lines = ours.split([len(row) for row in step])
        yield (
            "generating",
            torch.cat([line[:count] for line, count in zip(lines, counts, strict=True)]),
            torch.cat([whole[row][at : at + count] for row, count in enumerate(counts)]),
        )
        slots.keep(counts)


def _whole(network: NativeNetwork, bank: Bank) -> _Found:
    """Yield texts read as a whole: with others behind them, as candidates, and in generating."""
    ids = _ids(network, _length(network) + 2)
    text, last = ids[:-2], len(ids) - 3
    at = range(0, len(text), 3)
    yield "reading what others follow", _own(network, [ids], at), _own(network, [text], at)

    trie, branches = _candidates(network, ids)
    ((_, _, found),) = NativeReader(network, 2**62).read([text], [trie])
    yield "reading candidates", found, branches

    rows = [Decoded(Request(Prompt(()), Sampling.greedy(count), 0), text) for count in (1, 2, 3)]
    NativeDecoder(network, bank, []).run(rows, 1)
    said = [*text, *rows[-1].text]
    logits = _own(network, [said[:-1]], range(last, len(said) - 1)).double()
    drawn = torch.tensor(rows[-1].text, device=network.device)[:, None]
    whole = logits.log_softmax(-1).gather(1, drawn)[:, 0].cumsum(0)
    zero = whole.new_zeros(1)
    ours = torch.cat([zero, whole.new_tensor([row.logprob for row in rows])])
    yield "generating", ours[None], torch.cat([zero, whole])[None]


def _adapted(network: Ready, bank: Bank) -> _Found:
    """Yield rows of the base model and two adapters in one pass, against a pass for each alone."""
    ids = _ids(network, 14)
    factors = _factors(bank)
    width = torch.arange(len(ids), device=network.device)
    given = torch.tensor([ids] * 3, device=network.device)
    with bank.through(factors):
        plan = Rows([Row(len(ids))] * 3)
        rows = torch.arange(3 * len(ids), device=network.device)
        ours = network.run(given, width.expand(3, -1), plan, rows)
    for row, part in enumerate(ours.split(len(ids))):
        with bank.through(_alone(factors, row)):
            whole = _own(network, [ids], range(len(ids)))
        yield "under an adapter", part, whole


def _training(network: Ready, bank: Bank) -> _Found:
    """Yield each row's gradients from a shared pass, against those of the row alone."""
    ids = _ids(network, 12)
    factors = _factors(bank)
    pairs = [Pair(ids[:8], ids[8:]), Pair(ids[1:4], ids[4:7]), Pair(ids[:3], ids[4:6])]
    with bank.through(factors):
        found = _gradients(torch.stack(losses(network, pairs)).sum(), factors)
    for row, pair in enumerate(pairs):
        factor = _alone(factors, row)
        with bank.through(factor):
            read = range(len(pair.prompt) - 1, len(pair.line))
            logits = _own(network, [pair.line], read).double()
            target = torch.tensor(pair.target, device=network.device)
            whole = _gradients(nn.functional.cross_entropy(logits, target), factor)
        yield "training an adapter", found[row : row + 1], whole


def _gradients(loss: Tensor, factors: Factors) -> Tensor:
    """Return the gradients of all A and B, one row's in each row: [rows, numbers]."""
    inputs = [part for pair in factors.pairs for part in pair]
    parts = torch.autograd.grad(loss, inputs, materialize_grads=True)
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def _factors(bank: Bank) -> Factors:
    """Return factors of three rows: B zero, as in the base model, and two with a random B."""
    stack = bank.fresh([(LoraRecipe(rank=1), seed) for seed in range(3)])
    generator = torch.Generator().manual_seed(0)
    for _, b in stack.split(stack.flat):
        b[1:] = torch.randn(b[1:].shape, generator=generator).mul(0.02).to(b)
    leaves = [
        (a.detach().requires_grad_(), b.detach().requires_grad_())
        for a, b in stack.split(stack.flat)
    ]
    return Factors(leaves, stack.scales[:, None, None])


def _alone(factors: Factors, row: int) -> Factors:
    pairs = [
        (a[row : row + 1].detach().requires_grad_(), b[row : row + 1].detach().requires_grad_())
        for a, b in factors.pairs
    ]
    return Factors(pairs, factors.scales[row : row + 1])


def _own(network: Ready, rows: list[list[int]], read: range | list[int]) -> Tensor:
    device = network.device
    return network.own(torch.tensor(rows, device=device), torch.tensor(list(read), device=device))


def _length(network: Ready) -> int:
    return min(_TOKENS, support.reach(network.model.config.get_text_config()) - 2)


def _ids(network: Ready, count: int) -> list[int]:
    """Return `count` ids that repeat late, without the first three, which are often special."""
    size = min(network.model.config.get_text_config().vocab_size - 3, 997)
    return [3 + (at * at * 7 + 31 * at) % size for at in range(count)]
