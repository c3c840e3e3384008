"""BFCL's files from the wheel `bfcl-eval`: its data is read; no code of it is imported here.

A file under `TTSI_DATA_DIR` (`bfcl/BFCL_v4_multiple.json`, `bfcl/possible_answer/...`) takes
precedence over the wheel's.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from ttsi import Asset, CorruptAsset, MissingAsset, file_digest
from ttsi.assets import local_copy

DISTRIBUTION = "bfcl-eval"
VERSION = "2026.3.23"
INSTALL = f"pip install --no-deps {DISTRIBUTION}=={VERSION}"
"""Without dependencies: these are clients of dozens of model providers, in old versions."""

_QUESTIONS = {
    "simple_python": "82dd63ba502eb2520c6b5d1d9a5c4b590e03ff261565175561f6228a367d1991",
    "multiple": "aef168155ebd74b7ac2401198b201343bc7d16d7a3d7e0d4e6d8ee82c6969b2a",
    "parallel": "19f51a82eff42e5d62541aa500115a056eb78f437c2ba1f10415fd7c8e5dda84",
    "parallel_multiple": "8863ea8433239f55c5f016154cf0830853c89f693c6ea270396a2fa121960579",
    "irrelevance": "2b6ed4c2e992cdcf5f1678a701851f944bef7550ee026ed1ddb89efed5be01a6",
}
_ANSWERS = {
    "simple_python": "90cd5bc653690ee8e459b5b3f3fc9458606f7f3fcbf795bb51b7dc581f8c86dc",
    "multiple": "244e00ce9395df948bcafc7bee64e8f9c87ef70887587d83cae45b13699f3047",
    "parallel": "8a6aa19c1adddc6a5a2f7e40f9dbf30cc7e95815e7b830c90589ab318229e0f0",
    "parallel_multiple": "5ebf24f458c1f16300c05505d83d6f0a1b68b79be273a033febd0d4f840507e3",
}
CATEGORIES = tuple(_QUESTIONS)


def bfcl_asset(path: str, sha256: str) -> Asset:
    return Asset(f"bfcl/{path}", "", sha256, "Apache-2.0")


QUESTIONS = {
    each: bfcl_asset(f"BFCL_v4_{each}.json", digest) for each, digest in _QUESTIONS.items()
}
ANSWERS = {
    each: bfcl_asset(f"possible_answer/BFCL_v4_{each}.json", digest)
    for each, digest in _ANSWERS.items()
}


def read_lines(asset: Asset) -> list[dict[str, Any]]:
    """Return the rows of a file, in order. Raises MissingAsset and CorruptAsset, with the cure."""
    lines = _path(asset).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line.strip()]


def _path(asset: Asset) -> Path:
    try:
        local = local_copy(asset)
    except MissingAsset:  # the folder may be for other data sets only; try the wheel
        local = None
    return local or _in_wheel(asset)


def wheel(wanted: str) -> metadata.Distribution:
    """Return the installed wheel. Raises MissingAsset, with what is `wanted` of it and the cure."""
    try:
        return metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise MissingAsset(
            f"BFCL's benchmarks use the package {DISTRIBUTION}, which is not there.",
            where=wanted,
            cure=INSTALL,
        ) from error


def _in_wheel(asset: Asset) -> Path:
    found = wheel(asset.name)
    path = Path(str(found.locate_file(f"bfcl_eval/data/{asset.name.removeprefix('bfcl/')}")))
    if not path.is_file() or file_digest(path) != f"sha256:{asset.sha256}":
        raise CorruptAsset(
            f"{DISTRIBUTION} {found.version} has no such {path.name} as version {VERSION} has.",
            where=str(path),
            cure=f"{INSTALL} --force-reinstall",
        )
    return path
