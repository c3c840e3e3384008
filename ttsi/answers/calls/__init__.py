"""Calls of tools: a text -> its calls -> their normal form -> right or wrong.

form.py         the form `calls`, for stages and scorers
values.py       calls, and how an answer stores them
marks.py        the marks of thoughts and calls that models use
shapes.py       JSON values as calls
notations.py    calls in other notations
finding.py      the calls of a text, one after another
parse.py        the calls in a model's answer
predicted.py    the calls in a line of a predictions file
writing.py      calls as text, and the JSON Schema of calls
claims.py       the arguments as claims that the request has to bear out
validation.py   whether a call is valid for the tools on offer
normalise.py    values by the type that the tool's schema declares
normal_forms.py calls in normal form
alternatives.py references that several calls match
match.py        calls against the reference, and the first reason why not
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Switches:
    """The differences that `exact@1` forgives: scorer options, which a benchmark can preset.

    fill_defaults: declared defaults are filled in, null for an optional parameter is dropped.
    coerce: values become the schema's type where nothing is lost.
    trim: strings in NFC, without outer white space.
    ordered: calls must come in the reference's order.
    renumber_references: `API_call_k` means the k-th call (from 0), not the text.
    fold_text: strings without case, spaces and , . / - _ * ^, with one kind of quotation mark;
        references to calls are then text, too.
    rewritten_names: some APIs allow only letters, digits, _ and - in names; a name in that spelling
        means the only tool that it can stand for: math_hypot is math.hypot.
    """

    fill_defaults: bool = True
    coerce: bool = True
    trim: bool = True
    ordered: bool = False
    renumber_references: bool = True
    fold_text: bool = False
    rewritten_names: bool = False
