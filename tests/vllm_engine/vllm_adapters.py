"""A hundred adapters, one after the other: no stale cache, no file left, no growing memory."""

from __future__ import annotations

import shutil
from glob import glob
from pathlib import Path

import psutil
import pytest
from cases import louder, seal_tasks, trained
from vllm.lora.request import LoRARequest

from ttsi.types import Adapter, Generation, Message, Prompt, Request, Sampling
from ttsi_plugins.engines.transformers import TransformersEngine
from ttsi_plugins.engines.vllm import VllmEngine, adapters

COUNT = 100
# vLLM caches whole blocks of a prompt, of 128 tokens on a CPU.
BLOCK = 128


@pytest.fixture(scope="module")
def asked() -> Prompt:
    """Real text, of somewhat more than a block."""
    (task,) = seal_tasks(1)
    return Prompt((Message("user", task.instruction[-600:]),))


@pytest.fixture(scope="module")
def pair(engine: VllmEngine) -> list[Adapter]:
    """Two adapters that answer in different ways."""
    (adapter,) = trained(engine, seal_tasks(1))
    return [adapter, louder(adapter, -1.0)]


@pytest.fixture(scope="module")
def expected(oracle: TransformersEngine, asked: Prompt, pair: list[Adapter]) -> list[Generation]:
    found = [answer(oracle, asked, adapter) for adapter in pair]
    assert not is_own(found[0], found[1])
    assert found[0].prompt_tokens > BLOCK
    return found


def answer(engine: VllmEngine | TransformersEngine, asked: Prompt, adapter: Adapter) -> Generation:
    """A few tokens of free text: their likelihood shows from which keys and values they come."""
    sampling = Sampling.greedy(max_tokens=3)
    (made,) = engine.generate([Request(asked, sampling, seed=0, adapter=adapter)])
    return made


def is_own(found: Generation, expected: Generation) -> bool:
    """Whether an answer is the one that its adapter gives."""
    return found.text == expected.text and abs(found.logprob - expected.logprob) < 1e-2


def resident(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


def test_a_hundred_adapters_in_sequence(
    engine: VllmEngine, asked: Prompt, pair: list[Adapter], expected: list[Generation]
) -> None:
    """Two in turn, each time handed over anew."""
    own, held = psutil.Process(), engine._runtime().server.held
    memory = []
    for number in range(COUNT):
        which = number % 2
        assert is_own(answer(engine, asked, pair[which]), expected[which]), number
        assert held() == set()
        assert not [left for left in adapters.places() if glob(f"{left}*")]
        theirs = sum(map(resident, own.children(recursive=True)))
        memory.append((resident(own), theirs, shutil.disk_usage("/dev/shm").used))
    size = len(pair[0].safetensors)
    for place, sizes in zip(("here", "vLLM", "/dev/shm"), zip(*memory, strict=True), strict=True):
        print(f"MiB {place}: {[each >> 20 for each in sizes[::10]]}; an adapter: {size >> 20}")
        # Kept, the adapters of the last four fifths would be 80 times `size`.
        assert sizes[-1] - sizes[COUNT // 5] < COUNT // 10 * size


def test_a_name_that_is_reused_serves_a_stale_cache(
    engine: VllmEngine,
    asked: Prompt,
    pair: list[Adapter],
    expected: list[Generation],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The trap that fresh names avoid is there, and the test above would fall into it."""
    same = LoRARequest("same", 10**6, str(tmp_path / "same"))
    monkeypatch.setattr(adapters, "named", lambda folder: same)
    assert is_own(answer(engine, asked, pair[0]), expected[0])
    assert not is_own(answer(engine, asked, pair[1]), expected[1])


def test_names_and_numbers_are_never_used_twice(tmp_path: Path) -> None:
    made = [adapters.named(tmp_path) for _ in range(3)]
    for part in ("lora_name", "lora_int_id", "lora_path"):
        assert len({getattr(each, part) for each in made}) == len(made)


def test_equal_adapters_of_a_call_are_handed_over_once(pair: list[Adapter]) -> None:
    class Holder:
        def __init__(self) -> None:
            self.held: set[str] = set()

        def add_adapter(self, adapter: LoRARequest) -> None:
            assert (Path(adapter.lora_path) / "adapter_model.safetensors").is_file()
            self.held.add(adapter.lora_path)

        def remove_adapter(self, adapter: LoRARequest) -> None:
            self.held.remove(adapter.lora_path)

    holder = Holder()
    with adapters.handed_over([pair[0], None, pair[1], pair[0]], holder) as handed:
        assert handed[0] is handed[3] is not handed[2]
        assert handed[1] is None
        folders = set(holder.held)
        assert len(folders) == 2
    assert not holder.held
    assert not any(Path(folder).exists() for folder in folders)


def test_a_prompt_that_was_read_is_not_read_again(
    engine: VllmEngine, asked: Prompt, pair: list[Adapter]
) -> None:
    """By the base model; what an adapter reads is its own."""
    runtime = engine._runtime()
    row = runtime.writer.row(Request(asked, Sampling.greedy(max_tokens=1), seed=0))
    runtime.forget()
    cached = []
    for adapter in (None, None, pair[0]):
        with adapters.handed_over([adapter], runtime.server) as handed:
            (output,) = runtime.server.run([(row.prompt, row.params)], handed, lambda *_: None)
        cached.append(output.num_cached_tokens)
    assert cached == [0, (len(row.prompt) - 1) // BLOCK * BLOCK, 0]
