"""Reasons of wrong answers are explained, each one that there is, in reports and on the page."""

from __future__ import annotations

import re
from pathlib import Path

from reports import Page, made

from ttsi import registry
from ttsi.answers import form_named
from ttsi.answers.reasons import MEANINGS, explained
from ttsi.report import html

ROOT = Path(__file__).parent.parent


def test_every_reason_of_a_form_is_explained() -> None:
    forms = [name for name, each in registry.discover("answers").items() if each.builtin]
    reasons = {reason for name in forms for reason in form_named(name).reasons}
    assert len(reasons) >= 8
    assert reasons <= MEANINGS.keys()


def test_every_reason_that_a_benchmark_gives_is_explained() -> None:
    """Conversations have reasons of their own, which are words of the benchmarks' code."""
    given = re.compile(r'(?:Score\(False, |_wrong\(|_stop\()"(\w+)"')
    files = [*(ROOT / "benchmarks").rglob("*.py"), ROOT / "ttsi" / "types.py"]
    reasons = {reason for path in files for reason in given.findall(path.read_text())}
    assert {"wrong_state", "unfinished"} <= reasons <= MEANINGS.keys()


def test_reasons_are_told_in_the_order_in_which_they_apply() -> None:
    assert [name for name, _ in explained(["wrong_value", "odd", "no_call"])] == [
        "no_call",
        "wrong_value",
    ]


def test_a_report_explains_the_reasons_that_it_counts(tmp_path: Path) -> None:
    run = made(tmp_path)
    page = Page(html([run]))
    counted = {*run.seeds[0].results["reasons"], *run.seeds[0].results["base"]["reasons"]}
    assert counted
    for reason, meaning in MEANINGS.items():
        assert (meaning in page.text) == (reason in counted)
