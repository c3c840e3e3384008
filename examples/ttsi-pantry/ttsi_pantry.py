"""A benchmark of episodes: a pantry, and people who take things from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar

from ttsi import (
    JSON,
    Completion,
    Message,
    Sample,
    Score,
    Task,
    Tool,
    ToolCall,
    answer_with,
    calls_in,
    json_digest,
    option,
)

Shelf = Mapping[str, int]
Turn = tuple[str, Shelf]
"""What somebody says, and what is then to be left."""

VISITS: tuple[tuple[Shelf, tuple[Turn, ...]], ...] = (
    (
        {"eggs": 12, "milk": 3, "flour": 2},
        (
            ("I make pancakes. Take 3 eggs and 1 milk.", {"eggs": 9, "milk": 2, "flour": 2}),
            ("Two friends join us: 2 more eggs.", {"eggs": 7, "milk": 2, "flour": 2}),
        ),
    ),
    (
        {"rice": 4, "beans": 6},
        (
            ("Look what there is, and take half of the beans.", {"rice": 4, "beans": 3}),
            ("Now all of the rice that is left.", {"rice": 0, "beans": 3}),
            ("Thank you, that is all.", {"rice": 0, "beans": 3}),
        ),
    ),
    (
        {"tea": 20, "sugar": 1},
        (
            ("Tea for four, please: one bag each.", {"tea": 16, "sugar": 1}),
            ("They all want a second cup.", {"tea": 12, "sugar": 1}),
        ),
    ),
)

TOOLS = (
    Tool("look", "Tell what is in the pantry", {"type": "object", "properties": {}}),
    Tool(
        "take",
        "Take something out of the pantry",
        {
            "type": "object",
            "properties": {"what": {"type": "string"}, "count": {"type": "integer", "minimum": 1}},
            "required": ["what", "count"],
        },
    ),
)
SYSTEM = "\n".join(
    [
        "Do what the user asks by calling tools. You see their results. If all is done, answer [].",
        *(
            json.dumps({"name": t.name, "description": t.description, "parameters": t.parameters})
            for t in TOOLS
        ),
        'Answer with a JSON list of calls: [{"name": "tool_name", "arguments": {"parameter": 1}}]',
    ]
)


class Visit:
    def __init__(self, first: Task, shelf: Shelf, todo: Sequence[Turn], most: int) -> None:
        self.first, self.shelf, self.todo, self.most = first, dict(shelf), todo, most
        self.said: list[Message] = []
        self.went: list[Score] = []

    def start(self) -> Task:
        """Begin the first turn, and each later one."""
        self.answers = 0
        self.said.append(Message("user", self.todo[len(self.went)][0]))
        return self.first.after(self.said)

    def step(self, completion: Completion) -> Task | None:
        calls = calls_in(completion.answer)
        self.said.append(Message("assistant", completion.text))
        self.said += [Message("tool", self.result(call)) for call in calls]
        self.answers += 1
        if calls and self.answers < self.most:
            return self.first.after(self.said)
        wanted = self.todo[len(self.went)][1]
        wrong = Score(False, "wrong_state", f"left are {self.shelf}, not {wanted}")
        self.went.append(Score(True) if self.shelf == wanted else wrong)
        return self.start() if len(self.went) < len(self.todo) else None

    def score(self) -> Score:
        return Score.of_turns(self.went, len(self.todo))

    def turns(self) -> Sequence[Score]:
        return self.went

    def result(self, call: ToolCall) -> str:
        what, count = call.arguments.get("what"), call.arguments.get("count")
        if call.name == "look":
            return json.dumps(self.shelf)
        if call.name != "take" or not isinstance(what, str) or what not in self.shelf:
            return "There is no such thing."
        if type(count) is not int or not 0 < count <= self.shelf[what]:
            return f"There are {self.shelf[what]}."
        self.shelf[what] -= count
        return f"Taken. {self.shelf[what]} are left."


@dataclass(frozen=True)
class Pantry:
    """Ids: pantry/0 and on."""

    scoring: ClassVar[Mapping[str, JSON]] = {}

    limit: int | None = option(None, "Take at most this many samples.", minimum=1)
    most: int = option(4, "Most answers in a turn.", minimum=2)

    def samples(self) -> list[Sample]:
        return [self._sample(*each) for each in enumerate(VISITS[: self.limit])]

    def revision(self) -> str:
        return json_digest([VISITS, SYSTEM])

    def _sample(self, place: int, visit: tuple[Shelf, tuple[Turn, ...]]) -> Sample:
        first = Task(f"pantry/{place}", TOOLS, SYSTEM, visit[1][0][0])
        return Sample(first, answer_with(taken(*visit)), partial(Visit, first, *visit, self.most))


def taken(shelf: Shelf, turns: Sequence[Turn]) -> list[ToolCall]:
    """Return the right calls: what each turn's shelf has less than the one before."""
    shelves = [shelf, *(left for _, left in turns)]
    return [
        ToolCall("take", {"what": what, "count": before[what] - after[what]})
        for before, after in pairwise(shelves)
        for what in before
        if before[what] != after[what]
    ]
