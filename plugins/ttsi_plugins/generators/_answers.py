"""A cache of a teacher's answers, so that none is paid for twice, in any run or process.

Each answer is a file CACHE/teacher/ab/abcdef....json, named by a digest of all that shapes it. The
files hold the answer and the tokens that it cost, and no key.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

from ttsi import EngineError, StorageError

_FAILED_SECONDS = 60
"""How long a failure stands for the request."""

_MOST_KNOWN = 4096
"""How many answers are in memory that are on no disk."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request, and the tokens that were paid for it now: none from the cache.

    `sound` is False if the response was no chat completion; then the text is empty. `cut`: it ended
    at the length that was allowed.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    sound: bool = True
    cut: bool = False


class Answers:
    """Outcomes by digest: sound answers of all runs under `folder`, the others in memory.

    Failures are kept for `_FAILED_SECONDS`, so that they are not tried again after a wave is halved
    for one, and are tried again by who asks later. Of what is in memory the oldest gives way.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: OrderedDict[str, Answer] = OrderedDict()
        self._failed: dict[str, tuple[float, EngineError]] = {}

    def get(self, key: str) -> Answer | EngineError | None:
        """Return a kept outcome, for which no tokens are paid, or None."""
        since, failure = self._failed.get(key, (0.0, None))
        if failure is not None and time.monotonic() - since < _FAILED_SECONDS:
            return failure
        return self._known.get(key) or self._read(key)

    def put(self, key: str, outcome: Answer | EngineError, model: str) -> None:
        """Keep an outcome. Raises StorageError if the folder cannot be written."""
        now = time.monotonic()
        if isinstance(outcome, EngineError):
            old = [each for each, (at, _) in self._failed.items() if now - at >= _FAILED_SECONDS]
            for each in old:
                del self._failed[each]
            self._failed[key] = (now, outcome)
        elif self._folder is not None and outcome.sound:
            self._write(self._path(key), outcome, model)
        else:
            self._known[key] = replace(outcome, prompt_tokens=0, completion_tokens=0)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        digest = key.removeprefix("sha256:")
        return self._folder / digest[:2] / f"{digest}.json"

    def _read(self, key: str) -> Answer | None:
        """Return the answer on disk; None if its file is missing, or damaged and to be replaced."""
        if self._folder is None:
            return None
        try:
            kept = json.loads(self._path(key).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        text = kept.get("text") if isinstance(kept, dict) else None
        return Answer(text, cut=kept.get("cut") is True) if isinstance(text, str) else None

    def _write(self, path: Path, answer: Answer, model: str) -> None:
        content = {
            "model": model,
            "text": answer.text,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "cut": answer.cut,
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A unique name, since another process may be writing the same answer.
            handle, partial = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(content, file)
                os.replace(partial, path)
            except BaseException:
                os.unlink(partial)
                raise
        except OSError as error:
            raise StorageError(
                f"A teacher's answer cannot be kept: {error.strerror or error}.",
                where=str(path.parent),
                cure="Free some space, set TTSI_CACHE_DIR to a folder that can be written, or set "
                '"cache": false for the generator.',
            ) from error
