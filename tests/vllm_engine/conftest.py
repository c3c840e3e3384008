"""One vLLM for all tests of this folder, and the transformers engine that it is held against.

The folder is for the tox environment `vllm`: its modules are not called test_*, so that no other
environment collects what it cannot run.
"""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from ttsi_plugins.engines.transformers import TransformersEngine
from ttsi_plugins.engines.vllm import VllmEngine

MODEL = {"id": "smollm2-135m", "dtype": "float32"}
# What vLLM may take, for weights of half a GiB, keys and values, and what it has loaded.
SHARE = 3 * 2**30


def pytest_configure(config: pytest.Config) -> None:
    """vLLM leaves sockets' contexts to the garbage collector."""
    config.addinivalue_line("filterwarnings", "ignore:Unclosed context:ResourceWarning")


@pytest.fixture(scope="session")
def engine() -> Iterator[VllmEngine]:
    made = VllmEngine(
        MODEL,
        gpu_memory_utilization=SHARE / psutil.virtual_memory().total,
        memory_gib=1.5,
        max_loras=4,
        max_model_len=2048,
        eager=True,
    )
    made.load()
    yield made
    made.close()


@pytest.fixture(scope="session")
def oracle() -> Iterator[TransformersEngine]:
    made = TransformersEngine(MODEL, device="cpu", memory_gib=1.5)
    made.load()
    yield made
    made.close()
