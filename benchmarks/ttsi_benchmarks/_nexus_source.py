"""The source of NexusRaven's tables: local copies, or the Hub data set, kept after the first run.

Local copies (`TTSI_DATA_DIR`) have a known digest. The Hub's tables have the same columns; they are
kept as JSON Lines in the cache, so that later runs need neither the network nor `datasets`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ttsi import Asset, CorruptAsset, MissingAsset
from ttsi.assets import cache_root, local_copy, offline

HUB_ID = "Nexusflow/NexusRaven_API_evaluation"
LICENSE = "CC-BY-NC-4.0"

QUERIES = Asset(
    "nexusraven/standardized_queries.jsonl",
    "",
    "5ec2d28c62228e5c81aa44b02187c88aa2c107817d2c755de9d11ab9436efc64",
    LICENSE,
)
TOOLS = Asset(
    "nexusraven/standardized_api_list.jsonl",
    "",
    "4af26d49c8dfe077aa1354027df94fbc6f7af3c40c8df661ac171baae04d1b2d",
    LICENSE,
)

Table = list[dict[str, Any]]


def read_table(asset: Asset) -> Table:
    """Return the rows of one table. Raises MissingAsset or CorruptAsset."""
    path = local_copy(asset)
    if path is None:
        path = cache_root() / "data" / asset.name
        if not path.is_file():
            _keep(path, _hub_table(Path(asset.name).stem))
    try:
        # splitlines() would also split at other characters, which may occur in texts.
        return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    except ValueError as error:
        raise CorruptAsset(
            f"The table {asset.name} is not JSON Lines: {error}.",
            where=str(path),
            cure="Delete the file and run again online: it is fetched anew.",
        ) from error


def _hub_table(config: str) -> Table:
    where = f"{HUB_ID}, config {config}, split train"
    if offline():
        raise MissingAsset(
            f"The NexusRaven table {config} is not at hand and TTSI_OFFLINE forbids fetching it.",
            where=where,
            cure="Run once with TTSI_OFFLINE unset, or point TTSI_DATA_DIR at local copies.",
        )
    try:
        import datasets
    except ImportError as error:
        raise MissingAsset(
            "NexusRaven comes from the Hugging Face Hub, which needs the package `datasets`.",
            where=where,
            cure="pip install 'ttsi[datasets]'",
        ) from error
    try:
        return [dict(row) for row in datasets.load_dataset(HUB_ID, config, split="train")]
    except Exception as error:  # from one of many libraries: http, parquet, the Hub's own
        raise MissingAsset(
            f"The NexusRaven table {config} could not be fetched: {type(error).__name__}: {error}",
            where=where,
            cure="Run again with a network (HF_ENDPOINT names a mirror, HTTPS_PROXY a proxy), or "
            "point TTSI_DATA_DIR at local copies.",
        ) from error


def _keep(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    part.write_text("".join(lines), encoding="utf-8")
    part.replace(path)
