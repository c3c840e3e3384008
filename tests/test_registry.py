"""Plugins: found without importing, named without impersonation, loaded or refused by name."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from _dists import ESTIMATOR, importable, write_dist

from ttsi import registry
from ttsi.errors import PluginError, UsageError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def third_party(tmp_path: Path) -> Iterator[Path]:
    """Install Acme.Sure_Things 1.5: a sound estimator under two spellings, several unsound ones."""
    write_dist(
        tmp_path,
        "Acme.Sure_Things",
        {
            "ttsi.estimators": "mine = acme_mine:Mine\n"
            "acme-sure-things/prefixed = acme_mine:Mine\n"
            "other/borrowed = acme_mine:Mine\n"
            "unimportable = acme_unimportable:Mine\n"
            "absent = acme_mine:Absent\n"
            "methodless = acme_faulty:Methodless\n"
            "constantless = acme_faulty:Constantless\n"
            "function = acme_faulty:function\n"
            "badschema = acme_faulty:BadSchema\n"
            "quitter = acme_quitter:Mine",
        },
        {
            "acme_mine": ESTIMATOR,
            "acme_unimportable": "import package_that_nobody_has\n",
            "acme_quitter": "raise SystemExit(3)\n",
            "acme_faulty": (
                "class Methodless:\n    needs = frozenset()\n"
                "class Constantless:\n    def estimate(self, tasks, engine, seed): ...\n"
                "def function(): ...\n"
                "class BadSchema:\n    needs = frozenset()\n"
                "    options_schema = {'type': 'objekt'}\n"
                "    def estimate(self, tasks, engine, seed): ...\n"
            ),
        },
    )
    with importable(tmp_path):
        yield tmp_path


def test_builtins_are_those_of_pyproject_with_bare_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for kind in registry.KINDS:
        declared = project["entry-points"][f"ttsi.{kind}"]
        found = {n: p.origin for n, p in registry.discover(kind).items() if p.builtin}
        assert found == declared


def test_every_builtin_loads_and_its_defaults_are_valid() -> None:
    from jsonschema import Draft202012Validator

    rows = [row for row in registry.listing() if row["builtin"]]
    assert [row["why"] for row in rows if row["state"] != "ready"] == []
    assert {row["kind"] for row in rows} == set(registry.KINDS)
    for row in rows:
        properties = row["options"]["properties"]
        defaults = {k: v["default"] for k, v in properties.items() if "default" in v}
        # What is required has no default, and all else has: with the defaults only that is missing.
        assert set(row["options"].get("required", [])) == properties.keys() - defaults.keys()
        given = Draft202012Validator({**row["options"], "required": []})
        assert list(given.iter_errors(defaults)) == [], row["name"]
        assert all(v.get("description") for v in properties.values()), row["name"]


@pytest.mark.usefixtures("third_party")
def test_third_party_names_carry_their_distribution() -> None:
    found = registry.discover("estimators")
    plugin = found["acme-sure-things/mine"]
    assert plugin.distribution == "Acme.Sure_Things"
    assert (plugin.version, plugin.origin, plugin.builtin) == ("1.5", "acme_mine:Mine", False)
    assert "acme-sure-things/prefixed" in found
    # A prefix that is not its own is no way to take another package's name.
    assert "acme-sure-things/other/borrowed" in found
    assert "mine" not in found
    assert "other/borrowed" not in found


@pytest.mark.usefixtures("third_party")
def test_discover_imports_nothing_and_load_imports_one() -> None:
    registry.discover("estimators")
    assert not [name for name in sys.modules if name.startswith("acme_")]
    loaded = registry.load("estimators", "acme-sure-things/mine")
    assert loaded.__name__ == "Mine"
    assert [name for name in sys.modules if name.startswith("acme_")] == ["acme_mine"]


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("unimportable", "ModuleNotFoundError: No module named 'package_that_nobody_has'"),
        ("absent", "AttributeError: module 'acme_mine' has no attribute 'Absent'"),
        ("methodless", "lacks the method estimate()"),
        ("constantless", "lacks the attribute needs"),
        ("function", "acme_faulty:function is not a class but function"),
        ("quitter", "SystemExit: 3"),
    ],
)
def test_a_plugin_that_does_not_load_is_named_with_cause_and_cure(name: str, why: str) -> None:
    with pytest.raises(PluginError) as caught:
        registry.load("estimators", f"acme-sure-things/{name}")
    message = str(caught.value)
    assert why in message
    assert f"acme-sure-things/{name}" in message
    assert "pip install --upgrade Acme.Sure_Things" in message
    assert "pip uninstall Acme.Sure_Things" in message
    assert caught.value.exit_code == 5


@pytest.mark.usefixtures("third_party")
def test_listing_shows_the_broken_beside_the_ready() -> None:
    states = {row["name"]: row["state"] for row in registry.listing("estimators")}
    assert states["acme-sure-things/mine"] == "ready"
    broken = {name.rpartition("/")[2] for name, state in states.items() if state == "broken"}
    assert broken >= {"unimportable", "absent", "methodless", "function", "badschema", "quitter"}
    assert states["rss_margin"] == "ready"


@pytest.mark.usefixtures("third_party")
def test_options_schema_is_read_from_the_class() -> None:
    schema = registry.options_schema("estimators", "acme-sure-things/mine")
    assert schema["properties"]["depth"] == {
        "type": "integer",
        "description": "How deep.",
        "minimum": 1,
        "maximum": 9,
        "default": 2,
    }
    assert schema["additionalProperties"] is False
    with pytest.raises(PluginError, match="not JSON Schema"):
        registry.options_schema("estimators", "acme-sure-things/badschema")


@pytest.mark.usefixtures("third_party")
def test_an_unknown_name_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(UsageError, match=r'Did you mean "rss_margin"\? .*always, .*never'):
        registry.load("estimators", "rss_margn")
    with pytest.raises(UsageError, match='Did you mean "acme-sure-things/mine"'):
        registry.load("estimators", "mine")
    with pytest.raises(UsageError, match='Did you mean "estimators"'):
        registry.discover("estimater")


def test_a_clash_names_both_origins_once_asked_for(tmp_path: Path) -> None:
    lines = "mine = acme_one:Mine\nacme/mine = acme_two:Mine\nfine = acme_one:Mine"
    code = {"acme_one": ESTIMATOR, "acme_two": ESTIMATOR}
    write_dist(tmp_path, "acme", {"ttsi.estimators": lines}, code)
    with importable(tmp_path):
        assert registry.load("estimators", "acme/fine").__name__ == "Mine"
        with pytest.raises(PluginError, match=r"acme_one:Mine .*acme_two:Mine"):
            registry.load("estimators", "acme/mine")
        states = [r["state"] for r in registry.listing("estimators") if r["name"] == "acme/mine"]
        assert states == ["clash", "clash"]


@pytest.mark.parametrize(
    ("value", "loads"),
    [
        (None, True),
        ("", False),
        ("other", False),
        ("acme-sure-things", True),
        ("other, ACME_sure.things", True),
    ],
)
@pytest.mark.usefixtures("third_party")
def test_load_plugins_limits_third_parties_and_never_builtins(
    value: str | None, loads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("TTSI_LOAD_PLUGINS", raising=False)
    else:
        monkeypatch.setenv("TTSI_LOAD_PLUGINS", value)
    found = registry.discover("estimators")
    assert ("acme-sure-things/mine" in found) is loads
    assert "rss_margin" in found
    if not loads:
        with pytest.raises(PluginError, match="TTSI_LOAD_PLUGINS leaves it out"):
            registry.load("estimators", "acme-sure-things/mine")
        states = {row["name"]: row["state"] for row in registry.listing("estimators")}
        assert states["acme-sure-things/mine"] == "off"


def test_a_half_removed_distribution_takes_nothing_down(tmp_path: Path) -> None:
    write_dist(tmp_path, "half", {"ttsi.estimators": "x = half_gone:X"})
    next(tmp_path.glob("*.dist-info/METADATA")).unlink()
    with importable(tmp_path):
        assert registry.discover("estimators")["unknown/x"].version == "?"
        assert registry.load("estimators", "rss_margin")
