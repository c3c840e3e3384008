"""Make distributions for tests: a dist-info folder and modules, found like installed ones."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ESTIMATOR = """
from dataclasses import dataclass
from typing import ClassVar
from ttsi.options import option

@dataclass(frozen=True)
class Mine:
    needs: ClassVar[frozenset[str]] = frozenset()
    depth: int = option(2, "How deep.", minimum=1, maximum=9)
    weight: float = option(1, "How much.", exclusiveMinimum=0)

    def estimate(self, tasks, engine, seed):
        return []
"""

SOUND = ESTIMATOR.replace("return []", "return [Estimate(0.5, True) for _ in tasks]").replace(
    "from dataclasses", "from ttsi.types import Estimate\nfrom dataclasses"
)
LOSSY = SOUND.replace("in tasks]", "in tasks[1:]]")
"""The same with results, and with too few of them."""


def write_dist(
    folder: Path,
    distribution: str,
    entry_points: Mapping[str, str],
    modules: Mapping[str, str] | None = None,
    version: str = "1.5",
) -> Path:
    """Write a distribution and return `folder`, which has to be put on sys.path.

    `entry_points` maps groups to lines.
    """
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    )
    text = "\n".join(f"[{group}]\n{lines}\n" for group, lines in entry_points.items())
    (info / "entry_points.txt").write_text(text)
    for name, code in (modules or {}).items():
        (folder / f"{name}.py").write_text(code)
    return folder


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Put `folder` first on sys.path; modules imported from it are forgotten afterwards."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]
