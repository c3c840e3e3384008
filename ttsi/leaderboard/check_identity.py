"""Checks of a run's identity against the other files that say the same.

What only one file says cannot be checked: leaderboards/CONTRIBUTING.md lists it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ttsi._common.version import VERSIONS, __version__
from ttsi.assets import is_hub_id
from ttsi.leaderboard.faults import Fault, shown
from ttsi.leaderboard.submission import RESULTS, SPEC, Seed, Submission
from ttsi.records.identity import IDENTITY, differences
from ttsi.registry import normalise
from ttsi.spec import digest_of
from ttsi.spec.schema import COMPONENTS, DEFAULT_MODEL
from ttsi.types import JSON

_RESTORE = "Restore the file from the run, or submit the run again."
PUBLISH = (
    "Publish it on the Hub, and run the spec under its id there; or run a published GGUF file from "
    "its own folder, so that the spec has its bare name."
)
_AGAIN = "Run the spec again, without files of another run."
_TOLD = 5
_OF_A_SEED = ("seed", "plugins.executor.")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SOME = re.compile(r", of these [1-9][0-9]*(, [1-9][0-9]*)*\Z", re.ASCII)
"""How a receipt ends that says which of the labelled rows were its sample's own."""
_FILE = re.compile(r"\w[\w.-]*\.gguf", re.ASCII)
"""The bare name of a GGUF file, which its SHA-256 tells from others of that name."""

KNOWN_WEIGHTS = {
    "float32": "sha256:74df870ae583aef62a04a9cb52188e3b67da72b4dfef9dcc3fc40fb7eee24da7",
    "bfloat16": "sha256:c1112eab14bba5605415a7c692338b0edd859e0778501b52f25a0ad954f0c334",
    "float16": "sha256:a43bd7cd6fba145d3dcb6654489a41b4e622de7617470e72047fddde09e9af08",
}
"""By dtype: the digest of the embedded model's weights as ttsi's own engines load them."""

KNOWN_TEMPLATE = "sha256:872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788"
"""The digest of the embedded model's chat template."""


def identity_faults(submission: Submission) -> Iterator[Fault]:
    """Yield the faults of each seed's identity, and a fault where the seeds' identities differ."""
    first = submission.seeds[0]
    for seed in submission.seeds:
        if is_local(seed.spec):
            yield Fault("model", f"{seed.name}/{SPEC}", local(seed.spec), PUBLISH)
        where = f"{seed.name}/{IDENTITY}"
        for what in (
            *_contradictions(seed),
            *_rows(seed),
            *_plugins(seed),
            *_model(seed),
        ):
            yield Fault("identity", where, what, _RESTORE)
        for what in _engines(seed):
            yield Fault("engine", where, what, _AGAIN)
        told = differences(first.identity, seed.identity, without=_OF_A_SEED)
        for key, other, own in list(told)[:_TOLD]:
            what = f"{key} is {shown(own)}; in {first.name} it is {shown(other)}."
            yield Fault("identity", where, what, "Submit runs of different identities one by one.")


def is_local(spec: Mapping[str, JSON]) -> bool:
    """Return whether only one machine may have the model, or its template, as the spec names it.

    False for a third party's engine: how it resolves an id is not known here.
    """
    name = spec["model"]["id"]
    own = "/" not in spec["engine"]["name"]
    of_a_file = spec["model"].get("chat_template") is not None
    public = name == DEFAULT_MODEL or is_hub_id(name) or _FILE.fullmatch(name) is not None
    return own and (of_a_file or not public)


def local(spec: Mapping[str, JSON]) -> str:
    """Return what is wrong with a model for which `is_local` holds."""
    if spec["model"].get("chat_template") is not None:
        return "The chat template is a file of one machine: nobody else could run it."
    return f"The model {shown(spec['model']['id'])} is no id of the Hub: nobody else could run it."


def _contradictions(seed: Seed) -> Iterator[str]:
    """Yield where the identity disagrees with the seed's other files, or with what there is."""
    identity, results = seed.identity, seed.results
    if identity["ttsi"] not in VERSIONS:
        yield f"ttsi {shown(identity['ttsi'])} is no version that ttsi {__version__} knows of."
    for key, own, other in list(differences(identity, results["identity"], without=()))[:_TOLD]:
        yield f"{key} is {shown(own)}; {RESULTS} says {shown(other)}."
    for key, wanted, source in (
        ("spec_digest", digest_of(seed.spec, identity["ttsi"]), f"that of {SPEC}"),
        ("revision", results["revision"], f"what {RESULTS} says"),
        ("seed", seed.number, "the folder's name"),
    ):
        if identity[key] != wanted:
            yield f"{key} is {shown(identity[key])}; {source} is {shown(wanted)}."


def _rows(seed: Seed) -> Iterator[str]:
    """Yield where the receipts name other labelled rows than the identity's `learnt_from`.

    A receipt may say which of them were the sample's own, by their numbers.
    """
    said = {(row["receipt"] or {}).get("source", "") for row in seed.rows} - {""}
    own = seed.identity["learnt_from"]
    if own is None and "/" in seed.spec["learner"]["name"]:
        return  # A third party's learner need not declare its rows before the run.
    other = sorted(each for each in said if _SOME.sub("", each) != own)
    if other:
        yield f"learnt_from is {shown(own)}; receipts say {shown(other[0])}."


def _plugins(seed: Seed) -> Iterator[str]:
    """Yield the plugins that do not fit the spec's names, or are ttsi's in another version.

    The executor is left out: a run may be resumed under another one.
    """
    for role in [role for role in COMPONENTS if role != "executor"]:
        plugin, name = seed.identity["plugins"][role], seed.spec[role]["name"]
        package, slash, _ = name.partition("/")
        builtin = {"name": name, "distribution": "ttsi", "version": seed.identity["ttsi"]}
        if slash:
            fits = plugin["name"] == name and normalise(plugin["distribution"]) == package
        else:
            fits = plugin == builtin
        if not fits:
            yield f"the {role} is {shown(plugin)}; by spec and version of ttsi it cannot be."


def _model(seed: Seed) -> Iterator[str]:
    """Yield where weights, commit or dtype do not fit the model that the spec names."""
    model, engine = seed.spec["model"], seed.identity["engine"]
    if model["dtype"] not in ("auto", engine["dtype"]):
        yield f"dtype is {shown(engine['dtype'])}; the spec says {shown(model['dtype'])}."
    if "/" in seed.spec["engine"]["name"]:
        return  # How a third party's engine loads weights is not known here.
    commit = engine["model_revision"]
    if model["id"] == DEFAULT_MODEL:
        if engine["weights_digest"] != KNOWN_WEIGHTS.get(engine["dtype"]):
            yield f"the weights are not those of {DEFAULT_MODEL} in {shown(engine['dtype'])}."
        if engine["chat_template_digest"] != KNOWN_TEMPLATE:
            yield f"the chat template is not that of {DEFAULT_MODEL}."
    elif is_hub_id(model["id"]):
        if commit is None:
            yield f"has no model_revision: nothing says which commit of {shown(model['id'])} ran."
        elif _COMMIT.fullmatch(model["revision"]) and commit != model["revision"]:
            yield f"ran commit {shown(commit)}; the spec says {shown(model['revision'])}."
    elif engine.get("config_digest") is None:
        yield f"has no config_digest: nothing says which file {shown(model['id'])} is."


def _engines(seed: Seed) -> Iterator[str]:
    """Yield where an engine of any session described itself otherwise than the identity does."""
    identity = seed.identity["engine"]
    wanted = {**identity, "weights_digest_after": identity["weights_digest"]}
    told = [*seed.results["engines"]]
    told += [engine for session in seed.sessions for engine in session["engines"] or ()]
    for engine in told:
        said = {**engine, "device": str(engine.get("device", "")).partition(":")[0]}
        for key, value in wanted.items():
            if engine.get(key) is not None and said[key] != value:
                yield f"{key} is {shown(value)}; an engine said {shown(said[key])}."
        if engine.get("model", seed.spec["model"]["id"]) != seed.spec["model"]["id"]:
            yield f"an engine ran {shown(engine['model'])}; the spec names another model."
