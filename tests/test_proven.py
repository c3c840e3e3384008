"""A check at load that passed is not repeated, until anything that it depends on changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import architectures
import pytest
import torch

from ttsi import EngineError
from ttsi_plugins.engines.transformers import modes, proof, proven, weights


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TTSI_CACHE_DIR", str(tmp_path))
    return tmp_path / "proofs"


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the modes whose check ran, in order."""
    ran: list[str] = []

    def counted(mode: str, check: Callable[..., None]) -> Callable[..., None]:
        def run(*given: Any) -> None:
            ran.append(mode)
            check(*given)

        return run

    monkeypatch.setattr(proof, "prove", counted("fast", proof.prove))
    monkeypatch.setattr(proof, "prove_native", counted("native", proof.prove_native))
    return ran


def load(model: Any) -> str:
    network, bank, _ = modes.chosen(model, "tiny", proven.facts(model, weights.digest(model)))
    network.close()
    bank.close()
    return network.mode


def test_a_model_is_checked_once(cache: Path, checks: list[str]) -> None:
    model = architectures.tiny("llama")
    assert [load(model), load(model)] == ["fast", "fast"]
    assert checks == ["fast"]
    assert len(list(cache.iterdir())) == 1


def test_a_native_model_is_checked_once(cache: Path, checks: list[str]) -> None:
    kind, settings, _ = architectures.NATIVE["Falcon"]
    model = architectures.tiny(kind, **settings)
    assert [load(model), load(model)] == ["native", "native"]
    assert checks.count("native") == 1


@pytest.mark.parametrize("change", ["weight", "config", "dtype", "code", "library"])
def test_another_model_or_engine_is_checked(
    cache: Path, checks: list[str], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    model = architectures.tiny("llama")
    load(model)
    if change == "weight":
        with torch.no_grad():
            model.lm_head.weight[0, 0] += 1
    elif change == "config":
        model.config.rms_norm_eps *= 2
    elif change == "dtype":
        model = model.to(torch.bfloat16)
    elif change == "code":
        monkeypatch.setattr(proven, "_CODE", "another")
    else:
        monkeypatch.setattr(proven, "version", lambda name: "0.0")
    load(model)
    assert checks == ["fast", "fast"]


def test_a_check_that_failed_is_not_kept(cache: Path, checks: list[str]) -> None:
    model = architectures.tiny("llama")
    embed = model.get_input_embeddings()
    whole = embed.forward
    embed.forward = lambda given: whole(given).flip(-2)
    for _ in range(2):
        with pytest.raises(EngineError):
            load(model)
    assert checks == ["fast", "native"] * 2
    assert not cache.exists()


def test_without_a_cache_that_can_be_written_every_load_checks(
    cache: Path, checks: list[str]
) -> None:
    cache.write_text("a file where the folder would be")
    model = architectures.tiny("llama")
    assert [load(model), load(model)] == ["fast", "fast"]
    assert checks == ["fast", "fast"]


def test_a_cache_that_cannot_be_looked_into_is_none(
    cache: Path, checks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, *given: Any, **settings: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refused)
    monkeypatch.setattr(Path, "mkdir", refused)
    assert load(architectures.tiny("llama")) == "fast"
    assert checks == ["fast"]


def test_a_cache_whose_home_is_unknown_is_none(
    checks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTSI_CACHE_DIR", "~nobody-of-this-name/cache")
    assert load(architectures.tiny("llama")) == "fast"
    assert checks == ["fast"]
