"""Which earlier tokens a token sees in each layer, and how the layer weighs them.

The kind of each layer is read from the config. A token's position decides what it sees, not its
place in memory: the candidates of a tree have the positions that they would have alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

BOUNDS = ("sliding_window", "attention_chunk_size")
"""The settings of a config that bound what a token sees."""

# The names in configs of the kinds of layers whose attention is known here.
_FULL = ("full_attention", "attention", "full", "global")
KNOWN = frozenset({*_FULL, "sliding_attention", "chunked_attention"})
CARRYING = frozenset({"linear_attention", "conv", "mamba", "hybrid", "hybrid_sliding"})
"""The names of layers that carry a state, some of them beside attention."""


@dataclass(frozen=True)
class Sight:
    """The tokens that a token sees: itself, and the earlier ones in its window or chunk.

    A key at position p is visible from q if p <= q, p > q - `window`, and both are in the same
    `chunk`, that is p // chunk = q // chunk. None: no bound.
    """

    window: int | None = None
    chunk: int | None = None

    def bounds(self, length: int) -> bool:
        """Whether some token of a text of `length` tokens sees less than all before it."""
        return any(size is not None and size < length for size in (self.window, self.chunk))

    def visible(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return [..., Q, K], True where a key is near enough to a query.

        `queries` [..., Q] and `keys` [..., K] are positions. The caller excludes later keys.
        """
        q, k = queries[..., :, None], keys[..., None, :]
        near = torch.ones_like(q - k, dtype=torch.bool)
        if self.window is not None:
            near &= k > q - self.window
        if self.chunk is not None:
            near &= k // self.chunk == q // self.chunk
        return near


EVERYTHING = Sight()


@dataclass(frozen=True)
class Look:
    """A layer's attention: what its tokens see, and how scores change before the softmax.

    `scale` multiplies them; with `softcap` c they are c tanh(score / c); `sinks` [heads] are
    scores of a key that has no value, so that weights need not sum to 1.
    """

    scale: float
    sight: Sight = EVERYTHING
    softcap: float | None = None
    sinks: Tensor | None = None

    def over(self, *shape: int) -> Look:
        """Return the same with sinks of another shape, which broadcasts with scores [..., T, S]."""
        return self if self.sinks is None else replace(self, sinks=self.sinks.view(shape))

    def repeated(self, times: int) -> Look:
        """Return the same with the sink of each head [..., heads, 1] `times` times in a row."""
        if self.sinks is None or times == 1:
            return self
        return replace(self, sinks=self.sinks.repeat_interleave(times, -2))


def sights(config: Any) -> list[Sight]:
    """Return what the tokens of each layer see; layers without attention are unbounded."""
    layers = int(config.num_hidden_layers)
    window = Sight(window=_size(config, "sliding_window"))
    chunk = Sight(chunk=_size(config, "attention_chunk_size"))
    kinds = getattr(config, "layer_types", None)
    if not kinds:
        return [window] * layers
    known = {"sliding_attention": window, "hybrid_sliding": window, "chunked_attention": chunk}
    return [known.get(kind, EVERYTHING) for kind in kinds]


def attention(q: Tensor, k: Tensor, v: Tensor, look: Look, mask: Tensor | None = None) -> Tensor:
    """Return [..., heads, T, E] of q [..., heads, T, D] to k and v.

    k is [..., heads, S, D], v [..., heads, S, E]; if they have fewer heads, neighbouring heads of q
    share them. `mask` [..., T, S] is True where a key is seen, or is added to the scores; None:
    causal, where T = S.
    """
    shared = q.shape[-3] // k.shape[-3]
    if look.softcap is None and look.sinks is None:
        causal, gqa = mask is None, shared > 1
        return scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, scale=look.scale, enable_gqa=gqa
        )
    if shared > 1:
        k, v = k.repeat_interleave(shared, -3), v.repeat_interleave(shared, -3)
    if q.requires_grad:
        # Computed again for the gradient: kept, the scores would take [heads, T, S] in each layer.
        out: Tensor = checkpoint(_weighed, q, k, v, look, mask, use_reentrant=False)
        return out
    return _weighed(q, k, v, look, mask)


def _weighed(q: Tensor, k: Tensor, v: Tensor, look: Look, mask: Tensor | None) -> Tensor:
    """Return attention with the scores written out, for softcap and sinks."""
    scores = _scores(q, k, look).float()
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    if look.sinks is None:
        return scores.softmax(-1).to(v.dtype) @ v
    sinks = look.sinks.to(scores).expand(*scores.shape[:-1], 1)
    weights = torch.cat([scores, sinks], dim=-1).softmax(-1)[..., :-1]
    return weights.to(v.dtype) @ v


def _scores(q: Tensor, k: Tensor, look: Look) -> Tensor:
    """Return the scores [..., T, S] before masks and sinks."""
    scores = (q @ k.mT) * look.scale
    return scores if look.softcap is None else look.softcap * torch.tanh(scores / look.softcap)


def _size(config: Any, name: str) -> int | None:
    size = getattr(config, name, None)
    return size if isinstance(size, int) and size > 0 else None


@dataclass(frozen=True)
class Part:
    """Attention to some of the keys: `out` [rows, heads, T, E].

    `log_sum` [rows, heads, T] is the logarithm of the sum of exponentiated scores, by which parts
    are joined. Sinks do not count.
    """

    out: Tensor
    log_sum: Tensor

    def join(self, rows: Tensor, other: Part) -> None:
        """Take `other`'s keys in beside the own ones, in place, in these rows."""
        before = self.log_sum[rows]
        both = torch.logaddexp(before, other.log_sum)
        mine = (before - both).exp()[..., None].to(self.out.dtype)
        theirs = (other.log_sum - both).exp()[..., None].to(self.out.dtype)
        self.out[rows] = self.out[rows] * mine + other.out * theirs
        self.log_sum[rows] = both

    def weighed(self, look: Look) -> Tensor:
        """Return the attention, which sinks make smaller."""
        if look.sinks is None:
            return self.out
        whole = torch.logaddexp(self.log_sum, look.sinks[..., 0].to(self.log_sum))
        return self.out * (self.log_sum - whole).exp()[..., None].to(self.out.dtype)


def partial(q: Tensor, k: Tensor, v: Tensor, look: Look, mask: Tensor | None = None) -> Part:
    """Return the part of attention that is of these keys: q [rows, heads, T, D], k [..., S, D].

    `mask` is added to the scores; without one all keys are seen.
    """
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    if q.device.type == "cpu" and look.softcap is None and q.shape[-1] == v.shape[-1]:
        return Part(*flash(q, k, v, attn_mask=mask, scale=look.scale))
    # In float32: rounded to 16 bits, the sums would depend on how keys are parted.
    scores = _scores(q.float(), k.float(), look)
    if mask is not None:
        scores = scores + mask
    return Part(scores.softmax(-1).to(v.dtype) @ v, scores.logsumexp(-1))
