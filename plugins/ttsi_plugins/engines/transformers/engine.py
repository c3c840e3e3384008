"""The runtime of the transformers engine: its calls, built from the modules beside this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from ttsi import (
    JSON,
    Adapter,
    EngineCapability,
    EngineError,
    Generation,
    Likelihood,
    OutOfMemory,
    Prompt,
    Rendered,
    Request,
    Token,
    TrainJob,
    Unanswerable,
)
from ttsi._common.collection import collect
from ttsi.errors import release

from . import lora, modes, proven, support, training, weights
from .carrying import CarryingReader, reader
from .decode import Decoder
from .drafts import Answers, Drafter
from .ending import over
from .failures import failure
from .grammar import Grammars
from .identity import identity
from .jobs import Draft
from .memory import Budget, Room, Sizes, adapter_bytes
from .native import NativeDecoder, NativeNetwork, NativeReader
from .prefixes import common
from .reading import Reader
from .rows import Row
from .tokens import Tokens
from .trie import Trie

if TYPE_CHECKING:
    from . import TransformersEngine

Made = TypeVar("Made")
Progress = Callable[[int, int], None]


class Runtime:
    """A loaded model with its cached prefixes and resident adapters."""

    def __init__(self, loaded: weights.Loaded, options: TransformersEngine) -> None:
        self.loaded = loaded
        self.options = options
        self.model: Any = loaded.model
        self.parameters = int(self.model.num_parameters())
        config = self.model.config.get_text_config()
        self.tokens = Tokens(
            loaded.tokenizer,
            self.model.generation_config,
            options.model.get("date"),
            options.model.get("chat_template_kwargs"),
            options.model.get("thinking"),
        )
        self.grammars = Grammars(
            loaded.tokenizer,
            config.vocab_size,
            self.tokens.ends,
            self.tokens.barred,
        )
        self._loaded_digest = weights.digest(self.model)
        # Before the budget is made of what is free: the network keeps a copy of the weights.
        self.network, self.bank, self.why_native = modes.chosen(
            self.model, str(options.model["id"]), proven.facts(self.model, self._loaded_digest)
        )
        self.budget = Budget.of(options.memory_gib, self.model.device)
        self.sizes = Sizes.of(self.model, self.network.token_bytes())
        self.bank.budget = self.budget.adapters
        self.reader: Reader | NativeReader
        self.decoder: Decoder | NativeDecoder
        passed = min(_pass_tokens(self.model.device), self.budget.passes // self.sizes.passed)
        if isinstance(self.network, NativeNetwork):
            self.reader = NativeReader(self.network, passed)
            self.decoder = NativeDecoder(self.network, self.bank, self.tokens.ends)
        else:
            logits = self.sizes.logits / self.sizes.passed
            states = self.network.state_bytes / self.sizes.passed
            self.reader = reader(self.network, self.budget.prefixes, passed, logits, states)
            self.decoder = Decoder(
                self.reader, self.bank, self.tokens.ends, self.budget.work, self.sizes.step
            )
        self.answers = Answers()
        # Bytes of a group in training.
        self.room = Room(self.budget.work)
        self.limit = support.reach(config)

    @classmethod
    def load(cls, options: TransformersEngine) -> Runtime:
        return cls(weights.load(options.model, options.device), options)

    @property
    def capabilities(self) -> frozenset[EngineCapability]:
        """What the model can do in its mode: in native mode nothing that was read is kept."""
        everything = frozenset(EngineCapability)
        native = isinstance(self.network, NativeNetwork)
        return everything - {EngineCapability.ACTIVATED} if native else everything

    def loglikelihoods(
        self,
        prompts: Sequence[Prompt],
        continuations: Sequence[Sequence[str]],
        progress: Progress,
    ) -> list[list[Likelihood]]:
        if len(prompts) != len(continuations):
            raise ValueError(f"{len(prompts)} prompts, {len(continuations)} continuation lists")
        wanted: dict[tuple[int, ...], dict[tuple[int, ...], float]] = {}
        cuts: dict[tuple[int, ...], int] = {}
        each = []
        for prompt, texts in zip(prompts, continuations, strict=True):
            ids = tuple(self.tokens.prompt(prompt))
            candidates = [tuple(self.tokens.text(text)) for text in texts]
            self._check_length(len(ids), max(map(len, candidates), default=0))
            wanted.setdefault(ids, {}).update(dict.fromkeys(candidates, 0.0))
            cuts[ids] = self._answered_after(prompt, ids)
            each.append((ids, candidates))
        contexts = list(wanted)
        tries = [Trie(list(wanted[ids])) for ids in contexts]

        def score() -> None:
            readings = self.reader.read(contexts, tries, [cuts[ids] for ids in contexts])
            for done, (index, _, logits) in enumerate(readings, start=1):
                found = zip(tries[index].candidates, tries[index].logprobs(logits), strict=True)
                wanted[contexts[index]].update(found)
                progress(done, len(contexts))

        self._guarded("scoring candidates", score)
        return [
            [Likelihood(wanted[ids][candidate], len(candidate)) for candidate in candidates]
            for ids, candidates in each
        ]

    def _answered_after(self, prompt: Prompt, ids: Sequence[int]) -> int:
        """Return how many of `ids` an answer to the prompt will begin with, but for its last token.

        It is 0 where they are the same prompt, and for models that can go on from anywhere.
        """
        if not (isinstance(self.reader, CarryingReader) and prompt.opening):
            return 0
        return common(ids, self.tokens.prompt(replace(prompt, opening=""))[:-1])

    def generate(self, requests: Sequence[Request], progress: Progress) -> list[Generation]:
        rows = [self._row(request) for request in requests]
        done = 0

        def finished(count: int) -> None:
            nonlocal done
            done += count
            progress(done, len(rows))

        if rows:
            most = self.options.max_batch
            self._guarded("generating", lambda: self.decoder.run(rows, most, finished))
        return [self._generation(row) for row in rows]

    def train(self, jobs: Sequence[TrainJob], progress: Progress) -> list[Adapter]:
        drafts = [Draft(job, self.tokens) for job in jobs]
        for draft in drafts:
            for text in draft.texts:
                self._check_length(len(text.prompt), len(text.target))
        made: dict[int, Adapter] = {}
        steps = sum(len(job.pairs) * job.recipe.epochs for job in jobs)
        done = 0

        def stepped(count: int) -> None:
            nonlocal done
            done += count
            progress(done, steps)

        def learn() -> None:
            self.bank.reserve_for([job.recipe.rank for job in jobs])
            token, widths = self._widths(drafts)
            for group in training.groups(widths, self.room.limit // token):
                with self.room.taking(token * len(group) * widths[group[0]]):
                    ready = [drafts[index].ready(self.reader.past) for index in group]
                    adapters = training.fit(self.network, self.bank, ready, stepped)
                made.update(zip(group, adapters, strict=True))

        if jobs:
            self._guarded("training", learn)
        return [made[index] for index in range(len(jobs))]

    def _widths(self, drafts: Sequence[Draft]) -> tuple[int, list[int]]:
        """Return the bytes of a token in training, and each job's width in tokens.

        The adapter, the target's logits and a KV cache count as the tokens that take as many bytes.
        """
        sizes = self.sizes
        rank = max(draft.job.recipe.rank for draft in drafts)
        # Each layer counts two float32 vectors of width rank: x A^T, unscaled and scaled.
        token = sizes.trained + 8 * rank * len(self.bank.layers)
        widths = []
        for draft in drafts:
            texts = draft.texts
            read = max((len(t.prompt) - t.start + len(t.target) for t in texts), default=0)
            beside = adapter_bytes(self.bank.parameters(rank), draft.job.keep == "best")
            beside += max((t.taught + len(t.target) for t in texts), default=0) * sizes.target
            # A pass copies the KV cache and the states before an activated adapter.
            pasts = max((t.start for t in texts), default=0)
            beside += pasts * self.network.token_bytes()
            beside += 2 * self.network.state_bytes if pasts else 0
            widths.append(read + -(-beside // token))
        return token, widths

    def forget(self) -> None:
        """Drop cached prefixes and adapters, and restore limits that a lack of memory lowered."""
        for room in self._rooms:
            room.restore()
        self.answers.count_anew()
        self._drop()

    @property
    def _rooms(self) -> tuple[Room, ...]:
        return (self.reader.room, self.decoder.room, self.room)

    def _drop(self) -> None:
        """Free cached prefixes and adapters."""
        self.reader.forget()
        self.answers.clear()
        self.bank.clear()
        _free()

    def digest(self) -> str:
        return self._guarded("hashing the weights", lambda: weights.digest(self.model))

    def identity(self) -> dict[str, JSON]:
        return dict(self._identity)

    @cached_property
    def _identity(self) -> dict[str, JSON]:
        return identity(self.loaded, self._loaded_digest, self.tokens.ends)

    def describe(self) -> dict[str, JSON]:
        packages = ("torch", "transformers", "peft", "xgrammar")
        return {
            "model": str(self.options.model["id"]),
            "dtype": self.loaded.dtype,
            "device": self.loaded.device,
            "device_name": _device_name(self.model.device),
            "memory_gib": round(self.budget.total / 2**30, 3),
            "parameters": self.parameters,
            **self._mode,
            **self.tokens.template.describe(),
            "guessed": self.answers.describe(),
            "versions": {name: version(name) for name in packages},
        }

    @cached_property
    def _mode(self) -> dict[str, JSON]:
        """Return by which passes the model runs, why if not by the engine's, and which weights no
        adapter acts on."""
        facts: dict[str, JSON] = {"mode": self.network.mode}
        if self.why_native:
            facts["why_native"] = self.why_native
        left = list(lora.unadaptable(self.model))
        return {**facts, "not_adapted": left} if left else facts

    def called(self, prompt: Prompt, calls: JSON) -> str:
        return self.tokens.called(prompt, calls)

    def rendered(self, prompt: Prompt) -> Rendered:
        return self.tokens.rendered(self.tokens.prompt(prompt))

    def rendered_text(self, text: str, end: bool) -> Rendered:
        return self.tokens.rendered(self.tokens.target(text) if end else self.tokens.text(text))

    def close(self) -> None:
        self.bank.close()
        self.network.close()
        self.__dict__.clear()
        _free()

    def _row(self, request: Request) -> Row:
        prompt = self.tokens.prompt(request.prompt)
        thinks = self.tokens.thinks(request.prompt)
        thought = self.tokens.thought(request.sampling.thought_tokens) if thinks else None
        more = 0 if thought is None else thought.room
        self._check_length(len(prompt), more + request.sampling.max_tokens)
        matcher = None if request.grammar is None else self.grammars.matcher(request.grammar)
        start = 0
        if request.adapter is not None:
            start = self._start_under(request.adapter, prompt)
        drafter = self._drafter(request.prompt, prompt)
        return Row(
            request,
            prompt,
            matcher,
            start,
            thought,
            drafter,
            over(request, self.options, self.tokens),
        )

    def _drafter(self, asked: Prompt, ids: list[int]) -> Drafter:
        """Return what guesses at the answer: the same question may come with demonstrations."""
        # Hashed, so that texts of prompts are not kept; a collision costs a guess.
        question = hash((asked.messages[:1], asked.messages[-1:], asked.opening))
        return Drafter(
            ids, question, self.answers, self.tokens.text, self.tokens.spelled, self.tokens.ends
        )

    def _start_under(self, adapter: Adapter, prompt: list[int]) -> int:
        """Return the index in `prompt` from which `adapter` acts. Raises EngineError for none."""
        start = lora.begins(adapter.config, prompt)
        if start is None:
            raise EngineError(
                "The prompt holds no tokens from which the adapter would begin to act.",
                where=f"alora_invocation_tokens {adapter.config['alora_invocation_tokens']}",
                cure="Use an adapter that was trained on this model and its chat template.",
            )
        return start

    def _generation(self, row: Row) -> Generation:
        ended = row.finish == "stop"
        texts = self.tokens.texts(row.text) + [""] * ended
        return Generation(
            text="".join(texts),
            prompt_tokens=len(row.prompt),
            completion_tokens=row.drawn,
            logprob=row.logprob,
            finish="stop" if ended else "length",
            tokens=tuple(map(Token, texts, row.logprobs, row.forced)),
        )

    def _guarded(self, doing: str, work: Callable[[], Made]) -> Made:
        """Return what `work` returns; raise torch's failures as ttsi's errors.

        When memory runs out, the caches are dropped, and later calls take half as much at a time.
        """
        for room in self._rooms:
            room.begin()
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            release(error)
            failed = failure(error, doing)
        # Raised outside the except block: as a context, the failed call would keep its tensors.
        if isinstance(failed, OutOfMemory):
            for room in self._rooms:
                room.shrink()
            self._drop()
        raise failed

    def _check_length(self, prompt: int, new: int) -> None:
        if prompt + new > self.limit:
            raise Unanswerable(
                f"A prompt of {prompt} tokens and {new} more exceed the model's "
                f"max_position_embeddings, {self.limit}.",
                where=f"model {self.options.model['id']}",
                cure="Lower max_tokens, or use a model with a longer context.",
            )


def _pass_tokens(device: torch.device) -> int:
    """Return the most tokens for a pass over several prompts; more would not be faster."""
    return 16384 if device.type == "cuda" else 512


def _free() -> None:
    collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
