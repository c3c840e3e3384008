"""Copies of others' submissions, and adapters and seeds that are used twice: each is caught.

One honest submission of two seeds is made for all; a forgery is a changed copy of it.
"""

from __future__ import annotations

import json
import random
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import reports
from edits import OTHER, SAMPLES, put, session
from forging import (
    DAY,
    RAN,
    Forgery,
    dated,
    each_row,
    forged,
    in_all,
    in_turn,
    of_answers,
    receipt,
    seconds,
    words,
)
from submissions import Change, copied, edit, faults, read, sealed, submit_run, submitted

from ttsi.digests import json_digest
from ttsi.leaderboard.submission import HEAD
from ttsi.leaderboard.together import Peer, faults_among
from ttsi.leaderboard.verify import verify, verify_one

OTHER_SAMPLES = "seed-1/samples.jsonl"
ROWS = {"name": "ttsi-fakes/rows", "rows": 10}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sound submission of two seeds, of some days ago, by an org late in the alphabet."""
    root = tmp_path_factory.mktemp("honest")
    folder = submitted(root, estimator="always", seeds=[0, 1], benchmark=ROWS)
    edit(folder, HEAD, put("org", "zenith"))
    folder = dated(sealed(folder), RAN, DAY)
    assert faults(folder) == []
    return folder


@pytest.fixture
def mine(honest: Path, tmp_path: Path) -> Path:
    return copied(honest, tmp_path)


def kinds_of(*folders: Path) -> dict[Path, set[str]]:
    found = verify(folders, third_party=True)
    return {each.path: {fault.kind for fault in each.faults} for each in found}


# ---------------------------------------------------------------- copies


def _withheld(row: Any) -> None:
    nothing = {"status": "declined", "value": None, "work": ""}
    row["examples"] = [{**e, "input": "", "text": "", "answer": nothing} for e in row["examples"]]


def _doubled_tokens(row: Any) -> None:
    for cost in (*row["costs"].values(), row["base"], row["final"]):
        cost["prompt_tokens"] *= 2
        cost["completion_tokens"] *= 2


def _one_other_answer(rows: list[Any]) -> None:
    call = {"name": "get_time", "arguments": {"city": "Oslo"}}
    row = next(row for row in rows if not row["base_score"]["correct"])
    row["base"] |= {"text": json.dumps([call])}
    row["base"]["answer"]["value"] = [call]


def _other_seed(folder: Path) -> None:
    shutil.rmtree(folder / "seed-1")
    _as_seed(folder / "seed-0", 7)


def _as_seed(seed: Path, number: int) -> Path:
    """Rename a seed's folder, and write the number wherever it stands."""
    edit(seed, "samples.jsonl", each_row(lambda row: row.update(seed=number)))
    for name in ("identity.json", "results.json"):
        edit(seed, name, put("seed", number))
    own = seed.with_name(f"seed-{number}")
    seed.rename(own)
    for each in own.parent.glob("seed-*"):
        edit(each, "spec.resolved.json", put("seeds", [0, 1, number]) if number > 1 else _same)
    return own


def _same(value: Any) -> None: ...


def _resorted(folder: Path) -> None:
    for path in folder.glob("seed-*/*.json*"):
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        turned = (dict(reversed(json.loads(line).items())) for line in lines)
        path.write_text("".join(json.dumps(each) + "\n" for each in turned))


def _spaced(folder: Path) -> None:
    for path in folder.glob("seed-*/samples.jsonl"):
        lines = map(json.loads, path.read_text().splitlines())
        path.write_text(
            "".join(json.dumps(row, separators=(" ,  ", " : ")) + "\n" for row in lines)
        )


_random = random.Random(5)
COPIES: dict[str, Forgery] = {
    "as it is": lambda folder: None,
    "seconds times 1.0000001": in_all(seconds(lambda: 1.0000001)),
    "seconds anew": in_all(seconds(lambda: _random.uniform(0.5, 2))),
    "keys in another order": _resorted,
    "spaces in the JSON": _spaced,
    "spaces in the answers": in_all(words(lambda text: text.replace(",", " , ") + "\n")),
    "words around the answers": in_all(words(lambda text: f"Here you are: {text} Anything else?")),
    "examples withheld": in_all(each_row(_withheld)),
    "examples under other ids": in_all(each_row(lambda row: row["examples"][0].update(id="x"))),
    "other log-probabilities": in_all(of_answers("logprob", -0.25)),
    "other losses": in_all(receipt("losses", lambda losses: [0.9 * loss for loss in losses])),
    "other adapters": in_all(receipt("digest", lambda digest: json_digest(digest))),
    "another training time": in_all(receipt("seconds", lambda seconds: seconds * 3)),
    "twice the tokens": in_all(each_row(_doubled_tokens)),
    "no dollars": in_all(each_row(lambda row: [c.pop("usd") for c in row["costs"].values()])),
    "another name of the spec": in_all(put("name", "mine"), "spec.resolved.json"),
    "an option that changes nothing": in_all(put("inference", "top_p", 0.5), "spec.resolved.json"),
    "the seed's number": _other_seed,
    "one seed of two": lambda folder: shutil.rmtree(folder / "seed-0"),
    "one other wrong answer": in_all(_one_other_answer),
    "another machine": in_all(session("processor", "Apple M9"), "sessions.json"),
    "another method": lambda folder: edit(folder, HEAD, put("method", "mine")),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_told_and_the_original_stays(name: str, honest: Path, mine: Path) -> None:
    """The copier's name comes first in the alphabet, and the copy was submitted later."""
    edit(mine, HEAD, put("org", "aardvark"))
    edit(mine, HEAD, put("submitted", "2026-11-28"))
    if name == "another name of the spec":
        in_all(put("name", "mine"), "results.json")(mine)
    folder = forged(COPIES[name], mine)
    verdict, original = verify_one(folder, third_party=True), peer_of(honest)
    assert verdict.faults == ()
    assert verdict.peer is not None
    found = faults_among([verdict.peer, original], lambda peer: True)
    assert found[honest] == []
    assert {fault.kind for fault in found[folder]} == {"copy"}
    assert all(honest.name in f.what and "2026-11-26" in f.what for f in found[folder])
    assert len(found[folder]) == len(list(folder.glob("seed-*")))


@cache
def peer_of(folder: Path) -> Peer:
    peer = verify_one(folder, third_party=True).peer
    assert peer is not None
    return peer


def test_of_two_of_one_day_the_run_that_ended_later_is_the_copy(honest: Path, mine: Path) -> None:
    edit(mine, HEAD, put("org", "aardvark"))
    folder = dated(sealed(mine), "2026-11-25T10:00:01+00:00", DAY)
    assert kinds_of(folder, honest) == {folder: {"copy"}, honest: set()}
    folder = dated(folder, RAN, DAY)
    assert kinds_of(folder, honest) == {folder: {"copy"}, honest: {"copy"}}, (
        "nothing tells which of them it is"
    )


def test_a_faulty_submission_accuses_nobody(honest: Path, mine: Path) -> None:
    """A copy that is dated back before its own run is not believed."""
    edit(mine, HEAD, put("org", "aardvark"))
    edit(mine, HEAD, put("submitted", "2026-11-22"))
    folder = sealed(mine)
    assert kinds_of(folder, honest) == {folder: {"date"}, honest: set()}


def test_runs_of_other_seeds_and_other_methods_are_no_copies(honest: Path, tmp_path: Path) -> None:
    others: list[dict[str, Any]] = [
        {"estimator": "always", "seeds": [2, 3]},
        {"estimator": "always", "learner": "icl"},
        {"estimator": "never"},
    ]
    folders = []
    for number, changed in enumerate(others):
        folder = submitted(tmp_path / str(number), **changed)
        edit(folder, HEAD, put("org", f"org{number}x"))
        folders.append(sealed(folder))
    assert [each.faults for each in verify([honest, *folders], third_party=True)] == [()] * 4


# ---------------------------------------------------------------- one for many


def _doubled(folder: Path) -> None:
    """Put seed 0 in place of seed 1."""
    shutil.rmtree(folder / "seed-1")
    shutil.copytree(folder / "seed-0", folder / "kept")
    _as_seed(folder / "seed-0", 1)
    (folder / "kept").rename(folder / "seed-0")


def _of_copy(change: Change) -> Forgery:
    return in_turn(_doubled, lambda folder: edit(folder, OTHER_SAMPLES, change))


def _new_adapters(row: Any) -> None:
    row["receipt"]["digest"] = json_digest([row["receipt"]["digest"], row["seed"]])


def _lent_adapters(folder: Path) -> None:
    rows = read(folder / "seed-0/samples.jsonl")

    def lend(own: list[Any]) -> None:
        for row, other in zip(own, rows, strict=True):
            row["receipt"]["digest"] = other["receipt"]["digest"]

    edit(folder, OTHER_SAMPLES, lend)


def _two_alike(rows: list[Any]) -> None:
    rows[3]["receipt"]["digest"] = rows[4]["receipt"]["digest"]


def _ring(rows: list[Any]) -> None:
    """Use two adapters in turn."""
    for at, row in enumerate(rows):
        row["receipt"]["digest"] = json_digest(at % 2)


def _fewer_alike(row: Any) -> None:
    if row["id"] == "rows/0":
        row["examples"][0]["text"] += " "
    _new_adapters(row)


_anew = seconds(lambda: _random.uniform(0.5, 2))
_renewed = each_row(_new_adapters)


def _all_alike(row: Any) -> None:
    row["receipt"]["digest"] = OTHER


def _renamed_example(row: Any) -> None:
    row["examples"][0]["id"] = "x"


def _later(results: Any) -> None:
    results["finished"] = "2026-11-25T12:00:00+00:00"


DOUBLES: dict[str, Forgery] = {
    "one adapter for all": in_all(each_row(_all_alike)),
    "one adapter for all of a seed": lambda f: edit(f, SAMPLES, each_row(_all_alike)),
    "one adapter for two": lambda f: edit(f, SAMPLES, _two_alike),
    "one adapter for two, in the other seed": lambda f: edit(f, OTHER_SAMPLES, _two_alike),
    "two adapters in turn": lambda f: edit(f, SAMPLES, _ring),
    "the adapters of the other seed": _lent_adapters,
    "a seed twice": _doubled,
    "a seed twice, with other adapters": _of_copy(_renewed),
    "a seed twice, its seconds nudged": _of_copy(seconds(lambda: 1.0000001)),
    "a seed twice, seconds and adapters anew": in_turn(
        _of_copy(_renewed), lambda f: edit(f, OTHER_SAMPLES, _anew)
    ),
    "a seed twice, other losses": _of_copy(receipt("losses", lambda some: [2 * x for x in some])),
    "a seed twice, other log-probabilities": _of_copy(of_answers("logprob", -0.5)),
    "a seed twice, words around the answers": _of_copy(words(lambda text: f"So: {text}")),
    "a seed twice, other ids of examples": _of_copy(each_row(_renamed_example)),
    "a seed twice, an example written otherwise": _of_copy(each_row(_fewer_alike)),
    "a seed twice, its examples withheld": _of_copy(each_row(_withheld)),
    "a seed twice, another machine": in_turn(
        _doubled, lambda f: edit(f, "seed-1/sessions.json", session("processor", "x"))
    ),
    "a seed twice, at another hour": in_turn(
        _doubled, lambda f: edit(f, "seed-1/results.json", _later)
    ),
}


@pytest.mark.parametrize("name", DOUBLES)
def test_one_for_many_is_refused(name: str, mine: Path) -> None:
    told = faults(forged(DOUBLES[name], mine))
    assert {fault.kind for fault in told} == {"double"}


def test_two_like_runs_are_not_two_seeds(mine: Path, tmp_path: Path) -> None:
    """Both were run, with one seed: all that is measured differs, and what is drawn does not."""
    again = reports.made(tmp_path / "again", estimator="always", seeds=[0], benchmark=ROWS)
    other = submit_run(again.folder, tmp_path / "again").folder
    shutil.rmtree(mine / "seed-1")
    shutil.copytree(other / "seed-0", mine / "kept")
    _as_seed(mine / "kept", 1)
    for file in ("spec.resolved.json", "identity.json"):
        shutil.copyfile(mine / "seed-0" / file, mine / "seed-1" / file)
    edit(mine, "seed-1/identity.json", put("seed", 1))
    told = faults(dated(forged(lambda folder: None, mine), RAN, DAY))
    assert {fault.kind for fault in told} == {"double"}
