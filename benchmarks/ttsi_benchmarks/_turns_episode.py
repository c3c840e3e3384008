"""A conversation with simulated APIs, turn by turn, and its score, which is BFCL's.

After a turn all public attributes of the APIs must equal those after the right calls, and what the
right calls of the turn returned must be among what the model's calls have returned so far. Upstream
stops at the first turn that is wrong; here the conversation goes on, for the credit of the turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from ttsi import AnswerStatus, Completion, Message, Score, Task, calls_in
from ttsi.rows.rendering import Wording, make_task
from ttsi_benchmarks._turns_rows import Row, Turn
from ttsi_benchmarks._turns_world import Broken, Worlds, give_back, taken

INSTRUCTION = (
    "Do what the user asks by calling tools. After your calls you see their results, and may call "
    "again, until it is done. When nothing is left to do, or when the tools or what the user said "
    "do not suffice, make no call: answer []."
)
_DETAIL = 200


def task_of(row: Row, turn: Turn) -> Task:
    """Return the task of a turn's first message, as if nothing had been said before."""
    return make_task(row.id, INSTRUCTION, turn.tools, turn.says)


class Conversation:
    """One row, played; `max_steps` bounds the answers of a turn, as upstream does."""

    def __init__(self, row: Row, wording: Wording, max_steps: int) -> None:
        self._row, self._wording, self._max_steps = row, wording, max_steps
        self._said: list[Message] = []
        self._results: list[str] = []
        self._ended: list[Score] = []
        self._stopped = False
        self._calls = 0

    @cached_property
    def _worlds(self) -> Worlds:
        return taken()

    @property
    def _turn(self) -> Turn:
        return self._row.turns[len(self._ended)]

    def start(self) -> Task:
        self._worlds.begin(self._row.config, self._row.classes, long=self._row.long)
        return self._next_turn()

    def step(self, completion: Completion) -> Task | None:
        self._said.append(Message("assistant", completion.text))
        try:
            if completion.answer.status is AnswerStatus.OK and calls_in(completion.answer):
                return self._call(completion)
            return self._end_turn()
        except Broken as error:
            return self._stop("environment", str(error))

    def score(self) -> Score:
        """Return whether every turn is right, and the share of turns that are."""
        give_back(self._worlds)
        return Score.of_turns(self.turns(), len(self._row.turns))

    def turns(self) -> list[Score]:
        """Return how each turn went, the one in which the conversation was stopped included."""
        turns = len(self._row.turns)
        if self._stopped or len(self._ended) == turns:
            return self._ended
        told = f"the run ended it in turn {len(self._ended) + 1} of {turns}"
        return [*self._ended, Score(False, "unfinished", told)]

    def _call(self, completion: Completion) -> Task | None:
        calls = calls_in(completion.answer)
        results = self._worlds.call(calls)
        # An answer without calls ends the turn, so that these are its steps.
        self._calls += 1
        self._results += results
        self._said += [Message("tool", result) for result in results]
        if self._calls > self._max_steps:
            where = f"turn {len(self._ended) + 1}"
            return self._stop("too_many_steps", f"{where} took more than {self._max_steps}")
        return self._first.after(self._said)

    def _stop(self, reason: str, detail: str) -> None:
        self._stopped = True
        self._ended.append(Score(False, reason, detail[:_DETAIL]))

    def _end_turn(self) -> Task | None:
        wanted, differences = self._worlds.end_turn(self._turn.right)
        self._ended.append(self._judged(wanted, differences))
        return self._next_turn() if len(self._ended) < len(self._row.turns) else None

    def _judged(self, wanted: Sequence[str], differences: Sequence[str]) -> Score:
        """Return whether the turn that ends is right."""
        if not self._turn.right:
            return Score(True)
        if not self._calls:
            return self._wrong("no_call", "no call was made")
        if differences:
            return self._wrong("wrong_state", "; ".join(differences))
        if missing := Counter(wanted) - Counter(self._results):
            return self._wrong("missing_result", f"no call returned {next(iter(missing))}")
        return Score(True)

    def _wrong(self, reason: str, detail: str) -> Score:
        return Score(False, reason, f"turn {len(self._ended) + 1}: {detail}"[:_DETAIL])

    def _next_turn(self) -> Task:
        self._calls = 0
        self._said.append(Message("user", self._turn.says))
        self._first = self._wording.of(task_of(self._row, self._turn))
        return self._first.after(self._said)
