"""The identity of a loaded model: weights, tokenizer, chat template, configuration, commit."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttsi import JSON, bytes_digest, json_digest

from .convert import source_digest

if TYPE_CHECKING:
    from .weights import Loaded

_COMMIT = re.compile(r"[0-9a-f]{40}")
# Settings of calls that truncate or pad, which the engine does not make.
_OF_CALLS = ("truncation", "padding")
# Who saved the model, and where; the weights' digest already includes their number format.
_SHAPES_NO_RESULT = ("_name_or_path", "transformers_version", "torch_dtype", "dtype")


def identity(loaded: Loaded, weights_digest: str, ends: Sequence[int]) -> dict[str, JSON]:
    """Return the identity of an engine with this model; `ends` are the ids that stop decoding."""
    return {
        "weights_digest": weights_digest,
        "model_revision": commit(loaded.folder),
        "config_digest": _config_digest(loaded.folder),
        "tokenizer_digest": _tokenizer_digest(loaded.tokenizer, ends),
        "chat_template_digest": _template_digest(loaded.tokenizer.chat_template),
        "dtype": loaded.dtype,
        "device": loaded.device.partition(":")[0],
    }


def commit(folder: Path) -> str | None:
    """Return the Hub's commit of a model in the Hub's own cache; None for a folder elsewhere."""
    of_hub = folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name)
    return folder.name if of_hub else None


def _config_digest(folder: Path) -> str:
    """Return the digest of config.json: positions, windows and scales change results too.

    For a GGUF file it is the file's digest, since the config made of it depends on transformers.
    """
    converted = source_digest(folder)
    if converted is not None:
        return converted
    config = json.loads((folder / "config.json").read_bytes())
    return json_digest({k: v for k, v in config.items() if k not in _SHAPES_NO_RESULT})


def _tokenizer_digest(tokenizer: Any, ends: Sequence[int]) -> str:
    """Return the digest of all that maps texts to ids: vocabulary, merges, rules, added tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        rules: Any = {"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
    else:
        rules = {k: v for k, v in json.loads(backend.to_str()).items() if k not in _OF_CALLS}
    added = {
        str(id): [token.content, token.special, token.lstrip, token.rstrip, token.normalized]
        for id, token in tokenizer.added_tokens_decoder.items()
    }
    special = {name: str(value) for name, value in tokenizer.special_tokens_map.items()}
    return json_digest([rules, added, special, list(ends)])


def _template_digest(template: Any) -> str | None:
    """Return the digest of a template's text, or of several, by name; None for no template."""
    if not template:
        return None
    return bytes_digest(template.encode()) if isinstance(template, str) else json_digest(template)
