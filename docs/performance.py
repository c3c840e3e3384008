"""The generated parts of docs/performance.md, from perf/results/*.json and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from markup import table
from stored import NOT_YET

RESULTS = Path(__file__).resolve().parent.parent / "perf" / "results"
FAR_FROM_FLOOR = 3

# In the order of the page; what is not in it comes after, and what is not measured is said so.
EXPECTED = (
    "estimate-sealtool",
    "estimate-nexusraven",
    "decode-free",
    "decode-free-batched",
    "decode-constrained",
    "decode-constrained-batched",
    "train-exact",
    "train-activated",
    "train-activated-cold",
    "bank-exact-8",
    "bank-activated-8",
    "whole-exact",
    "whole-activated",
    "episodes",
    "episodes-generate",
    "decode-llama.cpp-8",
    "decode-llama.cpp-16",
    "decode-vllm-8",
    "decode-vllm-16",
    "decode-vllm-16-adapters",
)
_HEADLINES = (
    "estimate-sealtool",
    "decode-constrained",
    "decode-constrained-batched",
    "decode-llama.cpp-16",
    "decode-vllm-16",
    "train-exact",
    "train-activated",
    "whole-exact",
    "whole-activated",
)
_LABELS = (
    (r"estimate-sealtool", "H, Seal-Tools"),
    (r"estimate-nexusraven", "H, NexusRaven"),
    (r"decode-vllm-(\d+)-adapters", r"answers, constrained, under \1 adapters"),
    (r"decode-(?:llama\.cpp|vllm)-(\d+)(?:-\w+)?", r"decoding, constrained, \1 rows"),
    (r"decode-(\w+?)(-cold)?(-batched)?", r"decoding, \1\2"),
    (r"train-(\w+?)(-cold)?", r"T, \1\2"),
    (r"train-(\w+)-bank(\d+)", r"T, \1, bank of \2"),
    (r"bank-(\w+)-(\d+)", r"T, \1, bank of \2"),
    (r"whole-(\w+)", r"whole, \1"),
    (r"episodes(-generate)?", "episodes in a wave"),
)

Result = dict[str, Any]


def stored() -> list[Result]:
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]


def sections(results: Sequence[Result]) -> dict[str, str]:
    """What stands between the page's markers, by the markers' name."""
    stages = sorted((r for r in results if "ratio" in r), key=_place)
    on_cpu = [result for result in stages if result["device"] == "cpu"]
    on_gpu = [result for result in stages if result["device"] == "cuda"]
    return {
        "cpu": _setups(on_cpu) + _missing(on_cpu),
        "gpu": _setups(on_gpu) or "No GPU has been measured yet.",
        "assertions": _assertions(stages),
        "profiles": _profiles(stages),
        "memory": _memory([result for result in results if result["stage"] == "memory"]),
        "steps": _steps([result for result in results if result["stage"] == "steps"]),
        "serve": _serve([result for result in results if result["stage"] == "serve"]),
        "large": _large([result for result in results if result["stage"] == "large"]),
    }


def headline(results: Sequence[Result]) -> str:
    """How many times faster than what, on a CPU, stage by stage."""
    on_cpu = sorted((r for r in results if "ratio" in r and r["device"] == "cpu"), key=_place)
    rows = [
        [
            result["model"].removesuffix(".gguf"),
            _name(result),
            f"{result['reference']['name']} {result['reference']['version']}",
            f"{result['ratio']['median']:.1f} times",
        ]
        for result in on_cpu
        if result["stage"] in _HEADLINES
    ]
    return table(["model", "stage", "reference", "faster by"], rows) if rows else NOT_YET


def label(stage: str) -> str:
    """The stage in words; its own name where there are none."""
    for pattern, words in _LABELS:
        found = re.fullmatch(pattern, stage)
        if found:
            return found.expand(words).replace("-cold", ", with prefill")
    return stage


def _place(result: Result) -> tuple[Any, ...]:
    stage = result["stage"]
    place = EXPECTED.index(stage) if stage in EXPECTED else len(EXPECTED)
    return result["device"], result["model"], place, stage


def _setups(results: Sequence[Result]) -> str:
    """A line on the machine and a table, for each machine and model."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        machine = result["machine"]
        threads = f"{machine['threads']} threads" if result["device"] == "cpu" else ""
        words = (result["model"], machine["dtype"], machine["name"], threads)
        groups.setdefault(words, []).append(result)
    parts = []
    for words, some in groups.items():
        parts.append(", ".join(filter(None, words)) + ". " + _versions(some))
        parts.append(_comparisons(some))
    return "\n\n".join(parts)


def _comparisons(results: Sequence[Result]) -> str:
    head = ["stage", "ours", "reference", "faster by", "at most"]
    head += ["floor", "ours / floor", "against"]
    rows = []
    for result in results:
        ours = median(result["ours_seconds"]) / result["ours_work"]
        reference = median(result["reference_seconds"]) / result["reference_work"]
        ratio, referee = result["ratio"], result["reference"]
        rows.append(
            [
                _name(result),
                f"{_time(ours)} {_article(result['unit'])} {result['unit']}",
                _time(reference),
                f"**{ratio['median']:.2f}** [{ratio['min']:.2f}, {ratio['max']:.2f}]",
                f"{reference * result['ours_work'] / result['floor_seconds']:.1f}",
                _time(result["floor_seconds"] / result["ours_work"]),
                f"{_above_floor(result):.1f}",
                f"{referee['name']} ({referee['version']})",
            ]
        )
    return table(head, rows)


def _missing(results: Sequence[Result]) -> str:
    found = {result["stage"] for result in results}
    missing = list(dict.fromkeys(label(stage) for stage in EXPECTED if stage not in found))
    if not missing:
        return ""
    return ("\n\n" if results else "") + f"Not measured yet: {'; '.join(missing)}."


def _assertions(results: Sequence[Result]) -> str:
    lines = [
        f"- {_name(result)}, {result['device']}, against {result['reference']['name']}: "
        f"{result['equal']}"
        for result in results
    ]
    return "\n".join(lines) or NOT_YET


def _profiles(results: Sequence[Result]) -> str:
    """Only where the floor is far away; a stage that has several references is told once."""
    far: dict[tuple[str, ...], Result] = {}
    for result in results:
        if result["profile"] and _above_floor(result) > FAR_FROM_FLOOR:
            far.setdefault((result["device"], result["model"], _name(result)), result)
    if not far:
        return f"No stage is above {FAR_FROM_FLOOR} times its floor." if results else NOT_YET
    rows = [
        [name, device, f"{_above_floor(result):.1f}", _shares(result["profile"])]
        for (device, _, name), result in far.items()
    ]
    return table(["stage", "device", "ours / floor", "shares of the time"], rows)


def _shares(profile: dict[str, float]) -> str:
    largest = sorted(profile.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in largest if share >= 0.01)


def _memory(results: Sequence[Result]) -> str:
    rows = [
        [
            f"{result['model']}, {result['device']}, {result['variant']}",
            str(result["samples"]),
            f"{wave['budget_bytes'] / 2**30:.2f} GiB",
            f"{wave['peak_memory_bytes'] / 2**30:.2f} GiB",
            str(wave["adapted"]),
        ]
        for result in results
        for wave in result["waves"]
    ]
    head = ["run", "samples", "budget (memory_gib)", "peak above the model", "adapted"]
    return table(head, rows) if rows else NOT_YET


def _steps(results: Sequence[Result]) -> str:
    rows = [
        [f"{result['model']}, {result['benchmark']}", str(step["number"] + 1)]
        + [f"{step[key]:,g}" for key in ("episodes", "prompt", "new", "read")]
        for result in results
        for step in result["steps"]
    ]
    head = ["run", "step", "episodes", "tokens of the prompt", "of these new", "read"]
    return table(head, rows) if rows else NOT_YET


def _serve(results: Sequence[Result]) -> str:
    """Of each measurement a sentence on the load, and a row for each server."""
    parts = []
    for result in results:
        load, machine = result["load"], result["machine"]
        memory = " and ".join(map(str, load["memory_mib"].values()))
        parts.append(
            f"{result['model']}, {machine['dtype']}, {machine['name']}, {machine['threads']} "
            f"threads. {load['requests']} requests by {load['clients']} clients, "
            f"{load['hung_up']} of which hang up: {load['seconds']:.0f} s, no error, "
            f"p50 {load['p50']:.2f} s, p95 {load['p95']:.2f} s; memory {memory} MiB after the "
            "first 100 and at the end."
        )
        rows = [
            [
                f"{server['name']} {server['version']}",
                _time(median(server["seconds"]) / result["requests_a_round"]),
                f"{server['p50']:.2f} s",
                f"{server['p95']:.2f} s",
                f"{ratio['median']:.2f} [{ratio['min']:.2f}, {ratio['max']:.2f}]",
                "{} of {}".format(*server["same_text"]),
            ]
            for server in result["servers"]
            for ratio in [server["ratio"]]
        ]
        head = ["server", "a request", "p50", "p95", "ours is faster by", "our text"]
        parts.append(table(head, rows))
    return "\n\n".join(parts) or NOT_YET


def _large(results: Sequence[Result]) -> str:
    rows = [
        [f"{size['samples']:,}", command, _time(told["seconds"]), f"{told['mib']:.0f} MiB"]
        for result in results
        for size in result["sizes"]
        for command, told in size.items()
        if command != "samples"
    ]
    return table(["samples", "command", "took", "peak memory"], rows) if rows else NOT_YET


def _name(result: Result) -> str:
    words = label(result["stage"])
    return f"{words} ({result['notes']})" if result["notes"] else words


def _above_floor(result: Result) -> float:
    return float(median(result["ours_seconds"]) / result["floor_seconds"])


def _versions(results: Sequence[Result]) -> str:
    found = {name: version for result in results for name, version in result["versions"].items()}
    pairs = max(len(result["ours_seconds"]) for result in results)
    return f"{pairs} pairs; " + ", ".join(f"{name} {found[name]}" for name in sorted(found)) + "."


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.995 else f"{1000 * seconds:.3g} ms"
