"""The measurements' arithmetic: floors, ratios, files and the page. No model runs here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import performance
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import tiny_llama

from perf import profile
from perf.common import Unequal, agree
from perf.driver import record_of
from perf.floor import (
    Rates,
    Shape,
    candidate_paths,
    causal_pairs,
    decoding_seconds,
    distinct,
    forward,
    training_step,
)
from perf.result import LEAST_PAIRS, Machine, Result, compare, report, write
from perf.timing import Side, speed_ratios, spread, take_turns
from ttsi.records.lines import to_line

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")
MIB = 2**20

# Linear layers 4 * (2 x 2) and 3 * (2 x 3): 34 weights; head 10; rank 1: 4 * 4 + 3 * 5 = 31.
TINY = Shape(layers=1, hidden=2, heads=1, kv_heads=1, head_size=2, intermediate=3, vocabulary=5)

# ---------------------------------------------------------------- floors


def test_weights_counted_by_hand() -> None:
    assert (TINY.body, TINY.head, TINY.lora(rank=1)) == (34, 10, 31)
    assert TINY.kv_bytes(itemsize=4) == 16
    assert TINY.attention(pairs=3) == 24


def test_weights_counted_in_a_model() -> None:
    model = tiny_llama()
    shape = Shape.of(model.config)
    linears = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    head = linears.pop("lm_head")
    assert shape.head == head.weight.numel()
    assert shape.body == sum(m.weight.numel() for m in linears.values())
    assert shape.lora(4) == sum(4 * (m.in_features + m.out_features) for m in linears.values())


def test_a_forward_pass_counted_by_hand() -> None:
    assert causal_pairs(3) == 1 + 2 + 3
    assert causal_pairs(3, past=2) == 3 + 4 + 5
    assert forward(TINY, tokens=3, pairs=6, logits=1) == 2 * 34 * 3 + 8 * 6 + 2 * 10


def test_a_training_step_counted_by_hand() -> None:
    base = 2 * 34 * 3 + 8 * 6 + 2 * 10
    towards_input = 2 * 34 * 3 + 2 * 10 + 2 * 8 * 6
    adapter = 3 * 2 * 31 * 3
    assert training_step(TINY, past=0, new=3, labels=1, rank=1) == base + towards_input + adapter
    # Each of three tokens sees two more; of what they bring, keys and values need no gradient.
    more = 8 * 6 + 8 * 6
    assert training_step(TINY, past=2, new=3, labels=1, rank=1) == (
        base + towards_input + adapter + more
    )


def test_candidates_share_what_they_begin_with() -> None:
    fed, read = candidate_paths([[1, 2]], [[[3], [3, 4], [5, 6, 7]]])
    assert fed == [[1, 2], [1, 2, 3], [1, 2, 5, 6]]
    assert read == len({(), (3,), (5,), (5, 6)})
    assert distinct(fed) == (5, 1 + 2 + 3 + 3 + 4)


@given(st.lists(st.lists(st.integers(0, 2), max_size=5), max_size=6))
def test_distinct_tokens_are_distinct_prefixes(sequences: list[list[int]]) -> None:
    prefixes = {tuple(s[:n]) for s in sequences for n in range(1, len(s) + 1)}
    assert distinct(sequences) == (len(prefixes), sum(map(len, prefixes)))


def test_decoding_is_bound_by_reading_or_by_arithmetic() -> None:
    reading = Rates(flops_per_second=1e12, bytes_per_second=1)
    arithmetic = Rates(flops_per_second=1, bytes_per_second=1e12)
    seen = 3  # the prompt's two tokens and the new one
    assert decoding_seconds(TINY, reading, [2], [1], itemsize=4) == 44 * 4 + 16 * seen
    assert decoding_seconds(TINY, arithmetic, [2], [1], itemsize=4) == 2 * 44 + 8 * seen
    # Two rows share each step's weights; the longer one has two steps.
    both = decoding_seconds(TINY, reading, [2, 0], [1, 2], itemsize=4, adapter_bytes=7)
    assert both == 2 * 44 * 4 + 16 * (seen + 1 + 2) + 3 * 7


# ---------------------------------------------------------------- turns and ratios


def test_sides_take_turns_after_a_warm_up() -> None:
    calls: list[str] = []
    sides = [
        Side(name, lambda name=name: calls.append(name), prepare=lambda: calls.append("ready"))
        for name in "abc"
    ]
    take_turns(sides, 2, CPU)
    assert calls[::2] == ["ready"] * 9
    assert "".join(calls[1::2]) == "abc" + "abc" + "bca"
    assert [len(side.seconds) for side in sides] == [2, 2, 2]


def test_a_side_remembers_its_largest_growth_of_memory() -> None:
    large = Side("large", lambda: len(b"x" * (96 * MIB)))
    small = Side("small", lambda: 7)
    take_turns([large, small], 1, CPU)
    assert large.peak_memory_bytes > 90 * MIB
    assert small.peak_memory_bytes < 30 * MIB
    assert (large.result, small.result) == (96 * MIB, 7)


def test_ratios_are_of_pairs_and_by_unit_of_work() -> None:
    ours = Side("ours", lambda: None, work=8, seconds=[2.0, 4.0, 2.0])
    reference = Side("reference", lambda: None, work=1, seconds=[1.0, 1.0, 2.0])
    assert speed_ratios(ours, reference) == [4.0, 2.0, 8.0]
    assert spread(speed_ratios(ours, reference)) == {"median": 4.0, "min": 2.0, "max": 8.0}


def test_what_differs_by_more_than_rounding_stops_the_measurement() -> None:
    assert "largest difference 2.0e-04" in agree([1e-4, 2e-4], 1e-3, "values")
    for wrong in ([0.0, 2e-3], [float("nan")]):
        with pytest.raises(Unequal, match="values"):
            agree(wrong, 1e-3, "values")


# ---------------------------------------------------------------- profiles


@pytest.mark.parametrize(
    ("operator", "group"),
    [
        ("aten::mm", "matrix products"),
        ("aten::addmm", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::_softmax", "attention"),
        ("aten::_log_softmax", "sampling and grammar"),
        (profile.GRAMMAR, "sampling and grammar"),
        ("aten::argmax", "sampling and grammar"),
        ("aten::cat", "cache copies"),
        ("aten::copy_", "cache copies"),
        ("aten::mul", "elementwise"),
        ("aten::_fused_adamw_", "elementwise"),
        ("aten::embedding", "other operators"),
    ],
)
def test_operators_have_their_groups(operator: str, group: str) -> None:
    assert profile.group(operator) == group


def test_shares_add_up_to_the_wall_clock() -> None:
    shares = profile.grouped([("aten::mm", 3.0), ("aten::bmm", 1.0), ("aten::cat", 1.0)], wall=10)
    assert shares == {"Python and waiting": 0.5, "matrix products": 0.4, "cache copies": 0.1}


# ---------------------------------------------------------------- files and the page


def made_up(stage: str = "estimate-sealtool", pairs: int = 5, **changes: Any) -> Result:
    machine = Machine("owner/Small-1.5B", "cpu", "a processor", "float32", 2)
    ours = Side("ours", lambda: None, work=2, seconds=[1.0] * pairs, peak_memory_bytes=5)
    reference = Side("theirs", lambda: None, work=2, seconds=[6.0] * pairs, peak_memory_bytes=9)
    settings = {"floor": 0.25, "profile": {"attention": 0.25, "matrix products": 0.75}, **changes}
    return compare(
        stage,
        machine,
        ours,
        reference,
        referee=("peer", "1.2"),
        samples=2,
        unit="task",
        equal="they agree",
        **settings,
    )


def stored(folder: Path, *results: Result) -> list[dict[str, Any]]:
    for result in results:
        report(result, folder)
    return [json.loads(path.read_text()) for path in sorted(folder.iterdir())]


def test_a_file_has_the_fields_of_the_design(tmp_path: Path) -> None:
    (kept,) = stored(tmp_path, made_up())
    assert [path.name for path in tmp_path.iterdir()] == ["estimate-sealtool-cpu-small-1.5b.json"]
    assert kept["reference"] == {"name": "peer", "version": "1.2"}
    assert kept["ratio"] == {"median": 6.0, "min": 6.0, "max": 6.0}
    assert kept["peak_memory_bytes"] == {"ours": 5, "reference": 9}
    assert len(kept["ours_seconds"]) == len(kept["reference_seconds"]) == 5
    assert kept["versions"]["torch"] == torch.__version__
    assert {"stage", "device", "model", "samples", "equal", "floor_seconds"} <= kept.keys()


def test_few_pairs_are_not_kept(tmp_path: Path) -> None:
    assert stored(tmp_path, made_up(pairs=LEAST_PAIRS - 1)) == []


def test_a_model_file_gives_its_name(tmp_path: Path) -> None:
    values = {"stage": "memory", "device": "cpu", "model": "/models/Qwen2.5 Coder.GGUF"}
    assert write(values, tmp_path).name == "memory-cpu-qwen2.5-coder.json"


def test_the_page_shows_what_is_there_and_names_what_is_not(tmp_path: Path) -> None:
    near = made_up("whole-exact", floor=0.5, notes="waves of 4")
    sections = performance.sections(stored(tmp_path, made_up(), near))
    cells = sections["cpu"].splitlines()[4].strip("| ").split(" | ")
    assert cells == [
        "H, Seal-Tools",
        "500 ms a task",
        "3.00 s",
        "**6.00** [6.00, 6.00]",
        "24.0",
        "125 ms",
        "4.0",
        "peer (1.2)",
    ]
    assert "whole, exact (waves of 4)" in sections["cpu"]
    missing = sections["cpu"].splitlines()[-1]
    assert missing.startswith("Not measured yet: H, NexusRaven;")
    assert "Seal-Tools" not in missing
    assert (
        "| H, Seal-Tools | cpu | 4.0 | matrix products 75 %, attention 25 % |"
        in (sections["profiles"])
    )
    assert "whole" not in sections["profiles"]
    assert sections["assertions"].count("they agree") == 2
    assert sections["gpu"] == "No GPU has been measured yet."


def test_the_page_shows_memory_and_a_gpu() -> None:
    wave = {"budget_bytes": 2**30, "peak_memory_bytes": 3 * 2**28, "adapted": 30, "seconds": 1}
    memory = {
        "stage": "memory",
        "device": "cpu",
        "model": "small",
        "samples": 32,
        "variant": "exact",
        "waves": [wave],
    }
    gpu = {**json.loads(json.dumps(vars(made_up("train-exact-bank32")))), "device": "cuda"}
    sections = performance.sections([memory, gpu])
    assert "| small, cpu, exact | 32 | 1.00 GiB | 0.75 GiB | 30 |" in sections["memory"]
    assert "T, exact, bank of 32" in sections["gpu"]
    assert sections["cpu"].startswith("Not measured yet: H, Seal-Tools")


def test_the_page_shows_what_a_step_reads() -> None:
    step = {"number": 1, "episodes": 16, "prompt": 1412.0, "new": 61.5, "read": 62.0}
    steps = {"stage": "steps", "device": "cpu", "model": "small", "benchmark": "b", "steps": [step]}
    sections = performance.sections([steps])
    assert "| small, b | 2 | 16 | 1,412 | 61.5 | 62 |" in sections["steps"]


def test_servers_are_told_with_their_ratio() -> None:
    def server(name: str, seconds: list[float], ratio: float) -> dict[str, object]:
        spread = {"median": ratio, "min": ratio, "max": ratio}
        told = {"name": name, "version": "1", "seconds": seconds, "p50": 0.5, "p95": 1.25}
        return {**told, "ratio": spread, "same_text": [9, 10]}

    load = {"requests": 500, "clients": 32, "hung_up": 100, "seconds": 60.4, "p50": 1.0}
    load |= {"p95": 2.0, "memory_mib": {"after 100": 900, "at the end": 905}}
    made = {
        "stage": "serve",
        "device": "cpu",
        "model": "small",
        "load": load,
        "requests_a_round": 10,
        "servers": [server("ours", [1.0, 1.0], 1.0), server("theirs", [2.0, 4.0], 3.0)],
        "machine": {"name": "CPU", "dtype": "float32", "threads": 2},
    }
    told = performance.sections([made])["serve"]
    assert "100 of which hang up: 60 s, no error" in told
    assert "memory 900 and 905 MiB" in told
    assert "| theirs 1 | 300 ms | 0.50 s | 1.25 s | 3.00 [3.00, 3.00] | 9 of 10 |" in told


def test_every_part_of_the_page_has_its_markers() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    assert set(re.findall(r"<!-- (\w+) -->", text)) == {*performance.sections([]), "accuracy"}


@pytest.mark.parametrize("stage", performance.EXPECTED)
def test_every_expected_stage_has_words(stage: str) -> None:
    assert performance.label(stage) != stage


def test_the_driver_measures_with_records_of_the_wanted_size() -> None:
    for size in (1000, 20_000):
        line = to_line(record_of("rows/1", size))
        assert max(size, 1000) * 0.9 < len(line) < max(size, 1500) * 1.6
