"""Patterns of schemas, with Python's `re` as the oracle."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ttsi.parameters.automata import occurs, overlap
from ttsi.parameters.patterns import IrregularPattern, lengths, read_pattern

ATOMS = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^a]", "[a-c1-3]", r"\d", r"\w", r"\.", "(?:ab|c)", "(b|)", r"[\d_]",
     r"\x61", r"a", "-", r"\/", "[]a]", "[a-]"]
)  # fmt: skip
COUNTS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "{2,}", "*?", "{,2}"])
PIECES = st.builds(lambda atom, count: atom + count, ATOMS, COUNTS)
ROWS = st.builds(
    lambda start, pieces, end: start + "".join(pieces) + end,
    st.sampled_from(["", "^"]), st.lists(PIECES, max_size=3), st.sampled_from(["", "$"]),
)  # fmt: skip
PATTERNS = st.lists(ROWS, min_size=1, max_size=2).map("|".join)
TEXTS = st.text(alphabet="abc1-._/]", max_size=4)
often = settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))


@often
@given(PATTERNS, TEXTS)
def test_a_pattern_matches_what_python_finds_it_in(pattern: str, text: str) -> None:
    found = re.search(pattern, text) is not None
    assert overlap(pattern, f"^{re.escape(text)}$") == found
    assert occurs(pattern, text) == found
    least, most = lengths(read_pattern(pattern))
    assert not found or least <= len(text) <= (len(text) if most is None else most)


@often
@given(PATTERNS, PATTERNS, TEXTS)
def test_what_no_string_matches_is_told_apart(one: str, other: str, text: str) -> None:
    if re.search(one, text) and re.search(other, text):
        assert overlap(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("^S_", "^I_"), ("^[0-9]+$", "^[a-z]+$"), ("^a{2}$", "^a{3}$"), ("a$", "b$"), ("^x-", "^x_")],
)
def test_patterns_that_exclude_each_other(one: str, other: str) -> None:
    assert not overlap(one, other)


@pytest.mark.parametrize(
    "pattern",
    ["(?=a)", "(?!a)", "(?<=a)b", r"\bx", r"(a)\1", "(?i)a", "(?P<n>a)", "a^b", "a$b", "(^a)",
     r"\Aa", "a++", "[", "a{2,1}", "a{99999999999}", "(" * 2000 + ")" * 2000],
)  # fmt: skip
def test_what_is_not_regular_is_refused(pattern: str) -> None:
    with pytest.raises(IrregularPattern):
        read_pattern(pattern)


def test_long_repetitions_take_no_time() -> None:
    with pytest.raises(IrregularPattern, match="takes more than 10000 states"):
        occurs("^(a{1,500}){1,500}$", "a")
    assert occurs("^(){1000000000}$", "")
    assert lengths(read_pattern("^(a{1,500}){1,500}$")) == (1, 250_000)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"^\d+$", "\u0661\u0662", False),
        (r"^\d+$", "12\n", False),
        (r"^\w+$", "\u00e9", False),
        (r"^\S+$", "Z\u00fcrich", True),
        (r"^[^\s]+$", "Z\u00fcrich", True),
        (r"^\W$", "\u00e9", True),
        ("b", "a\nb\nc", True),
        ("^a.b$", "a\nb", False),
        ("^.{1,4096}$", "\U0001f600" * 4096, True),
    ],
)
def test_a_pattern_means_the_same_to_every_reader(pattern: str, text: str, found: bool) -> None:
    assert occurs(pattern, text) is found


def test_no_text_makes_matching_take_long() -> None:
    started = time.process_time()
    assert not occurs(r"^(\w+\s?)*$", "a" * 5000 + "!")
    assert not occurs("^(a|a)*(a|aa)+$", "a" * 5000 + "!")
    assert time.process_time() - started < 5
