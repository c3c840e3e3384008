"""The runs in a folder, with what tells them apart. Records are counted and not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ttsi._common.inputs import shown
from ttsi.errors import TtsiError, UsageError
from ttsi.records.journal import SAMPLES
from ttsi.records.sessions import SESSIONS
from ttsi.records.sessions import read as read_sessions
from ttsi.results.differences import differing
from ttsi.results.runs import read_spec, results_of, seed_of
from ttsi.types import JSON

_RESOLVED = "spec.resolved.json"


@dataclass(frozen=True)
class Listed:
    """A run as its files say.

    `samples` are those of finished seeds, `so_far` the records of others. `seeds` maps each seed to
    whether it is finished. `differs` are the settings in which runs of this name differ. `trouble`
    says why the rest is not known.
    """

    folder: Path
    name: str = ""
    benchmark: str = ""
    model: str = ""
    worked: str = ""
    seeds: Mapping[int, bool] = field(default_factory=dict)
    samples: int = 0
    so_far: int = 0
    errors: int = 0
    base_accuracy: float | None = None
    accuracy: float | None = None
    differs: Mapping[str, JSON] = field(default_factory=dict)
    trouble: str = ""

    def as_json(self) -> dict[str, JSON]:
        return asdict(self) | {"folder": str(self.folder)}


def listed(places: Sequence[Path]) -> list[Listed]:
    """Return the runs in these folders, or that these folders are, the latest last.

    Raises UsageError for a folder that is not there, and if there is no run.
    """
    found = [_look_at(folder) for place in places for folder in _runs_in(place)]
    if not found:
        raise UsageError(
            "There is no run here.",
            where=", ".join(map(shown, places)),
            cure="Name the folder that `ttsi eval` wrote its runs into, or run a spec: "
            "ttsi eval specs/quickstart.json",
        )
    named: dict[tuple[str, str], list[Listed]] = {}
    for run, spec in found:
        if spec:
            named.setdefault((run.name, run.benchmark), []).append(run)
    specs = {run.folder: spec for run, spec in found}
    told: dict[Path, Mapping[str, JSON]] = {}
    for group in named.values():
        settings = differing([specs[run.folder] for run in group])
        for at, run in enumerate(group):
            told[run.folder] = {key: values[at] for key, values in settings.items()}
    runs = [replace(run, differs=told.get(run.folder, {})) for run, _ in found]
    return sorted(runs, key=lambda run: (run.worked, run.folder))


def _runs_in(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        raise UsageError(
            "There is no such folder.",
            where=shown(place),
            cure="Name the folder that `ttsi eval` wrote its runs into: by default runs.",
        )
    for folder in (place, *sorted(place.iterdir())):
        if any(folder.glob(f"seed-*/{_RESOLVED}")):
            yield folder


def _look_at(folder: Path) -> tuple[Listed, Mapping[str, Any]]:
    """Return a run, and its resolved spec; an empty one if it cannot be read."""
    seeds = sorted(each.parent for each in folder.glob(f"seed-*/{_RESOLVED}"))
    try:
        spec = read_spec(seeds[0])
        sessions = [entry for seed in seeds for entry in read_sessions(seed / SESSIONS)]
        numbers = {seed: seed_of(seed) for seed in seeds}
    except (TtsiError, OSError) as error:
        return Listed(folder, trouble=str(error).partition("\n")[0]), {}
    finished = {seed: results_of(seed) for seed in seeds}
    done: list[Any] = [results for results in finished.values() if results is not None]
    worked = [str(entry.get("finished") or entry.get("started") or "") for entry in sessions]
    run = Listed(
        folder,
        name=spec["name"],
        benchmark=spec["benchmark"]["name"],
        model=spec["model"]["id"],
        worked=max(worked, default=""),
        seeds={numbers[seed]: results is not None for seed, results in finished.items()},
        samples=sum(results["samples"] for results in done),
        so_far=sum(_records(seed) for seed, results in finished.items() if results is None),
        errors=sum(results["errors"] for results in done),
        base_accuracy=_mean([(results["base"] or {}).get("accuracy") for results in done]),
        accuracy=_mean([results["accuracy"] for results in done]),
    )
    return run, spec


def _mean(accuracies: Sequence[float | None]) -> float | None:
    """Return the mean over seeds; None without any, or where one seed has none."""
    known = [each for each in accuracies if each is not None]
    return fmean(known) if known and len(known) == len(accuracies) else None


def _records(seed: Path) -> int:
    """Count the samples that have a line in the journal: a failed one may have several."""
    try:
        with (seed / SAMPLES).open("rb") as file:
            return len({line.partition(b', "digest"')[0] for line in file if line.strip()})
    except OSError:
        return 0
