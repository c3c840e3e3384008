"""The work of the one thread that has the model: a wave of tasks at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from ttsi._common.console import note
from ttsi.answers.completions import read_completion
from ttsi.digests import draw_seed
from ttsi.errors import RunError, TtsiError, Unanswerable, ends_the_run
from ttsi.serving.refusals import Refusal
from ttsi.serving.tickets import ASKED, SAID, Group, Outcome, outcome_of, says_nothing
from ttsi.solving import assemble
from ttsi.solving.pipeline import Pipeline
from ttsi.solving.solution import Known, Solution
from ttsi.solving.waiting import LATE
from ttsi.spec import Spec
from ttsi.types import (
    JSON,
    Asked,
    Completion,
    Estimate,
    Prompt,
    Request,
    Sampling,
    StageCost,
    Task,
)

_CERTAIN = Known(Estimate(1.0, False), None, {})
"""Of a task that is answered by the base model, whatever H would say."""

_LENGTH = 256


class Solving:
    """Solves groups on a loaded pipeline, and delivers outcomes as soon as there are any.

    `deliver` is called with each group's outcome or refusal, `told` with the base model's answer to
    a group that is going to be adapted to, `writing` with the text so far of a group that listens;
    all in the thread that calls `wave`.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        deliver: Callable[[Group, Outcome | Refusal], None],
        told: Callable[[Group, Solution], None],
        writing: Callable[[Group, str], None],
    ) -> None:
        self._spec, self._deliver, self._told, self._writing = spec, deliver, told, writing
        self._pipeline: Pipeline | None = None
        self._groups: dict[str, Group] = {}
        # Why tasks of a form cannot be adapted to, once that has shown.
        self._unfit: dict[str, str] = {}

    def load(self) -> dict[str, JSON]:
        """Load the model and return the engine's identity. Raises as `assemble.pipeline` does."""
        engines = assemble.Engines(keep=False)
        seed = self._spec.seeds[0]
        self._pipeline = assemble.pipeline(self._spec, engines, seed=seed, waiting=self)
        return self._pipeline.identity()

    def close(self) -> None:
        """Free the model. Raises RunError if its weights have changed."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            try:
                pipeline.close()
            finally:
                pipeline.abandon()

    def wave(self, groups: Sequence[Group]) -> None:
        """Solve tasks that arrived together. Raises what no later wave would be spared either."""
        plain = [group for group in groups if group.plain]
        tasks = [group for group in groups if not group.plain]
        self._groups = {group.task.id: group for group in groups}
        if plain:
            self._write(plain)
        if tasks:
            self._solve(tasks)

    # ------------------------------------------------------------ ttsi.solving.waiting.Waiting

    def left(self, id: str) -> bool:
        group = self._groups.get(id.removesuffix(SAID))
        return group is not None and group.left

    def late(self, id: str) -> bool:
        group = self._groups.get(id)
        return group is not None and group.late

    def answered(self, solution: Solution) -> None:
        self._told(self._groups[solution.task.id], solution)

    def listener(self, id: str) -> Callable[[str], None] | None:
        """Return what is told the text of a task that is its answer, whatever it will be."""
        group = self._groups.get(id.removesuffix(SAID))
        if group is None or not group.listened:
            return None
        is_text = id.endswith(SAID) or group.task.form == "text"
        # Others draw several texts for a task.
        alone = group.plain or self._spec.inference.name == "direct"
        return partial(self._writing, group) if is_text and alone else None

    # ------------------------------------------------------------ tasks

    def _solve(self, groups: Sequence[Group]) -> None:
        """Solve a wave; if a plugin refuses it, each task alone, and at last without adapting."""
        waiting = {group.task.id: group for group in groups}
        reasons = {id: why for id, group in waiting.items() if (why := self._why_not(group))}
        silent: list[tuple[Group, Solution]] = []
        try:
            for solution in self._loaded.solve(
                [group.task for group in groups], dict.fromkeys(reasons, _CERTAIN)
            ):
                group = waiting.pop(solution.task.id)
                if solution.answer and says_nothing(solution.answer, group.spoken):
                    silent.append((group, solution))
                else:
                    self._settle(group, solution, solution.answer, reasons)
        except TtsiError as error:
            if not ends_the_run(error) or isinstance(error, RunError):
                raise
            self._again(list(waiting.values()), error)
        self._speak(silent, reasons)

    def _again(self, groups: Sequence[Group], error: TtsiError) -> None:
        if len(groups) > 1:
            for group in groups:
                self._solve([group])
            return
        for group in groups:
            if self._why_not(group):
                self._deliver(group, _failure(f"answer: {type(error).__name__}: {error}"))
                return
            form = group.task.form
            self._unfit[form] = f"not adapted: {error.what}"
            note(f"Requests for answers of the form {form} are answered by the base model: {error}")
            self._solve([group])

    def _why_not(self, group: Group) -> str:
        """Return why a task is not adapted to, or ""."""
        if not group.adapts:
            return ASKED
        return self._unfit.get(group.task.form, LATE if group.late else "")

    def _speak(self, silent: Sequence[tuple[Group, Solution]], reasons: Mapping[str, str]) -> None:
        """Ask for the words of answers that call no tool."""
        tasks = {group.spoken.id: (group, own) for group, own in silent if group.spoken}
        known = dict.fromkeys(tasks, _CERTAIN)
        spoken = [group.spoken for group, _ in tasks.values() if group.spoken]
        for said in self._loaded.solve(spoken, known) if spoken else ():
            group, own = tasks[said.task.id]
            costs = dict(own.costs)
            for stage, cost in said.costs.items():
                costs[stage] = costs.get(stage, StageCost()) + cost
            whole = replace(own, costs=costs, error=said.error)
            self._settle(group, whole, said.answer, reasons, said.task)

    def _settle(
        self,
        group: Group,
        solution: Solution,
        answer: Completion | None,
        reasons: Mapping[str, str],
        task: Task | None = None,
    ) -> None:
        if answer is None:
            self._deliver(group, _failure(solution.error))
            return
        made = outcome_of(solution, answer, reasons.get(group.task.id, ""))
        self._deliver(group, made if task is None else replace(made, task=task))

    # ------------------------------------------------------------ plain texts

    def _write(self, groups: Sequence[Group]) -> None:
        """Write the texts of groups; where that fails, each alone."""
        try:
            made = self._loaded.write([self._request(group.task) for group in groups])
        except Exception as error:
            if isinstance(error, TtsiError) and ends_the_run(error):
                raise
            if len(groups) == 1:
                self._deliver(groups[0], _failure(f"answer: {type(error).__name__}: {error}"))
                return
            for group in groups:
                self._write([group])
            return
        for group, generation in zip(groups, made, strict=True):
            completion = read_completion(group.task, generation)
            self._deliver(group, Outcome(group.task, completion, ASKED))

    def _request(self, task: Task) -> Request:
        asked = task.asked or Asked()
        sampling = Sampling(
            temperature=1.0 if asked.temperature is None else asked.temperature,
            top_p=1.0 if asked.top_p is None else asked.top_p,
            top_k=0,
            repetition_penalty=1.0,
            max_tokens=asked.max_tokens or _LENGTH,
        )
        seed = draw_seed(self._spec.seeds[0], task.id, "text")
        prompt = Prompt((), task.input)
        return Request(prompt, sampling, seed, stop=asked.stop, owner=task.id)

    @property
    def _loaded(self) -> Pipeline:
        assert self._pipeline is not None, "load() comes first"
        return self._pipeline


def _failure(error: str) -> Refusal:
    """Return the refusal for a solution's error, "stage: Type: text"."""
    _, _, told = error.partition(": ")
    kind, _, text = told.partition(": ")
    if kind == Unanswerable.__name__:
        return Refusal(400, text, code="unanswerable")
    return Refusal(500, f"The model could not answer: {text or error}")
