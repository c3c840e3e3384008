"""The model that all references share: a bare copy, and one with a PEFT adapter."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from typing import Any

import peft
import torch
import xgrammar
from torch import Tensor

from ttsi_plugins.engines.transformers import weights
from ttsi_plugins.engines.transformers.grammar import grammar_schema
from ttsi_plugins.engines.transformers.tokens import Tokens


class Resident:
    """A loaded model, its tokens, compiled grammars, and PEFT beside it once it is asked for."""

    def __init__(self, loaded: weights.Loaded) -> None:
        self.model: Any = loaded.model
        self.tokens = Tokens(loaded.tokenizer, self.model.generation_config)
        self.device: torch.device = self.model.device
        vocabulary = self.model.config.get_text_config().vocab_size
        info = xgrammar.TokenizerInfo.from_huggingface(
            loaded.tokenizer, vocab_size=vocabulary, stop_token_ids=list(self.tokens.ends)
        )
        self._compiler = xgrammar.GrammarCompiler(info)
        self._compiled: dict[str, Any] = {}
        self.barred = [id for id in self.tokens.barred if id < vocabulary]

    @classmethod
    def load(cls, model: str, device: str, dtype: str = "auto") -> Resident:
        return cls(weights.load({"id": model, "dtype": dtype}, device))

    def grammar(self, schema: Mapping[str, Any]) -> Any:
        """Return the schema compiled as ours compiles it, and keep it for later runs."""
        text = json.dumps(schema)
        if text not in self._compiled:
            self._compiled[text] = self._compiler.compile_json_schema(
                grammar_schema(text), any_whitespace=False, strict_mode=True
            )
        return self._compiled[text]


class Adapted:
    """The model with one PEFT adapter, whose weights are set in memory from sample to sample."""

    def __init__(self, resident: Resident, config: Mapping[str, Any]) -> None:
        base = resident.model
        # The copy has its own modules, which take adapters, and shares the weights.
        shared = {id(tensor): tensor for tensor in [*base.parameters(), *base.buffers()]}
        settings = {key: value for key, value in config.items() if key not in _ORIGIN}
        with warnings.catch_warnings():
            # PEFT uses a name that transformers has deprecated.
            warnings.simplefilter("ignore", FutureWarning)
            parsed = peft.PeftConfig.from_peft_type(**settings)
            self.model: Any = peft.get_peft_model(copy.deepcopy(base, shared), parsed)
        # These share their memory with the parameters.
        self._tensors: dict[str, Tensor] = peft.get_peft_model_state_dict(
            self.model, save_embedding_layers=False
        )

    @torch.no_grad()
    def set(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in self._tensors.items():
            tensor.copy_(tensors[name])

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the adapter on the CPU, by PEFT's names."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self._tensors.items()}


_ORIGIN = {"base_model_name_or_path", "inference_mode", "peft_version", "auto_mapping"}
