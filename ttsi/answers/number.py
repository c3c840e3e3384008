"""The form `number`: an answer is one number, mostly at the end of a worked solution.

The notation of a number does not count: 1,000 and 1000.0 and $1,000 are exactly the same value. The
value is a text with one spelling for each number: a decimal without redundant zeros ("1000",
"-0.5") or, if no decimal is exact, a fraction in lowest terms ("1/3").

- A comma, `{,}` or `\\,` before three digits groups them; a full stop begins decimals.
- A sign belongs to a number if no operand stands before it: 5-3 ends in 3. A currency sign may
  stand before or after it.
- 3/4, 1 3/4 and \\frac{3}{4} are fractions; 1.5e3 and 1.5 x 10^3 are powers of ten.
- Units and per cent signs are ignored: 25% is 25, 3 km is 3. Digits after a letter, as in x2, are
  no number.

The answer is looked for in the sentence after the last mark (see worked.py) that is followed by a
number: it is the first number after the sentence's last `=`, or else its first number. `####` has
to be followed by the number at once, so that a heading is no mark; "the answer is not 5" is no mark
either. Without a mark, the last number of the text is the answer. "41 or 42" and numbers of more
than MAX_DIGITS characters are unparsable. A text without any number declines.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from fractions import Fraction
from typing import ClassVar

from ttsi.answers.numbers import MAX_DIGITS, number_text
from ttsi.answers.worked import NOT_FOUND, Found, Mark, Worked, before, marks, sentence
from ttsi.protocols import Asking
from ttsi.types import JSON, UNPARSABLE, Answer, Task

_SIGN = r"(?:(?<![)\]}])[-\u2212+])?"
_CURRENCY = r"[$\u20ac\u00a3\u00a5\u20b9]"
_GROUPED = r"[0-9]{1,3}(?:(?:,|\{,\}|\\,)[0-9]{3}){1,40}+(?![0-9])"
_NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_])(?<![0-9][./])(?P<sign>{_SIGN})(?:\\?{_CURRENCY}\s?(?P<inner>[-\u2212+]?))?"
    rf"(?:\\[dt]?frac\{{(?P<over>[0-9]++)\}}\{{(?P<under>[0-9]++)\}}"
    rf"|(?P<body>(?:{_GROUPED}|[0-9]++)(?:\.[0-9]++)?+|(?<!\.)\.[0-9]++)"
    r"(?:[eE](?P<exponent>[-+]?[0-9]{1,3})(?![0-9A-Za-z_])"
    r"|\s?(?:[x\u00d7*]|\\times|\\cdot)\s?10\s?\^\s?\{?(?P<power>[-\u2212+]?[0-9]{1,3})\}?"
    r"|/(?P<divisor>[0-9]++)(?![/0-9])"
    r"|\s(?P<numerator>[0-9]++)/(?P<denominator>[0-9]++)(?![/0-9]))?)"
)
_AHEAD = re.compile(r"[\s$*_`\\(\[]*")
_OR = re.compile(r"[^\n.=]{0,40}?\bor\s+", re.IGNORECASE)
_NOT = re.compile(r"not\b", re.IGNORECASE)
_DECORATION = " \t*_`$%.()[]\\"


class Number(Worked):
    """A number, compared by its value.

    A value is its text in its one spelling: "1000", "-0.5", "1/3".
    """

    name: ClassVar[str] = "number"
    own: ClassVar[Mark] = Mark(0, 0, 0, "#### ")
    specimens: ClassVar[tuple[str, ...]] = (
        "42",
        "6 bags of 7 make 6 * 7 = 42.\n#### 42",
        "She pays 2 * $500 = $1,000. So the answer is $1,000.",
        "Half of it is left.\n\\boxed{\\frac{1}{2}}",
        "**Answer:** -0.75",
    )

    @property
    def asking(self) -> Asking:
        ends = 'which ends with a line of "#### " and the final number'
        return Asking(
            data_for="assistants that solve problems step by step",
            answer=f"the worked solution that the assistant should give, {ends}",
            answer_to_it=f"its worked solution, {ends},",
            rule="Every step is computed with the numbers of the new problem.",
            shape='"The first step. The next step.\\n#### 42"',
        )

    def find(self, task: Task, text: str) -> Found:
        for mark in reversed(marks(text)):
            said = sentence(text, mark)
            number = _announced(mark, said)
            if number is not None:
                answer = _answer(number, before(text, mark), hedged=_hedged(said, number))
                return Found(answer, mark.end + number.start(), mark)
        return _last(text)

    def read(self, task: Task, value: JSON) -> Answer:
        """Read a JSON number as that number, and a text as a model's text, with its work."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return super().read(task, value)
        literal = number_text(value)
        found = _NUMBER.fullmatch(literal) if len(literal) <= MAX_DIGITS else None
        return UNPARSABLE if found is None else _answer(found)

    def schema(self, task: Task, *, least: int = 1, most: int | None = None) -> JSON:
        """Allow any text, so that the number can be worked out in it."""
        return {"type": "string"}


def spelling(number: Fraction) -> str:
    """Return the one spelling of a number: a decimal, or a fraction if no decimal is exact."""
    over, under = number.numerator, number.denominator
    twos = (under & -under).bit_length() - 1
    fives, rest = 0, under >> twos
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return f"{over}/{under}"
    places = max(twos, fives)
    digits = Decimal(over * 10**places // under)
    return f"{digits.scaleb(-places, Context(prec=4 * MAX_DIGITS)):f}"


def _answer(found: re.Match[str], work: str = "", *, hedged: bool = False) -> Answer:
    number = None if hedged else _exact(found)
    return UNPARSABLE if number is None else Answer.of(spelling(number), work)


def _exact(found: re.Match[str]) -> Fraction | None:
    """Return the exact value; None if it is too long, too large or divided by 0."""
    if found.end() - found.start() > MAX_DIGITS:
        return None
    digits = re.sub(r"[^0-9.]", "", found["body"] or found["over"])
    under = int(found["divisor"] or found["denominator"] or found["under"] or 1)
    power = int((found["exponent"] or found["power"] or "0").replace("\u2212", "-"))
    if under == 0 or abs(power) > MAX_DIGITS:
        return None
    number = Fraction(digits) * Fraction(10) ** power
    if found["numerator"]:
        number += Fraction(int(found["numerator"]), under)
    else:
        number /= under
    minus = [found["sign"] or "", found["inner"] or ""]
    return -number if sum(sign in ("-", "\u2212") for sign in minus) == 1 else number


def _announced(mark: Mark, said: str) -> re.Match[str] | None:
    """Return the number that `mark` announces in the sentence `said` after it."""
    if mark.opening.startswith("#"):
        found, ahead = _NUMBER.search(said), _AHEAD.match(said)
        return found if found and ahead and found.start() <= ahead.end() else None
    if _NOT.match(said):
        return None
    return _NUMBER.search(said, said.rfind("=") + 1) or _NUMBER.search(said)


def _hedged(said: str, number: re.Match[str]) -> bool:
    """Whether the sentence offers another number: "41 or 42"."""
    other = _OR.match(said, number.end())
    return other is not None and _NUMBER.match(said, other.end()) is not None


def _last(text: str) -> Found:
    """Return the last number of a text without a mark.

    The text is the work, except for a last line that holds only the number.
    """
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return NOT_FOUND
    number = numbers[-1]
    start = text.rfind("\n", 0, number.start()) + 1
    around = text[start : number.start()] + text[number.end() :]
    alone = not around.strip(_DECORATION + "\n")
    work = text[:start].strip() if alone else text.strip()
    hedged = bool(re.search(r"[0-9]\S{0,9}\s+or\s+$", text[start : number.start()][-40:]))
    return Found(_answer(number, work, hedged=hedged), number.start(), bare=alone and not work)
