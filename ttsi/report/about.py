"""A report's section on the run itself: the full spec, versions, commit, digests and dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ttsi.pages import text
from ttsi.report.facts import Facts
from ttsi.spec.schema import COMPONENTS

Row: TypeAlias = tuple[str, str, list[tuple[str, str]]]
"""A row's label, its value, and (option, value) pairs."""

# What engines say of the ordinary way to run a model and its prompts; not worth a row.
_ORDINARY = {"system_turn": "template", "content": "text", "tool_turn": "template", "mode": "fast"}


def groups(facts: Facts) -> list[dict[str, Any]]:
    """Return groups of rows, each with a title."""
    return [
        {"title": "Spec", "rows": _spec_rows(facts)},
        {"title": "Where it ran", "rows": _environment_rows(facts)},
    ]


def _spec_rows(facts: Facts) -> list[Row]:
    spec = facts.run.spec
    first = facts.seeds[0].results if facts.seeds else {}
    rows: list[Row] = [
        ("name", str(spec["name"]), []),
        ("model", spec["model"]["id"], text.settings(_without(spec["model"], "id"))),
        *[(key, spec[key]["name"], text.settings(spec[key])) for key in COMPONENTS],
    ]
    known = {"ttsi", "name", "model", *COMPONENTS}
    others = {key: value for key, value in spec.items() if key not in known}
    rows += [(key, value, []) for key, value in text.settings(others)]
    rows.append(("data revision", str(first.get("revision", text.NOTHING)), []))
    rows.append(("spec digest", str(first.get("spec_digest", text.NOTHING)), []))
    whose = facts.run.seeds[0].identity
    if whose:
        rows.append(("date", str(whose["date"]), []))
        rows.append(("identity", "", text.settings(whose["engine"])))
    return rows


def _environment_rows(facts: Facts) -> list[Row]:
    sessions = facts.run.sessions
    found = facts.run.environment
    commit = found.get("commit")
    code = text.NOTHING
    if commit:
        code = commit["commit"] + (", modified" if commit.get("modified") else "")
    finished = [seed.results["finished"] for seed in facts.seeds if "finished" in seed.results]
    rows = [
        ("folder", str(facts.run.folder), []),
        ("started", str(sessions[0]["started"]) if sessions else text.NOTHING, []),
        ("sessions", _told(sessions), [("warning", each) for each in _warnings(sessions)]),
        ("finished", finished[-1] if finished else text.NOTHING, []),
        ("ttsi", str(found.get("ttsi", text.NOTHING)), []),
        ("commit", code, []),
        ("python", str(found.get("python", text.NOTHING)), []),
        ("platform", str(found.get("platform", text.NOTHING)), []),
        (
            "processor",
            f"{found.get('processor', text.NOTHING)}, {found.get('cores', '?')} cores",
            [],
        ),
        ("packages", "", text.settings(found.get("packages", {}))),
    ]
    plugins = {
        f"{kind} {each['name']}": f"{each['distribution']} {each['version']}"
        for kind, each in found.get("plugins", {}).items()
        if each.get("distribution") != "ttsi"
    }
    if plugins:
        rows.append(("plugins", "", text.settings(plugins)))
    engines = facts.seeds[0].results.get("engines", []) if facts.seeds else []
    for engine in engines[:1]:
        said = {
            k: v for k, v in engine.items() if not isinstance(v, Mapping) and _ORDINARY.get(k) != v
        }
        rows.append(("engine", "", text.settings(said)))
    return rows


def _told(sessions: Sequence[Mapping[str, Any]]) -> str:
    """Return the number of sessions, and of those that were killed or ended by an error."""
    if not sessions:
        return text.NOTHING
    broken = sum(session["engines"] is None for session in sessions)
    return f"{len(sessions)}, of which {broken} did not end" if broken else str(len(sessions))


def _warnings(sessions: Sequence[Mapping[str, Any]]) -> list[str]:
    return [warning for session in sessions for warning in session.get("warnings", ())]


def _without(options: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in names}
