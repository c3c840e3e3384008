"""The memory that the engine plans for, against the memory that it uses."""

from __future__ import annotations

import math
from typing import Any

import architectures
import pytest
import torch
from engines import ask, may_run_out, real_tasks, shared_engine
from tiny_model import tiny_llama, tiny_qwen2

from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.solving.solution import Solution
from ttsi.types import LoraRecipe, Request, Sampling, Task, TrainJob
from ttsi_plugins.engines.transformers import memory, training
from ttsi_plugins.engines.transformers.bank import Bank, Factors
from ttsi_plugins.engines.transformers.pairs import Pair, losses
from ttsi_plugins.engines.transformers.passes import Network
from ttsi_plugins.estimators.constant import Always
from ttsi_plugins.generators.self_generator import SelfGenerator
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.lora_sft import LoraSft


def kept_for_backward(model: Any, rows: int, width: int, labels: int) -> int:
    """Return the bytes that autograd keeps of a training pass over rows of `width` tokens."""
    network, bank = Network(model), Bank(model, "m")
    ids = [5 + at % 200 for at in range(width)]
    pairs = [Pair(ids[:-labels], ids[-labels:])] * rows
    # At these widths a rank of 8 would matter; in a real model it does not.
    stack = bank.fresh([(LoraRecipe(rank=1), 1)] * rows)
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), stack.flat]}
    kept: dict[int, int] = {}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    leaves = [
        (a.detach().requires_grad_(), b.detach().requires_grad_())
        for a, b in stack.split(stack.flat)
    ]
    factors = Factors(leaves, stack.scales[:, None, None])
    watched = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with watched, bank.through(factors):
        losses(network, pairs)
    bank.close()
    network.close()
    return sum(kept.values())


@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen2], ids=lambda make: make.__name__)
@pytest.mark.parametrize(("rows", "width"), [(1, 100), (4, 60)])
def test_what_training_keeps_is_within_its_bound(make: Any, rows: int, width: int) -> None:
    check_bound(make(), rows, width)


@pytest.mark.model
def test_the_bound_is_close_for_a_real_model() -> None:
    runtime = shared_engine()._runtime()
    with runtime.network.native() as model:
        taken, bound = check_bound(model, 2, 60)
    assert taken > bound / 2


def check_bound(model: Any, rows: int, width: int) -> tuple[int, int]:
    labels = 10
    taken = kept_for_backward(model, rows, width, labels)
    sizes = memory.Sizes.of(model, 0)
    bound = rows * (width * sizes.trained + labels * sizes.target)
    assert taken <= bound
    return taken, bound


def test_a_budget_is_what_the_spec_says_or_a_share_of_what_is_free() -> None:
    cpu = torch.device("cpu")
    assert memory.Budget.of(1.5, cpu).total == 1.5 * 2**30
    free = memory.Budget.of(None, cpu)
    assert 0 < free.total <= 8 * 2**30
    assert free.prefixes + free.work < free.total


@pytest.mark.model
def test_jobs_share_a_pass_only_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = shared_engine()
    runtime = engine._runtime()
    prompts = [prompt for prompt, _ in real_tasks(1)]
    jobs = [
        TrainJob(str(n), ((prompt, "[]"),), LoraRecipe(rank=2, epochs=1), n)
        for n, prompt in enumerate(prompts)
    ]
    together = engine.train(jobs)
    sizes: list[int] = []
    fit = training.fit
    monkeypatch.setattr(training, "fit", lambda *given: sizes.append(len(given[2])) or fit(*given))
    monkeypatch.setattr(runtime.room, "limit", 1)
    alone = engine.train(jobs)
    assert sizes == [1] * len(jobs)
    for one, other in zip(together, alone, strict=True):
        assert one.training is not None
        assert other.training is not None
        assert one.training.losses == pytest.approx(other.training.losses, rel=1e-5)


def task(number: int) -> Task:
    prompt, _ = real_tasks(4)[number]
    system, user = prompt.messages
    return Task(f"t{number}", (), system.content, user.content)


def solutions(runtime: Any, wave: list[Task]) -> dict[str, Solution]:
    engine = shared_engine()
    stages = Stages(
        Always(),
        SelfGenerator(attempts=1),
        LoraSft(),
        Direct(decoding="greedy", max_tokens=4),
    )
    pipeline = Pipeline(stages, engine, seed=0)
    return {solution.task.id: solution for solution in pipeline.solve(wave)}


@pytest.mark.model
def test_out_of_memory_halves_the_wave_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    may_run_out(monkeypatch)
    runtime = shared_engine()._runtime()
    wave = [task(number) for number in range(4)]
    monkeypatch.setattr(SelfGenerator, "generate", lambda self, tasks, *rest: [[] for _ in tasks])
    expected = solutions(runtime, wave)
    whole, widest = runtime.network.run, []

    def small(ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        widest.append(ids.shape[0])
        if ids.shape[0] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return whole(ids, *rest)

    monkeypatch.setattr(runtime.network, "run", small)
    found = solutions(runtime, wave)
    assert max(widest) > 1
    assert {id: each.answer.text for id, each in found.items()} == {
        id: each.answer.text for id, each in expected.items()
    }
    assert not any(each.error for each in found.values())


@pytest.mark.model
def test_out_of_memory_leaves_nothing_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    may_run_out(monkeypatch)
    engine = shared_engine()
    runtime = engine._runtime()
    engine.generate([Request(ask("Hello?"), Sampling.greedy(2), 0)])
    assert runtime.reader.prefixes.bytes > 0

    def full(*given: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(runtime.network, "run", full)
        with pytest.raises(Exception, match="memory_gib"):
            engine.generate([Request(ask("And now?"), Sampling.greedy(2), 0)])
    assert runtime.reader.prefixes.bytes == 0
    (made,) = engine.generate([Request(ask("Hello?"), Sampling.greedy(2), 0)])
    assert math.isfinite(made.logprob)


# GPT-2's GELU is made of single operations, and keeps more than the bound knows of.
@pytest.mark.parametrize(("name", "times"), [("GPT-2", 1.5), ("Gemma 2", 1)])
def test_training_other_kinds_of_layers_is_bounded(name: str, times: float) -> None:
    """GPT-2's layers are Conv1D; the scores of a softcap are not kept for the gradient."""
    kind, settings = architectures.RUNS[name]
    model = architectures.tiny(kind, **settings)
    token = memory.Sizes.of(model, Network(model).token_bytes()).trained
    kept = kept_for_backward(architectures.tiny(kind, **settings), 1, 200, 4)
    assert 0 < kept < 200 * token * times
