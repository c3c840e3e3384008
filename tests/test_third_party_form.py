"""An answer form of a third party, from `ttsi new-plugin` to a verified submission.

The generated form is used unchanged; a benchmark that asks for days and a scripted engine are added
to the package, as its author would.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from _environments import call, make_environment

pytestmark = pytest.mark.slow

BENCHMARK = '''
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, ClassVar

from ttsi.digests import json_digest
from ttsi.types import Answer, Sample, Task

FORM = "acme-dates/dates"


@dataclass(frozen=True)
class Calendar:
    """Asks for the day after one."""

    scoring: ClassVar[dict[str, Any]] = {}

    def samples(self) -> list[Sample]:
        return [self._sample(number) for number in range(4)]

    def revision(self) -> str:
        return json_digest([sample.digest for sample in self.samples()])

    def _sample(self, number: int) -> Sample:
        day = date(2024, 2, 26) + timedelta(days=number)
        asked = f"Which day follows {day.isoformat()}?"
        task = Task(f"calendar/{number}", (), "Answer with a date.", asked, form=FORM)
        return Sample(task, Answer.of((day + timedelta(days=1)).isoformat()))
'''

ENGINE = '''
import json
import re
from datetime import date, timedelta

from ttsi.digests import bytes_digest
from ttsi.testing.fake_engine import FakeEngine

ASKED = re.compile("Which day follows ([0-9-]+)")


class Clerk(FakeEngine):
    """Counts days, but for leap days, which it forgets unless it is shown an example."""

    def __init__(self, model):
        super().__init__(model={"id": "fake"}, script=self._say)

    def _say(self, request):
        *_, last = request.prompt.messages
        day = date.fromisoformat(ASKED.findall(last.content)[-1])
        if "training example" in last.content:
            other = day + timedelta(days=10)
            made = {
                "input": f"Which day follows {other}?",
                "output": (other + timedelta(days=1)).isoformat(),
            }
            return json.dumps(made)
        after = day + timedelta(days=1)
        if (after.month, after.day) == (2, 29) and len(request.prompt.messages) == 2:
            after += timedelta(days=1)
        return f"<think>Not {day}.</think> It is {after}."
'''

SPEC: dict[str, Any] = {
    "ttsi": 1,
    "name": "days",
    "model": {"id": "fake"},
    "engine": "acme-dates/clerk",
    "benchmark": "acme-dates/calendar",
    "estimator": "always",
    "generator": {"name": "self", "samples": 1},
    "learner": "icl",
    "inference": {"name": "direct", "decoding": "greedy"},
}


@dataclass(frozen=True)
class Place:
    folder: Path
    env: Mapping[str, str]

    def call(self, *command: str, code: int = 0, **env: str) -> str:
        done = call(*command, env={**self.env, **env}, cwd=self.folder, code=code)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("days")
    made = Place(folder, make_environment(folder / "env"))
    made.call("ttsi", "new-plugin", "answer", "acme-dates/dates")
    package = folder / "acme-dates"
    project = package / "pyproject.toml"
    others = {"benchmarks": 'calendar = "acme_dates.calendar:Calendar"',
              "engines": 'clerk = "acme_dates.clerk:Clerk"'}  # fmt: skip
    entries = "".join(f'\n[project.entry-points."ttsi.{k}"]\n{v}\n' for k, v in others.items())
    project.write_text(project.read_text() + entries)
    (package / "src/acme_dates/calendar.py").write_text(BENCHMARK)
    (package / "src/acme_dates/clerk.py").write_text(ENGINE)
    made.call("pip", "install", "-q", "./acme-dates")
    (folder / "spec.json").write_text(json.dumps(SPEC))
    return made


@pytest.fixture(scope="module")
def run(place: Place) -> Path:
    place.call("ttsi", "-q", "eval", "spec.json")
    (seed,) = place.folder.glob("runs/days-*/seed-0")
    return seed


def test_it_is_listed_and_keeps_its_contract(place: Place) -> None:
    assert "acme-dates/dates" in place.call("ttsi", "plugins", "answers")
    said = place.call("ttsi", "plugins", "check", "acme-dates/dates")
    assert "0 failed, 0 skipped" in said
    assert "0 failed" in place.call("ttsi", "plugins", "check", "acme-dates/calendar")


def test_all_stages_go_by_the_form(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    records = {line["id"]: line for line in lines if "id" in line}
    assert sorted(records) == [f"calendar/{number}" for number in range(4)]
    leap = records["calendar/2"]
    assert leap["base"]["answer"] == {"status": "ok", "value": "2024-03-01", "work": ""}
    assert leap["base_score"]["reason"] == "wrong_value"
    assert leap["final"]["answer"]["value"] == "2024-02-29"
    (example,) = leap["examples"]
    assert example["answer"]["value"] == "2024-03-10"
    results = json.loads((run / "results.json").read_text())
    assert (results["samples"], results["errors"], results["adapted"]) == (4, 0, 4)
    assert (results["accuracy"], results["base"]["accuracy"]) == (1.0, 0.75)


def test_a_submission_is_verified_and_a_forged_one_is_not(place: Place, run: Path) -> None:
    words = f"leaderboard submit {run.parent} --to boards --as acme/days --third-party"
    said = place.call("ttsi", *words.split())
    assert "verified and written" in said
    verify = ("ttsi", "leaderboard", "verify", "boards", "--third-party")
    assert "1 verified" in place.call(*verify)
    (samples,) = place.folder.glob("boards/submissions/*/*/*/seed-0/samples.jsonl")
    honest = samples.read_text()
    samples.write_text(honest.replace('"value": "2024-03-01"', '"value": "2024-02-29"'))
    assert samples.read_text() != honest
    told = place.call(*verify, code=4)
    assert "is not what is read from its text" in told
