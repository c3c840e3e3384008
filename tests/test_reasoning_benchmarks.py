"""GSM8K and BIG-Bench Hard: the samples made of their rows."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from engines import data

from ttsi.answers import form_of
from ttsi.errors import UsageError
from ttsi.types import Answer, AnswerStatus, Completion, Sample
from ttsi_benchmarks import _bbh_source, gsm8k
from ttsi_benchmarks._bbh_source import FILES, TASKS
from ttsi_benchmarks._select import evenly, places
from ttsi_benchmarks.bbh import Bbh
from ttsi_benchmarks.gsm8k import TEST, TRAIN, Gsm8k
from ttsi_plugins.scorers.exact import Exact

MATH = Gsm8k().samples()
TRAINING = Gsm8k().train()
HARD = Bbh().samples()


def problems(stem: str) -> list[dict[str, str]]:
    lines = data(f"gsm8k/{stem}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def examples(name: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(data(f"bbh/{name}.json").read_text())["examples"]
    return rows


def right(sample: Sample, answer: Answer) -> bool:
    return Exact().score(sample.task, sample.reference, Completion("", answer)).correct


def right_text(sample: Sample, text: str) -> bool:
    return right(sample, form_of(sample.task).parse(sample.task, text))


# ---------------------------------------------------------------- both


@pytest.mark.parametrize("asset", [TEST, TRAIN, *FILES.values()], ids=lambda asset: asset.name)
def test_the_files_are_those_of_the_manifest(asset: Any) -> None:
    manifest = {row["file"]: row for row in json.loads(data("MANIFEST.json").read_text())}
    row = manifest[asset.name]
    assert (asset.sha256, asset.license) == (row["sha256"], row["license"]) == (asset.sha256, "MIT")
    path = f"{row['repository']}/{row['commit']}/{row['upstream_path']}"
    assert asset.url == f"https://raw.githubusercontent.com/{path}"


@pytest.mark.parametrize("samples", [MATH, TRAINING, HARD], ids=["gsm8k", "train", "bbh"])
def test_references_replayed_score_one_and_their_neighbours_do_not(
    samples: Sequence[Sample],
) -> None:
    assert all(sample.reference.status is AnswerStatus.OK for sample in samples)
    assert [sample.id for sample in samples if not right(sample, sample.reference)] == []
    written = [form_of(s.task).write(s.task, s.reference) for s in samples]
    wrong = [s.id for s, text in zip(samples, written, strict=True) if not right_text(s, text)]
    assert wrong == []
    for before, sample in pairwise(samples):
        same = before.reference.value == sample.reference.value
        assert right(sample, before.reference) == same, sample.id


def test_revisions_name_the_data_and_not_the_options() -> None:
    assert Gsm8k().revision() == Gsm8k(limit=3, shots=2).revision()
    assert Bbh().revision() == Bbh(tasks=["navigate"], limit=3).revision()
    assert len({Gsm8k().revision(), Bbh().revision()}) == 2


# ---------------------------------------------------------------- gsm8k


@pytest.mark.parametrize(
    ("stem", "samples", "count"), [("test", MATH, 1319), ("train", TRAINING, 7473)]
)
def test_a_problem_is_its_question_work_and_number(
    stem: str, samples: Sequence[Sample], count: int
) -> None:
    rows = problems(stem)
    assert len(rows) == len(samples) == count
    head = "gsm8k" if stem == "test" else "gsm8k/train"
    for i, (row, sample) in enumerate(zip(rows, samples, strict=True)):
        assert sample.id == f"{head}/{i}"
        assert sample.task.input == row["question"].strip()
        assert (sample.task.form, sample.task.tools, sample.task.turns) == ("number", (), ())
        number = form_of(sample.task).shown(sample.task, sample.reference)
        assert number.strip("'").replace(",", "") == row["answer"].split()[-1].replace(",", "")
        work = sample.reference.work
        assert work
        assert "<<" not in work
        assert "####" not in work
        noted = re.sub(r"<<.*?>>", "", row["answer"])
        assert noted.startswith(work)
        assert noted.removeprefix(work).split() == ["####", row["answer"].split()[-1]]


def test_no_training_row_asks_what_a_test_row_asks() -> None:
    asked = {" ".join(sample.task.input.casefold().split()) for sample in MATH}
    assert asked.isdisjoint(" ".join(s.task.input.casefold().split()) for s in TRAINING)


def test_shots_are_training_rows_in_the_instruction_and_no_longer_in_training() -> None:
    benchmark = Gsm8k(shots=3, limit=4)
    (instruction,) = {sample.task.instruction for sample in benchmark.samples()}
    shown = [TRAINING[place] for place in (0, 2491, 4982)]
    assert places(7473, 3, "even") == [0, 2491, 4982]
    at = 0
    for sample in shown:
        found = instruction.index(sample.task.input, at)
        at = instruction.index(form_of(sample.task).write(sample.task, sample.reference), found)
    assert instruction.startswith(gsm8k.INSTRUCTION)
    assert {sample.task.instruction for sample in MATH} == {gsm8k.INSTRUCTION}
    left = benchmark.train()
    assert {sample.id for sample in TRAINING} - {s.id for s in left} == {s.id for s in shown}
    assert {sample.task.instruction for sample in left} == {instruction}


# ---------------------------------------------------------------- bbh


def test_a_row_is_its_input_and_target_under_its_place() -> None:
    assert len(TASKS) == 27
    expected = [(f"bbh/{name}/{i}", row) for name in TASKS for i, row in enumerate(examples(name))]
    assert len(expected) == len(HARD) == 6511
    for (id, row), sample in zip(expected, HARD, strict=True):
        assert (sample.id, sample.task.input) == (id, row["input"].strip())
        assert sample.task.tools == ()
        assert str(sample.reference.value) == row["target"]


def test_forms_and_choices_are_those_of_the_tasks() -> None:
    forms: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in HARD:
        forms[sample.task.form][sample.id.split("/")[1]] += 1
    assert forms["number"].keys() == {"multistep_arithmetic_two", "object_counting"}
    assert {**forms["text"]} == {
        "dyck_languages": 250,
        "word_sorting": 250,
        "movie_recommendation": 1,
        "ruin_names": 2,
    }
    assert sum(forms["choice"].values()) == 6511 - 500 - 500 - 3
    for sample in HARD:
        choices = sample.task.choices
        if sample.task.form != "choice":
            assert choices == ()
            continue
        assert str(sample.reference.value) in choices
        assert len(set(choices)) == len(choices)
        name = sample.id.split("/")[1]
        if name in _bbh_source.WORDS:
            assert sample.task.input.count("Options:") == 0
        for choice in choices if "Options:" in sample.task.input else ():
            assert re.search(rf"^(- )?{re.escape(choice)}\s", sample.task.input + "\n", re.M)
    answered = {s.reference.value for s in HARD if s.id.split("/")[1] in _bbh_source.WORDS}
    assert answered == {word for words in _bbh_source.WORDS.values() for word in words}


def test_rows_whose_options_were_parted_want_the_text_of_several() -> None:
    """Upstream split names at their commas; asking for the whole name loses no valid answer."""
    parted = [
        sample for sample in HARD if sample.task.form == "text" and "Options:" in sample.task.input
    ]
    ids = ["bbh/movie_recommendation/163", "bbh/ruin_names/99", "bbh/ruin_names/144"]
    assert [sample.id for sample in parted] == ids
    for sample in parted:
        listed = sample.task.input.rpartition("Options:\n")[2]
        texts = [line.partition(" ")[2] for line in listed.splitlines()]
        joined = {
            ", ".join(texts[first:last])
            for first in range(len(texts))
            for last in range(first + 2, len(texts) + 1)
        }
        assert sample.reference.value in joined


def test_rows_that_the_page_calls_faulty_are_these() -> None:
    by_input: dict[str, list[Sample]] = defaultdict(list)
    for sample in HARD:
        by_input[sample.task.input].append(sample)
    twice = {tuple(s.id for s in same): same for same in by_input.values() if len(same) > 1}
    contradict = {ids for ids, same in twice.items() if len({s.reference.value for s in same}) > 1}
    assert contradict == {
        ("bbh/causal_judgement/32", "bbh/causal_judgement/119"),
        ("bbh/causal_judgement/36", "bbh/causal_judgement/104"),
    }
    assert twice.keys() - contradict == {
        ("bbh/sports_understanding/27", "bbh/sports_understanding/155"),
        ("bbh/sports_understanding/80", "bbh/sports_understanding/227"),
    }
    assert [s.id for s in HARD if len(s.task.choices) == 1] == ["bbh/snarks/88"]
    same_text = [
        sample.id
        for sample in HARD
        if sample.task.form == "choice"
        and len(set(option_texts(sample))) < len(option_texts(sample))
    ]
    assert same_text == ["bbh/snarks/86"]


def option_texts(sample: Sample) -> list[str]:
    _, found, listed = sample.task.input.rpartition("Options:\n")
    return [line.split(" ", 1)[1].strip() for line in listed.splitlines()] if found else []


def test_a_limit_is_shared_out_among_the_tasks() -> None:
    def counts(**options: Any) -> Counter[str]:
        return Counter(sample.id.split("/")[1] for sample in Bbh(**options).samples())

    assert counts(limit=27) == dict.fromkeys(TASKS, 1)
    assert counts(limit=270) == dict.fromkeys(TASKS, 10)
    assert counts(limit=2).keys() == {TASKS[0], TASKS[13]}
    large = counts(limit=6000)
    assert sum(large.values()) == 6000
    assert {large[name] for name in TASKS if len(examples(name)) < 200} == {146, 178, 187}
    assert counts(limit=3, select="first") == {TASKS[0]: 3}
    ids = [f"bbh/navigate/{i}" for i in range(9)] + ["bbh/snarks/5"]
    assert [s.id for s in Bbh(ids=ids, limit=2).samples()] == ["bbh/navigate/0", "bbh/snarks/5"]


@pytest.mark.parametrize(
    ("sizes", "count", "shares"),
    [
        ([5, 5, 5], 6, [2, 2, 2]),
        ([5, 5, 5], 7, [3, 2, 2]),
        ([1, 5, 5], 7, [1, 3, 3]),
        ([0, 2], 9, [0, 2]),
        ([4, 4, 4, 4], 2, [1, 0, 1, 0]),
    ],
)
def test_shares_are_even(sizes: list[int], count: int, shares: list[int]) -> None:
    assert evenly(sizes, count) == shares


def test_options_choose_tasks_and_forms() -> None:
    some = Bbh(tasks=["word_sorting", "navigate"])
    assert [s.id for s in some.samples()] == [
        s.id for s in HARD if s.id.split("/")[1] in ("word_sorting", "navigate")
    ]
    choices = Bbh(forms=["choice"]).samples()
    assert [s.id for s in choices] == [s.id for s in HARD if s.task.form == "choice"]
    with pytest.raises(UsageError, match="No row of navigate is answered in the form text"):
        Bbh(tasks=["navigate"], forms=["text"]).samples()
