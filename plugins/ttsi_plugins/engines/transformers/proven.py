"""Which models have passed the check at load before: a second load of the same need not repeat it.

    <cache>/proofs/<digest>.json   the facts that the result depends on, for people to read

The facts are the engine's code, the libraries' versions, the weights, the config and the device.
A file says that the check passed; one that fails leaves none. Deleting the folder checks all again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ttsi import JSON, StorageError, bytes_digest, file_digest, json_digest
from ttsi._common.files import write_json
from ttsi.assets import cache_root

# Of this process: a file that is changed later is not what runs. The last of the libraries are
# kernels that transformers takes where it finds them.
_SOURCES = sorted(Path(__file__).parent.glob("*.py"))
_CODE = json_digest([file_digest(path) for path in _SOURCES])
_LIBRARIES = ("torch", "transformers", "peft", "kernels", "causal-conv1d", "mamba-ssm")
_LIBRARIES += ("flash-linear-attention", "xielu")


def facts(model: Any, weights_digest: str) -> dict[str, JSON]:
    """Return all that the result of `proof` depends on; `weights_digest` is that of `model`."""
    device = model.device
    on_gpu = device.type == "cuda"
    return {
        "code": _CODE,
        "versions": {name: _version(name) for name in _LIBRARIES},
        "precision": torch.get_float32_matmul_precision(),
        "weights": weights_digest,
        "config": bytes_digest(model.config.to_json_string(use_diff=False).encode()),
        "dtype": str(model.dtype),
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def known(mode: str, facts: Mapping[str, JSON]) -> bool:
    """Whether a model with these facts has passed the check of `mode` on this machine."""
    path = _file(mode, facts)
    return path is not None and os.path.isfile(path)


def remember(mode: str, facts: Mapping[str, JSON]) -> None:
    """Keep that the check of `mode` passed, unless the cache cannot be written."""
    path = _file(mode, facts)
    if path is not None and not os.path.isfile(path):
        with suppress(OSError, StorageError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"mode": mode, **facts})


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _file(mode: str, facts: Mapping[str, JSON]) -> Path | None:
    """Return the file for these facts; None where there is no cache, or the code is not known."""
    key = json_digest([mode, dict(facts)]).removeprefix("sha256:")
    try:
        return cache_root() / "proofs" / f"{key[:32]}.json" if _SOURCES else None
    except (OSError, RuntimeError):
        # The home folder of TTSI_CACHE_DIR=~someone cannot be found.
        return None
