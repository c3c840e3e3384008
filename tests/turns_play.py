"""Play multi-turn conversations from lists of calls, and ask the wheel's own checker the same."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils
from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import multi_turn_checker

from ttsi import DECLINED, Completion, Score, ToolCall, answer_with
from ttsi.rows.rendering import Wording
from ttsi_benchmarks._bfcl_source import read_lines
from ttsi_benchmarks._turns_episode import Conversation
from ttsi_benchmarks._turns_rows import ANSWERS, QUESTIONS, Row

Steps = list[list[ToolCall]]
"""The calls of a turn, answer by answer."""

DONE = Completion("[]", DECLINED)


def calling(calls: Sequence[ToolCall]) -> Completion:
    text = json.dumps([call.as_json() for call in calls])
    return Completion(text, answer_with(calls))


def right(row: Row) -> list[Steps]:
    """Return the right calls of each turn, as one answer a turn."""
    return [[list(turn.right)] if turn.right else [] for turn in row.turns]


def played(row: Row, turns: Sequence[Steps], max_steps: int = 20) -> Score:
    return conversation(row, turns, max_steps).score()


def conversation(row: Row, turns: Sequence[Steps], max_steps: int = 20) -> Conversation:
    """Return a conversation that has ended."""
    episode = Conversation(row, Wording(), max_steps)
    task = episode.start()
    for steps in turns:
        for answer in [*map(calling, steps), DONE]:
            if task is None:
                return episode
            task = episode.step(answer)
    assert task is None, "the conversation goes on"
    return episode


class Upstream:
    """The wheel's checker, which keeps the instances of its classes between calls by name."""

    def __init__(self) -> None:
        self._rows = {
            f"bfcl_multi_turn/{category}/{at}": (row, answer["ground_truth"])
            for category in QUESTIONS
            for at, (row, answer) in enumerate(
                zip(read_lines(QUESTIONS[category]), read_lines(ANSWERS[category]), strict=True)
            )
        }

    def says(self, row: Row, turns: Sequence[Steps]) -> bool:
        known = set(vars(multi_turn_utils))
        entry, answers = self._rows[row.id]
        texts = [[[_written(call) for call in step] for step in steps] for steps in turns]
        try:
            found = multi_turn_checker(texts, answers, entry, "", "model")
        finally:
            for name in set(vars(multi_turn_utils)) - known:
                delattr(multi_turn_utils, name)
        return bool(found["valid"])


def _written(call: ToolCall) -> str:
    return f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})"
