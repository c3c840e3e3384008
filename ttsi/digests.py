"""Content digests and the seeds derived from them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def bytes_digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def json_digest(value: Any) -> str:
    """Return the digest of a JSON value; key order and white space do not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return bytes_digest(text.encode())


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def draw_seed(run_seed: int, sample_id: str, stage: str, attempt: int = 0) -> int:
    """Return the seed of one draw, in [0, 2**63).

    It depends only on what is drawn, not on when or where, so results do not depend on wave size,
    order, worker or resume.
    """
    key = json.dumps([run_seed, sample_id, stage, attempt]).encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1
