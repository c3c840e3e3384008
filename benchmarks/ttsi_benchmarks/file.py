"""The benchmark `file`: the user's own rows from a file, in the notation of docs/own-data.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ttsi import JSON, Sample, bytes_digest, form_named, json_digest, option
from ttsi.rows.lines import content, document
from ttsi.rows.reading import Reader
from ttsi.rows.tools import Toolbox
from ttsi_benchmarks._select import CallSelection


@dataclass(frozen=True)
class File(CallSelection):
    """Labelled rows of your own, from a file.

    Ids are file/ and the row's own `id`, or its line number.

    It has the method `train` only if `train_path` is given, so that a learner that needs such rows
    is refused before anything runs.
    """

    path: str = option(
        ..., "JSON Lines, one row a line; relative to the current folder.", minLength=1
    )
    form: str = option(
        "calls", "The answer form: calls, choice, number, text, or a third party's.", minLength=1
    )
    tools_path: str | None = option(
        None, "A JSON file with a list of tools, for rows that have none of their own.", minLength=1
    )
    train_path: str | None = option(
        None, "JSON Lines of the same shape, for learners that need labelled rows.", minLength=1
    )
    strict: bool = option(
        True, "Refuse rows whose reference the tools on offer do not allow; false keeps them."
    )
    scoring: ClassVar[Mapping[str, JSON]] = {}

    def __post_init__(self) -> None:
        form_named(self.form)
        if self.train_path is not None:
            object.__setattr__(self, "train", self._train)

    def all_samples(self) -> list[Sample]:
        return self._reader().samples(self.path, "file/")

    def revision(self) -> str:
        """Return a digest of the current, decompressed content of all files."""
        paths = (self.path, self.tools_path, self.train_path)
        return json_digest([path and bytes_digest(content(path)) for path in paths])

    def _train(self) -> list[Sample]:
        """Return the rows of `train_path`. Options of selection do not apply."""
        assert self.train_path is not None
        return self.asked(self._reader().samples(self.train_path, "file/train/"))

    def _reader(self) -> Reader:
        if self.tools_path is None:
            return Reader(self.form, self.strict)
        shared = Toolbox().tools(document(self.tools_path), self.tools_path)
        return Reader(self.form, self.strict, shared)
