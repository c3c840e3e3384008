"""Hand adapters over to vLLM, which loads them from folders only.

The folders lie in shared memory and are deleted after the call. vLLM tells cached keys and values
apart by an adapter's name and path, and loaded weights by its number. So name, path and number are
new for every adapter of every call: with an old one vLLM would use another adapter's cache.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Protocol

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from vllm.lora.request import LoRARequest

from ttsi import Adapter, json_digest
from ttsi_plugins.engines.transformers import lora

_SHARED = Path("/dev/shm")
# The prefix of the names of all folders that this process makes, and of no others.
_PREFIX = f"ttsi-adapters-{secrets.token_hex(8)}-"
_numbers = itertools.count(1)


class Holder(Protocol):
    """The server that adapters are handed over to."""

    def add_adapter(self, adapter: LoRARequest) -> None: ...

    def remove_adapter(self, adapter: LoRARequest) -> None: ...


@contextmanager
def handed_over(
    adapters: Sequence[Adapter | None], holder: Holder
) -> Iterator[list[LoRARequest | None]]:
    """Yield the request by which vLLM knows each of `adapters`; equal ones are handed over once.

    After the block the holder has none of them, and their files are deleted.
    """
    keys = [None if adapter is None else _key(adapter) for adapter in adapters]
    distinct = {
        key: adapter
        for key, adapter in zip(keys, adapters, strict=True)
        if key is not None and adapter is not None
    }
    size = sum(len(adapter.safetensors) for adapter in distinct.values())
    with TemporaryDirectory(prefix=_PREFIX, dir=_home(size)) as folder:
        requests: dict[tuple[str, str], LoRARequest] = {}
        try:
            for key, adapter in distinct.items():
                request = named(Path(folder))
                lora.export(adapter, Path(request.lora_path))
                holder.add_adapter(request)
                requests[key] = request
            yield [None if key is None else requests[key] for key in keys]
        finally:
            for request in requests.values():
                holder.remove_adapter(request)


def named(folder: Path) -> LoRARequest:
    """Return a request with a name, number and path in `folder` that were never used before."""
    number = next(_numbers)
    name = f"ttsi-{os.getpid()}-{number}"
    return LoRARequest(name, number, str(folder / name))


def places() -> list[Path]:
    """Return the prefixes of the paths that `handed_over` makes."""
    return [Path(home) / _PREFIX for home in (_SHARED, gettempdir())]


def layers(folder: Path) -> list[str]:
    """Return the names of the layers that adapters act on: all linear ones except the head.

    By default vLLM also adapts the head, and then cannot compute a prompt's likelihood.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    modules = model.named_modules()
    linear = {name for name, part in modules if isinstance(part, nn.Linear) and part is not head}
    return sorted({name.rpartition(".")[2] for name in linear})


def _key(adapter: Adapter) -> tuple[str, str]:
    """Return what identifies an adapter: the weights, and the config, which sets their scale."""
    return adapter.digest, json_digest(dict(adapter.config))


def _home(size: int) -> Path | None:
    """Return shared memory if it has twice `size` bytes free (containers often have 64 MiB).

    None means the folder for temporary files.
    """
    if _SHARED.is_dir() and os.access(_SHARED, os.W_OK):
        return _SHARED if shutil.disk_usage(_SHARED).free > 2 * size else None
    return None
