"""Contract checks of benchmarks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ttsi import registry
from ttsi.answers import form_of
from ttsi.answers.calls.values import ToolCall, calls_in
from ttsi.answers.calls.writing import TOOL_CALL, call_json
from ttsi.errors import PluginError, UsageError
from ttsi.parameters.plain import SchemaFault, plain_parameters
from ttsi.testing import episodes
from ttsi.testing.checks import Check, NotApplicable, require
from ttsi.testing.child import elsewhere
from ttsi.testing.exercise import exercise
from ttsi.testing.gold import reaches
from ttsi.testing.plain import fingerprint
from ttsi.testing.subject import Subject
from ttsi.types import Answer, AnswerStatus, Completion, Sample, Task, Tool

_PYTHON_NAME = re.compile(r"[^\W\d][\w.]*")


def samples_are_sound(subject: Subject) -> None:
    require(subject.samples, "samples() gave none")
    for place, sample in enumerate(subject.samples):
        require(isinstance(sample, Sample), f"sample {place} is {type(sample).__name__}, no Sample")
        task = sample.task
        sound = (
            isinstance(task, Task)
            and isinstance(task.tools, tuple)
            and all(isinstance(tool, Tool) for tool in task.tools)
            and isinstance(sample.reference, Answer)
        )
        require(sound, f"{sample.id}: tools must be a tuple of Tools, the reference an Answer")
        require(_has_form(task), f"{sample.id}: there is no answer form {task.form!r}")
        readable = sample.reference.status is not AnswerStatus.UNPARSABLE
        require(readable, f"{sample.id}: the reference is unparsable, so no answer can be right")


def _has_form(task: Task) -> bool:
    try:
        return form_of(task) is not None
    except UsageError:
        return False


def ids_name_their_rows(subject: Subject) -> None:
    seen: set[str] = set()
    heads = {f"{subject.name}/", f"{subject.name.rpartition('/')[2]}/"}
    for sample in subject.samples:
        shaped = isinstance(sample.id, str) and sample.id.startswith(tuple(heads))
        shape = " or ".join(sorted(f"{head}..." for head in heads))
        require(shaped, f"the id {sample.id!r} has not the shape {shape}")
        require(sample.id not in seen, f"the id {sample.id!r} is there twice")
        seen.add(sample.id)


def data_are_stable(subject: Subject) -> None:
    one, other = exercise(subject), exercise(subject)
    require(isinstance(one[0], str) and one[0], f"revision() gave {one[0]!r}, not a name")
    require(one[0] == other[0], f"revision() gave {one[0]} and then {other[0]}")
    names = [sample.id for sample in subject.samples]
    changed = [n for n, a, b in zip(names, one[1:], other[1:], strict=False) if a != b]
    require(
        one == other, f"loaded twice, samples differ: {', '.join(changed[:3]) or 'their number'}"
    )
    made = elsewhere(subject)["made"]
    told = "another process loads other samples: is a set or hash() in the way?"
    require(made is None or made == fingerprint(one), told)


def tools_are_sound(subject: Subject) -> None:
    from jsonschema import Draft202012Validator, SchemaError

    known: set[str] = set()
    for sample in subject.samples:
        names = sample.task.tool_names
        require(len(set(names)) == len(names), f"{sample.id}: two tools have one name")
        for tool in sample.task.tools:
            text = json.dumps(tool.parameters, sort_keys=True)
            if text in known:
                continue
            known.add(text)
            try:
                Draft202012Validator.check_schema(dict(tool.parameters))
            except SchemaError as error:
                require(False, f"{sample.id}, tool {tool.name}: not JSON Schema: {error.message}")
            try:
                plain_parameters(tool.parameters)
            except SchemaFault as fault:
                told = f"{sample.id}, tool {tool.name}: {fault}. {fault.cure}"
                require(False, told)


def _can_be_scored(sample: Sample) -> bool:
    """Return whether a sample has an answer form, a readable reference and usable tool parameters.

    The checks `samples` and `tools` report those that do not.
    """
    if not _has_form(sample.task) or sample.reference.status is AnswerStatus.UNPARSABLE:
        return False
    try:
        return all(tool.schema is not None for tool in sample.task.tools)
    except PluginError:
        return False


def references_replay(subject: Subject) -> None:
    scorer: Any = registry.load("scorers", "exact")
    known = registry.options_schema("scorers", "exact")["properties"]
    scoring = subject.make().scoring
    preset = scoring if isinstance(scoring, Mapping) else {}
    exact = scorer(**{key: value for key, value in preset.items() if key in known})
    for sample in filter(_can_be_scored, subject.samples):
        task = sample.task
        answers = {"as it is": Completion("", sample.reference)}
        for way, text in _written(sample).items():
            answers[way] = Completion(text, form_of(task).parse(task, text))
        for way, answer in answers.items():
            score = exact.score(task, sample.reference, answer)
            told = f"{sample.id}: its own reference as the answer ({way}) is wrong: {score.detail}"
            require(score.correct, told)


def _written(sample: Sample) -> dict[str, str]:
    """Return the reference as models may write it, by the name of the notation.

    Calls come in several notations; Python's is among them if the names are valid there and the
    tools are offered.
    """
    task, reference = sample.task, sample.reference
    if task.form != "calls":
        return {"as the form writes it": form_of(task).write(task, reference)}
    calls = calls_in(reference)
    listed = json.dumps([call.as_json() for call in calls])
    forms = {
        "a list": listed,
        "a list in a fence": f"Sure:\n```json\n{listed}\n```",
        "a list behind a thought": f"<think>I must call a tool.</think>\n\n{listed}",
        "tags": TOOL_CALL.write(calls) if calls else listed,
        "objects in a row": "\n".join(map(call_json, calls)),
    }
    names = {name for call in calls for name in (call.name, *call.arguments)}
    offered = {call.name for call in calls} <= set(sample.task.tool_names)
    if offered and all(map(_PYTHON_NAME.fullmatch, names)):
        forms["Python calls"] = f"[{', '.join(map(_as_python, calls))}]"
    return forms


def _as_python(call: ToolCall) -> str:
    return f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})"


def prompts_are_whole(subject: Subject) -> None:
    for sample in subject.samples:
        task = sample.task
        turns = [(f"{turn.role} turn", turn.content) for turn in task.messages]
        for part, text in [*turns, ("input", task.input)]:
            told = f"{sample.id}: the {part} is empty"
            require(isinstance(text, str) and text.strip(), told)
        asks = task.messages[-1].role != "assistant"
        require(asks, f"{sample.id}: the last turn is the assistant's, which leaves nothing to say")
        prompt = "\n".join(turn.content for turn in task.messages)
        by_template = {tool.name for tool in task.offered}
        hidden = [
            name for name in task.tool_names if name not in prompt and name not in by_template
        ]
        require(not hidden, f"{sample.id}: the prompt does not show the tool {', '.join(hidden)}")


def tasks_hold_no_gold(subject: Subject) -> None:
    for sample in subject.samples:
        reached = reaches(sample.task, sample.reference)
        require(not reached, f"{sample.id}: the reference can be reached from the task")


def training_rows_are_others(subject: Subject) -> None:
    made = subject.make()
    if not hasattr(made, "train"):
        raise NotApplicable("it has no rows for training")
    rows = list(made.train())
    asked = {sample.task.said: sample.id for sample in subject.samples}
    ids = {sample.id for sample in subject.samples}
    for row in rows:
        require(isinstance(row, Sample), f"train() gave {type(row).__name__}, no Sample")
        require(row.id not in ids, f"the training row {row.id} has the id of a sample")
        told = f"the training row {row.id} asks what {asked.get(row.task.said)} asks"
        require(row.task.said not in asked, told)


CHECKS = (
    Check("samples", "A benchmark is a list of Samples, at least one.", samples_are_sound),
    Check(
        "ids",
        "Journals, seeds and leaderboards know a sample by its id alone.",
        ids_name_their_rows,
    ),
    Check(
        "stable",
        "The revision and the digests name the data: the same data, the same names.",
        data_are_stable,
    ),
    Check(
        "tools",
        "Arguments are typed, and decoding constrained, by the tools' JSON Schemas.",
        tools_are_sound,
    ),
    Check(
        "replay",
        "A reference given back as the answer is right, or no answer can be.",
        references_replay,
    ),
    Check(
        "prompt",
        "What samples share, tools above all, is in the system turn; the question in the user's.",
        prompts_are_whole,
    ),
    Check(
        "no-gold",
        "Stages are given the task: nothing in it leads to the reference.",
        tasks_hold_no_gold,
    ),
    Check(
        "train",
        "What a baseline learns from must not be what it is asked.",
        training_rows_are_others,
    ),
    *episodes.CHECKS,
)
