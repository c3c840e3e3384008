"""What docs/study.py makes of the stored submissions: whose rows are reported, and beside what."""

from __future__ import annotations

from dataclasses import replace

import pytest
import study
from study import Study


@pytest.fixture(scope="module")
def found() -> dict[str, Study]:
    small = [each for each in study.studies() if each.place[0] == "Qwen2.5-Coder-0.5B"]
    return {each.benchmark: each for each in small}


def ids(of: Study, name: str = "base") -> list[str]:
    return [record.id for seed in of.runs[name].seeds for record in seed.records]


def test_rows_that_were_seen_are_for_development(found: dict[str, Study]) -> None:
    development, reported = found["sealtool-all"].halves()
    assert sorted(ids(development)) == sorted(ids(found["sealtool"]))
    assert len(ids(reported)) == 294 - 98
    assert not set(ids(reported)) & set(ids(development))


def test_other_rows_are_halved(found: dict[str, Study]) -> None:
    development, reported = found["sealtool"].halves()
    assert len(ids(development)) == len(ids(reported)) == 49
    assert sorted(ids(development, "pruned")) == sorted(ids(development))


def test_of_rows_that_no_method_was_made_from_all_are_reported(found: dict[str, Study]) -> None:
    development, reported = replace(found["sealtool"], seen=frozenset()).halves()
    assert (len(ids(development)), len(ids(reported))) == (0, 98)
    assert study._against(development, "pruned") == ["–", "–", "–"]


def test_a_method_is_compared_with_the_base_model_in_its_own_setting(
    found: dict[str, Study],
) -> None:
    of = found["sealtool"]
    assert of.beside("pruned") is of.runs["base"]
    assert of.beside("paper-worded").seeds == of.beside("paper").seeds
    alone = replace(of, runs={"base": of.runs["base"], "paper-base": of.runs["votes"]})
    worded = replace(alone, runs={**alone.runs, "paper-worded": of.runs["paper-worded"]})
    assert worded.beside("paper-worded") is of.runs["votes"]
