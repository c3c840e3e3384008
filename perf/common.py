"""What all measurements share: arguments, the two resident models, and real tasks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from perf.floor import Rates, Shape
from perf.rates import measure
from perf.references import Resident
from perf.result import LEAST_PAIRS, RESULTS, Machine
from ttsi import registry
from ttsi.records.provenance import environment
from ttsi.types import Adapter, LoraRecipe, Message, Prompt, Sample, TrainJob
from ttsi_plugins.engines.transformers import TransformersEngine
from ttsi_plugins.engines.transformers.prefixes import common

# Largest differences that rounding explains: log-likelihoods in nats, adapters relative to their
# norm, and the gap of two logits of which either may win.
_TOLERANCES = {"float32": (1e-3, 1e-5, 1e-3), "bfloat16": (0.5, 1e-2, 0.25)}


@dataclass(frozen=True)
class Tolerance:
    nats: float
    adapter: float
    logits: float


class Unequal(SystemExit):
    """The two sides disagree, so no result is kept."""


class Bench:
    """Our engine and a second copy of the model for the reference, both in memory."""

    def __init__(self, model: str, device: str, dtype: str = "auto", **options: Any) -> None:
        self.model = model
        self.engine = TransformersEngine({"id": model, "dtype": dtype}, device=device, **options)
        self.engine.load()
        self.about = self.engine.describe()

    @cached_property
    def reference(self) -> Resident:
        return Resident.load(self.model, str(self.about["device"]), str(self.about["dtype"]))

    @cached_property
    def rates(self) -> Rates:
        return measure(self.shape, self.device, self.dtype)

    @property
    def shape(self) -> Shape:
        return Shape.of(self.reference.model.config)

    @property
    def device(self) -> torch.device:
        return torch.device(str(self.about["device"]))

    @property
    def dtype(self) -> torch.dtype:
        found: torch.dtype = getattr(torch, str(self.about["dtype"]))
        return found

    @property
    def tolerance(self) -> Tolerance:
        return Tolerance(
            *_TOLERANCES["float32" if self.about["dtype"] == "float32" else "bfloat16"]
        )

    @property
    def machine(self) -> Machine:
        on_gpu = self.device.type == "cuda"
        key = "device_name" if on_gpu else "processor"
        return Machine(
            # Of a file its name, wherever it lies.
            model=Path(self.model).name if self.model.endswith(".gguf") else self.model,
            device=self.device.type,
            device_name=str((self.about if on_gpu else environment({}))[key]),
            dtype=str(self.about["dtype"]),
            threads=torch.get_num_threads(),
        )

    def forget(self) -> None:
        """Drop our engine's prefixes and adapters, so that no pair profits from the one before."""
        self.engine.forget()

    def keep_prefixes(self, prompts: Sequence[Prompt]) -> None:
        """Cache the prompts' keys and values, as H leaves them, and nothing else."""
        self.engine.forget()
        self.engine.loglikelihoods(prompts, [["a"] for _ in prompts])

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        return self.reference.tokens.prompt(prompt)

    def system_length(self, prompt: Prompt) -> int:
        """Return the number of tokens before the user's text, which the system turn determines."""
        system = prompt.messages[0]
        one, other = (Prompt((system, Message("user", text))) for text in ("a", "7"))
        return common(self.prompt_ids(one), self.prompt_ids(other))


def arguments(
    description: str, *, samples: int, units: str = "samples a run"
) -> argparse.ArgumentParser:
    """Return a parser with the options of every measurement; `samples` is a default."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default="smollm2-135m", help="as a spec's model.id (default: smollm2-135m)")
    add("--device", default="auto", choices=["auto", "cpu", "cuda"], help="auto: a GPU if any")
    add("--dtype", default="auto", help="as a spec's model.dtype (default: auto)")
    add("--pairs", type=int, default=5, help=f"timed pairs; under {LEAST_PAIRS} nothing is kept")
    add("--samples", type=int, default=samples, help=f"{units} (default: {samples})")
    add("--out", type=Path, default=RESULTS, help="folder of results (default: perf/results)")
    return parser


def samples(
    benchmark: str, count: int, wanted: Callable[[Sample], bool] = lambda _: True
) -> list[Sample]:
    """Return `count` of a benchmark's `wanted` samples, spread evenly over their lengths.

    Sorted by length they are cut into `count` equal parts, of which the middle samples are taken.
    """
    rows = [row for row in registry.load("benchmarks", benchmark)().samples() if wanted(row)]
    if len(rows) < count:
        sys.exit(f"{benchmark} has {len(rows)} such samples, not {count}")
    rows.sort(key=lambda row: len(row.task.instruction) + len(row.task.input))
    return [rows[(2 * i + 1) * len(rows) // (2 * count)] for i in range(count)]


def first_weights(engine: TransformersEngine, recipe: LoraRecipe, seed: int) -> Adapter:
    """Return the adapter from which ours starts: after a step at rate 0, so no weight changes."""
    still = replace(recipe, learning_rate=0.0, epochs=1)
    prompt = Prompt((Message("system", "Be brief."), Message("user", "Hello.")))
    (adapter,) = engine.train([TrainJob("start", ((prompt, "Hello."),), still, seed)])
    return adapter


def agree(differences: Sequence[float], limit: float, what: str) -> str:
    """Return the assertion in words. Raises Unequal if a difference is larger than `limit`."""
    largest = max(differences, default=0.0)
    if not all(difference <= limit for difference in differences):
        raise Unequal(f"{what} differ by {largest:.3g}, more than {limit:.0e}: nothing kept")
    return f"{what} agree to {limit:.0e} (largest difference {largest:.1e})"
