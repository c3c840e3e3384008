"""The store of prefixes against a plain table of all texts."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ttsi_plugins.engines.transformers.caches import Past, Piece
from ttsi_plugins.engines.transformers.prefixes import Prefixes, common

TOKEN_BYTES = 2 * 3 * 2 * 1 * 1 * 4
TEXTS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


def read(ids: list[int], start: int = 0) -> Piece:
    """A stand-in for keys and values, of which each position knows all tokens up to its own."""
    columns = [hash(tuple(ids[: at + 1])) % 9973 for at in range(start, len(ids))]
    kv = torch.tensor(columns, dtype=torch.float32).expand(2, len(columns))[..., None]
    return Piece(len(columns), {layer: (kv.clone(), kv.clone()) for layer in range(3)})


def flat(past: Past) -> Tensor:
    pieces = [stacked(piece) for piece in past.pieces]
    return torch.cat([*pieces, torch.empty(3, 2, 2, 0, 1)], dim=3)


def stacked(piece: Piece) -> Tensor:
    """[layers, 2, heads, tokens, 1]."""
    return torch.stack([torch.stack(pair) for pair in piece.layers.values()])


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=20))
def test_what_is_found_is_what_reading_it_would_give(texts: list[list[int]]) -> None:
    store, known = Prefixes(10**6), [[]]
    for ids in texts:
        past = store.longest(ids)
        assert past.length == max(common(ids, other) for other in known)
        assert torch.equal(flat(past), stacked(read(ids).part(0, past.length)))
        store.add(ids, past.length, read(ids, past.length))
        known.append(ids)
    distinct = {tuple(ids[:end]) for ids in texts for end in range(1, len(ids) + 1)}
    assert store.bytes == len(distinct) * TOKEN_BYTES


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=20), st.integers(0, 20))
def test_the_budget_holds_and_what_is_left_is_true(texts: list[list[int]], room: int) -> None:
    store = Prefixes(room * TOKEN_BYTES)
    for ids in texts:
        past = store.longest(ids)
        assert torch.equal(flat(past), stacked(read(ids).part(0, past.length)))
        store.add(ids, past.length, read(ids, past.length))
        assert store.bytes <= store.budget
        again = store.longest(ids)
        assert torch.equal(flat(again), stacked(read(ids).part(0, again.length)))


def test_the_least_recently_used_goes_first() -> None:
    store = Prefixes(6 * TOKEN_BYTES)
    for ids in ([1, 1, 1], [2, 2, 2]):
        store.add(ids, 0, read(ids))
    assert store.longest([1, 1, 1]).length == 3
    store.add([3, 3], 0, read([3, 3]))
    assert [store.longest([n] * 3).length for n in (1, 2, 3)] == [3, 0, 2]


def test_a_text_that_grows_token_by_token_is_dropped_without_recursion() -> None:
    store = Prefixes(2000 * TOKEN_BYTES)
    grown = list(range(1200))
    for length in range(1, len(grown) + 1):
        store.add(grown[:length], length - 1, read(grown[:length], length - 1))
    store.budget = 10 * TOKEN_BYTES
    store.add([7], 0, read([7]))
    assert store.bytes <= store.budget


def test_a_past_in_use_outlives_its_place_in_the_store() -> None:
    store = Prefixes(10**6)
    store.add([1, 2, 3, 4], 0, read([1, 2, 3, 4]))
    held = store.longest([1, 2, 3, 4])
    store.add([1, 2, 9], 2, read([1, 2, 9], 2))
    assert torch.equal(flat(held), stacked(read([1, 2, 3, 4])))
    store.clear()
    assert store.bytes == store.longest([1, 2]).length == 0
    assert torch.equal(flat(held), stacked(read([1, 2, 3, 4])))


def test_what_follows_a_dropped_text_is_not_kept() -> None:
    store = Prefixes(10**6)
    store.add([1, 2, 3], 2, read([1, 2, 3], 2))
    assert store.bytes == 0
