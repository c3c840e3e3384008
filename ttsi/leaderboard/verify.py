"""`ttsi leaderboard verify`: every fault of every submission.

Stored texts are parsed and scored again, episodes are played again with them, and the metrics
computed again, with the benchmark that is installed here. Nothing in a submission is executed.
leaderboards/CONTRIBUTING.md says what verification cannot prove.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ttsi.errors import UsageError
from ttsi.leaderboard import (
    check_costs,
    check_dates,
    check_doubles,
    check_episodes,
    check_identity,
    check_method,
    check_names,
    check_records,
    check_run,
    check_sessions,
    safe,
)
from ttsi.leaderboard.entries import entry_of
from ttsi.leaderboard.faults import UNAVAILABLE, Fault, Unsound, shown
from ttsi.leaderboard.sources import Sources, sources
from ttsi.leaderboard.submission import HEAD, SPEC, Seed, Submission, read
from ttsi.leaderboard.together import Peer, faults_among, peer_of
from ttsi.types import JSON

_LEVELS = 3
_BESIDE = ("README.md", "CONTRIBUTING.md", ".gitattributes", ".gitkeep")
"""Files that the folders above submissions may hold."""


@dataclass(frozen=True)
class Verdict:
    """The faults of one submission, or of a file that belongs to none.

    `head`: the content of submission.json, where it could be read. `entry`: what a board shows of
    it, where it was asked for. `peer`: what is compared with other submissions.
    """

    path: Path
    faults: tuple[Fault, ...]
    head: Mapping[str, Any] | None = None
    entry: Mapping[str, JSON] | None = None
    peer: Peer | None = None

    @property
    def state(self) -> str:
        """Return verified, faulty, or unverifiable: only data or a plugin is missing here."""
        kinds = {fault.kind for fault in self.faults}
        return "verified" if not kinds else "unverifiable" if kinds == {UNAVAILABLE} else "faulty"

    @property
    def ok(self) -> bool:
        return self.state == "verified"

    @property
    def exit_code(self) -> int:
        return {"verified": 0, "faulty": 4, "unverifiable": 5}[self.state]

    def as_json(self) -> dict[str, JSON]:
        found: dict[str, Any] = {"path": self.path.as_posix(), "ok": self.ok, "state": self.state}
        if self.head is not None:
            found |= {key: self.head[key] for key in ("benchmark", "org", "method", "samples")}
            found |= {"seeds": len(self.head["manifests"])}
        return {**found, "faults": [fault.as_json() for fault in self.faults]}


def verify(
    paths: Iterable[Path], *, third_party: bool = False, entries: bool = False
) -> list[Verdict]:
    """Return a verdict on every submission at or below the paths.

    `third_party` allows benchmarks and scorers of installed third-party packages to be loaded;
    `entries` asks for what a board shows of sound submissions. Raises UsageError where a path does
    not exist.
    """
    found = [
        verdict
        for path in paths
        for verdict in _below(path, third_party=third_party, entries=entries)
    ]
    sound = {verdict.path for verdict in found if verdict.ok}
    peers = {each.path: each.peer for each in found if each.peer is not None}
    told = faults_among(peers.values(), lambda peer: peer.path in sound)
    return [replace(each, faults=(*each.faults, *told.get(each.path, ()))) for each in found]


def verify_one(folder: Path, *, third_party: bool = False, entries: bool = False) -> Verdict:
    """Return the verdict on one submission's folder, without a comparison with others."""
    linked = [each for each in (folder, *folder.parents[: _LEVELS - 1]) if each.is_symlink()]
    if linked:
        return Verdict(folder, (_link(linked[0]),))
    submission, faults = read(folder)
    if submission is None:
        return Verdict(folder, tuple(dict.fromkeys(faults)))
    faults += _content_faults(submission, third_party=third_party)
    entry = entry_of(submission) if entries and not faults else None
    told = tuple(dict.fromkeys(faults))
    return Verdict(folder, told, submission.head, entry, peer_of(submission))


def _content_faults(submission: Submission, *, third_party: bool) -> list[Fault]:
    faults = list(check_run.spec_faults(submission))
    first = submission.seeds[0]
    found: Sources | None = None
    try:
        found = sources(first.spec, f"{first.name}/{SPEC}", third_party=third_party)
    except Unsound as error:
        faults.append(error.fault)
    faults += check_run.private_faults(submission)
    faults += check_names.name_faults(submission)
    faults += check_dates.date_faults(submission)
    faults += check_doubles.double_faults(submission)
    faults += check_identity.identity_faults(submission)
    for seed in submission.seeds:
        faults += check_sessions.session_faults(seed)
        faults += check_run.results_faults(seed, found)
        faults += check_costs.total_faults(seed)
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
        yield from check_costs.cost_faults(case)
        if case.sample.episode is not None:
            yield from check_episodes.episode_faults(case)
        else:
            yield from check_records.answer_faults(case)
            yield from check_method.method_faults(case)
    yield from check_method.seed_faults(seed)


# ---------------------------------------------------------------- finding submissions


def _below(path: Path, **how: bool) -> Iterator[Verdict]:
    if not path.is_symlink() and (path / "submissions").is_dir():
        path = path / "submissions"
    if _holds_nothing(path):
        return
    if not (path.is_symlink() or path.is_dir()):
        cure = "Name leaderboards/submissions, or the folder of one submission."
        raise UsageError(f"There is no folder {path}.", cure=cure)
    yield from _look(path, _LEVELS, **how)


def _holds_nothing(path: Path) -> bool:
    """Return whether `path` is empty, or a missing `submissions`: Git keeps no empty folder."""
    if path.is_symlink():
        return False
    if path.is_dir():
        return next(path.iterdir(), None) is None
    return path.name == "submissions" and path.parent.is_dir() and not path.exists()


def _look(path: Path, levels: int, **how: bool) -> Iterator[Verdict]:
    """Yield verdicts on the submissions below `path`, and on stray files and links there.

    Submissions are at most `levels` folders deep, fewer where `path` is itself inside the tree.
    """
    if path.is_symlink():
        yield Verdict(path, (_link(path),))
        return
    with os.scandir(path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    if levels == 0 or any(entry.name.startswith((HEAD, "seed-")) for entry in entries):
        yield verify_one(path, **how)
        return
    for entry in entries:
        if entry.is_symlink():
            yield Verdict(Path(entry.path), (_link(Path(entry.path)),))
        elif entry.is_dir(follow_symlinks=False):
            yield from _look(Path(entry.path), levels - 1, **how)
        elif entry.name not in _BESIDE:
            yield Verdict(Path(entry.path), (safe.stray(entry),))
    if not entries:
        what = "is empty, and no submission."
        yield Verdict(path, (Fault("missing-file", shown(path.name), what, "Delete it."),))


def _link(path: Path) -> Fault:
    what = "is a symbolic link, which is not followed."
    return Fault("symlink", shown(path.name), what, "Put the folder itself there.")
