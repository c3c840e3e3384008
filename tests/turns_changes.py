"""Wrong steps: changes of the right calls of a conversation."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from turns_play import Steps

from ttsi import JSON, ToolCall
from ttsi_benchmarks._turns_rows import Row

Turns = list[Steps]


def other(value: JSON, draw: random.Random) -> JSON:
    """Return another value of the same type, or of another."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return draw.choice([value + 1, -value, str(value), value * 10])
    if isinstance(value, str):
        return draw.choice([value + "x", value.upper(), "", 7, f" {value}"])
    if isinstance(value, list):
        return draw.choice([value[1:], [*value, "x"], value[::-1]])
    return None


def _place(turns: Turns, draw: random.Random) -> tuple[list[ToolCall], int] | None:
    steps = [step for steps in turns for step in steps if step]
    if not steps:
        return None
    step = draw.choice(steps)
    return step, draw.randrange(len(step))


def change_a_value(row: Row, turns: Turns, draw: random.Random) -> None:
    if found := _place(turns, draw):
        step, at = found
        if names := list(step[at].arguments):
            name = draw.choice(names)
            given = {**step[at].arguments, name: other(step[at].arguments[name], draw)}
            step[at] = replace(step[at], arguments=given)


def leave_out_a_call(row: Row, turns: Turns, draw: random.Random) -> None:
    if found := _place(turns, draw):
        del found[0][found[1]]


def repeat_a_call(row: Row, turns: Turns, draw: random.Random) -> None:
    if found := _place(turns, draw):
        found[0].insert(found[1], found[0][found[1]])


def exchange_calls(row: Row, turns: Turns, draw: random.Random) -> None:
    if found := _place(turns, draw):
        draw.shuffle(found[0])


def call_one_by_one(row: Row, turns: Turns, draw: random.Random) -> None:
    """Change the answers and not the calls."""
    turns[:] = [[[call] for step in steps for call in step] for steps in turns]


def leave_out_an_argument(row: Row, turns: Turns, draw: random.Random) -> None:
    if found := _place(turns, draw):
        step, at = found
        left = dict(list(step[at].arguments.items())[1:])
        step[at] = replace(step[at], arguments=left)


def invent_an_argument(row: Row, turns: Turns, draw: random.Random) -> None:
    if found := _place(turns, draw):
        step, at = found
        step[at] = replace(step[at], arguments={**step[at].arguments, "invented": 1})


def call_what_is_not_there(row: Row, turns: Turns, draw: random.Random) -> None:
    name = draw.choice(["teleport", "_load_scenario", "__class__", "remove", "kill"])
    draw.choice(turns).append([ToolCall(name, {})])


def call_another_tool(row: Row, turns: Turns, draw: random.Random) -> None:
    tool = draw.choice(row.turns[-1].tools)
    named = (
        {name: draw.choice(["a", 1, True, []]) for name in tool.parameters["required"]}
        if ("required" in tool.parameters)
        else {}
    )
    draw.choice(turns).append([ToolCall(tool.name, named)])


def leave_out_a_turn(row: Row, turns: Turns, draw: random.Random) -> None:
    turns[draw.randrange(len(turns))] = []


def call_too_early(row: Row, turns: Turns, draw: random.Random) -> None:
    if len(turns) > 1:
        at = draw.randrange(1, len(turns))
        turns[at - 1], turns[at] = turns[at - 1] + turns[at], []


def answer_nothing(row: Row, turns: Turns, draw: random.Random) -> None:
    turns[:] = [[] for _ in turns]


CHANGES: tuple[Callable[[Row, Turns, random.Random], None], ...] = (
    change_a_value,
    leave_out_a_call,
    repeat_a_call,
    exchange_calls,
    call_one_by_one,
    leave_out_an_argument,
    invent_an_argument,
    call_what_is_not_there,
    call_another_tool,
    leave_out_a_turn,
    call_too_early,
    answer_nothing,
)
