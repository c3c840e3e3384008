"""What all tests share: where the real data is, and patient property tests."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("TTSI_DATA_DIR", str(ROOT.parent / "shared" / "data"))

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
