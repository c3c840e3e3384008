"""`sealtool_full`: rows, tools on offer, references to calls in values of any type."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import permutations
from typing import Any

import pytest
from engines import data
from grammars import can_write

from ttsi.answers.calls.validation import argument_faults
from ttsi.answers.calls.values import ToolCall, answer_with, calls_in
from ttsi.digests import json_digest
from ttsi.types import Completion, Sample
from ttsi_benchmarks import sealtool_full
from ttsi_benchmarks.sealtool_full import SealToolFull
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.scorers.exact import Exact

REFERENCE = re.compile(r"API_call_([0-9]+)")


def lines(name: str) -> list[dict[str, Any]]:
    text = data(f"seal_tools/{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return SealToolFull().samples()


@pytest.fixture(scope="module")
def nested() -> list[Sample]:
    return SealToolFull(kinds=["nested"]).samples()


# ---------------------------------------------------------------- rows


def test_rows_are_those_of_the_file(samples: list[Sample]) -> None:
    rows = lines("test_in_domain")
    assert [sample.id for sample in samples] == [f"sealtool_full/{i}" for i in range(700)]
    for sample, row in zip(samples, rows, strict=True):
        assert sample.task.input == row["query"]
        assert [call.name for call in calls_in(sample.reference)] == [
            c["api"] for c in row["calling"]
        ]
        for call, given in zip(calls_in(sample.reference), row["calling"], strict=True):
            plain = {k: v for k, v in given["parameters"].items() if "API_call" not in str(v)}
            assert plain == {k: v for k, v in call.arguments.items() if k in plain}
            assert call.arguments.keys() == given["parameters"].keys()


def test_the_file_is_that_of_the_manifest() -> None:
    manifest = {row["file"]: row for row in json.loads(data("MANIFEST.json").read_text())}
    row = manifest["seal_tools/test_in_domain.jsonl"]
    asset = sealtool_full.TEST
    assert (asset.name, asset.sha256, asset.license) == (row["file"], row["sha256"], row["license"])
    path = f"{row['repository']}/{row['commit']}/{row['upstream_path']}"
    assert asset.url == f"https://raw.githubusercontent.com/{path}"


def test_kinds_part_the_rows(samples: list[Sample]) -> None:
    by_kind = {kind: SealToolFull(kinds=[kind]).samples() for kind in sealtool_full.KINDS}
    counts = {kind: len(rows) for kind, rows in by_kind.items()}
    assert counts == {"single": 200, "multiple": 470, "nested": 30}
    assert all(len(calls_in(sample.reference)) == 1 for sample in by_kind["single"])
    assert all(
        len(calls_in(sample.reference)) > 1 for sample in by_kind["nested"] + by_kind["multiple"]
    )
    assert Counter(row.id for rows in by_kind.values() for row in rows) == Counter(
        row.id for row in samples
    )
    names = [[call.name for call in calls_in(sample.reference)] for sample in samples]
    assert sum(len(set(some)) < len(some) for some in names) == 1


def test_the_development_rows_are_another_split_and_the_training_rows(
    samples: list[Sample],
) -> None:
    dev = SealToolFull(split="dev").samples()
    assert [sample.id for sample in dev] == [f"sealtool_full/dev/{i}" for i in range(700)]
    train = SealToolFull().train()
    assert [sample.id for sample in train] == [f"sealtool_full/train/{i}" for i in range(700)]
    assert {s.task.input for s in train}.isdisjoint(s.task.input for s in samples)
    assert [s.reference for s in train] == [s.reference for s in dev]
    single = SealToolFull(kinds=["single"], limit=3).train()
    assert [s.id for s in single] == [f"sealtool_full/train/{i}" for i in range(200)]


# ---------------------------------------------------------------- tools on offer


@pytest.mark.parametrize("distractors", [0, 4, 20])
def test_the_tools_needed_are_on_offer_among_others(distractors: int) -> None:
    places: Counter[float] = Counter()
    for sample in SealToolFull(distractors=distractors, limit=100).samples():
        needed = {call.name for call in calls_in(sample.reference)}
        assert needed <= set(sample.task.tool_names)
        assert len(sample.task.tools) == len(needed) + distractors
        first = sample.task.tool_names.index(calls_in(sample.reference)[0].name)
        places[first / len(sample.task.tools)] += 1
    if distractors:
        assert len(places) > 4
        assert places[0.0] < 50


def test_the_draw_depends_on_the_sample_and_the_seed_alone(samples: list[Sample]) -> None:
    every = {sample.id: sample for sample in samples}
    assert all(every[s.id] == s for s in SealToolFull(limit=7, kinds=["multiple"]).samples())
    other = SealToolFull(tools_seed=1).samples()
    same = [a.task.tool_names == b.task.tool_names for a, b in zip(samples, other, strict=True)]
    assert not any(same)
    drawn = Counter(
        name
        for sample in samples
        for name in set(sample.task.tool_names) - {call.name for call in calls_in(sample.reference)}
    )
    assert sum(drawn.values()) == 4 * 700
    assert len(drawn) > 1500
    assert max(drawn.values()) < 10


def test_the_rows_are_the_same_in_every_process(samples: list[Sample]) -> None:
    code = (
        "from ttsi.digests import json_digest;"
        "from ttsi_benchmarks.sealtool_full import SealToolFull;"
        "print(json_digest([sample.digest for sample in SealToolFull().samples()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == json_digest([sample.digest for sample in samples])


# ---------------------------------------------------------------- references to calls


def test_references_name_earlier_calls_by_their_place(nested: list[Sample]) -> None:
    rows = lines("test_in_domain")
    count = 0
    for sample in nested:
        calling = rows[int(sample.id.split("/")[1])]["calling"]
        for place, (call, given) in enumerate(
            zip(calls_in(sample.reference), calling, strict=True)
        ):
            for name, value in given["parameters"].items():
                said = REFERENCE.findall(str(call.arguments[name]))
                meant = REFERENCE.findall(str(value))
                for number, result in zip(said, meant, strict=True):
                    assert int(number) < place
                    assert f"API_call_{result}" in calling[int(number)]["responses"]
                    count += 1
    assert count == 38


def typed(sample: Sample) -> list[tuple[ToolCall, str, Any]]:
    """Return the references to calls in parameters of other types than string."""
    schemas = {tool.name: tool.parameters["properties"] for tool in sample.task.tools}
    return [
        (call, name, value)
        for call in calls_in(sample.reference)
        for name, value in call.arguments.items()
        if REFERENCE.fullmatch(str(value)) and schemas[call.name][name]["type"] != "string"
    ]


def test_a_value_of_any_type_may_be_a_reference_and_no_other_text(nested: list[Sample]) -> None:
    found = [(sample, *each) for sample in nested for each in typed(sample)]
    assert len(found) == 6
    inference = Direct(format="tool_calls")
    for sample, call, name, _ in found:
        assert not argument_faults(sample.task.tools, call)
        assert can_write(sample.task, calls_in(sample.reference), inference)
        for value in ("five", "API_call_", "xAPI_call_0", True, None):
            wrong = ToolCall(call.name, {**call.arguments, name: value})
            assert argument_faults(sample.task.tools, wrong)
            assert not can_write(sample.task, [wrong], inference)
        number = ToolCall(call.name, {**call.arguments, name: 5})
        assert not argument_faults(sample.task.tools, number)
        assert can_write(sample.task, [number], inference)


def test_constrained_decoding_can_write_several_calls_and_no_more_than_it_may(
    nested: list[Sample],
) -> None:
    for sample in nested[:5]:
        calls = calls_in(sample.reference)
        assert can_write(sample.task, calls, Direct(format="tool_calls"))
        least = Direct(format="tool_calls", max_calls=len(calls))
        assert can_write(sample.task, calls, least)
        assert not can_write(sample.task, [*calls, calls[0]], least)


def right(sample: Sample, calls: list[ToolCall]) -> bool:
    answer = Completion("", answer_with(calls))
    scorer = Exact(**SealToolFull.scoring)
    return scorer.score(sample.task, sample.reference, answer).correct


def reordered(calls: tuple[ToolCall, ...], order: tuple[int, ...]) -> list[ToolCall]:
    """Return the calls in another order, with their references renumbered."""

    def moved(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return REFERENCE.sub(lambda found: f"API_call_{order.index(int(found[1]))}", value)

    return [
        ToolCall(calls[i].name, {name: moved(v) for name, v in calls[i].arguments.items()})
        for i in order
    ]


def test_calls_may_come_in_any_order_that_puts_results_before_their_use(
    nested: list[Sample],
) -> None:
    others = 0
    for sample in nested:
        calls = calls_in(sample.reference)
        uses = {
            place: {int(k) for v in call.arguments.values() for k in REFERENCE.findall(str(v))}
            for place, call in enumerate(calls)
        }
        for order in permutations(range(len(calls))):
            sound = all(
                order.index(used) < order.index(place) for place in order for used in uses[place]
            )
            assert right(sample, reordered(calls, order)) == sound, (sample.id, order)
            others += sound
    assert others > len(nested)


def test_a_reference_to_another_call_is_wrong(nested: list[Sample]) -> None:
    for sample in nested:
        for place, call in enumerate(calls_in(sample.reference)):
            for name, value in call.arguments.items():
                for number in map(int, REFERENCE.findall(str(value))):
                    for other in range(len(calls_in(sample.reference)) + 1):
                        text = REFERENCE.sub(f"API_call_{other}", value)
                        changed = ToolCall(call.name, {**call.arguments, name: text})
                        calls = [*calls_in(sample.reference)]
                        calls[place] = changed
                        assert right(sample, calls) == (other == number), (sample.id, other)


def test_numbers_written_as_text_are_read_beside_references(samples: list[Sample]) -> None:
    """The schema's first type is the parameter's own, so "4" is 4 as in `sealtool`."""
    compared = 0
    for sample in samples[:200]:
        (call,) = calls_in(sample.reference)
        schemas = {tool.name: tool.parameters["properties"] for tool in sample.task.tools}
        properties = schemas[call.name]
        for name, value in call.arguments.items():
            if properties[name]["type"] == ["integer", "string"]:
                swapped = int(value) if isinstance(value, str) else str(value)
                assert right(sample, [ToolCall(call.name, {**call.arguments, name: swapped})])
                wrong = ToolCall(call.name, {**call.arguments, name: int(value) + 1})
                assert not right(sample, [wrong])
                compared += 1
    assert compared > 20
