"""API-Bank levels 1 and 2, as prepared for Hammer: the next call of a dialogue (399 + 127 turns).

Level 1 offers the tools it needs; level 2 often offers only a search for tools. A row has this
shape (the values are invented):

    {"query": [{"role": "user", "content": "Water the plants at six."},
               {"role": "agent", "content": "Which ones?"},
               {"role": "assistant", "content": "```[{\\"name\\": \\"ListPlants\\", ...}]```"},
               {"role": "tool", "content": "['ficus', 'fern']"},
               {"role": "user", "content": "The fern.\\nGenerate API Request:"}],
     "tools": [{"name": "WaterPlant", "description": "This API waters a plant.",
                "parameters": {"plant": {"type": "str", "description": "Which plant."},
                               "litres": {"type": "int", "description": "[Optional] How much."}},
                "return": {...}}],
     "answers": [{"name": "WaterPlant", "arguments": {"plant": "fern"}}]}

`agent` talks to the user, `assistant` is a call already made, `tool` its result. Every value of a
reference is a string whatever the schema says. No parameter is marked as required; here all are,
unless the description says "[Optional]" or "Only needed for the first call".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ttsi import JSON, Sample, option
from ttsi_benchmarks._hammer import Row, files_revision, hammer_asset, read_rows, to_sample
from ttsi_benchmarks._select import CallSelection

ASSETS = {
    1: hammer_asset(
        "apibank_l1", "b6c129cd887da3e1965479bdbe56170adc0d315567c6a716a7c493de26887f19"
    ),
    2: hammer_asset(
        "apibank_l2", "7476f8a5a514c64498de6ae0f457b0b342ba3571d08a556447dafad8d0be6544"
    ),
}

INSTRUCTION = (
    "Read the dialogue and write the one call that comes next. "
    "Write dates and times in the format that the tool asks for."
)

SPEAKERS = {"user": "User", "agent": "Agent", "assistant": "Call", "tool": "Result"}
OPTIONAL_MARKS = ("[Optional]", "Only needed")


@dataclass(frozen=True)
class ApiBank(CallSelection):
    """The next call of a dialogue with its tools: API-Bank, levels 1 and 2.

    Ids are apibank/l1/0 to apibank/l1/398, apibank/l2/0 to apibank/l2/126.
    """

    levels: list[int] = option(
        [1, 2],
        "Which levels of API-Bank.",
        items={"enum": [1, 2]},
        minItems=1,
        uniqueItems=True,
    )
    scoring: ClassVar[Mapping[str, JSON]] = {}

    def all_samples(self) -> list[Sample]:
        return [
            to_sample(
                f"apibank/l{level}/{i}",
                row,
                instruction=INSTRUCTION,
                input=dialogue(row["query"]),
                required=required_parameters,
            )
            for level in sorted(self.levels)
            for i, row in enumerate(read_rows(ASSETS[level]))
        ]

    def revision(self) -> str:
        return files_revision(*ASSETS.values())


def dialogue(turns: Sequence[Mapping[str, str]]) -> str:
    """Return the turns so far, each after its speaker."""
    return "\n".join(f"{SPEAKERS[turn['role']]}: {spoken(turn)}" for turn in turns)


def spoken(turn: Mapping[str, str]) -> str:
    """Return what a turn says; a call loses the data's code fence."""
    text = turn["content"].strip()
    return text.strip("`").strip() if turn["role"] == "assistant" else text


def required_parameters(tool: Row) -> list[str]:
    return [
        name
        for name, given in tool["parameters"].items()
        if not any(mark in given["description"] for mark in OPTIONAL_MARKS)
    ]
