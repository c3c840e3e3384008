"""References used as predictions are right; those that no valid answer matches are known.

`known_bad_gold.json` lists rows whose own reference does not score 1 (id: why). It is empty: the
scorer holds references and predictions to the same normal form. `ttsi_benchmarks/known_bad.json`
lists something else: rows whose reference is right only for an answer that breaks the schema.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ttsi.answers.calls import Switches
from ttsi.answers.calls.normalise import normalise
from ttsi.answers.calls.predicted import of_text
from ttsi.answers.calls.validation import argument_faults
from ttsi.answers.calls.values import ToolCall, calls_in
from ttsi.protocols import Benchmark
from ttsi.types import Completion, Sample
from ttsi_benchmarks.apibank import ApiBank
from ttsi_benchmarks.bfcl import Bfcl
from ttsi_benchmarks.known_bad import known_bad
from ttsi_benchmarks.nexusraven import NexusRaven
from ttsi_benchmarks.quickstart import Quickstart
from ttsi_benchmarks.sealtool import SealTool
from ttsi_benchmarks.sealtool_full import SealToolFull
from ttsi_benchmarks.toolalpaca import ToolAlpaca
from ttsi_plugins.scorers.exact import Exact

NOT_REPLAYABLE: dict[str, str] = json.loads(
    Path(__file__).with_name("known_bad_gold.json").read_text(encoding="utf-8")
)
BENCHMARKS: list[Benchmark] = [
    ApiBank(),
    Bfcl(),
    NexusRaven(),
    Quickstart(),
    SealTool(),
    SealToolFull(),
    ToolAlpaca(),
]
every_benchmark = pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda b: type(b).__name__)


def as_text(calls: Sequence[ToolCall], template: str) -> str:
    return template % json.dumps([call.as_json() for call in calls], ensure_ascii=False)


def wrong(
    benchmark: Benchmark, samples: Sequence[Sample], answers: Sequence[Completion]
) -> set[str]:
    scorer = Exact(**benchmark.scoring)
    return {
        sample.id
        for sample, answer in zip(samples, answers, strict=True)
        if not scorer.score(sample.task, sample.reference, answer).correct
    }


def expected(samples: Sequence[Sample]) -> set[str]:
    return {sample.id for sample in samples} & NOT_REPLAYABLE.keys()


def test_no_row_is_excepted_from_replay() -> None:
    assert NOT_REPLAYABLE == {}


@every_benchmark
def test_calls_replayed_score_one(benchmark: Benchmark) -> None:
    samples = list(benchmark.samples())
    answers = [Completion("", sample.reference) for sample in samples]
    assert wrong(benchmark, samples, answers) == expected(samples)


@every_benchmark
@pytest.mark.parametrize(
    "template", ["%s", "Sure:\n```json\n%s\n```\nDone.", "<tool_call>\n%s\n</tool_call>"]
)
def test_text_replayed_scores_one(benchmark: Benchmark, template: str) -> None:
    samples = list(benchmark.samples())
    texts = [as_text(calls_in(sample.reference), template) for sample in samples]
    answers = [Completion(text, of_text(text, ())) for text in texts]
    assert wrong(benchmark, samples, answers) == expected(samples)


@every_benchmark
def test_another_rows_reference_is_wrong(benchmark: Benchmark) -> None:
    """Replay would also pass if everything scored 1; the references of other rows do not."""
    samples = [s for s in benchmark.samples() if calls_in(s.reference)]
    answers = [Completion("", samples[i - 1].reference) for i in range(len(samples))]
    same = {
        sample.id
        for i, sample in enumerate(samples)
        if [c.as_json() for c in calls_in(samples[i - 1].reference)]
        == [c.as_json() for c in calls_in(sample.reference)]
    }
    right = {sample.id for sample in samples} - wrong(benchmark, samples, answers)
    assert right == same


@every_benchmark
def test_known_bad_rows_are_those_that_break_their_schemas(benchmark: Benchmark) -> None:
    samples = list(benchmark.samples())
    listed = known_bad().keys() & {sample.id for sample in samples}
    assert {sample.id for sample in samples if faults(sample)} == listed


def test_known_bad_rows_exist_and_are_explained() -> None:
    ids = {sample.id for benchmark in BENCHMARKS for sample in benchmark.samples()}
    assert known_bad().keys() <= ids
    assert all(len(why) > 20 for why in known_bad().values())


def faults(sample: Sample) -> list[str]:
    """Return the faults of the reference after its values are typed as the scorer types them."""
    schemas = {tool.name: tool.schema for tool in sample.task.tools}
    found = []
    for call in calls_in(sample.reference):
        arguments = normalise(dict(call.arguments), schemas.get(call.name, {}), Switches())
        found += argument_faults(sample.task.tools, ToolCall(call.name, arguments))
    return found
