"""Check which adapters best-of trains, which it keeps, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from ttsi import (
    Adapter,
    Completion,
    EngineError,
    Example,
    LoraRecipe,
    Task,
    Tool,
    ToolCall,
    Training,
    TrainJob,
    answer_with,
)

from ttsi_several.best_of import BestOf

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("get_weather", "Weather", CITY),)


def task(number: int) -> Task:
    return Task(f"rows/{number}", TOOLS, "Call a tool.", f"Weather in City{number}?")


def examples(of: Task, count: int) -> list[Example]:
    return [
        Example(
            of.variant(str(k), input=f"Weather in Town{k}?"),
            answer_with([ToolCall("get_weather", {"city": f"Town{k}"})]),
            "",
            1,
        )
        for k in range(count)
    ]


class Trainer:
    """An engine that only trains; `loss` gives the loss at a job's last step."""

    capabilities = frozenset({"train", "adapters"})

    def __init__(self, loss: Callable[[TrainJob], float]) -> None:
        self.loss = loss
        self.calls: list[list[TrainJob]] = []

    def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
        self.calls.append(list(jobs))
        return [self._adapter(job) for job in jobs]

    def _adapter(self, job: TrainJob) -> Adapter:
        steps = len(job.pairs) * job.recipe.epochs
        # Only the last step counts: the other losses are larger for better recipes.
        losses = (*[9.0 - self.loss(job)] * (steps - 1), self.loss(job))
        return Adapter(repr(job).encode(), {"id": job.id}, Training(losses, losses, 0.1, 10))


def learn(engine: Any, count: int = 3, tasks: int = 1, seed: int = 0, **options: Any) -> list[Any]:
    wave = [task(number) for number in range(tasks)]
    some = [examples(one, count) for one in wave]
    return BestOf(**options).learn(wave, some, [None] * tasks, engine, seed)


def test_a_job_ends_with_the_held_out_example_after_each_epoch_of_the_others() -> None:
    engine = Trainer(lambda job: 1.0)
    learn(engine, count=3, learning_rates=[1e-4], epochs=[2])
    ((job,),) = engine.calls
    asked = [prompt.messages[-1].content for prompt, _ in job.pairs]
    assert asked == [f"Weather in Town{k}?" for k in (0, 1, 0, 1, 2)]
    assert job.recipe.epochs == 1
    assert job.pairs[-1][1] == (
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Town2"}}\n</tool_call>'
    )


def test_every_combination_is_tried_in_one_call_for_the_whole_wave() -> None:
    engine = Trainer(lambda job: 1.0)
    options = {"ranks": [2, 8], "learning_rates": [1e-4, 3e-4], "epochs": [1, 3], "restarts": 2}
    learn(engine, tasks=3, **options)
    (jobs,) = engine.calls
    assert len(jobs) == 3 * 16
    assert len({job.id for job in jobs}) == len(jobs)
    first = jobs[:16]
    tried = {(j.recipe.rank, j.recipe.learning_rate, len(j.pairs), j.seed) for j in first}
    assert len(tried) == 16
    assert len({job.seed for job in first}) == 2
    assert {job.recipe.alpha / job.recipe.rank for job in jobs} == {2.0}


def test_the_least_loss_of_the_last_step_decides_for_each_task_by_itself() -> None:
    wanted = {"rows/0": 8, "rows/1": 2, "rows/2": 4}

    def loss(job: TrainJob) -> float:
        return 1.0 + abs(job.recipe.rank - wanted[job.id.partition("/trial")[0]])

    engine = Trainer(loss)
    kept = learn(engine, tasks=3, ranks=[2, 4, 8], learning_rates=[1e-4])
    (jobs,) = engine.calls
    ranks = {job.id: job.recipe.rank for job in jobs}
    assert [ranks[adapter.config["id"]] for adapter in kept] == [8, 2, 4]


def test_of_equals_the_first_is_kept_and_what_is_no_number_never_is() -> None:
    (kept,) = learn(Trainer(lambda job: 1.0), ranks=[4, 8], learning_rates=[1e-4])
    assert kept.config["id"] == "rows/0/trial-0"
    astray = Trainer(lambda job: math.nan if job.recipe.rank == 4 else 5.0)
    (kept,) = learn(astray, ranks=[4, 8], learning_rates=[1e-4])
    assert kept.config["id"] == "rows/0/trial-1"


def test_no_loss_at_all_costs_the_sample_and_says_why() -> None:
    with pytest.raises(EngineError, match="rows/0") as caught:
        learn(Trainer(lambda job: math.inf))
    assert "learning_rates" in caught.value.cure

    class Silent(Trainer):
        def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
            return [replace(adapter, training=None) for adapter in super().train(jobs)]

    with pytest.raises(EngineError, match="held-out loss"):
        learn(Silent(lambda job: 1.0))


def test_one_example_is_learnt_by_the_first_recipe_without_a_trial() -> None:
    engine = Trainer(lambda job: 1.0)
    learn(engine, count=1, ranks=[4, 8], learning_rates=[3e-4, 1e-4], epochs=[2, 3])
    ((job,),) = engine.calls
    assert job.id == "rows/0"
    assert len(job.pairs) == 1
    assert job.recipe == LoraRecipe(rank=4, alpha=8, epochs=2, learning_rate=3e-4)


def test_an_engine_without_losses_will_do_for_one_example() -> None:
    class Silent(Trainer):
        def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
            return [replace(adapter, training=None) for adapter in super().train(jobs)]

    (kept,) = learn(Silent(lambda job: 1.0), count=1)
    assert kept.config["id"] == "rows/0"


def test_as_answered_writes_in_the_models_own_wrapper() -> None:
    answer = '```json\n[{"name": "get_weather", "arguments": {"city": "X"}}]\n```'
    base = Completion(answer, answer_with([ToolCall("get_weather", {"city": "X"})]))
    engine = Trainer(lambda job: 1.0)
    learner = BestOf(target="as_answered")
    assert learner.needs_base
    assert not BestOf().needs_base
    learner.learn([task(0)], [examples(task(0), 1)], [base], engine, 0)
    ((job,),) = engine.calls
    assert job.pairs[0][1] == (
        '```json\n[{"name": "get_weather", "arguments": {"city": "Town0"}}]\n```'
    )
