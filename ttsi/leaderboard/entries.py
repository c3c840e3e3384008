"""What a board shows of one submission, computed from its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean

from ttsi.leaderboard.comparable import board_options, method_settings, scorer_options, selection
from ttsi.leaderboard.publishing import is_withheld, parts
from ttsi.leaderboard.submission import CONTENT, HEAD, MANIFEST, Seed, Submission
from ttsi.results import metrics
from ttsi.results.comparison import bootstrap, sign_flip
from ttsi.spec.schema import COMPONENTS
from ttsi.types import JSON, Score, StageCost


def entry_of(submission: Submission) -> dict[str, JSON]:
    """Return the entry (schema ttsi.board/1) of a submission that has been read.

    Its folder is leaderboards/submissions/BENCHMARK/ORG__METHOD__MODEL/HASH. Whether its claims are
    true is for `verify` to check.
    """
    head, seeds = submission.head, submission.seeds
    spec = seeds[0].spec
    records = [record for seed in seeds for record in seed.records]
    cost = sum((each for r in records for each in r.costs.values()), StageCost())
    tokens = cost.prompt_tokens + cost.completion_tokens
    taken = ("benchmark", "org", "method", "model", "engine", "submitted", "ttsi")
    return {
        **{key: head[key] for key in taken},
        "seeds": len(seeds),
        "samples": head["samples"],
        "options": board_options(spec["benchmark"]),
        "scorer": scorer_options(spec),
        "selection": selection(spec["benchmark"]),
        "settings": method_settings(spec),
        "errors": sum(bool(record.error) for record in records),
        **_outcome(seeds),
        "uncertain": sum(record.uncertain for record in records) / len(records),
        "adapted": sum(record.adapted for record in records) / len(records),
        "seconds_per_sample": cost.seconds / len(records),
        "tokens_per_sample": tokens / len(records),
        "usd_per_sample": cost.usd / len(records),
        "hardware": _hardware(seeds),
        "spec_digest": head["spec_digest"],
        "revision": head["revision"],
        "notes": list(notes(submission)),
        "path": "/".join(("submissions", *submission.folder.absolute().parts[-3:])),
        "files": [HEAD, *(f"{s.name}/{file}" for s in seeds for file in (*CONTENT, MANIFEST))],
    }


def notes(submission: Submission) -> Iterator[str]:
    """Yield remarks for readers who compare this entry with others."""
    sessions = [session for seed in submission.seeds for session in seed.sessions]
    if any(session["commit"] and session["commit"]["modified"] for session in sessions):
        yield "ran from a modified checkout"
    if any(engine.get("mode") == "native" for each in sessions for engine in each["engines"] or ()):
        yield "ran in native mode, by transformers' own passes"
    first = submission.seeds[0]
    for role in COMPONENTS:
        if "/" in first.spec[role]["name"]:
            plugin = first.identity["plugins"][role]
            yield f"{role} {plugin['name']} {plugin['version']}, by a third party"
    rows = [row for seed in submission.seeds for row in seed.rows]
    examples = [example for each in parts(rows) for example in each["examples"]]
    withheld = sum(map(is_withheld, examples))
    if withheld:
        yield f"{withheld} of {len(examples)} examples withheld: they repeat benchmark text"


# ---------------------------------------------------------------- numbers


def _outcome(seeds: Sequence[Seed]) -> dict[str, JSON]:
    """Return accuracies, their difference and its p, over samples; their seeds stay together."""
    finals = _rights(seeds, "final_score")
    n = len(seeds)
    bases = _rights(seeds, "base_score")
    gains = [finals[id] - bases[id] for id in finals]
    shares = [gain / n for gain in gains]
    mean = fmean(shares)
    low, high = bootstrap(shares) or (mean, mean)
    fixed, broken = (sum(gain == sign for gain in gains) for sign in (1, -1))
    return {
        "accuracy": _accuracy(list(finals.values()), n),
        "base_accuracy": _accuracy(list(bases.values()), n),
        "difference": {"mean": mean, "low": low, "high": high},
        "p": metrics.mcnemar(fixed, broken) if n == 1 else sign_flip(gains),
    }


def _rights(seeds: Sequence[Seed], name: str) -> dict[str, int]:
    """Return, by sample id, the number of seeds under which it was right."""
    rights: dict[str, int] = {}
    for seed in seeds:
        for record in seed.records:
            score: Score | None = getattr(record, name)
            rights[record.id] = rights.get(record.id, 0) + bool(score and score.correct)
    return rights


def _accuracy(rights: Sequence[int], seeds: int) -> dict[str, float]:
    """Return mean and 95 % interval: Wilson's for one seed, else the bootstrap over samples."""
    shares = [right / seeds for right in rights]
    interval = bootstrap(shares) if seeds > 1 else None
    # Where all samples have one mean, resampling gives no interval; Wilson's formula does.
    low, high = interval or metrics.wilson(round(sum(shares)), len(shares)) or (0.0, 1.0)
    mean = fmean(shares)
    return {"mean": mean, "low": min(low, mean), "high": max(high, mean)}


def _hardware(seeds: Sequence[Seed]) -> str:
    """Return the devices as the engines name them, a CPU by its processor's name."""
    found: Counter[str] = Counter()
    for session in (session for seed in seeds for session in seed.sessions):
        processor = session["processor"] or "CPU"
        own: Counter[str] = Counter()
        for engine in session["engines"] or [{}]:
            device = str(engine.get("device_name") or engine.get("device") or "cpu")
            own[_plain(processor if device == "cpu" else device)] += 1
        found |= own
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in found.items())


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:100])
