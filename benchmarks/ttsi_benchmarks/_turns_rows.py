"""Rows of BFCL's multi-turn files, with the functions that they offer.

A row has this shape (the values are invented), and another file has the right calls under the same
id, a list of texts for each turn:

    {"id": "multi_turn_base_7", "involved_classes": ["TicketAPI"],
     "question": [[{"role": "user", "content": "Open a ticket for the broken lamp."}], ...],
     "initial_config": {"TicketAPI": {"ticket_counter": 3, ...}},
     "missed_function": {"1": ["create_ticket"]}}            (in miss_func only)
    {"id": "multi_turn_base_7", "ground_truth": [["create_ticket(title='Broken lamp')"], ...]}

In miss_func some functions are held back: at a turn without a question the user says that there are
more functions now. In miss_param a question lacks a value, which the next one gives.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ttsi import JSON, Asset, Tool, ToolCall
from ttsi_benchmarks._bfcl_rows import to_tool
from ttsi_benchmarks._bfcl_source import bfcl_asset, read_lines

MORE_TOOLS = "There are more tools now. Can you do it with them?"

_DIGESTS = {
    "base": (
        "1a21a995d06fd6f20ba55de7bced30ef953ec35e998f502ec2ecf4d66ef1c43a",
        "1fee67823b317571649177dd89d63969feaae4e810cc7448ee55ba797fb7c8fc",
    ),
    "miss_func": (
        "87d28ce10e37d864b72de85d5732eef2a867b241d6c1c99b4ae682c9e3ea921c",
        "69e679b806d1c871b05393a4b95583bb973248e5b8d96c2d7f4ca05e29fc32e6",
    ),
    "miss_param": (
        "f0c66dda3795f5f53e3e1c0cc8ba0246b6761c8f58bdba8317203bf451ab8838",
        "59c442901779e2c31c33abcd566d032e03736e5ad8069de2fe05489873046ecf",
    ),
    "long_context": (
        "78c3268c5cc8e97c0f4ec6c811b3b9a2bba14323b1830b7a874b06d822749324",
        "e82aa0e839c39d23c64a05834f7ae024d7c9738ec21738ecee78dc876e3d0d18",
    ),
}
CATEGORIES = tuple(_DIGESTS)
QUESTIONS = {
    each: bfcl_asset(f"BFCL_v4_multi_turn_{each}.json", digest)
    for each, (digest, _) in _DIGESTS.items()
}
ANSWERS = {
    each: bfcl_asset(f"possible_answer/BFCL_v4_multi_turn_{each}.json", digest)
    for each, (_, digest) in _DIGESTS.items()
}
_DOCS = {
    "GorillaFileSystem": (
        "gorilla_file_system",
        "c4c1b741c71e2a17c97a5dc9c4a91d89978c4eaece56494d14272d5df6c650e9",
    ),
    "MathAPI": ("math_api", "83fa31708c89442bdcf12ac4dfbe3be8663ec9183a1b1524a9fda98164bc7e0b"),
    "MessageAPI": (
        "message_api",
        "4d58ea933a5d2b280d7a52366617fb47fecd333d7b0e08e724db6fa12fb5f847",
    ),
    "TicketAPI": ("ticket_api", "31324e0380782664fe82ba05bd23517808ad55692b45a5fe7c3d4d395fe4f0f8"),
    "TradingBot": (
        "trading_bot",
        "1a7933fd8f0cb8fbec38aeae05cb8c24132747cad4904fe1c13ac3d01fc22c2d",
    ),
    "TravelAPI": (
        "travel_booking",
        "f17b950c13adddf41d0848077df58788252e4c2e7cad5cfa71c8c4bf04f57b26",
    ),
    "TwitterAPI": (
        "posting_api",
        "87f9fc404a06e4107d7c366f1399c596440e84c16cb119faf374b2f532d86e8b",
    ),
    "VehicleControlAPI": (
        "vehicle_control",
        "0c8a66292844874ef7b168f343bc394d8615d2d9e1f4387999a9ee23011eac78",
    ),
}
DOCS = {
    name: bfcl_asset(f"multi_turn_func_doc/{file}.json", digest)
    for name, (file, digest) in _DOCS.items()
}


@dataclass(frozen=True)
class Turn:
    """What the user says, the tools that are offered from then on, and the right calls."""

    says: str
    tools: tuple[Tool, ...]
    right: tuple[ToolCall, ...]


@dataclass(frozen=True)
class Row:
    """One conversation; `long` gives the APIs upstream's long contents."""

    id: str
    turns: tuple[Turn, ...]
    config: Mapping[str, JSON]
    classes: tuple[str, ...]
    long: bool


def rows(category: str) -> list[Row]:
    """Return a category's rows, in upstream order."""
    asked, answered = read_lines(QUESTIONS[category]), read_lines(ANSWERS[category])
    return [
        Row(
            id=f"bfcl_multi_turn/{category}/{at}",
            turns=tuple(_turns(row, answer["ground_truth"])),
            config=row["initial_config"],
            classes=tuple(row["involved_classes"]),
            long=category == "long_context",
        )
        for at, (row, answer) in enumerate(zip(asked, answered, strict=True))
    ]


def _turns(row: Mapping[str, Any], answers: Sequence[Sequence[str]]) -> Iterable[Turn]:
    everything = [tool for name in row["involved_classes"] for tool in _tools(DOCS[name])]
    later = row.get("missed_function", {})
    held_back = {name for names in later.values() for name in names}
    orders = {tool.name: list(tool.parameters["properties"]) for tool in everything}
    for at, (messages, answer) in enumerate(zip(row["question"], answers, strict=True)):
        held_back -= set(later.get(str(at), ()))
        said = [message["content"].strip() for message in messages] or [MORE_TOOLS]
        offered = tuple(tool for tool in everything if tool.name not in held_back)
        yield Turn("\n".join(said), offered, tuple(_call(text, orders) for text in answer))


@cache
def _tools(asset: Asset) -> tuple[Tool, ...]:
    return tuple(map(to_tool, read_lines(asset)))


def _call(text: str, orders: Mapping[str, Sequence[str]]) -> ToolCall:
    """Return the call that a text such as "cd('docs')" stands for; its values are literals."""
    call = ast.parse(text.strip(), mode="eval").body
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        raise ValueError(f"{text} is no call")
    order = orders[call.func.id]
    named = dict(zip(order, call.args, strict=False))
    named |= {each.arg: each.value for each in call.keywords if each.arg is not None}
    return ToolCall(call.func.id, {name: ast.literal_eval(each) for name, each in named.items()})
