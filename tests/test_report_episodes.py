"""Episodes in records and in reports: what was said, turn by turn, and where a play went wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports import HOSTILE, Page, made
from submissions import submit_run

from ttsi import Answer, Completion, Estimate, Message, Record, Score, Step, Task
from ttsi.report import html
from ttsi.report.episodes import Conversation, view
from ttsi.results.runs import Run, open_run
from ttsi.running.steps import by_turn, step_of, with_turns
from ttsi.solving.solution import Solution

TOURS = {"name": "ttsi-fakes/tours"}
SURE = Estimate(1.0, False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(tmp_path_factory.mktemp("run"), benchmark=TOURS, estimator="always")


def seen(run: Run, place: int) -> Conversation:
    found = view(run.seeds[0].records[place])
    assert found is not None
    return found


# ---------------------------------------------------------------- what a record keeps


def task(*turns: tuple[Any, str]) -> Task:
    said = tuple(Message(role, words) for role, words in turns)
    return Task("a@0", (), "Do it.", "so far", turns=said)


def solved(task: Task) -> Solution:
    return Solution(task, SURE, Completion("x", Answer.of("x")))


ASKED = (("user", "Go."), ("assistant", "a call"), ("tool", "one"), ("tool", "two"))


@pytest.mark.parametrize(
    ("turns", "first", "said", "asked"),
    [
        (ASKED[:1], True, ["Go."], "Go."),
        (ASKED, False, ["one", "two"], None),
        (ASKED, True, ["Go.", "a call", "one", "two"], "Go."),
        ((*ASKED, ("user", "And?")), False, ["one", "two", "And?"], "And?"),
        ((("user", "Only this."),), False, ["Only this."], "Only this."),
        ((*ASKED, ("assistant", "mine")), False, [], None),
    ],
)
def test_a_step_keeps_what_was_said_since_the_last_answer(
    turns: Any, first: bool, said: list[str], asked: str | None
) -> None:
    step = step_of(solved(task(*turns)), first=first)
    assert [each.content for each in step.said] == said
    assert step.request == asked


def test_a_long_message_is_cut_and_its_digest_is_of_the_whole() -> None:
    long = "a" * 3000 + "b" * 3000
    one, other = (
        step_of(solved(task(("user", words))), first=True)
        for words in (long, long.replace("ab", "cb"))
    )
    assert len(one.said[-1].content) < 2100
    assert one.said[-1].content.startswith("aaa")
    assert one.said[-1].content.endswith("bbb")
    assert "4,000 characters" in one.said[-1].content
    assert one.said == other.said
    assert one.digest != other.digest


def test_a_turn_belongs_to_its_last_step() -> None:
    speakers: list[Any] = ["user", "tool", "user", "tool", "tool"]
    steps = [step_of(solved(task((role, "x"))), first=False) for role in speakers]
    wrong = Score(False, "no_call")
    told = with_turns(steps, [wrong, Score(True), Score(True)])
    assert [step.turn for step in told] == [None, wrong, None, None, Score(True)]
    assert list(map(len, by_turn(told))) == [2, 3]
    assert [step.turn for step in with_turns(steps, [])] == [None] * 5


def test_turns_are_told_apart_where_what_was_said_is_withheld() -> None:
    steps = [step_of(solved(task(("tool", "x"))), first=False) for _ in range(4)]
    steps = [replace(step, said=()) for step in steps]
    assert list(map(len, by_turn(steps))) == [4]
    steps[1] = replace(steps[1], turn=Score(True))
    assert list(map(len, by_turn(steps))) == [2, 2]


# ---------------------------------------------------------------- the conversation


def test_the_plays_are_side_by_side(run: Run) -> None:
    shown = seen(run, 0)
    assert [title for title, _, _ in shown.plays] == ["Base model", "After adaptation"]
    assert [right for _, right, _ in shown.plays] == [False, True]
    assert shown.plays[0][2].startswith("wrong name: expected get_weather")
    assert "50.0" in shown.plays[0][2]
    first, second = shown.turns
    assert first.said == [("User", "What is the weather in City2?")]
    assert second.said == [("User", "Thanks. What is the weather in City4?")]
    base, adapted = first.sides
    assert base is not None
    assert adapted is not None
    reply = "get_weather says that it is fine. What is the weather in City3?"
    assert base.steps[0].replies == adapted.steps[0].replies == [("Result", reply)]
    assert [len(base.steps), len(adapted.steps)] == [2, 2]
    assert adapted.steps[0].examples
    assert adapted.steps[0].training
    assert adapted.steps[0].about == "u 0.00, uncertain, adapted"
    assert not base.steps[0].about


def test_the_first_wrong_turn_and_the_parting_are_marked(run: Run) -> None:
    shown = seen(run, 0)
    base, adapted = ([side for turn in shown.turns if (side := turn.sides[at])] for at in (0, 1))
    assert [(side.correct, side.astray) for side in base] == [(False, True), (True, False)]
    assert [(side.correct, side.astray) for side in adapted] == [(True, False), (True, False)]
    assert [step.parts for side in adapted for step in side.steps] == [False, True, False]
    assert not any(step.parts for side in base for step in side.steps)
    both_wrong = seen(run, 3)
    assert [turn.sides[0].astray for turn in both_wrong.turns if turn.sides[0]] == [True, False]


def step(said: str, text: str, turn: Score | None = None, role: Any = "user") -> Step:
    answer = Completion(text, Answer.of(text))
    return Step((Message(role, said),), SURE, (), None, answer, False, turn=turn)


def test_a_play_that_has_ended_and_one_that_was_told_something_else() -> None:
    ours = (step("a", "x", Score(True)), step("b", "y", Score(True)), step("c", "z"))
    theirs = (step("a", "x", Score(True)), step("other", "y", Score(False, "no_call")))
    record = Record("e", "", 0, adapted=True, steps=ours, base_steps=theirs)
    shown = view(record)
    assert shown is not None
    assert [turn.said for turn in shown.turns] == [[("User", "a")], (), [("User", "c")]]
    assert shown.turns[2].sides[0] is None
    adapted = [side for turn in shown.turns if (side := turn.sides[1])]
    assert [step.parts for side in adapted for step in side.steps] == [False, False, True]


def test_other_records_have_no_conversation(run: Run) -> None:
    assert view(Record("a", "", 0)) is None


def test_the_page_tells_it(run: Run) -> None:
    page = Page(html([run]))
    for part in (
        "Turn 1 User What is the weather in City2?",
        "Here the answers part.",
        "first wrong turn",
        "Result get_weather says that it is fine.",
        "wrong name: expected get_weather, not ['get_weather', 'get_time']",
    ):
        assert part in page.text, part
    assert len(page.of_class("turn")) == 8
    assert len(page.of_class("astray")) == 3


def test_a_submission_s_page_says_what_is_withheld(run: Run, tmp_path: Path) -> None:
    folder = submit_run(run.folder, tmp_path).folder
    page = Page(html([open_run(folder)]))
    assert "is withheld from submissions" in page.text
    assert len(page.of_class("turn")) == 8


def test_hostile_words_are_words(run: Run) -> None:
    (seed,) = run.seeds
    bad = (Message("tool", HOSTILE),)
    records = tuple(
        replace(
            record,
            steps=tuple(
                replace(
                    step,
                    said=(*bad, *step.said),
                    answer=replace(step.answer, text=HOSTILE),
                    turn=Score(False, HOSTILE, HOSTILE),
                )
                for step in record.steps
            ),
        )
        for record in seed.records
    )
    text = html([replace(run, seeds=(replace(seed, records=records),))])
    page = Page(text)
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert page.text.count("window.hacked=1</script>") > 20
