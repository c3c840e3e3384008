"""Submissions to verify: honest ones, and the forgeries of careless and careful forgers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import reports

from ttsi.digests import bytes_digest
from ttsi.leaderboard import verify as verifying
from ttsi.leaderboard.faults import Fault
from ttsi.leaderboard.submission import HEAD, MANIFEST, RESULTS, SPEC, Seed, head_of, place
from ttsi.leaderboard.submit import Submitted, submit
from ttsi.records import provenance
from ttsi.records.identity import IDENTITY
from ttsi.records.journal import SAMPLES
from ttsi.records.sessions import SESSIONS
from ttsi.results import metrics, synthetic
from ttsi.spec import digest_of

Change = Callable[[Any], Any]


def submitted(root: Path, **changed: Any) -> Path:
    """Make an honest submission with the command, of a run with the scripted engine."""
    return submit_run(reports.made(root / "runs", **changed).folder, root).folder


def submit_run(run: Path, root: Path, **options: Any) -> Submitted:
    options = {"third_party": True, **options}
    return submit(run, root / "leaderboards", "acme/tt-si", **options)


def faults(folder: Path, *, third_party: bool = True) -> list[Fault]:
    return list(verifying.verify_one(folder, third_party=third_party).faults)


def entry(folder: Path) -> Mapping[str, Any]:
    """Return what a board shows of a sound submission."""
    found = verifying.verify_one(folder, third_party=True, entries=True).entry
    assert found is not None
    return found


def kinds(folder: Path, *, third_party: bool = True) -> set[str]:
    return {fault.kind for fault in faults(folder, third_party=third_party)}


def copied(folder: Path, root: Path) -> Path:
    """Copy the submission to its own tree below `root`, to be modified."""
    target = root.joinpath("submissions", *folder.parts[-3:])
    shutil.copytree(folder, target)
    return target


def read(path: Path) -> Any:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return json.loads(path.read_text())


def write(path: Path, value: Any) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in value))
    else:
        path.write_text(json.dumps(value, indent=2) + "\n")


def edit(folder: Path, name: str, change: Change) -> None:
    """Change one file without updating digests, as a careless forger does."""
    value = read(folder / name)
    changed = change(value)
    write(folder / name, value if changed is None else changed)


def sealed(folder: Path, *, alike: bool = True) -> Path:
    """Recompute all digests of the current files; return the submission's new folder.

    `alike`: the identity is written into the results, too, and has the spec's digest.
    """
    seeds = []
    for own in sorted(folder.glob("seed-*")):
        spec, identity, sessions, results, rows = (
            read(own / name) for name in (SPEC, IDENTITY, SESSIONS, RESULTS, SAMPLES)
        )
        results["spec_digest"] = digest_of(spec, identity["ttsi"])
        if alike:
            results["identity"] = identity = identity | {"spec_digest": results["spec_digest"]}
            write(own / IDENTITY, identity)
        write(own / RESULTS, results)
        write(own / MANIFEST, provenance.manifest(own))
        data = (own / MANIFEST).read_bytes()
        seeds.append(
            Seed(
                own.name,
                spec,
                identity,
                sessions["sessions"],
                results,
                json.loads(data),
                tuple(rows),
                bytes_digest(data),
            )
        )
    before = read(folder / HEAD)
    head = head_of(before["org"], before["method"], before["submitted"], seeds)
    write(folder / HEAD, head)
    target = folder.parents[2] / place(head, (folder / HEAD).read_bytes())
    if target != folder:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
    return target


def summed_up(folder: Path) -> None:
    """Recompute the results from the current records."""
    from ttsi.leaderboard.sources import sources
    from ttsi.records.lines import from_json

    for own in folder.glob("seed-*"):
        records = [from_json(row) for row in read(own / "samples.jsonl")]
        results = read(own / "results.json") | metrics.summarise(records)
        if not any(record.steps for record in records):
            samples = sources(read(own / SPEC), own.name, third_party=True).samples
            inputs = {name: sample.task.input for name, sample in samples.items()}
            results["synthetic"] = synthetic.quality(records, inputs)
        write(own / "results.json", results)
