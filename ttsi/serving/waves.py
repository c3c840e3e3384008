"""Requests that arrive together are solved together: the queue between clients and the model.

All of it runs in the event loop but for the solving, which is in one thread.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial

from ttsi.serving.refusals import Refusal
from ttsi.serving.solving import Solving
from ttsi.serving.tickets import Group, Outcome, Ticket, grouped
from ttsi.solving.solution import Solution
from ttsi.spec import Spec
from ttsi.types import JSON

_RECENT = 0.8
"""The weight of earlier waves in the time that a wave is expected to take."""


class Waves:
    """A queue of up to `most_waiting` tickets, of which up to `wave` tasks are solved at a time.

    A wave begins `window` seconds after the first ticket that it could have, so that others can
    join it, or as soon as it is full; tickets that arrive while the model works wait for the next.
    """

    def __init__(
        self, spec: Spec, *, wave: int, window: float = 0.02, most_waiting: int = 64
    ) -> None:
        self._solving = Solving(
            spec,
            deliver=self._from_thread,
            told=self._told_by_thread,
            writing=self._written_by_thread,
        )
        self._wave, self._window, self._most = wave, window, most_waiting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ttsi-solving")
        self._waiting: list[Ticket] = []
        self._some, self._full = asyncio.Event(), asyncio.Event()
        self._seconds = 1.0
        self._loop = asyncio.get_running_loop()
        self.broken: BaseException | None = None
        self.on_wave: Callable[[int, float], None] = lambda tasks, seconds: None
        self.on_outcome: Callable[[Outcome], None] = lambda outcome: None

    async def load(self) -> dict[str, JSON]:
        """Load the model, and return its identity."""
        return await self._loop.run_in_executor(self._thread, self._solving.load)

    async def close(self) -> None:
        """Free the model. Raises RunError if its weights have changed."""
        await self._loop.run_in_executor(self._thread, self._solving.close)
        self._thread.shutdown()

    @property
    def waiting(self) -> int:
        """How many tickets have to wait."""
        return len(self._waiting)

    def submit(self, tickets: Sequence[Ticket], deadline: float | None = None) -> None:
        """Queue tickets, whose `deadline` is that many seconds from now.

        Raises Refusal if there is no room, or no model any more.
        """
        if self.broken is not None:
            raise Refusal(503, "The model can no longer be used; the server ends.")
        if len(self._waiting) + len(tickets) > self._most:
            waves = 1 + len(self._waiting) / self._wave
            seconds = max(1, math.ceil(self._seconds * waves))
            raise Refusal(
                429,
                f"{len(self._waiting)} requests are waiting, of {self._most} at most.",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(seconds)},
            )
        for ticket in tickets:
            if deadline is not None:
                timer = self._loop.call_later(deadline, ticket.expire)
                ticket.future.add_done_callback(partial(_stop, timer))
        self._waiting += tickets
        self._note_how_many()

    def leave(self, tickets: Sequence[Ticket]) -> None:
        """Forget tickets whose client has gone; of those under way the model stops its texts."""
        for ticket in tickets:
            ticket.left = True
            ticket.future.cancel()
        self._waiting = [ticket for ticket in self._waiting if not ticket.left]
        self._note_how_many()

    def _note_how_many(self) -> None:
        for event, least in ((self._some, 1), (self._full, self._wave)):
            if len(self._waiting) >= least:
                event.set()
            else:
                event.clear()

    async def run(self) -> None:
        """Solve waves until this is cancelled, or the model can no longer be used."""
        while self.broken is None:
            await self._some.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), self._window)
            groups, self._waiting = grouped(self._waiting, self._wave)
            self._note_how_many()
            if groups:
                await self._solve(groups)

    async def _solve(self, groups: Sequence[Group]) -> None:
        began = time.monotonic()
        try:
            await self._loop.run_in_executor(self._thread, self._solving.wave, groups)
        except Exception as error:
            self.broken = error
            failed = Refusal(503, f"The model can no longer be used: {error}")
            for group in groups:
                self._settle(group, failed)
            for ticket in self._waiting:
                if not ticket.future.done():
                    ticket.future.set_exception(failed)
            self._waiting = []
        seconds = time.monotonic() - began
        self._seconds = _RECENT * self._seconds + (1 - _RECENT) * seconds
        self.on_wave(len(groups), seconds)

    # ------------------------------------------------------------ called in the thread

    def _from_thread(self, group: Group, outcome: Outcome | Refusal) -> None:
        self._loop.call_soon_threadsafe(self._settle, group, outcome)

    def _told_by_thread(self, group: Group, solution: Solution) -> None:
        self._loop.call_soon_threadsafe(self._tell, group, solution)

    def _written_by_thread(self, group: Group, text: str) -> None:
        self._loop.call_soon_threadsafe(self._write, group, text)

    # ------------------------------------------------------------ and then in the event loop

    def _settle(self, group: Group, outcome: Outcome | Refusal) -> None:
        if isinstance(outcome, Outcome):
            self.on_outcome(outcome)
        for ticket in group.tickets:
            if ticket.future.done():
                continue
            if isinstance(outcome, Refusal):
                ticket.future.set_exception(outcome)
            else:
                ticket.future.set_result(outcome)

    def _tell(self, group: Group, solution: Solution) -> None:
        for ticket in group.tickets:
            ticket.base = replace(solution, examples=())
            if ticket.late:
                ticket.expire()

    def _write(self, group: Group, text: str) -> None:
        for ticket in group.tickets:
            if ticket.told is not None:
                ticket.told(text)


def _stop(timer: asyncio.TimerHandle, _: asyncio.Future[Outcome]) -> None:
    timer.cancel()
