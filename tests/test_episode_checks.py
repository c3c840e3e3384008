"""The contract checks of episodes: environments that are installed, and a sound one, pass them."""

from __future__ import annotations

from typing import Any

import pytest
from test_contracts import at_rest, states
from wrong_episodes import Rooms

from ttsi.testing import check_class, checks_for
from ttsi.testing.running import run_check, subject_of


@pytest.mark.parametrize(
    ("name", "options"),
    [("bfcl_multi_turn", {"limit": 5}), ("apibank_dialogues", {}), ("ttsi-fakes/tours", {})],
)
def test_environments_keep_their_contract(name: str, options: dict[str, Any]) -> None:
    subject = subject_of(name, options)
    at_rest(subject)
    outcomes = [run_check(check, subject) for check in checks_for("benchmarks")]
    assert [(o.check.name, o.message) for o in outcomes if not o.passed] == []
    assert states(outcomes)["skipped"] == {"train"}


def test_what_the_wrong_environments_are_made_of_is_right() -> None:
    rooms = states(check_class("benchmarks", Rooms, name="fake"))
    assert (rooms["failed"], rooms["skipped"]) == (set(), set())
