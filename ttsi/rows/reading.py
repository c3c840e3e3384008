"""Convert the rows of a file to Samples (docs/own-data.md has the notation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ttsi._common.inputs import shown
from ttsi._common.suggest import did_you_mean
from ttsi.answers import form_named
from ttsi.answers.calls.values import answer_with
from ttsi.errors import TtsiError, UsageError
from ttsi.rows import calls as reference_calls
from ttsi.rows.keys import filled, keyed
from ttsi.rows.lines import Line, lines_of
from ttsi.rows.messages import Conversation, conversation
from ttsi.rows.rendering import system_turn
from ttsi.rows.tools import Toolbox
from ttsi.types import JSON, Answer, AnswerStatus, Sample, Task, Tool

KEYS = ("id", "messages", "input", "instruction", "tools", "reference", "choices")
CALL = (
    "Call the tools that do what the user asks, once for each thing asked. Leave out "
    "optional parameters that the user does not mention."
)
INSTRUCTIONS = {
    "calls": f"{CALL} If no tool can do it, answer [].",
    "choice": "Answer with one of the choices, as it is written, and nothing else.",
    "number": "Answer the question. Write your work step by step, and the answer on a last line of "
    "its own: #### and the number.",
    "text": "Answer with what is asked for and nothing else.",
}
"""The default instruction of rows without system message and instruction, by form."""

ANY_INSTRUCTION = "Do what the user asks."
_TOLD = 5


@dataclass(frozen=True)
class Reader:
    """Reads rows in one answer form. `shared`: the tools of rows that have none of their own."""

    form: str
    strict: bool
    shared: tuple[Tool, ...] = ()
    _box: Toolbox = field(default_factory=Toolbox)

    def samples(self, path: str, prefix: str) -> list[Sample]:
        """Return every row; ids begin with `prefix`.

        Raises the first fault, which names the other lines that have one.
        """
        samples: list[Sample] = []
        lines: dict[str, int] = {}
        faults: dict[int, TtsiError] = {}
        for line in lines_of(path):
            try:
                sample = self.sample(line, prefix)
                _check_new(sample.id.removeprefix(prefix), line, lines)
                samples.append(sample)
            except TtsiError as fault:
                faults[line.number] = fault
        if faults:
            raise _first(faults)
        if not samples:
            cure = 'Write a row on each line: {"input": "...", "reference": ...}'
            raise UsageError("The file has no rows.", where=shown(path), cure=cure)
        return samples

    def sample(self, line: Line, prefix: str) -> Sample:
        """Return the row of one line. Raises UsageError, or PluginError for unusable parameters."""
        where = line.where
        given = keyed(line.row(), KEYS, "The row", where)
        row = {key: value for key, value in given.items() if value is not None}
        if "reference" not in row:
            cure = f"Add it: {_shape(self.form)}"
            raise UsageError('The row has no "reference".', where=where, cure=cure)
        asked = _asked(row, where)
        tools = self._tools(row, where)
        choices = self._choices(row, where)
        task = Task(
            prefix + _id(row, line),
            tools,
            self._instruction(asked.system, tools, choices),
            asked.said,
            self.form,
            choices,
            asked.turns,
        )
        return Sample(task, self._reference(task, row["reference"], where))

    def _tools(self, row: Mapping[str, JSON], where: str) -> tuple[Tool, ...]:
        tools = self._box.tools(row["tools"], where) if "tools" in row else self.shared
        if not tools and self.form == "calls":
            cure = 'Give the row "tools", or the benchmark "tools_path", a file of tools for all.'
            raise UsageError("The row offers no tools.", where=where, cure=cure)
        return tools

    def _choices(self, row: Mapping[str, JSON], where: str) -> tuple[str, ...]:
        given = row.get("choices", [])
        texts = isinstance(given, list) and all(each and isinstance(each, str) for each in given)
        if not texts or len(set(given)) < len(given) or (self.form == "choice" and len(given) < 2):
            what = 'The row has no "choices", or what is no list of two different texts or more.'
            raise UsageError(what, where=where, cure='Such as "choices": ["yes", "no"]')
        if given and self.form in ("calls", "number", "text"):
            what = f'The row has "choices", and the form {self.form!r} has none.'
            raise UsageError(what, where=where, cure='Take them out, or set "form": "choice".')
        return tuple(given)

    def _instruction(
        self, system: str | None, tools: Sequence[Tool], choices: Sequence[str]
    ) -> str:
        """Return the system turn: the row's instruction, or the form's, followed by the tools."""
        if system is None:
            listed = "".join(f"\n- {choice}" for choice in choices)
            system = INSTRUCTIONS.get(self.form, ANY_INSTRUCTION) + (listed and f"\n{listed}")
        return system_turn(system, tools, self.form) if tools else system

    def _reference(self, task: Task, given: JSON, where: str) -> Answer:
        if self.form == "calls":
            calls = reference_calls.calls_of(given, "The reference", where)
            if self.strict:
                reference_calls.check(calls, task.tools, where)
            return answer_with(calls)
        if self.form == "choice" and given not in task.choices:
            what = f"The reference {given!r:.80} is none of the choices."
            raise UsageError(what, where=where, cure=did_you_mean(str(given), task.choices))
        form = form_named(self.form)
        answer = form.read(task, given)
        if answer.status is not AnswerStatus.OK and isinstance(given, str):
            answer = form.parse(task, given)
        faults = form.faults(task, answer)
        if answer.status is not AnswerStatus.OK or (faults and self.strict):
            what = f"The reference {given!r:.80} is no answer in the form {self.form!r}"
            raise UsageError(
                f"{what}: {'; '.join(faults)}." if faults else f"{what}.",
                where=where,
                cure=f"Write it as {_shape(self.form)}",
            )
        return answer


def _asked(row: Mapping[str, JSON], where: str) -> Conversation:
    """Return the conversation of the row, or the one turn under `input`."""
    if ("messages" in row) == ("input" in row):
        cure = '"input": "what the user says", or "messages": a list in OpenAI\'s notation.'
        raise UsageError('The row has not one of "input" and "messages".', where=where, cure=cure)
    if "input" in row:
        said = filled(row["input"], 'The "input"', where)
        system = row.get("instruction")
        named = 'The "instruction"'
        return Conversation(None if system is None else filled(system, named, where), said, ())
    if "instruction" in row:
        cure = "Make it the first message, of the role system."
        raise UsageError('The row has "instruction" and "messages".', where=where, cure=cure)
    return conversation(row["messages"], where)


def _id(row: Mapping[str, JSON], line: Line) -> str:
    given = row.get("id", line.number)
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    return filled(given, 'The "id"', line.where)


def _check_new(id: str, line: Line, lines: dict[str, int]) -> None:
    first = lines.setdefault(id, line.number)
    if first != line.number:
        what = f"The id {id!r:.80} is there twice: here and on line {first}."
        cure = "Give each row an id of its own; without one its line's number is its id."
        raise UsageError(what, where=line.where, cure=cure)


def _first(faults: Mapping[int, TtsiError]) -> TtsiError:
    """Return the first fault, extended by the other lines that have one."""
    _, *others = faults
    fault = next(iter(faults.values()))
    if not others:
        return fault
    told = ", ".join(map(str, others[:_TOLD])) + (", ..." if len(others) > _TOLD else "")
    lines = "line" if len(others) == 1 else "lines"
    what = f"{fault.what} Also faulty: {lines} {told}."
    return type(fault)(what, where=fault.where, cure=fault.cure)


def _shape(form: str) -> str:
    shapes = {
        "calls": '"reference": [{"name": "...", "arguments": {...}}], or [] for no call.',
        "choice": '"reference": "one of the choices"',
        "number": '"reference": 12.5',
    }
    return shapes.get(form, '"reference": "the right answer"')
