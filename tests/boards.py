"""Synthetic leaderboard entries, as `ttsi.leaderboard.entries.entry` would make them."""

from __future__ import annotations

import random
from typing import Any

HOSTILE = (
    "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
    '"onload="window.hacked=1 \x00\ud800\u202egnp\u2066 | [x](javascript:alert(1)) `a` \n\n# x'
)
LONG = "Donaudampfschifffahrtsgesellschaft" * 20
FILES = ["submission.json", "seed-0/results.json", "seed-0/samples.jsonl", "seed-0/identity.json"]
_METHODS = ["tt-si", "tt-si-icl", "tt-d", "semantic-entropy", "always-adapt", "tuned_lora r=16"]
_ORGS = ["acme", "Example University", "ttsi", "one-person", "Институт речи", "研究所"]
_MODELS = [
    "smollm2-135m",
    "Qwen/Qwen2.5-1.5B-Instruct",
    "Qwen/Qwen2.5-Coder-7B-Instruct",
    "meta-llama/Llama-3.1-8B-Instruct",
    "HuggingFaceTB/SmolLM2-1.7B-Instruct",
]
_BENCHMARKS = {"nexusraven": 318, "sealtool": 294, "toolalpaca": 114, "apibank": 526}


def entry(number: int = 0, benchmark: str = "sealtool", **changed: Any) -> dict[str, Any]:
    """Return one entry; `number` distinguishes it and determines all that is not given."""
    draw = random.Random(number)
    base = draw.uniform(0.1, 0.6)
    gain = draw.gauss(0.03, 0.03)
    width = draw.uniform(0.02, 0.06)
    made = {
        "benchmark": benchmark,
        "org": draw.choice(_ORGS),
        "method": draw.choice(_METHODS),
        "model": draw.choice(_MODELS),
        "engine": draw.choice(["transformers", "transformers", "vllm"]),
        "submitted": f"2026-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}",
        "ttsi": "0.1.0",
        "seeds": draw.choice([1, 1, 3, 5]),
        "samples": _BENCHMARKS.get(benchmark, 100),
        "options": {},
        "scorer": {},
        "selection": "all",
        "settings": {"inference.decoding": "greedy"},
        "errors": draw.choice([0, 0, 3]),
        "accuracy": _measure(base + gain, width),
        "base_accuracy": _measure(base, width),
        "difference": _measure(gain, width / 2),
        "p": draw.random() ** 4,
        "uncertain": draw.uniform(0.2, 0.7),
        "adapted": draw.uniform(0.1, 0.2),
        "seconds_per_sample": draw.lognormvariate(0, 1.5),
        "tokens_per_sample": draw.uniform(300, 9000),
        "usd_per_sample": draw.choice([0.0, 0.0, 0.00123, 0.2]),
        "hardware": draw.choice(["NVIDIA H200", "AMD EPYC 7763, 2 cores", "Apple M3"]),
        "spec_digest": f"sha256:{draw.getrandbits(256):064x}",
        "revision": "sha256:" + "1" * 64,
        "notes": draw.choice([[], [], ["ran from a modified checkout"]]),
        "files": FILES,
    } | changed
    folder = f"{number:03}__method__model/{draw.getrandbits(40):010x}"
    return {"path": f"submissions/{benchmark}/{folder}"} | made


def many(count: int) -> list[dict[str, Any]]:
    """Return entries on four benchmarks, most of them on the first."""
    names = ["sealtool", "sealtool", *_BENCHMARKS]
    return [entry(number, names[number % len(names)]) for number in range(count)]


def partial(number: int = 0, **changed: Any) -> dict[str, Any]:
    """Return an entry of a run over a part of the samples."""
    return entry(number, **({"samples": 50, "selection": "limit=50, select=even"} | changed))


def hostile() -> list[dict[str, Any]]:
    """Return entries whose texts try to inject HTML; one is very wide, one has a link as name."""
    texts = (
        "org",
        "method",
        "model",
        "engine",
        "hardware",
        "spec_digest",
        "ttsi",
    )
    return [
        entry(0),
        entry(
            1,
            **dict.fromkeys(texts, HOSTILE),
            notes=[HOSTILE],
            files=[HOSTILE, "javascript:alert(1)"],
        ),
        entry(2, **dict.fromkeys(texts, LONG)),
        entry(3, org="https://evil.example", method="www.evil.example", model="a@evil.example"),
        entry(
            4,
            options={HOSTILE: [HOSTILE, LONG]},
            settings={HOSTILE: [HOSTILE, LONG]},
            revision=HOSTILE,
            scorer={"name": HOSTILE},
        ),
        partial(5, **dict.fromkeys(texts, HOSTILE), selection=f"ids={HOSTILE}", notes=[LONG]),
    ]


def _measure(mean: float, width: float) -> dict[str, float]:
    """Bounded as a difference is; an accuracy here lies far enough from 0 to stay above it."""
    return {"mean": mean, "low": mean - width, "high": mean + width}
