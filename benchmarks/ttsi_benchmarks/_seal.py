"""Seal-Tools' own files: labelled rows beside those that Hammer prepared for testing.

A row and a tool have these shapes (the values are invented):

    {"id": "dev-easy-7", "query": "Book a table for 4 at \\"Da Pino\\".",
     "calling": [{"api": "bookTable", "parameters": {"restaurant": "Da Pino", "guests": "4"},
                  "responses": ["API_call_0"]}]}
    {"api_name": "bookTable", "api_description": "Reserve a table in a restaurant",
     "field": "Hospitality/Restaurants", "required": ["restaurant"], "responses": {...},
     "parameters": {"restaurant": {"type": "str", "description": "Which restaurant"}, ...}}

A tool reads as in Hammer's rows once its keys are renamed, so those rows' conversion does the rest.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from ttsi import Asset, data_file
from ttsi.assets import github_asset
from ttsi_benchmarks._hammer import Row

REPOSITORY = "fairyshine/Seal-Tools"
COMMIT = "ce753ecd60ed08dd376984035de531ab8421f1c6"
OFFERED = 5
"""The number of tools that a row offers, as in the test rows."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def seal_asset(stem: str, sha256: str) -> Asset:
    path = f"Seal-Tools_Dataset/{stem}.jsonl"
    name = f"seal_tools/{stem}.jsonl"
    return github_asset(name, REPOSITORY, COMMIT, path, sha256, "Apache-2.0")


DEV = seal_asset("dev", "53da12c9fab27e47eba4767ae3625b53bb6474215c38e5033b1fe11e84efacf6")
TOOLS = seal_asset("tool", "35e34aaec1f0793c2b5a5dff734cb925837988f59ed0fe4f410d67f3d8375f5c")


def single_call_rows() -> dict[int, Row]:
    """Return the development rows with one call, by index in the file, in Hammer's format.

    Each offers its own tool and the four whose words are closest to the query, closest first.
    """
    catalogue = Catalogue([hammer_tool(tool) for tool in read_seal(TOOLS)])
    rows: dict[int, Row] = {}
    for place, row in enumerate(read_seal(DEV)):
        calls = row["calling"]
        if len(calls) == 1 and not _refers_to_a_call(calls[0]):
            name = calls[0]["api"]
            rows[place] = {
                "query": row["query"],
                "tools": catalogue.offer(row["query"], name),
                "answers": [{"tool": name, "parameters": calls[0]["parameters"]}],
            }
    return rows


class Catalogue:
    """Tools indexed by the words of their names and descriptions; rare words have more weight."""

    def __init__(self, tools: Sequence[Row]) -> None:
        self._tools = tools
        self._places = {tool["name"]: place for place, tool in enumerate(tools)}
        texts = [_words(f"{tool['name']} {tool['description']}") for tool in tools]
        spread = Counter(word for text in texts for word in text)
        self._weights = {word: math.log(len(tools) / count) for word, count in spread.items()}
        self._lengths = [
            math.sqrt(math.fsum(self._weights[word] ** 2 for word in text)) or 1.0 for text in texts
        ]
        self._holders: dict[str, list[int]] = defaultdict(list)
        for place, text in enumerate(texts):
            for word in text:
                self._holders[word].append(place)

    def offer(self, query: str, name: str) -> list[Row]:
        """Return OFFERED tools, including the one called `name`, closest to the query first."""
        closeness = self._closeness(query)
        own = self._places[name]
        ranked = sorted(
            (place for place in range(len(self._tools)) if place != own),
            key=lambda place: -closeness[place],
        )
        chosen = sorted([own, *ranked[: OFFERED - 1]], key=lambda place: -closeness[place])
        return [self._tools[place] for place in chosen]

    def _closeness(self, query: str) -> list[float]:
        """Return the cosine between each tool's words and the query's, up to a common factor."""
        shared = [0.0] * len(self._tools)
        for word in sorted(_words(query)):
            for place in self._holders.get(word, ()):
                shared[place] += self._weights[word] ** 2
        return [value / length for value, length in zip(shared, self._lengths, strict=True)]


def _words(text: str) -> frozenset[str]:
    """Return words of at least three letters, in lower case; camelCase is split."""
    return frozenset(word.casefold() for word in _WORD.findall(text) if len(word) > 2)


def hammer_tool(tool: Row) -> dict[str, Any]:
    """Return a tool of Seal-Tools' own file in Hammer's format."""
    return {
        "name": tool["api_name"],
        "description": tool["api_description"],
        "parameters": tool["parameters"],
        "required": tool["required"],
    }


def _refers_to_a_call(call: Row) -> bool:
    return "API_call_" in json.dumps(call["parameters"])


def read_seal(asset: Asset) -> list[Row]:
    """Return the rows of one of Seal-Tools' own files."""
    lines = data_file(asset).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]
