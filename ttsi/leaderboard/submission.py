"""What a submission is, and how it is read.

    submissions/BENCHMARK/ORG__METHOD__MODEL/HASH/
      submission.json       who, what, when; the digest of each seed's manifest
      seed-S/               spec.resolved.json identity.json sessions.json samples.jsonl
                            results.json manifest.json

HASH is the digest of submission.json, which lists the digests of the manifests, which list those of
the files, so that every change is detected. A seed's folder has the layout of a run's, so `ttsi
report` and `ttsi compare` accept a submission as a run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from ttsi.digests import bytes_digest
from ttsi.leaderboard import safe
from ttsi.leaderboard.check_evidence import base_lacks, identity_lacks, no_identity, results_lack
from ttsi.leaderboard.faults import Fault, Unsound, shown
from ttsi.leaderboard.shapes import shape_faults
from ttsi.records.identity import IDENTITY
from ttsi.records.journal import SAMPLES
from ttsi.records.lines import from_json
from ttsi.records.sessions import SESSIONS
from ttsi.types import JSON, Record

SCHEMA = "ttsi.submission/1"
HEAD = "submission.json"
SPEC, RESULTS, MANIFEST = "spec.resolved.json", "results.json", "manifest.json"
CONTENT = (SPEC, IDENTITY, SESSIONS, SAMPLES, RESULTS)
_SCHEMAS = {
    SPEC: "spec",
    IDENTITY: "identity",
    SESSIONS: "sessions",
    RESULTS: "results",
    MANIFEST: "manifest",
}
_LACKS = {IDENTITY: identity_lacks, RESULTS: results_lack}

NAME = r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*"
NAME_IN_WORDS = "letters and digits, with single dots, hyphens or underscores between them"
LONGEST_NAME = 40
_FILES = re.compile(
    r"submission\.json|seed-(?:0|[1-9][0-9]{0,15})/"
    r"(?:(?:spec\.resolved|identity|sessions|results|manifest)\.json|samples\.jsonl)?"
)
_Text = TypeVar("_Text", str, bytes)
_RESTORE = "Restore it from the run, or submit the run again."


@dataclass(frozen=True)
class Seed:
    """One seed's parsed files. `rows`: the lines of samples.jsonl; `digest`: the manifest's."""

    name: str
    spec: Mapping[str, Any]
    identity: Mapping[str, Any]
    sessions: Sequence[Mapping[str, Any]]
    results: Mapping[str, Any]
    manifest: Mapping[str, Any]
    rows: tuple[dict[str, Any], ...]
    digest: str

    @cached_property
    def records(self) -> tuple[Record, ...]:
        return tuple(map(from_json, self.rows))

    @property
    def number(self) -> int:
        return int(self.name.removeprefix("seed-"))


@dataclass(frozen=True)
class Submission:
    """A submission whose files satisfy their schemas."""

    folder: Path
    head: Mapping[str, Any]
    seeds: tuple[Seed, ...]


def head_of(org: str, method: str, submitted: str, seeds: Sequence[Seed]) -> dict[str, JSON]:
    """Return the content of submission.json; what the arguments do not give, the seeds do."""
    spec, results = seeds[0].spec, seeds[0].results
    return {
        "schema": SCHEMA,
        "org": org,
        "method": method,
        "submitted": submitted,
        "ttsi": seeds[0].identity["ttsi"],
        "benchmark": spec["benchmark"]["name"],
        "model": spec["model"]["id"],
        "engine": spec["engine"]["name"],
        "revision": results["revision"],
        "spec_digest": results["spec_digest"],
        "samples": len(seeds[0].rows),
        "manifests": {seed.name: seed.digest for seed in seeds},
    }


def place(head: Mapping[str, Any], head_bytes: bytes) -> PurePosixPath:
    """Return the submission's path: BENCHMARK/ORG__METHOD__MODEL/HASH."""
    who = f"{head['org']}__{head['method']}__{slug(head['model'])}"
    digest = bytes_digest(head_bytes).removeprefix("sha256:")
    return PurePosixPath(slug(head["benchmark"]), who, digest[:16])


def slug(text: str) -> str:
    """Return a name as part of a path: "Qwen/Qwen2.5-1.5B" becomes Qwen-Qwen2.5-1.5B."""
    return "-".join(re.findall(r"[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)*", text))[:80].rstrip(".-") or "x"


# ---------------------------------------------------------------- reading


def read(folder: Path) -> tuple[Submission | None, list[Fault]]:
    """Return the submission, or None where files are missing or malformed, and the faults found.

    A file whose digest differs is a fault and is read all the same, so that later checks can say
    what was changed in it.
    """
    sizes, faults = safe.listing(folder, _FILES)
    names = sorted({name.partition("/")[0] for name in sizes} - {HEAD}, key=_by_number)
    faults += _missing({*sizes, *(fault.where for fault in faults)}, names)
    if faults:
        return None, faults
    reader = _Reader(folder)
    head_bytes = reader.load(HEAD)
    head = reader.shaped(HEAD, safe.value_of, head_bytes, "submission")
    seeds = [reader.seed(name) for name in names]
    whole = [seed for seed in seeds if seed is not None]
    if head is None or len(whole) < len(seeds):
        return None, reader.faults
    found = Submission(folder, head, tuple(whole))
    faults = [*reader.faults, *_head_faults(found, head_bytes)]
    for seed in whole:
        faults += base_lacks(seed.spec, seed.records, seed.name)
    return found, faults


def _by_number(name: str) -> int:
    return int(name.removeprefix("seed-"))


def _missing(there: Collection[str], names: Sequence[str]) -> Iterator[Fault]:
    wanted = [HEAD, *(f"{name}/{file}" for name in names for file in (*CONTENT, MANIFEST))]
    for name in wanted:
        if name not in there and name.endswith(f"/{IDENTITY}"):
            yield no_identity(name)
        elif name not in there:
            yield Fault("missing-file", name, "is not there.", _RESTORE)
    if not any(name.startswith("seed-") for name in there):
        yield Fault("missing-file", ".", "holds no seed's folder.", _RESTORE)


class _Reader:
    """A reader of one submission's files, which collects their faults."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[Fault] = []

    def load(self, name: str) -> bytes:
        try:
            return safe.read_bytes(self.folder / name, name)
        except Unsound as error:
            self.faults.append(error.fault)
            return b""

    def shaped(
        self, where: str, read: Callable[[_Text, str], Any], given: _Text, schema: str
    ) -> Any:
        """Return what `read` makes of a file's bytes or a line; None if it is unsound."""
        try:
            value = read(given, where)
        except Unsound as error:
            self.faults.append(error.fault)
            return None
        lacks = _LACKS.get(where.rpartition("/")[2])
        self.faults += lacks(value, where) if lacks else ()
        faults = list(shape_faults(schema, value, where))
        self.faults += faults
        return None if faults else value

    def seed(self, name: str) -> Seed | None:
        data = {file: self.load(f"{name}/{file}") for file in (*_SCHEMAS, SAMPLES)}
        shaped = {
            file: self.shaped(f"{name}/{file}", safe.value_of, data[file], schema)
            for file, schema in _SCHEMAS.items()
        }
        if shaped[MANIFEST] is not None:
            self.faults += _manifest_faults(name, shaped[MANIFEST]["files"], data)
        rows = self.rows(f"{name}/{SAMPLES}", data[SAMPLES])
        if None in rows or not rows or None in shaped.values():
            return None
        return Seed(
            name,
            spec=shaped[SPEC],
            identity=shaped[IDENTITY],
            sessions=shaped[SESSIONS]["sessions"],
            results=shaped[RESULTS],
            manifest=shaped[MANIFEST],
            rows=tuple(rows),
            digest=bytes_digest(data[MANIFEST]),
        )

    def rows(self, name: str, data: bytes) -> list[Any]:
        """Return each line's record, None where a line is not a valid one."""
        try:
            lines = safe.lines_of(data, name)
        except Unsound as error:
            self.faults.append(error.fault)
            return []
        if not lines:
            self.faults.append(Fault("dropped", name, "holds no sample.", _RESTORE))
        return [
            self.shaped(f"{name}:{number}", safe.parse, line, "record")
            for number, line in enumerate(lines, 1)
        ]


def _manifest_faults(
    seed: str, files: Mapping[str, Any], data: Mapping[str, bytes]
) -> Iterator[Fault]:
    """Yield faults where the manifest does not list exactly the seed's files as they are."""
    where = f"{seed}/{MANIFEST}"
    for name in files:
        if name not in CONTENT:
            outside = "/" in name or "\\" in name or ".." in name
            kind, what = "unknown-file", "lists %s, which does not belong to a submission."
            if outside:
                kind, what = "path", "lists %s, a path that leads out of the folder."
            yield Fault(kind, where, what % shown(name), _RESTORE)
    for name in CONTENT:
        true = {"bytes": len(data[name]), "digest": bytes_digest(data[name])}
        if files.get(name) != true:
            what = "is not the file that the manifest lists: its size or digest differs."
            yield Fault("digest", f"{seed}/{name}", what, _RESTORE)


def _head_faults(submission: Submission, head_bytes: bytes) -> Iterator[Fault]:
    head, folder, seeds = submission.head, submission.folder.absolute(), submission.seeds
    known = {seed.name: seed.digest for seed in seeds}
    if head["manifests"] != known:
        where = next((n for n in known if head["manifests"].get(n) != known[n]), HEAD)
        what = f"is not as {HEAD} lists it: {MANIFEST} was forged, or a seed added."
        if where == HEAD:
            what = "lists a seed that is not there."
        yield Fault("manifest", where, what, _RESTORE)
    true = head_of(head["org"], head["method"], head["submitted"], seeds)
    for key in sorted(true.keys() - {"manifests"}):
        if head[key] != true[key]:
            what = f"says {key} {shown(head[key])}; the seeds say {shown(true[key])}."
            yield Fault("head", HEAD, what, _RESTORE)
    wanted = place(head, head_bytes)
    if folder.parts[-3:] != wanted.parts:
        lies = "/".join(folder.parts[-3:])
        what = f"belongs into {wanted}, and lies in {shown(lies)}: it was edited, or moved."
        yield Fault("place", HEAD, what, "Submit the run again rather than rename folders.")
