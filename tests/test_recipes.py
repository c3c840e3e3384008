"""Other recipes than the paper's, against PEFT trained by a loop, one adapter at a time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import architectures
import peft
import pytest
import safetensors.torch
import torch
from banks import ids
from engines import small_engine
from test_alora import SIGN, read
from tiny_model import tiny_llama
from torch import Tensor, nn

from ttsi.types import Adapter, LoraRecipe, Message, Prompt, Request, Sampling, TrainJob
from ttsi_plugins.engines.transformers import lora
from ttsi_plugins.engines.transformers.bank import Bank
from ttsi_plugins.engines.transformers.native import NativeNetwork
from ttsi_plugins.engines.transformers.pairs import Pair, TokenJob
from ttsi_plugins.engines.transformers.passes import Network
from ttsi_plugins.engines.transformers.training import fit, learning_rates

# PEFT warns of its own affairs.
pytestmark = pytest.mark.filterwarnings("ignore")

LOUD = LoraRecipe(rank=2, learning_rate=1e-2)
ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj", "query_key_value", "dense"}


def falcon() -> Any:
    return architectures.tiny("falcon", num_kv_heads=2)


MODES: dict[str, tuple[Callable[[], Any], Any]] = {
    "exact": (tiny_llama, Network),
    "activated": (tiny_llama, Network),
    "native": (falcon, NativeNetwork),
}


class Bench:
    """A model with a bank in one of the modes, and jobs for it."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        make, network = MODES[mode]
        self.model = lambda: make().double().requires_grad_(False)
        model = self.model()
        self.network, self.bank = network(model), Bank(model, "tiny")

    def pair(self, seed: int, before: int, target: int, **more: Any) -> Pair:
        """Return a pair whose user turn begins after `before` tokens."""
        prompt = [*ids(seed, before), *SIGN, *ids(seed + 500, 4)]
        start = before if self.mode == "activated" else 0
        past = read(self.network, prompt[:start])
        if "prompt_loss" in more:
            more["taught"] = len(prompt) - before - 1
        return Pair(prompt, ids(seed + 900, target), past, start, **more)

    def job(self, seed: int, pairs: Sequence[Pair], held_out: Sequence[Pair] = (), *,
            best: bool = False, **changed: Any) -> TokenJob:  # fmt: skip
        recipe = dataclasses.replace(LOUD, **changed)
        sign = SIGN if self.mode == "activated" else []
        return TokenJob(f"job {seed}", pairs, recipe, seed, sign, held_out, best)

    def jobs(self) -> list[TokenJob]:
        pair = self.pair
        two = [pair(1, 5, 3), pair(2, 9, 2)]
        far = [pair(7, 6, 5), pair(8, 3, 1)]
        # The more likely another answer, the less likely that of the model itself.
        said = self.model()(input_ids=torch.tensor([two[0].prompt])).logits[0, -1].argmax()
        other = dataclasses.replace(two[0], target=[int(said)])
        told = [pair(3, 4, 3, prompt_loss=0.3), pair(4, 2, 6, prompt_loss=0.3, weight=0.5)]
        return [
            self.job(1, [pair(1, 5, 3, weight=0.25), pair(2, 9, 2, weight=2.0)], max_grad_norm=0.0),
            self.job(2, told, max_grad_norm=0.0, epochs=2),
            self.job(3, two, optimizer="sgd", learning_rate=0.3, weight_decay=0.1, rank=3),
            self.job(4, two, far, optimizer="sgd", normalised=True, learning_rate=0.2),
            self.job(5, two[:1], [other], best=True, learning_rate=0.05, epochs=4),
            self.job(6, two[:1], two[:1], best=True, warmup_ratio=0.0),
            self.job(7, two[:1], [*two[1:], *far, *two[:1]], best=True, learning_rate=5e-3,
                     optimizer="sgd", normalised=True, epochs=6),
            self.job(8, two, modules="attention"),
            self.job(9, two, two[:1], modules="feed_forward", normalised=True, epochs=1),
            self.job(10, two, far, best=True, optimizer="sgd", normalised=True, modules="attention",
                     learning_rate=0.4, weight_decay=0.2, warmup_ratio=0.0),
        ]  # fmt: skip


def cross_entropy(model: Any, pair: Pair, first: int, last: int) -> Tensor:
    """Return transformers' mean loss over the tokens from `first` to before `last`."""
    text = [*pair.prompt, *pair.target]
    labels = [token if first <= at < last else -100 for at, token in enumerate(text)]
    loss: Tensor = model(input_ids=torch.tensor([text]), labels=torch.tensor([labels])).loss
    return loss


def on_target(model: Any, pair: Pair) -> Tensor:
    whole = len(pair.prompt) + len(pair.target)
    return cross_entropy(model, pair, len(pair.prompt), whole)


@dataclasses.dataclass
class Loop:
    """What a loop over PEFT's adapter has come to."""

    losses: list[float]
    held_out: list[float]
    states: list[dict[str, Tensor]]

    @property
    def best(self) -> int:
        return self.held_out.index(min(self.held_out))


def loop(model: Any, initial: Adapter, job: TokenJob, folder: Path) -> Loop:
    lora.export(initial, folder)
    trained = peft.PeftModel.from_pretrained(model, folder, is_trainable=True).double()
    parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[job.recipe.optimizer]
    optimizer = kind(parameters, lr=0.0, weight_decay=job.recipe.weight_decay)
    rates = iter(learning_rates(len(job.order), job.recipe))
    done = Loop([], [], [])

    def checkpoint() -> None:
        weights = peft.get_peft_model_state_dict(trained)
        done.states.append({name: weight.clone() for name, weight in weights.items()})
        with torch.no_grad():
            found = [float(on_target(trained, pair)) for pair in job.held_out]
        done.held_out.extend([sum(found) / len(found)] if found else [])

    checkpoint()
    for _ in range(job.recipe.epochs):
        for pair in job.pairs:
            loss = on_target(trained, pair)
            if pair.prompt_loss:
                first = len(pair.prompt) - pair.taught
                told = cross_entropy(trained, pair, first, len(pair.prompt))
                loss = loss + pair.prompt_loss * told
            loss = pair.weight * loss
            optimizer.zero_grad()
            loss.backward()
            if job.recipe.normalised:
                norm = math.sqrt(sum(float(each.grad.square().sum()) for each in parameters))
                for each in parameters:
                    each.grad /= norm
            else:
                nn.utils.clip_grad_norm_(parameters, job.recipe.max_grad_norm or math.inf)
            optimizer.param_groups[0]["lr"] = next(rates)
            optimizer.step()
            done.losses.append(float(loss))
        checkpoint()
    return done


def vector(weights: dict[str, Tensor], like: dict[str, Tensor]) -> Tensor:
    assert weights.keys() == like.keys()
    return torch.cat([weights[name].flatten().double() for name in like])


@pytest.mark.parametrize("mode", MODES)
def test_a_bank_of_other_recipes_is_pefts_one_by_one(mode: str, tmp_path: Path) -> None:
    bench = Bench(mode)
    jobs = bench.jobs()
    together = fit(bench.network, bench.bank, jobs)
    kept = set()
    for at, (job, made) in enumerate(zip(jobs, together, strict=True)):
        (alone,) = fit(bench.network, bench.bank, [job])
        still = dataclasses.replace(job, recipe=dataclasses.replace(job.recipe, learning_rate=0.0))
        (initial,) = fit(bench.network, bench.bank, [still])
        done = loop(bench.model(), initial, job, tmp_path / str(at))
        at_best = done.best if job.keep_best else -1
        kept.add(at_best)
        for found in (alone, made):
            assert found.training is not None
            assert found.training.losses == pytest.approx(done.losses, rel=1e-6)
            assert found.training.held_out == pytest.approx(done.held_out, rel=1e-6)
            state = done.states[at_best]
            own = vector(safetensors.torch.load(found.safetensors), state)
            moved = vector(done.states[-1], state) - vector(done.states[0], state)
            assert moved.norm() > 0
            assert (own - vector(state, state)).norm() <= 1e-4 * moved.norm()
    print(f"checkpoints kept: {kept}")
    # The last, the untrained one and one between them.
    assert {-1, 0} < kept
    assert len(kept) > 2


@pytest.mark.parametrize("mode", ["exact", "native"])
def test_the_layers_of_a_kind_are_those_that_peft_is_given(mode: str) -> None:
    bench = Bench(mode)
    jobs = [bench.job(1, [bench.pair(1, 4, 2)], modules=kind) for kind in lora.MODULES]
    parts = [
        {name.split(".")[-3] for name in safetensors.torch.load(made.safetensors)}
        for made in fit(bench.network, bench.bank, jobs)
    ]
    every, attention, feed_forward = parts
    assert attention == every & ATTENTION
    assert feed_forward == every - ATTENTION
    assert attention
    assert feed_forward


def test_a_gradient_of_nothing_stays_nothing() -> None:
    bench = Bench("exact")
    silent = [bench.pair(1, 4, 2, weight=0.0)]
    for optimizer in ("adamw", "sgd"):
        job = bench.job(1, silent, optimizer=optimizer, normalised=True, warmup_ratio=0.0)
        (made,) = fit(bench.network, bench.bank, [job])
        tensors = safetensors.torch.load(made.safetensors)
        assert all(not tensors[name].any() for name in tensors if "lora_B" in name)
        assert made.training is not None
        assert made.training.losses == (0.0,) * 3


# ---------------------------------------------------------------- the engine

PROMPT = Prompt((Message("system", "Answer."), Message("user", "What time is it in Rome?")))


@pytest.fixture(scope="module", params=["fast", "native"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = small_engine(tmp_path_factory.mktemp(request.param), request.param)
    yield made
    made.close()


def test_an_engine_learns_the_user_turn_too_and_measures_what_it_held_out(engine: Any) -> None:
    runtime = engine._runtime()
    other = Prompt((Message("system", "Be brief."), Message("user", "And in Oslo?")))
    recipe = LoraRecipe(rank=2, epochs=1, learning_rate=0.5)
    pairs = ((PROMPT, "noon"),)
    job = TrainJob("a", pairs, recipe, 3, (2.0,), 0.5, (*pairs, (other, "night")), "best")
    (made,) = engine.train([job])
    encode = runtime.tokens.tokenizer.encode

    def own(prompt: Prompt, text: str) -> tuple[float, float]:
        """Return the losses on the target and on the user turn, without its first token."""
        ids = runtime.tokens.prompt(prompt)
        system = encode(f"<|im_start|>system {prompt.messages[0].content}<|im_end|>")
        assert ids[: len(system)] == system
        pair = Pair(ids, runtime.tokens.target(text))
        with torch.no_grad(), runtime.network.native() as model:
            told = cross_entropy(model, pair, len(system) + 1, len(ids))
            return float(on_target(model, pair)), float(told)

    (target, told), (further, _) = own(PROMPT, "noon"), own(other, "night")
    assert made.training.losses == pytest.approx([2 * (target + 0.5 * told)], rel=1e-5)
    # The one step is the warm-up's, at rate 0.
    measured = (target + further) / 2
    assert made.training.held_out == pytest.approx([measured, measured], rel=1e-5)
    read = [len(runtime.tokens.prompt(prompt)) for prompt in (PROMPT, other)]
    assert made.training.tokens == read[0] + 5 + 2 * (read[0] + 5 + read[1] + 6)
    greedy = Request(PROMPT, Sampling.greedy(8), 0)
    base, adapted = engine.generate([greedy, dataclasses.replace(greedy, adapter=made)])
    assert base.text == adapted.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": (1.0, 1.0)},
        {"weights": (-1.0,)},
        {"weights": (math.nan,)},
        {"prompt_loss": math.inf},
        {"keep": "best"},
    ],
    ids=str,
)
def test_a_job_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"weight|best"):
        TrainJob("a", ((PROMPT, "noon"),), LOUD, 0, **wrong)
