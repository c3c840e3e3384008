"""Forward passes of the model, for reading, scoring, decoding and training.

The engine keeps its own KV caches, and the model runs without a cache object. The attention
function, registered with transformers, asks the pass's plan which keys and values each row attends
to and where to store the new ones. Query heads that share a key head use it without a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from . import products, support

ATTENTION = "ttsi"


class Plan(Protocol):
    """How a pass computes attention: which keys and values each row attends to."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Return attention [rows, heads, T, D] of q, of that shape, to k and v.

        k and v [rows, key heads, T, D] are those of the pass's own tokens.
        """
        ...


class Network:
    """A causal language model of transformers, run pass by pass."""

    def __init__(self, model: Any) -> None:
        config = model.config.get_text_config()
        self.model = model
        self.layers: int = config.num_hidden_layers
        heads: int = config.num_attention_heads
        self.key_heads: int = getattr(config, "num_key_value_heads", None) or heads
        self.head_width: int = getattr(config, "head_dim", None) or config.hidden_size // heads
        self.device: torch.device = model.device
        self._own_attention = str(config._attn_implementation)
        self._weights = products.quickened(model.modules())
        self._begin()
        self._read: Tensor | None = None
        head = model.get_output_embeddings()
        self._hook = head.register_forward_pre_hook(self._narrow)

    def run(self, ids: Tensor, positions: Tensor, plan: Plan, read: Tensor) -> Tensor:
        """Return logits [len(read), V] at `read`, indices into the flattened `ids` [rows, T].

        The head is applied nowhere else: logits of a whole prompt never exist.
        """
        self._read = read
        try:
            out = self.model(input_ids=ids, position_ids=positions, use_cache=False, plan=plan)
        finally:
            self._read = None
        logits: Tensor = out.logits
        return logits

    def own(self, ids: Tensor, read: Tensor) -> Tensor:
        """Return logits [len(read), V] at `read` of the model's own pass over `ids` [rows, T]."""
        with self.native() as model:
            self._read = read
            try:
                logits: Tensor = model(input_ids=ids, use_cache=False).logits
            finally:
                self._read = None
        return logits

    @contextmanager
    def native(self) -> Iterator[Any]:
        """Yield the model with transformers' own attention and products, for others to call."""
        self._end()
        try:
            yield self.model
        finally:
            self._begin()

    def token_bytes(self) -> int:
        """Return the bytes of one token's keys and values."""
        size = int(self.model.dtype.itemsize)
        return 2 * self.layers * self.key_heads * self.head_width * size

    def close(self) -> None:
        self._hook.remove()
        self._end()

    def _begin(self) -> None:
        self.model.set_attn_implementation(ATTENTION)
        products.quicken(self._weights)

    def _end(self) -> None:
        self.model.set_attn_implementation(self._own_attention)
        products.restore(self._weights)

    def _narrow(self, head: Any, given: tuple[Tensor]) -> tuple[Tensor] | None:
        return None if self._read is None else (given[0].flatten(0, 1)[self._read],)


@dataclass(frozen=True)
class Past:
    """The KV cache of the tokens before a row's own, as pieces [layers, 2, key heads, n, D]."""

    pieces: tuple[Tensor, ...] = ()

    @property
    def length(self) -> int:
        return sum(piece.shape[3] for piece in self.pieces)

    def then(self, piece: Tensor) -> Past:
        return Past((*self.pieces, piece))


NO_PAST = Past()


@dataclass(frozen=True)
class Row:
    """One row of a pass: `line` tokens in a line, then the tokens of a tree, then padding.

    `tree` [M, M] is True where its token i sees token j; all M see the past and the line.
    """

    line: int
    past: Past = NO_PAST
    tree: Tensor | None = None


@dataclass
class Rows:
    """A plan for rows [N, T]: each is causal and attends to its own past.

    With `keep`, `piece` gives the keys and values of the rows after the pass.
    """

    rows: Sequence[Row]
    keep: bool = False
    _kept: list[Tensor] = field(default_factory=list)
    # Masks are the same in every layer, so they are kept: by (past, length), and by a tree's row.
    _masks: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    _trees: dict[int, Tensor] = field(default_factory=dict)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        if self.keep:
            self._kept.append(torch.stack((k, v)))
        if all(not row.past.pieces and row.tree is None for row in self.rows):
            gqa = q.shape[1] != k.shape[1]
            return scaled_dot_product_attention(
                q, k, v, is_causal=True, scale=scale, enable_gqa=gqa
            )
        each = [
            self._row(row, layer, q[i : i + 1], k[i : i + 1], v[i : i + 1], scale)
            for i, row in enumerate(self.rows)
        ]
        return torch.cat(each) if len(each) > 1 else each[0]

    def piece(self, row: int, start: int, stop: int) -> Tensor:
        """Return keys and values [layers, 2, key heads, stop - start, D] of a row's columns."""
        return torch.stack([kept[:, row, :, start:stop] for kept in self._kept])

    def _row(self, row: Row, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        before = [piece[layer] for piece in row.past.pieces]
        if before:
            k = torch.cat([*(piece[0] for piece in before), k[0]], dim=1)[None]
            v = torch.cat([*(piece[1] for piece in before), v[0]], dim=1)[None]
        past = k.shape[2] - q.shape[2]
        ends = [row.line] if row.tree is None else [row.line, row.line + len(row.tree)]
        parts, start = [], 0
        for end in ends:
            if end > start:
                mask = self._seen(row, past, start, end)
                seen = slice(past + end)
                parts.append(_folded(q[:, :, start:end], k[:, :, seen], v[:, :, seen], scale, mask))
            start = end
        if start < q.shape[2]:
            parts.append(torch.zeros_like(q[:, :, start:]))
        return torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]

    def _seen(self, row: Row, past: int, start: int, end: int) -> Tensor | None:
        """Return the mask [end - start, past + end] of a part of a row, or None if it is causal."""
        if end == row.line and start == 0:
            if past == 0:
                return None
            if (past, end) not in self._masks:
                device = row.past.pieces[0].device
                whole = torch.ones(end, past + end, dtype=torch.bool, device=device)
                self._masks[past, end] = whole.tril(past)
            return self._masks[past, end]
        assert row.tree is not None
        if id(row) not in self._trees:
            before = row.tree.new_ones(end - start, past + start)
            self._trees[id(row)] = torch.cat([before, row.tree], dim=1)
        return self._trees[id(row)]


def _folded(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """Return the attention of one row; query heads read a shared key through a broadcast view."""
    _, heads, length, width = q.shape
    keys = k.shape[1]
    shared = (keys, heads // keys, k.shape[2], width)
    out = scaled_dot_product_attention(
        q.reshape(keys, heads // keys, length, width),
        k[0, :, None].expand(shared),
        v[0, :, None].expand(shared),
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
    )
    return out.reshape(1, heads, length, width)


class Slots:
    """KV-cache slots of the rows that are being decoded: [layers, 2, slots, key heads, T, D].

    As a plan it is one decoding step: each row's token is written after what its slot holds.
    """

    def __init__(self, network: Network, slots: int, tokens: int) -> None:
        size = network.layers, 2, slots, network.key_heads, tokens, network.head_width
        model, device = network.model, network.device
        # Zeros, not empty memory: masked values have weight 0, and 0 times NaN is NaN.
        self._kv = torch.zeros(size, dtype=model.dtype, device=device)
        self._lengths = torch.zeros(slots, dtype=torch.long, device=device)
        self._at, self._mask, self._longest = self._lengths, self._lengths, 0
        self._rows = self._lengths

    def put(self, slot: int, past: Past) -> None:
        """Fill `slot` with `past`, the KV cache of a row that begins."""
        at = 0
        for piece in past.pieces:
            after = at + piece.shape[3]
            self._kv[:, :, slot, :, at:after] = piece
            at = after
        self._lengths[slot] = at

    def move(self, source: int, target: int) -> None:
        """Move the row in slot `source` to slot `target`."""
        length = int(self._lengths[source])
        self._kv[:, :, target, :, :length] = self._kv[:, :, source, :, :length]
        self._lengths[target] = length

    def step(self, rows: int) -> Tensor:
        """Prepare a pass over the first `rows` slots; return their tokens' positions [rows, 1]."""
        self._at = self._lengths[:rows].clone()
        self._rows = torch.arange(rows, device=self._at.device)
        self._longest = int(self._at.max()) + 1
        columns = torch.arange(self._longest, device=self._at.device)
        self._mask = (columns <= self._at[:, None])[:, None, None]
        self._lengths[:rows] += 1
        return self._at[:, None]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        rows, heads, _, width = q.shape
        keys, values = self._kv[layer]
        keys[self._rows, :, self._at] = k[:, :, 0]
        values[self._rows, :, self._at] = v[:, :, 0]
        groups = k.shape[1]
        folded = q.reshape(rows, groups, heads // groups, width)
        out = scaled_dot_product_attention(
            folded,
            keys[:rows, :, : self._longest],
            values[:rows, :, : self._longest],
            attn_mask=self._mask.expand(rows, groups, heads // groups, -1),
            scale=scale,
        )
        return out.reshape(rows, heads, 1, width)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    *,
    plan: Plan | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Return attention [rows, T, heads, D] as `plan` computes it; transformers calls it per layer.

    Raises NotImplementedError without a plan, and for settings that would change the result.
    """
    if plan is None:
        raise NotImplementedError("attention was called without a plan")
    unknown = {name: settings[name] for name in _UNKNOWN if settings.get(name) is not None}
    if unknown and not support.boundless(module.config, unknown):
        raise NotImplementedError(f"attention with {', '.join(unknown)}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = plan.attend(module.layer_idx, query, key, value, scale)
    return out.transpose(1, 2).contiguous(), None


# Settings of attention that would change its result and that are not implemented here.
_UNKNOWN = ("softcap", "s_aux", "sliding_window")

AttentionInterface.register(ATTENTION, _attention)
