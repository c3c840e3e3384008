"""What constrained decoding can write, and what it writes at random."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import xgrammar
from engines import shared_engine

from ttsi.answers.calls.values import ToolCall
from ttsi.types import Task
from ttsi_plugins.engines.transformers.grammar import allowed, grammar_schema
from ttsi_plugins.inference.direct import Direct

_END = 0


def can_write(task: Task, calls: Sequence[ToolCall], inference: Direct) -> bool:
    """Whether the answer's JSON is a complete text of the grammar of `inference` for the task."""
    schema = inference.request(task, None, 0).grammar
    # Each character is a token: the strings of a grammar do not depend on the vocabulary.
    info = xgrammar.TokenizerInfo(["<end>", *map(chr, range(32, 127))], stop_token_ids=[_END])
    compiled = xgrammar.GrammarCompiler(info).compile_json_schema(
        grammar_schema(json.dumps(schema)), any_whitespace=False, strict_mode=True
    )
    matcher = xgrammar.GrammarMatcher(compiled)
    text = json.dumps([call.as_json() for call in calls])
    return bool(matcher.accept_string(text) and matcher.accept_token(_END))


def accepts(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether the embedded model's tokens can write `value` under the schema, and then end."""
    runtime = shared_engine()._runtime()
    matcher = runtime.grammars.matcher(schema)
    bits = xgrammar.allocate_token_bitmask(1, runtime.model.config.vocab_size)
    text = json.dumps(value, ensure_ascii=False)
    for token in [*runtime.tokens.text(text), runtime.tokens.ends[0]]:
        matcher.fill(bits, 0)
        if not int(bits[0, token // 32]) >> token % 32 & 1:
            return False
        matcher.accept(token)
    return True


def wild_text(schema: Mapping[str, Any], seed: int, limit: int = 400) -> str | None:
    """Return a random text of the grammar; None if it does not end within `limit` tokens.

    Closing characters are preferred, since purely random texts hardly ever end.
    """
    runtime = shared_engine()._runtime()
    matcher = runtime.grammars.matcher(schema)
    generator = torch.Generator().manual_seed(seed)
    taste = _closing_taste()
    ids: list[int] = []
    for _ in range(limit):
        logits = torch.randn(len(taste), generator=generator) * 4 + taste
        token = int(allowed(logits[None], [matcher])[0].argmax())
        if token in runtime.tokens.ends:
            return runtime.tokens.decode(ids)
        matcher.accept(token)
        ids.append(token)
    return None


def _closing_taste() -> torch.Tensor:
    runtime = shared_engine()._runtime()
    taste = torch.zeros(runtime.model.config.vocab_size)
    for text, likes in {'"': 12, "}": 12, "]": 12, "<|im_end|>": 12}.items():
        taste[runtime.tokens.tokenizer.convert_tokens_to_ids(text)] = likes
    return taste
