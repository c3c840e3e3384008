"""What a run's own examples were like, and what came of them: tables of docs/findings.md.

    python docs/study_examples.py METHOD=RUN ...    writes docs/results/examples/*.json

Submissions withhold examples that repeat their benchmark, so what is needed of them is told here,
sample by sample, and none of their text:

    tool       the label calls the tools of the sample's own reference, in their order
    invented   the label has an optional argument that its own request does not state
    before, after   whether the base answer and the adapted one are right
    refused    whether a gate kept the base answer
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from markup import table
from stored import NOT_YET, named

from ttsi.answers import form_of
from ttsi.answers.calls.values import calls_in
from ttsi.protocols import Scorer
from ttsi.records.lines import whole_task
from ttsi.results.runs import open_run
from ttsi.solving import assemble
from ttsi.spec import load_spec
from ttsi.types import Completion, Example, Record, Sample

FOLDER = Path(__file__).resolve().parent / "results" / "examples"


def told(folder: Path) -> dict[str, Any]:
    """Return the run's benchmark, model, method and rows, one for each adapted sample."""
    run = open_run(folder)
    (spec,) = load_spec(dict(run.spec), environment=False)
    scorer, samples = assemble.scorer(spec), run.samples
    rows = [
        _row(record, samples[record.id], scorer)
        for seed in run.seeds
        for record in seed.records
        if record.examples and (record.adapted or record.refused)
    ]
    return {
        "benchmark": run.name.removeprefix("study-"),
        "model": run.spec["model"]["id"],
        "rows": rows,
    }


def _row(record: Record, sample: Sample, scorer: Scorer) -> dict[str, Any]:
    assert record.base_score is not None
    assert record.final_score is not None
    after = record.final_score.correct
    if record.refused:
        gate: Any = (record.receipt or {})["gate"]
        text = str(gate["refused"])
        answer = form_of(sample.task).parse(sample.task, text)
        refused = scorer.score(sample.task, sample.reference, Completion(text, answer))
        after = refused.correct
    return {
        "id": record.id,
        "tool": all(_names(each) == _names(sample) for each in record.examples),
        "invented": any(_invents(each, sample) for each in record.examples),
        "before": record.base_score.correct,
        "after": after,
        "refused": record.refused,
    }


def _names(of: Example | Sample) -> list[str]:
    answer = of.answer if isinstance(of, Example) else of.reference
    return [call.name for call in calls_in(answer)]


def _invents(example: Example, sample: Sample) -> bool:
    task = whole_task(example, sample.task)
    claims = form_of(task).claims(task, example.answer) or ()
    return any(claim.optional and not claim.stated for claim in claims)


# ---------------------------------------------------------------- tables


def sections() -> dict[str, str]:
    runs = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
    return {"examples": examples_table(runs), "gates": gates_table(runs)}


def examples_table(runs: Sequence[dict[str, Any]]) -> str:
    """What the labels were like, and what the answers adapted to them became."""
    head = ["model", "benchmark", "method", "adapted", "the sample's tool", "invents"]
    head += ["matching: fixed", "matching: broken", "other: fixed", "other: broken"]
    rows = []
    for run in runs:
        every = run["rows"]
        matching = [row for row in every if row["tool"] and not row["invented"]]
        other = [row for row in every if row not in matching]
        counts = [len(every), sum(r["tool"] for r in every), sum(r["invented"] for r in every)]
        cells = [str(count) for count in counts]
        rows.append([*_place(run), *cells, *_outcome(matching), *_outcome(other)])
    return table(head, rows) if rows else NOT_YET


def gates_table(runs: Sequence[dict[str, Any]]) -> str:
    """What a gate kept, and what it refused."""
    head = ["model", "benchmark", "method", "kept: fixed", "kept: broken"]
    head += ["refused: would be fixed", "refused: would be broken"]
    rows = []
    for run in runs:
        refused = [row for row in run["rows"] if row["refused"]]
        kept = [row for row in run["rows"] if not row["refused"]]
        if refused:
            rows.append([*_place(run), *_outcome(kept), *_outcome(refused)])
    return table(head, rows) if rows else NOT_YET


def _place(run: dict[str, Any]) -> Iterator[str]:
    yield from (named(run["model"]), f"`{run['benchmark']}`", f"`{run['method']}`")


def _outcome(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Return how many of the wrong base answers are fixed, and of the right ones broken."""
    found = list(rows)
    wrong = [row for row in found if not row["before"]]
    right = [row for row in found if row["before"]]
    fixed, broken = sum(row["after"] for row in wrong), sum(not row["after"] for row in right)
    return [f"{fixed} of {len(wrong)}", f"{broken} of {len(right)}"]


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for argument in sys.argv[1:]:
        method, _, run_folder = argument.partition("=")
        made = {"method": method, **told(Path(run_folder))}
        place = FOLDER / f"{made['benchmark']}-{named(made['model'])}-{method}.json"
        place.write_text(json.dumps(made, indent=1) + "\n")
        print(f"{place} written")
