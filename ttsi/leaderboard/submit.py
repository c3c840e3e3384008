"""`ttsi leaderboard submit`: make a submission of a run, verified before it is put in place."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttsi._common.files import storage, write_atomically
from ttsi.digests import bytes_digest
from ttsi.errors import StorageError, UsageError, VerificationError
from ttsi.leaderboard.check_evidence import no_identity
from ttsi.leaderboard.check_identity import PUBLISH, is_local, local
from ttsi.leaderboard.faults import Unsound
from ttsi.leaderboard.publishing import published, published_sessions
from ttsi.leaderboard.sizes import check_sizes
from ttsi.leaderboard.sources import sources
from ttsi.leaderboard.submission import (
    HEAD,
    LONGEST_NAME,
    MANIFEST,
    NAME,
    NAME_IN_WORDS,
    RESULTS,
    SPEC,
    Seed,
    head_of,
    place,
    read,
)
from ttsi.leaderboard.together import SPELL, look_alikes
from ttsi.leaderboard.verify import Verdict, verify_one
from ttsi.records import provenance
from ttsi.records.identity import IDENTITY
from ttsi.records.journal import SAMPLES
from ttsi.records.sessions import SESSIONS
from ttsi.results.runs import Run, open_run, seed_folders
from ttsi.types import JSON

_STAGING = ".submitting-"


@dataclass(frozen=True)
class Submitted:
    """A submission: its folder (for a dry run: where it would be), file sizes and board entry."""

    folder: Path
    files: Mapping[str, int]
    entry: Mapping[str, JSON]


def submit(
    run: Path,
    leaderboards: Path,
    who: str,
    *,
    third_party: bool = False,
    dry_run: bool = False,
) -> Submitted:
    """Copy what a submission needs of a run to `leaderboards`/submissions, as `who`: ORG/METHOD.

    Raises UsageError (no such run, unfinished, too large, a local model, a bad name, submitted
    before), VerificationError (the run's files changed, or no board accepts it) and StorageError.
    In each case no file is left behind.
    """
    org, method = _names(who)
    check_sizes(seed_folders(run))
    opened = _finished(open_run(run))
    _check_model(opened)
    where = leaderboards / "submissions"
    with _staging(None if dry_run else where) as staging:
        made = _make(opened, staging, org, method, third_party=third_party)
        verdict = verify_one(made, third_party=third_party, entries=True)
        _refuse(verdict)
        assert verdict.entry is not None
        target = where / made.relative_to(staging)
        _check_new(made, target)
        _check_names(made, where)
        sizes = {
            path.relative_to(made).as_posix(): path.stat().st_size
            for path in sorted(made.rglob("*"))
            if path.is_file()
        }
        if not dry_run:
            _put(made, target)
        return Submitted(target, sizes, verdict.entry)


def _names(who: str) -> tuple[str, str]:
    parts = who.split("/")
    if len(parts) != 2:
        what = f"{who!r} is not ORG/METHOD."
        raise UsageError(what, where="--as", cure="Such as --as acme/tt-si-icl")
    for part in parts:
        if not re.fullmatch(NAME, part) or len(part) > LONGEST_NAME:
            what = f"{part!r} cannot be the name of an organisation or a method."
            cure = f"Use {NAME_IN_WORDS}; {LONGEST_NAME} characters are the most."
            raise UsageError(what, where="--as", cure=cure)
    return parts[0], parts[1]


def _finished(run: Run) -> Run:
    for seed in run.seeds:
        if not seed.complete:
            raise UsageError(
                f"Seed {seed.seed} of the run is not finished.",
                where=str(seed.folder),
                cure="Run the command that began it, which resumes; or name one seed's folder.",
            )
        if not all((seed.folder / name).is_file() for name in (IDENTITY, SESSIONS)):
            fault = no_identity(IDENTITY)
            what = f"Seed {seed.seed} of the run cannot be submitted: {IDENTITY} {fault.what}"
            raise VerificationError(what, where=str(seed.folder), cure=fault.cure)
        if not provenance.intact(seed.folder):
            raise VerificationError(
                f"Seed {seed.seed} of the run is not as it was when it finished.",
                where=str(seed.folder),
                cure="Run its spec again: what is whole is kept, and the rest is made anew.",
            )
    return run


def _check_model(run: Run) -> None:
    """Raise UsageError for a local model before the data is loaded; verification refuses it too."""
    if is_local(run.spec):
        raise UsageError(local(run.spec), where=str(run.folder), cure=PUBLISH)


@contextmanager
def _staging(where: Path | None) -> Iterator[Path]:
    """Yield a temporary folder in `where`, from which a rename moves the submission into place.

    For a dry run, `where` is None and the folder is the system's. Raises StorageError.
    """
    try:
        if where is not None:
            where.mkdir(parents=True, exist_ok=True)
            _sweep(where)
        folder = Path(tempfile.mkdtemp(prefix=_STAGING, dir=where))
    except OSError as error:
        what = f"Cannot write there: {error.strerror}."
        cure = "Choose a folder that can be written with --to FOLDER."
        raise StorageError(what, where=str(where), cure=cure) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(where: Path) -> None:
    """Remove what killed submissions left there: none takes a day."""
    for left in where.glob(f"{_STAGING}*"):
        if time.time() - left.stat().st_mtime > 24 * 60 * 60:
            shutil.rmtree(left, ignore_errors=True)


def _make(run: Run, staging: Path, org: str, method: str, *, third_party: bool) -> Path:
    """Write the submission below `staging` and return its folder there."""
    try:
        found = sources(run.spec, str(run.folder), third_party=third_party)
    except Unsound as error:
        raise VerificationError(
            f"The run cannot be submitted: {error.fault.what}",
            where=str(run.folder),
            cure=error.fault.cure,
        ) from error
    partial = staging / "partial"
    seeds = []
    for seed in run.seeds:
        rows = [json.loads(line) for line in _lines(seed.folder / SAMPLES)]
        lost = [row["id"] for row in rows if row["id"] not in found.samples]
        if lost:
            what = f"The benchmark has no sample {lost[0]!r}: the run was over other data."
            raise VerificationError(what, where=str(seed.folder), cure="Run its spec again.")
        rows = [published(row, found.samples[row["id"]]) for row in rows]
        seeds.append(_make_seed(seed.folder, partial / f"seed-{seed.seed}", rows))
    head = json.dumps(head_of(org, method, provenance.now()[:10], seeds), indent=2) + "\n"
    write_atomically(partial / HEAD, head)
    made = staging / place(json.loads(head), head.encode())
    made.parent.mkdir(parents=True)
    partial.rename(made)
    return made


def _make_seed(source: Path, folder: Path, rows: Sequence[dict[str, Any]]) -> Seed:
    folder.mkdir(parents=True)
    for name in (SPEC, IDENTITY, RESULTS):
        with storage(folder):
            shutil.copyfile(source / name, folder / name)
    sessions = published_sessions(json.loads((source / SESSIONS).read_bytes()))
    write_atomically(folder / SESSIONS, json.dumps(sessions, indent=2) + "\n")
    lines = (json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n" for row in rows)
    write_atomically(folder / SAMPLES, "".join(lines))
    manifest = json.dumps(provenance.manifest(folder), indent=2) + "\n"
    write_atomically(folder / MANIFEST, manifest)
    spec, identity, results = (
        json.loads((folder / name).read_bytes()) for name in (SPEC, IDENTITY, RESULTS)
    )
    return Seed(
        folder.name,
        spec=spec,
        identity=identity,
        sessions=sessions["sessions"],
        results=results,
        manifest=json.loads(manifest),
        rows=tuple(rows),
        digest=bytes_digest(manifest.encode()),
    )


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")


def _refuse(verdict: Verdict) -> None:
    """Raise VerificationError with all faults, if there are any."""
    if verdict.ok:
        return
    told = "\n".join(f"  {fault}" for fault in verdict.faults)
    raise VerificationError(
        f"The run cannot be submitted; no file was written.\n{told}",
        cure="Mend what is told above; leaderboards/CONTRIBUTING.md says what boards take.",
    )


def _check_new(made: Path, target: Path) -> None:
    """Raise UsageError where the same run was submitted before, even on another day."""
    mine, _ = read(made)
    others = target.parent.iterdir() if target.parent.is_dir() else ()
    for other in (each for each in others if each.is_dir()):
        theirs, _ = read(other)
        if theirs and mine and theirs.head["manifests"] == mine.head["manifests"]:
            what = "This run has been submitted as this method before."
            raise UsageError(what, where=str(other), cure="There is no need to do it again.")


def _check_names(made: Path, where: Path) -> None:
    """Raise UsageError where a name looks like one that lies there, and is spelled otherwise."""
    mine = json.loads((made / HEAD).read_bytes())
    for path in sorted(where.glob(f"*/*/*/{HEAD}")):
        try:
            theirs = json.loads(path.read_bytes())
            alike = list(look_alikes(mine, theirs))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # `verify` tells what is wrong with it
        for key in alike:
            what = f"The {key} {mine[key]!r} looks like {theirs[key]!r}, which is there already."
            raise UsageError(what, where=str(path.parent), cure=SPELL)


def _put(made: Path, target: Path) -> None:
    with storage(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        made.rename(target)
