"""H by lm-evaluation-harness: HFLM's log-likelihoods around the resident model."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from lm_eval.models.huggingface import HFLM

from perf.rates import synchronise
from perf.references import Resident

Ids = Sequence[int]


class Scorer:
    """HFLM's log P of each prompt's candidates, in nats.

    Requests enter HFLM as token ids, ours: its own split of a text into context and continuation
    would differ, and it need not tokenise.
    """

    def __init__(self, resident: Resident, batch: int = 1) -> None:
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        self._device = resident.device
        self._hflm: Any = HFLM(
            pretrained=resident.model, tokenizer=resident.tokens.tokenizer, batch_size=batch
        )
        self.batch = batch

    @property
    def name(self) -> tuple[str, str]:
        return f"lm-evaluation-harness HFLM, batch {self.batch}", version("lm_eval")

    def choose_batch(self, prompt: Ids, candidates: Sequence[Ids]) -> None:
        """Choose one candidate at a time or all at once, whichever is faster on this prompt."""
        seconds = {}
        for batch in (1, len(candidates)):
            self.batch = self._hflm.batch_size_per_gpu = batch
            synchronise(self._device)
            started = time.perf_counter()
            self.score([prompt], [candidates])
            synchronise(self._device)
            seconds[batch] = time.perf_counter() - started
        self.batch = self._hflm.batch_size_per_gpu = min(seconds, key=lambda b: seconds[b])

    def score(
        self, prompts: Sequence[Ids], candidates: Sequence[Sequence[Ids]]
    ) -> list[list[float]]:
        requests = [
            (("context", "continuation"), list(prompt), list(candidate))
            for prompt, some in zip(prompts, candidates, strict=True)
            for candidate in some
        ]
        found = iter(self._hflm._loglikelihood_tokens(requests, disable_tqdm=True))
        return [[next(found)[0] for _ in some] for some in candidates]
