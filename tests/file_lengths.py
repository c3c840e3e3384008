"""No file of code is longer than 400 lines; run by the `layers` environment."""

import sys
from pathlib import Path

LIMIT = 400
ROOTS = ("ttsi", "plugins", "benchmarks", "tests", "docs", "perf", "specs", "examples")


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    files = [path for name in ROOTS for path in sorted((root / name).rglob("*.py"))]
    long = [(path, n) for path in files if (n := len(path.read_text().splitlines())) > LIMIT]
    for path, lines in long:
        print(f"{path.relative_to(root)}: {lines} lines (limit {LIMIT})")
    print(f"{len(files)} files looked at, {len(long)} too long")
    return 1 if long or len(files) < 40 else 0


if __name__ == "__main__":
    sys.exit(main())
