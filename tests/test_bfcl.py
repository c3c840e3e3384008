"""`bfcl`: its rows, where they come from, and our scoring beside BFCL's own checker."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import bfcl_agreement
import pytest
from engines import ROOT
from grammars import can_write
from jsonschema import Draft202012Validator

from ttsi.answers.calls.predicted import of_text
from ttsi.answers.calls.values import AnyOf, Reason, ToolCall, calls_in
from ttsi.cli.main import main
from ttsi.errors import CorruptAsset, MissingAsset
from ttsi.options import options_schema
from ttsi.types import DECLINED, Completion, Sample, Score
from ttsi_benchmarks import _bfcl_source
from ttsi_benchmarks._bfcl_rows import to_reference, to_tool
from ttsi_benchmarks._bfcl_source import ANSWERS, CATEGORIES, INSTALL, QUESTIONS, read_lines
from ttsi_benchmarks.bfcl import Bfcl
from ttsi_plugins.inference.direct import Direct
from ttsi_plugins.scorers.exact import Exact

pytestmark = pytest.mark.slow

ROWS = {
    "simple_python": 400,
    "multiple": 200,
    "parallel": 200,
    "parallel_multiple": 200,
    "irrelevance": 240,
}
FEW_CALLS = {2: 64, 3: 66, 4: 69, 5: 1}


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return Bfcl().samples()


# ---------------------------------------------------------------- the rows


def test_ids_are_places_upstream(samples: list[Sample]) -> None:
    expected = [f"bfcl/{name}/{i}" for name, count in ROWS.items() for i in range(count)]
    assert [sample.id for sample in samples] == expected
    for category, asset in QUESTIONS.items():
        assert [row["id"] for row in read_lines(asset)] == [
            f"{category}_{i}" for i in range(ROWS[category])
        ]
    for category, asset in ANSWERS.items():
        assert [row["id"] for row in read_lines(asset)] == [
            f"{category}_{i}" for i in range(ROWS[category])
        ]


def test_how_many_tools_and_calls_the_categories_have(samples: list[Sample]) -> None:
    shapes: dict[str, Counter[tuple[bool, int]]] = {name: Counter() for name in ROWS}
    for sample in samples:
        several = len(sample.task.tools) > 1
        shapes[sample.id.split("/")[1]][several, len(calls_in(sample.reference))] += 1
    assert shapes["simple_python"] == {(False, 1): 400}
    assert shapes["multiple"] == {(True, 1): 200}
    assert shapes["parallel"] == {
        (False, 2): 109, (False, 3): 52, (False, 4): 36, (False, 6): 1, (False, 8): 2
    }  # fmt: skip
    assert shapes["parallel_multiple"] == {
        (True, 2): 64,
        (True, 3): 66,
        (True, 4): 69,
        (True, 5): 1,
    }
    assert shapes["irrelevance"] == {(False, 0): 240}


def test_categories_choose_rows_in_the_order_of_the_set(samples: list[Sample]) -> None:
    chosen = Bfcl(categories=["irrelevance", "multiple"]).samples()
    assert chosen == samples[400:600] + samples[1000:]
    some = Bfcl(limit=5).samples()
    assert [sample.id for sample in some] == [samples[i * 248].id for i in range(5)]
    schema = options_schema(Bfcl)
    Draft202012Validator(schema).validate({"categories": list(CATEGORIES)})
    for wrong in ([], ["java"], ["multiple", "multiple"]):
        assert not Draft202012Validator(schema).is_valid({"categories": wrong})


def test_prompts_are_the_questions_and_schemas_are_closed(samples: list[Sample]) -> None:
    questions = [row["question"] for asset in QUESTIONS.values() for row in read_lines(asset)]
    for sample, question in zip(samples, questions, strict=True):
        assert sample.task.input == question[0][0]["content"].strip()
        assert len(set(sample.task.tool_names)) == len(sample.task.tools)
        for tool in sample.task.tools:
            assert tool.parameters["additionalProperties"] is False
            assert all("type" in each for each in tool.parameters["properties"].values())
    for sample in samples[::5]:
        for tool in sample.task.tools:
            Draft202012Validator.check_schema(tool.parameters)
    assert Bfcl().revision() == Bfcl(limit=3, categories=["multiple"]).revision()


# ---------------------------------------------------------------- notation

FUNCTION = {
    "name": "pool.heat",
    "description": "Heats a pool. ",
    "parameters": {
        "type": "dict",
        "properties": {
            "depth": {"type": "float", "description": "How deep."},
            "corner": {"type": "tuple", "items": {"type": "float"}, "maxItems": 2},
            "until": {"type": "any", "format": "date"},
            "mode": {"type": "string", "enum": ["eco", "fast"], "default": "eco"},
            "cover": {"type": "boolean", "default": "false", "optional": True},
            "owner": {
                "type": "dict",
                "properties": {"name": {"type": "string"}, "flat": {"type": "integer"}},
                "required": ["name"],
            },
            "jets": {"type": "array", "items": {"type": "dict", "properties": {
                "side": {"type": "string"}}}},
            "notes": {"type": "dict"},
        },
        "required": ["depth"],
    },
}  # fmt: skip


def test_a_functions_notation_becomes_json_schema() -> None:
    tool = to_tool(FUNCTION)
    assert (tool.name, tool.description) == ("pool.heat", "Heats a pool.")
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "depth": {"type": "number", "description": "How deep."},
            "corner": {
                "type": "array",
                "items": {"type": "number"},
                "description": "(maxItems: 2)",
            },
            "until": {"type": "string", "description": "(format: date)"},
            "mode": {"type": "string", "enum": ["eco", "fast"], "default": "eco"},
            "cover": {"type": "boolean", "description": "(default: false)"},
            "owner": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "flat": {"type": "integer"}},
                "required": ["name"],
                "additionalProperties": False,
            },
            "jets": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"side": {"type": "string"}},
                    "additionalProperties": False,
                },
            },
            "notes": {"type": "object"},
        },
        "required": ["depth"],
        "additionalProperties": False,
    }


def test_an_answer_becomes_a_call_with_alternatives() -> None:
    answer = {
        "pool.heat": {
            "depth": ["deep", 2.0, ""],
            "mode": ["fast", ""],
            "cover": ["", True],
            "owner": [{"name": ["Ann", "Anna"], "flat": [3, ""]}, ""],
            "jets": [[{"side": ["left"]}, {"side": ["right", "east"]}]],
            "colour": ["", "blue"],
        }
    }
    made = to_reference(answer, [FUNCTION])
    jets = ([{"side": "left"}, {"side": "right"}], [{"side": "left"}, {"side": "east"}])
    assert made == AnyOf(
        "pool.heat",
        {"depth": 2.0, "jets": jets[0]},
        {
            "depth": ("deep", 2.0),
            "mode": ("fast", ""),
            "cover": (True,),
            "owner": (
                {"name": "Ann", "flat": 3},
                {"name": "Ann"},
                {"name": "Anna", "flat": 3},
                {"name": "Anna"},
            ),
            "jets": jets,
        },
        ("mode", "cover", "owner"),
    )


# ---------------------------------------------------------------- where the rows come from


def test_the_wheels_code_is_not_imported() -> None:
    code = (
        "import sys; from ttsi_benchmarks.bfcl import Bfcl; assert len(Bfcl().samples()) == 1240;"
        "print([name for name in sys.modules if name.split('.')[0] == 'bfcl_eval'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def no_wheel(name: str) -> Any:
    raise metadata.PackageNotFoundError(name)


@pytest.fixture
def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bfcl_source.metadata, "distribution", no_wheel)


@pytest.mark.usefixtures("without_wheel")
@pytest.mark.parametrize("folder", [True, False])
def test_without_the_wheel_the_cure_is_one_command(
    folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    if folder:
        monkeypatch.setenv("TTSI_DATA_DIR", str(tmp_path))
    else:
        monkeypatch.delenv("TTSI_DATA_DIR", raising=False)
    with pytest.raises(MissingAsset) as caught:
        Bfcl().samples()
    assert caught.value.cure == INSTALL == "pip install --no-deps bfcl-eval==2026.3.23"
    (tmp_path / "none.jsonl").write_text("")
    assert main(["score", str(tmp_path / "none.jsonl"), "--benchmark", "bfcl"]) == 5
    assert INSTALL in capsys.readouterr().err


def copied(folder: Path) -> Path:
    """Copy the wheel's files to a data folder; return the file of one category."""
    wheel = Path(str(metadata.distribution("bfcl-eval").locate_file("bfcl_eval/data")))
    for asset in (*QUESTIONS.values(), *ANSWERS.values()):
        path = folder / asset.name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(wheel / asset.name.removeprefix("bfcl/"), path)
    return folder / QUESTIONS["multiple"].name


def test_copies_in_the_data_folder_go_first(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = copied(tmp_path)
    monkeypatch.setenv("TTSI_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(_bfcl_source.metadata, "distribution", no_wheel)
    assert Bfcl().samples() == samples
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(CorruptAsset):
        Bfcl().samples()


def test_a_wheel_with_other_rows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = copied(tmp_path)
    (tmp_path / "bfcl").rename(tmp_path / "data")
    file = tmp_path / "data" / file.name

    class Wheel:
        version = "9"

        def locate_file(self, path: str) -> Path:
            return tmp_path / path.removeprefix("bfcl_eval/")

    monkeypatch.setattr(_bfcl_source.metadata, "distribution", lambda name: Wheel())
    assert len(Bfcl(categories=["multiple"]).samples()) == 200
    file.write_text(file.read_text(encoding="utf-8").replace("the", "a", 1), encoding="utf-8")
    for damage in ("other", "gone"):
        if damage == "gone":
            file.unlink()
        with pytest.raises(CorruptAsset, match=r"bfcl-eval 9 has no such .* as version") as caught:
            Bfcl(categories=["multiple"]).samples()
        assert caught.value.cure == f"{INSTALL} --force-reinstall"


# ---------------------------------------------------------------- scoring


@pytest.fixture(scope="module")
def compared() -> tuple[bfcl_agreement.Differences, dict[str, int]]:
    return bfcl_agreement.compare(bfcl_agreement.rows_with_calls())


def test_scoring_parts_from_bfcls_own_checker_only_where_it_is_known_to(
    compared: tuple[bfcl_agreement.Differences, dict[str, int]],
) -> None:
    differences, counts = compared
    assert differences == bfcl_agreement.kept()
    assert counts["gold"] == 1000
    assert counts["allowed"] > 6000
    assert sum(counts.values()) > 50_000
    assert min(counts.values()) > 0


def test_all_that_bfcl_allows_is_right_by_both(
    compared: tuple[bfcl_agreement.Differences, dict[str, int]],
) -> None:
    kinds = {kind.split(":")[0] for kind in compared[0]}
    assert kinds.isdisjoint({"gold", "allowed", "all arguments", "argument dropped"})


def test_each_kind_of_difference_is_explained() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for kind, rows in bfcl_agreement.kept().items():
        change, here, there = re.fullmatch(r"(.+): (.+) here, (.+) there", kind).groups()  # type: ignore[union-attr]
        count = sum(map(bfcl_agreement.row_count, rows.values()))
        assert f"| {change} | {count} | {here} | {there} |" in page, kind


def test_the_strict_preset_allows_the_alternatives_and_no_other_spelling(
    samples: list[Sample],
) -> None:
    by_id = {sample.id: sample for sample in samples}
    strict = bfcl_agreement.our_checker(by_id, fold_text=False, coerce=True, fill_defaults=True)
    wanted = {"gold": "right", "allowed": "right", "text in other case": "wrong"}
    said: dict[str, Counter[str]] = {kind: Counter() for kind in wanted}
    for sample in samples[:1000:7]:
        for kind, calls in bfcl_agreement.changes(sample):
            if kind in wanted:
                said[kind][strict(sample.id, calls)] += 1
    assert set(said["gold"]) == set(said["allowed"]) == {"right"}
    assert said["text in other case"]["wrong"] > 10 * said["text in other case"]["right"]


IRRELEVANT = [
    ("[]", True),
    ("", True),
    ("None of the tools can do that.", True),
    ("I would need {more} to go on [sorry].", True),
    ("<tool_call>\n[]\n</tool_call>", True),
    ('[{"name": "TOOL", "arguments": {}}]', False),
    ('<tool_call>{"name": "TOOL", "arguments": {</tool_call>', False),
]


@pytest.mark.parametrize(("text", "right"), IRRELEVANT)
def test_no_call_is_right_where_no_tool_is_relevant(
    text: str, right: bool, samples: list[Sample]
) -> None:
    scorer = Exact(**Bfcl.scoring)
    for sample in samples[1000:]:
        answer = Completion(text, of_text(text.replace("TOOL", sample.task.tool_names[0]), ()))
        assert scorer.score(sample.task, sample.reference, answer).correct == right
    wanting = Completion("", DECLINED)
    said = scorer.score(samples[0].task, samples[0].reference, wanting)
    assert said == Score(False, Reason.NO_CALL, "expected calls: 1, got none")


def test_constrained_decoding_can_make_no_call_if_it_may(samples: list[Sample]) -> None:
    for sample in samples[1000::60]:
        assert can_write(sample.task, [], Direct(format="tool_calls", min_calls=0))
        assert not can_write(sample.task, [], Direct(format="tool_calls"))


def test_constrained_decoding_can_write_the_references(samples: list[Sample]) -> None:
    inference = Direct(format="tool_calls", min_calls=0)
    for sample in samples[:1000:40]:
        assert can_write(sample.task, calls_in(sample.reference), inference), sample.id
        wrong = [ToolCall("no_such_tool", {})]
        assert not can_write(sample.task, wrong, inference)


def test_references_score_one_from_a_file(
    samples: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gold.jsonl"
    rows = [
        {"id": sample.id, "calls": [call.as_json() for call in calls_in(sample.reference)]}
        for sample in samples
    ]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert main(["score", str(file), "--benchmark", "bfcl", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert (results["samples"], results["correct"], results["accuracy"]) == (1240, 1240, 1.0)
