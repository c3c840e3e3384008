"""H by semantic entropy: the entropy of sampled answers over their meanings.

Kuhn, Gal, Farquhar, "Semantic uncertainty" (ICLR 2023, arXiv 2302.09664), and Farquhar, Kossen,
Kuhn, Gal, "Detecting hallucinations in large language models using semantic entropy" (Nature 630,
2024). In these papers, answers have the same meaning if each entails the other according to a
second model. Here they have it if they score alike (calls, under the scorer's normalisation), so
that no second model is needed.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ttsi import (
    AnswerStatus,
    Engine,
    Estimate,
    Generation,
    Request,
    Sampling,
    Task,
    draw_seed,
    form_of,
    option,
)


def meaning(task: Task, text: str) -> str:
    """Return a key that is equal for answers that score alike.

    All answers that decline have one meaning. An unparsable answer has the meaning of its own text.
    """
    form = form_of(task)
    answer = form.parse(task, text)
    if answer.status is AnswerStatus.UNPARSABLE:
        return f"unparsable: {text}"
    return form.key(task, answer)


def by_counts(meanings: Sequence[str]) -> list[float]:
    """Return the share of the answers with each meaning: the papers' discrete semantic entropy."""
    return [count / len(meanings) for count in Counter(meanings).values()]


def by_likelihoods(meanings: Sequence[str], answers: Sequence[Generation]) -> list[float]:
    """Return p(meaning): the sum of p(text) over its texts, divided by that over all drawn texts.

    This follows Kuhn et al. Each text counts once, however often it was drawn, because its
    likelihood already contains its frequency.
    """
    drawn = {
        answer.text: (meant, answer.logprob)
        for meant, answer in zip(meanings, answers, strict=True)
    }
    top = max(logprob for _, logprob in drawn.values())
    masses: dict[str, float] = defaultdict(float)
    for meant, logprob in drawn.values():
        masses[meant] += math.exp(logprob - top)
    whole = sum(masses.values())
    return [mass / whole for mass in masses.values()]


def entropy(shares: Iterable[float]) -> float:
    """Return the entropy in nats of shares that add up to 1."""
    return -sum(share * math.log(share) for share in shares if share > 0)


@dataclass(frozen=True)
class SemanticEntropy:
    """u = 1 - H / log n over the meanings of n sampled answers; uncertain iff u < threshold.

    By counts, H is the entropy of the drawn answers, and so depends on the sampling options. By
    likelihoods, it is that of the model's own distribution over the drawn texts: a rare answer has
    the weight that the model gives it, even if it was drawn by chance. The default threshold
    tolerates one dissenting answer among ten (u = 0.86), but not two (at most 0.78).
    """

    samples: int = option(10, "How many answers are drawn.", minimum=2)
    weights: Literal["counts", "likelihoods"] = option(
        "counts", "A meaning's probability: its share of the answers, or of their likelihood."
    )
    threshold: float = option(
        0.8, "Adapt where one minus the relative entropy is below this.", minimum=0, maximum=1
    )
    format: Literal["free", "tool_calls"] = option(
        "free",
        "Free text, or decoding constrained to the JSON of a right-shaped answer, such as a list "
        "of calls valid for the tools.",
    )
    max_calls: int | None = option(
        None, "Most calls under format tool_calls; null: any.", minimum=1
    )
    max_tokens: int = option(256, "Length at which an answer is cut.", minimum=1)
    temperature: float = option(
        1.0, "Sampling temperature; 1 draws from the model's own distribution.", exclusiveMinimum=0
    )
    top_p: float = option(
        1.0, "Probability that nucleus sampling keeps (top-p).", exclusiveMinimum=0, maximum=1
    )
    top_k: int = option(0, "Likeliest tokens kept; 0 keeps all.", minimum=0)
    repetition_penalty: float = option(1.0, "Penalty on tokens seen.", exclusiveMinimum=0)

    @property
    def needs(self) -> frozenset[str]:
        grammar = {"grammar"} if self.format == "tool_calls" else set()
        return frozenset({"generate"} | grammar)

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]:
        requests = [
            self._request(task, draw_seed(seed, task.id, "estimate", draw))
            for task in tasks
            for draw in range(self.samples)
        ]
        answers = engine.generate(requests)
        estimates = []
        for at, task in enumerate(tasks):
            own = answers[at * self.samples : (at + 1) * self.samples]
            confidence = self.confidence(task, own)
            estimates.append(Estimate(confidence, confidence < self.threshold))
        return estimates

    def confidence(self, task: Task, answers: Sequence[Generation]) -> float:
        """Return u in [0, 1]: 1 if all answers mean the same, 0 if each has its own meaning."""
        meanings = [meaning(task, answer.text) for answer in answers]
        shares = (
            by_counts(meanings) if self.weights == "counts" else by_likelihoods(meanings, answers)
        )
        return min(1.0, max(0.0, 1.0 - entropy(shares) / math.log(len(answers))))

    def _request(self, task: Task, seed: int) -> Request:
        sampling = Sampling(
            self.temperature, self.top_p, self.top_k, self.repetition_penalty, self.max_tokens
        )
        grammar = None
        if self.format == "tool_calls":
            grammar = form_of(task).schema(task, most=self.max_calls)
        return Request(replace(task.prompt(), thinking=True), sampling, seed, grammar=grammar)
