"""The engine's decisions on a GPU, with simulated answers of the device: no kernel runs here.

docs/gpu.md lists what only a GPU can show.
"""

from __future__ import annotations

import pytest
import torch

from ttsi.errors import DeviceLost, EngineError, OutOfMemory
from ttsi_plugins.engines.transformers import engine, failures, weights
from ttsi_plugins.engines.transformers.memory import Budget

CUDA = torch.device("cuda", 0)
GIB = 2**30


def test_auto_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert weights._device("auto").type == kind


def test_memory_is_a_share_of_what_the_gpu_has_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (20 * GIB, 24 * GIB))
    assert Budget.of(None, CUDA).total == 17 * GIB
    assert Budget.of(3, CUDA).total == 3 * GIB


def test_a_gpu_reads_more_tokens_in_a_pass_than_a_cpu() -> None:
    assert engine._pass_tokens(CUDA) > engine._pass_tokens(torch.device("cpu"))


def test_what_cuda_says_when_it_is_full_is_out_of_memory() -> None:
    said = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert failures.is_out_of_memory(said)
    assert failures.is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert not failures.is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))


@pytest.mark.parametrize(
    "said",
    [
        RuntimeError("CUDA error: device-side assert triggered"),
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("HIP error: device-side assert triggered"),
    ],
)
def test_a_device_that_answers_no_call_any_more_is_lost(said: RuntimeError) -> None:
    with pytest.raises(DeviceLost, match="lost while scoring") as caught:
        raise_guarded(said)
    assert "resumes" in caught.value.cure
    assert not isinstance(caught.value, EngineError)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (torch.AcceleratorError("CUDA error: out of memory"), OutOfMemory),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling gemm"), EngineError),
        (RuntimeError("The size of tensor a must match"), EngineError),
    ],
)
def test_a_device_that_refused_one_call_is_not(said: RuntimeError, kind: type[EngineError]) -> None:
    with pytest.raises(EngineError) as caught:
        raise_guarded(said)
    assert type(caught.value) is kind


def raise_guarded(error: RuntimeError) -> None:
    raise failures.failure(error, "scoring")


def test_freed_memory_is_given_back_to_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_back.append(True))
    engine._free()
    assert given_back


def test_a_gpu_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device.index}")
    assert engine._device_name(CUDA) == "card 0"
    assert engine._device_name(torch.device("cpu")) == "cpu"
