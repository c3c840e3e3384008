"""What `ttsi.evaluate` returns of each cell of a spec's matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttsi.results.table import data_frame
from ttsi.spec import Spec
from ttsi.types import JSON

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class CellResult:
    """One cell of the matrix: its folder, the results of every requested seed, and the summary.

    The summary covers all finished seeds in the folder, including those of other commands.
    """

    spec: Spec
    folder: Path
    seeds: Mapping[int, Mapping[str, JSON]]
    summary: Mapping[str, JSON]

    def __repr__(self) -> str:
        base = self.base_accuracy
        before = "" if base is None else f", base model {100 * base:.1f} %"
        errors = f", {self.errors} errors" if self.errors else ""
        seeds = ", ".join(map(str, self.seeds))
        return (
            f"<{self.spec.name}: accuracy {100 * self.accuracy:.1f} %{before}, "
            f"{self.samples} samples{errors}, seed {seeds}, {self.folder}>"
        )

    @property
    def accuracy(self) -> float:
        """The share of right final answers, as a mean over all finished seeds in the folder."""
        return _mean(self.summary["accuracy"]) or 0.0

    @property
    def base_accuracy(self) -> float | None:
        """The same of the base model's answers; None if not every sample has one."""
        return _mean(self.summary["base_accuracy"])

    @property
    def errors(self) -> int:
        return sum(int(results["errors"]) for results in self.seeds.values())

    @property
    def samples(self) -> int:
        return sum(int(results["samples"]) for results in self.seeds.values())

    def records(self) -> pandas.DataFrame:
        """Return a data frame with a row for each sample and seed, and the columns of an export.

        `score` is 1.0 where the final answer is right, else 0.0: its mean is the accuracy. Raises
        MissingAsset without pandas.
        """
        frame = data_frame(self.folder)
        return frame[frame["seed"].isin(self.seeds)].reset_index(drop=True)


def _mean(spread: Any) -> float | None:
    return None if spread is None else spread["mean"]
