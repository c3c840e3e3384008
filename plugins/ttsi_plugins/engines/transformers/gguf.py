"""Read a GGUF file, and write it as a folder of safetensors, by way of transformers."""

from __future__ import annotations

import errno
import importlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ttsi import CorruptAsset

from .hub import library_errors, needs_packages, quiet

_NOT_WHOLE = "Fetch the file again: this one is not a whole GGUF file that transformers can read."
# Vocabularies whose training text was cut at every digit before the GPT-2 pattern was applied.
_DIGIT_BY_DIGIT = {"smollm", "starcoder", "refact", "codeshell"}


def read(path: Path) -> Any:
    """Return the file as a gguf.GGUFReader. Raises CorruptAsset, MissingAsset (no gguf package)."""
    with needs_packages():
        import gguf
        import numpy as np

    class Reader(gguf.GGUFReader):
        # np.memmap pays for bookkeeping on each of a million slices; a plain view of it does not.
        @property
        def data(self) -> Any:
            return self._plain

        @data.setter
        def data(self, mapped: Any) -> None:
            self._plain = mapped.view(np.ndarray)

    with library_errors("This is not a readable GGUF file", path, _NOT_WHOLE):
        return Reader(path)


def parameter_count(reader: Any) -> int:
    return sum(int(tensor.n_elements) for tensor in reader.tensors)


def write_folder(
    reader: Any, path: Path, folder: Path, dtype: str, advance: Callable[[], None]
) -> None:
    """Dequantise `path`, parsed as `reader`, into the empty `folder`: weights, config, tokenizer.

    `dtype` names a torch dtype; `advance` is called after each tensor. Raises CorruptAsset where
    transformers cannot make a model of the file, OSError where the disk refuses.
    """
    model, tokenizer = _load(reader, path, folder, dtype, advance)
    if _text_field(reader, "tokenizer.ggml.pre") in _DIGIT_BY_DIGIT:
        _split_digits(tokenizer)
    # The weights are plain tensors now, but transformers refuses to save a model that it
    # remembers as quantised.
    model.hf_quantizer = None
    vars(model.config).pop("quantization_config", None)
    with quiet(), _disk_errors():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _load(
    reader: Any, path: Path, folder: Path, dtype: str, advance: Callable[[], None]
) -> tuple[Any, Any]:
    with needs_packages():
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        importlib.import_module("accelerate")  # transformers needs it here, and names no package
    # transformers also reads files beside the GGUF file (tokenizer_config.json, adapters). With a
    # link alone in a folder, the result depends on the GGUF file's bytes only.
    link = folder / "source.gguf"
    link.symlink_to(path.resolve())
    what = "transformers cannot make a model of this GGUF file"
    with library_errors(what, path, _NOT_WHOLE), quiet(), _parsed_once(reader, advance):
        made: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            gguf_file=link.name,
            dtype=getattr(torch, dtype),
            quantization_config=GgufConfig(dequantize=True),
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(
            folder, gguf_file=link.name, local_files_only=True, trust_remote_code=False
        )
    model, info = made
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise CorruptAsset(
            f"The GGUF file lacks {len(missing)} weights of its architecture, first {missing[0]}.",
            where=str(path),
            cure=_NOT_WHOLE,
        )
    link.unlink()
    return model, tokenizer


@contextmanager
def _parsed_once(reader: Any, advance: Callable[[], None]) -> Iterator[None]:
    """Let transformers use `reader` and a cached table of tensor names in the block.

    By itself it parses the file three times and builds that table once for every module, which
    takes most of the time of loading. Its progress bar over tensors becomes calls of `advance`.
    """
    import gguf
    from transformers import modeling_gguf_pytorch_utils as loader

    def counted(tensors: Iterable[Any], **_: Any) -> Iterator[Any]:
        for tensor in tensors:
            yield tensor
            advance()

    with ExitStack() as stack:
        stack.enter_context(_replaced(gguf, "GGUFReader", lambda _path: reader))
        stack.enter_context(_replaced(gguf, "get_tensor_name_map", cache(gguf.get_tensor_name_map)))
        stack.enter_context(_replaced(loader, "tqdm", counted))
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Raise OSError for disk errors of safetensors, which gives their number only in its text."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number)) from error


def _text_field(reader: Any, name: str) -> str:
    field = reader.get_field(name)
    return str(field.contents()) if field is not None else ""


def _split_digits(tokenizer: Any) -> None:
    """Make `tokenizer` cut at every digit first, as in training.

    transformers leaves this out, so that an indented number would begin with tokens that the model
    never saw there.
    """
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
