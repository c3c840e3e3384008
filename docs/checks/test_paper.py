"""docs/paper.md, specs/paper and its scripts are of one piece; the map of Figure 5 draws."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ttsi import DECLINED, Example, MissingAsset, Record, Task, UsageError, load_spec
from ttsi.results.runs import Run, SeedRun
from ttsi.spec import resolved

ROOT = Path(__file__).resolve().parents[2]
PAPER = ROOT / "specs" / "paper"
SPECS = sorted(PAPER.glob("*.json"))
SAMPLING = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}

sys.path.insert(0, str(ROOT / "docs"))


def script(name: str) -> ModuleType:
    """A script of specs/paper; `try` is no name that could be imported."""
    spec = importlib.util.spec_from_file_location(f"paper_{name}", PAPER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trying() -> ModuleType:
    return script("try")


@pytest.fixture(scope="module")
def embedding() -> ModuleType:
    return script("embedding")


# ---------------------------------------------------------------- the specs and their page


def test_the_page_names_every_spec_and_no_other() -> None:
    named = set(re.findall(r"specs/paper/([\w.-]+\.json)", (ROOT / "docs/paper.md").read_text()))
    assert named == {path.name for path in SPECS}
    assert len(named) >= 10


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_is_sound_and_follows_the_papers_recipe(path: Path) -> None:
    for spec in load_spec(path):
        assert spec.name == f"paper-{path.stem}"
        assert spec.model["id"].startswith("Qwen/Qwen2.5-")
        assert spec.seeds in ((0, 1, 2, 3, 4), (0,))
        full = resolved(spec)
        assert full["inference"]["format"] == "free"
        assert {key: full["inference"][key] for key in SAMPLING} == SAMPLING
        if spec.estimator.name == "rss_margin":
            assert full["estimator"]["context"] == "bare"
        if spec.generator.name == "self":
            assert {key: full["generator"][key] for key in SAMPLING} == SAMPLING
            assert full["generator"]["attempts"] == 5
        if spec.learner.name in ("lora_sft", "sft"):
            learner = full["learner"]
            assert (learner["rank"], learner["alpha"], learner["epochs"]) == (8, 16, 3)
            assert (learner["active_from"], learner["target"]) == ("start", "tool_call")


def test_the_grids_hold_the_papers_rows_and_columns() -> None:
    def cells(name: str, axis: str) -> list[Any]:
        return [spec.cell[axis] for spec in load_spec(PAPER / f"{name}.json")]

    benchmarks = ["sealtool", "apibank", "toolalpaca", "nexusraven"]
    for kind in ("direct", "direct-teacher", "majority", "majority-teacher"):
        assert cells(f"table1-{kind}", "/benchmark") == benchmarks
    assert cells("figure2-left", "method") == ["base", "icl", "sft", "tt-icl", "tt-si"]
    assert cells("figure2-right", "/generator/samples") == [1, 2, 4, 8]
    assert [size.split("-")[1] for size in cells("figure3", "/model/id")] == ["1.5B", "7B"]
    estimators = [spec.estimator.name for spec in load_spec(PAPER / "figure4.json")]
    assert estimators == ["rss_margin", "always", "random", "perplexity"]
    assert {0.35, 0.95, 1.0} <= set(cells("table2", "/estimator/threshold"))


def test_another_model_and_a_limit_fit_every_spec() -> None:
    for path in SPECS:
        cells = load_spec(path, {"model.id": "smollm2-135m", "benchmark.limit": 3})
        assert {(c.model["id"], c.benchmark.options["limit"]) for c in cells} == {
            ("smollm2-135m", 3)
        }
        assert len({cell.digest for cell in cells}) == len(cells), "a cell would run twice"


# ---------------------------------------------------------------- the script that tries them


@pytest.mark.parametrize("teacher", [{}, {"base_url": "http://127.0.0.1:9/v1"}], ids=["", "url"])
def test_what_is_tried_is_sound_and_keeps_the_cells(
    trying: ModuleType, teacher: dict[str, str]
) -> None:
    for path in trying.specs([]):
        document = json.loads(path.read_text())
        tried = load_spec(trying.cut(document, 2, teacher), {"model.id": "smollm2-135m"})
        assert json.loads(path.read_text()) == document
        whole = load_spec(path, {"model.id": "smollm2-135m"})
        labels = {cell.cell.get("method") for cell in whole}
        assert {cell.cell.get("method") for cell in tried} == labels
        assert {cell.learner.name for cell in tried} == {cell.learner.name for cell in whole}
        for cell in tried:
            assert cell.seeds == (0,)
            assert cell.inference.options["format"] == "tool_calls"
        asked = {cell.generator.name for cell in tried}
        assert asked == ({"teacher"} if teacher and path.stem.endswith("-teacher") else {"self"})


def test_an_unknown_spec_is_named(trying: ModuleType) -> None:
    assert [path.stem for path in trying.specs(["table2.json", "figure3"])] == ["table2", "figure3"]
    with pytest.raises(SystemExit, match="no spec table9"):
        trying.specs(["table9"])


# ---------------------------------------------------------------- Figure 5


def quickstart_run(generator: str, *numbers: int) -> Run:
    """A run of twelve samples as it would be read back; these had an example made for them."""
    (spec,) = load_spec({"benchmark": {"name": "quickstart", "limit": 12}, "generator": generator})
    records = []
    for number in numbers:
        made = Task(f"quickstart/{number}#0", (), "", f"<b>like {number}</b>")
        example = Example(made, DECLINED, "", attempts=1)
        records.append(Record(f"quickstart/{number}", "", seed=0, examples=(example,)))
    return Run(Path("runs/x"), resolved(spec), {}, (SeedRun(Path(), 0, (*records,), {}, True),))


def test_examples_seeds_and_other_inputs_are_collected(embedding: ModuleType) -> None:
    runs = [quickstart_run("self", 0, 6), quickstart_run("teacher", 0, 6)]
    points = embedding.collect(runs, others=5)
    kinds = [point.kind for point in points]
    assert kinds == ["other"] * 5 + ["seed"] * 2 + ["self"] * 2 + ["teacher"] * 2
    seeds = {point.sample: point.text for point in points if point.kind == "seed"}
    assert set(seeds) == {"quickstart/0", "quickstart/6"}
    assert all(text.strip() for text in seeds.values())
    assert {p.sample for p in points if p.kind == "other"}.isdisjoint(seeds)

    everything = embedding.collect(runs, others=1000)
    assert len(everything) == 40 + 4, "the whole benchmark, though the runs asked twelve"

    with pytest.raises(UsageError, match="no synthetic examples"):
        embedding.collect([quickstart_run("self")], others=5)


def test_closeness_is_the_mean_cosine(embedding: ModuleType) -> None:
    point = embedding.Point
    points = [
        point("other", "a", ""),
        point("seed", "b", ""),
        point("self", "b", ""),
        point("self", "b", ""),
    ]
    vectors = [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.6, 0.8]]
    assert embedding.closeness(points, vectors) == {
        "self": (2, pytest.approx(0.8), pytest.approx(0.4))
    }


class Page(HTMLParser):
    """Open tags by name, and every address that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_map_is_one_file_that_fetches_nothing(embedding: ModuleType) -> None:
    numpy = pytest.importorskip("numpy")
    runs = [quickstart_run("self", 0, 6), quickstart_run("teacher", 0, 6)]
    points = embedding.collect(runs, others=5)
    layout = numpy.array([[number, number**2] for number in range(len(points))], dtype=float)
    near = {"self": (2, 0.9, 0.1), "teacher": (2, 0.8, 0.1)}
    text = embedding.page(points, layout, near, "a/model")
    page = Page()
    page.feed(text)
    assert page.addresses == []
    assert "http" not in text
    assert page.tags.count("title") == 1 + len(points)
    assert page.tags.count("b") == 0, "an input's own markup must not act"
    assert "<b>like 0</b>" in page.text
    assert text.count('class="link"') == 4
    for number in re.findall(r'd="M([\d.]+) ([\d.]+)', text):
        assert 0 <= float(number[0]) <= 640
        assert 0 <= float(number[1]) <= 460


def test_what_is_missing_for_the_map_is_told(
    embedding: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("sentence_transformers", "umap"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingAsset, match="sentence_transformers") as caught:
        embedding.embed(["a"], embedding.MODEL)
    assert "ttsi[embed]" in caught.value.cure
    with pytest.raises(MissingAsset, match="umap"):
        embedding.project([[0.0]] * 9, 15, 0.1, 0)
    with pytest.raises(UsageError, match="too few"):
        embedding.project([[0.0]] * 3, 15, 0.1, 0)


# ---------------------------------------------------------------- the table of what was measured


def test_methods_are_named_as_the_paper_names_them() -> None:
    import paper

    def method(**change: Any) -> str:
        (spec,) = load_spec({"benchmark": "sealtool"} | change)
        return paper.method_of(resolved(spec))

    assert method() == "TT-SI"
    assert method(estimator="never") == ""
    assert method(estimator="always") == "TT-SI without H"
    assert method(generator="teacher") == "TT-D"
    assert method(generator="teacher", inference="best_of") == "TT-D by vote"
    assert method(learner="icl") == "TT-SI in context"
    assert method(estimator="always", learner="icl_train") == "ICL"
    assert method(estimator="always", learner="sft") == "SFT"


def test_seeds_of_one_spec_share_a_row() -> None:
    import paper

    def stored(seed: int, accuracy: float) -> tuple[dict[str, Any], dict[str, Any]]:
        results = {
            "benchmark": "sealtool",
            "model": "m",
            "seed": seed,
            "samples": 100,
            "accuracy": accuracy,
            "base": {"accuracy": 0.5},
        }
        (spec,) = load_spec({"benchmark": "sealtool"})
        return results, resolved(spec)

    lines = paper.measured_table([[stored(0, 0.52), stored(1, 0.56)]]).splitlines()
    assert len(lines) == 3
    for words in ("`table1-direct`", "100 x 2", "50.0", "54.0", "+4.0 ± 2.8", "+5.76"):
        assert words in lines[2]
    assert paper.measured_table([[({**stored(0, 1)[0], "samples": 5}, stored(0, 1)[1])]]) == (
        paper.NOT_YET
    )
