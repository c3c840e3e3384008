"""Contract checks of answer forms, on their own specimens and on foreign texts."""

from __future__ import annotations

import json
import reprlib
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, get_args

from ttsi._common.pointers import tokens_of
from ttsi.protocols import Asking, Candidates, Context
from ttsi.testing.checks import Check, NotApplicable, require
from ttsi.testing.drawn_forms import (
    GROWING,
    JUNK,
    answers,
    readings,
    task_for,
    texts,
    values,
)
from ttsi.testing.faults import answer_faults
from ttsi.testing.hostile import carriers, payloads
from ttsi.testing.subject import Subject
from ttsi.testing.work import lines_executed
from ttsi.types import DECLINED, UNPARSABLE, Answer, AnswerStatus, Message, Score, Task

_SIZE = 100
_GROWTH = 4
_LEEWAY = 1.25
_CONTEXTS: tuple[Context, ...] = get_args(Context)


def specimens_are_answers(subject: Subject) -> None:
    made, task = _made(subject)
    for text in made.specimens:
        answer = made.parse(task, text)
        told = f"the specimen {text[:80]!r} is read as {_said(answer)}"
        require(isinstance(answer, Answer) and answer.status is AnswerStatus.OK, told)
    keys = {made.key(task, answer) for answer in answers(made, task)}
    told = "name two texts that answer differently in `specimens`"
    require(len(keys) > 1, f"{len(keys)} different answers to try it on: {told}")


def values_are_json(subject: Subject) -> None:
    made, task = _made(subject)
    for text in [*texts(made), *(family(30) for family in GROWING.values())]:
        fault = answer_faults(made.parse(task, text))
        require(not fault, f"of the text {text[:80]!r}: {fault}")
    for value in JUNK:
        fault = answer_faults(made.read(task, value))
        require(not fault, f"of the JSON value {reprlib.repr(value)}: {fault}")
    for text in ("", " \n"):
        read = made.parse(task, text)
        told = f"the empty text {text!r} is read as {_said(read)}, not as declined"
        require(read.status is AnswerStatus.DECLINED, told)
    told = "null is read as an answer"
    require(made.read(task, None).status is not AnswerStatus.OK, told)


def what_is_written_is_read(subject: Subject) -> None:
    made, task = _made(subject)
    for answer in answers(made, task):
        for like in (None, *texts(made)):
            written = made.write(task, answer, like)
            require(isinstance(written, str), f"write() gave {type(written).__name__}, not str")
            again = made.parse(task, written)
            told = f"{_said(answer)} is written as {written[:120]!r} and read as {_said(again)}"
            same = made.key(task, again) == made.key(task, answer)
            require(same and again.work == answer.work, told)


def keys_agree_with_scores(subject: Subject) -> None:
    made, task = _made(subject)
    known = answers(made, task)
    for one, other in product([*known, DECLINED], [*known, DECLINED, UNPARSABLE]):
        alike = made.key(task, one) == made.key(task, other)
        right = bool(made.score(task, one, other).correct)
        told = f"right is {right} for {_said(other)}, where {_said(one)} is, and equal keys {alike}"
        require(alike == right, told)
        same = made.parts(task, one) == made.parts(task, other)
        told = f"the parts of {_said(one)} and {_said(other)} differ, and their keys are equal"
        require(same or not alike, told)


def scores_give_reasons(subject: Subject) -> None:
    made, task = _made(subject)
    named = made.reasons
    sound = isinstance(named, tuple) and all(isinstance(each, str) and each for each in named)
    require(sound and len(set(named)) == len(named), f"`reasons` are no tuple of texts: {named!r}")
    known = answers(made, task)
    for one, other in product([*known, DECLINED], [*known, DECLINED, UNPARSABLE]):
        score = made.score(task, one, other)
        require(isinstance(score, Score), f"{type(score).__name__} is no Score")
        told = f"{score!r} of {_said(other)} where {_said(one)} is right"
        reason_is_due = not score.correct
        require((score.reason is not None) == reason_is_due, f"a reason says why not: {told}")
        require(score.reason in (None, *named), f"the reason is none of `reasons`: {told}")


def thoughts_are_no_answer(subject: Subject) -> None:
    made, task = _made(subject)
    for text in made.specimens:
        read = made.parse(task, f"<think>Perhaps.\n{text}")
        told = f"a thought that is not closed is read as {_said(read)}: {text[:80]!r}"
        require(read.status is AnswerStatus.UNPARSABLE, told)
        for other in made.specimens:
            read = made.parse(task, f"<think>{other}</think>\n\n{text}")
            told = f"{text[:80]!r} is read otherwise behind a thought: {_said(read)}"
            require(read == made.parse(task, text), told)


def constrained_texts_are_read(subject: Subject) -> None:
    from jsonschema import Draft202012Validator, SchemaError

    made, task = _made(subject)
    schema = made.schema(task)
    if schema is None:
        raise NotApplicable("it has no schema: decoding is not constrained")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        require(False, f"what schema() gives is not JSON Schema: {error.message}")
    for value in values(made, task):
        read, parsed = made.read(task, value), made.parse(task, json.dumps(value))
        told = f"{json.dumps(value)[:120]} is {_said(read)} as a value and {_said(parsed)} as text"
        require(read == parsed, told)


def variants_are_alike(subject: Subject) -> None:
    made, task = _made(subject)
    for input in ("Another question?", "Which?\n(A) this\n(B) that"):
        variant = made.variant(task, "1", input)
        require(isinstance(variant, Task), f"variant() gave {type(variant).__name__}, not a Task")
        kept = (variant.id, variant.input, variant.instruction, variant.tools, variant.form)
        wanted = (f"{task.id}#1", input, task.instruction, task.tools, task.form)
        told = "a variant changes more than input and choices, or another id than #1 is derived"
        require(kept == wanted, f"{told}: {kept!r}")
        require(variant == made.variant(task, "1", input), "a variant differs from call to call")
        talk = [Message("user", "Now?"), Message("assistant", "Later."), *task.said]
        said = made.variant(task.after(talk), "1", input).said
        told = "a variant of a conversation has other turns than those before the user's last one"
        require(said == (*talk[:2], Message("user", input)), told)


def asking_is_in_words(subject: Subject) -> None:
    asking = subject.make().asking
    require(isinstance(asking, Asking), f"`asking` is {type(asking).__name__}, not Asking")
    words = [asking.data_for, asking.answer, asking.answer_to_it, asking.rule, asking.shape]
    told = f"`asking` has an empty part: {asking!r}"
    require(all(isinstance(each, str) and each.strip() for each in words), told)


def candidates_are_parallel(subject: Subject) -> None:
    made, task = _made(subject)
    for context, draft, decline in product(_CONTEXTS, texts(made), (False, True)):
        found = made.candidates(task, context, draft, decline=decline)
        if found is None:
            continue
        told = f"in the context {context}: {found!r}"
        require(isinstance(found, Candidates), f"these are no Candidates, {told}")
        lengths = {len(found.names), len(found.texts), len(found.told)}
        require(len(lengths) == 1, f"names, texts and told are not parallel, {told}")
        require(len(set(found.texts)) == len(found.texts), f"a text stands twice, {told}")
        require(not (context == "bare" and found.opening), f"bare has an opening, {told}")


def claims_are_in_the_answer(subject: Subject) -> None:
    made, task = _made(subject)
    for answer, like in product(answers(made, task), (None, *texts(made))):
        claims = made.claims(task, answer, like)
        if claims is None:
            continue
        written = made.write(task, answer, like)
        for claim in claims:
            told = f"the claim {claim.where} of {_said(answer)}"
            sound = claim.written == written and 0 <= claim.span[0] < claim.span[1] <= len(written)
            require(sound, f"{told} does not stand in what write() gives")
            require(_has(answer.value, claim.where), f"{told} points to nothing in the value")
        optional = [claim for claim in claims if claim.optional]
        rest = made.without(task, answer, optional)
        left = made.claims(task, rest, like) or ()
        told = f"without its optional claims {_said(answer)} becomes {_said(rest)}"
        require(rest.status is answer.status, told)
        require(len(left) == len(claims) - len(optional), f"{told}, which claims {len(left)} parts")
        new = set(made.faults(task, rest)) - set(made.faults(task, answer))
        require(not new, f"{told}: {sorted(new)}")
        require(made.without(task, answer, ()) == answer, "leaving out no claim changed the answer")


def _has(value: Any, pointer: str) -> bool:
    for key in tokens_of(pointer):
        try:
            value = value[int(key) if isinstance(value, list) else key]
        except (KeyError, IndexError, TypeError, ValueError):
            return False
    return pointer.startswith("/") or pointer == ""


def hostile_text_is_never_executed(subject: Subject) -> None:
    made, task = _made(subject)
    with tempfile.TemporaryDirectory() as folder:
        mark = Path(folder) / "owned"
        for payload in payloads(str(mark)):
            for text in (*carriers(payload), f"The answer is {payload}.", f"#### {payload}"):
                read = made.parse(task, text)
                made.read(task, text)
                made.write(task, read, text)
                require(not mark.exists(), f"it executed {payload!r} of the text {text[:80]!r}")


def work_is_linear(subject: Subject) -> None:
    """Check that work grows linearly with the text, counted in Python lines instead of seconds."""
    made, task = _made(subject)
    for name, family in GROWING.items():
        for told, work in _works(made, task):
            counts = [lines_executed(work, family(size)) for size in (_SIZE, _GROWTH * _SIZE)]
            said = f"{_GROWTH} times the text took {counts[0]} and then {counts[1]} lines"
            allowed = _GROWTH * _LEEWAY * counts[0] + 100
            require(counts[1] <= allowed, f"{told} of {name}: {said}")


def same_reading_elsewhere(subject: Subject) -> None:
    from ttsi.testing.child import elsewhere
    from ttsi.testing.plain import fingerprint

    made, other = subject.make(), subject.make()
    one, again = readings(made, subject.name), readings(other, subject.name)
    require(one == again, "two instances read the same texts differently")
    there = elsewhere(subject)["made"]
    told = "another process reads the same texts differently"
    require(there is None or there == fingerprint(one), told)


def _works(made: Any, task: Task) -> Iterator[tuple[str, Callable[[str], object]]]:
    yield "parse()", lambda text: made.parse(task, text)
    yield "read()", lambda text: made.read(task, text)
    yield "write()", lambda text: made.write(task, made.parse(task, text), text)
    yield "claims()", lambda text: made.claims(task, made.parse(task, text), text)
    yield "candidates()", lambda text: made.candidates(task, "as_answered", text)


def _made(subject: Subject) -> tuple[Any, Task]:
    return subject.make(), task_for(subject.name)


def _said(answer: Any) -> str:
    if not isinstance(answer, Answer):
        return repr(answer)[:120]
    work = f" with the work {answer.work[:40]!r}" if answer.work else ""
    return f"{answer.status.value} {str(answer.value)[:80]!r}{work}"


CHECKS = (
    Check(
        "specimens",
        "Texts that answer in the form show that it reads them; the other checks use them.",
        specimens_are_answers,
    ),
    Check(
        "values",
        "Whatever a text or a JSON value is, reading does not raise, and records hold the answer.",
        values_are_json,
    ),
    Check(
        "round-trip",
        "Training targets and demonstrations teach what is read from them again.",
        what_is_written_is_read,
    ),
    Check(
        "key",
        "Votes count answers by their keys: equal just where they score alike.",
        keys_agree_with_scores,
    ),
    Check(
        "reasons",
        "Reports count wrong answers by reasons, all of which the form declares.",
        scores_give_reasons,
    ),
    Check(
        "thoughts",
        "What a model thinks before its answer is not its answer; cut off, it has none.",
        thoughts_are_no_answer,
    ),
    Check(
        "schema",
        "Constrained decoding writes what the schema allows: it is read as the value it is.",
        constrained_texts_are_read,
    ),
    Check(
        "variant",
        "An example is answered under the same instruction: verification makes its task again.",
        variants_are_alike,
    ),
    Check(
        "asking",
        "Generators put the parts of `asking` into their prompts.",
        asking_is_in_words,
    ),
    Check(
        "candidates",
        "Estimators take names, texts and told by their place, and texts for different answers.",
        candidates_are_parallel,
    ),
    Check(
        "claims",
        "Support is measured where a claim stands in the text, and what lacks it may be left out.",
        claims_are_in_the_answer,
    ),
    Check(
        "determinism",
        "Whoever verifies a result has to read the same answers.",
        same_reading_elsewhere,
    ),
    Check(
        "hostile",
        "Answers are a stranger's text: nothing in them is executed.",
        hostile_text_is_never_executed,
    ),
    Check(
        "linear",
        "An answer made to be slow must not hold a run up: work grows as the text does.",
        work_is_linear,
    ),
)
