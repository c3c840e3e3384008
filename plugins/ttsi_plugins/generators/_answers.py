"""A cache of a teacher's answers, so that none is paid for twice, in any run or process.

Each answer is a file CACHE/teacher/ab/abcdef....json, named by a digest of all that shapes it. The
files hold the answer and the tokens that it cost, and no key.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ttsi import EngineError, StorageError


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request, and the tokens that were paid for it now: none from the cache.

    `sound` is False if the response was no chat completion; then the text is empty.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    sound: bool = True


class Answers:
    """Outcomes by digest: this run's in memory, and the sound answers of all runs under `folder`.

    Failures are kept in memory, so that they are not tried again after a wave is halved for one.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: dict[str, Answer | EngineError] = {}

    def get(self, key: str) -> Answer | EngineError | None:
        """Return a kept outcome, for which no tokens are paid, or None."""
        return self._known.get(key) or self._read(key)

    def put(self, key: str, outcome: Answer | EngineError, model: str) -> None:
        """Keep an outcome. Raises StorageError if the folder cannot be written."""
        if isinstance(outcome, EngineError):
            self._known[key] = outcome
            return
        self._known[key] = replace(outcome, prompt_tokens=0, completion_tokens=0)
        if self._folder is not None and outcome.sound:
            self._write(self._path(key), outcome, model)

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
        return Answer(text) if isinstance(text, str) else None

    def _write(self, path: Path, answer: Answer, model: str) -> None:
        content = {
            "model": model,
            "text": answer.text,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
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
