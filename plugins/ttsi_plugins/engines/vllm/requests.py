"""Requests as vLLM is asked them, and what comes back.

Prompts are token ids, made by the same code as the transformers engine's. Grammars go over as
xgrammar's own text of the same grammar that engine compiles: vLLM's way with a JSON Schema allows
other white space, and refuses schemas of which xgrammar enforces only a part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import xgrammar
from vllm import RequestOutput, SamplingParams
from vllm.sampling_params import StructuredOutputsParams

from ttsi import EngineError, Generation, Request, Sampling
from ttsi_plugins.engines.transformers.grammar import Grammars, grammar_schema
from ttsi_plugins.engines.transformers.tokens import Tokens

# Far below any logit, and a number with which vLLM can still compute.
_BARRED = -1e9


@dataclass(eq=False)
class Row:
    """One request under way. `held`: by a grammar."""

    prompt: list[int]
    params: SamplingParams
    held: bool
    text: list[int] = field(default_factory=list)
    logprob: float = 0.0
    finish: str = ""

    def take(self, output: RequestOutput) -> None:
        """The text that vLLM wrote, its end token included."""
        (made,) = output.outputs
        if made.finish_reason not in ("stop", "length"):
            raise EngineError(
                f"vLLM gave up a request: {made.finish_reason}.",
                where="engine vllm; its own messages are above",
                cure='Try the engine "transformers".',
            )
        self.text = list(made.token_ids)
        self.finish = made.finish_reason
        self.logprob = float(made.cumulative_logprob or 0.0)

    def reading(self) -> tuple[list[int], SamplingParams]:
        """The prompt and its text as a prompt, to be told the likelihood of."""
        params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        return self.prompt + self.text, params

    def take_reading(self, output: RequestOutput) -> None:
        told = (output.prompt_logprobs or [])[len(self.prompt) :]
        found = zip(self.text, told, strict=True)
        self.logprob = float(sum(position[token].logprob for token, position in found if position))


class Writer:
    """Turns requests into rows, and rows into generations. `limit`: tokens that vLLM can hold."""

    def __init__(self, tokens: Tokens, grammars: Grammars, limit: int) -> None:
        self._tokens = tokens
        self._grammars = grammars
        self._limit = limit
        # To xgrammar a control token or marker is the text that it is written with.
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
        ended = row.finish == "stop"
        return Generation(
            text=self._tokens.decode(row.text[:-1] if ended else row.text),
            prompt_tokens=len(row.prompt),
            completion_tokens=len(row.text),
            logprob=row.logprob,
            finish="stop" if ended else "length",
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
            # Of the token drawn, and of no other.
            logprobs=0,
            detokenize=False,
            **settings,
        )

    def _grammar(self, schema: Mapping[str, Any]) -> str:
        """xgrammar's text of the grammar. Raises EngineError, naming the tool, for none."""
        # Compiled here first for its errors: there they would be lines in a log.
        self._grammars.matcher(schema)
        grammar = xgrammar.Grammar.from_json_schema(
            grammar_schema(json.dumps(schema)), any_whitespace=False, strict_mode=True
        )
        return str(grammar)

    def _check_length(self, prompt: int, new: int) -> None:
        # One token more, for the reading of a text that a grammar held.
        if prompt + new + 1 > self._limit:
            raise EngineError(
                f"A prompt of {prompt} tokens and {new} more exceed what vLLM holds of a text, "
                f"{self._limit - 1}.",
                where="engine vllm, max_model_len",
                cure="Lower max_tokens, raise max_model_len, or use a model with a longer context.",
            )
