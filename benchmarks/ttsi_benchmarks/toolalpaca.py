"""ToolAlpaca's test set, as prepared for Hammer: 114 queries over web APIs, 1 to 5 calls each.

A row has this shape (the values are invented):

    {"query": "What is the tide at Brest, and at Lorient?",
     "tools": [{"name": "tides_get", "description": "Get the tide at a harbour",
                "parameters": {"harbour": {"type": "string", "description": "", "required": true},
                               "day": {"type": "string", "description": "[Optional] A date."}}},
               {"name": "components", "description": "The detailed output format ...",
                "parameters": {}}],
     "answers": [{"name": "tides_get", "arguments": {"harbour": "Brest"}},
                 {"name": "tides_get", "arguments": {"harbour": "Lorient"}}]}

`components` describes the answers of the API and is not a function, but every row of the data
offers it as a tool; it is offered here, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ttsi import JSON, Sample
from ttsi_benchmarks._hammer import files_revision, hammer_asset, read_rows, to_sample
from ttsi_benchmarks._select import CallSelection

ASSET = hammer_asset(
    "toolalpaca", "d61e5ede4dd32aa977fade4396b43c7cc39279a98409b64df13ed50815989754"
)

INSTRUCTION = (
    "Call the tools that the user's request needs: one call, or several where one is not enough. "
    "Leave out optional parameters that the user does not mention."
)


@dataclass(frozen=True)
class ToolAlpaca(CallSelection):
    """One to five calls to a small web API: the test set of ToolAlpaca.

    Ids are toolalpaca/0 to toolalpaca/113.
    """

    scoring: ClassVar[Mapping[str, JSON]] = {}

    def all_samples(self) -> list[Sample]:
        return [
            to_sample(f"toolalpaca/{i}", row, instruction=INSTRUCTION, input=row["query"])
            for i, row in enumerate(read_rows(ASSET))
        ]

    def revision(self) -> str:
        return files_revision(ASSET)
