"""Memory that remains after a call ran out of memory, in bytes of living tensors.

The failure is injected deep into a forward pass, where all intermediate results are still needed.
They must be freed before the engine is called again, or there is less room than before.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest
import torch
from tiny_model import tiny_llama, write_gguf
from torch.profiler import ProfilerActivity, profile

from ttsi.answers.calls.values import ToolCall, answer_with
from ttsi.errors import EngineError, OutOfMemory, release
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.solving.solution import Solution
from ttsi.types import (
    Estimate,
    Example,
    LoraRecipe,
    Message,
    Prompt,
    Request,
    Sampling,
    Task,
    TrainJob,
)
from ttsi_plugins.engines.transformers import TransformersEngine
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.lora_sft import LoraSft

FULL = "CUDA out of memory. Tried to allocate 2 GiB"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformersEngine]:
    folder = tmp_path_factory.mktemp("models")
    patch = pytest.MonkeyPatch()
    patch.setenv("TTSI_CACHE_DIR", str(folder))
    model = tiny_llama()
    model.config.max_position_embeddings = 1024
    path = write_gguf(folder / "tiny.gguf", model)
    made = TransformersEngine({"id": str(path)}, device="cpu", memory_gib=1)
    made.load()
    patch.undo()
    # Objects that exist now stay, so that counting can skip them.
    gc.collect()
    gc.freeze()
    yield made
    gc.unfreeze()
    made.close()


@pytest.fixture(scope="module")
def small(engine: TransformersEngine) -> Iterator[TransformersEngine]:
    """Yield the same model with little memory besides the fixed part."""
    made = TransformersEngine(engine.model, device="cpu", memory_gib=0.5)
    made.load()
    yield made
    made.close()


def living() -> int:
    """Return the bytes of all reachable tensors; shared storage counts once."""
    gc.collect()
    storages: dict[int, int] = {}
    for thing in gc.get_objects():
        # oneDNN's own copies of the weights have no accessible storage.
        if issubclass(type(thing), torch.Tensor) and thing.layout == torch.strided:
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


class Estimator:
    """An H that asks the engine, and is always uncertain."""

    needs = frozenset({"loglikelihood"})

    def estimate(self, tasks: Sequence[Task], engine: Any, seed: int) -> list[Estimate]:
        engine.loglikelihoods([Prompt(task.messages) for task in tasks], [["a", "bc"]] * len(tasks))
        return [Estimate(0.0, uncertain=True) for _ in tasks]


class Generator:
    """A G that asks the engine, and makes an example whatever it wrote."""

    needs = frozenset({"generate"})

    def generate(self, tasks: Sequence[Task], engine: Any, seed: int) -> list[list[Example]]:
        made = engine.generate(
            [Request(Prompt(task.messages), Sampling.greedy(3), seed) for task in tasks]
        )
        call = ToolCall("go", {"to": "there"})
        return [
            [Example(task.variant("example", input="Go!"), answer_with([call]), "", 1)]
            for task, _ in zip(tasks, made, strict=True)
        ]


def wave(count: int) -> list[Task]:
    return [Task(f"t{n}", (), "Call. " * 20, f"To {'abcdefgh'[n]}{n}") for n in range(count)]


def pipeline(engine: TransformersEngine) -> Pipeline:
    stages = Stages(Estimator(), Generator(), LoraSft(epochs=1), Direct(max_tokens=3))
    return Pipeline(stages, engine, seed=0)


class Failure:
    """Makes passes of more than `most` rows fail in a stage, and counts living tensors."""

    def __init__(self, engine: TransformersEngine, pipeline: Pipeline, stage: str) -> None:
        self.runtime = engine._runtime()
        self.pipeline, self.stage = pipeline, stage
        self.most = 1
        self.at_failure: list[int] = []
        self.at_retry: list[int] = []
        self.failed = False
        self.rows: list[int] = []

    def __enter__(self) -> Failure:
        # The last layer of the model: everything before it has been computed.
        layer = self.runtime.model.model.layers[-1].mlp.down_proj
        self.hooks = [
            layer.register_forward_pre_hook(self._fail),
            self.runtime.model.register_forward_pre_hook(self._begin),
        ]
        return self

    def __exit__(self, *given: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _begin(self, model: Any, given: Any) -> None:
        if self.failed:
            self.failed = False
            self.at_retry.append(living())

    def _fail(self, module: Any, given: tuple[torch.Tensor]) -> None:
        if self.pipeline._stage != self.stage:
            return
        self.rows.append(given[0].shape[0])
        if self.rows[-1] > self.most:
            self.at_failure.append(living())
            self.failed = True
            raise torch.OutOfMemoryError(FULL)


def reset(engine: TransformersEngine) -> None:
    """Restore memory limits as after loading, and clear the caches."""
    runtime = engine._runtime()
    for room in (runtime.reader.room, runtime.decoder.room, runtime.room):
        room.limit = 10**9
    runtime.forget()


@pytest.mark.parametrize("stage", ["estimate", "answer", "generate", "learn", "adapted"])
def test_nothing_of_the_failed_call_lives_in_the_retry(
    engine: TransformersEngine, stage: str
) -> None:
    reset(engine)
    expected = results(pipeline(engine).solve(wave(4)))
    reset(engine)
    made = pipeline(engine)
    before = living()
    with Failure(engine, made, stage) as failure:
        solutions = list(made.solve(wave(4)))
    assert failure.at_failure
    # The failed passes' results are much larger than the token ids of a retry.
    assert max(failure.at_failure) - before > 30_000
    for living_now in failure.at_retry:
        assert living_now - before < 3_000
    assert [solution.error for solution in solutions] == [""] * 4
    assert results(solutions) == expected


def results(solutions: Iterable[Solution]) -> dict[str, Any]:
    return {each.task.id: (each.answer and each.answer.text) for each in solutions}


def test_a_wave_that_did_not_fit_leaves_the_size_that_did(engine: TransformersEngine) -> None:
    """The engine remembers what failed and does not try it again, in any wave."""
    made = pipeline(engine)
    for stage in ("estimate", "generate", "learn", "adapted"):
        reset(engine)
        with Failure(engine, made, stage) as failure:
            failure.most = 2
            first = list(made.solve(wave(4)))
            failures = len(failure.at_failure)
            made._fitting = 10**9
            second = list(made.solve(wave(4)))
        assert failures > 0, stage
        assert len(failure.at_failure) == failures, stage
        assert max(failure.rows[-4:]) <= 2
        assert not any(solution.error for solution in [*first, *second])


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError("no")])
def test_other_failures_hold_nothing_either(engine: TransformersEngine, error: Exception) -> None:
    reset(engine)
    made = pipeline(engine)
    before = living()

    def fail(module: Any, given: Any) -> None:
        raise error.with_traceback(None)

    layer = engine._runtime().model.model.layers[-1].mlp.down_proj
    hook = layer.register_forward_pre_hook(fail)
    solutions = made.solve(wave(2))
    try:
        # When a solution is returned, the failed call has been freed.
        seen = [(solution.error, living()) for solution in solutions]
    finally:
        hook.remove()
    assert all(error for error, _ in seen)
    engine.forget()
    assert living() - before < 3_000


def test_what_failed_otherwise_does_not_shrink_when_memory_runs_out_later(
    engine: TransformersEngine,
) -> None:
    """A call fails in training for another reason, and a later one runs out in scoring."""
    reset(engine)
    runtime = engine._runtime()
    before = (runtime.room.limit, runtime.reader.room.limit)
    prompt = Prompt((Message("user", "x"),))
    failures = iter([RuntimeError("shapes cannot be multiplied"), torch.OutOfMemoryError(FULL)])

    def fail(module: Any, given: Any) -> None:
        raise next(failures)

    hook = runtime.model.model.layers[-1].mlp.down_proj.register_forward_pre_hook(fail)
    try:
        with pytest.raises(EngineError, match="while training"):
            engine.train([TrainJob("t", ((prompt, "y"),), LoraRecipe(rank=1, epochs=1), 0)])
        with pytest.raises(OutOfMemory, match="while scoring"):
            engine.loglikelihoods([prompt], [["a"]])
    finally:
        hook.remove()
    now = (runtime.room.limit, runtime.reader.room.limit)
    assert now[0] == before[0]
    assert now[1] < before[1]
    reset(engine)


def test_an_error_of_the_engine_has_no_context(engine: TransformersEngine) -> None:
    def full(module: Any, given: Any) -> None:
        raise torch.OutOfMemoryError(FULL)

    layer = engine._runtime().model.model.layers[-1].mlp.down_proj
    hook = layer.register_forward_pre_hook(full)
    prompt = Prompt((Message("user", "x"),))
    try:
        with pytest.raises(OutOfMemory) as caught:
            engine.generate([Request(prompt, Sampling.greedy(2), 0)])
    finally:
        hook.remove()
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_what_is_released_is_gone_in_every_frame_of_the_chain() -> None:
    class Large:
        count = 0

        def __init__(self) -> None:
            Large.count += 1

        def __del__(self) -> None:
            Large.count -= 1

    def inner() -> None:
        held = Large()

        def innermost() -> None:
            raise ValueError(f"with {held.count}")

        innermost()

    def outer() -> None:
        held = Large()
        try:
            inner()
        except ValueError as error:
            raise EngineError(f"with {held.count}") from error

    def caught(call: Callable[[], None]) -> Exception:
        try:
            call()
        except EngineError as error:
            return error
        raise AssertionError

    error = caught(outer)
    assert Large.count == 2
    release(error)
    assert Large.count == 0
    assert isinstance(error.__cause__, ValueError)


RANK = 1024
WIDE = LoraRecipe(rank=RANK, epochs=2, warmup_ratio=0.0)


def peak(work: Callable[[], object]) -> int:
    """Return torch's peak of additional bytes, including those that autograd keeps."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        work()
    held = most = 0
    events = watched.profiler.kineto_results.events()  # type: ignore[union-attr]
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def test_many_adapters_stay_within_the_memory(small: TransformersEngine) -> None:
    runtime = small._runtime()
    budget = runtime.budget
    each = runtime.bank.parameters(RANK) * 4
    prompts = [Prompt((Message("user", f"Number {n}"),)) for n in range(16)]
    shares = budget.adapters + budget.prefixes + budget.passes + budget.work
    jobs = [
        TrainJob(str(n), ((prompts[n % 16], f"Answer {n}"),), WIDE, n)
        for n in range(2 + shares // each)
    ]
    adapters: list[Any] = []

    def work() -> None:
        adapters.extend(small.train(jobs))
        assert runtime.bank.bytes() <= budget.adapters
        asked = [
            Request(prompt, Sampling.greedy(4), 0, adapter)
            for prompt, adapter in zip(prompts, adapters, strict=False)
        ]
        made.extend(small.generate(asked))
        assert runtime.bank.bytes() <= budget.adapters

    made: list[Any] = []
    # All at once they would exceed the memory.
    assert len(jobs) * each > shares
    taken = peak(work)
    assert runtime.reader.prefixes.bytes <= budget.prefixes
    # The caller owns the adapters; everything else fits into the divisible part.
    assert taken <= shares
    assert len(made) == 16
    # A request that had to wait for a slot is answered as if it were alone.
    alone = small.generate([Request(prompts[15], Sampling.greedy(4), 0, adapters[15])])
    assert alone[0].text == made[15].text


def test_the_bank_gives_room_to_rows_by_their_rank(engine: TransformersEngine) -> None:
    runtime = engine._runtime()
    runtime.forget()
    bank = runtime.bank
    row = bank.parameters(1) * 4
    for rank in (1, 8, 4096):
        most = bank._most(rank)
        assert most == 1 or (2 * most + 1) * rank * row <= bank.budget < (2 * most + 3) * rank * row
    bank.reserve(3, 2)
    bank.reserve(1, 1)
    assert len(bank._store) == 4
    assert bank._store.rank == 2
