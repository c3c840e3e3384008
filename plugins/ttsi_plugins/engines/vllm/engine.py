"""The runtime of the vLLM engine: vLLM generates, the transformers engine scores and trains.

vLLM runs in processes of its own, as is its default. Ending them frees all their memory; when they
run out of memory, this process does not; and what vLLM does to its own process (on a CPU it pins
threads and disables `torch.set_num_threads`) does not slow down training. The price is one more
CUDA context.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ttsi import (
    JSON,
    Adapter,
    EngineError,
    Generation,
    Likelihood,
    Prompt,
    Rendered,
    Request,
    TrainJob,
    UsageError,
)
from ttsi_plugins.engines.transformers import TransformersEngine, weights
from ttsi_plugins.engines.transformers.engine import Runtime as Beside

from . import adapters, memory, serving
from .requests import Writer

if TYPE_CHECKING:
    from . import VllmEngine

Progress = Callable[[int, int], None]


class Runtime:
    """Both halves, loaded: `server` (vLLM) and `beside` (the transformers engine)."""

    def __init__(self, server: serving.Server, beside: Beside, options: VllmEngine) -> None:
        self.server = server
        self.beside = beside
        self.options = options
        self.writer = Writer(beside.tokens, beside.grammars, min(server.limit, beside.limit))

    @classmethod
    def load(cls, options: VllmEngine) -> Runtime:
        """Start vLLM, which takes its share at once, then load the other engine in what is left.

        Raises UsageError for float32 on a GPU, and what loading either engine raises.
        """
        device = serving.device()
        if options.model.get("thinking") == "on":
            raise UsageError(
                "This engine cannot bound a thought.",
                where="engine vllm, model.thinking",
                cure='Set "thinking" to "off" or "default", or use the engine transformers.',
            )
        dtype = str(options.model.get("dtype") or "auto")
        if dtype == "auto":
            dtype = "bfloat16" if device == "cuda" else "float32"
        if (device, dtype) == ("cuda", "float32"):
            raise UsageError(
                "On a GPU vLLM has no adapters in float32.",
                where="model.dtype",
                cure='Use "dtype": "bfloat16" for the model, or the engine transformers.',
            )
        model = {**options.model, "dtype": dtype}
        folder = weights.resolve(model)
        memory.check(folder, dtype, options, device)
        server = serving.Server(folder, dtype, options)
        try:
            half = TransformersEngine(model, device=device, memory_gib=options.memory_gib)
            return cls(server, Beside.load(half), options)
        except BaseException:
            server.close()
            raise

    def loglikelihoods(
        self,
        prompts: Sequence[Prompt],
        continuations: Sequence[Sequence[str]],
        progress: Progress,
    ) -> list[list[Likelihood]]:
        return self.beside.loglikelihoods(prompts, continuations, progress)

    def generate(self, requests: Sequence[Request], progress: Progress) -> list[Generation]:
        """Generate for all requests in one call of vLLM.

        A second call reads the texts under a grammar again, since vLLM's log-probabilities are
        those after the grammar.
        """
        for request in requests:
            self._check(request.adapter)
        rows = [self.writer.row(request) for request in requests]
        server = self.server
        with (
            server.errors("generating"),
            adapters.handed_over([r.adapter for r in requests], server) as handed,
        ):
            asked = [(row.prompt, row.params) for row in rows]
            for row, output in zip(rows, server.run(asked, handed, progress), strict=True):
                row.take(output)
            held = [at for at, row in enumerate(rows) if row.held]
            readings = server.run(
                [rows[at].reading() for at in held], [handed[at] for at in held], _quiet
            )
            for at, reading in zip(held, readings, strict=True):
                rows[at].take_reading(reading)
        return [self.writer.generation(row) for row in rows]

    def train(self, jobs: Sequence[TrainJob], progress: Progress) -> list[Adapter]:
        for job in jobs:
            if job.recipe.active_from != "start":
                raise _activated(f"job {job.id}")
            self._check_rank(job.recipe.rank, f"job {job.id}")
        return self.beside.train(jobs, progress)

    def forget(self) -> None:
        self.server.forget()
        self.beside.forget()

    def digest(self) -> str:
        return self.beside.digest()

    def identity(self) -> dict[str, JSON]:
        return self.beside.identity()

    def describe(self) -> dict[str, JSON]:
        said = self.beside.describe()
        options = self.options
        return said | {
            "versions": said["versions"] | {"vllm": serving.version()},
            "gpu_memory_utilization": options.gpu_memory_utilization,
            "max_loras": options.max_loras,
            "max_lora_rank": options.max_lora_rank,
        }

    def called(self, prompt: Prompt, calls: JSON) -> str:
        return self.beside.called(prompt, calls)

    def rendered(self, prompt: Prompt) -> Rendered:
        return self.beside.rendered(prompt)

    def rendered_text(self, text: str, end: bool) -> Rendered:
        return self.beside.rendered_text(text, end)

    def close(self) -> None:
        with contextlib.ExitStack() as closing:
            closing.callback(self.beside.close)
            closing.callback(self.server.close)

    def _check(self, adapter: Adapter | None) -> None:
        if adapter is None:
            return
        config = adapter.config
        if config.get("alora_invocation_tokens"):
            raise _activated(f"alora_invocation_tokens {config['alora_invocation_tokens']}")
        self._check_rank(config.get("r"), f"adapter {adapter.digest}")

    def _check_rank(self, rank: Any, where: str) -> None:
        if not isinstance(rank, int) or rank > self.options.max_lora_rank:
            raise EngineError(
                f"An adapter of rank {rank} does not fit max_lora_rank, "
                f"{self.options.max_lora_rank}.",
                where=f"engine vllm, {where}",
                cure='Raise "max_lora_rank" of the engine, or lower "rank" of the learner.',
            )


def _activated(where: str) -> EngineError:
    return EngineError(
        "vLLM has no adapters that act from the user turn on.",
        where=f"engine vllm, {where}",
        cure='Use "active_from": "start" for the learner, or the engine transformers.',
    )


def _quiet(done: int, total: int) -> None:
    """Report no progress, while texts are read again."""
