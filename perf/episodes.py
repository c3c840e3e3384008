"""Episodes: a wave of them, against one after another; and what each of their steps reads.

The base model alone plays the same episodes three times: all in lockstep; one after the other, by
the same engine; and one after the other by generate of transformers, which reads the whole
conversation at each step. All answers must be the same. Of the second, every prompt is compared
with what was read of it: a step must read no more than what is new in it, and the last token, for
its logits.

    episodes      seconds of an episode, against both
    steps         tokens of a prompt, new ones, and those read, by the number of the step

    python -m perf.episodes
    python -m perf.episodes --benchmark bfcl_multi_turn --most-steps 6 --no-generate
    python -m perf.episodes --samples 2 --pairs 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

from perf.common import Bench, Unequal, arguments, samples
from perf.floor import decoding_seconds, distinct, forward
from perf.profile import shares
from perf.references.generate import Writer
from perf.references.writing import WritingEngine
from perf.result import LEAST_PAIRS, about, compare, report, versions, write
from perf.timing import Side, take_turns
from perf.variants import SEED, generator
from ttsi.answers.calls.values import calls_in
from ttsi.protocols import Engine
from ttsi.running.episodes import play
from ttsi.solving.pipeline import Pipeline, Stages
from ttsi.spec import Episodes
from ttsi.types import Completion, Generation, Played, Record, Request, Sample
from ttsi_plugins.engines.transformers.prefixes import common
from ttsi_plugins.estimators.constant import Never
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.learners.lora_sft import LoraSft

_LEAST_CALLS = 3


def main() -> None:
    parser = arguments(__doc__ or "", samples=16, units="episodes of the wave")
    add = parser.add_argument
    add("--benchmark", default="apibank_dialogues", help="of episodes (default: %(default)s)")
    add("--most-steps", type=int, default=8, help="steps of an episode (default: %(default)s)")
    add("--tokens", type=int, default=64, help="most tokens of an answer (default: %(default)s)")
    add("--no-generate", action="store_true", help="leave out generate of transformers")
    given = parser.parse_args()
    bench = Bench(given.model, given.device, given.dtype, max_batch=given.samples)
    rows = samples(
        given.benchmark, given.samples, lambda row: len(calls_in(row.reference)) >= _LEAST_CALLS
    )
    rules = Episodes(most_steps=given.most_steps)
    # Where answers without a call end a turn, they have to be allowed.
    least = 0 if given.benchmark == "bfcl_multi_turn" else 1
    answers = Direct(
        format="tool_calls", decoding="greedy", min_calls=least, max_tokens=given.tokens
    )

    def side(name: str, engine: Engine, wave: int, prepare: Callable[[], object]) -> Side:
        run = partial(played, pipeline(engine, answers), rows, wave, rules)
        return Side(name, run, work=len(rows), prepare=prepare)

    ours = side(f"ours, a wave of {len(rows)}", bench.engine, len(rows), bench.forget)
    alone = side("ours, one after another", bench.engine, 1, bench.forget)
    sides = {("ttsi, one episode after another", versions()["ttsi"]): alone}
    if not given.no_generate:
        writing = WritingEngine(bench.reference)
        name, version = Writer.name
        read = f"{name}, one episode after another"
        sides[(read, version)] = side("generate", writing, 1, lambda: None)
    take_turns([ours, *sides.values()], given.pairs, bench.device)
    steps = steps_read(bench, answers, rows, rules)
    notes = f"{len(steps)} steps, {given.benchmark}"
    floor, profile = least_seconds(bench, steps), shares(ours, bench.device)
    for referee, other in sides.items():
        found = compare(
            "episodes" if other is alone else "episodes-generate",
            bench.machine,
            ours,
            other,
            referee=referee,
            samples=len(rows),
            unit="episode",
            equal=agreement(ours.result, other.result),
            floor=floor,
            profile=profile,
            notes=notes,
        )
        report(found, given.out)
    tell(bench, given.benchmark, steps, given.out if given.pairs >= LEAST_PAIRS else None)


def pipeline(engine: Engine, answers: Direct) -> Pipeline:
    """Return the base model's answers on `engine`: nothing is uncertain."""
    stages = Stages(Never(), generator("exact"), LoraSft(), answers)
    return Pipeline(stages, engine, seed=SEED)


def played(made: Pipeline, rows: Sequence[Sample], wave: int, rules: Episodes) -> list[Record]:
    """Return the records in the order of the rows. Raises Unequal if an episode failed."""
    found: dict[str, Record] = {}
    for start in range(0, len(rows), wave):
        some = play(made, rows[start : start + wave], SEED, rules=rules, played={}, baseline=True)
        found |= {each.id: each for each in some if isinstance(each, Record)}
    failures = [each.error for each in found.values() if each.error]
    if failures:
        raise Unequal(f"an episode failed: {failures[0]}")
    return [found[row.id] for row in rows]


def agreement(mine: Sequence[Record], theirs: Sequence[Record]) -> str:
    """Return the assertion in words. Raises Unequal if an answer differs."""
    pairs = list(zip(texts(mine), texts(theirs), strict=True))
    same = sum(one == other for one, other in pairs)
    if same < len(pairs):
        raise Unequal(f"only {same} of {len(pairs)} episodes have the same answers")
    return (
        f"same greedy text in all {sum(len(one) for one, _ in pairs)} steps of all {same} episodes"
    )


def texts(records: Sequence[Record]) -> list[list[str]]:
    return [[step.answer.text for step in record.steps] for record in records]


# ---------------------------------------------------------------- what a step reads


@dataclass(frozen=True)
class StepRead:
    """A step's prompt as ids, how many of them follow the step before, and how many were read."""

    number: int
    ids: Sequence[int]
    new: int
    read: int
    answer: Completion


class Watching:
    """An engine that keeps the prompt of the last answer, and counts what is read of prompts."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.prompt: list[int] = []
        self.read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bench.engine, name)

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.prompt = self._bench.engine._runtime().tokens.prompt(requests[-1].prompt)
        with self._counting():
            return self._bench.engine.generate(requests)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        reader = self._bench.engine._runtime().reader
        run, self.read = reader.run, 0

        def counted(some: Any) -> Any:
            self.read += sum(len(text.ids) for text in some)
            return run(some)

        reader.run = counted
        try:
            yield
        finally:
            del reader.run


def steps_read(
    bench: Bench, answers: Direct, rows: Sequence[Sample], rules: Episodes
) -> list[StepRead]:
    """Play one episode after another; return what each step read. Raises Unequal if too much."""
    bench.forget()
    engine: Any = Watching(bench)
    made, found = pipeline(engine, answers), []
    for row in rows:
        before: list[int] = []
        for each in play(made, [row], SEED, rules=rules, played={}, baseline=True):
            if isinstance(each, Played):
                new = len(engine.prompt) - common(engine.prompt, before)
                step = StepRead(each.number, engine.prompt, new, engine.read, each.step.answer)
                # The last token is always read, for its logits.
                if step.read > new + 1:
                    raise Unequal(f"{row.id}@{each.number} read {step.read} tokens, {new} are new")
                found.append(step)
                before = engine.prompt
    return found


def least_seconds(bench: Bench, steps: Sequence[StepRead]) -> float:
    """Return the least seconds of reading what is distinct and of decoding it in batches."""
    read = forward(bench.shape, *distinct([step.ids for step in steps]), logits=len(steps))
    written = decoding_seconds(
        bench.shape,
        bench.rates,
        [len(step.ids) for step in steps],
        [step.answer.completion_tokens - 1 for step in steps],
        itemsize=bench.dtype.itemsize,
    )
    return read / bench.rates.flops_per_second + written


def tell(bench: Bench, benchmark: str, steps: Sequence[StepRead], folder: Any) -> None:
    """Print the tokens of each step by its number, and keep them in `folder`, if it is given."""
    rows = []
    for number in sorted({step.number for step in steps}):
        some = [step for step in steps if step.number == number]
        tokens = {
            "prompt": median(len(step.ids) for step in some),
            "new": median(step.new for step in some),
            "read": median(step.read for step in some),
        }
        rows.append({"number": number, "episodes": len(some), **tokens})
        told = ", ".join(f"{name} {count:g}" for name, count in tokens.items())
        print(f"  step {number + 1} of {len(some)} episodes, median tokens: {told}")
    if folder is not None:
        machine = {key: asdict(bench.machine)[key] for key in ("device", "model")}
        values = {"stage": "steps", "benchmark": benchmark, "machine": about(bench.machine)}
        values |= {"versions": versions()}
        print(f"  {write({**machine, **values, 'steps': rows}, folder)} written")


if __name__ == "__main__":
    main()
