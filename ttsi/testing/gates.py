"""Check of an inference that is a gate (`ttsi.Gates`): what it says of two answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ttsi.optional import Gates, Rivals, Verdict
from ttsi.testing.checks import Check, require
from ttsi.testing.exercise import SEED, wave_of
from ttsi.testing.fake_benchmark import FakeBenchmark, example_of
from ttsi.testing.fake_engine import FakeEngine
from ttsi.testing.subject import Subject
from ttsi.types import Completion, Demonstrations


def verdicts_are_sound(subject: Subject) -> None:
    """Check the verdicts of a gate; other inference passes."""
    if subject.kind != "inference" or not isinstance(subject.make(), Gates):
        return
    rivals = _rivals()
    together = _judged(subject, rivals)
    for name, verdict in zip([each.task.id for each in rivals], together, strict=True):
        told = f"{name}: {verdict!r} is neither None nor a Verdict of finite numbers"
        require(verdict is None or _is_sound(verdict), told)
    alone = [_judged(subject, [each])[0] for each in rivals]
    require(together == alone, "all together and one at a time it gave different verdicts")
    turned = _judged(subject, rivals[::-1])[::-1]
    require(together == turned, "in another order it gave different verdicts")


def _rivals() -> list[Rivals]:
    """Return answers that differ, and in one case do not, under adaptations of both kinds."""
    wave = wave_of(FakeBenchmark().samples())
    found = []
    for at, task in enumerate(wave.tasks):
        base, example = wave.base[at], example_of(task)
        assert base is not None
        text = f"[{example.text}]"
        adapted = Completion(text, example.answer, 40, 12, -2.5) if at else base
        shown = Demonstrations.of([(example.task.said, example.text)])
        found.append(Rivals(task, base, adapted, wave.adaptations[at] or shown))
    return found


def _judged(subject: Subject, rivals: Sequence[Rivals]) -> list[Any]:
    made: Any = subject.make()
    verdicts = made.judge(rivals, FakeEngine(), SEED)
    require(isinstance(verdicts, list), f"it returns {type(verdicts).__name__}, not a list")
    told = f"{len(verdicts)} verdicts for {len(rivals)} pairs of answers"
    require(len(verdicts) == len(rivals), told)
    return list(verdicts)


def _is_sound(verdict: object) -> bool:
    return (
        isinstance(verdict, Verdict)
        and type(verdict.kept) is bool
        and isinstance(verdict.by, str)
        and math.isfinite(verdict.base)
        and math.isfinite(verdict.adapted)
    )


CHECKS = (
    Check(
        "gate",
        "A gate's verdict is kept in the record: it is sound, and the wave does not change it.",
        verdicts_are_sound,
    ),
)
