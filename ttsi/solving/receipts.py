"""The record that is kept of a discarded adaptation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ttsi.optional import Verdict
from ttsi.types import JSON, Adaptation, Adapter, Completion, Example


def receipt_of(
    adaptation: Adaptation | None,
    examples: Sequence[Example],
    adapted: Completion | None = None,
    verdict: Verdict | None = None,
) -> Mapping[str, JSON] | None:
    """Return what verifiers need to know about an adaptation: digests, training, configuration.

    With a gate's verdict it has that, and the text of an `adapted` answer that was not kept.
    """
    if adaptation is None:
        return None
    seen = [example.digest for example in examples]
    receipt: dict[str, JSON] = {"digest": adaptation.digest, "examples": seen}
    if adaptation.source:
        receipt["source"] = adaptation.source
    if verdict is not None:
        refused = {} if verdict.kept or adapted is None else {"refused": adapted.text}
        receipt["gate"] = {**asdict(verdict), **refused}
    if not isinstance(adaptation, Adapter):
        return {"kind": "demonstrations", **receipt}
    training = adaptation.training
    if training is not None:
        receipt |= {
            "steps": len(training.losses),
            "seconds": training.seconds,
            "tokens": training.tokens,
        }
    # With a source, many samples share the adapter: its losses would be stored in each record.
    if training is not None and not adaptation.source:
        receipt |= {
            "losses": list(training.losses),
            "learning_rates": list(training.learning_rates),
        }
        if training.held_out:
            receipt["held_out"] = list(training.held_out)
    return {"kind": "lora", "config": dict(adaptation.config), **receipt}
