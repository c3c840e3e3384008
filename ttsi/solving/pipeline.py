"""Algorithm 1 over waves of tasks. The only file that knows the order of stages.

    estimate -> answer unadapted -> generate for the uncertain -> learn -> answer adapted

It sees no reference and no score. A run with a budget solves all tasks twice: first without
adapting, then with those results as `known`. A step of an episode may come with the adaptation that
an earlier step made. Apart from that no state passes from task to task, so that waves affect only
speed.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Generator as TypingGenerator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from ttsi.errors import EngineError, OutOfMemory, RunError, ends_the_run, release
from ttsi.optional import Gates, LearnsFromRows, Leaves, Rivals, TellsTexts, chosen
from ttsi.protocols import Engine, Estimator, Generator, Inference, Learner, Watcher
from ttsi.solving.costs import STAGES, add_costs
from ttsi.solving.metering import MeteredEngine, charging
from ttsi.solving.receipts import receipt_of
from ttsi.solving.rejecting import rejecting
from ttsi.solving.solution import Known, Solution, State
from ttsi.solving.stage_results import (
    parallel,
    sound_adaptation,
    sound_answer,
    sound_estimate,
    sound_verdict,
)
from ttsi.solving.waiting import LATE, LEFT, Waiting, parted
from ttsi.types import JSON, Generation, Request, StageCost, Task


@dataclass(frozen=True)
class Stages:
    """The assembled plugins of Algorithm 1."""

    estimator: Estimator
    generator: Generator
    learner: Learner
    inference: Inference


class Pipeline:
    """Algorithm 1 on one engine, with one seed.

    With `adapt` False every task is only estimated and answered by the base model. `engine` is
    loaded. At the end `release` is called with the engine and whether it is sound. `waiting` are
    those who wait for the solutions, and may leave.
    """

    def __init__(
        self,
        stages: Stages,
        engine: Engine,
        *,
        seed: int,
        baseline: bool = True,
        watcher: Watcher | None = None,
        adapt: bool = True,
        release: Callable[[Engine, bool], None] | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self._stages = stages
        self._engine = MeteredEngine(engine)
        self._release = partial(release or _close, engine)
        self._released = False
        self._seed = seed
        self._baseline = baseline
        self._watcher = watcher
        self._adapt = adapt
        self._waiting = waiting
        if waiting is not None and isinstance(engine, Leaves):
            engine.left = self._left
        if waiting is not None and isinstance(engine, TellsTexts):
            engine.listener = waiting.listener
        # The largest wave that fits into the engine's memory, as far as known.
        self._fitting = sys.maxsize
        self._known: Mapping[str, Known] = {}
        self._stage = ""
        # Costs by stage and task, until the task's solution; failed stages have costs, too.
        self._spent: dict[str, dict[str, StageCost]] = {stage: {} for stage in STAGES}
        self._identity = engine.identity()
        self._digest = self._identity["weights_digest"]

    def identity(self) -> dict[str, JSON]:
        return dict(self._identity)

    def solve(
        self, tasks: Sequence[Task], known: Mapping[str, Known] | None = None
    ) -> Iterator[Solution]:
        """Yield each task's solution as soon as it is known.

        `known` holds, by task id, results that are not computed again, or the adaptation under
        which a task is answered.

        A failing wave is halved until the failure belongs to one task. An engine that runs out of
        memory gets smaller waves in the same way, and the size that fits also bounds later waves.
        If not even a single task fits, the bound is not kept, since the other tasks may need less
        memory.
        """
        self._known, before = known or {}, self._fitting
        waiting = deque([tasks])
        while waiting:
            wave = waiting.popleft()
            if len(wave) > self._fitting:
                waiting.appendleft(wave[self._fitting :])
                wave = wave[: self._fitting]
            error, left = yield from self._try(wave)
            if error is None or not left:
                continue
            full = isinstance(error, OutOfMemory)
            if len(wave) == 1:
                if full:
                    self._fitting = before
                yield self._failed(wave[0], error)
                continue
            if full:
                self._fitting = min(self._fitting, (len(wave) + 1) // 2)
            middle = max(1, len(left) // 2)
            waiting.extendleft(part for part in (left[middle:], left[:middle]) if part)

    def _try(
        self, wave: Sequence[Task]
    ) -> TypingGenerator[Solution, None, tuple[Exception | None, Sequence[Task]]]:
        """Yield the solutions of `wave`; return the error, and the tasks without a solution.

        The error's tracebacks are released, so that the memory of the failed call is free for
        another try.
        """
        finished: set[str] = set()
        try:
            known = self._known
            for solution in self._wave([State.of(each, known.get(each.id)) for each in wave]):
                finished.add(solution.task.id)
                yield solution
        except Exception as error:
            if ends_the_run(error):
                raise
            release(error)
            failure = error
        else:
            return None, ()
        return failure, [task for task in wave if task.id not in finished]

    def write(self, requests: Sequence[Request]) -> list[Generation]:
        """Return texts of the base model, apart from the method."""
        return self._engine.generate(requests)

    def close(self) -> dict[str, JSON]:
        """Check that the base weights are unchanged, and release the engine.

        Returns what the engine reports about itself. Raises RunError if the weights changed.
        """
        after = self._engine.digest()
        facts = {
            **self._engine.describe(),
            "weights_digest": self._digest,
            "weights_digest_after": after,
        }
        if after != self._digest:
            self.abandon()
            raise RunError(
                "The base weights changed during the run: an adaptation was not thrown away.",
                where=f"digest before {self._digest}, after {after}",
                cure="Results of this run are not to be used. Report it to the engine's author.",
            )
        self._released = True
        self._release(True)
        return facts

    def abandon(self) -> None:
        """Free the model, in whatever state it is."""
        if not self._released:
            self._released = True
            # An error here must not hide the original one.
            with suppress(Exception):
                self._release(False)

    # ------------------------------------------------------------ the stages, in order

    def _wave(self, states: list[State]) -> Iterator[Solution]:
        given = [state for state in states if state.given]
        self._answer_adapted(given)
        for state in given:
            yield self._solution(state)
        yield from self._adapting([state for state in states if not state.given])

    def _adapting(self, states: list[State]) -> Iterator[Solution]:
        self._estimate([state for state in states if state.estimate is None])
        states = yield from self._staying(states)
        learner = self._stages.learner
        gates = isinstance(self._stages.inference, Gates)
        wants_base = self._baseline or learner.needs_base or gates or not self._adapt
        wanting = [state for state in states if wants_base or not state.uncertain]
        self._answer([state for state in wanting if state.base is None])
        uncertain = [state for state in states if state.uncertain and self._adapt]
        for state in states:
            if state not in uncertain:
                yield self._solution(state)

        uncertain = yield from self._staying(uncertain, answered=True)
        needs_examples = chosen(learner, LearnsFromRows, "needs_examples")
        if needs_examples:
            self._generate(uncertain)
            uncertain = yield from self._staying(uncertain, answered=True)
        taught = [state for state in uncertain if state.examples or not needs_examples]
        untaught = [state for state in uncertain if state not in taught]
        self._answer([state for state in untaught if state.base is None])
        for state in untaught:
            yield self._solution(state)

        self._learn(taught)
        taught = yield from self._staying(taught, answered=True)
        self._answer_adapted(taught)
        taught = yield from self._staying(taught, answered=True)
        for state in taught:
            yield self._solution(state)

    def _staying(
        self, states: list[State], *, answered: bool = False
    ) -> TypingGenerator[Solution, None, list[State]]:
        """Yield solutions to tasks that are left or, once `answered`, late; return the others."""
        waiting = self._waiting
        if waiting is None:
            return states
        left, late, staying = parted(waiting, states, self._so_far, answered=answered)
        self._answer([state for state in late if state.base is None])
        for state in left:
            yield Solution(state.task, error=LEFT, costs=self._settled(state.task))
        for state in late:
            state.adaptation = state.adapted = state.verdict = None
            yield replace(self._solution(state), note=LATE)
        return staying

    def _left(self, owner: str) -> bool:
        """Return whether nobody wants a text for a task, or for an example of it, any more."""
        assert self._waiting is not None
        id = owner.partition("#")[0]
        adapting = self._stage in ("generate", "learn", "adapted")
        return self._waiting.left(id) or (adapting and self._waiting.late(id))

    def _estimate(self, states: list[State]) -> None:
        if not states:
            return
        tasks = [state.task for state in states]
        with self._stage_of("estimate", states):
            estimates = self._stages.estimator.estimate(tasks, self._engine, self._seed)
            for state, estimate in parallel(states, estimates, "estimator"):
                state.estimate = sound_estimate(estimate)

    def _answer(self, states: list[State]) -> None:
        if not states:
            return
        tasks = [state.task for state in states]
        with self._stage_of("answer", states):
            nothing = [None] * len(tasks)
            answers = self._stages.inference.answer(tasks, nothing, self._engine, self._seed)
            for state, answer in parallel(states, answers, "inference"):
                state.base = sound_answer(answer)

    def _generate(self, states: list[State]) -> None:
        if not states:
            return
        tasks = [state.task for state in states]
        with self._stage_of("generate", states), rejecting() as rejected:
            examples = self._stages.generator.generate(tasks, self._engine, self._seed)
            for state, some in parallel(states, examples, "generator"):
                state.examples, state.rejected = some, rejected.of(state.task.id)

    def _learn(self, states: list[State]) -> None:
        if not states:
            return
        with self._stage_of("learn", states):
            adaptations = self._stages.learner.learn(
                [state.task for state in states],
                [state.examples for state in states],
                [state.base for state in states],
                self._engine,
                self._seed,
            )
            for state, adaptation in parallel(states, adaptations, "learner"):
                state.adaptation = sound_adaptation(adaptation)

    def _answer_adapted(self, states: list[State]) -> None:
        if not states:
            return
        tasks = [state.task for state in states]
        with self._stage_of("adapted", states):
            answers = self._stages.inference.answer(
                tasks, [state.adaptation for state in states], self._engine, self._seed
            )
            for state, answer in parallel(states, answers, "inference"):
                state.adapted = sound_answer(answer)
            self._gate(states)

    def _gate(self, states: list[State]) -> None:
        inference = self._stages.inference
        # Under a given adaptation there is no base answer: the gate chose when it was made.
        states = [state for state in states if not state.given]
        if not states or not isinstance(inference, Gates):
            return
        rivals = [
            Rivals(state.task, state.base, state.adapted, state.adaptation)
            for state in states
            if state.base and state.adapted and state.adaptation
        ]
        verdicts = inference.judge(rivals, self._engine, self._seed)
        for state, verdict in parallel(states, verdicts, "gate"):
            state.verdict = sound_verdict(verdict)

    @contextmanager
    def _stage_of(self, stage: str, states: list[State]) -> Iterator[None]:
        """Time a stage, count its tokens, and report its progress to the watcher.

        A failed stage has costs, too: its tasks' shares are kept until their solutions are made.
        """
        self._stage = stage
        told = 0.0

        def reach(count: float) -> None:
            nonlocal told
            if self._watcher is not None and count > told:
                self._watcher.advance(stage, count - told)
                told = count

        def tell(done: int, total: int) -> None:
            # A stage may call its engine again, so that only its end reports 100 %.
            reach(len(states) * min(done / max(total, 1), 0.99))

        if self._watcher is not None:
            self._watcher.plan(stage, len(states))
        self._engine.begin(tell)
        started, spent = time.perf_counter(), self._spent[stage]
        try:
            with charging(spent):
                yield
        finally:
            share = self._engine.spent.share(time.perf_counter() - started, len(states))
            for state in states:
                spent[state.task.id] = spent.get(state.task.id, StageCost()) + share
        reach(len(states))

    # ------------------------------------------------------------ solutions

    def _solution(self, state: State) -> Solution:
        if state.adapted is None and state.base is None:
            raise EngineError(f"No answer was made for {state.task.id}")
        note = ""
        if state.uncertain and self._adapt and state.adapted is None:
            note = "uncertain, but no valid example was generated: answered by the base model"
        if state.refused:
            note = "the base model's answer was kept instead of the adapted one"
        made = None if state.given else state.adaptation
        return Solution(
            state.task,
            estimate=state.estimate,
            base=state.base,
            examples=tuple(state.examples),
            rejected=state.rejected,
            receipt=receipt_of(made, state.examples, state.adapted, state.verdict),
            adapted=None if state.refused else state.adapted,
            adaptation=None if state.refused else state.adaptation,
            note=note,
            costs=self._settled(state.task),
        )

    def _so_far(self, task: Task) -> dict[str, StageCost]:
        """Return all costs of a task up to now."""
        known = self._known.get(task.id)
        spent = {stage: by_task.get(task.id) for stage, by_task in self._spent.items()}
        return add_costs(known.costs if known else {}, {k: v for k, v in spent.items() if v})

    def _settled(self, task: Task) -> dict[str, StageCost]:
        """Return all costs of a task whose solution is made now, failed attempts included."""
        found = self._so_far(task)
        for by_task in self._spent.values():
            by_task.pop(task.id, None)
        return found

    def _failed(self, task: Task, error: Exception) -> Solution:
        text = f"{self._stage}: {type(error).__name__}: {error}"
        return Solution(task, error=text, costs=self._settled(task))


def _close(engine: Engine, sound: bool) -> None:
    engine.close()
