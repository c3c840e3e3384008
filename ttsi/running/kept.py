"""What a seed's folder holds when a command begins: its records, and whether it is finished.

Scores are what answers earn, and results what records make. Where a file says otherwise, that is
said and does not count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ttsi._common.console import warn
from ttsi._common.files import sweep
from ttsi.protocols import Scorer
from ttsi.records.identity import IDENTITY
from ttsi.records.journal import SAMPLES, Journal
from ttsi.results.agreement import made_of, rescored, said_otherwise
from ttsi.results.runs import results_of
from ttsi.types import JSON, Record, Sample

_SEED = re.compile(r"seed-(0|[1-9][0-9]*)", re.ASCII)


def kept_records(
    journal: Journal, samples: Sequence[Sample], seed: int, scorer: Scorer
) -> dict[str, Record]:
    """Return the journal's sound records by id, after writing those anew whose scores were edited.

    Raises RunError for a record of another seed, or of a sample that has changed.
    """
    done = journal.finished(samples, seed)
    anew = list(rescored(done.values(), {s.id: s for s in samples}, scorer))
    for record in anew:
        journal.append(record)
    if anew:
        more = f", nor are those of {len(anew) - 1} more" if len(anew) > 1 else ""
        said = f"the scores of {anew[0].id} are not what its answers earn{more}"
        warn(f"note: {journal.path} was edited: {said}. What they earn counts.")
    return done | {record.id: record for record in anew}


def finished_results(
    folder: Path, spec: Mapping[str, Any], seed: int, samples: Sequence[Sample], scorer: Scorer
) -> dict[str, JSON] | None:
    """Return a seed's results if nothing is left to do, and they are what its records make.

    Nothing is written, so that a finished run may lie where nothing can be. `spec` is resolved.
    Raises as `kept_records` does.
    """
    done = Journal(folder).finished(samples, seed)
    if len(done) < len(samples) or any(
        True for _ in rescored(done.values(), {s.id: s for s in samples}, scorer)
    ):
        return None
    doubt = _doubt(folder / "results.json", spec, seed, [done[sample.id] for sample in samples])
    if doubt:
        warn(f"note: {folder / 'results.json'} is not what the records make: {doubt}. Made anew.")
        return None
    sweep(folder)
    return results_of(folder)


def begun_seeds(folder: Path) -> dict[int, Path]:
    """Return, by seed, the folders in which a run has begun; a refused seed has no identity."""
    places = [path.parent for path in folder.glob(f"*/{SAMPLES}")]
    found = {p: _SEED.fullmatch(p.name) for p in places if (p / IDENTITY).is_file()}
    return {int(match[1]): place for place, match in found.items() if match}


def _doubt(path: Path, spec: Mapping[str, Any], seed: int, records: Sequence[Record]) -> str:
    """Return what results.json says otherwise than the records; "" if it is damaged, or nothing."""
    try:
        stored = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return ""
    return said_otherwise(made_of(spec, seed, records), stored) if isinstance(stored, dict) else ""
