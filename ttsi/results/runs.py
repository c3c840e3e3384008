"""Read a finished or unfinished run from disk, for reports, comparisons and calibration.

open_run("runs/NAME-HASH")         ->  Run with every seed
open_run("runs/NAME-HASH/seed-0")  ->  Run with that seed alone
open_run(folder, ESTIMATES)        ->  the same, for the records of calibration or a budget
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ttsi._common.collection import long_lived
from ttsi._common.console import warn
from ttsi._common.inputs import reason, shown
from ttsi._common.suggest import did_you_mean
from ttsi.errors import CorruptAsset, TtsiError, UsageError
from ttsi.records import journal, provenance
from ttsi.records.identity import IDENTITY
from ttsi.records.identity import read as read_identity
from ttsi.records.sessions import OF_ESTIMATES, SESSIONS
from ttsi.records.sessions import read as read_sessions
from ttsi.results import metrics
from ttsi.results.agreement import made_of, said_otherwise
from ttsi.solving import assemble
from ttsi.spec import load_spec
from ttsi.spec.schema import COMPONENTS
from ttsi.types import JSON, Record, Sample


@dataclass(frozen=True)
class SeedRun:
    """One seed: its records in the benchmark's order, and `results` with the keys of results.json.

    What records make is made of them; the rest is as results.json has it, which an interrupted run
    lacks: `complete` is then False. `doubt` says what results.json or a record says otherwise, ""
    if nothing does. `identity` is empty if the run had no engine yet. An incomplete run with a
    budget has no comparison with the base model: it runs the uncertain samples first, so that its
    records are a selection by the estimator.
    """

    folder: Path
    seed: int
    records: tuple[Record, ...]
    results: Mapping[str, Any]
    complete: bool
    identity: Mapping[str, Any] = field(default_factory=dict)
    doubt: str = ""


@dataclass(frozen=True)
class Run:
    """All seeds of one spec: `spec` is the resolved one, `sessions` are those of the first seed."""

    folder: Path
    spec: Mapping[str, Any]
    sessions: Sequence[Mapping[str, Any]]
    seeds: tuple[SeedRun, ...]

    @property
    def environment(self) -> Mapping[str, Any]:
        """Versions, plugins and machine of the last session; empty if there was none."""
        return self.sessions[-1] if self.sessions else {}

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @cached_property
    def samples(self) -> dict[str, Sample]:
        """The benchmark's samples by id, loaded anew. Raises TtsiError if they cannot be loaded."""
        # The rest of an older run's spec may name plugins that no longer exist.
        (spec,) = load_spec({"benchmark": dict(self.spec["benchmark"])}, environment=False)
        return {sample.id: sample for sample in assemble.benchmark(spec).samples()}


def open_run(path: str | Path, name: str = journal.SAMPLES) -> Run:
    """Read a run from disk; a note on stderr says where its files contradict its records.

    Raises UsageError if there is no run, CorruptAsset if its files are damaged.
    """
    folder = Path(path)
    folders = seed_folders(folder, name)
    first = folders[0]
    sessions = read_sessions(first / SESSIONS)
    if name == journal.ESTIMATES:
        sessions = read_sessions(first / OF_ESTIMATES) or sessions
    spec = read_spec(first)
    seeds = tuple(_open_seed(each, name, spec) for each in folders)
    for seed in seeds:
        if seed.doubt:
            warn(f"note: {shown(seed.folder)}: {seed.doubt}")
    return Run(folder, spec, sessions, seeds)


def seed_folders(folder: Path, name: str = journal.SAMPLES) -> list[Path]:
    """Return the folders of a run's seeds in order; `folder` may also be one of them.

    Raises UsageError if there is no run.
    """
    if (folder / name).is_file():
        return [folder]
    found = (each.parent for each in folder.glob(f"seed-*/{name}") if each.is_file())
    every = sorted(found, key=seed_of)
    # A refused seed has no identity and does not belong to this run.
    folders = [each for each in every if (each / IDENTITY).exists()] or every
    if not folders:
        raise UsageError(
            f"There is no run here: neither {name} nor seed-*/{name}.",
            where=str(folder),
            cure=_runs_near(folder, name),
        )
    return folders


def _runs_near(folder: Path, name: str) -> str:
    """Say which runs are in the folder or beside it."""
    for place in (folder, folder.parent):
        found = {str(each.parents[1]) for each in place.glob(f"*/seed-*/{name}")}
        if found:
            return did_you_mean(str(folder), found, noun=f"runs in {place}")
    return "Name a folder that `ttsi eval` wrote, such as runs/NAME-HASH."


def whole_run(folder: Path) -> Path:
    """Return the folder that holds the folders of all seeds; `folder` may be that of a seed."""
    of_seed = (folder / journal.SAMPLES).is_file()
    return folder.resolve().parent if of_seed else folder


def run_name(folder: Path) -> str:
    """Return NAME-HASH, also for a run that is opened by one of its seeds."""
    whole = folder.resolve()
    return whole.parent.name if whole.name.startswith("seed-") else whole.name


def read_spec(seed: Path) -> Mapping[str, Any]:
    """Return the resolved spec in a seed's folder. Raises CorruptAsset."""
    spec: Mapping[str, Any] = _json(seed / "spec.resolved.json", _is_resolved)
    return spec


def known_samples(run: Run) -> tuple[dict[str, Sample] | None, str]:
    """Return the benchmark's samples by id and "", or None and the reason why there are none."""
    try:
        return run.samples, ""
    except TtsiError as error:
        return None, str(error)
    except Exception as error:  # a plugin may raise anything, and the rest can still be shown
        return None, f"{type(error).__name__}: {error}"


def results_of(folder: Path) -> dict[str, JSON] | None:
    """Return the results of a seed's folder; None unless every file matches its manifest."""
    if not provenance.intact(folder):
        return None
    try:
        found: dict[str, JSON] = json.loads((folder / "results.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if _results_schema().is_valid(found) else None


def _open_seed(folder: Path, name: str, spec: Mapping[str, Any]) -> SeedRun:
    """Read one seed of a run of this spec."""
    # The last record of a sample counts, since a failed one may have been tried again.
    with long_lived():
        records = {record.id: record for record in journal.read(folder / name)}
    found, number, doubt = tuple(records.values()), seed_of(folder), ""
    complete = (folder / "manifest.json").is_file() and (folder / "results.json").is_file()
    results = metrics.summarise(found)
    if complete and name == journal.SAMPLES:
        stored = _json(folder / "results.json", _results_schema().is_valid)
        made = made_of(spec, number, found)
        results, doubt = {**stored, **made}, said_otherwise(made, stored)
    elif spec.get("budget") is not None and name == journal.SAMPLES:
        results |= {"base": None, "change": None, "estimator": None}
    others = sorted({record.seed for record in found if record.seed != number})
    if doubt:
        doubt = f"results.json is not what the records make: {doubt}. What they make is used."
    if others and name == journal.SAMPLES:
        doubt = f"There are records of seed {others[0]}, which do not belong here. {doubt}".strip()
    whose = read_identity(folder) or {}
    return SeedRun(folder, number, found, results, complete, whose, doubt)


def seed_of(folder: Path) -> int:
    """Return the seed whose folder this is. Raises UsageError for another name."""
    number = folder.resolve().name.removeprefix("seed-")
    if not (number.isascii() and number.removeprefix("-").isdigit()):
        raise UsageError(
            "A seed's folder is named seed-NUMBER.",
            where=str(folder),
            cure="Give the folder its name back, or name another run.",
        )
    return int(number)


def _json(path: Path, sound: Callable[[Any], bool]) -> Any:
    """Return the JSON value of a run's file. Raises CorruptAsset unless it is `sound`."""
    cure = f"Delete {path.name} there and run the spec again: it is made anew, the records stay."
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        what = f"The run has no {path.name}."
        raise CorruptAsset(what, where=str(path.parent), cure="Run its spec again.") from None
    except (OSError, ValueError, RecursionError) as error:
        what = f"{path.name} cannot be read as JSON: {reason(error)}."
        raise CorruptAsset(what, where=str(path), cure=cure) from error
    if not sound(found):
        what = f"{path.name} is not what this version of ttsi writes: it is damaged, or another's."
        raise CorruptAsset(what, where=str(path), cure=cure)
    return found


def _is_resolved(spec: Any) -> bool:
    """Whether `spec` has the parts of a resolved spec that are read here."""
    if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
        return False
    named = [(spec.get("model"), "id"), *((spec.get(key), "name") for key in COMPONENTS)]
    whole = all(isinstance(each, dict) and isinstance(each.get(key), str) for each, key in named)
    return whole and isinstance(spec.get("budget", 0.0), int | float | None)


@cache
def _results_schema() -> Any:
    from jsonschema import Draft202012Validator

    schema = Path(__file__).parent.parent / "schemas" / "results.schema.json"
    return Draft202012Validator(json.loads(schema.read_bytes()))
