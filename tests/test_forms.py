"""The forms choice, number and text: what they read, and that they read what they write."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttsi.answers import form_named
from ttsi.answers.choice import Choice
from ttsi.answers.number import Number, spelling
from ttsi.answers.numbers import MAX_DIGITS
from ttsi.answers.text import Text, normal
from ttsi.protocols import AnswerForm
from ttsi.testing.drawn_forms import GROWING
from ttsi.testing.hostile import carriers, payloads
from ttsi.testing.work import lines_executed
from ttsi.types import DECLINED, JSON, UNPARSABLE, Answer, AnswerStatus, Task

NUMBER, CHOICE, TEXT = Number(), Choice(), Text()
FORMS: list[AnswerForm] = [CHOICE, NUMBER, TEXT]
ASKED = Task("rows/0", (), "Answer.", "How many?")
LETTERS = Task("rows/0", (), "Answer.", "Which?", "choice", ("(A)", "(B)", "(C)"))
VALID = Task("rows/0", (), "Answer.", "Is it?", "choice", ("valid", "invalid"))
YES = Task("rows/0", (), "Answer.", "Is it?", "choice", ("Yes", "No"))


def test_they_are_found_by_name() -> None:
    assert [type(form_named(name)) for name in ("choice", "number", "text")] == [
        Choice,
        Number,
        Text,
    ]


# ---------------------------------------------------------------- number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(text, "1000") for text in ("1000", "1,000", "1000.0", "$1,000", "1e3", "+1000.")],
        *[(text, "1000") for text in ("1{,}000", "1.0 x 10^3", "US$1000", "**1000**", "2000/2")],
        *[(text, "-5") for text in ("-5", "-$5", "$-5", "\u22125", "\u20ac-5.00")],
        *[(text, "0.75") for text in ("3/4", ".75", "0.750", "\\frac{3}{4}", "\\dfrac{6}{8}")],
        *[("25%", "25"), ("3 km", "3"), ("12 apples", "12"), ("007", "7"), ("2 1/2", "2.5")],
        *[("1/3", "1/3"), ("-2/6", "-1/3"), ("-0", "0"), ("-0.0", "0"), ("0.000001", "0.000001")],
        ("123456789012345678901234567890.5", "123456789012345678901234567890.5"),
        ("10 - 3 is 7", "7"),
        ("5-3", "3"),
        ("first 3, then 4", "4"),
        ("x2 and 3", "3"),
        ("is...42", "42"),
        ("3 apples.\n#### 42", "42"),
        ("#### 41\nNo:\n#### 42", "42"),
        ("#### Step 2: add\nThe answer is 42.", "42"),
        ("The answer is 42.\n#### Check 7", "42"),
        ("The answer is 42. It was 6 * 7 before.", "42"),
        ("The answer is 6 * 7 = 42.", "42"),
        ("So the final answer is: **42** apples, of 50", "42"),
        ("Answer:\n\n42\nof 50", "42"),
        ("**Answer**: 42 (of 50)", "42"),
        ("$\\boxed{42}$, not 41", "42"),
        ("\\boxed{x = \\frac{1}{2}}", "0.5"),
        ("The answer is 42. Is that right? The answer is clear.", "42"),
        ("The answer is not 5 but 6", "6"),
        ("<think>The answer is 41.</think>So 42", "42"),
        ('"6 * 7 = 42\\n#### 42"', "42"),
    ],
)
def test_a_number_is_read(text: str, value: str) -> None:
    answer = NUMBER.parse(ASKED, text)
    assert (answer.status, answer.value) == (AnswerStatus.OK, value)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        *[(text, DECLINED) for text in ("", "I cannot tell.", "twelve", "x2", "nan", "####")],
        *[(text, UNPARSABLE) for text in ("41 or 42", "#### 41 or 42", "1/0", "1e999")],
        *[(text, UNPARSABLE) for text in ("the answer is either 41 or 42", "<think>42")],
        ("1" * (MAX_DIGITS + 1), UNPARSABLE),
    ],
)
def test_what_is_no_number_is_none(text: str, answer: Answer) -> None:
    assert NUMBER.parse(ASKED, text) == answer


@pytest.mark.parametrize(
    ("text", "work"),
    [
        ("6 * 7 is 42.\n#### 42", "6 * 7 is 42."),
        ("6 * 7 is 42, so the answer is 42.", "6 * 7 is 42,"),
        ("<think>Hm.</think>6 * 7\n\n**Answer:** 42", "6 * 7"),
        ("6 * 7\n42", "6 * 7"),
        ("He has 42 apples.", "He has 42 apples."),
        ("42", ""),
        ("#### 42", ""),
    ],
)
def test_the_work_is_what_stands_before_the_answer(text: str, work: str) -> None:
    assert NUMBER.parse(ASKED, text) == Answer.of("42", work)


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        *[(1000, Answer.of("1000")), (1000.0, Answer.of("1000")), (-0.1, Answer.of("-0.1"))],
        (1e22, Answer.of("10000000000000000000000")),
        (10**500, UNPARSABLE),
        ("6 * 7\n#### 42", Answer.of("42", "6 * 7")),
        ("none", DECLINED),
        *[(junk, UNPARSABLE) for junk in (None, True, [], {}, [42], {"answer": 42})],
    ],
)
def test_a_json_value_is_a_number_or_is_not(value: JSON, answer: Answer) -> None:
    assert NUMBER.read(ASKED, value) == answer


@pytest.mark.parametrize(
    ("like", "written"),
    [
        (None, "6 * 7\n#### 42"),
        ("5 + 5\n#### 10", "6 * 7\n#### 42"),
        ("5 + 5. The answer is 10.", "6 * 7\nThe answer is 42."),
        ("**Final Answer:** 10", "6 * 7\nFinal Answer: 42"),
        ("so $\\boxed{10}$", "6 * 7\n\\boxed{42}"),
        ("10", "6 * 7\n42"),
        ("It is 10.", "6 * 7\n#### 42"),
        ("I do not know", "6 * 7\n#### 42"),
    ],
)
def test_an_answer_is_written_in_the_style_of_another(like: str | None, written: str) -> None:
    assert NUMBER.write(ASKED, Answer.of("42", "6 * 7"), like) == written


@given(st.fractions() | st.decimals(allow_nan=False, allow_infinity=False, places=6))
def test_a_number_has_one_spelling_which_is_exact(number: Fraction | Decimal) -> None:
    said = spelling(Fraction(number))
    assert Fraction(said) == Fraction(number)
    assert NUMBER.parse(ASKED, f"The answer is {said}.") == Answer.of(said)
    assert NUMBER.parse(ASKED, said).value == said


@given(st.integers(-(10**30), 10**30), st.integers(0, 5))
def test_how_it_is_written_does_not_count(whole: int, zeros: int) -> None:
    spelt = [f"{whole}", f"{whole:,}", f"{whole}.{'0' * (zeros + 1)}", f"{whole * 2}/2"]
    keys = {NUMBER.key(ASKED, NUMBER.parse(ASKED, f"#### {each}")) for each in spelt}
    assert keys == {json.dumps(str(whole))}


# ---------------------------------------------------------------- choice


@pytest.mark.parametrize(
    ("task", "text", "value"),
    [
        *[(LETTERS, text, "(A)") for text in ("(A)", "A", "a", "[a]", "A)", "a.", "(A) red")],
        *[(LETTERS, f"So the answer is {text}.", "(B)") for text in ("(B)", "B", "b", "**(B)**")],
        (LETTERS, "Answer: B because A is red", "(B)"),
        (LETTERS, "the answer is A because it is", "(A)"),
        (LETTERS, "The answer is (A), not (B).", "(A)"),
        (LETTERS, "(A) is wrong, (B) is right", "(B)"),
        (LETTERS, "It is not (C), but (B)", "(B)"),
        (LETTERS, "A: no. (C) it is", "(C)"),
        (LETTERS, "\\boxed{\\text{C}}", "(C)"),
        (LETTERS, "The answer is (A). Wait. The answer is (C).", "(C)"),
        (LETTERS, "(A) or (B)? The answer is (C).", "(C)"),
        (LETTERS, "<think>(A) or (B)</think>(C)", "(C)"),
        (LETTERS, '"(C)"', "(C)"),
        (VALID, "The argument is Invalid.", "invalid"),
        (VALID, "It seems valid. So the answer is invalid.", "invalid"),
        (YES, "yes", "Yes"),
        (YES, "Yes or no? The answer is no, since yes is wrong.", "No"),
        (YES, "Noon is no time: yes", "Yes"),
    ],
)
def test_an_option_is_read(task: Task, text: str, value: str) -> None:
    answer = CHOICE.parse(task, text)
    assert (answer.status, answer.value) == (AnswerStatus.OK, value)


@pytest.mark.parametrize(
    ("task", "text", "answer"),
    [
        *[(LETTERS, text, DECLINED) for text in ("", "I cannot tell.", "(D)", "A dog", "not (A)")],
        (LETTERS, "the answer is a dog", DECLINED),
        (VALID, "The argument is not valid.", DECLINED),
        (ASKED, "(A)", DECLINED),
        *[(LETTERS, t, UNPARSABLE) for t in ("(A) or (B)", "(A), (B)", "(A)/(B)", "(A) and (B)")],
        (LETTERS, "The answer is (A) or (B).", UNPARSABLE),
        (LETTERS, "The answer is either (A) red or (B) blue.", UNPARSABLE),
        (YES, "Yes and no.", UNPARSABLE),
        (YES, "<think>Yes", UNPARSABLE),
    ],
)
def test_what_chooses_none_is_none(task: Task, text: str, answer: Answer) -> None:
    assert CHOICE.parse(task, text) == answer


LABELS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6).filter(str.strip)


@given(st.lists(LABELS, min_size=1, max_size=4, unique=True), st.text(max_size=40))
def test_whatever_the_labels_reading_does_not_raise(labels: list[str], text: str) -> None:
    task = Task("rows/0", (), "Answer.", "Which?", "choice", tuple(labels))
    for said in (text, *labels, f"So the answer is {labels[-1]}."):
        answer = CHOICE.parse(task, said)
        assert (answer.value in labels) == (answer.status is AnswerStatus.OK)


def test_a_json_value_is_an_option_or_is_not() -> None:
    flags = Task("rows/0", (), "Answer.", "Is it?", "choice", ("True", "False"))
    assert CHOICE.read(flags, True) == CHOICE.read(flags, "true") == Answer.of("True")
    assert CHOICE.read(LETTERS, "b") == Answer.of("(B)")
    for junk in (None, [], {}, ["(A)"]):
        assert CHOICE.read(LETTERS, junk) == UNPARSABLE


def test_candidates_are_the_options() -> None:
    found = CHOICE.candidates(LETTERS, "tool_call")
    assert found is not None
    assert (found.opening, found.names) == ("So the answer is", LETTERS.choices)
    assert found.texts == (" (A).", " (B).", " (C).")
    assert found.told[1] == "Another answer to this question was (B)."
    drafted = CHOICE.candidates(LETTERS, "as_answered", "<think>Hm.</think>Red. Answer: (B)")
    assert drafted is not None
    assert drafted.opening == "<think>Hm.</think>Red. Answer:"
    assert drafted.texts == (" (A)", " (B)", " (C)")
    assert CHOICE.candidates(LETTERS, "as_answered", "I do not know.") == found
    bare = CHOICE.candidates(LETTERS, "bare", decline=True)
    assert bare is not None
    assert (bare.opening, bare.texts) == ("", (*LETTERS.choices, "none"))
    assert CHOICE.candidates(ASKED, "bare") is None


def test_a_new_question_has_its_own_options() -> None:
    listed = "Which?\nOptions:\n(A) red\n(B) blue\n(C) (A) or (B)\n(D) none"
    assert CHOICE.variant(LETTERS, "1", listed).choices == ("(A)", "(B)", "(C)", "(D)")
    assert CHOICE.variant(LETTERS, "1", "Which?").choices == LETTERS.choices
    assert CHOICE.variant(YES, "1", listed).choices == YES.choices
    variant = CHOICE.variant(LETTERS, "1", "Which?\n(A) red\n(B) blue")
    assert CHOICE.faults(variant, Answer.of("(B)")) == ()
    assert CHOICE.faults(variant, Answer.of("(C)")) == ("'(C)' is none of the options (A), (B)",)
    assert CHOICE.faults(variant, DECLINED)
    assert CHOICE.schema(variant) == {"type": "string", "enum": ["(A)", "(B)"]}


# ---------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("ant  bee\ncat.", Answer.of("ant bee cat")),
        ("Hm.\nSo the answer is ant bee.\nI am sure.", Answer.of("ant bee", "Hm.")),
        ("Answer:\nant\nbee", Answer.of("ant bee")),
        ("#### > ] )", Answer.of("> ] )")),
        ("It is \\boxed{a {b} c}, yes", Answer.of("a {b} c", "It is")),
        ('The answer is "**ant**".', Answer.of("ant")),
        ("cafe\u0301", Answer.of("caf\u00e9")),
        ("The answer is not valid.", Answer.of("not valid")),
        ("", DECLINED),
        (" ** ", DECLINED),
        ("Let me see. The answer is", DECLINED),
        ("<think>ant", UNPARSABLE),
    ],
)
def test_a_text_is_read(text: str, answer: Answer) -> None:
    assert TEXT.parse(ASKED, text) == answer


def test_texts_are_right_to_the_letter() -> None:
    reference = TEXT.read(ASKED, "ant bee")
    for text, reason in [
        ("The answer is ant  bee.", None),
        ("Ant bee", "wrong_value"),
        ("ant", "wrong_value"),
        ("", "no_answer"),
        ("<think>ant bee", "unparsable"),
    ]:
        assert TEXT.score(ASKED, reference, TEXT.parse(ASKED, text)).reason == reason


def test_a_text_that_is_the_word_for_no_answer_is_an_answer() -> None:
    for word in ("declined", "unparsable"):
        assert not TEXT.score(ASKED, Answer.of(word), Answer(AnswerStatus(word))).correct


@given(st.text())
def test_the_normal_form_is_one(text: str) -> None:
    assert normal(normal(text)) == normal(text)


# ---------------------------------------------------------------- all three

PARTS = st.sampled_from(
    [
        *("the answer is ", "Answer: ", "#### ", "\\boxed{", "}", "(A)", "b", " or ", "not ", "\n"),
        *(
            ". ",
            "<think>",
            "</think>",
            '"',
            "**",
            "42",
            "-3/4",
            "$1,000",
            "=",
            "yes",
            "\ud800",
            "é",
        ),
    ]
)
TEXTS = st.text(max_size=60) | st.lists(PARTS, max_size=14).map("".join)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@settings(max_examples=300)
@given(text=TEXTS, like=st.none() | TEXTS)
def test_what_is_written_is_read_again(form: AnswerForm, text: str, like: str | None) -> None:
    answer = form.parse(LETTERS, text)
    assert json.loads(json.dumps(answer.value)) == answer.value
    if answer.status is AnswerStatus.OK:
        again = form.parse(LETTERS, form.write(LETTERS, answer, like))
        assert again.value == answer.value
        # Work that itself breaks off in a string or thought cannot stand before an answer.
        assert again.work in (answer.work, "")
    else:
        assert form.write(LETTERS, answer, like) == ""


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(one=TEXTS, other=TEXTS)
def test_keys_agree_with_scores(form: AnswerForm, one: str, other: str) -> None:
    reference, answer = form.parse(LETTERS, one), form.parse(LETTERS, other)
    if reference.status is AnswerStatus.UNPARSABLE:
        return
    score = form.score(LETTERS, reference, answer)
    alike = form.key(LETTERS, reference) == form.key(LETTERS, answer)
    assert score.correct == alike
    assert score.reason in ((None,) if alike else form.reasons)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(text=TEXTS)
def test_a_text_in_json_is_read_as_the_text(form: AnswerForm, text: str) -> None:
    assert form.parse(LETTERS, json.dumps(text)).value == form.read(LETTERS, text).value


@pytest.mark.parametrize("name", GROWING)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_work_grows_as_the_text_does(form: AnswerForm, name: str) -> None:
    small, large = (lines_executed(form.parse, LETTERS, GROWING[name](size)) for size in (200, 800))
    assert large <= 5 * small + 100


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_hostile_texts_are_texts(form: AnswerForm, tmp_path: Path) -> None:
    mark = f"{tmp_path}/owned"
    for payload in payloads(mark):
        for text in (*carriers(payload), f"The answer is {payload}.", f"\\boxed{{{payload}}}"):
            form.write(LETTERS, form.parse(LETTERS, text), text)
    assert not Path(mark).exists()
