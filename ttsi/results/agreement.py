"""Whether stored results are what their records make, and stored scores what their answers earn.

Results are made of records and scores of answers: what a file says otherwise does not count, and
whoever finds it says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ttsi.errors import ends_the_run
from ttsi.protocols import Scorer
from ttsi.results import metrics
from ttsi.types import JSON, Record, Sample, Score

_UNSET = "nothing"


def made_of(spec: Mapping[str, Any], seed: int, records: Sequence[Record]) -> dict[str, JSON]:
    """Return those parts of a seed's results.json that its resolved spec and its records make."""
    head = {"name": spec["name"], "benchmark": spec["benchmark"]["name"]}
    return {**head, "model": spec["model"]["id"], "seed": seed, **metrics.summarise(records)}


def differences(made: JSON, stored: JSON, pointer: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (pointer, made, stored) where two JSON values differ by more than rounding."""
    if isinstance(made, Mapping) and isinstance(stored, Mapping):
        for key in {**made, **stored}:
            a, b = made.get(key, _UNSET), stored.get(key, _UNSET)
            yield from differences(a, b, f"{pointer}/{key}")
    elif isinstance(made, list) and isinstance(stored, list) and len(made) == len(stored):
        for at, (a, b) in enumerate(zip(made, stored, strict=True)):
            yield from differences(a, b, f"{pointer}/{at}")
    elif not _same(made, stored):
        yield pointer, made, stored


def said_otherwise(made: Mapping[str, JSON], stored: Mapping[str, JSON]) -> str:
    """Return the first of the `made` results that is stored otherwise, in words; "" if none is."""
    told = list(differences(dict(made), {key: stored.get(key, _UNSET) for key in made}))
    if not told:
        return ""
    pointer, own, other = told[0]
    more = f", and {len(told) - 1} more differ" if len(told) > 1 else ""
    return f"{pointer} is {_short(other)}, and made of the records it is {_short(own)}{more}"


def rescored(
    records: Iterable[Record], samples: Mapping[str, Sample], scorer: Scorer
) -> Iterator[Record]:
    """Yield each record whose scores are not what its answers earn, with the right ones.

    `samples`, by id, are what they were when the records were made. Of episodes nothing is scored
    again, since their environments score them.
    """
    for record in records:
        sample, final = samples.get(record.id), record.final
        if sample is None or sample.episode is not None or final is None:
            continue
        try:
            own = scorer.score(sample.task, sample.reference, final)
            base = own if record.base == final else None
            if record.base is not None and base is None:
                base = scorer.score(sample.task, sample.reference, record.base)
        except Exception as error:
            if ends_the_run(error):
                raise
            continue  # that it raises on an answer which it took before says nothing of the score
        told = (record.base_score, record.final_score)
        if [_verdict(base), _verdict(own)] != [_verdict(each) for each in told]:
            yield replace(record, base_score=base, final_score=own)


def _verdict(score: Score | None) -> tuple[bool, str | None] | None:
    return None if score is None else (score.correct, score.reason)


def _same(a: JSON, b: JSON) -> bool:
    numbers = [isinstance(each, int | float) and not isinstance(each, bool) for each in (a, b)]
    if all(numbers):
        # The last digits of sums and quantiles depend on the machine and on SciPy's version.
        return math.isclose(a, b, rel_tol=1e-7, abs_tol=1e-9)
    return type(a) is type(b) and bool(a == b)


def _short(value: JSON) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
