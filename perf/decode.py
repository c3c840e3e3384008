"""Decoding: greedy answers to Seal-Tools tasks, against transformers' generate.

Our engine decodes all requests together; generate does so one at a time and as one batch. Texts are
free, or constrained by the schema of valid calls (in generate by xgrammar's own processor, with the
same schema). The prompts' KV caches are in memory when the clock starts, on all sides: in the
pipeline H has left them there, and a prompt's prefill is measured under H. With --cold the same is
measured with prefill, as separate stages.

    python -m perf.decode
    python -m perf.decode --cold --tokens 128 --device cuda

On two CPU cores the first takes seven minutes; --cold adds fifteen.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import takewhile

from perf.common import Bench, Unequal, arguments, samples
from perf.floor import decoding_seconds, distinct, forward
from perf.profile import shares
from perf.references.generate import Ids, Prefilled, Writer
from perf.result import compare, report
from perf.timing import Side, take_turns
from ttsi.types import Generation, Request
from ttsi_plugins.inference.direct import Direct


def main() -> None:
    parser = arguments(__doc__ or "", samples=16, units="requests decoded together")
    parser.add_argument("--tokens", type=int, default=24, help="most tokens of an answer")
    parser.add_argument("--formats", default="free,tool_calls", help="which, by commas")
    parser.add_argument("--cold", action="store_true", help="measure with the prompts' prefill too")
    given = parser.parse_args()
    bench = Bench(given.model, given.device, given.dtype, max_batch=given.samples)
    for form in given.formats.split(","):
        decoder = Direct(format=form, decoding="greedy", max_tokens=given.tokens)
        tasks = [row.task for row in samples("sealtool", given.samples)]
        requests = [decoder.request(task, None, 0) for task in tasks]
        name = "constrained" if form == "tool_calls" else form
        Comparison(bench, requests).measure(f"decode-{name}", given, cold=False)
        if given.cold:
            Comparison(bench, requests).measure(f"decode-{name}-cold", given, cold=True)


class Comparison:
    """The same requests, decoded by ours, and by generate one at a time and as one batch."""

    def __init__(self, bench: Bench, requests: Sequence[Request]) -> None:
        self.bench = bench
        self.requests = requests
        self.most = requests[0].sampling.max_tokens
        self.writer = Writer(bench.reference)
        self.prompts = [bench.prompt_ids(request.prompt) for request in requests]
        self.schemas = [request.grammar for request in requests]

    def measure(self, stage: str, given: argparse.Namespace, *, cold: bool) -> None:
        ours, single, batched = self.sides(cold=cold)
        take_turns([ours, single, batched], given.pairs, self.bench.device)
        ours.work = sum(made.completion_tokens for made in ours.result)
        floor, profile = self.floor(ours.result, cold=cold), shares(ours, self.bench.device)
        for suffix, how, side in (("", "one at a time", single), ("-batched", "batched", batched)):
            side.work = sum(map(len, side.result))
            name, version = self.writer.name
            report(
                compare(
                    stage + suffix,
                    self.bench.machine,
                    ours,
                    side,
                    referee=(f"{name}, {how}", version),
                    samples=len(self.requests),
                    unit="token",
                    equal=self.agreement(ours.result, side.result),
                    floor=floor,
                    profile=profile,
                    notes="with the prompts' prefill" if cold else "prompts' caches in memory",
                ),
                given.out,
            )

    def sides(self, *, cold: bool) -> tuple[Side, Side, Side]:
        bench, writer = self.bench, self.writer
        prompts = [request.prompt for request in self.requests]
        ready = bench.forget if cold else lambda: bench.keep_prefixes(prompts)
        fill = writer.padded if cold else writer.prefilled
        alone = [fill([prompt]) for prompt in self.prompts]
        together = [fill(self.prompts)]
        single, batched = Copies(alone), Copies(together)
        return (
            Side("ours", lambda: bench.engine.generate(self.requests), prepare=ready),
            Side(
                "generate, one at a time",
                lambda: [
                    writer.write(batch, self.most, [schema])[0]
                    for batch, schema in zip(single.fresh, self.schemas, strict=True)
                ],
                prepare=single.renew,
            ),
            Side(
                "generate, batched",
                lambda: writer.write(batched.fresh[0], self.most, self.schemas),
                prepare=batched.renew,
            ),
        )

    def floor(self, made: Sequence[Generation], *, cold: bool) -> float:
        """Return the least seconds: the first token comes from the prompt, the last is not fed."""
        bench, contexts = self.bench, [len(prompt) for prompt in self.prompts]
        seconds = decoding_seconds(
            bench.shape,
            bench.rates,
            contexts,
            [generation.completion_tokens - 1 for generation in made],
            itemsize=bench.dtype.itemsize,
        )
        if cold:
            prefill = forward(bench.shape, *distinct(self.prompts), logits=len(self.prompts))
            seconds += prefill / bench.rates.flops_per_second
        return seconds

    def agreement(self, made: Sequence[Generation], written: Sequence[Ids]) -> str:
        """Return the assertion in words. Raises Unequal if texts differ, except at near ties."""
        ties = []
        for row, (generation, ids) in enumerate(zip(made, written, strict=True)):
            if generation.text == self.writer.text(ids):
                continue
            step = self.first_difference(generation.text, ids)
            gap = self.writer.top_two_gap(self.prompts[row], self.schemas[row], step)
            if gap > self.bench.tolerance.logits:
                raise Unequal(f"row {row} differs at token {step}, where the gap is {gap:.3g}")
            ties.append(f"row {row} at token {step}, gap {gap:.1e}")
        if ties:
            return f"same greedy text but for near ties: {'; '.join(ties)}"
        return f"same greedy text in all {len(made)} rows"

    def first_difference(self, text: str, ids: Ids) -> int:
        """Return the step of the reference's text at which ours first differs."""
        lengths = range(1, len(ids) + 1)
        same = takewhile(lambda n: text.startswith(self.writer.text(ids[:n])), lengths)
        return min(sum(1 for _ in same), len(ids) - 1)


class Copies:
    """Prefilled prompts that a run uses up, and fresh copies of them."""

    def __init__(self, kept: Sequence[Prefilled]) -> None:
        self._kept = kept
        self.fresh: list[Prefilled] = []

    def renew(self) -> None:
        self.fresh = [batch.copy() for batch in self._kept]


if __name__ == "__main__":
    main()
