"""`ttsi score`: numbers that add up, from a file alone; faults are reported with their line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ttsi import registry
from ttsi.answers.calls.values import Reason, calls_in
from ttsi.cli.main import main
from ttsi.cli.score import tally
from ttsi.types import Sample, Score


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    found: list[Sample] = registry.load("benchmarks", "quickstart")().samples()  # type: ignore[attr-defined]
    return found


def gold(sample: Sample) -> dict[str, Any]:
    return {"id": sample.id, "calls": [call.as_json() for call in calls_in(sample.reference)]}


def gold_text(sample: Sample) -> dict[str, Any]:
    calls = json.dumps([call.as_json() for call in calls_in(sample.reference)])
    return {"id": sample.id, "text": f"Sure:\n```json\n{calls}\n```"}


def write(path: Path, rows: list[Any]) -> str:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def score(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["score", *arguments, "--json"]) == 0
    results: dict[str, Any] = json.loads(capsys.readouterr().out)
    return results


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["score", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "cure:" in captured.err
    return captured.err


def gold_answer(sample: Sample) -> dict[str, Any]:
    return {"id": sample.id, "answer": sample.reference.value}


def gold_message(sample: Sample) -> dict[str, Any]:
    return {"id": sample.id, "message": {"content": None, "tool_calls": openai(sample)}}


@pytest.mark.parametrize("form", [gold, gold_text, gold_answer, gold_message])
def test_references_score_exactly_one(
    form: Any, samples: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "p.jsonl", [form(sample) for sample in samples])
    results = score(capsys, file, "--benchmark", "quickstart")
    assert results.pop("revision") == registry.load("benchmarks", "quickstart")().revision()  # type: ignore[attr-defined]
    low, high = results.pop("accuracy_interval")
    assert 0.9 < low < high == pytest.approx(1.0)
    assert results == {
        "benchmark": "quickstart",
        "scorer": "exact@1",
        "samples": len(samples),
        "correct": len(samples),
        "wrong": 0,
        "missing": 0,
        "missing_ids": [],
        "accuracy": 1.0,
        "reasons": {},
    }


def test_every_sample_counts(
    samples: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    n = len(samples)
    rows = [
        gold(samples[0]),
        {"id": samples[1].id, "text": "I cannot."},
        {"id": samples[2].id, "text": '[{"name": "f", '},
        {"id": samples[3].id, "calls": []},
        {"id": samples[4].id, "calls": None},
        {
            "id": samples[5].id,
            "calls": [{"name": "no_such_tool"}] * len(calls_in(samples[5].reference)),
        },
    ]
    results = score(capsys, write(tmp_path / "p.jsonl", rows), "--benchmark", "quickstart")
    assert results["samples"] == n
    assert (results["correct"], results["wrong"], results["missing"]) == (1, 5, n - 6)
    assert results["reasons"] == {"no_call": 2, "unparsable": 2, "wrong_name": 1}
    assert results["missing_ids"] == [sample.id for sample in samples[6:]]
    assert results["accuracy"] == 1 / n
    interval = binomtest(1, n).proportion_ci(0.95, method="wilson")
    assert results["accuracy_interval"] == [interval.low, interval.high]


def test_subset_counts_what_the_file_has(
    samples: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "p.jsonl", [gold(samples[3]), {"id": samples[1].id, "text": ""}])
    results = score(capsys, file, "--benchmark", "quickstart", "--subset")
    assert (results["samples"], results["correct"], results["missing"]) == (2, 1, 0)
    assert results["accuracy"] == 0.5


def test_table(samples: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "p.jsonl", [gold(samples[0]), {"id": samples[1].id, "text": "?"}])
    assert main(["score", file, "--benchmark", "quickstart"]) == 0
    table = capsys.readouterr().out
    rows = dict(line.split(None, 1) for line in table.splitlines() if line[:1].strip())
    n = len(samples)
    assert rows["samples"].strip() == str(n)
    assert rows["correct"].strip() == "1"
    assert rows["missing"].strip() == str(n - 2)
    assert rows["accuracy"].startswith(f"{100 / n:.1f} %")
    assert f"and {n - 7} more" in table


def test_scorer_options_go_before_the_preset(
    samples: list[Sample],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sample = next(sample for sample in samples if len(calls_in(sample.reference)) > 1)
    turned = {
        "id": sample.id,
        "calls": [call.as_json() for call in reversed(calls_in(sample.reference))],
    }
    file = write(tmp_path / "p.jsonl", [turned])
    command = (file, "--benchmark", "quickstart", "--subset")
    assert score(capsys, *command)["correct"] == 1
    assert score(capsys, *command, "--scorer-option", "ordered=true")["correct"] == 0
    benchmark = registry.load("benchmarks", "quickstart")
    monkeypatch.setattr(benchmark, "scoring", {"ordered": True})
    assert score(capsys, *command)["correct"] == 0
    assert score(capsys, *command, "--scorer-option", "ordered=false")["correct"] == 1


def test_benchmark_options(
    samples: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "p.jsonl", [gold(samples[0])])
    limited = score(capsys, file, "--benchmark", "quickstart", "--benchmark-option", "limit=5")
    assert (limited["samples"], limited["correct"]) == (5, 1)


UNREADABLE = [
    '"text": null',
    '"text": 5',
    '"text": "[{\\"name\\": \\"f\\", "',
    '"answer": null',
    '"answer": "nonsense"',
    '"answer": 5',
    '"answer": {"name": "f"}',
    '"answer": [{"city": "Oslo"}]',
    '"answer": [{"name": "f", "arguments": {"a": NaN}}]',
    '"answer": [{"name": "f", "arguments": {"a": 1, "a": 2}}]',
    '"answer": ' + "9" * 5000,
    '"answer": ' + "[" * 500 + "]" * 500,
    '"answer": ' + "[" * 30_000 + "]" * 30_000,
    '"calls": null',
    '"calls": "nonsense"',
    '"calls": [3]',
    '"calls": {"name": "f"}',
    '"calls": [{"city": "Oslo"}]',
    '"calls": [{"name": "f"}, {"name": "f", "arguments": "{\\"a\\": \\"8"}]',
    '"calls": [{"name": "f", "arguments": {"a": NaN}}]',
    '"calls": [{"name": "f", "arguments": {"a": [-Infinity]}}]',
    '"calls": [{"name": "f", "arguments": {"a": 1e999}}]',
    '"calls": [{"name": "f", "arguments": {"a": 1, "a": 2}}]',
    '"calls": ' + "9" * 5000,
    '"calls": ' + "[" * 500 + "]" * 500,
    '"calls": ' + "[" * 30_000 + "]" * 30_000,
    '"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{"}}]',
    '"message": {"content": "", "function_call": {"name": "f", "arguments": "{"}}',
    '"message": {"function_call": {"name": "f"}, "tool_calls": [{"function": {"name": "f"}}]}',
    '"message": {"content": [{"type": "text", "text": 3}]}',
    '"message": null',
    '"message": {}',
    '"message": {"content": null, "tool_calls": null}',
    '"message": {"content": "<tool_call>{", "tool_calls": [{"function": {"name": "f"}}]}',
]


@pytest.mark.parametrize("answer", UNREADABLE, ids=lambda text: text[:40])
def test_one_answer_that_cannot_be_read_is_wrong_and_the_rest_is_scored(
    answer: str, samples: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [gold(samples[0]), f'{{"id": "{samples[1].id}", {answer}}}', gold(samples[2])]
    results = score(capsys, write(tmp_path / "p.jsonl", rows), "--benchmark", "quickstart")
    assert (results["correct"], results["wrong"]) == (2, 1)
    assert results["reasons"] == {"unparsable": 1}


def openai(sample: Sample) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{at}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for at, call in enumerate(calls_in(sample.reference))
    ]


def test_messages_and_tool_calls_of_openai_are_read(
    samples: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [call.as_json() for call in calls_in(samples[3].reference)]
    gold5 = [call.as_json() for call in calls_in(samples[5].reference)]
    rows: list[Any] = [
        {"id": samples[0].id, "tool_calls": openai(samples[0])},
        {"id": samples[1].id, "message": {"content": None, "tool_calls": openai(samples[1])}},
        {"id": samples[2].id, "message": {"content": "Sure:", "tool_calls": openai(samples[2])}},
        {"id": samples[3].id, "message": {"role": "assistant", "content": json.dumps(said)}},
        {
            "id": samples[5].id,
            "message": {"content": [{"type": "text", "text": json.dumps(gold5)}]},
        },
        {
            "id": samples[6].id,
            "message": {"content": None, "function_call": openai(samples[6])[0]["function"]},
        },
        # Calls in the content are calls, too: this makes each twice.
        {
            "id": samples[4].id,
            "message": {
                "content": json.dumps([call.as_json() for call in calls_in(samples[4].reference)]),
                "tool_calls": openai(samples[4]),
            },
        },
    ]
    results = score(capsys, write(tmp_path / "p.jsonl", rows), "--benchmark", "quickstart")
    assert (results["correct"], results["reasons"]) == (6, {"wrong_count": 1})


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"id": "quickstart/1", "text": ', "The line is not JSON"),
        ("[1]", 'not an object with an "id"'),
        ('{"text": "x"}', 'not an object with an "id"'),
        ('{"id": 1, "text": "x"}', 'not an object with an "id"'),
        ('{"id": "quickstart/1"}', "one of text, calls, tool_calls, message, answer"),
        ('{"id": "quickstart/1", "text": "", "calls": []}', "one of text, calls"),
        ('{"id": "quickstart/1", "calls": [], "answer": []}', "one of text, calls"),
        ('{"id": "quickstart/1", "calls": [], "id": "x"}', "'id' stands twice"),
        ('{"calls": ' + "[" * 10**5, "nested too deep"),
        ('{"id": "quickstat/1", "text": ""}', 'Did you mean "quickstart/1"?'),
        ('{"id": "sealtool/1", "text": ""}', "has no sample 'sealtool/1'"),
        ('{"id": "quickstart/0", "text": ""}', "predicted twice: here and on line 1"),
    ],
    ids=lambda text: text[:40],
)
def test_faults_are_told_with_their_line(
    line: str,
    says: str,
    samples: list[Sample],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write(tmp_path / "p.jsonl", [gold(samples[0]), "", line])
    message = fails(capsys, file, "--benchmark", "quickstart")
    assert says in message
    assert f"{file}, line 3" in message


def test_bytes_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "p.jsonl"
    file.write_bytes(b'\n{"id": "\xff"}\n')
    assert "line 2" in fails(capsys, str(file), "--benchmark", "quickstart")


def test_separators_that_are_no_line_ends(
    samples: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = json.dumps({**gold(samples[0]), "note": "a\u2028b\x85c"}, ensure_ascii=False)
    file = tmp_path / "p.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + row.encode() + b"\r\n\r\n")
    assert score(capsys, str(file), "--benchmark", "quickstart", "--subset")["correct"] == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--benchmark", "quickstat"], 'Did you mean "quickstart"?'),
        (["--benchmark", "quickstart", "--scorer", "exakt"], 'Did you mean "exact"?'),
        (
            ["--benchmark", "quickstart", "--scorer-option", "orderd=true"],
            'Did you mean "ordered"?',
        ),
        (["--benchmark", "quickstart", "--scorer-option", "ordered=maybe"], "is not of type"),
        (["--benchmark", "quickstart", "--scorer-option", "ordered"], "is not KEY=VALUE"),
        (["--benchmark", "quickstart", "--benchmark-option", "limit=0"], "less than the minimum"),
        (["--benchmark", "quickstart", "--subset"], "no predictions"),
        (["--benchmark", "bfcl_multi_turn"], "are episodes"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
def test_wrong_usage(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = write(tmp_path / "p.jsonl", [])
    assert says in fails(capsys, empty, *arguments)


def test_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, says in ((tmp_path / "none.jsonl", "There is no file"), (tmp_path, "is a folder")):
        assert says in fails(capsys, str(path), "--benchmark", "quickstart")


SCORES = st.one_of(
    st.none(), st.just(Score(True)), st.builds(Score, st.just(False), st.sampled_from(Reason))
)


@given(st.dictionaries(st.text(max_size=4), SCORES, max_size=30))
def test_numbers_add_up(scores: dict[str, Score | None]) -> None:
    results = tally(scores)
    assert results["samples"] == len(scores)
    assert results["samples"] == results["correct"] + results["wrong"] + results["missing"]
    assert results["wrong"] == sum(results["reasons"].values())
    assert results["missing"] == len(results["missing_ids"])
    if scores:
        low, high = results["accuracy_interval"]
        assert 0 <= low <= results["accuracy"] <= high <= 1
    else:
        assert (results["accuracy"], results["accuracy_interval"]) == (None, None)


def test_no_heavy_package_is_imported(samples: list[Sample], tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", [gold(samples[0])])
    program = (
        "import sys; from ttsi.cli.main import main; "
        f"code = main(['score', {file!r}, '--benchmark', 'quickstart', '--json']); "
        "heavy = {'torch', 'transformers', 'peft', 'xgrammar', 'vllm', 'openai', 'ray'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
