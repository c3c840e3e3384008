"""Specs: defaults, layers by precedence, a matrix cell by cell, plugins and the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _dists import ESTIMATOR, importable, write_dist
from _specs import MINIMAL, clear_environment, only, pointers
from jsonschema import Draft202012Validator

from ttsi.errors import PluginError, SpecError
from ttsi.spec import Component, load_spec, resolved, validate
from ttsi.spec.schema import DEFAULTS, compose_schema

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_environment(monkeypatch)


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[None]:
    folder = tmp_path / "acme"
    lines = "mine = acme_mine:Mine\nbroken = acme_gone:Mine"
    write_dist(folder, "acme", {"ttsi.estimators": lines}, {"acme_mine": ESTIMATOR})
    with importable(folder):
        yield


# ---------------------------------------------------------------- what it comes to


def test_defaults_stand_where_the_spec_is_silent() -> None:
    spec = load_spec(MINIMAL)[0]
    assert {key: getattr(spec, key).name for key in DEFAULTS} == DEFAULTS
    assert spec.benchmark == Component("sealtool", {})
    assert (spec.model, spec.seeds, spec.baseline) == ({"id": "smollm2-135m"}, (0,), True)
    assert (spec.name, spec.cell) == ("sealtool", {})


def test_resolved_writes_every_default_out_and_loads_to_the_same_run() -> None:
    spec = load_spec(MINIMAL | {"learner": {"name": "lora_sft", "rank": 4}})[0]
    full = resolved(spec)
    assert full["learner"]["rank"] == 4
    assert full["learner"]["epochs"] == 3
    assert full["estimator"] == {
        "name": "rss_margin",
        "threshold": 0.95,
        "context": "tool_call",
        "normalise": "sum",
        "no_call_candidate": False,
    }
    again = load_spec(json.loads(json.dumps(full)))[0]
    assert resolved(again) == full
    assert again.digest == spec.digest


def test_the_digest_covers_what_shapes_results_and_nothing_else() -> None:
    def digest(**change: Any) -> str:
        return load_spec(MINIMAL | change)[0].digest

    same = [
        {"name": "other"},
        {"seeds": [7, 8]},
        {"executor": {"name": "local", "wave": 3}},
        {"$schema": "x"},
        {"ttsi": 1},
        {"model": "smollm2-135m"},
        {"estimator": {"name": "rss_margin", "threshold": 0.95}},
        {"learner": {"name": "lora_sft", "alpha": 16, "rank": 8.0}},
    ]
    assert {digest(**change) for change in same} == {digest()}
    other = [
        {"model": "another"},
        {"baseline": False},
        {"benchmark": {"name": "sealtool", "limit": 2}},
        {"estimator": {"name": "rss_margin", "threshold": 0.5}},
        {"learner": "icl"},
    ]
    assert len({digest(), *(digest(**change) for change in other)}) == len(other) + 1


def test_numbers_arrive_in_the_type_that_the_option_has() -> None:
    learner = load_spec(MINIMAL | {"learner": {"name": "lora_sft", "alpha": 16, "rank": 8.0}})[
        0
    ].learner
    assert [(type(v), v) for v in learner.options.values()] == [(float, 16.0), (int, 8)]
    assert [type(seed) for seed in load_spec(MINIMAL | {"seeds": [4.0]})[0].seeds] == [int]


# ---------------------------------------------------------------- layers


def test_command_line_wins_over_environment_over_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {
        "benchmark": {"name": "sealtool", "limit": 1},
        "model": {"id": "spec", "revision": "r"},
        "executor": "local",
        "seeds": [1],
    }
    monkeypatch.setenv("TTSI_MODEL", "env")
    monkeypatch.setenv("TTSI_LIMIT", "2")
    monkeypatch.setenv("TTSI_SEEDS", "2, 3")
    monkeypatch.setenv("TTSI_WAVE", "5")
    spec = load_spec(document)[0]
    assert spec.model == {"id": "env", "revision": "r"}
    assert spec.benchmark.options == {"limit": 2}
    assert spec.executor == Component("local", {"wave": 5})
    assert spec.seeds == (2, 3)

    overrides = {"model.id": "line", "benchmark.limit": None, "seeds": [9]}
    spec = load_spec(document, overrides)[0]
    assert spec.model["id"] == "line"
    assert spec.benchmark.options == {"limit": None}
    assert spec.executor.options == {"wave": 5}
    assert spec.seeds == (9,)


def test_an_override_opens_a_component_or_makes_it() -> None:
    spec = load_spec(MINIMAL, {"benchmark.limit": 3, "estimator.threshold": 0.5})[0]
    assert spec.benchmark == Component("sealtool", {"limit": 3})
    assert spec.estimator == Component("rss_margin", {"threshold": 0.5})
    # The component is replaced before its option is set, in whatever order they are given.
    spec = load_spec(MINIMAL, {"benchmark.limit": 3, "benchmark": "apibank"})[0]
    assert spec.benchmark == Component("apibank", {"limit": 3})


def test_a_faulty_setting_is_told_with_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTSI_LIMIT", "many")
    problem = only(validate(MINIMAL))
    assert problem.pointer == "/benchmark/limit"
    assert '"many" (set by TTSI_LIMIT)' in problem.message
    problem = only(validate(MINIMAL, {"benchmark.limit": 1, "estimator.nope": 2}))
    assert problem.pointer == "/estimator/nope"
    assert "set by the command line" in problem.message
    assert pointers(validate(MINIMAL, {"benchmark.limit": 1, "seeds.x.y": 1})) == {"/seeds"}
    found = validate(MINIMAL | {"seeds": [1]}, {"benchmark.limit": 1, "seeds.x": 1})
    assert only(found).pointer == "/seeds/x"
    assert "cannot set" in only(found).message


# ---------------------------------------------------------------- the matrix


def test_a_matrix_is_the_product_of_its_axes() -> None:
    document = MINIMAL | {
        "name": "grid",
        "estimator": "rss_margin",
        "matrix": {"/estimator/threshold": [0.35, 0.95, 1], "/learner": ["icl", "lora_sft"]},
    }
    specs = load_spec(document)
    assert len(specs) == 6
    assert {spec.name for spec in specs} == {"grid"}
    cells = [(s.cell["/learner"], s.cell["/estimator/threshold"]) for s in specs]
    assert cells == [(learner, t) for learner in ("icl", "lora_sft") for t in (0.35, 0.95, 1)]
    for spec in specs:
        assert spec.learner.name == spec.cell["/learner"]
        assert spec.estimator.options == {"threshold": spec.cell["/estimator/threshold"]}
    assert len({spec.digest for spec in specs}) == 6


def test_an_axis_may_replace_a_component_and_another_set_its_option() -> None:
    document = {
        "matrix": {
            "/benchmark/limit": [1],
            "/benchmark": ["sealtool", {"name": "apibank"}],
        }
    }
    benchmarks = [spec.benchmark for spec in load_spec(document)]
    assert benchmarks == [Component("sealtool", {"limit": 1}), Component("apibank", {"limit": 1})]


@pytest.mark.parametrize(
    ("matrix", "pointer", "words"),
    [
        ({"estimator.threshold": [1]}, "/matrix/estimator.threshold", '"/estimator/threshold"'),
        ({"/estimatr": ["never"]}, "/matrix/~1estimatr", 'Did you mean "estimator"?'),
        ({"/seeds": [[1]]}, "/matrix/~1seeds", "cannot vary"),
        ({"/executor/wave": [1]}, "/matrix/~1executor~1wave", "cannot vary"),
        ({"/baseline/x": [1]}, "/matrix/~1baseline~1x", "leads nowhere"),
        ({"/estimator/threshold": [0.5, 7]}, "/matrix/~1estimator~1threshold/1", "at most 1"),
        ({"/estimator": ["never", "nevr"]}, "/matrix/~1estimator/1", 'Did you mean "never"?'),
        (
            {"/estimator": [{"name": "rss_margin", "threshold": "x"}]},
            "/matrix/~1estimator/0/threshold",
            "expected a number",
        ),
        ({"/estimator": "never"}, "/matrix/~1estimator", "expected an array"),
        ({"/estimator": []}, "/matrix/~1estimator", "at least 1"),
        ({"/estimator": ["never", "never"]}, "/matrix/~1estimator", "the same value twice"),
        ({}, "/matrix", "at least 1"),
        ([], "/matrix", "expected an object"),
        ({"method": ["a"]}, "/matrix/method", 'holds its variants: {"LABEL"'),
        ({"method": {}}, "/matrix/method", "at least 1 variant"),
        ({"my method": {"a": {}}}, "/matrix/my method", "expected letters, digits"),
        ({"method": {"a b": {}}}, "/matrix/method/a b", "expected letters, digits"),
        ({"method": {"a": "never"}}, "/matrix/method/a", 'got the string "never"'),
        ({"method": {"a": {}, "b": {}}}, "/matrix/method/b", 'same as variant "a"'),
        (
            {"method": {"a": {"estimator.rate": 1}}},
            "/matrix/method/a/estimator.rate",
            '"/estimator/rate"',
        ),
        (
            {"method": {"a": {"/estimatr": "never"}}},
            "/matrix/method/a/~1estimatr",
            'Did you mean "estimator"?',
        ),
        ({"method": {"a": {"/seeds": [1]}}}, "/matrix/method/a/~1seeds", "cannot vary"),
        ({"method": {"a": {"/baseline/x": 1}}}, "/matrix/method/a/~1baseline~1x", "leads nowhere"),
        ({"method": {"a": {"/estimator": "nevr"}}}, "/matrix/method/a/~1estimator", '"never"?'),
        (
            {"method": {"a": {"/estimator": {"name": "rss_margin", "threshold": 7}}}},
            "/matrix/method/a/~1estimator/threshold",
            "at most 1",
        ),
        (
            {"method": {"a": {"/estimator": "never"}}, "/estimator/rate": [0.5]},
            "/matrix/~1estimator~1rate/0",
            "unknown key",
        ),
        (
            {"method": {"a": {"/estimator": "never"}}, "/estimator": ["always"]},
            "/matrix/~1estimator",
            'axis "method" sets /estimator too',
        ),
        ({"/baseline": [True, 1]}, "/matrix/~1baseline/1", "expected true or false"),
        (
            {"/model/id": [str(i) for i in range(40)], "/learner/rank": list(range(1, 41))},
            "/matrix",
            "makes 1600 cells; 1000 is the most",
        ),
    ],
)
def test_faults_of_a_matrix(matrix: Any, pointer: str, words: str) -> None:
    problem = only(validate(MINIMAL | {"baseline": True, "matrix": matrix}))
    assert problem.pointer == pointer
    assert words in str(problem)


def test_a_fault_outside_the_matrix_is_told_once() -> None:
    document = MINIMAL | {"seeds": [-1], "matrix": {"/learner/rank": [1, 2, 3]}}
    assert only(validate(document)).pointer == "/seeds/0"


def test_a_setting_takes_the_place_of_its_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    document = MINIMAL | {"matrix": {"/benchmark/limit": [1, 2], "/learner": ["icl", "lora_sft"]}}
    specs = load_spec(document, {"benchmark.limit": 7})
    assert [(s.benchmark.options["limit"], s.learner.name) for s in specs] == [
        (7, "icl"),
        (7, "lora_sft"),
    ]
    monkeypatch.setenv("TTSI_LIMIT", "8")
    assert {s.benchmark.options["limit"] for s in load_spec(document)} == {8}
    specs = load_spec(document, {"matrix": {"/learner/rank": [1, 2, 3]}})
    assert [s.learner.options["rank"] for s in specs] == [1, 2, 3]


# ---------------------------------------------------------------- variants with a name

METHODS = MINIMAL | {
    "learner": {"name": "lora_sft", "rank": 4},
    "matrix": {
        "/learner/rank": [1, 2],
        "method": {
            "tt-si": {},
            "without-h": {"/estimator": "always", "/generator/samples": 2},
        },
    },
}


def test_variants_set_several_keys_under_one_label() -> None:
    specs = load_spec(METHODS)
    assert [dict(spec.cell) for spec in specs] == [
        {"method": method, "/learner/rank": rank}
        for method in ("tt-si", "without-h")
        for rank in (1, 2)
    ]
    assert [spec.learner.options["rank"] for spec in specs] == [1, 2, 1, 2]
    plain, changed = specs[0], specs[2]
    assert (plain.estimator.name, plain.generator.options) == ("rss_margin", {})
    assert (changed.estimator.name, changed.generator.options) == ("always", {"samples": 2})
    assert len({spec.digest for spec in specs}) == 4


def test_a_variant_replaces_a_component_before_another_axis_sets_its_option() -> None:
    learners = {"icl": {"/learner": "icl"}, "lora": {"/learner": "lora_sft"}}
    document = MINIMAL | {"matrix": {"/learner/target": ["tool_call"], "method": learners}}
    assert [spec.learner for spec in load_spec(document)] == [
        Component("icl", {"target": "tool_call"}),
        Component("lora_sft", {"target": "tool_call"}),
    ]


def test_a_setting_leaves_no_cell_twice() -> None:
    sizes = {"small": {"/model/id": "a"}, "large": {"/model/id": "b"}}
    document = MINIMAL | {"matrix": {"size": sizes, "/learner/rank": [1, 2]}}
    assert [spec.model["id"] for spec in load_spec(document)] == ["a", "a", "b", "b"]
    specs = load_spec(document, {"model.id": "c"})
    assert [dict(spec.cell) for spec in specs] == [{"/learner/rank": 1}, {"/learner/rank": 2}]
    assert {spec.model["id"] for spec in specs} == {"c"}

    sizes["small-icl"] = {"/model/id": "a", "/learner/target": "as_answered"}
    specs = load_spec(MINIMAL | {"matrix": {"size": sizes}}, {"model.id": "c"})
    assert [spec.cell for spec in specs] == [{"size": "small"}, {"size": "small-icl"}]


# ---------------------------------------------------------------- plugins, and the schema


@pytest.mark.usefixtures("acme")
def test_a_third_party_component_brings_its_own_options() -> None:
    document = MINIMAL | {"estimator": {"name": "acme/mine", "depth": 3}}
    spec = load_spec(document)[0]
    assert spec.estimator == Component("acme/mine", {"depth": 3})
    assert resolved(spec)["estimator"] == {"name": "acme/mine", "depth": 3, "weight": 1.0}
    problem = only(validate(MINIMAL | {"estimator": {"name": "acme/mine", "depth": 10}}))
    assert (problem.pointer, problem.message) == ("/estimator/depth", "expected at most 9, got 10.")
    problem = only(validate(MINIMAL | {"estimator": "mine"}))
    assert 'Did you mean "acme/mine"?' in problem.cure


@pytest.mark.usefixtures("acme")
def test_a_broken_plugin_is_fatal_only_when_named() -> None:
    assert validate(MINIMAL) == []
    document = MINIMAL | {"estimator": "acme/broken"}
    assert only(validate(document)).pointer == "/estimator"
    with pytest.raises(PluginError, match="acme_gone") as caught:
        load_spec(document)
    assert caught.value.exit_code == 5
    with pytest.raises(SpecError) as both:
        load_spec(document | {"baseline": 1})
    assert pointers(both.value.problems) == {"/estimator", "/baseline"}


@pytest.mark.usefixtures("acme")
def test_the_composed_schema_holds_what_is_installed() -> None:
    document = MINIMAL | {"estimator": {"name": "acme/mine", "depth": 3}}
    assert Draft202012Validator(compose_schema()).is_valid(document)
    assert not Draft202012Validator(compose_schema(builtins_only=True)).is_valid(document)


def test_without_the_environment_no_variable_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load_spec(MINIMAL | {"benchmark": "ttsi-fakes/rows"})
    for variable in ("TTSI_MODEL", "TTSI_LIMIT", "TTSI_SEEDS", "TTSI_WAVE"):
        monkeypatch.setenv(variable, "x")
    with pytest.raises(SpecError):
        load_spec(MINIMAL | {"benchmark": "ttsi-fakes/rows"})
    assert load_spec(MINIMAL | {"benchmark": "ttsi-fakes/rows"}, environment=False) == plain
    (other,) = load_spec(MINIMAL, {"benchmark.limit": 3}, environment=False)
    assert other.benchmark.options == {"limit": 3}


@pytest.mark.parametrize("name", ["self", "teacher"])
@pytest.mark.parametrize("option", ["samples", "attempts", "at_once"])
def test_a_spec_cannot_ask_without_end(name: str, option: str) -> None:
    """A stranger's spec must not cause unlimited requests to a paid endpoint."""
    load_spec(MINIMAL | {"generator": {"name": name, option: 64}})
    with pytest.raises(SpecError) as caught:
        load_spec(MINIMAL | {"generator": {"name": name, option: 65}})
    assert pointers(caught.value.problems) == {f"/generator/{option}"}


def test_the_checked_in_schema_is_the_composed_one() -> None:
    path = ROOT / "ttsi" / "schemas" / "spec.schema.json"
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    composed = json.loads(json.dumps(compose_schema(builtins_only=True)))
    assert schema == composed, f"mend it: ttsi schema spec --builtins > {path.relative_to(ROOT)}"


def test_every_spec_of_the_repository_is_sound_and_fits_the_schema() -> None:
    paths = sorted((ROOT / "specs").rglob("*.json"))
    assert len(paths) >= 5
    validator = Draft202012Validator(compose_schema(builtins_only=True))
    for path in paths:
        document = json.loads(path.read_text())
        # One that is served has tasks of its clients.
        served = path.name.startswith("serve-")
        assert load_spec(path, benchmark=not served), path
        validator.validate({"benchmark": "quickstart", **document} if served else document)
