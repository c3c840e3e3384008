"""The least arithmetic that a result needs, and the least seconds that it takes.

FLOPs are counted from the model's shape and the tokens of the workload. A token is counted once for
each distinct prefix that it ends, so a common prefix of several prompts is counted once. Possible
small savings inside the first and the last layer, which no implementation makes, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ttsi_plugins.engines.transformers.prefixes import common


@dataclass(frozen=True)
class Shape:
    """The sizes that decide a decoder's arithmetic, with gated MLP and grouped-query heads."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Return the shape in a transformers config (Llama, Qwen2 and their like)."""
        text = config.get_text_config()
        return cls(
            layers=text.num_hidden_layers,
            hidden=text.hidden_size,
            heads=text.num_attention_heads,
            kv_heads=getattr(text, "num_key_value_heads", None) or text.num_attention_heads,
            head_size=getattr(text, "head_dim", None)
            or text.hidden_size // text.num_attention_heads,
            intermediate=text.intermediate_size,
            vocabulary=text.vocab_size,
        )

    @property
    def linears(self) -> list[tuple[int, int]]:
        """Return (inputs, outputs) of one layer's q, k, v, o, gate, up, down."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        return [
            (self.hidden, queries),
            (self.hidden, keys),
            (self.hidden, keys),
            (queries, self.hidden),
            (self.hidden, self.intermediate),
            (self.hidden, self.intermediate),
            (self.intermediate, self.hidden),
        ]

    @property
    def body(self) -> int:
        """Return the number of weights of all linear layers but the head."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linears)

    @property
    def head(self) -> int:
        return self.hidden * self.vocabulary

    def lora(self, rank: int) -> int:
        """Return the number of weights of an adapter on all linear layers but the head."""
        return self.layers * rank * sum(inputs + outputs for inputs, outputs in self.linears)

    def kv_bytes(self, itemsize: int) -> int:
        """Return the bytes of keys and values of one token."""
        return 2 * self.layers * self.kv_heads * self.head_size * itemsize

    def attention(self, pairs: int) -> int:
        """Return the FLOPs of scores and weighted values for `pairs` of a query and a key."""
        return 4 * self.layers * self.heads * self.head_size * pairs


@dataclass(frozen=True)
class Rates:
    """The machine's measured rates, in the model's own precision and shapes."""

    flops_per_second: float
    bytes_per_second: float


def causal_pairs(new: int, past: int = 0) -> int:
    """Return the pairs of query and key when `new` tokens follow `past` ones."""
    return new * past + new * (new + 1) // 2


def distinct(sequences: Iterable[Sequence[int]]) -> tuple[int, int]:
    """Return (tokens, pairs): the number of distinct non-empty prefixes, and their lengths' sum.

    They are the nodes of the sequences' trie: each is one token to be computed, which attends to
    itself and all before it.
    """
    tokens = pairs = 0
    before: tuple[int, ...] = ()
    for sequence in sorted(map(tuple, sequences)):
        shared = common(before, sequence)
        new = len(sequence) - shared
        tokens, pairs = tokens + new, pairs + causal_pairs(new, shared)
        before = sequence
    return tokens, pairs


def forward(shape: Shape, tokens: int, pairs: int, logits: int) -> int:
    """Return the FLOPs of a forward pass that applies the head at `logits` positions."""
    return 2 * shape.body * tokens + shape.attention(pairs) + 2 * shape.head * logits


def candidate_paths(
    prompts: Sequence[Sequence[int]], tails: Sequence[Sequence[Sequence[int]]]
) -> tuple[list[list[int]], int]:
    """Return what is fed to score each prompt's candidates, and how many positions need logits.

    A candidate's last token is only predicted, never fed.
    """
    fed, read = [], set()
    for prompt, candidates in zip(prompts, tails, strict=True):
        for candidate in candidates:
            fed.append([*prompt, *candidate[:-1]])
            read |= {(*prompt, *candidate[:i]) for i in range(len(candidate))}
    return fed, len(read)


def training_step(shape: Shape, *, past: int, new: int, labels: int, rank: int) -> int:
    """Return the FLOPs of a forward and backward pass over `new` tokens, with `labels` targets.

    `past` tokens before them are given as keys and values and have no gradient. Of the frozen
    weights only the gradient towards the input is computed, of the adapter's both.
    """
    seen, own = causal_pairs(new, past), causal_pairs(new)
    once = forward(shape, new, seen, labels) + 2 * shape.lora(rank) * new
    towards_input = 2 * shape.body * new + 2 * shape.head * labels
    # Queries and probabilities need the past's values and keys; keys and values only their own.
    attention = shape.attention(seen) + shape.attention(own)
    return once + towards_input + attention + 4 * shape.lora(rank) * new


def decoding_seconds(
    shape: Shape,
    rates: Rates,
    contexts: Sequence[int],
    steps: Sequence[int],
    *,
    itemsize: int,
    adapter_bytes: int = 0,
) -> float:
    """Return the seconds to feed `steps[i]` tokens after `contexts[i]`, all rows in one batch.

    The larger of the arithmetic and of the bytes read: all weights once a step, the keys and
    values before each token, and for each row its own adapter.
    """
    seen = sum(causal_pairs(new, past) for past, new in zip(contexts, steps, strict=True))
    flops = forward(shape, sum(steps), seen, sum(steps))
    weights = (shape.body + shape.head) * itemsize * max(steps, default=0)
    read = weights + shape.kv_bytes(itemsize) * seen + adapter_bytes * sum(steps)
    return max(flops / rates.flops_per_second, read / rates.bytes_per_second)
