"""Which entries can be compared: those that were asked the same, all of it, and scored alike.

A board is a benchmark with its options, the revision of its data, and the rules of scoring. Who
answered a part of its samples is listed there, and not ranked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ttsi import registry
from ttsi.digests import json_digest
from ttsi.leaderboard.submission import slug
from ttsi.types import JSON

SCORER = "exact"
"""What boards are scored by, under the benchmark's own preset."""

OWN_DATA = "file"
"""The benchmark whose rows are a file of one machine: nobody else could ask them, so that no board
takes it, and to verify it would be to read a file that a stranger names."""

ALL = "all"
_PART = ("limit", "select", "ids")
"""Options that take a part of a benchmark's samples and change nothing in them."""


@dataclass(frozen=True)
class Ground:
    """What all entries of a board have in common. `options` and `scorer` hold what differs from the
    benchmark's own; values may be any JSON."""

    benchmark: str
    options: Mapping[str, JSON]
    scorer: Mapping[str, JSON]
    revision: str

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Ground:
        return cls(entry["benchmark"], entry["options"], entry["scorer"], entry["revision"])

    @property
    def key(self) -> str:
        """The board as a file name: the benchmark's, and a digest of all that makes the board."""
        whole = [self.benchmark, self.options, self.scorer, self.revision]
        return f"{slug(self.benchmark)}-{json_digest(whole).removeprefix('sha256:')[:8]}"

    @property
    def title(self) -> str:
        """The benchmark, and in what it is not as it comes."""
        scorer = {f"scorer.{key}": value for key, value in self.scorer.items()}
        return ", ".join([self.benchmark, *_words({**self.options, **scorer})])


def board_options(benchmark: Mapping[str, Any]) -> dict[str, JSON]:
    """The options of a spec's benchmark that make another board than its defaults do.

    Of a third party's benchmark no default is known, since it is not loaded: all its options count.
    """
    name = benchmark["name"]
    known: Mapping[str, Any] = {}
    if "/" not in name and name in registry.discover("benchmarks"):
        known = registry.options_schema("benchmarks", name)["properties"]
    return {
        key: _plain(value, known.get(key, {}))
        for key, value in sorted(benchmark.items())
        if key not in ("name", *_PART) and not _is_default(value, known.get(key, {}))
    }


def scorer_options(spec: Mapping[str, Any]) -> dict[str, JSON]:
    """In what a spec's scorer differs from the rule of the benchmark's boards; null: left out."""
    own, rule = spec["scorer"], scoring_rule(spec["benchmark"]["name"])
    if own["name"] != SCORER:
        return dict(own)
    return {key: own.get(key) for key in sorted({**rule, **own}) if own.get(key) != rule.get(key)}


def scoring_rule(benchmark: str) -> dict[str, JSON]:
    """The scorer's name and options that the boards of a benchmark have. Loads no third party."""
    properties = registry.options_schema("scorers", SCORER)["properties"]
    rule = {"name": SCORER, **{key: each["default"] for key, each in properties.items()}}
    if "/" in benchmark or benchmark not in registry.discover("benchmarks"):
        return rule
    return rule | registry.scoring_preset(benchmark, SCORER)


def selection(benchmark: Mapping[str, Any]) -> str:
    """Which of its samples the benchmark is asked for: "all", or "limit=50, select=even"."""
    taken = {key: benchmark[key] for key in _PART if benchmark.get(key) is not None}
    if "limit" not in taken:
        taken.pop("select", None)
    return ", ".join(_words(taken)) or ALL


def is_ranked(entry: Mapping[str, Any]) -> bool:
    return bool(entry["selection"] == ALL)


def _words(options: Mapping[str, JSON]) -> list[str]:
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in options.items()
    ]


def _is_default(value: JSON, schema: Mapping[str, Any]) -> bool:
    return json.dumps(_plain(value, schema)) == json.dumps(_plain(schema.get("default"), schema))


def _plain(value: JSON, schema: Mapping[str, Any]) -> JSON:
    """The value; of things none of which may stand twice the order says nothing."""
    if isinstance(value, list) and schema.get("uniqueItems"):
        return sorted(value, key=json.dumps)
    return value
