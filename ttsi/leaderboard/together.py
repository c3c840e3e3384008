"""Checks of submissions against each other: copies, and names that look like another's.

Of two that are alike the earlier one keeps its place: the one that was submitted earlier, or on one
day the one whose run ended earlier. Only sound submissions accuse others.

What a copier may change freely does not count: seconds, tokens, digests of adapters, texts around
an answer, names, the order of keys, the seed's number. Compared is what the model's answers say and
what examples it was adapted to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttsi.digests import json_digest
from ttsi.leaderboard.check_names import org_skeleton, skeleton
from ttsi.leaderboard.faults import Fault, shown
from ttsi.leaderboard.publishing import is_withheld, parts
from ttsi.leaderboard.submission import HEAD, Seed, Submission
from ttsi.spec.schema import COMPONENTS
from ttsi.types import Completion, Record

_MOST = 0.9
"""The share of alike samples above which a seed is a copy: a copier may change a few answers."""

_METHOD = ("estimator", "generator", "learner", "inference")
_OWN = "Submit a run of your own, once, and with other seeds than those that lie there."
SPELL = "Spell the name as before if it is the same; otherwise choose one that none can mistake."
_UNSEEN = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Trace:
    """What one sample's answers say, which examples it was adapted to, and whether it was adapted.

    `examples` is "" where there are none or one is withheld.
    """

    answers: str
    examples: str
    adapted: bool


@dataclass(frozen=True)
class Peer:
    """What is compared of a submission. `traces`: by seed's folder, by sample id."""

    path: Path
    head: Mapping[str, Any]
    ended: str
    method: tuple[str, ...]
    traces: Mapping[str, Mapping[str, Trace]]

    @property
    def name(self) -> str:
        return ascii("/".join(self.path.absolute().parts[-3:]))

    @property
    def when(self) -> tuple[str, str]:
        return self.head["submitted"], self.ended


def peer_of(submission: Submission) -> Peer:
    seeds = submission.seeds
    return Peer(
        submission.folder,
        submission.head,
        max(seed.results["finished"] for seed in seeds),
        tuple(seeds[0].spec[role]["name"] for role in COMPONENTS if role in _METHOD),
        {seed.name: _traces(seed) for seed in seeds},
    )


def faults_among(peers: Iterable[Peer], sound: Callable[[Peer], bool]) -> dict[Path, list[Fault]]:
    """Return, by path, the faults of submissions that are too much like an earlier, sound one."""
    found: dict[Path, list[Fault]] = {}
    earlier: list[Peer] = []
    for peer in sorted(peers, key=lambda peer: (peer.when, str(peer.path))):
        found[peer.path] = list(dict.fromkeys(_told(peer, earlier)))
        for twin in earlier:
            if twin.when == peer.when and sound(peer):
                found[twin.path] += list(faults_of_copy(twin, peer))
        if sound(peer):
            earlier.append(peer)
    return found


def _told(peer: Peer, earlier: Iterable[Peer]) -> Iterator[Fault]:
    for other in earlier:
        yield from faults_of_copy(peer, other)
    told: set[str] = set()
    for other in earlier:
        for key in set(look_alikes(peer.head, other.head)) - told:
            told.add(key)
            what = f"the {key} {shown(peer.head[key])} looks like {shown(other.head[key])}, which "
            what += f"{other.name} had before, and is spelled otherwise."
            yield Fault("name", HEAD, what, SPELL)


def look_alikes(head: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """Yield which names of two submission.json look alike and differ: org, method or model.

    Methods can be mistaken only where they are of one org.
    """
    of_one = org_skeleton(head["org"]) == org_skeleton(other["org"])
    for key, alike in (("org", org_skeleton), ("method", skeleton), ("model", skeleton)):
        differ = head[key] != other[key] and alike(head[key]) == alike(other[key])
        if differ and (of_one or key != "method"):
            yield key


# ---------------------------------------------------------------- copies


def faults_of_copy(peer: Peer, other: Peer) -> Iterator[Fault]:
    """Yield a fault for each seed of `peer` that is one of the earlier `other`."""
    if not _may_be(peer, other):
        return
    for name, mine in peer.traces.items():
        for its, theirs in other.traces.items():
            if _is_copy(mine, theirs, of_one_model=peer.head["model"] == other.head["model"]):
                what = f"has the answers and examples of {its} of {other.name}, which was "
                what += f"submitted on {other.head['submitted']}."
                yield Fault("copy", f"{name}/samples.jsonl", what, _OWN)
                break


def _may_be(peer: Peer, other: Peer) -> bool:
    """Return whether one can be a copy of the other: of one benchmark, and of no other method.

    An organisation's runs of two specs may come to the same; ttsi's plugins of two names are two
    methods. What a third party's plugin does is not known, so its name tells nothing apart.
    """
    if peer.head["benchmark"] != other.head["benchmark"]:
        return False
    if peer.head["org"] == other.head["org"]:
        return bool(peer.head["spec_digest"] == other.head["spec_digest"])
    pairs = zip(peer.method, other.method, strict=True)
    return all(a == b or "/" in a + b for a, b in pairs)


def _is_copy(mine: Mapping[str, Trace], theirs: Mapping[str, Trace], *, of_one_model: bool) -> bool:
    """Return whether nearly all samples that adaptation may have changed are alike.

    Without examples to compare, two models that answer alike are two models still.
    """
    own = [id for id in mine if mine[id].adapted or (id in theirs and theirs[id].adapted)]
    wanted = own or list(mine)
    left, seen = int((1 - _MOST) * len(wanted) + 1e-9), of_one_model
    for id in wanted:
        a, b = mine[id], theirs.get(id)
        both = bool(b and a.examples and b.examples)
        if b is None or a.answers != b.answers or (both and a.examples != b.examples):
            left -= 1
            if left < 0:
                return False
        seen = seen or both
    return seen


def _traces(seed: Seed) -> dict[str, Trace]:
    return {r.id: _trace(r, row) for r, row in zip(seed.records, seed.rows, strict=True)}


def _trace(record: Record, row: Mapping[str, Any]) -> Trace:
    played = (record.steps, record.base_steps)
    answers = [record.base, record.final, *(step.answer for steps in played for step in steps)]
    examples = [each for part in parts([row]) for each in part["examples"]]
    seen = bool(examples) and not any(map(is_withheld, examples))
    texts = [[_plain(each["input"]), each["answer"]["value"]] for each in examples]
    return Trace(
        json_digest([each and _said(each) for each in answers]),
        json_digest(texts) if seen else "",
        record.adapted or any(part["receipt"] is not None for part in parts([row])),
    )


def _said(completion: Completion) -> Any:
    """Return what an answer says; of one that says nothing, its text without signs and spaces."""
    value = completion.answer.value
    return _plain(completion.text) if value is None else [value]


def _plain(text: str) -> str:
    return _UNSEEN.sub("", text.casefold())
