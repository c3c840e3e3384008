"""`ttsi leaderboard verify`: every fault of every submission (DESIGN section 10).

Stored texts are parsed and scored again, episodes are played again with them, and the metrics
computed again, with the benchmark that is installed here. Nothing in a submission is executed.
leaderboards/CONTRIBUTING.md says what verification cannot prove.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttsi.errors import UsageError
from ttsi.leaderboard import (
    check_episodes,
    check_identity,
    check_method,
    check_records,
    check_run,
    check_sessions,
    safe,
)
from ttsi.leaderboard.faults import UNAVAILABLE, Fault, Unsound, shown
from ttsi.leaderboard.sources import Sources, sources
from ttsi.leaderboard.submission import HEAD, SPEC, Seed, Submission, read
from ttsi.types import JSON

_LEVELS = 3
_BESIDE = ("README.md", "CONTRIBUTING.md", ".gitattributes", ".gitkeep")
"""Files that the folders above submissions may hold."""


@dataclass(frozen=True)
class Verdict:
    """The faults of one submission, or of a file that belongs to none."""

    path: Path
    faults: tuple[Fault, ...]
    submission: Submission | None = None

    @property
    def ok(self) -> bool:
        return not self.faults

    @property
    def exit_code(self) -> int:
        """0 without faults, 4 for a mismatch, 5 where only data or a plugin is missing here."""
        kinds = {fault.kind for fault in self.faults}
        return 0 if not kinds else 5 if kinds == {UNAVAILABLE} else 4

    def as_json(self) -> dict[str, JSON]:
        found: dict[str, Any] = {"path": self.path.as_posix(), "ok": self.ok}
        if self.submission is not None:
            found |= {key: self.submission.head[key] for key in ("benchmark", "org", "method")}
            found |= {"seeds": len(self.submission.seeds)}
            found |= {"samples": self.submission.head["samples"]}
        return {**found, "faults": [fault.as_json() for fault in self.faults]}


def verify(paths: Iterable[Path], *, third_party: bool = False) -> Iterator[Verdict]:
    """Yield a verdict on every submission at or below the paths.

    `third_party` allows benchmarks and scorers of installed third-party packages to be loaded.
    Raises UsageError where a path does not exist.
    """
    seen: dict[str, Path] = {}
    for path in paths:
        for verdict in _below(path, third_party=third_party):
            yield _unless_copied(verdict, seen)


def verify_one(folder: Path, *, third_party: bool = False) -> Verdict:
    """Return the verdict on one submission's folder."""
    linked = [each for each in (folder, *folder.parents[: _LEVELS - 1]) if each.is_symlink()]
    if linked:
        return Verdict(folder, (_link(linked[0]),))
    submission, faults = read(folder)
    if submission is not None:
        faults += _content_faults(submission, third_party=third_party)
    return Verdict(folder, tuple(dict.fromkeys(faults)), submission)


def _content_faults(submission: Submission, *, third_party: bool) -> list[Fault]:
    faults = list(check_run.spec_faults(submission))
    first = submission.seeds[0]
    found: Sources | None = None
    try:
        found = sources(first.spec, f"{first.name}/{SPEC}", third_party=third_party)
    except Unsound as error:
        faults.append(error.fault)
    faults += check_run.private_faults(submission)
    faults += check_run.date_faults(submission)
    faults += check_identity.identity_faults(submission)
    for seed in submission.seeds:
        faults += check_sessions.session_faults(seed)
        faults += check_run.results_faults(seed, found)
        if found is not None:
            faults += _seed_faults(seed, found)
    return faults


def _seed_faults(seed: Seed, found: Sources) -> Iterator[Fault]:
    yield from check_records.sample_faults(seed, list(found.samples))
    # On other data every sample would differ; the revision is reported already.
    if seed.results["revision"] != found.revision:
        return
    for case in check_records.cases(seed, found):
        yield from check_records.record_faults(case, seed.number)
        if case.sample.episode is not None:
            yield from check_episodes.episode_faults(case)
        else:
            yield from check_records.answer_faults(case)
            yield from check_method.method_faults(case)
    yield from check_method.seed_faults(seed)


def _unless_copied(verdict: Verdict, seen: dict[str, Path]) -> Verdict:
    """Return the verdict, with a fault added where an earlier submission has the same records."""
    if verdict.submission is None:
        return verdict
    faults = list(verdict.faults)
    for seed in verdict.submission.seeds:
        digest = seed.manifest["files"].get("samples.jsonl", {}).get("digest", "")
        first = seen.setdefault(digest, verdict.path)
        if first != verdict.path:
            what = f"has the same records, to the last digit of a second, as {shown(str(first))}."
            where = f"{seed.name}/samples.jsonl"
            faults.append(Fault("copy", where, what, "Submit a run of your own, and once."))
    return Verdict(verdict.path, tuple(faults), verdict.submission)


# ---------------------------------------------------------------- finding submissions


def _below(path: Path, *, third_party: bool) -> Iterator[Verdict]:
    if not path.is_symlink() and (path / "submissions").is_dir():
        path = path / "submissions"
    if _holds_nothing(path):
        return
    if not (path.is_symlink() or path.is_dir()):
        cure = "Name leaderboards/submissions, or the folder of one submission."
        raise UsageError(f"There is no folder {path}.", cure=cure)
    yield from _look(path, _LEVELS, third_party=third_party)


def _holds_nothing(path: Path) -> bool:
    """Return whether `path` is empty, or a missing `submissions`: Git keeps no empty folder."""
    if path.is_symlink():
        return False
    if path.is_dir():
        return next(path.iterdir(), None) is None
    return path.name == "submissions" and path.parent.is_dir() and not path.exists()


def _look(path: Path, levels: int, *, third_party: bool) -> Iterator[Verdict]:
    """Yield verdicts on the submissions below `path`, and on stray files and links there.

    Submissions are at most `levels` folders deep, fewer where `path` is itself inside the tree.
    """
    if path.is_symlink():
        yield Verdict(path, (_link(path),))
        return
    with os.scandir(path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    if levels == 0 or any(entry.name.startswith((HEAD, "seed-")) for entry in entries):
        yield verify_one(path, third_party=third_party)
        return
    folders: dict[str, str] = {}
    for entry in entries:
        if entry.is_symlink():
            yield Verdict(Path(entry.path), (_link(Path(entry.path)),))
        elif entry.is_dir(follow_symlinks=False):
            twin = folders.setdefault(entry.name.casefold(), entry.name)
            if twin != entry.name:
                yield Verdict(Path(entry.path), (_collision(entry.name, twin),))
            yield from _look(Path(entry.path), levels - 1, third_party=third_party)
        elif entry.name not in _BESIDE:
            yield Verdict(Path(entry.path), (safe.stray(entry),))
    if not entries:
        what = "is empty, and no submission."
        yield Verdict(path, (Fault("missing-file", shown(path.name), what, "Delete it."),))


def _link(path: Path) -> Fault:
    what = "is a symbolic link, which is not followed."
    return Fault("symlink", shown(path.name), what, "Put the folder itself there.")


def _collision(name: str, twin: str) -> Fault:
    what = f"differs from {shown(twin)} by capital letters only: on some disks they are one."
    return Fault("name", shown(name), what, "Spell org, method and model as before.")
