"""Real models that tests outside CI take, fetched once.

The program in TTSI_FETCH_MODEL, by default ../shared/bin/fetch-model, fetches a model's file into
TTSI_CACHE_DIR or ~/.cache/ttsi.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ttsi.assets import cache_root

ROOT = Path(__file__).resolve().parent.parent


def fetched(name: str) -> Path:
    program = os.environ.get("TTSI_FETCH_MODEL", str(ROOT.parent / "shared/bin/fetch-model"))
    folder = cache_root() / "fetched" / name
    subprocess.run([program, name, str(folder)], check=True)
    return folder / f"{name}.gguf"
