"""What is left of an adaptation that is thrown away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ttsi.types import JSON, Adaptation, Adapter, Example


def receipt_of(
    adaptation: Adaptation | None, examples: Sequence[Example]
) -> Mapping[str, JSON] | None:
    """What verifiers need to know of an adaptation that no longer exists."""
    if adaptation is None:
        return None
    seen = [example.digest for example in examples]
    receipt: dict[str, JSON] = {"digest": adaptation.digest, "examples": seen}
    if adaptation.source:
        receipt["source"] = adaptation.source
    if not isinstance(adaptation, Adapter):
        return {"kind": "demonstrations", **receipt}
    training = adaptation.training
    if training is not None:
        receipt |= {
            "steps": len(training.losses),
            "seconds": training.seconds,
            "tokens": training.tokens,
        }
    # An adapter that many samples share would be written down, step by step, in each of them.
    if training is not None and not adaptation.source:
        receipt |= {
            "losses": list(training.losses),
            "learning_rates": list(training.learning_rates),
        }
    return {"kind": "lora", "config": dict(adaptation.config), **receipt}
