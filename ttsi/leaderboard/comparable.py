"""Which entries can be compared: those with the same samples and the same scoring.

A board is a benchmark with its options, the revision of its data, and the rules of scoring. An
entry that answered only a part of the samples is listed there without a rank.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ttsi import registry
from ttsi.digests import json_digest
from ttsi.leaderboard.submission import slug
from ttsi.spec.schema import COMPONENTS, DEFAULTS
from ttsi.types import JSON

SCORER = "exact"
"""The scorer of all boards, with the benchmark's own preset."""

OWN_DATA = "file"
"""The benchmark that reads its rows from a local file. No board accepts it: nobody else has the
rows, and verification would read a file that an untrusted spec names."""

ALL = "all"
_METHOD = ("estimator", "generator", "learner", "inference")
_PART = ("limit", "select", "ids")
"""Options that select some of a benchmark's samples and do not change them."""


@dataclass(frozen=True)
class Ground:
    """The properties that all entries of a board share.

    `options` and `scorer` hold what differs from the benchmark's defaults; values may be any JSON.
    """

    benchmark: str
    options: Mapping[str, JSON]
    scorer: Mapping[str, JSON]
    revision: str

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Ground:
        return cls(entry["benchmark"], entry["options"], entry["scorer"], entry["revision"])

    @property
    def key(self) -> str:
        """The board's file name: the benchmark's name and a digest of all fields."""
        whole = [self.benchmark, self.options, self.scorer, self.revision]
        return f"{slug(self.benchmark)}-{json_digest(whole).removeprefix('sha256:')[:8]}"

    @property
    def title(self) -> str:
        """The benchmark's name and the options that differ from the defaults."""
        scorer = {f"scorer.{key}": value for key, value in self.scorer.items()}
        return ", ".join([self.benchmark, *in_words({**self.options, **scorer})])


def board_options(benchmark: Mapping[str, Any]) -> dict[str, JSON]:
    """Return the options of a spec's benchmark that put it on another board than its defaults do.

    A third party's benchmark is not loaded, so its defaults are unknown and all its options count.
    """
    return _unusual("benchmarks", {k: v for k, v in benchmark.items() if k not in _PART})


def method_settings(spec: Mapping[str, Any]) -> dict[str, JSON]:
    """Return how the parts of the method are set where that is not the default, by dotted key."""
    found: dict[str, JSON] = {}
    for role in _METHOD:
        if spec[role]["name"] != DEFAULTS[role]:
            found[role] = spec[role]["name"]
        unusual = _unusual(COMPONENTS[role], spec[role])
        found |= {f"{role}.{key}": value for key, value in unusual.items()}
    if spec.get("budget") is not None:
        found["budget"] = spec["budget"]
    return found


def _unusual(kind: str, component: Mapping[str, Any]) -> dict[str, JSON]:
    """Return the options of a component that are not the defaults."""
    name = component["name"]
    known: Mapping[str, Any] = {}
    if "/" not in name and name in registry.discover(kind):
        known = registry.options_schema(kind, name)["properties"]
    return {
        key: _plain(value, known.get(key, {}))
        for key, value in sorted(component.items())
        if key != "name" and not _is_default(value, known.get(key, {}))
    }


def scorer_options(spec: Mapping[str, Any]) -> dict[str, JSON]:
    """Return the scorer options that differ from the board's rule, None where the spec lacks one.

    All options and the name, where the scorer is not SCORER.
    """
    own, rule = spec["scorer"], scoring_rule(spec["benchmark"]["name"])
    if own["name"] != SCORER:
        return dict(own)
    return {key: own.get(key) for key in sorted({**rule, **own}) if own.get(key) != rule.get(key)}


def scoring_rule(benchmark: str) -> dict[str, JSON]:
    """Return the scorer's name and options on a benchmark's boards. Loads no third-party plugin."""
    properties = registry.options_schema("scorers", SCORER)["properties"]
    rule = {"name": SCORER, **{key: each["default"] for key, each in properties.items()}}
    if "/" in benchmark or benchmark not in registry.discover("benchmarks"):
        return rule
    return rule | registry.scoring_preset(benchmark, SCORER)


def selection(benchmark: Mapping[str, Any]) -> str:
    """Return which of the benchmark's samples are used: "all", or "limit=50, select=even"."""
    taken = {key: benchmark[key] for key in _PART if benchmark.get(key) is not None}
    if "limit" not in taken:
        taken.pop("select", None)
    return ", ".join(in_words(taken)) or ALL


def is_ranked(entry: Mapping[str, Any]) -> bool:
    return bool(entry["selection"] == ALL)


def in_words(options: Mapping[str, JSON]) -> list[str]:
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in options.items()
    ]


def _is_default(value: JSON, schema: Mapping[str, Any]) -> bool:
    return json.dumps(_plain(value, schema)) == json.dumps(_plain(schema.get("default"), schema))


def _plain(value: JSON, schema: Mapping[str, Any]) -> JSON:
    """Return the value as what it means: 1.0 is 1, and a list of unique items has no order."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list) and schema.get("uniqueItems"):
        return sorted(value, key=json.dumps)
    return value
