"""The picklable factory of a worker's runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ttsi.protocols import Watcher
from ttsi.running.waves import ScoredWaves, failed, known_of
from ttsi.solving import assemble
from ttsi.spec import Spec
from ttsi.types import Played, Record, Sample


@dataclass(frozen=True)
class Assembly:
    """Makes the runner of one seed, in whatever process it is called; a `RunnerFactory`.

    `known` are records, by sample id, whose estimate and base answer are not computed again;
    `played` are, by sample id, the steps of an episode that need not be played again.
    Calling it loads the model unless `engines` has it, and raises SpecError if the engine cannot do
    what the stages need.
    """

    spec: Spec
    seed: int
    known: Mapping[str, Record] = field(default_factory=dict)
    played: Mapping[str, Sequence[Played]] = field(default_factory=dict)
    adapt: bool = True
    engines: assemble.Engines = field(default_factory=lambda: assemble.Engines(keep=False))

    def __call__(self, watcher: Watcher | None = None) -> ScoredWaves:
        scorer = assemble.scorer(self.spec)
        pipeline = assemble.pipeline(
            self.spec,
            self.engines,
            seed=self.seed,
            watcher=watcher,
            adapt=self.adapt,
        )
        return ScoredWaves(
            pipeline,
            scorer,
            self.seed,
            known=known_of(self.known),
            played=self.played,
            rules=self.spec.episodes,
            baseline=self.spec.baseline and self.adapt,
        )

    def failed(self, sample: Sample, why: str) -> Record:
        record, known = failed(sample, self.seed, why), self.known.get(sample.id)
        return replace(record, costs=known.costs) if known else record
