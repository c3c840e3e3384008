"""The option `tool_order`: tools in an order that tells nothing of the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ttsi import registry
from ttsi.answers.calls.values import calls_in
from ttsi.rows.rendering import shuffled, tool_line
from ttsi.types import Sample
from ttsi_benchmarks.quickstart import Quickstart

CALLING = ("quickstart", "sealtool", "sealtool_full", "apibank", "nexusraven", "bfcl", "toolalpaca")


def rows(name: str, **options: Any) -> list[Sample]:
    found: list[Sample] = registry.load("benchmarks", name)(**options).samples()
    return found


def first_right(samples: Sequence[Sample]) -> int:
    return sum(
        sample.task.tools[0].name in {call.name for call in calls_in(sample.reference)}
        for sample in samples
    )


@pytest.mark.parametrize("name", CALLING)
def test_the_same_tools_in_another_order(name: str) -> None:
    given, mixed = rows(name), rows(name, tool_order="shuffled")
    assert [each.reference for each in mixed] == [each.reference for each in given]
    moved = 0
    for one, other in zip(given, mixed, strict=True):
        names = [tool.name for tool in one.task.tools]
        assert sorted(tool.name for tool in other.task.tools) == sorted(names)
        lines = "\n".join(map(tool_line, other.task.tools))
        assert other.task.instruction == one.task.instruction.replace(
            "\n".join(map(tool_line, one.task.tools)), lines
        )
        moved += other.task.tools != one.task.tools
    assert moved > len(given) / 5


def test_in_seal_tools_as_given_the_right_tool_comes_first() -> None:
    assert first_right(rows("sealtool")) == 258
    # By chance 294 / 5.
    assert 40 < first_right(rows("sealtool", tool_order="shuffled")) < 80


def test_the_order_is_of_the_set_so_that_tasks_share_their_prompts() -> None:
    task = Quickstart(limit=1).samples()[0].task
    mixed = shuffled(task)
    assert shuffled(mixed) == mixed
    turned = shuffled(shuffled(task).after(task.said))
    assert turned.tools == mixed.tools


def test_it_holds_with_own_words_natively_for_training_and_in_episodes() -> None:
    (plain,) = rows("sealtool", limit=1, tool_order="shuffled")
    own = "{tools}\n\n{instruction} {format}"
    (worded,) = rows("sealtool", limit=1, tool_order="shuffled", instruction=own)
    assert worded.task.instruction.startswith("\n".join(map(tool_line, plain.task.tools)))
    (native,) = rows("sealtool", limit=1, tool_order="shuffled", prompt="native")
    assert native.task.offered == plain.task.tools
    assert native.task.bare is not None
    assert "Tools:" not in native.task.bare
    made = registry.load("benchmarks", "sealtool")
    assert first_right(made(tool_order="shuffled").train()) < first_right(made().train()) / 2
    (episode,) = rows("apibank_dialogues", limit=1, tool_order="shuffled")
    assert episode.episode is not None
    assert episode.episode().start() == episode.task


def test_a_task_without_tools_stays_as_it_is() -> None:
    (sample,) = rows("gsm8k", limit=1)
    assert shuffled(sample.task) == sample.task
