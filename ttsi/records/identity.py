"""The identity of a results folder: everything that affects the results.

It is written before the first record. Records of different weights, plugins or prompts must not be
combined. So each seed's folder has one identity, in identity.json, and a process that continues the
run has to have the same.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ttsi._common.files import write_json
from ttsi._common.version import __version__
from ttsi.errors import CorruptAsset, RunError
from ttsi.records.journal import ESTIMATES, SAMPLES, STEPS, STEPS_OF_ESTIMATES
from ttsi.solving import assemble
from ttsi.spec import Spec
from ttsi.types import JSON

IDENTITY = "identity.json"

ENGINE_IDENTITY = (
    "weights_digest",
    "model_revision",
    "tokenizer_digest",
    "chat_template_digest",
    "dtype",
    "device",
)
"""The keys of every engine's identity: digests as `ttsi.digests` makes them, the model's commit on
the Hub (null for a model from elsewhere), the chat template's digest (null if there is none), the
number format of the weights, and the kind of device, such as cpu or cuda.
"""

_MADE = (SAMPLES, ESTIMATES, STEPS, STEPS_OF_ESTIMATES)
_SHAPES_NO_RESULT = ("plugins.executor.",)
_TOLD = 12


class Identity:
    """The identity of one seed's folder. `known` is the part that does not need a loaded model.

    The seeds of a run are summarised together. So a new seed needs the same identity as the other
    seeds in the folder, except for the seed itself; seeds in `anew` are ignored.
    """

    def __init__(self, folder: Path, known: Mapping[str, JSON], anew: Container[int] = ()) -> None:
        self.known = dict(known)
        self._folder = folder
        self._stored = read(folder)
        self._anew = anew
        self._lender: tuple[Path, Mapping[str, JSON]] | None = None

    @property
    def stored(self) -> dict[str, JSON]:
        """The whole identity, once an engine was admitted. Raises RunError before that."""
        if self._stored is None:
            raise RunError(
                "The executor ended without an engine that was admitted to this run.",
                where=str(self._folder),
                cure="Report it to the executor's author: `ttsi plugins check` finds it.",
            )
        return self._stored

    def check(self) -> None:
        """Raise RunError if the folder's records have another identity.

        The engine is not compared, because that needs a loaded model.
        """
        _, other = next(_others(self._folder.parent, self._anew), (None, None))
        if other is not None:
            self._compare_with_others({**self.known, "engine": other["engine"]}, "this run")
        if self._stored is not None:
            self._compare({**self.known, "engine": self._stored["engine"]}, "this run")
        elif any(_has_lines(self._folder / name) for name in _MADE):
            raise RunError(
                f"There are records here but no {IDENTITY}: nothing says what made them.",
                where=str(self._folder),
                cure="Start anew with `ttsi eval --fresh`, or in another folder with --out FOLDER.",
            )

    def takes_over(self, folder: Path, engine: Mapping[str, JSON]) -> bool:
        """Return whether results of `engine`, which are in `folder`, may be used here.

        If no engine was admitted to this run yet, `engine` is the only one that will be.
        """
        others = (other for _, other in _others(self._folder.parent, self._anew))
        before = self._stored or next(others, None)
        if before is not None:
            return bool(before["engine"] == engine)
        self._lender = self._lender or (folder, engine)
        return self._lender[1] == engine

    def admit(self, worker: str, engine: Mapping[str, JSON]) -> None:
        """Make `engine` the run's engine, or raise RunError if the run has another.

        It is raised as well if results of another engine were taken over.
        """
        told = {**self.known, "engine": dict(engine)}
        if self._stored is None:
            self._compare_with_lender(told, worker)
            self._compare_with_others(told, worker)
            write_json(self._folder / IDENTITY, told)
            self._stored = told
        else:
            self._compare(told, worker)

    def _compare(self, told: Mapping[str, JSON], who: str) -> None:
        found = list(differences(self._stored, told))
        if found:
            raise _refusal(found, who, self._folder, _anew())

    def _compare_with_lender(self, told: Mapping[str, JSON], who: str) -> None:
        if self._lender is not None:
            folder, engine = self._lender
            found = list(differences({**told, "engine": engine}, told))
            if found:
                cure = "Run alone what is missing, with --cell or --estimators: it then takes no "
                cure += "base answers over. Or run all anew, with --fresh or another --out FOLDER."
                raise _refusal(found, who, folder, cure)

    def _compare_with_others(self, told: Mapping[str, JSON], who: str) -> None:
        for folder, other in _others(self._folder.parent, self._anew):
            found = list(differences(other, told, without=(*_SHAPES_NO_RESULT, "seed")))
            if found:
                lying = {each for each, _ in _others(folder.parent, ())} | {self._folder}
                seeds = ",".join(sorted(each.name.removeprefix("seed-") for each in lying))
                raise _refusal(found, who, folder, _anew(f" --seeds {seeds}"))


def _anew(seeds: str = "") -> str:
    """Return the cure; `seeds` is the option with all seeds to run anew, "" for one seed."""
    return (
        "Get back what it was, and run the same command: it resumes. Or start anew, with "
        f"`ttsi eval --fresh{seeds}` or in another folder with --out FOLDER."
    )


def _refusal(
    found: Sequence[tuple[str, JSON, JSON]], who: str, folder: Path, cure: str
) -> RunError:
    lines = [f"\n  {key} was {json.dumps(old)}, is {json.dumps(new)}" for key, old, new in found]
    more = f"\n  and {len(lines) - _TOLD} more" if len(lines) > _TOLD else ""
    told = "".join(lines[:_TOLD]) + more
    return RunError(
        f"The results here have another identity than {who}:{told}",
        where=str(folder / IDENTITY),
        cure=cure,
    )


def read(folder: Path) -> dict[str, JSON] | None:
    """Return the content of identity.json in `folder`; None if there is none."""
    path = folder / IDENTITY
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        found = str(error)
    parts: dict[str, JSON] = found if isinstance(found, dict) else {}
    if not isinstance(parts.get("engine"), dict) or not isinstance(parts.get("date"), str):
        raise CorruptAsset(
            f"{IDENTITY} is damaged.",
            where=str(path),
            cure="Start anew with `ttsi eval --fresh`, or in another folder with --out FOLDER.",
        )
    return parts


def known(spec: Spec, seed: int, date: str, revision: str) -> dict[str, JSON]:
    """Return a run's identity without its engine; `revision` is that of the benchmark's data."""
    return {
        "schema": "ttsi.identity/1",
        "spec_digest": spec.digest,
        "ttsi": __version__,
        "revision": revision,
        "seed": seed,
        "date": date,
        "learnt_from": assemble.learnt_from(spec),
        "plugins": assemble.plugins_used(spec),
    }


def settled(spec: Spec, folder: Path, without: Container[int], today: str) -> Spec:
    """Return `spec` with the open settings of its model fixed, for all seeds in `folder`.

    The date is the spec's, or else that of the existing seeds, or else today. A model of the Hub is
    taken at the commit of the existing seeds, because a branch may have moved since. Seeds in
    `without` are ignored.
    """
    for _, before in _others(folder, without):
        return replace(spec, model=model_of(spec.model, before))
    return replace(spec, model={**spec.model, "date": spec.model.get("date") or today})


def model_of(model: Mapping[str, JSON], identity: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return a spec's `model` at the date and, if it has one, the commit of this identity."""
    settled = {**model, "date": identity["date"]}
    commit = identity["engine"].get("model_revision")
    return settled if commit is None else {**settled, "revision": commit}


def differences(
    old: JSON, new: JSON, key: str = "", *, without: tuple[str, ...] = _SHAPES_NO_RESULT
) -> Iterator[tuple[str, JSON, JSON]]:
    """Yield (key, old, new) where two identities differ; the executor does not affect results."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {**old, **new}:
            inner = f"{key}.{name}" if key else name
            yield from differences(old.get(name), new.get(name), inner, without=without)
    elif old != new and not key.startswith(without):
        yield key, old, new


def _others(folder: Path, without: Container[int]) -> Iterator[tuple[Path, dict[str, JSON]]]:
    """Yield the seeds' folders in `folder` that have an identity, with that identity."""
    for path in sorted(folder.glob(f"seed-*/{IDENTITY}")):
        number = path.parent.name.removeprefix("seed-")
        found = read(path.parent) if number.isdigit() and int(number) not in without else None
        if found is not None:
            yield path.parent, found


def _has_lines(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
