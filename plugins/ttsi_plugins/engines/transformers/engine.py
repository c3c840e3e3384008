"""The engine at work: what a call is, in terms of the modules beside this one."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from ttsi.errors import EngineError, OutOfMemory
from ttsi.types import JSON, Adapter, Generation, Likelihood, Prompt, Request, TrainJob

from . import prefix, training, weights
from .decode import Row, batches, decode
from .grammar import Grammars
from .lora import Lora
from .tokens import Tokens

if TYPE_CHECKING:
    from . import TransformersEngine

Progress = Callable[[int, int], None]


class Runtime:
    """A loaded model with its tokenizer, grammars and adapter slot."""

    def __init__(self, loaded: weights.Loaded, options: TransformersEngine) -> None:
        self.loaded = loaded
        self.options = options
        self.model: Any = loaded.model
        self.parameters = int(self.model.num_parameters())
        config = self.model.config.get_text_config()
        self.tokens = Tokens(loaded.tokenizer, self.model.generation_config)
        self.grammars = Grammars(
            loaded.tokenizer,
            config.vocab_size,
            self.tokens.ends,
            list(self.tokens.control.values()),
        )
        self.lora = Lora(self.model, str(options.model["id"]))
        self.limit = int(getattr(config, "max_position_embeddings", 0) or 2**31)

    @classmethod
    def load(cls, options: TransformersEngine) -> Runtime:
        return cls(weights.load(options.model, options.device, options.attention), options)

    def loglikelihoods(
        self,
        prompts: Sequence[Prompt],
        continuations: Sequence[Sequence[str]],
        progress: Progress,
    ) -> list[list[Likelihood]]:
        if len(prompts) != len(continuations):
            raise ValueError(f"{len(prompts)} prompts, {len(continuations)} continuation lists")
        contexts = [self.tokens.prompt(prompt) for prompt in prompts]
        tails = [[self.tokens.text(text) for text in texts] for texts in continuations]
        for context, candidates in zip(contexts, tails, strict=True):
            self._check_length(len(context), max(map(len, candidates), default=0))
        with _model_errors("scoring candidates"):
            return prefix.score(self.model, contexts, tails, self.options.max_batch, progress)

    def generate(self, requests: Sequence[Request], progress: Progress) -> list[Generation]:
        rows = [self._row(request) for request in requests]
        by_adapter: dict[str, list[Row]] = {}
        for row in rows:
            adapter = row.request.adapter
            by_adapter.setdefault(adapter.digest if adapter else "", []).append(row)
        done = 0

        def finished(count: int) -> None:
            nonlocal done
            done += count
            progress(done, len(rows))

        limits = self.options.max_batch, self.options.max_batch_tokens
        for group in by_adapter.values():
            with _model_errors("generating"), self.lora.applied(group[0].request.adapter):
                for batch in batches(group, *limits):
                    decode(self.model, batch, self.tokens.ends, finished)
        return [self._generation(row) for row in rows]

    def train(self, jobs: Sequence[TrainJob], progress: Progress) -> list[Adapter]:
        adapters = []
        for job in jobs:
            pairs = [(self.tokens.prompt(p), self.tokens.target(text)) for p, text in job.pairs]
            for prompt, target in pairs:
                self._check_length(len(prompt), len(target))
            with (
                _model_errors(f"training {job.id}"),
                torch.enable_grad(),
                self.lora.training(job.recipe, job.seed) as parameters,
            ):
                report = training.fit(self.model, parameters, pairs, job.recipe)
            adapters.append(Adapter(self.lora.weights(), self.lora.config(), report))
            progress(len(adapters), len(jobs))
        return adapters

    def digest(self) -> str:
        return weights.digest(self.model)

    def describe(self) -> dict[str, JSON]:
        packages = ("torch", "transformers", "peft", "xgrammar")
        return {
            "model": str(self.options.model["id"]),
            "dtype": self.loaded.dtype,
            "device": self.loaded.device,
            "device_name": _device_name(self.model.device),
            "attention": self.options.attention,
            "parameters": self.parameters,
            "versions": {name: version(name) for name in packages},
        }

    def close(self) -> None:
        self.lora.remove()
        del self.model, self.loaded, self.lora, self.grammars
        _free()

    def _row(self, request: Request) -> Row:
        prompt = self.tokens.prompt(request.prompt)
        self._check_length(len(prompt), request.sampling.max_tokens)
        matcher = None if request.grammar is None else self.grammars.matcher(request.grammar)
        return Row(request, prompt, matcher)

    def _generation(self, row: Row) -> Generation:
        return Generation(
            text=self.tokens.decode(row.text),
            prompt_tokens=len(row.prompt),
            completion_tokens=row.drawn,
            logprob=row.logprob,
            finish="stop" if row.finish == "stop" else "length",
        )

    def _check_length(self, prompt: int, new: int) -> None:
        if prompt + new > self.limit:
            raise EngineError(
                f"A prompt of {prompt} tokens and {new} more exceed the model's "
                f"max_position_embeddings, {self.limit}.",
                where=f"model {self.options.model['id']}",
                cure="Lower max_tokens, or use a model with a longer context.",
            )


@contextmanager
def _model_errors(doing: str) -> Iterator[None]:
    """Torch's failures as ttsi's: out of memory, or a call that failed."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise EngineError(
                f"The model failed while {doing}: {_first_line(error)}",
                where="engine transformers",
                cure='Try "attention": "eager" or "device": "cpu" for the engine.',
            ) from error
        message = f"Out of memory while {doing}: {_first_line(error)}"
    else:
        return
    # Raised out here, where the failed call's frames, and the tensors they hold, are gone.
    _free()
    raise OutOfMemory(
        message,
        where="engine transformers",
        cure="Lower the engine's max_batch_tokens, or the executor's wave.",
    )


def _is_out_of_memory(error: BaseException) -> bool:
    words = str(error).lower()
    told = "out of memory" in words or "can't allocate memory" in words
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or told


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
