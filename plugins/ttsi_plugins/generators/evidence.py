"""G with labels that have evidence: the model writes requests, and its own answers label them.

A model that writes a request and its answer at once often gets the answer wrong: an invented
optional argument, a translated request. Here it writes requests only, and answers each of them
several times. A request and the answer that most agree on become an example if enough of the
answers agree and the request bears out every value.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from ttsi import (
    DECLINED,
    JSON,
    Answer,
    AnswerStatus,
    Completion,
    Engine,
    Example,
    Generation,
    Request,
    Task,
    answer_with,
    draw_seed,
    find_object,
    form_of,
    option,
)
from ttsi import EngineCapability as Can
from ttsi_plugins._support import BASIS, Basis, Claimed, needs, supports
from ttsi_plugins.generators._asking import REQUEST, UNSERVED, Asks, Wish, asking
from ttsi_plugins.generators._contract import Unfit, is_copy, overlap, request_in
from ttsi_plugins.inference._requests import Decoding
from ttsi_plugins.inference._votes import answers_to, same_answers

_REQUEST_SCHEMA: dict[str, JSON] = {
    "type": "object",
    "properties": {"input": {"type": "string", "minLength": 4}},
    "required": ["input"],
    "additionalProperties": False,
}


@dataclass
class Slot:
    """The k-th example of a task; if `unserved`, no tool is to serve its request."""

    task: Task
    k: int
    unserved: bool
    example: Example | None = None


@dataclass
class Trial:
    """A new request for a slot, its label, the share of answers that agree, and why it is unfit.

    `wrote`: the output that the request is in; `more`: more on why.
    """

    slot: Slot
    task: Task
    answer: Answer = DECLINED
    text: str = ""
    agreement: float = 0.0
    support: float | None = None
    wrote: str = ""
    fault: str = ""
    more: str = ""

    def written(self, output: JSON) -> str:
        """Return request and label as the text of an example."""
        return json.dumps({"input": self.task.input, "output": output}, ensure_ascii=False)


@dataclass(frozen=True)
class Evidence(Asks, Decoding):
    """The model writes requests, and its own answers label them if they have evidence.

    Forms whose answers have no claims (choice, number, text) go by agreement alone.
    """

    _wish: ClassVar[Wish] = REQUEST

    format: Literal["free", "tool_calls"] = option(
        "tool_calls", "How the answers that label a request are decoded: as in `direct`."
    )
    repetition_penalty: float = option(
        1.1, "Penalty on tokens seen, in requests; answers have none.", exclusiveMinimum=0
    )
    samples: int = option(1, "K: how many examples to make for an input.", minimum=1, maximum=64)
    attempts: int = option(
        5, "How many requests to draw for an example at most.", minimum=1, maximum=64
    )
    labels: int = option(
        3, "Answers to each request: a greedy one, and the rest sampled.", minimum=1, maximum=64
    )
    agreement: float = option(
        1.0, "Least share of the answers that has to agree with the label.", minimum=0, maximum=1
    )
    support: Basis | Literal["off"] = option("lexical", f"{BASIS} Off: values need none.")
    least_support: float = option(
        0.5, "Least support that every value has to have, in [0, 1].", minimum=0, maximum=1
    )
    most_overlap: float = option(
        0.8,
        "Most that a request may be like the task's, or an earlier example: the share of their "
        "pairs of words that both have. At 1 only copies are refused.",
        minimum=0,
        maximum=1,
    )
    no_call: float = option(
        0.0,
        "Share of examples with a request that no tool serves, whose answer calls none.",
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        Asks.__post_init__(self)
        Decoding.__post_init__(self)

    @property
    def needs(self) -> frozenset[Can]:
        weighing = frozenset[Can]() if self.support == "off" else needs(self.support)
        return super().needs | weighing | {Can.GRAMMAR}

    def generate(self, tasks: Sequence[Task], engine: Engine, seed: int) -> list[list[Example]]:
        slots = [
            [Slot(task, k, self._unserved(task, k, seed)) for k in range(self.samples)]
            for task in tasks
        ]
        for attempt in range(self.attempts):
            waiting = [slot for own in slots for slot in own if slot.example is None]
            if not waiting:
                break
            self._attempt(waiting, attempt, engine, seed)
        return [self._distinct(task, own) for task, own in zip(tasks, slots, strict=True)]

    def _unserved(self, task: Task, k: int, seed: int) -> bool:
        return bool(task.tools) and draw_seed(seed, task.id, "no_call", k) / 2**63 < self.no_call

    def _attempt(self, slots: Sequence[Slot], attempt: int, engine: Engine, seed: int) -> None:
        """Draw a request for each slot, label those that are fit, and judge the labels."""
        outputs = engine.generate([self._asked(slot, attempt, seed) for slot in slots])
        trials = list(map(self._trial, slots, outputs))
        fit = [trial for trial in trials if not trial.fault]
        places = range(attempt * self.labels, (attempt + 1) * self.labels)
        tasks = [trial.task for trial in fit]
        requests = [[self._label(trial, at, seed) for at in places] for trial in fit]
        for trial, labels in zip(fit, answers_to(tasks, requests, engine), strict=True):
            self._take(trial, labels)
        self._weigh([trial for trial in fit if not trial.fault], engine)
        for trial in trials:
            _settle(trial, attempt)

    def _asked(self, slot: Slot, attempt: int, seed: int) -> Request:
        # A template of the user's own asks for a request that a tool serves.
        own = asking(slot.task, self.prompt, UNSERVED) if slot.unserved else self.asking(slot.task)
        draw = draw_seed(seed, slot.task.id, f"generate/{slot.k}", attempt)
        owner = slot.task.id
        return Request(own, self.sampling(), draw, grammar=_REQUEST_SCHEMA, owner=owner)

    def _trial(self, slot: Slot, output: Generation) -> Trial:
        made = find_object(output.text, ("input",))
        new = "" if made is None else request_in(made)
        variant = form_of(slot.task).variant(slot.task, str(slot.k), new)
        trial = Trial(slot, variant, wrote=output.text)
        if not new:
            trial.fault = "no_request"
        elif is_copy(new, slot.task.input):
            trial.fault = "copy"
        elif overlap(new, slot.task.input) > self.most_overlap:
            trial.fault = "near_copy"
        return trial

    def _label(self, trial: Trial, place: int, seed: int) -> Request:
        """Return the request for one label; the first of each attempt is greedy."""
        slot = trial.slot
        request = self.request(
            trial.task, None, draw_seed(seed, slot.task.id, f"label/{slot.k}", place)
        )
        greedy = place % self.labels == 0
        temperature = 0.0 if greedy else self.temperature
        sampling = replace(request.sampling, temperature=temperature, repetition_penalty=1.0)
        return replace(request, sampling=sampling, owner=slot.task.id)

    def _take(self, trial: Trial, answers: Sequence[Completion]) -> None:
        """Take as the label the answer that most of `answers` agree on, of several the first."""
        given = [each for each in answers if each.answer.status is AnswerStatus.OK]
        if not given:
            trial.fault = "no_answer"
            return
        group = max(same_answers(trial.task, given).values(), key=len)
        form = form_of(trial.task)
        trial.text, trial.agreement = group[0].text, len(group) / len(answers)
        trial.answer = form.read(trial.task, trial.text)
        if trial.answer.status is not AnswerStatus.OK:
            trial.fault = "invalid"
        elif faults := form.faults(trial.task, trial.answer):
            trial.fault, trial.more = "invalid", "; ".join(faults)
        elif trial.agreement < self.agreement:
            trial.fault, trial.more = "disagreement", f"{trial.agreement:.2f}"

    def _weigh(self, trials: Sequence[Trial], engine: Engine) -> None:
        """Measure the support of labels, and find those in which a value has too little."""
        if self.support == "off":
            return
        made = [
            Claimed(each.task, form_of(each.task).claims(each.task, each.answer, each.text) or ())
            for each in trials
        ]
        for trial, found in zip(trials, supports(made, engine, self.support), strict=True):
            trial.support = min(found, default=None)
            if trial.support is not None and trial.support < self.least_support:
                trial.fault, trial.more = "unsupported", f"{trial.support:.2f}"

    def _distinct(self, task: Task, slots: Sequence[Slot]) -> list[Example]:
        """Return the examples that are no copies or near-copies of an earlier one."""
        kept: list[Example] = []
        for example in filter(None, (slot.example for slot in slots)):
            inputs = [other.task.input for other in kept]
            if not any(self._is_like(example.task.input, other) for other in inputs):
                kept.append(example)
            else:
                Unfit("near_copy").tell(task, example.text)
        return kept

    def _is_like(self, one: str, other: str) -> bool:
        return is_copy(one, other) or overlap(one, other) > self.most_overlap


_NO_REQUEST = ("no_request", "copy", "near_copy")


def _settle(trial: Trial, attempt: int) -> None:
    """Give the slot its example, or report why this attempt is none.

    An `unserved` slot keeps its request unless the answers to it pass all checks: a tool serves it.
    """
    slot, answer, fault = trial.slot, trial.answer, trial.fault
    output: JSON = trial.text
    shares = {"agreement": trial.agreement, "support": trial.support}
    evidence = {name: share for name, share in shares.items() if share is not None}
    if slot.unserved and fault not in _NO_REQUEST:
        fault, output, answer = ("" if fault else "served"), [], answer_with([])
        evidence = {}
    if fault:
        wrote = trial.written(trial.text) if trial.text else trial.wrote
        Unfit(fault, trial.more).tell(slot.task, wrote)
        return
    slot.example = Example(trial.task, answer, trial.written(output), attempt + 1, evidence)
