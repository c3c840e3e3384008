"""Properties of every installed scorer, and of reading calls back from text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsi import registry
from ttsi.answers import form_of
from ttsi.answers.calls.parse import parse_calls
from ttsi.answers.calls.values import ToolCall, answer_with, calls_in
from ttsi.protocols import Scorer
from ttsi.types import DECLINED, UNPARSABLE, AnswerStatus, Completion, Sample, Task, Tool

SCORERS = sorted(registry.discover("scorers"))
BENCHMARKS = [
    name
    for name, plugin in registry.discover("benchmarks").items()
    if plugin.builtin and name != "file"  # that one has no rows but those of its user
]

TOOLS = (
    Tool(
        "book",
        "book a table",
        {
            "type": "object",
            "properties": {
                "guests": {"type": "integer", "default": 2},
                "name": {"type": "string"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "extra": {"type": "object", "properties": {"a": {"type": "number"}}},
            },
            "required": ["name"],
        },
    ),
    Tool("list", "list the tables", {"type": "object", "properties": {}}),
)
TASK = Task("t/0", TOOLS, "instruction", "input")

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["5", "007", "true", "None", "[1]", "{'a': 1}", "it's", "</tool_call>"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["guests", "name", "tags", "extra", "other"]), VALUES, max_size=3
)
CALLS = st.builds(ToolCall, st.sampled_from(["book", "list", "a.b", "unknown"]), ARGUMENTS)
CALL_LISTS = st.lists(CALLS, max_size=4)


@pytest.fixture(params=SCORERS, scope="module")
def scorer(request: pytest.FixtureRequest) -> Scorer:
    made: Scorer = registry.load("scorers", request.param)()
    return made


def right(scorer: Scorer, reference: Sequence[ToolCall], calls: Sequence[ToolCall]) -> bool:
    score = scorer.score(TASK, answer_with(reference), Completion("", answer_with(calls)))
    assert (score.reason is None) == score.correct
    score.detail.encode()
    return score.correct


def test_there_is_a_scorer_and_a_benchmark() -> None:
    assert "exact" in SCORERS
    assert {"quickstart", "sealtool", "apibank", "nexusraven", "toolalpaca"} <= set(BENCHMARKS)


@given(calls=CALL_LISTS)
def test_the_reference_is_right(scorer: Scorer, calls: list[ToolCall]) -> None:
    assert right(scorer, calls, calls)


@given(data=st.data(), reference=CALL_LISTS, calls=CALL_LISTS)
def test_the_order_of_parallel_calls_changes_nothing(
    scorer: Scorer, data: st.DataObject, reference: list[ToolCall], calls: list[ToolCall]
) -> None:
    assert right(scorer, reference, data.draw(st.permutations(reference)))
    shuffled = data.draw(st.permutations(calls))
    assert right(scorer, reference, shuffled) == right(scorer, reference, calls)


@given(reference=CALL_LISTS)
def test_the_order_of_keys_changes_nothing(scorer: Scorer, reference: list[ToolCall]) -> None:
    turned = [ToolCall(call.name, _turned(call.arguments)) for call in reference]
    assert right(scorer, reference, turned)


def _turned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _turned(value[key]) for key in reversed(value)}
    return [_turned(item) for item in value] if isinstance(value, list) else value


@given(data=st.data(), reference=CALL_LISTS, calls=CALL_LISTS, more=CALLS)
def test_a_superfluous_call_never_helps(
    scorer: Scorer,
    data: st.DataObject,
    reference: list[ToolCall],
    calls: list[ToolCall],
    more: ToolCall,
) -> None:
    for answer in (reference, calls):
        if len(answer) >= len(reference):
            place = data.draw(st.integers(0, len(answer)))
            assert not right(scorer, reference, [*answer[:place], more, *answer[place:]])


@given(reference=st.lists(CALLS, min_size=1, max_size=4), data=st.data())
def test_a_duplicate_never_helps(
    scorer: Scorer, reference: list[ToolCall], data: st.DataObject
) -> None:
    twice = data.draw(st.sampled_from(reference))
    assert not right(scorer, reference, [*reference, twice])
    assert not right(scorer, reference, reference * 2)


@given(reference=CALL_LISTS, calls=CALL_LISTS)
def test_being_right_is_symmetric(
    scorer: Scorer, reference: list[ToolCall], calls: list[ToolCall]
) -> None:
    assert right(scorer, reference, calls) == right(scorer, calls, reference)


@given(reference=CALL_LISTS)
def test_what_cannot_be_read_is_wrong(scorer: Scorer, reference: list[ToolCall]) -> None:
    broken = scorer.score(TASK, answer_with(reference), Completion("{", UNPARSABLE))
    silent = scorer.score(TASK, answer_with(reference), Completion("", DECLINED))
    assert not broken.correct
    assert silent.correct == (not reference)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_reference_replayed_as_an_answer_is_right(scorer: Scorer, name: str) -> None:
    samples: list[Sample] = list(registry.load("benchmarks", name)().samples())  # type: ignore[attr-defined]
    assert len(samples) >= 24
    wrong = []
    for sample in samples:
        for text in written(sample):
            answer = Completion(text, form_of(sample.task).parse(sample.task, text))
            if not scorer.score(sample.task, sample.reference, answer).correct:
                wrong.append((sample.id, text))
    assert wrong == []


def written(sample: Sample) -> list[str]:
    """Return the reference as models write calls, or as its form writes it."""
    if sample.task.form != "calls":
        return [form_of(sample.task).write(sample.task, sample.reference)]
    return [write(calls_in(sample.reference)) for write in (as_json, as_python, as_tags)]


# ---------------------------------------------------------------- text and back


def as_json(calls: Sequence[ToolCall]) -> str:
    return json.dumps([call.as_json() for call in calls])


def as_indented(calls: Sequence[ToolCall]) -> str:
    return json.dumps([call.as_json() for call in calls], indent=2, ensure_ascii=False)


def as_python(calls: Sequence[ToolCall]) -> str:
    return repr([call.as_json() for call in calls])


def as_tags(calls: Sequence[ToolCall]) -> str:
    blocks = [f"<tool_call>\n{json.dumps(call.as_json())}\n</tool_call>" for call in calls]
    return "\n".join(blocks) or "[]"


def as_one_tag(calls: Sequence[ToolCall]) -> str:
    return f"<tool_call>{as_json(calls)}</tool_call>"


def as_row_in_a_tag(calls: Sequence[ToolCall]) -> str:
    return "<tool_call>" + ("\n".join(json.dumps(c.as_json()) for c in calls) or "[]")


def as_fence(calls: Sequence[ToolCall]) -> str:
    return f"```json\n{as_indented(calls)}\n```"


def as_prose(calls: Sequence[ToolCall]) -> str:
    return f"I'll look [here] first (it's {{quick}}): {as_json(calls)}. Is [that] what you 'want'?"


def as_other_words(calls: Sequence[ToolCall]) -> str:
    return json.dumps([{"api": c.name, "parameters": json.dumps(c.arguments)} for c in calls])


def as_openai(calls: Sequence[ToolCall]) -> str:
    return json.dumps(
        [
            {
                "id": f"call_{i}",
                "type": "function",
                "function": {"name": c.name, "arguments": json.dumps(c.arguments)},
            }
            for i, c in enumerate(calls)
        ]
    )


WRITERS = [as_json, as_indented, as_python, as_tags, as_one_tag, as_row_in_a_tag, as_fence,
           as_prose, as_other_words, as_openai]  # fmt: skip


@pytest.mark.parametrize("write", WRITERS)
@given(calls=CALL_LISTS)
def test_calls_are_read_back_from_text(
    write: Callable[[Sequence[ToolCall]], str], calls: list[ToolCall]
) -> None:
    text = write(calls)
    parsed = parse_calls(text)
    assert parsed.status is AnswerStatus.OK
    # As text, because Python takes 1, 1.0 and True for equal.
    assert as_json(parsed.calls) == as_json(calls)
    assert parsed.span is not None
    start, end = parsed.span
    assert text[start] in "[{"
    assert text[end - 1] in "]}"


@given(calls=st.lists(CALLS, min_size=1, max_size=3), data=st.data())
def test_calls_cut_short_are_never_read_as_fewer_calls(
    calls: list[ToolCall], data: st.DataObject
) -> None:
    for text in (as_json(calls), as_python(calls)):
        cut = data.draw(st.integers(0, len(text) - 1))
        assert parse_calls(text[:cut]).calls == ()
