"""A benchmark of episodes for the scripted engine, which knows the weather in even cities only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from ttsi import Completion, Message, Sample, Score, Task, calls_in, json_digest, option
from ttsi_fakes import make_sample

TOURS: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((2, 3), (4,)),
    ((1,), (6, 8)),
    ((2,), (4, 6)),
    ((5,), (7, 9)),
)
"""By episode and turn: the cities whose weather is asked for, one after the other."""

NO_CALL, WRONG = Score(False, "no_call", "nothing was asked"), "wrong_name"


@dataclass
class Tour:
    """Each turn is right if all its calls are; an answer without a call ends the episode."""

    turns_of_cities: tuple[tuple[int, ...], ...]
    ended: list[Score] = field(default_factory=list)
    _called: list[str] = field(default_factory=list)
    _said: list[Message] = field(default_factory=list)

    def start(self) -> Task:
        return self._asked("user", "")

    def step(self, completion: Completion) -> Task | None:
        self._said.append(Message("assistant", completion.text))
        calls = calls_in(completion.answer)
        if not calls:
            self.ended.append(NO_CALL)
            return None
        self._called.append(calls[0].name)
        if len(self._called) < len(self._turn):
            return self._asked("tool", f"{calls[0].name} says that it is fine. ")
        self._end_turn()
        if len(self.ended) == len(self.turns_of_cities):
            return None
        return self._asked("user", "Thanks. ")

    def score(self) -> Score:
        return Score.of_turns(self.ended, len(self.turns_of_cities))

    def turns(self) -> list[Score]:
        return self.ended

    @property
    def _turn(self) -> tuple[int, ...]:
        return self.turns_of_cities[len(self.ended)]

    def _end_turn(self) -> None:
        right = self._called == ["get_weather"] * len(self._turn)
        detail = "" if right else f"expected get_weather, not {self._called}"
        self.ended.append(Score(right, None if right else WRONG, detail))
        self._called = []

    def _asked(self, role: Any, words: str) -> Task:
        task = first_task(self.turns_of_cities, self._turn[len(self._called)])
        self._said.append(Message(role, words + task.input))
        return task.after(self._said)


def first_task(turns: tuple[tuple[int, ...], ...], city: int) -> Task:
    return replace(make_sample(city).task, id=f"tours/{TOURS.index(turns)}")


@dataclass(frozen=True)
class Tours:
    """Episodes of two turns."""

    scoring: ClassVar[Mapping[str, Any]] = {}

    rows: int = option(4, "How many.", minimum=1, maximum=len(TOURS))

    def samples(self) -> Iterable[Sample]:
        return [
            Sample(
                first_task(turns, turns[0][0]),
                make_sample(turns[0][0]).reference,
                partial(Tour, turns),
            )
            for turns in TOURS[: self.rows]
        ]

    def revision(self) -> str:
        return json_digest(["tours", TOURS])
