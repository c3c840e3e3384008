"""Requests in vLLM's form, and its outputs as generations.

Prompts are token ids, made by the same code as the transformers engine's. A grammar is sent as
xgrammar's text of the grammar that the transformers engine compiles: for a JSON Schema vLLM allows
other white space, and refuses schemas that xgrammar enforces only in part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xgrammar
from vllm import RequestOutput, SamplingParams
from vllm.sampling_params import StructuredOutputsParams

from ttsi import EngineError, Generation, Request, Sampling, Token, Unanswerable
from ttsi_plugins.engines.transformers.grammar import Grammars, grammar_schema
from ttsi_plugins.engines.transformers.tokens import Tokens

# Far below any logit, but finite, so that vLLM can compute with it.
_BARRED = -1e9


@dataclass(eq=False)
class Row:
    """One request in progress; `held` says whether a grammar constrains it."""

    prompt: list[int]
    params: SamplingParams
    held: bool
    text: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: str = ""

    def take(self, output: RequestOutput) -> None:
        """Take the text that vLLM wrote, with its end token. Raises EngineError if it gave up."""
        (made,) = output.outputs
        if made.finish_reason not in ("stop", "length"):
            raise EngineError(
                f"vLLM gave up a request: {made.finish_reason}.",
                where="engine vllm; its own messages are above",
                cure='Try the engine "transformers".',
            )
        self.text = list(made.token_ids)
        self.finish = made.finish_reason
        self.logprobs = _own(self.text, made.logprobs)

    def reading(self) -> tuple[list[int], SamplingParams]:
        """Return a prompt of prompt and text, with which vLLM computes their likelihood."""
        params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        return self.prompt + self.text, params

    def take_reading(self, output: RequestOutput) -> None:
        self.logprobs = _own(self.text, (output.prompt_logprobs or [])[len(self.prompt) :])


def _own(text: Sequence[int], told: Any) -> list[float]:
    """Return the log-probability of each token of `text` from what vLLM told of its place."""
    return [float(place[token].logprob) for token, place in zip(text, told, strict=True)]


class Writer:
    """The conversion of requests to rows, and of rows to generations, of at most `limit` tokens."""

    def __init__(self, tokens: Tokens, grammars: Grammars, limit: int) -> None:
        self._tokens = tokens
        self._grammars = grammars
        self._limit = limit
        # xgrammar takes a control token or marker for its text, and would allow it in strings.
        self._bias = dict.fromkeys(tokens.barred, _BARRED)

    def row(self, request: Request) -> Row:
        prompt = self._tokens.prompt(request.prompt)
        self._check_length(len(prompt), request.sampling.max_tokens)
        settings: dict[str, Any] = {}
        if request.grammar is not None:
            text = self._grammar(request.grammar)
            settings = {"structured_outputs": StructuredOutputsParams(grammar=text)}
            settings["logit_bias"] = self._bias
        params = self._params(request.sampling, request.seed, settings)
        return Row(prompt, params, held=request.grammar is not None)

    def generation(self, row: Row) -> Generation:
        texts = self._tokens.texts(row.text)
        return Generation(
            text="".join(texts),
            prompt_tokens=len(row.prompt),
            completion_tokens=len(row.text),
            logprob=sum(row.logprobs),
            finish="stop" if row.finish == "stop" else "length",
            # What was forced is not known: vLLM has the grammar in another process.
            tokens=tuple(map(Token, texts, row.logprobs)),
        )

    def _params(self, sampling: Sampling, seed: int, settings: Mapping[str, Any]) -> SamplingParams:
        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            repetition_penalty=sampling.repetition_penalty,
            max_tokens=sampling.max_tokens,
            seed=seed,
            stop_token_ids=list(self._tokens.ends),
            # 0: only the log-probability of the token drawn.
            logprobs=0,
            detokenize=False,
            **settings,
        )

    def _grammar(self, schema: Mapping[str, Any]) -> str:
        """Return xgrammar's text of the grammar. Raises EngineError, naming the tool, for none."""
        # Compiled here first for its errors: in vLLM's process they would only be logged.
        self._grammars.matcher(schema)
        grammar = xgrammar.Grammar.from_json_schema(
            grammar_schema(json.dumps(schema)), any_whitespace=False, strict_mode=True
        )
        return str(grammar)

    def _check_length(self, prompt: int, new: int) -> None:
        # One token more: vLLM draws one when it reads a constrained text again.
        if prompt + new + 1 > self._limit:
            raise Unanswerable(
                f"A prompt of {prompt} tokens and {new} more exceed what vLLM holds of a text, "
                f"{self._limit - 1}.",
                where="engine vllm, max_model_len",
                cure="Lower max_tokens, raise max_model_len, or use a model with a longer context.",
            )
