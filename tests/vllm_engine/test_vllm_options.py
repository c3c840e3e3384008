"""What needs no vLLM: options, what a spec may ask for, the split of a device's memory, and what
ends with the process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from ttsi.errors import MissingAsset, RunError, SpecError
from ttsi.protocols import Engine
from ttsi.solving.assemble import check
from ttsi.spec import load_spec
from ttsi_plugins.engines.vllm import VllmEngine, memory

GIB = 2**30


def test_the_class_is_light() -> None:
    program = (
        "import sys; from ttsi.options import options_schema;"
        "from ttsi_plugins.engines.vllm import VllmEngine as E;"
        "E({'id': 'x'}, max_loras=2); options_schema(E);"
        "heavy = {'vllm', 'torch', 'transformers', 'psutil', 'numpy'} & set(sys.modules);"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert isinstance(VllmEngine({"id": "x"}), Engine)


def test_a_missing_package_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ttsi_plugins.engines.vllm"
    for module in ("engine", "adapters", "requests", "serving"):
        monkeypatch.delitem(sys.modules, f"{name}.{module}", raising=False)
        monkeypatch.delattr(f"{name}.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingAsset, match="'torch'") as caught:
        VllmEngine({"id": "smollm2-135m"}).load()
    assert "ttsi[vllm]" in caught.value.cure


def test_activated_adapters_are_refused_before_anything_is_loaded() -> None:
    learner = {"name": "lora_sft", "active_from": "user_turn"}
    document = {"benchmark": "quickstart", "engine": "vllm", "learner": learner}
    (spec,) = load_spec(document)
    with pytest.raises(SpecError) as refused:
        check(spec)
    (problem,) = refused.value.problems
    assert problem.pointer == "/learner"
    assert '"active_from": "start"' in problem.cure
    (other,) = load_spec({**document, "learner": {**learner, "active_from": "start"}})
    check(other)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of 1.5 GiB of weights as bfloat16, to go by its file's header."""
    tensor = {"dtype": "F32", "shape": [3 * GIB // 8, 2], "data_offsets": [0, 6 * GIB]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "weight": tensor}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return tmp_path


@pytest.mark.parametrize(
    ("share", "gib", "free", "fits"),
    [
        (0.5, 8.0, 23.0, True),
        (0.5, 8.0, 20.0, False),
        (0.9, None, 23.0, False),
        (0.05, None, 23.0, False),
    ],
)
def test_the_split_of_a_gpu(
    folder: Path,
    share: float,
    gib: float | None,
    free: float,
    fits: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 24 GiB; beside vLLM's share there are the weights once more, and memory for work."""
    told = (int(free * GIB), 24 * GIB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: told)
    options = VllmEngine({"id": "x"}, gpu_memory_utilization=share, memory_gib=gib)
    assert memory.weight_bytes(folder, "bfloat16") == 3 * GIB // 2
    if fits:
        memory.check(folder, "bfloat16", options, "cuda")
        return
    with pytest.raises(RunError, match=f"cuda device has {free} GiB of its 24.0 GiB") as refused:
        memory.check(folder, "bfloat16", options, "cuda")
    assert "gpu_memory_utilization" in refused.value.cure


@pytest.mark.parametrize("end", ["killed", "dismissed"])
def test_what_is_watched_ends_with_a_killed_process_only(end: str, tmp_path: Path) -> None:
    program = (
        "import subprocess, sys; from pathlib import Path;"
        "from ttsi_plugins.engines.vllm.watch import dismiss, watch;"
        "child = subprocess.Popen(['sleep', '1000'], stdout=subprocess.DEVNULL);"
        "watcher = watch([child.pid], [Path(sys.argv[1]) / 'left over-']);"
        "print(child.pid, flush=True);"
        "sys.stdin.readline(); dismiss(watcher)"
    )
    (tmp_path / "left over-1").mkdir()
    (tmp_path / "other").mkdir()
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        if end == "killed":
            process.kill()
        else:
            process.communicate(b"\n")
    if end == "killed":
        child.wait(timeout=60)
        while (tmp_path / "left over-1").exists():
            time.sleep(0.01)
    else:
        assert child.is_running()
        child.kill()
        assert (tmp_path / "left over-1").exists()
    assert (tmp_path / "other").exists()
