"""The provenance of results: versions, commit, hardware, digests."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Container, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ttsi._common.version import __version__
from ttsi.digests import file_digest
from ttsi.types import JSON

PACKAGES = ("torch", "transformers", "peft", "xgrammar", "tokenizers", "vllm", "numpy", "scipy")


def environment(plugins: Mapping[str, Any]) -> dict[str, JSON]:
    """Return what is needed to repeat a run. `plugins`: name, distribution and version by kind."""
    return {
        "ttsi": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "plugins": dict(plugins),
    }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def today() -> str:
    """Return the date in UTC, the time zone of all timestamps."""
    return datetime.now(UTC).date().isoformat()


def commit() -> dict[str, JSON] | None:
    """Return the commit of ttsi's checkout and whether it was modified; None if it is installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    revision = _git(root, "rev-parse", "HEAD")
    if revision is None:
        return None
    return {"commit": revision, "modified": bool(_git(root, "status", "--porcelain"))}


def manifest(folder: Path, without: Container[str] = ()) -> dict[str, dict[str, JSON]]:
    """Return size and SHA-256 of each finished file in a run's folder, except `without`."""
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and not path.name.startswith(".")
        and path.name != "manifest.json"
        and path.name not in without
    )
    return {
        "files": {
            path.name: {"bytes": path.stat().st_size, "digest": file_digest(path)} for path in files
        }
    }


def intact(folder: Path) -> bool:
    """Whether the manifest of a run's folder exists and every file matches it."""
    try:
        recorded = json.loads((folder / "manifest.json").read_bytes())["files"]
        return bool(recorded.items() <= manifest(folder)["files"].items())
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return False


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
