"""BIG-Bench Hard's files, one a task, and the form in which each task is answered.

A file has this shape (the values are invented); `canary` requests that the file is kept out of
training data for language models:

    {"canary": "...", "examples": [
        {"input": "Which is a fruit?\\nOptions:\\n(A) chair\\n(B) plum", "target": "(B)"},
        {"input": "Is the argument valid or invalid?\\nOptions:\\n- valid \\n- invalid",
         "target": "valid"},
        {"input": "not ( False ) is", "target": "True"}, ...]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources

from ttsi import Asset, data_file
from ttsi.assets import github_asset

REPOSITORY = "suzgunmirac/BIG-Bench-Hard"
COMMIT = "9ee07bd481feebf959a6b59d61ea57bdcf30964d"

WORDS: Mapping[str, tuple[str, ...]] = {
    "boolean_expressions": ("True", "False"),
    "sports_understanding": ("yes", "no"),
    "web_of_lies": ("Yes", "No"),
}
"""The answers of tasks that do not list them as options."""

OTHER_FORMS: Mapping[str, str] = {
    "dyck_languages": "text",
    "multistep_arithmetic_two": "number",
    "object_counting": "number",
    "word_sorting": "text",
}
"""Tasks with free answers; all others choose among options."""


def _files() -> dict[str, Asset]:
    """Return the files by task, as `bbh.sha256` lists them in the format of sha256sum."""
    listed = resources.files("ttsi_benchmarks").joinpath("bbh.sha256").read_text(encoding="utf-8")
    found = {}
    for line in listed.splitlines():
        sha256, path = line.split()
        name = path.removeprefix("bbh/").removesuffix(".json")
        found[name] = github_asset(path, REPOSITORY, COMMIT, path, sha256, "MIT")
    return found


FILES = _files()
TASKS = tuple(FILES)

_OPTION = re.compile(r"^(?:(\([A-Z]\)) |- )(.*)$", re.MULTILINE)


def read_examples(asset: Asset) -> list[Mapping[str, str]]:
    """Return the rows of a task's file, in order."""
    held = json.loads(data_file(asset).read_text(encoding="utf-8"))
    rows: list[Mapping[str, str]] = held["examples"]
    return rows


def choices_of(name: str, input: str) -> Sequence[str]:
    """Return the possible answers: letters or words of the row's options, or the task's words.

    Empty for a task with free answers.
    """
    if name in WORDS:
        return WORDS[name]
    _, _, listed = input.rpartition("\nOptions:\n")
    return [letter or words.strip() for letter, words in _OPTION.findall(listed)]
