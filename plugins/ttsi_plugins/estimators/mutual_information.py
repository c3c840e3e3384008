"""H by mutual information of two answers, the second given after the model is told the first.

The idea is that of Yadkori et al. 2024 (arXiv 2406.02543): a model that knows the answer keeps it
when it is told of another one; a model that does not know follows. Over the n candidates, without
sampling:

    Q1(i)    softmax over the candidates of log P(candidate i | prompt)
    Q2(j|i)  the same where the prompt adds that another answer to the request chose candidate i
    Q(i, j)  Q1(i) Q2(j|i), and its marginal M(j) = sum_k Q1(k) Q2(j|k)
    I        sum_ij Q(i, j) log(Q2(j|i) / M(j)), in nats: the divergence of Q from Q1 x M
    u        1 - I / log n

0 <= I <= H(Q1) <= log n. I = 0 if the first answer does not change the second, however even Q1 is:
two tools that would do equally well are no lack of knowledge. I = H(Q1) if the second answer always
copies the first. So I measures how much the model follows what it is told, and not the noise in the
request; u is never below that of `entropy` with the same options.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ttsi import Engine, Estimate, Message, Prompt, Task, option
from ttsi_plugins.estimators._candidates import Candidates, opened, softmax


def mutual_information(first: Sequence[float], then: Sequence[Sequence[float]]) -> float:
    """Return I of Q1 = first[i] and Q2 = then[i][j], in nats; at least 0."""
    marginal = [
        math.fsum(p * row[j] for p, row in zip(first, then, strict=True)) for j in range(len(first))
    ]
    terms = (
        p * q * (math.log(q) - math.log(marginal[j]))
        for p, row in zip(first, then, strict=True)
        for j, q in enumerate(row)
        if p * q > 0
    )
    return max(0.0, math.fsum(terms))


@dataclass(frozen=True)
class MutualInformation(Candidates):
    """Unsure where the model changes its answer when it is told of another.

    u = 1 - I / log n, or 1 for fewer than two names; uncertain iff u < threshold.

    It scores n + 1 prompts with a common prefix up to the end of the user's turn. The default
    threshold is that of `entropy`; as I <= H(Q1), it selects a subset of the inputs that `entropy`
    selects: those where another answer could change the model's.
    """

    threshold: float = option(
        0.9,
        "Adapt where one minus the relative mutual information is below this.",
        minimum=0,
        maximum=1,
    )

    def estimate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[Estimate]:
        found = self.found(tasks, engine)
        prompts = list(map(opened, tasks, found))
        slots = [
            (at, told) for at, some in enumerate(found) for told in ("", *_worth_telling(some.told))
        ]
        scored = self.score(
            [_told(prompts[at], told) for at, told in slots], [found[at] for at, _ in slots], engine
        )
        tables: list[list[list[float]]] = [[] for _ in tasks]
        for (at, _), values in zip(slots, scored, strict=True):
            tables[at].append(values)
        return [self._judge(each.names, table) for each, table in zip(found, tables, strict=True)]

    def _judge(self, names: Sequence[str], table: Sequence[Sequence[float]]) -> Estimate:
        """Judge by the log-likelihoods after the plain prompt and after being told of each name."""
        plain, *told = table
        confidence = 1.0
        if told:
            found = mutual_information(softmax(plain), [softmax(row) for row in told])
            confidence = min(1.0, max(0.0, 1.0 - found / math.log(len(names))))
        scores = dict(zip(names, plain, strict=True))
        return Estimate(confidence, confidence < self.threshold, scores)


def _worth_telling(told: Sequence[str]) -> Sequence[str]:
    return told if len(told) > 1 else ()


def _told(prompt: Prompt, line: str) -> Prompt:
    """Return the prompt with `line` at the end of its last turn, so that the prefix is shared."""
    if not line:
        return prompt
    last = prompt.messages[-1]
    message = Message(last.role, f"{last.content}\n\n{line}")
    return replace(prompt, messages=(*prompt.messages[:-1], message))
