"""The layout of the tree: only answer forms know calls, and files are short."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from statistics import median

import file_lengths
import pytest

import ttsi

TTSI = file_lengths.ROOT / "ttsi"
CALLS = TTSI / "answers" / "calls"
SERVING = TTSI / "serving"
"""It speaks OpenAI's API, of which calls of tools are a part."""

MENTIONS = re.compile(
    r"tool[ _-]?calls?|answers\.calls|from ttsi\.answers import [^\n]*\bcalls\b", re.IGNORECASE
)

KNOWS_OF_CALLS = {
    "__init__.py": "parse_calls is a public name",
    "answers/objects.py": "the mark of a thought inside a call is text",
    "cli/score.py": "examples of the predictions that people have",
    "leaderboard/check_method.py": "how a learner writes its targets: the option's value",
    "protocols.py": "where H scores candidates: the option's value, as specs have it",
    "rows/calls.py": "calls in the rows of files, in the notations that people have",
    "rows/lines.py": "JSON is as deep as calls may be",
    "rows/messages.py": "what an assistant called, in OpenAI's notation",
    "rows/reading.py": "the references of rows, in the notations that people have",
    "running/advice.py": "it advises to decode under a grammar: the option's value",
    "running/judging.py": "a judge decodes under a grammar: the option's value",
    "scaffold/kinds.py": "a spec that decodes calls under a grammar: the option's value",
    "testing/benchmarks.py": "contract kit: references replayed as models write calls",
    "testing/call_texts.py": "contract kit: texts that call",
    "testing/drawn_answers.py": "contract kit: calls drawn for scorers",
    "testing/fake_benchmark.py": "contract kit: a benchmark of calls",
    "testing/gold.py": "contract kit: calls of a reference, looked for in a task",
    "testing/hostile.py": "contract kit: hostile texts, tags among them",
    "testing/scorers.py": "contract kit: scorers of calls",
}
"""Modules that speak of calls of tools outside of their form, and why."""


def modules() -> list[Path]:
    apart = (CALLS, SERVING)
    every = sorted(TTSI.rglob("*.py"))
    found = [path for path in every if not any(map(path.is_relative_to, apart))]
    assert len(found) > 100
    return found


def test_no_module_but_those_listed_speaks_of_calls_of_tools() -> None:
    mentions = {
        path.relative_to(
            TTSI
        ).as_posix(): f"line {text[: hit.start()].count(chr(10)) + 1}: {hit[0]}"
        for path in modules()
        if (hit := MENTIONS.search(text := path.read_text(encoding="utf-8")))
    }
    others = {path: told for path, told in mentions.items() if path not in KNOWS_OF_CALLS}
    assert others == {}, "let the task's form say it (ttsi.answers.form_of), or list the reason"
    assert KNOWS_OF_CALLS.keys() - mentions.keys() == set(), "exceptions that are none any more"


def test_the_form_of_calls_speaks_of_them() -> None:
    """The search above can find references to calls."""
    found = [path for path in CALLS.rglob("*.py") if MENTIONS.search(path.read_text())]
    assert len(found) > 8


def test_no_module_is_long_and_half_of_them_are_short() -> None:
    lengths = file_lengths.lengths(file_lengths.PACKAGES)
    assert len(lengths) > 200
    assert file_lengths.too_long(lengths) == []
    assert median(lengths.values()) < file_lengths.MEDIAN


def test_the_public_names_are_the_same_to_type_checkers() -> None:
    source = (TTSI / "__init__.py").read_text()
    listed = {
        (name.name, node.module)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ttsi.")
        for name in node.names
    }
    assert {name for name, _ in listed} == set(ttsi.__all__)
    for name, module in listed:
        assert getattr(ttsi, name) is getattr(importlib.import_module(str(module)), name)
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = ttsi.nothing_such
