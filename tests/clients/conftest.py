"""One server for all clients: `ttsi serve` with the embedded model, in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from model_server import served

SPEC: dict[str, Any] = {
    "name": "small",
    "model": {"id": "smollm2-135m", "dtype": "float32"},
    "estimator": {"name": "rss_margin", "threshold": 1.0},
    "generator": {
        "name": "self",
        "prompt": "seed_first",
        "format": "json",
        "attempts": 2,
        "max_calls": 1,
        "max_tokens": 64,
    },
    "learner": {"name": "lora_sft", "target": "as_answered", "epochs": 1},
    "inference": {
        "name": "direct",
        "format": "tool_calls",
        "decoding": "greedy",
        "max_tokens": 48,
    },
}


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from serving(SPEC, tmp_path_factory.mktemp("served"))


def serving(given: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield the address of a server of this spec."""
    spec = folder / "spec.json"
    spec.write_text(json.dumps(given))
    command = [sys.executable, "-m", "ttsi", "serve", str(spec)]
    with served(command, folder / "log", patience=1200.0) as address:
        yield address
