"""Answers that were cut off at max_tokens are told as such: in records, and with the cure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from submissions import read
from test_run import run, seed_folder, spec

import ttsi_fakes
from ttsi import Generation, Request
from ttsi.running.advice import cut_advice


@pytest.mark.parametrize("finish", ["length", "stop"])
def test_wrong_answers_that_were_cut_are_counted_with_the_cure(
    finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = ttsi_fakes.ScriptedEngine.generate

    def halved(engine: Any, requests: Sequence[Request]) -> list[Generation]:
        made = generate(engine, requests)
        return [replace(each, text=each.text[:-2], finish=finish) for each in made]

    monkeypatch.setattr(ttsi_fakes.ScriptedEngine, "generate", halved)
    inference = {"name": "direct", "decoding": "greedy", "max_tokens": 50}
    cell = run(tmp_path, spec(estimator="never", inference=inference))
    folder = seed_folder(cell)
    rows = read(folder / "samples.jsonl")
    assert {row["final_score"]["reason"] for row in rows} == {"unparsable"}
    told = [row["final_score"]["detail"].endswith("cut off at max_tokens") for row in rows]
    said = list(cut_advice(cell.spec, cell.seeds[0], folder))
    if finish == "length":
        assert all(told)
        assert said == [
            "6 of 6 wrong answers were cut off at max_tokens. Longer ones: "
            "--set inference.max_tokens=100"
        ]
    else:
        assert not any(told)
        assert said == []
