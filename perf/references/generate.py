"""Decoding by transformers' generate: greedy, one at a time or batched, free or by a schema."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import GenerationConfig
from xgrammar.contrib.hf import LogitsProcessor

from perf.references import Resident

Ids = list[int]
Schema = Mapping[str, Any] | None


@dataclass(frozen=True)
class Prefilled:
    """Prompts padded on the left, and the KV cache of all their columns but the last."""

    ids: Tensor
    mask: Tensor
    cache: Any = None

    def copy(self) -> Prefilled:
        return Prefilled(self.ids, self.mask, copy.deepcopy(self.cache))


class Writer:
    """Greedy texts from `model` (the resident one, or one under an adapter), as token ids."""

    name = ("transformers generate", transformers.__version__)

    def __init__(self, resident: Resident, model: Any = None) -> None:
        self._resident = resident
        self._model = resident.model if model is None else model
        ends = resident.tokens.ends
        own = resident.tokens.tokenizer.pad_token_id
        self._settings = {
            "do_sample": False,
            "eos_token_id": list(ends),
            "pad_token_id": ends[0] if own is None else own,
        }

    def padded(self, prompts: Sequence[Ids]) -> Prefilled:
        """Return prompts as one batch, with nothing computed yet."""
        longest = max(map(len, prompts))
        ids = torch.full((len(prompts), longest), self._settings["pad_token_id"])
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        return Prefilled(ids.to(self._resident.device), mask.to(self._resident.device))

    @torch.inference_mode()
    def prefilled(self, prompts: Sequence[Ids]) -> Prefilled:
        """Return prompts as one batch with the KV cache of all columns but the last."""
        batch = self.padded(prompts)
        mask = batch.mask[:, :-1]
        out = self._model(
            input_ids=batch.ids[:, :-1],
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=1,
        )
        return Prefilled(batch.ids, batch.mask, out.past_key_values)

    def write(self, batch: Prefilled, most: int, schemas: Sequence[Schema]) -> list[Ids]:
        """Write up to `most` tokens a row, end token included; this uses up the batch's cache."""
        out = self._generate(batch, most, schemas)
        return [self._cut(row) for row in out[:, batch.ids.shape[1] :].tolist()]

    def top_two_gap(self, prompt: Ids, schema: Schema, step: int) -> float:
        """Return the gap in logits of the two likeliest allowed tokens at a text's `step`."""
        out = self._generate(
            self.padded([prompt]),
            step + 1,
            [schema],
            output_scores=True,
            return_dict_in_generate=True,
        )
        best = out.scores[-1][0].float().topk(2).values
        return float(best[0] - best[1])

    def _generate(self, batch: Prefilled, most: int, schemas: Sequence[Schema], **more: Any) -> Any:
        settings = dict(self._settings)
        processors = transformers.LogitsProcessorList()
        if schemas[0] is not None:
            compiled = [self._resident.grammar(schema) for schema in schemas if schema is not None]
            processors.append(LogitsProcessor(compiled))
            settings["suppress_tokens"] = self._resident.barred or None
        config = GenerationConfig(max_new_tokens=most, **settings, **more)
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._model.generate(
                input_ids=batch.ids,
                attention_mask=batch.mask,
                past_key_values=batch.cache,
                generation_config=config,
                logits_processor=processors,
            )

    def _cut(self, ids: Ids) -> Ids:
        """Return the ids up to and including the first end token, without padding."""
        ends = self._resident.tokens.ends
        for index, token in enumerate(ids):
            if token in ends:
                return ids[: index + 1]
        return ids

    def text(self, ids: Ids) -> str:
        tokens = self._resident.tokens
        return tokens.decode(ids[:-1] if ids and ids[-1] in tokens.ends else ids)
