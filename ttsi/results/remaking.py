"""Make an adapter again from its sample's record.

Floating-point sums depend on what else is in a forward pass. Adapters of one wave are trained in
the same passes. An activated adapter also depends on the KV cache that the base model filled before
for its prompt, and hence on the other samples in those passes. So the earlier stages are run again,
first for the sample alone and then for its wave. Teachers are not asked again; the examples are
those of the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ttsi.errors import EngineError, VerificationError
from ttsi.protocols import Engine
from ttsi.records import identity
from ttsi.records.lines import whole_task
from ttsi.results.runs import Run, SeedRun
from ttsi.solving import assemble
from ttsi.spec import Spec, load_spec
from ttsi.types import JSON, Adapter, Record, Task

_MAY_DIFFER = ("dtype", "device")
_ROLES = ("model", "engine", "benchmark", "estimator", "learner", "inference")


@dataclass(frozen=True)
class Remade:
    """A remade adapter, and `beside`: the samples that were trained in the same call."""

    adapter: Adapter
    recorded: Mapping[str, JSON]
    beside: tuple[str, ...]

    @property
    def equal(self) -> bool:
        return bool(self.adapter.digest == self.recorded.get("digest"))

    @property
    def losses_apart(self) -> float | None:
        """The largest relative difference between a loss and the recorded one, if known."""
        ours = self.adapter.training.losses if self.adapter.training else ()
        theirs: Sequence[float] = self.recorded.get("losses", ())
        if not ours or len(ours) != len(theirs):
            return None
        pairs = zip(ours, theirs, strict=True)
        return max(abs(one - other) / max(abs(other), 1e-12) for one, other in pairs)


def remake(run: Run, found: SeedRun, record: Record) -> Remade:
    """Make the adapter of `record`, which has a receipt of LoRA: first alone, then with its wave.

    If the digest differs even then, the adapter of the wave is returned. Raises VerificationError
    if the model's weights are not the run's, and what the engine raises.
    """
    (spec,) = load_spec({role: run.spec[role] for role in _ROLES}, environment=False)
    # Use the run's date and commit.
    spec = replace(spec, model=identity.model_of(spec.model, found.identity))
    bench = _Bench(run, found, spec)
    wave = _wave(run, found, record)
    try:
        bench.engine.load()
        _check_model(found, bench.engine)
        remade = bench.make(record, [record])
        if not remade.equal and len(wave) > 1:
            if _is_activated(record):
                bench.forget()
            remade = bench.make(record, wave)
    finally:
        bench.engine.close()
    return remade


def has_adapter(record: Record) -> bool:
    """Whether an adapter was trained for the record's sample."""
    return record.receipt is not None and record.receipt.get("kind") == "lora"


class _Bench:
    """The run's engine, and the stages that lead to an adapter."""

    def __init__(self, run: Run, found: SeedRun, spec: Spec) -> None:
        self.run, self.spec, self.seed = run, spec, found.seed
        self.engine = assemble.engine(spec, _engine_options(spec, found))
        self.stages = assemble.stages(spec)

    def forget(self) -> None:
        """Reload the engine, which clears its KV cache."""
        self.engine.close()
        self.engine.load()

    def make(self, record: Record, wave: Sequence[Record]) -> Remade:
        """Make the adapter of `record`, which is one of `wave`."""
        # With a budget, another engine made the estimates and base answers.
        if _is_activated(record) and self.run.spec.get("budget") is None:
            self._read(wave)
        together = [each for each in wave if has_adapter(each)]
        adapter = self._learn(together)[together.index(record)]
        if not isinstance(adapter, Adapter):
            raise EngineError(f"The learner {self.spec.learner.name!r} made no adapter.")
        beside = tuple(each.id for each in together if each is not record)
        return Remade(adapter, record.receipt or {}, beside)

    def _read(self, wave: Sequence[Record]) -> None:
        """Compute estimates and base answers again, to fill the engine's KV cache as in the run."""
        self.stages.estimator.estimate(self._tasks(wave), self.engine, self.seed)
        tasks = self._tasks([each for each in wave if each.base is not None])
        self.stages.inference.answer(tasks, [None] * len(tasks), self.engine, self.seed)

    def _learn(self, together: Sequence[Record]) -> Sequence[Any]:
        tasks = self._tasks(together)
        examples = [
            [replace(each, task=whole_task(each, task)) for each in record.examples]
            for record, task in zip(together, tasks, strict=True)
        ]
        base = [record.base for record in together]
        return self.stages.learner.learn(tasks, examples, base, self.engine, self.seed)

    def _tasks(self, records: Sequence[Record]) -> list[Task]:
        return [self.run.samples[record.id].task for record in records]


def _engine_options(spec: Spec, found: SeedRun) -> dict[str, JSON]:
    """Return the spec's engine options; options left open get the values that the run's engine
    chose.

    The memory matters most, since it decides which adapters are trained in one pass.
    """
    told: Mapping[str, JSON] = next(iter(found.results.get("engines", ())), {})
    options = spec.engine.options.items()
    return {name: told.get(name) if value is None else value for name, value in options}


def _wave(run: Run, found: SeedRun, record: Record) -> list[Record]:
    """Return the records of the wave of `record` in order, if the run was not interrupted.

    A run that was resumed, or a wave that failed and was halved, had other waves.
    """
    order = list(found.records)
    if run.spec.get("budget") is not None:
        order.sort(key=lambda each: not each.uncertain)
    size = int(run.spec["executor"].get("wave", 1))
    first = order.index(record) // size * size
    return order[first : first + size]


def _is_activated(record: Record) -> bool:
    """Whether the adapter acts from a place in the prompt on, as PEFT's activated LoRA does."""
    return bool((record.receipt or {}).get("config", {}).get("alora_invocation_tokens"))


def _check_model(found: SeedRun, engine: Engine) -> None:
    """Raise VerificationError if the engine's identity differs from the run's.

    Another device or dtype is allowed; the digest then shows whether the adapter is the same.
    """
    recorded: Mapping[str, JSON] = found.identity["engine"]
    told = [
        f"{key} {new}, the run's {old}"
        for key, old, new in identity.differences(recorded, engine.identity())
        if key not in _MAY_DIFFER
    ]
    if told:
        raise VerificationError(
            "The model's weights, or what goes with them, are not those of the run.",
            where="; ".join(told),
            cure="Get back the model that the run had, or run its spec again.",
        )
