"""Single edits of a submission, each with the kind of fault that reveals it.

A careful forger updates all digests after an edit. `put` sets one value, the functions edit
records.
"""

from __future__ import annotations

import json
from typing import Any

from submissions import Change

from ttsi.digests import json_digest

SAMPLES, RESULTS, SPEC, IDENTITY, SESSIONS = (
    f"seed-0/{name}"
    for name in (
        "samples.jsonl",
        "results.json",
        "spec.resolved.json",
        "identity.json",
        "sessions.json",
    )
)
OTHER = json_digest("other")


def adapted(rows: list[Any]) -> Any:
    return next(row for row in rows if row["adapted"])


def wrong(rows: list[Any]) -> Any:
    return next(row for row in rows if not row["final_score"]["correct"])


def answer(calls: list[Any]) -> dict[str, Any]:
    """Return an answer that makes these calls, as a record stores it."""
    return {"status": "ok", "value": calls, "work": ""}


def _text(rows: list[Any]) -> None:
    adapted(rows)["final"]["text"] = '[{"name": "get_time", "arguments": {"city": "Oslo"}}]'


def _answer(rows: list[Any]) -> None:
    call = {"name": "get_time", "arguments": {"city": "Oslo"}}
    adapted(rows)["final"] |= {"text": json.dumps([call]), "answer": answer([call])}


def _score(rows: list[Any]) -> None:
    wrong(rows)["final_score"] |= {"correct": True, "reason": None}


def confidence(rows: list[Any]) -> None:
    adapted(rows)["estimate"]["confidence"] = 0.1234


def _candidate(rows: list[Any]) -> None:
    scores = rows[0]["estimate"]["scores"]
    scores["another"] = scores.pop(next(iter(scores)))


def _certain(rows: list[Any]) -> None:
    next(row for row in rows if not row["adapted"])["estimate"]["uncertain"] = True


def _rates(rows: list[Any]) -> None:
    adapted(rows)["receipt"]["learning_rates"][1] = 2e-4


def _steps(rows: list[Any]) -> None:
    receipt = adapted(rows)["receipt"]
    receipt["losses"].append(0.5)
    receipt["learning_rates"].append(0.0)
    receipt["steps"] = 4


def _receipt_examples(rows: list[Any]) -> None:
    adapted(rows)["receipt"]["examples"] = [json_digest("another")]


def _rank(rows: list[Any]) -> None:
    adapted(rows)["receipt"]["config"]["r"] = 64


def _example_calls(rows: list[Any]) -> None:
    adapted(rows)["examples"][0]["answer"]["value"][0]["arguments"]["city"] = "Elsewhere"


def _example_text(rows: list[Any]) -> None:
    adapted(rows)["examples"][0]["text"] = "no JSON at all"


def _attempts(rows: list[Any]) -> None:
    adapted(rows)["examples"][0]["attempts"] = 6


def _benchmark_text(rows: list[Any]) -> None:
    row = adapted(rows)
    number = row["id"].rpartition("/")[2]
    example = row["examples"][0]
    call = {"name": "get_weather", "arguments": {"city": "Rome"}}
    example["input"] = f"Hi! What is the weather in City{number}?"
    example["answer"] = answer([call])
    example["text"] = json.dumps({"input": example["input"], "output": [call]})
    example["digest"] = json_digest([example["input"], [call]])
    row["receipt"]["examples"] = [example["digest"]]


def _quote(rows: list[Any]) -> None:
    wrong(rows)["final_score"]["detail"] = "expected 'City3'"


def _unadapted(rows: list[Any]) -> None:
    adapted(rows)["adapted"] = False


def _seed(rows: list[Any]) -> None:
    rows[0]["seed"] = 9


def _digest_of_sample(rows: list[Any]) -> None:
    rows[0]["digest"] = json_digest("other data")


def _cost(rows: list[Any]) -> None:
    rows[0]["costs"]["answer"]["seconds"] += 1


def _swap(rows: list[Any]) -> None:
    rows[2], rows[5] = rows[5], rows[2]


def _drop(rows: list[Any]) -> None:
    rows.remove(wrong(rows))


def _twice(rows: list[Any]) -> None:
    rows.append(rows[0])


def _unknown(rows: list[Any]) -> None:
    rows.append(rows[0] | {"id": "rows/99"})


def _without_threshold(spec: Any) -> None:
    del spec["estimator"]["threshold"]


def put(*path: Any) -> Change:
    """Return a change that sets the value at a path; the last argument is the value."""
    *keys, last, value = path

    def change(document: Any) -> None:
        for key in keys:
            document = document[key]
        document[last] = value

    return change


def session(key: str, value: Any) -> Change:
    """Return a change that sets one value of the last session."""
    return put("sessions", -1, key, value)


def _other_engine(document: Any) -> None:
    document["sessions"][-1]["engines"][0]["device_name"] = "another"


def _weights(results: Any) -> None:
    results["engines"][0] |= {"weights_digest": OTHER, "weights_digest_after": OTHER}


EDITS: dict[str, tuple[str, Change, str]] = {
    "a prediction's text": (SAMPLES, _text, "prediction"),
    "a prediction": (SAMPLES, _answer, "score"),
    "a score": (SAMPLES, _score, "score"),
    "a metric": (RESULTS, put("accuracy", 0.99), "metric"),
    "an inner metric": (RESULTS, put("stages", "seconds", 0.5), "metric"),
    "a cost": (SAMPLES, _cost, "metric"),
    "the spec's threshold": (SPEC, put("estimator", "threshold", 0.2), "estimate"),
    "the spec's learning rate": (SPEC, put("learner", "learning_rate", 3e-4), "receipt"),
    "the spec's rank": (SPEC, put("learner", "rank", 16), "receipt"),
    "the spec's epochs": (SPEC, put("learner", "epochs", 1), "receipt"),
    "the spec's model": (SPEC, put("model", "id", "acme/better"), "metric"),
    "the spec's seeds": (SPEC, put("seeds", [1]), "spec"),
    "an option that is none": (SPEC, put("learner", "magic", True), "spec"),
    "a threshold left out": (SPEC, _without_threshold, "estimate"),
    "samples picked by id": (SPEC, put("benchmark", "ids", ["rows/1"]), "selection"),
    "learning rates": (SAMPLES, _rates, "receipt"),
    "steps": (SAMPLES, _steps, "receipt"),
    "a receipt's examples": (SAMPLES, _receipt_examples, "receipt"),
    "a receipt's rank": (SAMPLES, _rank, "receipt"),
    "an example's calls": (SAMPLES, _example_calls, "example"),
    "an example's text": (SAMPLES, _example_text, "example"),
    "an example's attempts": (SAMPLES, _attempts, "example"),
    "benchmark text in an example": (SAMPLES, _benchmark_text, "benchmark-text"),
    "a quoted reference": (SAMPLES, _quote, "quote"),
    "a confidence": (SAMPLES, confidence, "estimate"),
    "an uncertain one": (SAMPLES, _certain, "estimate"),
    "adapted or not": (SAMPLES, _unadapted, "story"),
    "a record's seed": (SAMPLES, _seed, "seed"),
    "a sample's digest": (SAMPLES, _digest_of_sample, "sample"),
    "the order": (SAMPLES, _swap, "order"),
    "a dropped sample": (SAMPLES, _drop, "dropped"),
    "a duplicated sample": (SAMPLES, _twice, "duplicate"),
    "an unknown sample": (SAMPLES, _unknown, "unknown-sample"),
    "the data's revision": (RESULTS, put("revision", json_digest("2")), "revision"),
    "the end": (RESULTS, put("finished", "2999-01-01T00:00:00+00:00"), "date"),
    "a candidate's name": (SAMPLES, _candidate, "estimate"),
    "the version of ttsi": (IDENTITY, put("ttsi", "9.9"), "identity"),
    "a plugin's version": (IDENTITY, put("plugins", "learner", "version", "9"), "identity"),
    "a plugin's name": (IDENTITY, put("plugins", "learner", "name", "icl"), "identity"),
    "the start": (SESSIONS, session("started", "2999-01-01T00:00:00+00:00"), "session"),
    "the end of a session": (SESSIONS, session("finished", "2001-01-01T00:00:00+00:00"), "session"),
    "a session's version of ttsi": (SESSIONS, session("ttsi", "9.9"), "session"),
    "a session's samples": (SESSIONS, session("samples", 1), "session"),
    "a session that did not end": (SESSIONS, session("finished", None), "no-engine"),
    "a session's engines": (SESSIONS, _other_engine, "session"),
    "the day": (IDENTITY, put("date", "2999-01-01"), "date"),
    "a day that is none": (IDENTITY, put("date", "2001-02-31"), "date"),
    "the identity's seed": (IDENTITY, put("seed", 1), "identity"),
    "the identity's data": (IDENTITY, put("revision", json_digest("2")), "identity"),
    "the identity's weights": (IDENTITY, put("engine", "weights_digest", OTHER), "engine"),
    "an engine's weights": (RESULTS, _weights, "engine"),
    "a private path": (SESSIONS, session("processor", "/home/jane/cpu"), "private"),
    "a secret": (SESSIONS, session("platform", "hf_" + "a" * 30), "private"),
}
