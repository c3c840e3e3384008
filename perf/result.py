"""The result of a measurement, in perf/results/STAGE-DEVICE-MODEL.json."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from perf.timing import Side, speed_ratios, spread

RESULTS = Path(__file__).resolve().parent / "results"
LEAST_PAIRS = 5
_PACKAGES = ("ttsi", "torch", "transformers", "peft", "xgrammar", "lm-eval")


@dataclass(frozen=True)
class Machine:
    """Where a measurement was made."""

    model: str
    device: str
    device_name: str
    dtype: str
    threads: int


@dataclass(frozen=True)
class Result:
    """One comparison. Seconds are of whole runs; a run does `ours_work` or `reference_work` units.

    `ratio` is of units a second, pair by pair; `equal` the assertion that was made on the results;
    `floor_seconds` is for our work; `peak_memory_bytes` the growth while each side ran.
    """

    stage: str
    device: str
    model: str
    reference: Mapping[str, str]
    samples: int
    unit: str
    ours_seconds: list[float]
    reference_seconds: list[float]
    ours_work: float
    reference_work: float
    ratio: Mapping[str, float]
    equal: str
    floor_seconds: float
    peak_memory_bytes: Mapping[str, int]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    profile: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""


def compare(
    stage: str,
    machine: Machine,
    ours: Side,
    reference: Side,
    *,
    referee: tuple[str, str],
    samples: int,
    unit: str,
    equal: str,
    floor: float,
    profile: Mapping[str, float] | None = None,
    notes: str = "",
) -> Result:
    """Return the result of two timed sides; `referee` is the reference's name and version."""
    return Result(
        stage=stage,
        device=machine.device,
        model=machine.model,
        reference={"name": referee[0], "version": referee[1]},
        samples=samples,
        unit=unit,
        ours_seconds=ours.seconds,
        reference_seconds=reference.seconds,
        ours_work=ours.work,
        reference_work=reference.work,
        ratio=spread(speed_ratios(ours, reference)),
        equal=equal,
        floor_seconds=floor,
        peak_memory_bytes={
            "ours": ours.peak_memory_bytes,
            "reference": reference.peak_memory_bytes,
        },
        machine=about(machine),
        versions=versions(),
        profile=dict(profile or {}),
        notes=notes,
    )


def report(result: Result, folder: Path) -> None:
    """Print the comparison, and keep it if it has enough pairs."""
    ratio, pairs = result.ratio, len(result.ours_seconds)
    mine = spread(result.ours_seconds)["median"]
    print(
        f"{result.stage}: {ratio['median']:.2f}x [{ratio['min']:.2f}, {ratio['max']:.2f}] over "
        f"{pairs} pairs, against {result.reference['name']} {result.reference['version']}\n"
        f"  equal: {result.equal}\n"
        f"  ours {mine:.2f} s, floor {result.floor_seconds:.2f} s: "
        f"{mine / result.floor_seconds:.1f} times the floor",
        flush=True,
    )
    if result.profile:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in result.profile.items())
        print(f"  where ours' time goes: {shares}")
    if pairs >= LEAST_PAIRS:
        print(f"  {write(asdict(result), folder)} written")
    else:
        print(f"  not kept: fewer than {LEAST_PAIRS} pairs")


def write(values: Mapping[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model = re.sub(r"[^a-z0-9.]+", "-", Path(values["model"]).name.lower().removesuffix(".gguf"))
    path = folder / f"{values['stage']}-{values['device']}-{model.strip('-')}.json"
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
    return path


def about(machine: Machine) -> dict[str, Any]:
    return {
        "name": machine.device_name,
        "dtype": machine.dtype,
        "threads": machine.threads,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    return {name: found for name in _PACKAGES if (found := _version(name))}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
