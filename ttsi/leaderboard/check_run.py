"""Checks of each seed's spec and results, against each other and against the records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ttsi.leaderboard.faults import Fault, shown
from ttsi.leaderboard.publishing import parts, private
from ttsi.leaderboard.sources import Sources, method_faults
from ttsi.leaderboard.submission import HEAD, RESULTS, SPEC, Seed, Submission
from ttsi.records.identity import IDENTITY
from ttsi.records.sessions import SESSIONS
from ttsi.results import synthetic
from ttsi.results.agreement import differences, made_of
from ttsi.spec import digest_of

_RESTORE = "Restore the file from the run, or submit the run again."
_TOLD = 5
_OF_EPISODES = ("credit", "steps")
"""What the results of episodes have, and no others."""


def spec_faults(submission: Submission) -> Iterator[Fault]:
    """Yield faults of the specs: edited, different between seeds, or not allowed on a board."""
    first = submission.seeds[0]
    for seed in submission.seeds:
        where = f"{seed.name}/{SPEC}"
        digest = digest_of(seed.spec, seed.identity["ttsi"])
        if digest != seed.results["spec_digest"]:
            what = f"has another digest than {RESULTS} says: one of the two was edited."
            yield Fault("spec", where, what, _RESTORE)
        if digest != digest_of(first.spec, first.identity["ttsi"]):
            what = f"is another spec than that of {first.name}; seeds of one run have one."
            yield Fault("spec", where, what, "Submit the runs one by one.")
        if seed.number not in seed.spec["seeds"]:
            yield Fault("spec", where, f"does not ask for seed {seed.number}.", _RESTORE)
        if seed.spec["benchmark"].get("ids") is not None:
            what = "picks its samples by id, which may be the easy ones."
            yield Fault("selection", where, what, "Run without ids, for the whole test set.")
    yield from method_faults(first.spec, first.identity["ttsi"], f"{first.name}/{SPEC}")


def results_faults(seed: Seed, found: Sources | None) -> Iterator[Fault]:
    """Yield faults of results.json, compared with the metrics computed from the records again.

    `found`: the data installed here; None where it is not known.
    """
    where, results = f"{seed.name}/{RESULTS}", seed.results
    if found is not None and results["revision"] != found.revision:
        what = f"ran on data of revision {shown(results['revision'])}; here it is "
        what += f"{found.revision!r}."
        cure = "Run again on the data that this version of ttsi knows."
        yield Fault("revision", where, what, cure)
    expected = made_of(seed.spec, seed.number, seed.records)
    if found is not None and results["revision"] == found.revision and _measurable(seed):
        inputs = {name: sample.task.input for name, sample in found.samples.items()}
        expected["synthetic"] = synthetic.quality(seed.records, inputs)
    names = {*expected, *_OF_EPISODES}
    said = {key: value for key, value in results.items() if key in names}
    told = list(differences(expected, said))
    for pointer, anew, stored in told[:_TOLD]:
        what = f"{pointer} is {shown(stored)}; made again it is {shown(anew)}."
        yield Fault("metric", where, what, _RESTORE)


def _measurable(seed: Seed) -> bool:
    """Whether the quality of the examples can be measured again: none of them is withheld.

    What was asked in the steps of episodes is. Results of older versions do not have it.
    """
    if any(record.steps for record in seed.records):
        return False
    examples = (example for record in seed.records for example in record.examples)
    return "synthetic" in seed.results and all(example.task.input for example in examples)


def private_faults(submission: Submission) -> Iterator[Fault]:
    """Yield a fault for local paths, passwords and keys, which must not be published."""
    files: list[tuple[str, Any]] = [(HEAD, submission.head)]
    for seed in submission.seeds:
        files += [
            (f"{seed.name}/{SPEC}", seed.spec),
            (f"{seed.name}/{IDENTITY}", seed.identity),
            (f"{seed.name}/{SESSIONS}", list(seed.sessions)),
            (f"{seed.name}/{RESULTS}", seed.results),
            (f"{seed.name}/samples.jsonl", [each["receipt"] for each in parts(seed.rows)]),
        ]
    for where, value in files:
        for pointer, what in list(private(value))[:_TOLD]:
            told = f"{shown(pointer)[1:-1]} holds {what}."
            cure = "Run again with a model by its public name, and keys by environment variables."
            yield Fault("private", where, told, cure)
