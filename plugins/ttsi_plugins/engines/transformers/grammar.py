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

from ttsi import EngineError, Unanswerable
from ttsi.parameters.plain import plain_schema
from ttsi_plugins.engines.transformers.lowering import lowered

_CACHE_BYTES = 256 * 2**20
_LONGEST = 256 * 2**10
"""A longer text for xgrammar is refused: at 1 MiB its grammar takes a minute and gigabytes."""


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
        self._barred = frozenset(barred)
        for id in (each for each in barred if each < vocab_size):
            # The highest bit of an int32 is its sign.
            self._open[id // 32] ^= (1 << id % 32) - ((1 << 32) if id % 32 == 31 else 0)

    def matcher(self, schema: Mapping[str, Any]) -> Matcher:
        """Return a new matcher. Raises Unanswerable, naming the tool, if no grammar can be made."""
        compiled = self._compile(schema)
        return Matcher(xgrammar.GrammarMatcher(compiled), self._open, self._barred)

    def _compile(self, schema: Mapping[str, Any]) -> Any:
        try:
            return self._compiled(json.dumps(schema))
        except (RuntimeError, ValueError) as error:
            name = self._guilty(schema)
            raise Unanswerable(
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
        text = grammar_schema(schema)
        if len(text) > _LONGEST:
            raise Unanswerable(
                f"A schema takes {len(text)} characters in plain form, of {_LONGEST} at most.",
                where="engine transformers, constrained decoding",
                cure='Offer fewer tools, shorten their enums, or use "format": "free".',
            )
        return self._compiler.compile_json_schema(text, any_whitespace=False, strict_mode=True)


class Matcher:
    """The state of one row in its grammar."""

    def __init__(self, matcher: Any, open: Tensor, barred: frozenset[int]) -> None:
        self._matcher = matcher
        # The same twice: bits [ceil(V / 32)] that are set for all other tokens, and the tokens.
        self._open, self._barred = open, barred

    def fill(self, bits: Tensor, row: int, draft: Sequence[int] = ()) -> None:
        """Set rows of `bits` [rows, ceil(V / 32)] to the tokens that the grammar allows.

        Row `row` holds what may come next, and the rows after it what may follow each token of
        `draft`, which the grammar must allow.
        """
        for at, token in enumerate(draft):
            self._matcher.fill_next_token_bitmask(bits, row + at)
            self.accept(token)
        end = row + len(draft)
        self._matcher.fill_next_token_bitmask(bits, end)
        self.back(len(draft))
        bits[row : end + 1] &= self._open

    def accept(self, token: int) -> None:
        if not self._matcher.accept_token(token):
            raise EngineError(
                f"The grammar refused token {token} although it had allowed it.",
                where="engine transformers, constrained decoding",
                cure="Report this with the schema; it is a fault of ttsi or xgrammar.",
            )

    def accepts(self, token: int) -> bool:
        """Go on with `token`, and return True, if the grammar allows it."""
        if self._matcher.is_terminated() or token in self._barred:
            return False
        return bool(self._matcher.accept_token(token))

    def back(self, tokens: int) -> None:
        """Take back the last `tokens` that were accepted."""
        if tokens:
            self._matcher.rollback(tokens)

    def forced(self) -> str:
        """Return the text that must come next, as far as it is certain."""
        if self._matcher.is_terminated():
            return ""
        try:
            return str(self._matcher.find_jump_forward_string())
        except UnicodeDecodeError as error:
            # What is certain ends within a character.
            return bytes(error.object[: error.start]).decode()


def allowed(
    scores: Tensor, matchers: Sequence[Matcher | None], drafts: Sequence[Sequence[int]] = ()
) -> tuple[Tensor, Tensor]:
    """Return scores [tokens, V] with -inf for the tokens that a row's grammar does not allow, and
    [tokens], True where it allows one token only.

    A row has a line of scores for its next token, and one behind each token of its draft. Where a
    grammar allows no token, all are -inf: `unwritable` is the error for it.
    """
    if not any(matchers):
        return scores, scores.new_zeros(len(scores), dtype=torch.bool)
    bits = xgrammar.allocate_token_bitmask(*scores.shape)
    lines, at = [], 0
    for row, matcher in enumerate(matchers):
        draft = drafts[row] if drafts else ()
        if matcher is not None:
            matcher.fill(bits, at, draft)
            lines += range(at, at + len(draft) + 1)
        at += len(draft) + 1
    # The kernel assumes contiguous rows.
    scores = scores.clone(memory_format=torch.contiguous_format)
    bits = bits.to(scores.device)
    xgrammar.apply_token_bitmask_inplace(scores, bits, indices=lines)
    return scores, _single(bits)


def _single(bits: Tensor) -> Tensor:
    """Return [tokens], True where one bit is set in a row of `bits` [tokens, ceil(V / 32)]."""
    words = bits.long() & 0xFFFFFFFF
    largest = words.amax(-1)
    return (words.sum(-1) == largest) & (largest > 0) & (largest & (largest - 1) == 0)


def unwritable() -> Unanswerable:
    """Return the error for a grammar that allows no token at all."""
    return Unanswerable(
        "The schema wants a character that the model's tokenizer cannot write.",
        where="engine transformers, constrained decoding",
        cure='Mend the schema\'s constants, or use "format": "free".',
    )


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
