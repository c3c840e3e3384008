"""Specs: every fault is reported at once, by JSON pointer, in plain words."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from _specs import MINIMAL, clear_environment, only, pointers
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ttsi.errors import PluginError, Problem, SpecError, UsageError
from ttsi.spec import load_spec, validate
from ttsi.spec.schema import compose_schema


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_environment(monkeypatch)


@functools.cache
def composed() -> Draft202012Validator:
    return Draft202012Validator(compose_schema())


def test_eight_mistakes_are_told_at_once() -> None:
    document = {
        "ttsi": 2,
        "modle": {"id": "x"},
        "benchmark": {"name": "sealtol"},
        "estimator": {"name": "rss_margin", "threshold": "high", "contxt": "bare"},
        "learner": {"name": "lora_sft", "rank": 0},
        "inference": {"format": "free"},
        "seeds": [0, 1, 0],
    }
    assert pointers(validate(document)) == {
        "/ttsi",
        "/modle",
        "/benchmark/name",
        "/estimator/threshold",
        "/estimator/contxt",
        "/learner/rank",
        "/inference/name",
        "/seeds",
    }
    with pytest.raises(SpecError, match="8 problems") as caught:
        load_spec(document)
    assert len(caught.value.problems) == 8
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"modle": 1}, "/modle", 'unknown key. Did you mean "model"?'),
        ({"estimator": "rss-margin"}, "/estimator", 'Did you mean "rss_margin"? The names are:'),
        (
            {"estimator": {"name": "rss_margin", "threshold": "high"}},
            "/estimator/threshold",
            'expected a number, got the string "high".',
        ),
        (
            {"estimator": {"name": "rss_margin", "threshold": "0.5"}},
            "/estimator/threshold",
            "Write 0.5 without quotes.",
        ),
        (
            {"estimator": {"name": "rss_margin", "threshold": 1.5}},
            "/estimator/threshold",
            "expected at most 1, got 1.5.",
        ),
        (
            {"learner": {"name": "lora_sft", "target": "tool_cal"}},
            "/learner/target",
            'Did you mean "tool_call"?',
        ),
        ({"learner": {"name": "lora_sft", "epochs": True}}, "/learner/epochs", "got true."),
        ({"baseline": "yes"}, "/baseline", 'expected true or false, got the string "yes".'),
        ({"seeds": 3}, "/seeds", "expected an array, got the number 3."),
        ({"seeds": []}, "/seeds", "expected at least 1 entries, got 0."),
        ({"seeds": [4, 4]}, "/seeds", "the same value twice: 4."),
        ({"seeds": [-1]}, "/seeds/0", "expected at least 0, got -1."),
        ({"model": {"revision": "main"}}, "/model/id", "required and missing."),
        ({"model": None}, "/model", "expected a string or an object, got null."),
        ({"name": "../up"}, "/name", "expected letters, digits"),
        ({"name": "line\n"}, "/name", "expected letters, digits"),
        ({"ttsi": 2}, "/ttsi", "expected 1, got the number 2."),
        ({"executor": {"wave": 2}}, "/executor/name", "required and missing."),
        ({"benchmark": 7}, "/benchmark", "expected a string or an object, got the number 7."),
    ],
)
def test_a_fault_is_told_in_plain_words(change: dict[str, Any], pointer: str, words: str) -> None:
    problem = only(validate(MINIMAL | change))
    assert problem.pointer == pointer
    assert words in str(problem)


@pytest.mark.parametrize("text", ["high", "true", "[1]", "9" * 5000])
def test_quotes_are_blamed_only_where_they_are_to_blame(text: str) -> None:
    document = MINIMAL | {"learner": {"name": "lora_sft", "epochs": text}}
    assert only(validate(document)).cure == ""


def test_only_the_benchmark_is_required() -> None:
    assert only(validate({})).pointer == "/benchmark"
    assert validate(MINIMAL) == []


@pytest.mark.parametrize("document", [None, True, 3, "text", [], [MINIMAL]])
def test_a_document_that_is_no_object(document: object) -> None:
    assert only(validate(document)).pointer == ""


@pytest.mark.parametrize(
    ("text", "pointer", "words"),
    [
        ('{"benchmark": "sealtool",\n  "seeds": [1,]}', "", "line 2, column 15"),
        ('{"benchmark": "sealtool", "benchmark": "apibank"}', "/benchmark", "written twice"),
        (
            '{"benchmark": {"name": "sealtool", "limit": 1, "limit": 2}}',
            "/benchmark/limit",
            "written twice",
        ),
        (
            '{"benchmark": "sealtool", "estimator": {"name": "rss_margin", "threshold": NaN}}',
            "/estimator/threshold",
            "not a number that JSON knows",
        ),
        ('{"benchmark": "sealtool", "seeds": [' + "9" * 5000 + "]}", "", "too many digits"),
        ('{"x": ' + "[" * 100_000, "", "nested"),
        ("{} {}", "", "not JSON"),
    ],
)
def test_faults_of_the_json_text(text: str, pointer: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(text)
    for source in (path, text):
        with pytest.raises(SpecError) as caught:
            load_spec(source)
        problem = caught.value.problems[0]
        assert problem.pointer == pointer
        assert words in problem.message


def test_a_repeated_key_does_not_hide_other_faults() -> None:
    with pytest.raises(SpecError) as caught:
        load_spec('{"benchmark": "sealtool", "seeds": [1], "seeds": [2], "baseline": 0}')
    assert pointers(caught.value.problems) == {"/seeds", "/baseline"}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "quick.json").write_text(json.dumps(MINIMAL))
    with pytest.raises(UsageError, match=r'Did you mean "quick\.json"'):
        load_spec(tmp_path / "quik.json")
    with pytest.raises(UsageError, match="is a folder"):
        load_spec(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"name": "\xe9"}')
    with pytest.raises(SpecError, match="not UTF-8"):
        load_spec(tmp_path / "latin.json")
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(MINIMAL).encode())
    assert load_spec(tmp_path / "bom.json")[0].name == "bom"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
odd = json_values | st.sampled_from(["nope", {"name": "nope"}, 1.0, 2, "direct"])
options = {"threshold": st.sampled_from([0.5, 1, 0, 1.5, "0.5"]), "rank": st.integers(-1, 3)}
components = {
    "benchmark": st.sampled_from(["sealtool", "apibank", {"name": "sealtool", "limit": 2}]),
    "estimator": st.fixed_dictionaries({"name": st.just("rss_margin")}, optional=options),
    "learner": st.fixed_dictionaries({"name": st.just("lora_sft")}, optional=options),
    "inference": st.sampled_from(["direct", {"name": "direct", "format": "free"}]),
    "executor": st.fixed_dictionaries({"name": st.just("local")}, optional={"wave": odd}),
}
axes = ["/estimator/threshold", "/learner", "/model/id", "/seeds/0", "/x", "", "/", "/benchmark/~"]


def mostly(sound: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw odd values one time in eight, so that whole documents are often valid."""
    return st.integers(0, 7).flatmap(lambda n: odd if n == 0 else sound)


documents = st.fixed_dictionaries(
    {"benchmark": mostly(components["benchmark"])},
    optional={
        **{key: mostly(strategy) for key, strategy in components.items() if key != "benchmark"},
        "model": mostly(st.sampled_from(["x", {"id": "x"}, {"id": "x", "dtype": "float32"}])),
        "seeds": mostly(st.lists(st.integers(0, 9), min_size=1, max_size=3)),
        "matrix": st.dictionaries(st.sampled_from(axes), st.lists(odd, max_size=3), max_size=3),
        "generator": st.just("self"),
        "scorer": st.just("exact"),
        "engine": mostly(st.just("transformers")),
        "ttsi": mostly(st.just(1)),
        "baseline": mostly(st.booleans()),
        "name": mostly(st.sampled_from(["run", "r-2.1_a", "a b", "-"])),
    },
)


@given(document=json_values | documents)
@settings(max_examples=300, deadline=None)
def test_validate_raises_on_no_document_and_load_agrees(document: Any) -> None:
    problems = validate(document)
    assert all(isinstance(problem, Problem) and problem.message for problem in problems)
    if isinstance(document, dict):
        try:
            specs = load_spec(document)
        except (SpecError, PluginError):
            assert problems
        else:
            assert problems == []
            assert [spec.digest for spec in specs]


@given(document=documents.filter(lambda document: "matrix" not in document))
@settings(max_examples=200, deadline=None)
def test_the_published_schema_and_validate_agree(document: dict[str, Any]) -> None:
    try:
        json.dumps(document, allow_nan=False)
    except ValueError:
        return  # no JSON: only validate can say so
    sound = [p for p in validate(document) if "too many digits" not in p.message] == []
    assert composed().is_valid(document) is sound
