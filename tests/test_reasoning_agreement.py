"""GSM8K and BIG-Bench Hard: our scores against their authors' answer extraction.

The extraction is written here from its description, as an oracle. `GSM8K_OURS` and so on list the
kinds of answers on which it and our forms disagree; docs/benchmarks.md explains them under "Scoring
`gsm8k` and `bbh`".
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from engines import data

from ttsi.answers import form_of
from ttsi.types import Completion, Sample
from ttsi_benchmarks._bbh_source import TASKS
from ttsi_benchmarks._select import places
from ttsi_benchmarks.bbh import Bbh
from ttsi_benchmarks.gsm8k import Gsm8k
from ttsi_plugins.scorers.exact import Exact

MATH = Gsm8k().samples()
HARD = Bbh().samples()

Writer = Callable[[Sample, Sample], str | None]
"""An answer to the first sample, None where there is none of the kind. The second sample has
another reference, for answers that are wrong."""

Apart = dict[str, set[str]]
"""By kind of answer: the forms in which ours and theirs part."""


def oracle_number(text: str) -> str | None:
    """Apply GSM8K's own extraction: the first text after "#### ", without commas."""
    found = re.search(r"#### (\-?[0-9\.\,]+)", text)
    return found[1].strip().replace(",", "") if found else None


def oracle_answer(text: str) -> str | None:
    """Apply BBH's own extraction: the text after "the answer is ", without the full stop."""
    _, found, said = text.rpartition("the answer is ")
    return said.strip().removesuffix(".") if found else None


def right(sample: Sample, text: str) -> bool:
    answer = form_of(sample.task).parse(sample.task, text)
    return Exact().score(sample.task, sample.reference, Completion(text, answer)).correct


def whole(sample: Sample) -> int:
    return int(str(sample.reference.value))


def value(sample: Sample) -> str:
    return str(sample.reference.value)


MATH_WRITERS: dict[str, Writer] = {
    "as the authors write": lambda s, o: f"{s.reference.work}\n#### {whole(s)}",
    "commas": lambda s, o: f"{s.reference.work}\n#### {whole(s):,}",
    "unit behind": lambda s, o: f"{s.reference.work}\n#### {whole(s)} apples",
    "percent sign": lambda s, o: f"#### {whole(s)}%",
    "full stop": lambda s, o: f"{s.reference.work}\n#### {whole(s)}.",
    "decimals": lambda s, o: f"{s.reference.work}\n#### {whole(s)}.00",
    "currency": lambda s, o: f"{s.reference.work}\n#### ${whole(s)}",
    "plus sign": lambda s, o: f"#### +{whole(s)}",
    "bold": lambda s, o: f"{s.reference.work}\n#### **{whole(s)}**",
    "no space": lambda s, o: f"{s.reference.work}\n####{whole(s)}",
    "prose": lambda s, o: f"{s.reference.work}\nThe answer is {whole(s)}.",
    "boxed": lambda s, o: f"{s.reference.work}\n$\\boxed{{{whole(s)}}}$",
    "alone": lambda s, o: str(whole(s)),
    "wrong number": lambda s, o: f"{s.reference.work}\n#### {whole(o)}",
    "one more": lambda s, o: f"{s.reference.work}\n#### {whole(s) + 1}",
    "sign turned": lambda s, o: f"#### {-whole(s)}",
    "a thousandth more": lambda s, o: f"#### {whole(s)}.001",
    "ten times as much": lambda s, o: f"#### {whole(s)}0",
    "prose, wrong": lambda s, o: f"The answer is {whole(o)}.",
    "right last": lambda s, o: f"#### {whole(o)}\nNo, wait.\n#### {whole(s)}",
    "right first": lambda s, o: f"#### {whole(s)}\nNo, wait.\n#### {whole(o)}",
    "hedge": lambda s, o: f"#### {whole(s)} or {whole(o)}",
    "goes on": lambda s, o: f"#### {whole(s)}\n\nProblem: {o.task.input}\n#### {whole(o)}",
    "quotient": lambda s, o: f"#### {2 * whole(s)}/2",
    "behind a thought": lambda s, o: f"<think>#### {whole(o)}</think>\n#### {whole(s)}",
    "no number": lambda s, o: "I cannot tell.",
    "nothing": lambda s, o: "",
}

HARD_WRITERS: dict[str, Writer] = {
    "as the authors write": lambda s, o: f"Let us see. So the answer is {value(s)}.",
    "no full stop": lambda s, o: f"Let us see. So the answer is {value(s)}",
    "alone": lambda s, o: value(s),
    "answer, colon": lambda s, o: f"Let us see.\nAnswer: {value(s)}",
    "begins the sentence": lambda s, o: f"Let us see. The answer is {value(s)}.",
    "colon": lambda s, o: f"So the answer is: {value(s)}",
    "bold": lambda s, o: f"So the answer is **{value(s)}**.",
    "quoted": lambda s, o: f'So the answer is "{value(s)}".',
    "other case": lambda s, o: cased(s) and f"So the answer is {value(s).swapcase()}.",
    "without brackets": lambda s, o: chosen(s) and f"So the answer is {value(s).strip('()')}.",
    "letter and text": lambda s, o: chosen(s) and f"So the answer is {value(s)} {chosen(s)}.",
    "goes on": lambda s, o: f"So the answer is {value(s)}. I am sure of it.",
    "next question": lambda s, o: f"So the answer is {value(s)}.\n\nQ: {o.task.input}",
    "wrong": lambda s, o: f"Let us see. So the answer is {other(s)}.",
    "wrong, alone": lambda s, o: other(s),
    "hedge": lambda s, o: f"So the answer is {value(s)} or {other(s)}.",
    "right last": lambda s, o: f"So the answer is {other(s)}. No: the answer is {value(s)}.",
    "right first": lambda s, o: f"So the answer is {value(s)}. No: the answer is {other(s)}.",
    "behind a thought": lambda s, o: (
        f"<think>Perhaps the answer is {other(s)}.</think>So the answer is {value(s)}."
    ),
    "no answer": lambda s, o: "I cannot tell.",
    "nothing": lambda s, o: "",
}


def chosen(sample: Sample) -> str | None:
    """Return the text of the right option, if options have letters."""
    line = re.search(rf"^{re.escape(value(sample))} (.*)$", sample.task.input, re.M)
    return line[1] if line and re.fullmatch(r"\([A-Z]\)", value(sample)) else None


def cased(sample: Sample) -> bool | None:
    return value(sample).swapcase() != value(sample) or None


def other(sample: Sample) -> str:
    """Return a wrong answer of the same kind."""
    if sample.task.choices:
        return next((c for c in sample.task.choices if c != sample.reference.value), "(Z)")
    if sample.task.form == "number":
        return str(whole(sample) + 1)
    return " ".join([*value(sample).split()[1:], value(sample).split()[0], "]"])


def apart(
    samples: Sequence[Sample],
    writers: dict[str, Writer],
    oracle: Callable[[str], str | None],
    gold: Callable[[Sample], str],
) -> tuple[Apart, Apart, int]:
    """Return kinds that only ours finds right, kinds that only theirs does, and the number of
    answers.

    There are eight answers of each kind and form. Fails if they disagree on some answers of a kind
    and form only: the kind must then be split.
    """
    ours_alone: Apart = defaultdict(set)
    theirs_alone: Apart = defaultdict(set)
    count = 0
    for form in sorted({sample.task.form for sample in samples}):
        own = [sample for sample in samples if sample.task.form == form]
        for kind, write in writers.items():
            verdicts = set()
            for sample, text in _texts(own, write):
                verdicts.add((right(sample, text), oracle(text) == gold(sample)))
                count += 1
            assert len(verdicts) <= 1, (kind, form, verdicts)
            if verdicts == {(True, False)}:
                ours_alone[kind].add(form)
            if verdicts == {(False, True)}:
                theirs_alone[kind].add(form)
    return ours_alone, theirs_alone, count


def _texts(own: Sequence[Sample], write: Writer) -> list[tuple[Sample, str]]:
    others = {
        value(sample): next(other for other in own if value(other) != value(sample))
        for sample in own
    }
    texts = [(sample, write(sample, others[value(sample)])) for sample in own]
    able = [(sample, text) for sample, text in texts if text is not None]
    return [able[place] for place in places(len(able), 8, "even")]


NUMBER = {"number"}
GSM8K_OURS: Apart = dict.fromkeys(
    [
        *("full stop", "decimals", "currency", "plus sign", "bold", "no space", "quotient"),
        *("prose", "boxed", "alone", "right last", "behind a thought"),
    ],
    NUMBER,
)
GSM8K_THEIRS: Apart = dict.fromkeys(["right first", "hedge", "goes on"], NUMBER)
ALL = {"choice", "number", "text"}
BBH_OURS: Apart = {
    **dict.fromkeys(
        [
            *("alone", "answer, colon", "begins the sentence", "colon"),
            *("bold", "quoted", "next question"),
        ],
        ALL,
    ),
    "goes on": {"choice", "number"},
    "other case": {"choice"},
    "without brackets": {"choice"},
    "letter and text": {"choice"},
}
BBH_THEIRS: Apart = {}


def test_gsm8k_is_scored_as_its_authors_do_but_for_these_kinds() -> None:
    large = [sample for sample in MATH if whole(sample) >= 1000]
    rows = [*large[:40], *(sample for sample in MATH if 1 < whole(sample) < 1000)]
    ours, theirs, count = apart(rows, MATH_WRITERS, oracle_number, lambda s: str(whole(s)))
    assert (ours, theirs) == (GSM8K_OURS, GSM8K_THEIRS)
    assert count == 216


def test_bbh_is_scored_as_its_authors_do_but_for_these_kinds() -> None:
    targets = {}
    for name in TASKS:
        rows = json.loads(data(f"bbh/{name}.json").read_text())["examples"]
        targets |= {f"bbh/{name}/{i}": row["target"] for i, row in enumerate(rows)}
    ours, theirs, count = apart(HARD, HARD_WRITERS, oracle_answer, lambda s: targets[s.id])
    assert (ours, theirs) == (BBH_OURS, BBH_THEIRS)
    assert count == 464
