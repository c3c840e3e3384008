"""The scoring of candidates, which several estimators share: for calls, of the tools' names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from ttsi import (
    JSON,
    Context,
    Engine,
    Likelihood,
    Prompt,
    Request,
    Sampling,
    Task,
    UsageError,
    form_of,
    option,
    written_calls,
)
from ttsi import (
    Candidates as Found,
)
from ttsi import (
    EngineCapability as Can,
)

_NAME = "name_of_no_tool"
_MARKER = re.compile(r"\[[A-Z_]+\]|<[^<>\s]{1,40}>")


@dataclass(frozen=True)
class Candidates:
    """Options of scoring. The candidates are those of the task's answer form, in its order.

    For calls they are the names of the tools on offer, for a choice its options.
    """

    needs: ClassVar[frozenset[Can]] = frozenset({Can.LOGLIKELIHOOD, Can.GENERATE})

    context: Context = option(
        "tool_call",
        "Where candidates are scored: in the form's own wrapper, of calls the opening of a "
        "<tool_call>, or natively what the chat template writes before a name; in the wrapper of a "
        "short greedy draft of the answer; or bare after the prompt.",
    )
    normalise: Literal["sum", "mean"] = option(
        "sum", "Sum a candidate's token log-probabilities, or take their mean."
    )
    no_call_candidate: bool = option(
        False, "Also score declining as a candidate; for calls it is the name 'none'."
    )

    def found(self, tasks: Sequence[Task], engine: Engine) -> list[Found]:
        """Return each task's candidates. Raises UsageError if its answer form has none."""
        drafts = [""] * len(tasks)
        if self.context == "as_answered":
            short = Sampling.greedy(128)
            requests = [Request(task.prompt(), short, seed=0, owner=task.id) for task in tasks]
            drafts = [each.text for each in engine.generate(requests)]
        found = [self._of(task, draft) for task, draft in zip(tasks, drafts, strict=True)]
        if self.context != "tool_call":
            return found
        return [
            some if task.bare is None else natively(task, some, engine)
            for task, some in zip(tasks, found, strict=True)
        ]

    def score(
        self, prompts: Sequence[Prompt], found: Sequence[Found], engine: Engine
    ) -> list[list[float]]:
        """Return log P(candidate | prompt) of each prompt's candidates, in nats.

        With `normalise` "mean" it is the mean over the candidate's tokens.
        """
        scored = engine.loglikelihoods(prompts, [some.texts for some in found])
        return [[self._value(item) for item in some] for some in scored]

    def _of(self, task: Task, draft: str) -> Found:
        decline = self.no_call_candidate
        found = form_of(task).candidates(task, self.context, draft, decline=decline)
        if found is None:
            raise UsageError(
                f"Answers of the form {task.form!r} have no candidates that could be scored.",
                where=f"task {task.id}",
                cure="Choose an estimator that needs none: self_consistency or perplexity.",
            )
        return found

    def _value(self, item: Likelihood) -> float:
        return item.logprob / (max(item.tokens, 1) if self.normalise == "mean" else 1)


def natively(task: Task, found: Found, engine: Engine) -> Found:
    """Return the names of tools as the model's chat template writes them in a call.

    A call of a name that no tool has shows what the template writes before it, and the character
    or marker after it, which makes names comparable if one is a prefix of another.
    """
    call: JSON = [{"name": _NAME, "arguments": {"value": "1"}}]
    text = written_calls(engine, task.prompt(), call)
    before, _, after = text.partition(_NAME)
    marker = _MARKER.match(after)
    closing = marker[0] if marker else after[:1]
    return replace(found, opening=before, texts=tuple(each + closing for each in found.names))


def opened(task: Task, found: Found) -> Prompt:
    """Return the task's prompt with the opening after which its candidates are scored."""
    return task.prompt(found.opening)


def softmax(logprobs: Sequence[float]) -> list[float]:
    """Return p(i) = exp(l(i)) / sum_k exp(l(k)) of at least one value, computed from l - max l."""
    top = max(logprobs)
    weights = [math.exp(value - top) for value in logprobs]
    whole = math.fsum(weights)
    return [weight / whole for weight in weights]


def entropy(p: Sequence[float]) -> float:
    """Return H(p) = -sum_i p(i) log p(i), in nats; a probability of 0 adds nothing."""
    return -math.fsum(value * math.log(value) for value in p if value > 0)
