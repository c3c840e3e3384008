"""vLLM's death costs the call in which it is found out, and no more."""

from __future__ import annotations

import psutil
import pytest
from cases import greedy, seal_tasks
from vllm.v1.engine.exceptions import EngineDeadError

from ttsi.errors import DeviceLost, EngineError
from ttsi_plugins.engines.vllm import VllmEngine


def test_after_its_death_the_next_call_starts_another(engine: VllmEngine) -> None:
    asked = [greedy(task) for task in seal_tasks(1)]
    before = engine.generate(asked)
    started = psutil.Process().children(recursive=True)
    children = [each for each in started if each.name().startswith("VLLM")]
    worker = max(children, key=lambda each: each.memory_info().rss)
    worker.kill()
    with pytest.raises(EngineError, match="died while generating"):
        engine.generate(asked)
    assert psutil.wait_procs(children, timeout=60)[1] == []
    assert engine.generate(asked) == before


def test_what_dies_of_every_call_is_lost(
    engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = engine._runtime().server
    monkeypatch.setattr(server, "close", lambda: None)
    for times in range(1, 11):
        with pytest.raises(DeviceLost if times == 10 else EngineError), server.errors("trying"):
            raise EngineDeadError
    (request,) = (greedy(task) for task in seal_tasks(1))
    engine.generate([request])
    with pytest.raises(EngineError), server.errors("trying"):
        raise EngineDeadError
