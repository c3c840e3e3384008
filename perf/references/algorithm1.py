"""An engine made of the references, so that the pipeline itself runs Algorithm 1 on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from perf.references import Resident
from perf.references.generate import Writer
from perf.references.hflm import Scorer
from perf.references.resident import Adapted
from perf.references.trainer import Tuner
from perf.references.writing import WritingEngine
from ttsi.types import Adapter, Likelihood, Prompt, Request, TrainJob


class ReferenceEngine(WritingEngine):
    """An engine that scores by HFLM, writes by greedy generate and trains by the Trainer.

    `starts` are the adapters' first weights by the job's seed, so that both sides start equal. The
    adapter trained last stays in the model, so an adapted answer follows its own training.
    """

    capabilities = frozenset({"loglikelihood", "generate", "grammar", "adapters", "train"})

    def __init__(
        self,
        resident: Resident,
        scorer: Scorer,
        config: Mapping[str, Any],
        starts: Mapping[int, Mapping[str, Tensor]],
    ) -> None:
        super().__init__(resident)
        adapted = Adapted(resident, config)
        self._starts = starts
        self._scorer = scorer
        self._adapted = Writer(resident, adapted.model)
        self._tuner = Tuner(adapted, resident.device)

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        contexts = [self._tokens.prompt(prompt) for prompt in prompts]
        tails = [[self._tokens.text(text) for text in some] for some in continuations]
        return [
            [Likelihood(value, len(ids)) for value, ids in zip(values, some, strict=True)]
            for values, some in zip(self._scorer.score(contexts, tails), tails, strict=True)
        ]

    def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
        (job,) = jobs
        pairs = [(self._tokens.prompt(p), self._tokens.target(text)) for p, text in job.pairs]
        self._tuner.train(self._starts[job.seed], pairs)
        return [Adapter(b"", {})]

    def _writer(self, request: Request) -> Writer:
        return self._base if request.adapter is None else self._adapted
