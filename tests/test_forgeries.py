"""Forgeries of dates, costs, names, versions and plugins: each is caught.

One honest submission is made for all; a forgery is a changed copy of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edits import IDENTITY, RESULTS, SESSIONS, SPEC, adapted, put, session
from forging import DAY, RAN, Forgery, dated, each_row, forged, in_all, in_turn, of_answers, receipt
from submissions import Change, copied, edit, faults, sealed, submitted

from ttsi.assets import is_hub_id
from ttsi.cli.main import main
from ttsi.leaderboard.check_names import org_skeleton, skeleton
from ttsi.leaderboard.submission import HEAD
from ttsi.leaderboard.verify import verify, verify_one

ROWS = {"name": "ttsi-fakes/rows", "rows": 3}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sound submission of some days ago."""
    root = tmp_path_factory.mktemp("honest")
    folder = submitted(root, estimator="always", benchmark=ROWS)
    edit(folder, HEAD, put("org", "zenith"))
    folder = dated(sealed(folder), RAN, DAY)
    assert faults(folder) == []
    return folder


@pytest.fixture
def mine(honest: Path, tmp_path: Path) -> Path:
    return copied(honest, tmp_path)


# ---------------------------------------------------------------- dates


_FIRST = {"time": "2026-11-20T23:59:59+00:00", "day": "2026-11-20"}
DATES: dict[str, tuple[str, Change]] = {
    "submitted on no day": (HEAD, put("submitted", "2026-11-31")),
    "submitted in month 13": (HEAD, put("submitted", "2026-13-01")),
    "submitted on February 29 of no leap year": (HEAD, put("submitted", "2027-02-29")),
    "submitted on day 0": (HEAD, put("submitted", "2026-12-00")),
    "submitted in the future": (HEAD, put("submitted", "2999-01-01")),
    "submitted in year 0": (HEAD, put("submitted", "0000-01-01")),
    "submitted before the run ended": (HEAD, put("submitted", "2026-11-24")),
    "submitted before ttsi was begun": (HEAD, put("submitted", "2026-11-20")),
    "ended on no day": (RESULTS, put("finished", "2026-11-31T10:00:00+00:00")),
    "ended at no hour": (RESULTS, put("finished", "2026-11-25T25:00:00+00:00")),
    "ended at no minute": (RESULTS, put("finished", "2026-11-25T10:60:00+00:00")),
    "ended in the future": (RESULTS, put("finished", "2999-01-01T00:00:00+00:00")),
    "ended before its last session": (RESULTS, put("finished", "2026-11-25T09:00:00+00:00")),
    "ended before ttsi was begun": (RESULTS, put("finished", _FIRST["time"])),
    "a session began on no day": (SESSIONS, session("started", "2026-02-30T10:00:00+00:00")),
    "a session began before ttsi": (SESSIONS, session("started", _FIRST["time"])),
    "a session ended in the future": (SESSIONS, session("finished", "2999-01-01T00:00:00+00:00")),
    "a session ended at no second": (SESSIONS, session("finished", "2026-11-25T10:00:99+00:00")),
    "a session ended before it began": (SESSIONS, session("finished", "2026-11-25T09:59:59+00:00")),
    "the template's day is none": (IDENTITY, put("date", "2026-11-31")),
    "the template's day is to come": (IDENTITY, put("date", "2999-01-01")),
    "the template's day is after the start": (IDENTITY, put("date", "2026-11-26")),
    "the template's day is before ttsi": (IDENTITY, put("date", _FIRST["day"])),
    "the spec's day is none": (SPEC, put("model", "date", "2026-11-31")),
}


@pytest.mark.parametrize("name", DATES)
def test_a_date_that_cannot_be_is_refused(name: str, mine: Path) -> None:
    file, change = DATES[name]
    edit(mine, file, change)
    told = faults(sealed(mine))
    assert {fault.kind for fault in told} & {"date", "session"}
    assert all(fault.cure for fault in told)


# ---------------------------------------------------------------- costs


def _costs(key: str, value: float, *stages: str) -> Change:
    def change(row: Any) -> None:
        for stage in stages or row["costs"]:
            row["costs"][stage][key] = value

    return each_row(change)


def _first(change: Callable[[Any], Any]) -> Change:
    return lambda rows: change(adapted(rows)) and None


COSTS: dict[str, Change] = {
    "no seconds at all": _costs("seconds", 0),
    "no seconds of answers": _costs("seconds", 0.0, "answer"),
    "no seconds of training": _costs("seconds", 0.0, "learn"),
    "no seconds of one sample": _first(lambda row: row["costs"]["adapted"].update(seconds=0)),
    "negative seconds": _first(lambda row: row["costs"]["answer"].update(seconds=-1)),
    "negative tokens": _first(lambda row: row["costs"]["answer"].update(prompt_tokens=-1)),
    "no tokens read": _costs("prompt_tokens", 0, "answer", "adapted"),
    "no tokens written": _costs("completion_tokens", 0, "answer", "adapted"),
    "no tokens at all": lambda rows: (
        [_costs(key, 0)(rows) for key in ("prompt_tokens", "completion_tokens")] and None
    ),
    "half the tokens of answers": _costs("prompt_tokens", 5, "answer"),
    "half the tokens of training": _costs("prompt_tokens", 15, "learn"),
    "answers read in no tokens": of_answers("prompt_tokens", 0),
    "answers written in no tokens": of_answers("completion_tokens", 0),
    "answers of negative tokens": of_answers("completion_tokens", -5),
    "answers likelier than 1": of_answers("logprob", 0.5),
    "a receipt of negative seconds": receipt("seconds", lambda _: -0.1),
    "a receipt of no seconds": receipt("seconds", lambda _: 0),
    "a receipt of negative tokens": receipt("tokens", lambda _: -30),
    "a receipt of no tokens": receipt("tokens", lambda _: 0),
    "a negative loss": receipt("losses", lambda losses: [*losses[:-1], -0.5]),
    "a negative learning rate": receipt("learning_rates", lambda rates: [*rates[:-1], -1e-5]),
    "negative steps": receipt("steps", lambda _: -3),
    "negative dollars": _first(lambda row: row["costs"]["answer"].update(usd=-1)),
}


@pytest.mark.parametrize("name", COSTS)
def test_a_cost_that_cannot_be_is_refused(name: str, mine: Path) -> None:
    told = faults(forged(in_all(COSTS[name]), mine))
    assert {fault.kind for fault in told} & {"cost", "schema"}
    assert not {fault.kind for fault in told} & {"digest", "metric"}


# ---------------------------------------------------------------- names

MODELS = {
    "two dots": "acme/..model",
    "two dots at the end": "acme/model..",
    "a path upwards": "../../etc/passwd",
    "a part that is two dots": "acme/../scripted",
    "a zero-width space": "scrip\u200bted",
    "a zero-width joiner": "scripted\u200d",
    "a word joiner": "\u2060scripted",
    "a byte order mark": "\ufeffscripted",
    "a soft hyphen": "scrip\u00adted",
    "right to left": "scripted\u200f",
    "right to left, overridden": "acme/\u202ede\u202c",
    "an Arabic letter mark": "scripted\u061c",
    "a Cyrillic letter": "s\u0441ripted",
    "a Greek letter": "\u03bfrca/model",
    "a wide letter": "\uff53cripted",
    "a ligature": "sc\ufb01pted",
    "an accent": "scripte\u0301d",
    "a mathematical letter": "\U0001d42ccripted",
    "a Hangul filler": "scripted\u3164",
    "a braille blank": "scripted\u2800",
    "a space at the end": "scripted ",
    "a no-break space": "scrip\u00a0ted",
}


def _model(id: str) -> Forgery:
    def engines(told: list[Any]) -> None:
        for engine in told:
            engine["model"] = id

    return in_turn(
        in_all(put("model", "id", id), "spec.resolved.json"),
        in_all(put("model", id), "results.json"),
        in_all(lambda results: engines(results["engines"]), "results.json"),
        in_all(
            lambda doc: [engines(s["engines"]) for s in doc["sessions"]] and None, "sessions.json"
        ),
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_nobody_can_read_is_refused(name: str, mine: Path) -> None:
    folder = forged(_model(MODELS[name]), mine)
    told = faults(folder)
    assert {fault.kind for fault in told} <= {"name", "schema"}
    assert told
    assert all(str(fault).isascii() and fault.cure for fault in told)
    assert not is_hub_id(MODELS[name])


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (SESSIONS, session("processor", "Apple\u200bM3")),
        (SESSIONS, session("platform", "Linux\u202e")),
        (IDENTITY, put("plugins", "engine", "version", "1.0\u0430")),
        (IDENTITY, put("plugins", "engine", "distribution", "ttsi\u2010fakes")),
        (IDENTITY, put("engine", "dtype", "float3\u0662")),
        (SPEC, put("model", "revision", "m\u0430in")),
    ],
)
def test_other_names_are_read_likewise(file: str, change: Change, mine: Path) -> None:
    edit(mine, file, change)
    assert "name" in {fault.kind for fault in faults(sealed(mine))}


@pytest.mark.parametrize(
    "id",
    [
        *("acme/mo..del", "acme/mo--del", "acme/model.", "acme/model-", "acme./model", "a-/model"),
        *("acme/.model", "-acme/model", "acme/model.git", "acme/" + "m" * 92, "acme/a/b", "model"),
        *("acme/model.gguf", "acme/m del", "acme/mod\u0435l", "acme/"),
    ],
)
def test_what_the_hub_does_not_take_is_no_id_of_the_hub(id: str) -> None:
    assert not is_hub_id(id)


@pytest.mark.parametrize(
    "id", ["Qwen/Qwen2.5-1.5B-Instruct", "a/b", "acme/model_", "A_b.c/d-e.f_g"]
)
def test_ids_of_the_hub(id: str) -> None:
    assert is_hub_id(id)


ORGS = [
    *("Zenith", "ZENITH", "zenitH", "ze-nith", "zen.ith", "zen_ith", "z-e-n-i-t-h"),
    *(
        "zenlth",
        "zen1th",
        "ZEN1TH",
        "Zen-Ith",
        "zenIth",
        "zenLth",
        "ze.nl-th",
        "ZENL.th",
    ),
]
SCRIPTS = ["z\u0435nith", "\uff5aenith", "zenith\u200b", "z\u00e9nith", "\u0396enith", "zenith "]


@pytest.mark.parametrize("org", ORGS)
def test_an_organisation_that_looks_like_another_is_refused(
    org: str, honest: Path, other: Path, tmp_path: Path
) -> None:
    folder = copied(other, tmp_path)
    edit(folder, HEAD, put("org", org))
    found = {each.path: each.faults for each in verify([sealed(folder), honest], third_party=True)}
    assert found.pop(honest) == ()
    ((told,),) = found.values()
    assert (told.kind, told.where) == ("name", HEAD)
    assert "'zenith'" in told.what


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sound submission of today, of a run with another method."""
    return submitted(tmp_path_factory.mktemp("other"), estimator="never", benchmark=ROWS)


@pytest.mark.parametrize("org", SCRIPTS)
def test_an_organisation_in_another_script_is_refused(org: str, mine: Path) -> None:
    edit(mine, HEAD, put("org", org))
    assert "schema" in {fault.kind for fault in faults(mine)}


@pytest.mark.parametrize(
    ("one", "another", "alike"),
    [
        ("acme", "acrne", org_skeleton),
        ("vvidget", "widget", org_skeleton),
        ("lab-10", "LABlO", org_skeleton),
        ("Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-l.5B", skeleton),
        ("tt-si", "TT-SI", skeleton),
        ("meta-llama/Llama-3.1-8B", "meta-IIama/Llama-3.1-8B", skeleton),
    ],
)
def test_what_looks_alike_has_one_skeleton(one: str, another: str, alike: Any) -> None:
    assert alike(one) == alike(another)


def test_names_that_differ_have_skeletons_that_differ() -> None:
    names = ["acme", "acne", "ttsi", "tt-si-icl", "Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-7B", "lab2"]
    assert len({org_skeleton(name) for name in names}) == len({*map(skeleton, names)}) == len(names)


# ---------------------------------------------------------------- versions and plugins


def _version(text: str) -> Forgery:
    def named(plugins: dict[str, Any]) -> None:
        for plugin in plugins.values():
            if plugin["distribution"] == "ttsi":
                plugin["version"] = text

    def of_identity(identity: Any) -> None:
        identity["ttsi"] = text
        named(identity["plugins"])

    def of_sessions(document: Any) -> None:
        for each in document["sessions"]:
            of_identity(each)

    return in_turn(in_all(of_identity, "identity.json"), in_all(of_sessions, "sessions.json"))


@pytest.mark.parametrize(
    "version",
    [
        *("9.9", "0.3.0", "0.2.1", "0.2", "0.2.0.dev1", "0.2.0rc1", "0.2.0+local", "v0.2.0", "1"),
        *("0.0.1", "0.1", "0.2.0 ", "latest", "?", "0.2.O", "00.2.0", "0.2.0\u200b"),
    ],
)
def test_a_version_of_ttsi_that_there_is_not_is_refused(version: str, mine: Path) -> None:
    told = faults(forged(_version(version), mine))
    assert any("is no version that ttsi" in f.what for f in told if f.kind == "identity")


def _plugin(role: str, name: str) -> Forgery:
    package = name.partition("/")[0]
    about = {"name": name, "distribution": package, "version": "1"}

    def of_sessions(document: Any) -> None:
        for each in document["sessions"]:
            each["plugins"][role] = about

    return in_turn(
        in_all(put(role, {"name": name}), "spec.resolved.json"),
        in_all(put("plugins", role, about), "identity.json"),
        in_all(of_sessions, "sessions.json"),
    )


NOT_INSTALLED = ["acme/mine", "no-such-package/rss_margin", "ttsi-fake/scripted", "ttsi-fakess/x"]
IMAGINARY = [
    *("ttsi-fakes/mine", "ttsi-fakes/rss_margin", "ttsi_fakes/x", "TTSI-FAKES/y", "ttsi.fakes/z"),
    *("ttsi/mine", "ttsi/rss_margin", "TTSI/lora_sft", "mine", "rss-margin", "Lora_SFT", "self2"),
]


@pytest.mark.parametrize("role", ["estimator", "generator", "learner", "inference", "engine"])
@pytest.mark.parametrize("name", ["ttsi-fakes/mine", "ttsi/rss_margin", "mine"])
def test_an_imaginary_plugin_is_refused(name: str, role: str, mine: Path) -> None:
    told = faults(forged(_plugin(role, name), mine))
    assert {"plugin", "spec"} & {fault.kind for fault in told}


@pytest.mark.parametrize("name", IMAGINARY)
def test_whatever_an_imaginary_plugin_is_called(name: str, mine: Path) -> None:
    told = faults(forged(_plugin("learner", name), mine))
    assert {"plugin", "spec"} & {fault.kind for fault in told}


@pytest.mark.parametrize("name", NOT_INSTALLED)
def test_a_plugin_that_is_not_installed_is_unverifiable(
    name: str, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = forged(_plugin("estimator", name), mine)
    verdict = verify_one(folder, third_party=True)
    assert (verdict.state, verdict.exit_code) == ("unverifiable", 5)
    assert main(["leaderboard", "verify", str(folder), "--third-party"]) == 5
    out, err = capsys.readouterr()
    assert out.startswith("unverifiable ")
    assert "pip install" in out
    assert "FAULTY" not in out
    assert "1 looked at, 1 unverifiable" in err
