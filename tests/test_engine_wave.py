"""The transformers engine as the pipeline sees it: whole waves, progress, errors, options."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest
import torch
from engines import OPENING, ask, may_run_out, shared_engine

from ttsi.errors import EngineError, MissingAsset, OutOfMemory
from ttsi.options import options_schema
from ttsi.protocols import Engine
from ttsi.types import Generation, LoraRecipe, Request, Sampling, TrainJob
from ttsi_plugins.engines.transformers import TransformersEngine

GREEDY = Sampling.greedy(4)


def test_the_class_is_light_and_its_options_readable() -> None:
    program = (
        "import sys; from ttsi.options import options_schema;"
        "from ttsi_plugins.engines.transformers import TransformersEngine as E;"
        "E({'id': 'x'}, max_batch=2); options_schema(E);"
        "heavy = {'torch', 'transformers', 'peft', 'xgrammar', 'numpy'} & set(sys.modules);"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    schema = options_schema(TransformersEngine)
    assert set(schema["properties"]) == {"device", "max_batch", "memory_gib"}
    jsonschema.validate({"device": "cpu", "max_batch": 4}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"max_batch": 0}, schema)
    engine = TransformersEngine({"id": "x"})
    assert isinstance(engine, Engine)
    assert engine.capabilities == {
        *("loglikelihood", "generate", "grammar", "adapters", "train", "activated", "recipes")
    }


def test_a_missing_package_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ttsi_plugins.engines.transformers"
    for module in ("engine", "grammar"):
        monkeypatch.delitem(sys.modules, f"{name}.{module}", raising=False)
        monkeypatch.delattr(f"{name}.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "xgrammar", None)
    with pytest.raises(MissingAsset, match="xgrammar") as caught:
        TransformersEngine({"id": "smollm2-135m"}).load()
    assert caught.value.cure == "pip install 'ttsi[transformers]'"


@pytest.mark.model
def test_a_mixed_wave_comes_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = shared_engine()
    loud = LoraRecipe(learning_rate=5e-3, epochs=6)
    jobs = [
        TrainJob(word, ((ask("Greet me."), word),), loud, seed)
        for seed, word in enumerate(("xyzzy", "plugh"))
    ]
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(engine, "on_progress", lambda done, total: seen.append((done, total)))
    first, second = engine.train(jobs)
    assert seen == [(steps, 12) for steps in range(2, 13, 2)]
    base = Request(ask("Greet me."), GREEDY, 0)
    wave = [
        dataclasses.replace(base, adapter=second),
        base,
        dataclasses.replace(base, grammar={"enum": ["aye"]}),
        dataclasses.replace(base, adapter=first),
        dataclasses.replace(base, prompt=ask("Name three colours, and say why you like them.")),
        dataclasses.replace(base, adapter=second, seed=9),
    ]
    seen.clear()
    made = engine.generate(wave)
    assert texts(made) == [texts(engine.generate([request]))[0] for request in wave]
    assert made[0].text.startswith("pl")
    assert made[2].text == '"aye"'
    assert made[3].text.startswith("xy")
    assert made[5].text == made[0].text != made[1].text
    done = [count for count, total in seen if total == len(wave)]
    assert done == sorted(set(done))
    assert done[-1] == len(wave)


def texts(generations: list[Generation]) -> list[str]:
    return [made.text for made in generations]


@pytest.mark.model
def test_empty_waves() -> None:
    engine = shared_engine()
    assert engine.generate([]) == engine.train([]) == engine.loglikelihoods([], []) == []


@pytest.mark.model
def test_what_is_too_long_for_the_model_is_an_error_that_names_the_limit() -> None:
    engine = shared_engine()
    endless = ask("word " * 9000)
    with pytest.raises(EngineError, match="max_position_embeddings, 8192"):
        engine.generate([Request(endless, GREEDY, 0)])
    with pytest.raises(EngineError, match="max_position_embeddings"):
        engine.generate([Request(ask("Hi"), Sampling.greedy(8190), 0)])
    with pytest.raises(EngineError, match="max_position_embeddings"):
        engine.loglikelihoods([endless], [["a"]])
    with pytest.raises(EngineError, match="max_position_embeddings"):
        engine.train([TrainJob("a", ((endless, "a"),), LoraRecipe(), 0)])


@pytest.mark.model
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), OutOfMemory),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), OutOfMemory),
        (MemoryError(), OutOfMemory),
        (RuntimeError("shapes cannot be multiplied\nmore"), EngineError),
    ],
)
def test_failures_of_torch_become_ours_and_leave_the_engine_whole(
    error: Exception, kind: type[EngineError], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_run_out(monkeypatch)
    engine = shared_engine()
    model = engine._runtime().model
    job = TrainJob("a", ((ask("Hi"), "Ho"),), LoraRecipe(), 0)
    (adapter,) = engine.train([job])
    calls: list[Any] = [
        lambda: engine.loglikelihoods([ask("Hi", OPENING)], [["a"]]),
        lambda: engine.generate([Request(ask("Hi"), GREEDY, 0, adapter)]),
        lambda: engine.train([job]),
    ]
    before = texts(engine.generate([Request(ask("Hi"), GREEDY, 0)]))

    def broken(**inputs: Any) -> Any:
        raise error

    for call in calls:
        with monkeypatch.context() as patch:
            patch.setattr(model, "forward", broken)
            with pytest.raises(EngineError) as caught:
                call()
        assert type(caught.value) is kind
        assert not model.training
        assert texts(engine.generate([Request(ask("Hi"), GREEDY, 0)])) == before
    assert engine.train([job])[0].digest == adapter.digest


@pytest.mark.model
def test_a_description_is_json_and_tells_versions() -> None:
    told = shared_engine().describe()
    assert json.loads(json.dumps(told)) == told
    assert (told["model"], told["dtype"], told["device"]) == ("smollm2-135m", "float32", "cpu")
    assert told["parameters"] == 134_515_008
    assert told["versions"]["torch"] == torch.__version__
