"""Algorithm 1 from Python: `ttsi.Solver` on tasks without references."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import ttsi
import ttsi_fakes
from ttsi.answers.calls.values import calls_in
from ttsi.errors import DeviceLost, MissingAsset, RunError, SpecError, UsageError
from ttsi.spec import NO_BENCHMARK, resolved
from ttsi.types import Request, Task
from ttsi_fakes import TOOLS, ScriptedEngine

SPEC: dict[str, Any] = {
    "name": "alone",
    "model": {"id": "scripted"},
    "engine": "ttsi-fakes/scripted",
    "benchmark": "ttsi-fakes/rows",
    "estimator": "always",
    "inference": {"name": "direct", "decoding": "greedy"},
    "seeds": [3],
}


def task(number: int) -> Task:
    return Task(
        id=f"mine/{number}",
        tools=TOOLS,
        instruction="Call a tool.",
        input=f"What is the weather in City{number}?",
    )


TASKS = [task(number) for number in range(7)]


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[ScriptedEngine]:
    """Return every engine that is loaded, in order."""
    made: list[ScriptedEngine] = []
    load = ScriptedEngine.load

    def loads(engine: ScriptedEngine) -> None:
        made.append(engine)
        load(engine)

    monkeypatch.setattr(ScriptedEngine, "load", loads)
    return made


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the number of texts of each call of `generate`."""
    seen: list[int] = []
    generate = ScriptedEngine.generate

    def generates(engine: ScriptedEngine, requests: Sequence[Request]) -> Any:
        seen.append(len(requests))
        return generate(engine, requests)

    monkeypatch.setattr(ScriptedEngine, "generate", generates)
    return seen


def failing(monkeypatch: pytest.MonkeyPatch, text: str, error: BaseException) -> None:
    """Make every request that contains `text` raise `error`."""
    generate = ScriptedEngine.generate

    def generates(engine: ScriptedEngine, requests: Sequence[Request]) -> Any:
        if any(text in request.prompt.messages[-1].content for request in requests):
            raise error
        return generate(engine, requests)

    monkeypatch.setattr(ScriptedEngine, "generate", generates)


def names(solution: ttsi.Solution) -> list[str]:
    assert solution.answer is not None
    return [call.name for call in calls_in(solution.answer.answer)]


# ---------------------------------------------------------------- solving


def test_tasks_without_references_are_adapted_to_and_answered() -> None:
    with ttsi.Solver(SPEC) as solver:
        solutions = list(solver.solve(TASKS))
    assert [each.task for each in solutions] == TASKS
    for number, each in enumerate(solutions):
        assert each.error == ""
        assert each.answer is each.adapted is not None
        # The fake model is right about odd cities only where it was adapted.
        assert names(each) == ["get_weather"]
        assert each.base is not None
        assert [call.name for call in calls_in(each.base.answer)] == [
            "get_time" if number % 2 else "get_weather"
        ]
        assert each.receipt is not None
        assert each.receipt["examples"] == [example.digest for example in each.examples]
        assert {"estimate", "answer", "generate", "learn", "adapted"} == each.costs.keys()


def test_a_certain_task_is_answered_by_the_base_model() -> None:
    with ttsi.Solver(SPEC | {"estimator": "never"}) as solver:
        (solution,) = solver.solve([task(1)])
    assert solution.adapted is None
    assert solution.receipt is None
    assert solution.answer is solution.base
    assert names(solution) == ["get_time"]


@pytest.mark.parametrize(("wave", "expected"), [(1, [1] * 7), (3, [3, 3, 1]), (16, [7])])
def test_tasks_pass_the_stages_in_waves(wave: int, expected: list[int], sizes: list[int]) -> None:
    with ttsi.Solver(SPEC | {"estimator": "never"}, wave=wave) as solver:
        solutions = list(solver.solve(TASKS))
    assert [each.task for each in solutions] == TASKS
    assert sizes == expected


def test_waves_change_no_solution() -> None:
    def told(wave: int) -> list[Any]:
        with ttsi.Solver(SPEC, wave=wave) as solver:
            return [
                (each.task, each.estimate, each.base, each.examples, each.receipt, each.adapted)
                for each in solver.solve(TASKS)
            ]

    assert told(1) == told(4) == told(16)


def test_tasks_are_taken_a_wave_at_a_time() -> None:
    """A caller may make tasks while solutions arrive."""
    taken: list[str] = []

    def stream() -> Iterator[Task]:
        for each in TASKS:
            taken.append(each.id)
            yield each

    with ttsi.Solver(SPEC, wave=2) as solver:
        found = solver.solve(stream())
        assert taken == []
        next(found)
        assert taken == ["mine/0", "mine/1"]
        next(found)
        next(found)
        assert taken == ["mine/0", "mine/1", "mine/2", "mine/3"]


def test_solutions_do_not_depend_on_what_was_solved_before() -> None:
    with ttsi.Solver(SPEC) as solver:
        list(solver.solve(TASKS[:5]))
        (after,) = solver.solve([TASKS[5]])
    with ttsi.Solver(SPEC) as solver:
        (alone,) = solver.solve([TASKS[5]])
    assert (after.examples, after.receipt, after.answer) == (
        alone.examples,
        alone.receipt,
        alone.answer,
    )


def test_the_seed_is_the_specs_first_or_the_given_one() -> None:
    def written(spec: dict[str, Any], **options: Any) -> str:
        with ttsi.Solver(spec, **options) as solver:
            (solution,) = solver.solve([task(1)])
        return solution.examples[0].task.input

    assert written(SPEC) == written(SPEC | {"seeds": [3, 4]}) == written(SPEC, seed=3)
    assert written(SPEC, seed=4) == written(SPEC | {"seeds": [4]}) != written(SPEC)


def test_a_solver_finds_what_a_run_finds(tmp_path: Path) -> None:
    """The solver gets a benchmark's tasks without their references."""
    from ttsi.records.journal import read

    (cell,) = ttsi.evaluate(SPEC, out=tmp_path)
    records = {each.id: each for each in read(cell.folder / "seed-3" / "samples.jsonl")}
    tasks = [ttsi_fakes.make_sample(number).task for number in range(6)]
    with ttsi.Solver(SPEC) as solver:
        solutions = list(solver.solve(tasks))
    assert records.keys() == {each.task.id for each in solutions}
    for each in solutions:
        record = records[each.task.id]
        assert (each.base, each.answer) == (record.base, record.final)
        assert [example.digest for example in each.examples] == [
            example.digest for example in record.examples
        ]


# ---------------------------------------------------------------- what fails


def test_a_task_that_fails_has_an_error_and_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "City3?", ValueError("cannot"))
    with ttsi.Solver(SPEC) as solver:
        solutions = {each.task.id: each for each in solver.solve(TASKS)}
    assert {each.id for each in TASKS} == solutions.keys()
    broken = solutions.pop("mine/3")
    assert broken.error == "answer: ValueError: cannot"
    assert broken.answer is None
    assert set(broken.costs) == {"estimate", "answer"}
    assert all(names(each) == ["get_weather"] for each in solutions.values())


def test_two_tasks_of_one_id_are_refused_with_a_cure(engines: list[ScriptedEngine]) -> None:
    with ttsi.Solver(SPEC) as solver:
        with pytest.raises(UsageError, match="'mine/1'") as caught:
            list(solver.solve([task(1), task(2), task(1)]))
        assert caught.value.cure
        assert engines == []
        # In waves of their own they are two tasks.
        assert len(list(solver.solve([task(1)])) + list(solver.solve([task(1)]))) == 2


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"matrix": {"/estimator": ["always", "never"]}}, "matrix of 2 cells"),
        ({"budget": 0.5, "estimator": "rss_margin"}, "budget"),
    ],
)
def test_a_spec_that_is_no_single_method_is_refused_with_a_cure(
    changed: dict[str, Any], said: str, engines: list[ScriptedEngine]
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        ttsi.Solver(SPEC | changed)
    assert "Take" in caught.value.cure
    assert engines == []


def test_each_cell_of_a_matrix_is_a_spec_for_a_solver() -> None:
    found = []
    for spec in ttsi.load_spec(SPEC | {"matrix": {"/estimator": ["always", "never"]}}):
        with ttsi.Solver(spec) as solver:
            (solution,) = solver.solve([task(1)])
        found.append(solution.adapted is not None)
    assert found == [True, False]


def test_a_bad_spec_and_a_wave_of_none_are_refused() -> None:
    with pytest.raises(SpecError, match="estimator"):
        ttsi.Solver(SPEC | {"estimator": "sometimes"})
    with pytest.raises(UsageError, match="at least 1 task, not 0") as caught:
        ttsi.Solver(SPEC, wave=0)
    assert caught.value.cure


# ---------------------------------------------------------------- the model


def test_the_model_is_loaded_at_the_first_solve_and_once(engines: list[ScriptedEngine]) -> None:
    solver = ttsi.Solver(SPEC)
    assert engines == []
    later = solver.solve(TASKS[:1])
    assert engines == []
    next(later)
    list(solver.solve(TASKS[1:]))
    assert solver.identity()["weights_digest"] == engines[0].digest()
    assert len(engines) == 1
    solver.close()
    assert engines[0].closed


def test_a_solver_that_was_not_used_loads_nothing(engines: list[ScriptedEngine]) -> None:
    with ttsi.Solver(SPEC):
        pass
    assert ttsi.Solver(SPEC).close() == {}
    assert engines == []


def test_closing_proves_the_reset_and_frees_the_model(engines: list[ScriptedEngine]) -> None:
    solver = ttsi.Solver(SPEC)
    list(solver.solve(TASKS))
    facts = solver.close()
    assert facts["weights_digest"] == facts["weights_digest_after"] == engines[0].digest()
    assert facts["model"] == "scripted"
    assert engines[0].closed
    assert solver.close() == {}
    # It may be used again, on a model that is loaded again.
    assert len(list(solver.solve(TASKS[:1]))) == 1
    assert len(engines) == 2
    solver.close()
    assert engines[1].closed


def test_an_engine_that_keeps_an_adaptation_is_found_out(
    monkeypatch: pytest.MonkeyPatch, engines: list[ScriptedEngine]
) -> None:
    train = ScriptedEngine.train

    def keeps(engine: ScriptedEngine, jobs: Any) -> Any:
        engine.weights += b"!"
        return train(engine, jobs)

    monkeypatch.setattr(ScriptedEngine, "train", keeps)
    with pytest.raises(RunError, match="not thrown away"), ttsi.Solver(SPEC) as solver:
        assert len(list(solver.solve(TASKS))) == 7
    assert engines[0].closed


def test_an_exception_of_the_caller_frees_the_model_and_is_told(
    engines: list[ScriptedEngine],
) -> None:
    def fails_at_the_first() -> None:
        with ttsi.Solver(SPEC) as solver:
            for solution in solver.solve(TASKS):
                # The weights are not checked, so that the caller's error is the one reported.
                engines[0].weights += b"!"
                raise KeyError(solution.task.id)

    with pytest.raises(KeyError, match="mine/0"):
        fails_at_the_first()
    assert engines[0].closed


def test_a_lost_device_ends_all_and_frees_the_model(
    monkeypatch: pytest.MonkeyPatch, engines: list[ScriptedEngine]
) -> None:
    failing(monkeypatch, "City3?", DeviceLost("The device is gone."))
    with pytest.raises(DeviceLost), ttsi.Solver(SPEC, wave=1) as solver:
        list(solver.solve(TASKS))
    assert engines[0].closed


def test_a_proof_that_cannot_be_made_frees_the_model_too(
    monkeypatch: pytest.MonkeyPatch, engines: list[ScriptedEngine]
) -> None:
    solver = ttsi.Solver(SPEC)
    list(solver.solve(TASKS[:1]))

    def gone(engine: ScriptedEngine) -> str:
        raise DeviceLost("The device is gone.")

    monkeypatch.setattr(ScriptedEngine, "digest", gone)
    with pytest.raises(DeviceLost):
        solver.close()
    assert engines[0].closed


def test_a_model_that_cannot_be_loaded_is_told_and_closed(engines: list[ScriptedEngine]) -> None:
    spec = SPEC | {"engine": {"name": "ttsi-fakes/scripted", "at_load": "missing"}}
    with pytest.raises(MissingAsset) as caught, ttsi.Solver(spec) as solver:
        list(solver.solve(TASKS))
    assert caught.value.cure
    assert engines[0].closed


def test_a_spec_needs_no_benchmark_and_takes_no_rows_of_another(tmp_path: Path) -> None:
    path = tmp_path / "alone.json"
    path.write_text(json.dumps({k: v for k, v in SPEC.items() if k != "benchmark"}))
    with ttsi.Solver(path) as solver:
        (solution,) = solver.solve(TASKS[:1])
    assert solution.adapted is not None
    with ttsi.Solver(SPEC) as solver:
        assert [each.adapted for each in solver.solve(TASKS[:1])] == [solution.adapted]
    # The built-in benchmark that a missing one used to stand for has rows for training.
    solver = ttsi.Solver({**json.loads(path.read_text()), "learner": "nearest"})
    with pytest.raises(SpecError, match="benchmark 'none' has none for training"):
        list(solver.solve(TASKS[:1]))


def test_a_limit_in_the_environment_is_for_specs_with_a_benchmark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TTSI_LIMIT", "3")
    bare = {k: v for k, v in SPEC.items() if k != "benchmark"}
    (spec,) = ttsi.load_spec(bare, benchmark=False)
    assert spec.benchmark == NO_BENCHMARK
    assert "benchmark" not in resolved(spec)
    with pytest.raises(SpecError, match="benchmark"):
        ttsi.load_spec(bare)
