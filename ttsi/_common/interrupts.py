"""Ctrl-C that is not lost.

Python drops a KeyboardInterrupt that is raised inside a destructor or a callback of C code. The run
would then go on as if nobody had pressed a key.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Remembers ctrl-C while `watched` lasts, so that `check` can raise it if Python dropped it."""

    def __init__(self) -> None:
        self._pressed = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if ctrl-C was pressed."""
        if self._pressed:
            raise KeyboardInterrupt

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Handle ctrl-C in this context, and call the previous handler as well.

        Only the main thread can have signal handlers; in others this does nothing.
        """
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(before):
            yield
            return

        def remember(number: int, frame: FrameType | None) -> None:
            self._pressed = True
            before(number, frame)

        signal.signal(signal.SIGINT, remember)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
