"""Seal-Tools, as prepared for Hammer: 294 queries, each answered by one call of five tools offered.

These are exactly the easy, single-call items of Seal-Tools (200 in-domain, 94 out-of-domain). A row
has this shape (the values are invented):

    {"query": "Book a table for 4 at \\"Da Pino\\".",
     "tools": [{"name": "bookTable", "description": "Reserve a table in a restaurant",
                "parameters": {"restaurant": {"type": "str", "description": "Which restaurant",
                                              "required": true},
                               "guests": {"type": "int", "description": "How many people come"}},
                "required": ["restaurant"]}, ...],
     "answers": [{"tool": "bookTable", "parameters": {"restaurant": "Da Pino", "guests": "4"}}]}

Most references are strings whatever the schema says ("4"); the scorer types them by the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ttsi import JSON, Sample
from ttsi_benchmarks._hammer import files_revision, hammer_asset, read_rows, to_sample
from ttsi_benchmarks._seal import single_call_rows
from ttsi_benchmarks._select import CallSelection

ASSET = hammer_asset("sealtool", "113238730efce7de0044547bc2d0aab5e877c4e1c2bafe711a3c2390075ebaef")

INSTRUCTION = (
    "Call the one tool that does what the user asks. Copy values from the user's words; "
    "leave out optional parameters that the user does not mention."
)


@dataclass(frozen=True)
class SealTool(CallSelection):
    """One call out of five tools: the easy, single-call requests of Seal-Tools.

    Ids are sealtool/0 to sealtool/293.
    """

    scoring: ClassVar[Mapping[str, JSON]] = {}

    def all_samples(self) -> list[Sample]:
        return [
            to_sample(f"sealtool/{i}", row, instruction=INSTRUCTION, input=row["query"])
            for i, row in enumerate(read_rows(ASSET))
        ]

    def train(self) -> list[Sample]:
        """Return the single-call rows of Seal-Tools' development file: sealtool/train/0 to 199.

        Rows with the query of a test row are left out. Options of selection do not apply.
        """
        asked = {row["query"] for row in read_rows(ASSET)}
        rows = [
            to_sample(f"sealtool/train/{i}", row, instruction=INSTRUCTION, input=row["query"])
            for i, row in single_call_rows().items()
            if row["query"] not in asked
        ]
        return self.asked(rows)

    def revision(self) -> str:
        return files_revision(ASSET)
