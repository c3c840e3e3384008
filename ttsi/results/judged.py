"""Label accuracy of a run's synthetic examples, as a judge, a stronger model, sees it.

The judge answers an example's request; its label counts as right where the run's scorer calls it
equal to the judge's answer. So the judge's own mistakes count against the label.

RUN/judged/NAME-HASH/  spec.resolved.json  judged.jsonl  identity.json and sessions.json of a model

A line of judged.jsonl is a record whose sample is the example and whose reference is its label.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ttsi.digests import draw_seed
from ttsi.records import journal
from ttsi.records.lines import whole_task
from ttsi.results import metrics
from ttsi.results.runs import Run, whole_run
from ttsi.types import JSON, Record, Sample

FOLDER, JUDGED, SPEC = "judged", "judged.jsonl", "spec.resolved.json"
JUDGE = "teacher"
"""The generator whose model is the judge at an endpoint."""


@dataclass(frozen=True)
class Judgement:
    """What one judge found: `judge` names it, `records` are of the run's examples as they are."""

    judge: str
    records: tuple[Record, ...]

    def as_json(self) -> dict[str, JSON]:
        return {"judge": self.judge, **metrics.outcome([each.base_score for each in self.records])}


def examples_of(run: Run) -> list[Sample]:
    """Return the run's examples as samples whose reference is the label, in an order by chance.

    The order is the same each time, so that more examples are those judged before and others. Left
    out are examples of episodes, whose tasks no record holds, and of samples that have changed.
    """
    found: dict[str, Sample] = {}
    for seed in run.seeds:
        for record in seed.records:
            sample = run.samples.get(record.id)
            if record.steps or sample is None or sample.digest != record.digest:
                continue
            for example in record.examples:
                name = f"seed-{record.seed}/{example.task.id}"
                task = replace(whole_task(example, sample.task), id=name)
                found[name] = Sample(task, example.answer)
    return sorted(found.values(), key=lambda each: draw_seed(0, each.id, "judge", 0))


def place(run: Run) -> Path:
    """Return the folder of a run's judgements, beside its seeds: a manifest covers a seed's own."""
    return whole_run(run.folder) / FOLDER


def judgements(run: Run) -> list[Judgement]:
    """Return what judges found on the run's examples; none where its benchmark cannot be loaded."""
    places = sorted(place(run).glob(f"*/{JUDGED}"))
    if not places:
        return []
    digests = {sample.id: sample.digest for sample in examples_of(run)}
    found = []
    for path in places:
        last = {each.id: each for each in journal.read(path)}
        known = [each for each in last.values() if digests.get(each.id) == each.digest]
        if known:
            found.append(Judgement(_judge(path.parent), tuple(known)))
    return found


def _judge(folder: Path) -> str:
    """Return a judge's name from its folder; the folder's own where its spec is damaged."""
    try:
        return name_of(json.loads((folder / SPEC).read_bytes()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return folder.name


def name_of(spec: Mapping[str, Any]) -> str:
    """Return the judge of a resolved spec: a model, or a model at an endpoint."""
    generator = spec["generator"]
    if generator["name"] != JUDGE:
        return str(spec["model"]["id"])
    return f"{generator['model']} at {generator['base_url'] or 'OpenAI'}"
