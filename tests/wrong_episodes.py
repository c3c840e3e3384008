"""Benchmarks whose episodes are wrong in one way; see wrong.py."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from wrong import fails
from wrong_data import Labelled

from ttsi.testing import FakeBenchmark
from ttsi.types import Answer, AnswerStatus, Completion, Message, Sample, Score, Task

CALLS, CHANCES = 3, 2


@dataclass
class Room:
    """A sound environment: it is right after three calls, and asks again once where there is none.

    What it makes wrong, subclasses change.
    """

    task: Task
    reference: Answer
    said: list[Message] = field(default_factory=list)
    calls: int = 0
    declined: int = 0

    def start(self) -> Task:
        self.said.append(Message("user", self.task.input))
        return self.task

    def step(self, completion: Completion) -> Task | None:
        self.said.append(Message("assistant", completion.text))
        if completion.answer.status is AnswerStatus.OK:
            self.calls += 1
            self.said.append(Message("tool", self.result()))
        else:
            self.declined += 1
            self.said.append(Message("user", "Are you sure?"))
        return None if self.over() else self.asked()

    def score(self) -> Score:
        return Score(True) if self.calls == CALLS else Score(False, "no_call", credit=0.0)

    def result(self) -> str:
        return f"done {self.calls}"

    def over(self) -> bool:
        return self.calls == CALLS or self.declined == CHANCES

    def asked(self) -> Task:
        return self.task.after(self.said)


class Rooms(FakeBenchmark):
    """A benchmark of episodes that keeps the contract except for what its `room` does."""

    room: ClassVar[Any] = Room

    def samples(self) -> list[Sample]:
        return [
            replace(each, episode=partial(self.room, each.task, each.reference))
            for each in super().samples()
        ]


class RestlessRoom(Room):
    def result(self) -> str:
        return uuid.uuid4().hex


@fails("episode-same", "at once .* other tasks, from step 1 on", "benchmarks", ("episode-afresh",))
class Restless(Rooms):
    room = RestlessRoom


class OtherRoom(Room):
    def start(self) -> Task:
        return replace(super().start(), input="Something else?")


@fails("episode-same", "begins with another task than the sample's", "benchmarks")
class Elsewhere(Rooms):
    room = OtherRoom


class ShrugRoom(Room):
    def score(self) -> Score:
        return replace(super().score(), detail=uuid.uuid4().hex)


@fails("episode-same", "it has another end", "benchmarks", ("episode-afresh",))
class Moody(Rooms):
    room = ShrugRoom


class UsedRoom(Room):
    """It takes a world that another play has left, with what was done in it."""

    left: ClassVar[list[int]] = []

    def start(self) -> Task:
        self.before = self.left.pop() if self.left else 0
        return super().start()

    def result(self) -> str:
        return f"done {self.before + self.calls}"

    def score(self) -> Score:
        self.left.append(self.before + self.calls)
        return super().score()


@fails("episode-afresh", "before and after another play, it has other tasks", "benchmarks")
class Unswept(Rooms):
    room = UsedRoom


class HintingRoom(Room):
    def asked(self) -> Task:
        task = super().asked()
        return replace(task, input=f"{task.input} ({json.dumps(self.reference.value)})")


@fails("episode-gold", "the task of step 1 tells a part of the reference", "benchmarks")
class Hints(Rooms):
    room = HintingRoom


@dataclass(frozen=True)
class Noted(Task):
    note: str = ""


class NotingRoom(Room):
    def asked(self) -> Task:
        task, note = super().asked(), json.dumps(self.reference.value)
        return Noted(task.id, task.tools, task.instruction, task.input, turns=task.turns, note=note)


@fails("episode-gold", "the task of step 1 tells a part of the reference", "benchmarks")
class Notes(Rooms):
    room = NotingRoom


class TellingRoom(Room):
    def asked(self) -> Task:
        t = super().asked()
        return Labelled(t.id, t.tools, t.instruction, t.input, turns=t.turns, gold=self.reference)


@fails("episode-gold", "can be reached from the task of step 1", "benchmarks")
class Tells(Rooms):
    room = TellingRoom


class PatientRoom(Room):
    def over(self) -> bool:
        return self.calls == CALLS


@fails("episode-ends", "of nothing but declining answers it does not end", "benchmarks")
class Patient(Rooms):
    room = PatientRoom


class EndlessRoom(Room):
    def over(self) -> bool:
        return self.declined == CHANCES


@fails("episode-ends", "of nothing but the same answer it does not end", "benchmarks")
class Endless(Rooms):
    room = EndlessRoom


class SilentRoom(Room):
    def score(self) -> Score:
        return Score(self.calls == CALLS)


@fails("episode-ends", "no sound Score", "benchmarks")
class Silent(Rooms):
    room = SilentRoom


class HurriedRoom(Room):
    def score(self) -> Score:
        return super().score() if self.over() else None  # type: ignore[return-value]


@fails("episode-ends", "ended by a run's limit after a step, it has None", "benchmarks")
class Hurried(Rooms):
    room = HurriedRoom


class ChattyRoom(Room):
    def turns(self) -> list[Any]:
        return [True]


@fails("episode-ends", "it ended with True, no sound Score", "benchmarks")
class Chatty(Rooms):
    room = ChattyRoom
