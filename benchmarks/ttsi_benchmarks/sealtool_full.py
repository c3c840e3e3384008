"""Seal-Tools in its authors' split: one or several calls, some of which use others' results.

A row and a tool have these shapes (the values are invented); `responses` numbers what the calls
return, in their order, and a value of a later call may be such a number:

    {"id": "dev-difficult-7", "query": "Find a table for 4 at \\"Da Pino\\", then book it.",
     "calling": [{"api": "findTable", "parameters": {"restaurant": "Da Pino", "guests": "4"},
                  "responses": ["API_call_0", "API_call_1"]},
                 {"api": "bookTable", "parameters": {"table": "API_call_0"},
                  "responses": ["API_call_2"]}]}
    {"api_name": "bookTable", "api_description": "Reserve a table in a restaurant",
     "field": "Hospitality/Restaurants", "required": ["table"], "responses": {...},
     "parameters": {"table": {"type": "int", "description": "Which table"}}}

Here `API_call_k` is the k-th call, whichever of its results is meant, because a call does not show
how many results its tool has. A parameter of any type also accepts such a reference.

The files do not say which tools were offered. Here a row offers its own tools and some drawn from
all others, in random order.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ttsi import JSON, Sample, Tool, ToolCall, answer_with, draw_seed, option
from ttsi.rows.rendering import make_task
from ttsi_benchmarks._hammer import Row, declared_required, files_revision, to_tool
from ttsi_benchmarks._seal import DEV, TOOLS, hammer_tool, read_seal, seal_asset
from ttsi_benchmarks._select import CallSelection

LOADER_VERSION = 1
"""Increase it when the same files would give other tools, references or ids."""

TEST = seal_asset(
    "test_in_domain", "330020288948e711846417c2fca9a5980ef0f1adc01ad74dc38cc9ff7142811f"
)
SPLITS = {"test_in_domain": TEST, "dev": DEV}
KINDS = ("single", "multiple", "nested")

INSTRUCTION = (
    "Call the tools that do what the user asks, in order. Copy values from the user's words; leave "
    "out optional parameters that the user does not mention. Where a value is the result of an "
    "earlier call, write API_call_0 for the first call of your list, API_call_1 for the second, "
    "and so on."
)

_RESULT = re.compile(r"API_call_[0-9]+")


@dataclass(frozen=True)
class SealToolFull(CallSelection):
    """One to six calls, some of which use what others return: Seal-Tools, whole.

    Ids are sealtool_full/0 to sealtool_full/699.
    """

    split: Literal["test_in_domain", "dev"] = option(
        "test_in_domain", "Which rows: those for testing, or those for development."
    )
    kinds: list[str] = option(
        list(KINDS),
        "Rows of one call, of several, of several of which one uses another's result.",
        items={"enum": list(KINDS)},
        minItems=1,
        uniqueItems=True,
    )
    distractors: int = option(
        4, "How many tools are on offer beside those needed.", minimum=0, maximum=100
    )
    tools_seed: int = option(0, "Seed of the draw of those tools.", minimum=0)
    scoring: ClassVar[Mapping[str, JSON]] = {}

    def all_samples(self) -> list[Sample]:
        prefix = "sealtool_full" if self.split == "test_in_domain" else "sealtool_full/dev"
        return self._samples(prefix, list(enumerate(read_seal(SPLITS[self.split]))))

    def train(self) -> list[Sample]:
        """Return the development rows without queries of test rows: sealtool_full/train/0 to 699.

        Options of selection do not apply; those of the offered tools and `kinds` do.
        """
        asked = {row["query"] for row in read_seal(TEST)}
        rows = [(i, row) for i, row in enumerate(read_seal(DEV)) if row["query"] not in asked]
        return self.asked(self._samples("sealtool_full/train", rows))

    def revision(self) -> str:
        return files_revision(TEST, DEV, TOOLS, loader=LOADER_VERSION)

    def _samples(self, prefix: str, rows: Sequence[tuple[int, Row]]) -> list[Sample]:
        offer = _Offer(self.distractors, self.tools_seed)
        return [
            _sample(f"{prefix}/{i}", row, offer) for i, row in rows if kind_of(row) in self.kinds
        ]


def kind_of(row: Row) -> str:
    """Return the row's kind, one of KINDS."""
    if len(row["calling"]) == 1:
        return "single"
    values = [value for call in row["calling"] for value in call["parameters"].values()]
    refers = any(isinstance(value, str) and _RESULT.search(value) for value in values)
    return "nested" if refers else "multiple"


class _Offer:
    """Draws the tools of a row, its own and `distractors` others, with a seed from its id."""

    def __init__(self, distractors: int, seed: int) -> None:
        self._rows = {row["api_name"]: row for row in read_seal(TOOLS)}
        self._names = list(self._rows)
        self._tools: dict[str, Tool] = {}
        self._distractors = distractors
        self._seed = seed

    def tools(self, id: str, needed: Sequence[str]) -> list[Tool]:
        # Python guarantees that random() gives the same sequence in later versions, nothing else.
        drawn = random.Random(draw_seed(self._seed, id, "tools")).random
        names = dict.fromkeys(needed)
        while len(names) < len(set(needed)) + self._distractors:
            names.setdefault(self._names[int(drawn() * len(self._names))])
        places = {name: drawn() for name in names}
        return [self._tool(name) for name in sorted(names, key=places.__getitem__)]

    def _tool(self, name: str) -> Tool:
        if name not in self._tools:
            plain = to_tool(hammer_tool(self._rows[name]), declared_required)
            self._tools[name] = Tool(plain.name, plain.description, _referable(plain.parameters))
        return self._tools[name]


def _referable(parameters: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the schema, in which parameters of other types also accept references to calls."""
    properties = {
        name: given
        if given["type"] == "string"
        else {**given, "type": [given["type"], "string"], "pattern": "^API_call_[0-9]+$"}
        for name, given in parameters["properties"].items()
    }
    return {**parameters, "properties": properties}


def _sample(id: str, row: Row, offer: _Offer) -> Sample:
    tools = offer.tools(id, [call["api"] for call in row["calling"]])
    return Sample(
        make_task(id, INSTRUCTION, tools, row["query"]), answer_with(_calls(row["calling"]))
    )


def _calls(calling: Sequence[Row]) -> Iterator[ToolCall]:
    """Yield the calls; references count calls here, while the data counts results."""
    owner = {result: i for i, call in enumerate(calling) for result in call["responses"]}

    def by_call(value: JSON) -> JSON:
        if not isinstance(value, str):
            return value
        return _RESULT.sub(lambda found: f"API_call_{owner[found[0]]}", value)

    for call in calling:
        yield ToolCall(call["api"], {k: by_call(v) for k, v in call["parameters"].items()})
