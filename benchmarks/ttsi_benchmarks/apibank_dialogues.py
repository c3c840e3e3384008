"""API-Bank levels 1 and 2 as episodes: the calls of a dialogue, one after the other (212 + 45).

A row of `apibank` is a call, with the dialogue before it. A row that goes on with that call is a
later one of the same dialogue. The data hold the right calls and what they returned, and no APIs
that could be called. So the history is always the right one: whatever the model answers, the next
step shows the right call and its result.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from ttsi import Answer, Completion, Message, Sample, Score, Task, answer_with, calls_in, form_of
from ttsi_benchmarks._hammer import Row, read_rows, to_sample
from ttsi_benchmarks.apibank import (
    ASSETS,
    INSTRUCTION,
    ApiBank,
    dialogue,
    required_parameters,
    spoken,
)

_CUE = "Generate API Request:"
"""What the data add to the last turn of each row; the dialogue goes on without it."""


@dataclass(frozen=True)
class ApiBankDialogues(ApiBank):
    """Dialogues of API-Bank, call by call, each with the right history.

    Ids are apibank_dialogues/l1/0 to l1/211, l2/0 to l2/44.
    """

    def all_samples(self) -> list[Sample]:
        return [
            self._sample(f"apibank_dialogues/l{level}/{at}", rows)
            for level in sorted(self.levels)
            for at, rows in enumerate(dialogues(read_rows(ASSETS[level])))
        ]

    def _sample(self, id: str, rows: Sequence[Row]) -> Sample:
        made = [self._step(id, row) for row in rows]
        right = [call for step in made for call in calls_in(step.reference)]
        asked = tuple((self.wording.of(step.task), step.reference) for step in made)
        return Sample(made[0].task, answer_with(right), partial(GoldHistory, asked))

    def _step(self, id: str, row: Row) -> Sample:
        """Return a row's call as a step of its dialogue."""
        made = to_sample(id, row, instruction=INSTRUCTION, input="", required=required_parameters)
        return Sample(made.task.after(turns(row["query"])), made.reference)


class GoldHistory:
    """A dialogue, call by call, whose history is the right one at each; `asked`: task and answer.

    A turn is what is to be called before somebody speaks again.
    """

    def __init__(self, asked: Sequence[tuple[Task, Answer]]) -> None:
        self._asked = asked
        self._scores: list[Score] = []

    def start(self) -> Task:
        return self._asked[0][0]

    def step(self, completion: Completion) -> Task | None:
        task, right = self._asked[len(self._scores)]
        self._scores.append(form_of(task).score(task, right, completion.answer))
        left = self._asked[len(self._scores) :]
        return left[0][0] if left else None

    def score(self) -> Score:
        return Score.of_turns(self.turns(), len(self._turns))

    def turns(self) -> list[Score]:
        """Return the score of each turn that has ended: that of its first wrong call, if any."""
        ended = [turn for turn in self._turns if turn[-1] < len(self._scores)]
        return [_worst([self._scores[at] for at in turn]) for turn in ended]

    @property
    def _turns(self) -> list[list[int]]:
        """The places of each turn's calls."""
        found: list[list[int]] = []
        for at, (task, _) in enumerate(self._asked):
            if task.said[-1].role == "user":
                found.append([])
            found[-1].append(at)
        return found


def _worst(scores: Sequence[Score]) -> Score:
    return next((score for score in scores if not score.correct), scores[0])


def dialogues(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the rows of each dialogue; a row that stands twice in a row counts once."""
    found: list[Row] = []
    for row, _ in groupby(rows):
        if found and not _goes_on(found[-1], row):
            yield found
            found = []
        found.append(row)
    yield found


def _goes_on(row: Row, other: Row) -> bool:
    """Return whether `other` has the dialogue of `row`, its call, and more."""
    before, after = turns(row["query"]), turns(other["query"])
    head = after[: len(before) + 1]
    return head[:-1] == before and json.loads(head[-1].content) == row["answers"]


def turns(query: Sequence[Mapping[str, str]]) -> list[Message]:
    """Return the dialogue as turns: what people say between two calls is one of the user."""
    found: list[Message] = []
    for people, said in groupby(query, key=lambda turn: turn["role"] in ("user", "agent")):
        if people:
            found.append(Message("user", _without_cue(dialogue(list(said)))))
            continue
        for turn in said:
            text = _without_cue(spoken(turn))
            calls = turn["role"] == "assistant"
            found.append(Message("assistant", text) if calls else Message("tool", text))
    return found


def _without_cue(text: str) -> str:
    return text.strip().removesuffix(_CUE).strip()
