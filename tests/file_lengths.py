"""Check the lengths of Python files: at most 400 lines, and a median below 110 in the packages.

Run by the `lint` environment; tests/test_layout.py checks it for the packages as well.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 400
MEDIAN = 110
PACKAGES = ("ttsi", "plugins", "benchmarks")
ROOTS = (*PACKAGES, "tests", "docs", "perf", "specs", "examples")


def lengths(roots: Sequence[str]) -> dict[Path, int]:
    """Return the number of lines of each Python file below these folders, by relative path."""
    files = [path for name in roots for path in sorted((ROOT / name).rglob("*.py"))]
    return {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in files}


def too_long(found: dict[Path, int]) -> list[str]:
    return [f"{path}: {n} lines (limit {LIMIT})" for path, n in found.items() if n > LIMIT]


def main() -> int:
    found = lengths(ROOTS)
    long = too_long(found)
    middle = median(lengths(PACKAGES).values())
    print(*long, sep="\n", end="\n" if long else "")
    print(f"{len(found)} files looked at, {len(long)} too long")
    print(f"half of the files in {', '.join(PACKAGES)} have {middle:g} lines or fewer")
    return 1 if long or middle >= MEDIAN or len(found) < 40 else 0


if __name__ == "__main__":
    sys.exit(main())
