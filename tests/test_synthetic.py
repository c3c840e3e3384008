"""The quality of synthetic examples: each figure by a case, and the same in results and report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import Page, hostile, made, seeds

from ttsi.records.lines import from_json, to_json
from ttsi.report import html
from ttsi.results import synthetic
from ttsi.results.runs import open_run
from ttsi.results.synthetic import Made, overlap, words
from ttsi.types import Answer, Example, Message, Record, Step, Task


def example(request: str, attempts: int = 1, value: Any = "ab", **evidence: float) -> Example:
    task = Task("t#0", (), "", request)
    return Example(task, Answer.of(value), "raw", attempts, evidence)


def receipt(*losses: Any) -> dict[str, Any]:
    return {"kind": "lora", "digest": "d", "examples": [], "losses": list(losses)}


def record(id: str, *examples: Example, losses: Any = (), steps: tuple[Step, ...] = ()) -> Record:
    told = receipt(*losses) if losses else None
    return Record(id, "sha256:0", 0, examples=examples, receipt=told, steps=steps)


def test_each_figure_is_counted_by_hand() -> None:
    found = synthetic.quality(
        [
            record("a", example("The  CAT sat, here", 1, agreement=1.0), losses=[2.0, 1.0, 0.5]),
            record(
                "b",
                example("a b c d", 3, agreement=0.5, support=0.25),
                example("a b c e", 1, [1, 2]),
                losses=[4.0, 2.0, 2.0, 0.0],
            ),
            record("c"),
        ],
        {"a": "the cat sat, here", "b": "a b c d f", "c": "x"},
    )
    assert found == {
        "tasks": 2,
        "examples": 3,
        "attempts": {"1": 2, "3": 1},
        # Overlaps of 1, 4/5 and 3/6.
        "distance": {
            "examples": 3,
            "copies": 1,
            "near_copies": 1,
            "overlap": pytest.approx((1 + 0.8 + 0.5) / 3),
        },
        "distinctness": {"tasks": 1, "mean": pytest.approx(1 - 3 / 5), "near_copies": 0},
        "evidence": {
            "agreement": {"examples": 2, "mean": 0.75, "least": 0.5},
            "support": {"examples": 1, "mean": 0.25, "least": 0.25},
        },
        # b has two examples: its passes are of two steps.
        "loss": {"tasks": 2, "first": pytest.approx(2.5), "last": pytest.approx(0.75)},
        # Medians of 18, 7 and 7; of "ab", "ab" and [1, 2] as JSON; of 17 and 9.
        "length": {"request": 7, "target": 4, "seed": 13},
    }


def test_without_examples_there_is_no_quality() -> None:
    assert synthetic.quality([record("a")], {"a": "x"}) is None
    assert synthetic.quality([], {}) is None


def test_what_is_not_known_is_left_out() -> None:
    found = synthetic.quality([record("gone", example("x y"))], {})
    assert found is not None
    assert (found["distance"], found["distinctness"], found["loss"]) == (None, None, None)
    assert found["length"]["seed"] is None


def test_a_pass_is_without_the_examples_that_are_held_out() -> None:
    made = record("a", example("a", 1), example("b", 1), example("c", 1), losses=[4, 3, 2, 1])
    held = replace(made, receipt={**(made.receipt or {}), "held_out": [9.0, 8.0, 7.0]})
    assert synthetic.quality([held], {"a": "x"})["loss"] == {"tasks": 1, "first": 3.5, "last": 1.5}


@pytest.mark.parametrize("losses", [["x"], [float("nan")], [None], [1.0, float("inf")]])
def test_losses_that_are_no_numbers_do_not_count(losses: list[Any]) -> None:
    assert synthetic.loss([Made(None, [example("x")], receipt(*losses))]) is None
    assert synthetic.loss([Made(None, [example("x")], {"kind": "lora", "losses": "abc"})]) is None


def test_a_withheld_text_is_not_measured() -> None:
    found = synthetic.quality([record("a", example(""), losses=[1.0])], {"a": "x y"})
    assert found is not None
    assert (found["examples"], found["distance"], found["distinctness"]) == (1, None, None)
    assert found["length"] == {"request": None, "target": None, "seed": 3}
    assert found["loss"] == {"tasks": 1, "first": 1.0, "last": 1.0}


def test_steps_of_an_episode_have_their_own_seeds() -> None:
    steps = tuple(
        Step((Message("user", said),), None, (example("go left"),), None, None, True)  # type: ignore[arg-type]
        for said in ("go left", "jump")
    )
    found = synthetic.quality([record("e", steps=steps)], {"e": "not this"})
    assert found is not None
    assert found["distance"]["copies"] == 1
    assert found["distance"]["overlap"] == 0.5


@given(st.text(max_size=60), st.text(max_size=60))
def test_overlap_is_a_symmetric_share(a: str, b: str) -> None:
    there, back = overlap(words(a), words(b)), overlap(words(b), words(a))
    assert there == back
    assert 0 <= there <= 1
    assert overlap(words(a), words(a)) == 1


def test_a_script_without_spaces_is_compared_by_characters() -> None:
    assert overlap(words("今天天气很好"), words("今天天气不好")) == pytest.approx(5 / 7)


def test_evidence_is_kept_and_absent_where_none_was_given() -> None:
    kept = record("a", example("x", agreement=0.5))
    assert from_json(json.loads(json.dumps(to_json(kept)))).examples[0].evidence == {
        "agreement": 0.5
    }
    assert "evidence" not in to_json(record("a", example("x")))["examples"][0]
    bad = to_json(kept)
    bad["examples"][0]["evidence"] = {"agreement": "much"}
    with pytest.raises(TypeError):
        from_json(bad)


def test_results_and_report_have_the_figures(tmp_path: Path) -> None:
    run = made(tmp_path, estimator="always", generator={"name": "self", "samples": 3})
    found = json.loads((run.folder / "seed-0" / "results.json").read_text())["synthetic"]
    assert found["examples"] == sum(len(r.examples) for r in run.seeds[0].records) > 12
    assert found["distance"]["examples"] == found["examples"]
    page = Page(html([run]))
    assert "Synthetic examples" in page.text
    assert f"overlap with the request {found['distance']['overlap']:.2f}" in page.text
    assert f"distinctness {found['distinctness']['mean']:.2f}" in page.text
    # Three steps, of which the first pass through three examples is all.
    assert "training loss 0.900 → 0.900" in page.text
    results = run.folder / "seed-0" / "results.json"
    old = json.loads(results.read_text())
    del old["synthetic"]
    results.write_text(json.dumps(old))
    assert Page(html([open_run(run.folder)])).text == page.text


def test_a_run_without_examples_has_no_section(tmp_path: Path) -> None:
    run = made(tmp_path, estimator="never")
    assert run.seeds[0].results["synthetic"] is None
    assert "Synthetic examples" not in Page(html([run])).text


def test_hostile_examples_are_measured(tmp_path: Path) -> None:
    (run,) = hostile(tmp_path)
    assert "Synthetic examples" in Page(html([run])).text


def test_examples_of_all_seeds_count(tmp_path: Path) -> None:
    assert "36 examples for 36 tasks." in Page(html(seeds(tmp_path))).text
