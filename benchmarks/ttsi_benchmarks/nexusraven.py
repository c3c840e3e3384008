"""NexusRaven's API evaluation: 318 queries, one call each, over 65 Python functions.

Two tables, with rows of this shape (the values are invented):

    standardized_queries
    {"dataset": "parcels", "prompt": "Where is parcel 12? My key is k1.",
     "python_function_name": "track_parcel",
     "python_args_dict": "{\\"number\\": 12, \\"key\\": \\"k1\\", \\"carrier\\": null}",
     "context_functions": ["track_parcel", "return_parcel"]}

    standardized_api_list
    {"dataset": "parcels", "name": "track_parcel",
     "description": "Follow a parcel.\\n\\nParameters:\\n    number (int) required: Required. ...",
     "args_dicts": [{"name": "number", "type": "int", "default": "None", "required": true,
                     "description": ""}, ...]}

The description supplies what `args_dicts` lacks: types where it says "None", texts where they are
empty, and which parameters of the ToolAlpaca functions may be left out (all of those are flagged
required; only some are described as "Required."). A null in a reference means an omitted argument.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ttsi import JSON, Sample, Tool, ToolCall, answer_with, json_digest
from ttsi.rows.rendering import make_task
from ttsi_benchmarks import _nexus_docs
from ttsi_benchmarks._nexus_source import QUERIES, TOOLS, read_table
from ttsi_benchmarks._notation import object_schema, type_schema
from ttsi_benchmarks._select import CallSelection

LOADER_VERSION = 1

INSTRUCTION = (
    "Call the one function that answers the user's query. "
    "Leave out optional parameters that the query does not mention."
)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class NexusRaven(CallSelection):
    """One call out of 2 to 12 Python functions: NexusRaven's API evaluation.

    Ids are nexusraven/0 to nexusraven/317.
    """

    scoring: ClassVar[Mapping[str, JSON]] = {}

    def all_samples(self) -> list[Sample]:
        tools = {(row["dataset"], row["name"]): to_tool(row) for row in read_table(TOOLS)}
        rows = read_table(QUERIES)
        return [to_sample(f"nexusraven/{i}", row, tools) for i, row in enumerate(rows)]

    def train(self) -> list[Sample]:
        """Return the rows that `limit` or `ids` leave out, as there is no split for training."""
        taken = {row.id for row in self.samples()}
        return self.asked([row for row in self.all_samples() if row.id not in taken])

    def revision(self) -> str:
        """Return a digest of the rows, equal for local copies and the Hub if their rows are."""
        tables = [[canonical(row) for row in read_table(table)] for table in (QUERIES, TOOLS)]
        return json_digest([LOADER_VERSION, tables])


def canonical(row: Row) -> Row:
    """Return the row with its embedded arguments decoded, so that formatting does not count."""
    if "python_args_dict" in row:
        return {**row, "python_args_dict": arguments(row)}
    return row


def arguments(row: Row) -> dict[str, JSON]:
    """Return the reference's arguments, which the data holds as JSON text."""
    decoded: dict[str, JSON] = json.loads(row["python_args_dict"])
    return decoded


def to_sample(id: str, row: Row, tools: Mapping[tuple[str, str], Tool]) -> Sample:
    offered = [tools[row["dataset"], name] for name in row["context_functions"]]
    return Sample(
        task=make_task(id, INSTRUCTION, offered, row["prompt"].strip()),
        reference=answer_with([ToolCall(row["python_function_name"], arguments(row))]),
    )


def to_tool(row: Row) -> Tool:
    prose, entries = _nexus_docs.split(row["description"])
    properties = {arg["name"]: _property(arg, entries) for arg in row["args_dicts"]}
    schema = object_schema(properties, _required(row["args_dicts"], entries))
    return Tool(row["name"], prose, schema)


def _property(arg: Row, entries: Mapping[str, _nexus_docs.Entry]) -> dict[str, JSON]:
    entry = entries.get(arg["name"])
    stated = type_schema(arg["type"])
    schema = stated or (type_schema(entry.type_words) if entry else {})
    text = arg["description"].lstrip(": ") or (entry.text if entry else "")
    if text:
        schema["description"] = text
    return schema


def _required(args: Iterable[Row], entries: Mapping[str, _nexus_docs.Entry]) -> list[str]:
    return [
        arg["name"]
        for arg in args
        if arg["required"] and not (arg["name"] in entries and entries[arg["name"]].optional)
    ]
