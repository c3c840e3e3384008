"""Compare our scoring of `bfcl` with BFCL's own checker, row by row.

Both score every reference, each of its alternatives and many changes to it. `bfcl_differences.json`
lists the disagreements: the kind of change, and the rows by index. Run as a script, this file
writes it; docs/benchmarks.md explains each kind.
"""

from __future__ import annotations

import json
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bfcl_changes import changes

from ttsi.answers.calls.values import ToolCall, answer_with
from ttsi.types import Completion, Sample
from ttsi_benchmarks._bfcl_source import ANSWERS, QUESTIONS, read_lines
from ttsi_benchmarks.bfcl import Bfcl
from ttsi_plugins.scorers.exact import Exact

KEPT = Path(__file__).with_name("bfcl_differences.json")

_MODEL = "any"
_CONFIG = "bfcl_eval.constants.model_config"

Checker = Callable[[str, Sequence[ToolCall]], str]
Differences = dict[str, dict[str, str]]


def own_checker() -> Checker:
    """Return BFCL's checker: "right", "wrong", or "fails" if it raises.

    Its code is that of the wheel. One module is replaced by a stub, because it imports all model
    providers; the checker only asks it whether a model writes the dots of names as underscores.
    """
    stand_in = types.ModuleType(_CONFIG)
    vars(stand_in)["MODEL_CONFIG_MAPPING"] = {
        _MODEL: types.SimpleNamespace(underscore_to_dot=False)
    }
    sys.modules[_CONFIG] = stand_in
    try:
        from bfcl_eval.constants.enums import Language
        from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker
    finally:
        del sys.modules[_CONFIG]
    rows = {
        f"bfcl/{category}/{i}": (category, row["function"], answer["ground_truth"])
        for category, asset in ANSWERS.items()
        for i, (row, answer) in enumerate(
            zip(read_lines(QUESTIONS[category]), read_lines(asset), strict=True)
        )
    }

    def check(id: str, calls: Sequence[ToolCall]) -> str:
        category, functions, answer = rows[id]
        output = [{call.name: dict(call.arguments)} for call in calls]
        try:
            said = ast_checker(functions, output, answer, Language.PYTHON, category, _MODEL)
        except Exception:
            return "fails"
        return "right" if said["valid"] else "wrong"

    return check


def our_checker(samples: Mapping[str, Sample], **switches: bool) -> Checker:
    scorer = Exact(**{**Bfcl.scoring, **switches})

    def check(id: str, calls: Sequence[ToolCall]) -> str:
        sample = samples[id]
        answer = Completion("", answer_with(calls))
        return "right" if scorer.score(sample.task, sample.reference, answer).correct else "wrong"

    return check


def compare(samples: Sequence[Sample]) -> tuple[Differences, dict[str, int]]:
    """Return the disagreements, and the number of compared answers of each kind."""
    ours, theirs = our_checker({sample.id: sample for sample in samples}), own_checker()
    parted: dict[str, set[str]] = defaultdict(set)
    compared: dict[str, int] = defaultdict(int)
    for sample in samples:
        for kind, calls in changes(sample):
            compared[kind] += 1
            one, other = ours(sample.id, calls), theirs(sample.id, calls)
            if one != other:
                parted[f"{kind}: {one} here, {other} there"].add(sample.id)
    return {kind: _by_category(ids) for kind, ids in sorted(parted.items())}, dict(compared)


def _by_category(ids: set[str]) -> dict[str, str]:
    places: dict[str, list[int]] = defaultdict(list)
    for id in ids:
        _, category, place = id.split("/")
        places[category].append(int(place))
    return {category: _in_words(sorted(some)) for category, some in sorted(places.items())}


def _in_words(places: Sequence[int]) -> str:
    return " ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in _stretches(places))


def row_count(places: str) -> int:
    """Count the rows in a text of `bfcl_differences.json`, such as "1 3-5"."""
    ends = [[int(end) for end in stretch.split("-")] for stretch in places.split()]
    return sum(some[-1] - some[0] + 1 for some in ends)


def _stretches(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for i in range(1, len(places) + 1):
        if i == len(places) or places[i] != places[i - 1] + 1:
            yield places[start], places[i - 1]
            start = i


def rows_with_calls() -> list[Sample]:
    return Bfcl(categories=list(ANSWERS)).samples()


def kept() -> Any:
    return json.loads(KEPT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    differences, counts = compare(rows_with_calls())
    KEPT.write_text(json.dumps(differences, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(counts, indent=1))
