"""What is served: the names of the models, how they are asked, and the bounds of requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ttsi.spec import Spec, effective_options

BASE = ":base"
"""Behind the name of the model it names the one that never adapts."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that one client cannot exceed, whatever it sends."""

    body_bytes: int = 4 * 2**20
    body_seconds: float = 30.0
    arriving_bytes: int = 256 * 2**20
    messages: int = 1000
    tools: int = 128
    tool_name: int = 256
    schema_bytes: int = 128 * 2**10
    choices: int = 8
    stops: int = 4
    stop_length: int = 200
    texts: int = 64
    kept: int = 1000


@dataclass(frozen=True, slots=True)
class Served:
    """A spec as it is served.

    `prompt`: who writes the tools into the prompt, as in benchmarks. `constrained`: the spec's
    inference decodes answers under a grammar. `least`: the fewest calls that its options demand;
    None if they do not say.
    """

    name: str
    seed: int = 0
    prompt: Literal["paper", "native"] = "paper"
    constrained: bool = False
    least: int | None = None
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of(
        cls,
        spec: Spec,
        *,
        name: str | None = None,
        prompt: Literal["paper", "native"] | None = None,
    ) -> Served:
        """Return how a spec is served; `prompt` is by default that of its benchmark."""
        own = "native" if spec.benchmark.options.get("prompt") == "native" else "paper"
        return cls(
            name=name or spec.name,
            seed=spec.seeds[0],
            prompt=prompt or own,  # type: ignore[arg-type]
            constrained=effective_options(spec, "inference").get("format") == "tool_calls",
            least=spec.inference.options.get("min_calls"),
        )

    @property
    def models(self) -> tuple[str, str]:
        return self.name, self.name + BASE
