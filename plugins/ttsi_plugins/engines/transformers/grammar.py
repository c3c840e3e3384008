"""Decoding constrained by a JSON Schema, with xgrammar."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
import xgrammar
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ttsi import EngineError
from ttsi.parameters.plain import plain_schema
from ttsi_plugins.engines.transformers.lowering import lowered

_CACHE_BYTES = 256 * 2**20


@lru_cache(maxsize=256)
def grammar_schema(schema: str) -> str:
    """Return the text of a JSON Schema for xgrammar. Raises SchemaFault if it has no plain form."""
    return json.dumps(lowered(plain_schema(json.loads(schema))))


class Grammars:
    """Schemas compiled for one tokenizer, cached by their text: the order of properties counts."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        vocab_size: int,
        ends: Sequence[int],
        barred: Sequence[int],
    ) -> None:
        info = xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=vocab_size, stop_token_ids=list(ends)
        )
        self._compiler = xgrammar.GrammarCompiler(info, cache_limit_bytes=_CACHE_BYTES)
        # xgrammar takes a control token or marker for its text, and so would allow it in strings.
        # It is barred; its text can still be written with other tokens.
        self._open = xgrammar.allocate_token_bitmask(1, vocab_size)[0]
        for id in (each for each in barred if each < vocab_size):
            # The highest bit of an int32 is its sign.
            self._open[id // 32] ^= (1 << id % 32) - ((1 << 32) if id % 32 == 31 else 0)

    def matcher(self, schema: Mapping[str, Any]) -> Matcher:
        """Return a new matcher. Raises EngineError, naming the tool, if no grammar can be made."""
        compiled = self._compile(schema)
        return Matcher(xgrammar.GrammarMatcher(compiled), self._open)

    def _compile(self, schema: Mapping[str, Any]) -> Any:
        try:
            return self._compiled(json.dumps(schema))
        except (RuntimeError, ValueError) as error:
            name = self._guilty(schema)
            raise EngineError(
                f"No grammar can be made of the schema of {name}: {_reason(error)}",
                where="engine transformers, constrained decoding",
                cure='Mend that schema, or use "format": "free".',
            ) from error

    def _guilty(self, schema: Mapping[str, Any]) -> str:
        definitions = {k: schema[k] for k in ("$defs", "definitions") if k in schema}
        for name, branch in _named_branches(schema):
            try:
                self._compiled(json.dumps({**branch, **definitions}))
            except (RuntimeError, ValueError):
                return f"tool {name!r}"
        return repr(schema.get("title", "the answer"))

    def _compiled(self, schema: str) -> Any:
        return self._compiler.compile_json_schema(
            grammar_schema(schema), any_whitespace=False, strict_mode=True
        )


class Matcher:
    """The state of one row in its grammar."""

    def __init__(self, matcher: Any, open: Tensor) -> None:
        self._matcher = matcher
        self._open = open

    def fill(self, bits: Tensor, row: int) -> None:
        """Set a row of `bits` [rows, ceil(V / 32)] to the tokens that the grammar allows next."""
        self._matcher.fill_next_token_bitmask(bits, row)
        bits[row] &= self._open

    def accept(self, token: int) -> None:
        if not self._matcher.accept_token(token):
            raise EngineError(
                f"The grammar refused token {token} although it had allowed it.",
                where="engine transformers, constrained decoding",
                cure="Report this with the schema; it is a fault of ttsi or xgrammar.",
            )


def allowed(scores: Tensor, matchers: Sequence[Matcher | None]) -> Tensor:
    """Return scores [rows, V] with -inf for the tokens that a row's grammar does not allow.

    Raises EngineError if a row's grammar allows no token: the schema wants characters for which the
    tokenizer has no tokens.
    """
    held = {row: matcher for row, matcher in enumerate(matchers) if matcher is not None}
    if not held:
        return scores
    bits = xgrammar.allocate_token_bitmask(*scores.shape)
    for row, matcher in held.items():
        matcher.fill(bits, row)
    # The kernel assumes contiguous rows.
    scores = scores.clone(memory_format=torch.contiguous_format)
    xgrammar.apply_token_bitmask_inplace(scores, bits.to(scores.device), indices=list(held))
    if bool((scores[list(held)].amax(1) == -torch.inf).any()):
        raise EngineError(
            "The schema wants a character that the model's tokenizer cannot write.",
            where="engine transformers, constrained decoding",
            cure='Mend the schema\'s constants, or use "format": "free".',
        )
    return scores


def _named_branches(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the subschemas that name a tool, in their `name` constant or their title."""
    for key in ("items", "anyOf", "oneOf"):
        inner = schema.get(key, [])
        for branch in inner if isinstance(inner, list) else [inner]:
            if not isinstance(branch, Mapping):
                continue
            properties = branch.get("properties", {})
            name = properties.get("name", {}) if isinstance(properties, Mapping) else {}
            label = name.get("const") or next(iter(name.get("enum", ())), branch.get("title"))
            if label:
                yield str(label), branch
            else:
                yield from _named_branches(branch)


def _reason(error: Exception) -> str:
    """Return xgrammar's message without its time stamp and source line."""
    if isinstance(error, ValueError):
        return str(error)
    return str(error).strip().split("] ", 1)[-1].split(": ", 1)[-1]
