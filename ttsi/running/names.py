"""Names of the folders and files of runs."""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.digests import json_digest
from ttsi.spec import Spec


def run_name(spec: Spec) -> str:
    """Return NAME-HASH; the hash covers all that affects results, so other settings get another
    folder.
    """
    return f"{spec.name}-{spec.digest.removeprefix('sha256:')[:10]}"


def grid_name(specs: Sequence[Spec]) -> str:
    """Return NAME-HASH.grid.json; the hash covers the cells, so another grid gets another file."""
    digest = json_digest([[dict(spec.cell), spec.digest] for spec in specs])
    return f"{specs[0].name}-{digest.removeprefix('sha256:')[:10]}.grid.json"
