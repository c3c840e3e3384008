"""Failures of torch, told apart: a lost device, a lack of memory, and all others."""

from __future__ import annotations

import torch

from ttsi import DeviceLost, EngineError, OutOfMemory, TtsiError
from ttsi_plugins.engines._messages import first_line


def failure(error: RuntimeError | MemoryError, doing: str) -> TtsiError:
    """Return torch's `error` as DeviceLost, OutOfMemory, or else EngineError."""
    if _is_device_lost(error):
        return DeviceLost(
            f"The device was lost while {doing}: {first_line(error)}",
            where="engine transformers",
            cure="Run the same command: it resumes, on a new context of the device. If it "
            'stops at the same sample, try "device": "cpu" for the engine.',
        )
    if is_out_of_memory(error):
        return OutOfMemory(
            f"Out of memory while {doing}: {first_line(error)}",
            where="engine transformers",
            cure="Lower the engine's memory_gib, or the executor's wave.",
        )
    return EngineError(
        f"The model failed while {doing}: {first_line(error)}",
        where="engine transformers",
        cure='Try "device": "cpu" for the engine.',
    )


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory was lacking, by the error's type or, as torch raises it plainly, its words."""
    words = str(error).lower()
    told = "out of memory" in words or "can't allocate memory" in words
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or told


def _is_device_lost(error: BaseException) -> bool:
    """Return whether the device's context is broken, so that every later call would fail."""
    if is_out_of_memory(error):
        return False
    words = str(error).lower()
    # A call that cuBLAS or cuDNN refuses (CUBLAS_STATUS_...) leaves the device usable.
    told = "device-side assert" in words or ("cuda error" in words and "_status_" not in words)
    return told or isinstance(error, torch.AcceleratorError)
