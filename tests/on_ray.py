"""Test that the executor on Ray gives the results of `local`, whichever worker dies.

The cluster is a separate process, as a user's is, so that this process keeps nothing of it. The
scripted engine causes faults in the workers.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import ENVIRONMENT, started

import ttsi
from ttsi.cli.main import main
from ttsi.errors import MissingAsset, RunError
from ttsi.hooks import hookimpl
from ttsi.records.journal import read
from ttsi.running.cell_result import CellResult
from ttsi.running.progress import Silent
from ttsi.testing import check_plugin, checks_for
from ttsi.types import Record
from ttsi_plugins.executors import ray_cluster
from ttsi_plugins.executors.ray import Ray

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no ray")

LOCAL = {"name": "local", "wave": 4}


@pytest.fixture(scope="module", autouse=True)
def _environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="module")
def cluster(_environment: None) -> Iterator[str]:
    """Yield the address of a cluster with four logical cores."""
    with started() as address:
        yield address


@pytest.fixture(autouse=True)
def _no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo the settings of `on` after a test."""
    monkeypatch.setenv("RAY_ADDRESS", "")
    monkeypatch.delenv("RAY_ADDRESS")


def spec(**changed: Any) -> dict[str, Any]:
    return {
        "name": "scripted",
        "model": {"id": "scripted"},
        "engine": "ttsi-fakes/scripted",
        "benchmark": {"name": "ttsi-fakes/rows", "rows": 12},
        "estimator": "rss_margin",
        "inference": {"name": "direct", "decoding": "greedy"},
        "executor": LOCAL,
    } | changed


def on(cluster: str, **changed: Any) -> dict[str, Any]:
    """Return an executor with two workers and waves like the local ones, on this cluster."""
    os.environ["RAY_ADDRESS"] = cluster
    return {"name": "ray", "workers": 2, "wave": 4, **changed}


def engine(**faults: Any) -> dict[str, Any]:
    return {"name": "ttsi-fakes/scripted", **faults}


def run(out: Path, document: dict[str, Any], **options: Any) -> CellResult:
    (cell,) = ttsi.evaluate(document, out=out, **options)
    return cell


def predictions(cell: CellResult) -> bytes:
    return (cell.folder / "seed-0" / "predictions.jsonl").read_bytes()


def records(cell: CellResult) -> list[Record]:
    """Return the records without their costs, which contain times."""
    found = read(cell.folder / "seed-0" / "samples.jsonl")
    return [dataclasses.replace(record, costs={}) for record in found]


def same(one: CellResult, other: CellResult) -> bool:
    assert predictions(one) == predictions(other)
    assert records(one) == records(other)
    return True


class Watch(Silent):
    """Sums up the progress that a run reports."""

    def __init__(self) -> None:
        self.planned: Counter[str] = Counter()
        self.advanced: Counter[str] = Counter()

    def plan(self, stage: str, count: int) -> None:
        self.planned[stage] += count

    def advance(self, stage: str, count: float) -> None:
        self.advanced[stage] += count  # type: ignore[assignment]


class Finished:
    """Collects the samples in the order in which they finish."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    @hookimpl
    def ttsi_sample_finished(self, record: Record) -> None:
        self.ids.append(record.id)


# ---------------------------------------------------------------- what local gives


def test_two_workers_give_what_local_gives(cluster: str, tmp_path: Path) -> None:
    watch = Watch()
    slow = engine(delay=0.05)
    there = run(tmp_path / "ray", spec(engine=slow, executor=on(cluster)), reporter=watch)
    assert same(there, run(tmp_path / "local", spec()))
    engines = there.seeds[0]["engines"]
    assert sorted(each["worker"] for each in engines) == [0, 1]
    assert len({each["pid"] for each in engines} - {os.getpid()}) == 2
    workers = {"worker 0", "worker 1"} & set(watch.planned)
    assert sum(watch.planned[name] for name in workers) == 12
    assert all(watch.planned[name] == watch.advanced[name] for name in workers)
    assert watch.planned["estimate"] > 0


@pytest.mark.parametrize("more", [{"budget": 0.25}, {"benchmark": "ttsi-fakes/journeys"}])
def test_these_are_as_in_one_process(cluster: str, tmp_path: Path, more: Any) -> None:
    document = spec(**more)
    there = run(tmp_path / "ray", document | {"executor": on(cluster)})
    assert same(there, run(tmp_path / "local", document))


@pytest.mark.model
@pytest.mark.slow
def test_a_real_model_gives_the_same_bytes(cluster: str, tmp_path: Path) -> None:
    """Records are equal except for times: likelihoods, losses and the adapters' digests too.

    This needs one number of threads and the same memory for each engine; sums are then computed in
    the same order in a worker as here.
    """
    import torch

    document = {
        "name": "real",
        "model": {"id": "smollm2-135m", "dtype": "float32"},
        "engine": {"name": "transformers", "device": "cpu", "memory_gib": 2},
        "benchmark": {"name": "quickstart", "limit": 1},
        "estimator": {"name": "rss_margin", "threshold": 1},
        "generator": {
            "name": "self",
            "prompt": "seed_first",
            "format": "json",
            "attempts": 2,
            "max_calls": 1,
            "max_tokens": 64,
        },
        "learner": {"name": "lora_sft", "target": "as_answered", "active_from": "user_turn"},
        "inference": {
            "name": "direct",
            "format": "tool_calls",
            "decoding": "greedy",
            "max_tokens": 48,
        },
    }
    there = run(tmp_path / "ray", document | {"executor": on(cluster, wave=1)})
    torch.set_num_threads(1)  # a worker's, by its one core
    here = run(tmp_path / "local", document | {"executor": {"name": "local", "wave": 1}})
    assert predictions(there) == predictions(here)
    assert there.seeds[0]["adapted"] == 1
    digests = [
        {engine["weights_digest"] for engine in cell.seeds[0]["engines"]} for cell in (there, here)
    ]
    assert digests[0] == digests[1]
    assert [untimed(each) for each in records(there)] == [untimed(each) for each in records(here)]


def untimed(record: Record) -> Record:
    """Return the record without the seconds of its adapter's training."""
    return dataclasses.replace(record, receipt={**(record.receipt or {}), "seconds": 0})


# ---------------------------------------------------------------- what dies


def test_a_worker_killed_within_a_chunk_changes_nothing(cluster: str, tmp_path: Path) -> None:
    whole = run(tmp_path / "local", spec())
    victim = next(record for record in records(whole) if record.adapted)
    text = f"City{victim.id.removeprefix('rows/')}?"
    fatal = engine(fatal=text, marks=str(tmp_path))
    finished = Finished()
    there = run(tmp_path / "ray", spec(engine=fatal, executor=on(cluster)), hooks=[finished])
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == 1  # it did die
    assert same(there, whole)
    # Records of the chunk that had arrived were not run again.
    assert sorted(Counter(finished.ids).values()) == [1] * 12


def test_one_failure_in_five_leaves_two_hundred_samples_whole(cluster: str, tmp_path: Path) -> None:
    """A failing wave is halved; a sample that fails alone is an error, which a resume repairs."""
    rows = {"benchmark": {"name": "ttsi-fakes/rows", "rows": 200}}
    (tmp_path / "marks").mkdir()
    faults = engine(failing=0.2, marks=str(tmp_path / "marks"))
    failing = spec(engine=faults, executor=on(cluster, wave=10), **rows)
    first = run(tmp_path / "ray", failing)
    assert 30 < len(list((tmp_path / "marks").iterdir())) < 50
    assert first.samples == 200
    assert first.errors < 30
    assert same(run(tmp_path / "ray", failing), run(tmp_path / "local", spec(**rows)))


def command(folder: Path, **changed: Any) -> list[str]:
    folder.mkdir(exist_ok=True)
    (folder / "spec.json").write_text(json.dumps(spec(**changed)))
    return ["eval", str(folder / "spec.json"), "--out", str(folder / "runs"), "--json"]


def start(folder: Path, **changed: Any) -> subprocess.Popen[bytes]:
    """Start `ttsi eval`, with its events in the file `events`."""
    with (folder / "events").open("wb") as out, (folder / "stderr").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "ttsi", *command(folder, **changed)],
            env={**os.environ, "RAY_TEST_OF": str(folder)},
            stdout=out,
            stderr=err,
            preexec_fn=_interruptible,
            start_new_session=True,
        )


def _interruptible() -> None:
    # Background processes of a shell ignore SIGINT, and their children inherit this.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def events(folder: Path) -> list[dict[str, Any]]:
    """Return the events so far; every complete line of stdout has to be one."""
    lines = (folder / "events").read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def wait_for_samples(folder: Path, process: subprocess.Popen[bytes], count: int) -> None:
    while process.poll() is None:
        if sum(event["event"] == "sample" for event in events(folder)) >= count:
            return
        time.sleep(0.01)


def test_a_sample_that_kills_every_worker_is_an_error_and_the_run_goes_on(
    cluster: str, tmp_path: Path
) -> None:
    fatal = spec(engine=engine(fatal="City5?"), estimator="always")
    process = start(tmp_path, **fatal | {"executor": on(cluster, retries=1)})
    assert process.wait() == 3, (tmp_path / "stderr").read_text()
    samples = {event["id"]: event for event in events(tmp_path) if event["event"] == "sample"}
    assert len(samples) == 12
    assert [name for name, event in samples.items() if event["error"]] == ["rows/5"]
    assert "its worker died, 2 times in all" in samples["rows/5"]["error"]


def test_a_killed_driver_resumes(cluster: str, tmp_path: Path) -> None:
    slow = {"engine": engine(delay=0.06), "executor": on(cluster)}
    process = start(tmp_path, **slow)
    wait_for_samples(tmp_path, process, 2)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = len(next((tmp_path / "runs").glob("*/seed-0/samples.jsonl")).read_bytes().splitlines())
    finished = Finished()
    again = run(tmp_path / "runs", spec(**slow), hooks=[finished])
    assert 2 <= before < 12
    assert len(finished.ids) in (12 - before, 13 - before)  # its last line may be torn
    assert same(again, run(tmp_path / "local", spec()))


def test_ctrl_c_ends_the_run_and_its_own_cluster(tmp_path: Path) -> None:
    own = {"name": "ray", "wave": 2}
    process = start(tmp_path, engine=engine(delay=0.05), executor=own)
    wait_for_samples(tmp_path, process, 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait() == 130, (tmp_path / "stderr").read_text()
    err = (tmp_path / "stderr").read_text()
    assert "resumes" in err
    assert "Traceback" not in err
    # This loops forever if a process is left.
    while any(f"RAY_TEST_OF={tmp_path}" in environment for environment in environments()):
        time.sleep(0.05)
    assert len(list(read(next((tmp_path / "runs").glob("*/seed-0/samples.jsonl"))))) >= 2


def environments() -> Iterator[str]:
    """Yield the environments of all our processes except zombies."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            yield path.read_text(errors="replace")
        except OSError:
            continue


# ---------------------------------------------------------------- what cannot be


def test_a_model_that_is_missing_ends_it_as_in_one_process(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for name, executor in (("local", LOCAL), ("ray", on(cluster))):
        broken = command(tmp_path / name, engine=engine(at_load="missing"), executor=executor)
        assert main(broken) == MissingAsset.exit_code
        said.append(capsys.readouterr().err)
    assert said[1].endswith(said[0])
    assert "no such model" in said[0]


def test_workers_that_die_of_their_model_end_the_run(cluster: str, tmp_path: Path) -> None:
    deadly = spec(engine=engine(at_load="killed"), executor=on(cluster, retries=1))
    with pytest.raises(RunError, match=r"before its model was loaded, \d times"):
        run(tmp_path, deadly)


@pytest.mark.parametrize("wanted", [{"num_cpus": 5}, {"num_gpus": 0.5}])
def test_too_few_resources_are_an_error_at_once(
    cluster: str, tmp_path: Path, wanted: dict[str, float]
) -> None:
    with pytest.raises(RunError, match="no machine of the cluster") as caught:
        run(tmp_path, spec(executor=on(cluster, **wanted)))
    assert "4 CPU" in caught.value.where


@pytest.mark.parametrize(
    ("wanted", "room"),
    [((8, 2, 0), 3), ((2, 2, 0), 2), ((30, 0.5, 0.1), 12), ((4, 0, 0), 4), ((9, 0, 1), 2)],
)
def test_a_worker_has_to_fit_on_one_machine(
    monkeypatch: pytest.MonkeyPatch, wanted: tuple[int, float, float], room: int
) -> None:
    alive = [{"CPU": 5.0, "GPU": 1.0}, {"CPU": 3.0}, {"CPU": 1.0, "GPU": 1.0}]
    machines = [
        {"Alive": True, "NodeID": str(number), "Resources": each}
        for number, each in enumerate(alive)
    ]
    machines.append({"Alive": False, "NodeID": "9", "Resources": {"CPU": 64.0, "GPU": 8.0}})
    monkeypatch.setattr("ray.nodes", lambda: machines)
    assert ray_cluster.room(*wanted) == room


def test_too_many_workers_are_as_many_as_there_is_room_for(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crowd = spec(executor=on(cluster, workers=9, num_cpus=2))
    assert same(run(tmp_path / "ray", crowd), run(tmp_path / "local", spec()))
    assert "room for 2 of 9 workers" in capsys.readouterr().err


def test_without_the_package_the_cure_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingAsset, match="not installed") as caught:
        Ray().run(None, [], print)  # type: ignore[arg-type]
    assert caught.value.cure == "pip install 'ttsi[ray]'"


def test_the_client_protocol_is_refused() -> None:
    with pytest.raises(RunError, match="client protocol"), ray_cluster.cluster("ray://there:10001"):
        pass


def test_a_cluster_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(RunError, match="no Ray cluster") as caught, ray_cluster.cluster(None):
        pass
    assert "127.0.0.1:9" in caught.value.where


def test_it_keeps_the_contract_of_executors(cluster: str) -> None:
    options = {key: value for key, value in on(cluster).items() if key != "name"}
    outcomes = check_plugin("ray", options, "executors")
    assert {each.check.name: each.message for each in outcomes if not each.passed} == {}
    assert len(outcomes) == len(checks_for("executors"))
