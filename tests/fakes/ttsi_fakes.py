"""A distribution of fakes, found through its entry points as any third party's.

The engine is scripted so that faults can be injected; what it is asked is kept in `asked`.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from ttsi.answers.calls.values import ToolCall, answer_with, calls_in
from ttsi.digests import bytes_digest, draw_seed, json_digest
from ttsi.errors import DeviceLost, EngineError, MissingAsset
from ttsi.options import option
from ttsi.types import (
    Adapter,
    Completion,
    Generation,
    Likelihood,
    Message,
    Prompt,
    Request,
    Sample,
    Score,
    Task,
    Tool,
    Training,
    TrainJob,
)

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
TOOLS = (Tool("get_weather", "Weather now", CITY), Tool("get_time", "Local time", CITY))


FAULT = os.environ.get("TTSI_FAKES_FAULT")
"""What is wrong with all engines of a machine: missing, killed, other or lost."""

WRITING = " user could ask"
"""What tells a request for an example from one for an answer."""


def make_sample(number: int, city: str | None = None) -> Sample:
    city = city or f"City{number}"
    task = Task(
        id=f"rows/{number}",
        tools=TOOLS,
        instruction="Call a tool.\n" + "\n".join(tool.name for tool in TOOLS),
        input=f"What is the weather in {city}?",
    )
    return Sample(task, answer_with([ToolCall("get_weather", {"city": city})]))


@dataclass(frozen=True)
class Rows:
    """`rows` samples whose answer is get_weather of the city named."""

    scoring: ClassVar[Mapping[str, Any]] = {}

    rows: int = option(6, "How many.", minimum=0)

    def samples(self) -> Iterable[Sample]:
        return [make_sample(number) for number in range(self.rows)]

    def revision(self) -> str:
        return json_digest(["rows", self.rows])


@dataclass
class Journey:
    """An episode that asks for the weather in one city after another; it ends after the last.

    A user names the first city and those that begin with "!", results of tools name the others.
    Each task shows what was called last. The episode is right if every call was. One that `insists`
    asks again until the call is right. `broken`: the method that raises.
    """

    cities: tuple[str, ...]
    broken: str = ""
    insists: bool = False
    said: list[str] = field(default_factory=list)

    def start(self) -> Task:
        self._breaks("start")
        return self._task()

    def step(self, completion: Completion) -> Task | None:
        self._breaks("step")
        name = calls_in(completion.answer)[0].name
        if self.insists and name != "get_weather":
            return self._task()
        self.said.append(name)
        return self._task() if len(self.said) < len(self.cities) else None

    def score(self) -> Score:
        self._breaks("score")
        right = self.said == ["get_weather"] * len(self.cities)
        return Score(True) if right else Score(False, "wrong_name", " ".join(self.said))

    def _breaks(self, method: str) -> None:
        if self.broken == method:
            raise ValueError("the environment fell over")

    def _task(self) -> Task:
        city = self.cities[len(self.said)]
        task = make_sample(0, city.removeprefix("!")).task
        if not self.said:
            return task
        past = (Message("user", "Where to?"), Message("assistant", f"to {self.said[-1]}"))
        speaker: Literal["user", "tool"] = "user" if city.startswith("!") else "tool"
        return replace(task, turns=(*past, Message(speaker, task.input)))


def make_journey(name: str, *cities: str, **options: Any) -> Sample:
    first = make_sample(0, cities[0])
    task = replace(first.task, id=f"journeys/{name}")
    return Sample(task, first.reference, partial(Journey, cities, **options))


@dataclass(frozen=True)
class Journeys:
    """`rows` journeys of two turns with two steps each."""

    scoring: ClassVar[Mapping[str, Any]] = {}

    rows: int = option(6, "How many.", minimum=0)

    def samples(self) -> Iterable[Sample]:
        return [
            make_journey(str(n), f"City{n}0", f"City{n}2", f"!City{n}{n}", f"City{n}4")
            for n in range(self.rows)
        ]

    def revision(self) -> str:
        return json_digest(["journeys", self.rows])


def said(prompt: Prompt) -> str:
    """Return what the model is asked last, or the text that it goes on with."""
    return prompt.messages[-1].content if prompt.messages else prompt.opening


def default_script(request: Request) -> str:
    """Right for even cities, wrong for odd ones unless adapted; writes examples when asked to."""
    text = said(request.prompt)
    if WRITING in text:
        number = request.seed % 1000
        call = {"name": "get_weather", "arguments": {"city": f"Town{number}"}}
        return json.dumps({"input": f"Weather in Town{number}, please", "output": [call]})
    city = text.rsplit(" ", 1)[-1].rstrip("?")
    right = request.adapter is not None or city[-1:] in "02468"
    name = "get_weather" if right else "get_time"
    return json.dumps([{"name": name, "arguments": {"city": city}}])


@dataclass
class ScriptedEngine:
    """Answers by `script`; likelihoods by digest; adapters hold the digest of what they saw."""

    model: Mapping[str, Any] = field(default_factory=lambda: {"id": "scripted"})
    delay: float = option(0.0, "Seconds each generation takes.", minimum=0)
    failing: float = option(0.0, "Share of inputs that fail.", minimum=0, maximum=1)
    fatal: str | None = option(None, "Adapted answers to this text kill the process.")
    marks: str | None = option(None, "A folder for marks of faults: each then happens once.")
    faults: str | None = option(
        None, "A file in which bad machines count faults: others wait for two of them."
    )
    at_load: Literal["missing", "killed"] | None = option(None, "What becomes of the model.")
    script: Callable[[Request], str] = default_script
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {"loglikelihood", "generate", "grammar", "adapters", "train"}
    )

    def __post_init__(self) -> None:
        self.on_progress: Callable[[int, int], None] | None = None
        self.left: Callable[[str], bool] | None = None
        self.asked: list[Any] = []
        self.weights = b"base weights"
        self.closed = False

    def load(self) -> None:
        self._count_fault()
        if "missing" in (self.at_load, FAULT):
            raise MissingAsset("There is no such model.", where="scripted", cure="Write one.")
        if "killed" in (self.at_load, FAULT):
            os.kill(os.getpid(), signal.SIGKILL)

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        self.asked += [*prompts]
        return [
            [
                Likelihood(-(draw_seed(0, text, prompt.messages[-1].content) % 100) / 10, 2)
                for text in some
            ]
            for prompt, some in zip(prompts, continuations, strict=True)
        ]

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self._await_faults()
        if FAULT == "lost":
            raise DeviceLost("The device was lost.", where="scripted", cure="Get another.")
        self.asked += [*requests]
        made = []
        for done, request in enumerate(requests, start=1):
            if self.left is not None and self.left(request.owner):
                made.append(Generation("", 10, 0, 0.0, "length"))
                continue
            if self.delay:
                time.sleep(self.delay)
            self._harm(request)
            made.append(Generation(self.script(request), 10, 5, -1.0, "stop"))
            if self.on_progress:
                self.on_progress(done, len(requests))
        return made

    def _count_fault(self) -> None:
        if FAULT is not None and self.faults is not None:
            with Path(self.faults).open("a") as file:
                file.write(f"{FAULT}\n")

    def _await_faults(self) -> None:
        """Let no good machine finish all before the bad ones have had their fault."""
        if FAULT is not None or self.faults is None:
            return
        while Path(self.faults).read_text().count("\n") < 2:
            time.sleep(0.05)

    def _harm(self, request: Request) -> None:
        text = said(request.prompt)
        fatal = self.fatal is not None and self.fatal in text and request.adapter is not None
        drawn = self.failing and draw_seed(0, text, "failing") % 1000 < 1000 * self.failing
        failing = drawn and WRITING not in text
        if not (fatal or failing) or self._was(text):
            return
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        raise EngineError("injected")

    def _was(self, text: str) -> bool:
        """Whether there is a mark of this fault; now there is."""
        if self.marks is None:
            return False
        mark = Path(self.marks) / bytes_digest(text.encode())[-16:]
        known = mark.exists()
        mark.touch()
        return known

    def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
        self.asked += [*jobs]
        return [
            Adapter(
                repr([(pair[0].messages[-1].content, pair[1]) for pair in job.pairs]).encode(),
                {"r": job.recipe.rank},
                Training((1.0, 0.9, 0.8), (0.0, 1e-4, 5e-5), 0.1, 30),
            )
            for job in jobs
        ]

    def digest(self) -> str:
        return bytes_digest(self.weights)

    def identity(self) -> dict[str, Any]:
        return dict(self._identity)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        return {
            "weights_digest": self.digest(),
            "model_revision": None,
            "tokenizer_digest": bytes_digest(b"a scripted tokenizer"),
            "chat_template_digest": None,
            "dtype": "float32",
            "device": "cuda" if FAULT == "other" else "cpu",
        }

    def forget(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        return {"model": self.model["id"], "pid": os.getpid(), "gpus": gpus}

    def close(self) -> None:
        self.closed = True
