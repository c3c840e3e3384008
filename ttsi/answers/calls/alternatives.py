"""Resolve references that several calls match (`ttsi.answers.calls.values.AnyOf`).

Each reference is settled on the alternative that is closest to the call it is paired with: an
allowed argument is taken as predicted, any other keeps the reference's value. So an answer is right
if and only if it equals the settled reference, and the reason for a wrong one refers to the closest
alternative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from ttsi.answers.calls.normal_forms import Form, Former, Key
from ttsi.answers.calls.values import AnyOf, ToolCall
from ttsi.parameters.fitting import Schema
from ttsi.types import JSON

_Keys: TypeAlias = tuple[Mapping[str, set[Key | None]], Mapping[str, Key]]


def settle(
    former: Former, reference: Sequence[ToolCall], got: Sequence[Form], *, ordered: bool
) -> list[ToolCall]:
    """Return the reference without alternatives, as close to `got` as it allows.

    Both have the same length. Unless `ordered`, calls are paired so that the total number of wrong
    arguments is least; it is 0 if and only if some pairing has no wrong argument.
    """
    if not any(isinstance(call, AnyOf) for call in reference):
        return list(reference)
    menus = [_Menu(former, call) for call in reference]
    places: Iterable[int] = range(len(got))
    if not ordered and len(got) > 1:
        from scipy.optimize import linear_sum_assignment

        _, places = linear_sum_assignment([[menu.cost(form) for form in got] for menu in menus])
    return [menu.nearest(got[place]) for menu, place in zip(menus, places, strict=True)]


class _Menu:
    """The values that a reference call allows: keys by argument, None if it may be left out.

    If the tool's parameters have alternatives (branches), a value's key depends on the branch that
    the answer takes; the reference is normalised by the same branch.
    """

    def __init__(self, former: Former, call: ToolCall) -> None:
        self._call = call
        self._former = former
        self._name = former.form(call.name, {}).name
        self._allowed: dict[str, Sequence[JSON]] = {k: [v] for k, v in call.arguments.items()}
        self._optional: Sequence[str] = ()
        if isinstance(call, AnyOf):
            self._allowed |= call.allowed
            self._optional = call.optional
        self._by_branch: dict[int, _Keys] = {}

    def cost(self, form: Form) -> int:
        """Count the wrong arguments; a wrong name costs more than any number of them."""
        if form.name != self._name:
            return 1 + len(self._allowed) + len(form.keys)
        return len(self._wrong(form))

    def nearest(self, form: Form) -> ToolCall:
        if form.name != self._name:
            return ToolCall(self._call.name, self._call.arguments)
        wrong = self._wrong(form)
        # Arguments that the reference lacks are dropped: its branch may have other defaults.
        arguments = {
            name: value
            for name, value in form.arguments.items()
            if name in self._allowed and name not in wrong
        }
        for name in wrong:
            if name in self._call.arguments:
                arguments[name] = self._call.arguments[name]
            elif self._allowed.get(name):
                arguments[name] = self._allowed[name][0]
        return ToolCall(self._call.name, arguments)

    def _wrong(self, form: Form) -> list[str]:
        right, left_out = self._keys(form.branch)
        names = {**right, **form.keys}
        return [
            name
            for name in names
            if form.keys.get(name) not in (right.get(name) or {left_out.get(name)})
        ]

    def _keys(self, branch: Schema) -> _Keys:
        """Return the right keys by argument, and the keys of omitted arguments."""
        if id(branch) not in self._by_branch:
            form = partial(self._former.form, self._call.name, branch=branch)
            left_out = form({}).keys
            right: dict[str, set[Key | None]] = {
                name: {form({name: value}).keys.get(name) for value in values}
                for name, values in self._allowed.items()
            }
            for name in self._optional:
                right.setdefault(name, set()).add(left_out.get(name))
            self._by_branch[id(branch)] = right, left_out
        return self._by_branch[id(branch)]
