"""Test the executor on Ray when one of several machines differs from the others."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import ENVIRONMENT, joined, started
from on_ray import engine, on, run, same, spec

from ttsi.errors import DeviceLost, LimitReached, MissingAsset, RunError, TtsiError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no ray"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Yield the address of a healthy machine with one logical core."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        with started(cpus=1) as address:
            yield address


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("missing", "no such model"),
        ("killed", "died"),
        ("other", "engine.device was"),
        ("lost", "device was lost"),
    ],
)
def test_a_bad_machine_costs_no_sample(
    fault: str, said: str, cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = tmp_path / "faults"
    faults.write_text("none\n" * 2)  # without faults, the first machine need not wait for them
    slow = engine(delay=0.1, faults=str(faults))
    one = spec(engine=slow, executor=on(cluster, workers=1), seeds=[1])
    begun = run(tmp_path / "ray", one).folder
    faults.write_text("")
    # The run's identity is known; otherwise the first machine would determine it.
    (begun / "seed-1").rename(begun / "seed-0")
    forget_all_but_identity(begun / "seed-0")
    with joined(cluster, 2, TTSI_FAKES_FAULT=fault):
        three = spec(engine=slow, executor=on(cluster, workers=3, wave=2, retries=1))
        there = run(tmp_path / "ray", three)
    assert there.folder == begun
    assert same(there, run(tmp_path / "local", spec()))
    assert there.errors == 0
    sessions = json.loads((there.folder / "seed-0" / "sessions.json").read_text())["sessions"]
    warnings = " ".join(sessions[-1]["warnings"])
    assert "was given up" in warnings
    assert said in warnings
    assert "was given up" in capsys.readouterr().err
    assert there.seeds[0]["identity"]["engine"]["device"] == "cpu"


def test_a_machine_with_two_gpus(cluster: str, tmp_path: Path) -> None:
    """As docs/howto.md has it: Ray shows each worker its own GPU alone. And a limit ends both."""
    with joined(cluster, cpus=2, gpus=2):
        executor = on(cluster, num_gpus=1, wave=1)
        limited = spec(executor=executor, stop_at={"minutes": 1e-9})
        with pytest.raises(LimitReached) as caught:
            run(tmp_path, limited)
        whole = run(tmp_path, limited | {"stop_at": {"minutes": 60}})
    assert same(whole, run(tmp_path / "local", spec()))
    sessions = json.loads((whole.folder / "seed-0" / "sessions.json").read_text())["sessions"]
    for session in sessions:
        assert sorted(engine["gpus"] for engine in session["engines"]) == ["0", "1"]
    # A worker's wave that had begun was finished.
    assert 1 <= sessions[0]["samples"] <= 3
    assert f"{sessions[0]['samples']} of 12 samples are finished" in str(caught.value)


def forget_all_but_identity(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != "identity.json":
            path.unlink()
    path = folder / "identity.json"
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 0'))


@pytest.mark.parametrize(
    ("fault", "kind"), [("missing", MissingAsset), ("killed", RunError), ("lost", DeviceLost)]
)
def test_where_every_machine_is_bad_the_run_ends(
    fault: str, kind: type[TtsiError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTSI_FAKES_FAULT", fault)
    with started(cpus=1) as alone, joined(alone, 2):
        document = spec(executor=on(alone, workers=3, retries=1))
        with pytest.raises(kind):
            run(tmp_path, document)
