"""The sessions of a run: one entry for each process that worked on a folder.

An entry is written when a session begins and completed when it ends; entries of other sessions are
never changed. `finished` and `engines` are null for a session that was killed or ended with an
error: the final state of its engines is unknown, so another session has to prove the weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ttsi._common import console
from ttsi._common.files import write_json
from ttsi._common.interrupts import Interrupt
from ttsi.errors import CorruptAsset, RunError
from ttsi.protocols import Executor, RunnerFactory, Watcher
from ttsi.records import provenance
from ttsi.records.identity import Identity
from ttsi.types import JSON, Played, Record, Sample

SESSIONS = "sessions.json"
OF_ESTIMATES = "estimates.sessions.json"
"""The sessions of `ttsi calibrate`, separate because a run's manifest covers its own."""


def read(path: Path) -> list[dict[str, JSON]]:
    """Return all entries in order; empty if the file does not exist. Raises CorruptAsset."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["sessions"]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise CorruptAsset(
            f"{path.name} is damaged.",
            where=str(path),
            cure="Delete it and run the same command: its engine is then proven again. Boards want "
            "a run with complete sessions: `ttsi eval --fresh` makes it anew.",
        )
    return found


def evidence(path: Path) -> list[dict[str, JSON]]:
    """Return what the engines of the last session reported at its end; empty if it did not end."""
    sessions = read(path)
    engines = sessions[-1].get("engines") if sessions else None
    return [each for each in engines if isinstance(each, dict)] if isinstance(engines, list) else []


class Session:
    """This process's session with a folder, as `ttsi.protocols.Session`. A context manager.

    It begins, and calls `begun`, when the first worker is admitted, so that a worker with another
    engine leaves the folder unchanged. It ends with the context. `samples` counts the session's
    records. `enough` says whether no further wave is to begin.
    """

    def __init__(
        self,
        path: Path,
        identity: Identity,
        plugins: Mapping[str, JSON],
        begun: Callable[[], None] = lambda: None,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        self.enough = enough
        self._path = path
        self._identity = identity
        self._plugins = plugins
        self._started = provenance.now()
        self._about: dict[str, JSON] = {}
        self._begun = begun
        self._before: list[dict[str, JSON]] | None = None
        self._deliver: Callable[[Record], None] = lambda record: None
        self._keep: Callable[[Played], None] = lambda step: None
        self._engines: list[dict[str, JSON]] = []
        self._warnings: list[str] = []
        self._interrupt = Interrupt()
        self.samples = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            self._write(samples=self.samples, ended=error is None)

    def run(
        self,
        executor: Executor,
        factory: RunnerFactory,
        samples: Sequence[Sample],
        deliver: Callable[[Record], None],
        watcher: Watcher | None = None,
        keep: Callable[[Played], None] = lambda step: None,
    ) -> None:
        """Run all `samples` on `executor`, and check what its engines report at the end.

        `deliver` receives the records, `keep` the steps of episodes before them.
        Raises RunError unless every engine had the run's weights before and after.
        """
        self._deliver, self._keep = deliver, keep
        with self._interrupt.watched():
            said = executor.run(factory, samples, self, watcher)
        self._interrupt.check()
        digest = self._identity.stored["engine"]["weights_digest"]
        proven = [each.get(key) == digest for each in said for key in PROOF]
        if not proven or not all(proven):
            raise RunError(
                "The executor ended without a proof that the base weights are what they were: "
                f"{json.dumps(said)[:300]}",
                where=str(self._path),
                cure="Run the same command: it resumes, and proves them.",
            )
        self._engines += said

    def admit(self, worker: str, identity: Mapping[str, JSON]) -> None:
        self._identity.admit(worker, identity)
        if self._before is None:
            self._begun()
            self._about = provenance.environment(self._plugins)
            self._before = read(self._path)
            self._write()

    def deliver(self, made: Record | Played) -> None:
        if self._before is None:
            raise RunError(
                "The executor delivered the record of a worker that it did not have admitted.",
                where=made.id,
                cure="Report it to the executor's author: `ttsi plugins check` finds it.",
            )
        if isinstance(made, Played):
            self._keep(made)
        else:
            self._deliver(made)
        self._interrupt.check()

    def warn(self, text: str) -> None:
        console.warn(text)
        self._warnings.append(text)

    def _write(self, *, samples: int | None = None, ended: bool = False) -> None:
        entry = {
            "started": self._started,
            "finished": provenance.now() if ended else None,
            **self._about,
            "samples": samples,
            "engines": self._engines if ended else None,
            "warnings": self._warnings,
        }
        write_json(self._path, {"sessions": [*(self._before or ()), entry]})


PROOF = ("weights_digest", "weights_digest_after")
