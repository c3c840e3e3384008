"""The options of learners that train: what they ask of an engine, and which engines are refused."""

from __future__ import annotations

from typing import Any

import pytest

from ttsi import load_spec
from ttsi.errors import EngineError, SpecError, UsageError
from ttsi.solving import assemble
from ttsi.testing import FakeEngine
from ttsi.testing.subject import ALL_NEEDS
from ttsi.types import Answer, Example, Task, TrainJob
from ttsi_plugins.learners.lora_sft import LoraSft
from ttsi_plugins.learners.sft import Sft

TASK = Task("t", (), "Answer.", "What time is it?", "text")
OTHER = {"optimizer": "sgd", "normalised": True, "modules": "attention", "prompt_loss": 0.2}


def examples(count: int) -> list[Example]:
    return [
        Example(TASK.variant(str(at), input=f"Question {at}?"), Answer.of(f"answer {at}"), "", 1)
        for at in range(count)
    ]


def asked(learner: LoraSft, *counts: int) -> list[TrainJob]:
    engine = FakeEngine()
    learner.learn(
        [TASK] * len(counts), list(map(examples, counts)), [None] * len(counts), engine, 0
    )
    return [job for job in engine.asked if isinstance(job, TrainJob)]


def test_the_last_examples_are_set_aside_and_one_at_least_is_learnt() -> None:
    three, one = asked(LoraSft(held_out=2, keep="best", **OTHER), 3, 1)
    (whole,) = asked(LoraSft(), 3)
    assert (three.pairs, three.held_out) == (whole.pairs[:1], whole.pairs[1:])
    assert (one.pairs, one.held_out) == (whole.pairs[:1], ())
    assert [three.keep, one.keep, whole.keep] == ["best", "last", "last"]
    assert {job.prompt_loss for job in (three, one)} == {0.2}
    recipe = three.recipe
    assert (recipe.optimizer, recipe.normalised, recipe.modules) == ("sgd", True, "attention")


@pytest.mark.parametrize("make", [LoraSft, Sft])
def test_the_best_of_nothing_held_out_is_refused(make: Any) -> None:
    with pytest.raises(UsageError, match="set aside") as caught:
        make(keep="best")
    assert '"held_out"' in caught.value.cure


@pytest.mark.parametrize("changed", [*OTHER.items(), ("held_out", 1)], ids=str)
def test_an_engine_that_knows_the_papers_recipe_only_is_refused(
    changed: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dict([changed])
    plain = FakeEngine(capabilities=ALL_NEEDS - {"recipes"})
    monkeypatch.setattr(assemble, "engine", lambda spec: plain)

    def check(learner: dict[str, Any]) -> None:
        spec = {"ttsi": 1, "name": "s", "benchmark": "quickstart"}
        assemble.check(load_spec({**spec, "learner": {"name": "lora_sft", **learner}})[0])

    check({})
    with pytest.raises(SpecError, match="needs recipes"):
        check(options)
    # And so it is when it is asked all the same.
    with pytest.raises(EngineError, match="recipes"):
        LoraSft(**options).learn([TASK], [examples(2)], [None], plain, 0)
