"""The settings in which runs differ: of their specs, and of what they were run with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ttsi.results.runs import Run
from ttsi.types import JSON

_NO_SETTING = ("name", "seeds")


def differing(specs: Sequence[Mapping[str, Any]]) -> dict[str, list[JSON]]:
    """Return each spec's value of the settings that differ, by dotted key; None where it has none.

    Components come first. Options of components whose names differ are left out: the name tells.
    """
    every = [_flat(spec) for spec in specs]
    keys = dict.fromkeys(key for one in every for key in one if key not in _NO_SETTING)
    found = {key: [one.get(key) for one in every] for key in keys}
    found = {key: values for key, values in found.items() if len(set(map(_text, values))) > 1}
    others = {key.removesuffix("name") for key in found if key.endswith(".name")}
    telling = [
        key for key in found if key.endswith(".name") or not any(map(key.startswith, others))
    ]
    ordered = sorted(telling, key=lambda key: (not key.endswith((".name", ".id")), key))
    return {key: found[key] for key in ordered}


def differences(runs: Sequence[Run]) -> dict[str, list[JSON]]:
    """Return what differs between runs, by dotted key: settings, and then weights and versions.

    Weights and the like are left out where the model's or the engine's settings differ.
    """
    found = differing([run.spec for run in runs])
    beyond = differing([_ran_with(run) for run in runs])
    if any(key.startswith(("model.", "engine.")) for key in found):
        beyond = {key: values for key, values in beyond.items() if "." not in key}
    return found | beyond


def short(key: str, others: Sequence[str]) -> str:
    """Return a key's last word where it is unique; "kind.name" and "kind.id" become the kind."""
    kind, _, last = key.rpartition(".")
    if last in ("name", "id") and kind:
        return kind
    return last if sum(other.rpartition(".")[2] == last for other in others) == 1 else key


def _ran_with(run: Run) -> dict[str, Any]:
    """Return what the first seed's identity says beyond the spec: versions, data, weights."""
    whose = run.seeds[0].identity
    plugins: Mapping[str, Any] = whose.get("plugins", {})
    foreign = {
        f"version of {each['distribution']}": each["version"]
        for each in plugins.values()
        if each["distribution"] != "ttsi"
    }
    plain = {"version of ttsi": "ttsi", "data": "revision", "date": "date"}
    said = {key: whose.get(name) for key, name in plain.items()}
    return {**said, **foreign, "loaded": whose.get("engine") or None}


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            pairs |= _flat(value, f"{prefix}{key}.")
        else:
            pairs[f"{prefix}{key}"] = value
    return pairs


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
