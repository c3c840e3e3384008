"""Contract checks of engines. Most share one instance, so that its model is loaded once.

To check an engine with a certain model, give `model` beside its options; a small one is best.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from ttsi.errors import EngineError, MissingAsset, TtsiError
from ttsi.records.identity import ENGINE_IDENTITY, differences
from ttsi.settings import EngineCapability as Can
from ttsi.testing.checks import Check, NotApplicable, require
from ttsi.testing.engine_results import (
    ROUNDING,
    check_adapters,
    check_generations,
    check_likelihoods,
)
from ttsi.testing.subject import ALL_NEEDS, Subject
from ttsi.types import (
    Adapter,
    Generation,
    Likelihood,
    LoraRecipe,
    Message,
    Prompt,
    Request,
    Sampling,
    TrainJob,
)

_TOKENS = 6
_PROMPTS = [
    Prompt((Message("system", "Be brief."), Message("user", text)), opening)
    for text, opening in (
        ("Name a colour.", ""),
        ("What is the weather in Oslo tomorrow?", '[{"name": "'),
    )
]
_NAMES = ['get_weather"', 'convert_money"', 'get_weather_tomorrow"']
_RECIPE = LoraRecipe(rank=2, alpha=4, epochs=2, learning_rate=1e-2, warmup_ratio=0.0)
_GRAMMAR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer"}},
    "required": ["colour", "count"],
    "additionalProperties": False,
}


def loaded(subject: Subject) -> Bench:
    """Return the engine, its model loaded, that the checks share."""

    def load() -> Bench:
        engine = subject.make()
        engine.load()
        return Bench(engine)

    return subject.once("bench", load)


class Bench:
    """An engine, the requests of the checks, and its first answers to them (`pristine`)."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.can: frozenset[Can] = engine.capabilities
        self.digest: str = engine.digest()
        self.identity: Any = engine.identity()
        self.pristine = self.answers()

    @cached_property
    def settled(self) -> list[Likelihood | Generation]:
        """Answers to the same requests after `pristine`, made once and kept."""
        return self.answers()

    @cached_property
    def adapters(self) -> list[Adapter]:
        """One adapter for each prompt, if the engine trains; else none."""
        return list(self.engine.train(jobs())) if "train" in self.can else []

    def answers(self, *, alone: bool = False, turned: bool = False) -> list[Any]:
        """Return all prompts' results in their order, asked one by one or in reverse order."""

        def asked(ask: Callable[[list[Any]], list[Any]], what: Sequence[Any]) -> list[Any]:
            if alone:
                return [ask([each])[0] for each in what]
            return ask(list(what)[::-1])[::-1] if turned else ask(list(what))

        made: list[Any] = []
        if "loglikelihood" in self.can:
            scored = asked(self._score, _PROMPTS)
            made += [item for some in scored for item in some]
        if "generate" in self.can:
            made += asked(self.engine.generate, self.requests())
        return made

    def requests(self, *, adapted: bool = False) -> list[Request]:
        """Return a greedy and a sampled request for each prompt, with adapters if `adapted`."""
        drawn = Sampling(temperature=0.9, top_p=0.95, max_tokens=_TOKENS)
        asked = [
            Request(prompt, sampling, seed)
            for seed, prompt in enumerate(_PROMPTS)
            for sampling in (Sampling.greedy(_TOKENS), drawn)
        ]
        if not adapted:
            return asked
        return [replace(each, adapter=self.adapters[each.seed]) for each in asked]

    def work(self) -> list[Any]:
        """Return a few results of each of loglikelihood, generate and train that it announces."""
        made: list[Any] = []
        if "loglikelihood" in self.can:
            made += self._score(_PROMPTS[:1])
        if "generate" in self.can:
            made += self.engine.generate(self.requests()[:2])
        return made + (self.engine.train(jobs()[:1]) if "train" in self.can else [])

    def _score(self, prompts: Sequence[Prompt]) -> list[Any]:
        return list(self.engine.loglikelihoods(prompts, [_NAMES] * len(prompts)))


def jobs(**changed: Any) -> list[TrainJob]:
    recipe = replace(_RECIPE, **changed)
    return [
        TrainJob(f"fake/{at}", ((prompt, f"The answer is {at}."),), recipe, seed=at)
        for at, prompt in enumerate(_PROMPTS)
    ]


# ---------------------------------------------------------------- the checks


def announced_methods_work(subject: Subject) -> None:
    bench = loaded(subject)
    if "loglikelihood" in bench.can:
        check_likelihoods(bench.engine.loglikelihoods(_PROMPTS, [_NAMES, _NAMES[:1]]))
    if "generate" in bench.can:
        requests = bench.requests()
        check_generations(requests, bench.engine.generate(requests))
    if "train" in bench.can:
        check_adapters(jobs(), bench.adapters)
    if {Can.TRAIN, Can.ACTIVATED} <= bench.can:
        bench.engine.train(jobs(active_from="user_turn")[:1])
    if {Can.TRAIN, Can.RECIPES} <= bench.can:
        others = [
            replace(job, weights=(0.5,), prompt_loss=0.1, held_out=job.pairs, keep="best")
            for job in jobs(optimizer="sgd", normalised=True)
        ]
        check_adapters(others, bench.engine.train(others))
    if {Can.TRAIN, Can.ADAPTERS, Can.GENERATE} <= bench.can:
        requests = bench.requests(adapted=True)
        check_generations(requests, bench.engine.generate(requests))
    if {Can.GRAMMAR, Can.GENERATE} <= bench.can:
        _check_grammar(bench.engine)


def others_are_refused(subject: Subject) -> None:
    engine = loaded(subject).engine
    lacking = ALL_NEEDS - engine.capabilities
    if not lacking:
        raise NotApplicable("it announces all capabilities")
    for capability in sorted(lacking):
        try:
            _ASKING[capability](engine)
        except TtsiError:
            continue
        except Exception as error:  # an error of any other type breaks the contract
            told = f"{type(error).__name__}: {error}"
            require(False, f"{capability}, which it does not announce, raised {told}")
        require(False, f"{capability}, which it does not announce, was done all the same")


def determinism(subject: Subject) -> None:
    bench = loaded(subject)
    _same(bench.settled, bench.answers(), "asked twice")
    if "train" in bench.can:
        one, other = (bench.engine.train(jobs()[:1])[0] for _ in range(2))
        told = f"the same job gave the adapters {one.digest} and {other.digest}"
        require(one.digest == other.digest, told)


def wave_invariance(subject: Subject) -> None:
    bench = loaded(subject)
    _same(bench.settled, bench.answers(alone=True), "all together and one at a time")
    _same(bench.settled, bench.answers(turned=True), "in order and in reverse")


def adapters_leave_no_trace(subject: Subject) -> None:
    bench = loaded(subject)
    if not {Can.TRAIN, Can.ADAPTERS, Can.GENERATE} <= bench.can:
        raise NotApplicable("it does not train adapters and generate under them")
    bench.engine.generate(bench.requests(adapted=True))
    _same(bench.pristine, bench.answers(), "before and after the use of adapters")
    now = bench.engine.digest()
    require(bench.digest == now, f"the weights' digest was {bench.digest}, and then {now}")


def identity_is_what_was_loaded(subject: Subject) -> None:
    bench = loaded(subject)
    said = bench.identity
    lacking = [key for key in ENGINE_IDENTITY if not isinstance(said, Mapping) or key not in said]
    require(not lacking, f"identity() has no {', '.join(lacking)}")
    try:
        again = json.loads(json.dumps(said, allow_nan=False))
    except (TypeError, ValueError) as error:
        require(False, f"identity() is not JSON: {error}")
    require(again == said, f"identity() is not JSON: it is read back as {again}")
    told = f"identity() has the weights' digest {said['weights_digest']}, digest() {bench.digest}"
    require(said["weights_digest"] == bench.digest, told)
    for key in ("tokenizer_digest", "dtype", "device"):
        require(isinstance(said[key], str) and said[key], f"identity() has {key} {said[key]!r}")
    bench.work()
    _same_identity(said, bench.engine.identity(), "before and after it was put to work")
    other = subject.make()
    try:
        other.load()
        _same_identity(said, other.identity(), "of two instances")
    finally:
        other.close()


def _same_identity(one: Any, other: Any, when: str) -> None:
    # The check `adapters` compares the weights.
    found = differences({**one, "weights_digest": ""}, {**other, "weights_digest": ""})
    told = [f"{key} {old}, then {new}" for key, old, new in found]
    require(not told, f"identity() differs {when}: {'; '.join(told)}")


def forgotten_is_as_loaded(subject: Subject) -> None:
    """Check that answers after forget() are those after loading: leftovers would change sums."""
    engine = subject.make()
    try:
        engine.load()
        first = Bench(engine)
        first.work()
        first.answers(turned=True)
        engine.forget()
        now = first.answers()
        told = [f"{a} and then {b}" for a, b in zip(first.pristine, now, strict=True) if a != b]
        require(not told, f"after load, and after forget(), it gave {'; '.join(told[:1])}")
    finally:
        engine.close()


def errors_are_of_the_right_type(subject: Subject) -> None:
    missing = {"id": "/no/such/folder/of/a/model"}
    absent = Subject(
        subject.kind, subject.name, subject.plugin, {**subject.options, "model": missing}
    )
    try:
        absent.make().load()
    except MissingAsset:
        pass
    except Exception as error:  # an error of any other type breaks the contract
        told = f"{type(error).__name__}: {str(error)[:200]}"
        require(False, f"a model that is not there raised {told}, not MissingAsset")
    else:
        require(False, "a model that is not there was loaded")
    if "generate" not in loaded(subject).can:
        return
    endless = Request(_PROMPTS[0], Sampling.greedy(10**9), 0)
    try:
        loaded(subject).engine.generate([endless])
    except EngineError:
        return
    except Exception as error:  # as above
        told = f"{type(error).__name__}: {str(error)[:200]}"
        require(False, f"a request longer than any model's context raised {told}, not EngineError")


def close_can_be_repeated(subject: Subject) -> None:
    engine = subject.make()
    engine.close()
    engine.close()
    loaded(subject).engine.close()
    loaded(subject).engine.close()


# ---------------------------------------------------------------- what is looked at


def _same(one: Sequence[Any], other: Sequence[Any], when: str) -> None:
    for left, right in zip(one, other, strict=True):
        close = math.isclose(left.logprob, right.logprob, rel_tol=ROUNDING, abs_tol=ROUNDING)
        texts = [getattr(each, "text", "") for each in (left, right)]
        require(close and texts[0] == texts[1], f"{when}, it gave {left} and {right}")


def _check_grammar(engine: Any) -> None:
    from jsonschema import Draft202012Validator

    ask = Prompt((Message("system", "Write JSON."), Message("user", "A colour and a count.")))
    sampling = Sampling.greedy(48)
    (made,) = engine.generate([Request(ask, sampling, 0, grammar=_GRAMMAR)])
    if made.finish == "length":
        return
    try:
        value = json.loads(made.text)
    except ValueError:
        value = None
    valid = Draft202012Validator(_GRAMMAR).is_valid(value)
    require(valid, f"what it wrote under a grammar is not valid for it: {made.text!r}")


def _ask_grammar(engine: Any) -> None:
    engine.generate([Request(_PROMPTS[0], Sampling.greedy(4), 0, grammar={"type": "boolean"})])


def _ask_adapter(engine: Any) -> None:
    adapter = Adapter(b"", {"peft_type": "LORA", "r": 1})
    engine.generate([Request(_PROMPTS[0], Sampling.greedy(4), 0, adapter=adapter)])


_ASKING: dict[str, Callable[[Any], object]] = {
    "activated": lambda engine: engine.train(jobs(active_from="user_turn")[:1]),
    "adapters": _ask_adapter,
    "generate": lambda engine: engine.generate([Request(_PROMPTS[0], Sampling.greedy(4), 0)]),
    "grammar": _ask_grammar,
    "loglikelihood": lambda engine: engine.loglikelihoods(_PROMPTS[:1], [_NAMES]),
    "recipes": lambda engine: engine.train(jobs(optimizer="sgd")[:1]),
    "train": lambda engine: engine.train(jobs()[:1]),
}

CHECKS = (
    Check(
        "capabilities",
        "A spec is accepted by what the engine announces, so that has to work.",
        announced_methods_work,
    ),
    Check(
        "refusals",
        "What is not announced and asked for all the same is refused by a ttsi error.",
        others_are_refused,
    ),
    Check("determinism", "The same request with the same seed has the same answer.", determinism),
    Check(
        "wave",
        "What else is in a batch, and in what order, changes the speed and not the answers.",
        wave_invariance,
    ),
    Check(
        "adapters",
        "An adaptation is for one request: the base weights are what they were before.",
        adapters_leave_no_trace,
    ),
    Check(
        "identity",
        "A run goes on with the engine that it was begun with, and with no other.",
        identity_is_what_was_loaded,
    ),
    Check(
        "forget",
        "Seeds share a loaded model, and each has the results of a process of its own.",
        forgotten_is_as_loaded,
    ),
    Check(
        "errors",
        "MissingAsset tells what to install; EngineError costs a sample, any other the run.",
        errors_are_of_the_right_type,
    ),
    Check(
        "close",
        "A run closes its engine once, and a failing one perhaps twice.",
        close_can_be_repeated,
    ),
)
