"""Show what the model reads for one sample, at every stage of Algorithm 1.

The stages run for real, through the pipeline of a run, and a recorder in front of the engine keeps
their calls. If the engine can render its input (`ttsi.optional.Renders`), the rendered text is
shown, otherwise only the messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from ttsi._common.suggest import did_you_mean
from ttsi.digests import json_digest
from ttsi.errors import UsageError
from ttsi.optional import HasTemplate, Renders
from ttsi.protocols import Engine, Watcher
from ttsi.solving import assemble
from ttsi.solving.metering import MeteredEngine, hearing
from ttsi.solving.pipeline import Pipeline
from ttsi.solving.solution import Known, Solution
from ttsi.spec import Spec
from ttsi.types import (
    JSON,
    Adapter,
    Generation,
    Likelihood,
    Message,
    Prompt,
    Rendered,
    Request,
    Task,
    TrainJob,
)


@dataclass(frozen=True)
class Call:
    """One call of a stage to the engine, or to a model outside it, with its result."""

    stage: str
    kind: Literal["score", "generate", "train", "outside"]
    prompt: Prompt
    texts: Sequence[str] = ()
    likelihoods: Sequence[Likelihood] = ()
    request: Request | None = None
    generation: Generation | None = None
    job: TrainJob | None = None


class Recorder(MeteredEngine):
    """An engine that records its calls. As the pipeline's watcher it also knows the stage."""

    def __init__(self, engine: Engine, watcher: Watcher | None) -> None:
        super().__init__(engine)
        self._watcher = watcher
        self.stage = ""
        self.asked: list[Call] = []

    def plan(self, stage: str, count: int) -> None:
        self.stage = stage
        if self._watcher is not None:
            self._watcher.plan(stage, count)

    def advance(self, stage: str, count: float) -> None:
        if self._watcher is not None:
            self._watcher.advance(stage, count)

    def loglikelihoods(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[Likelihood]]:
        found = super().loglikelihoods(prompts, continuations)
        for prompt, texts, some in zip(prompts, continuations, found, strict=True):
            self.asked.append(Call(self.stage, "score", prompt, texts, some))
        return found

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        made = super().generate(requests)
        for request, one in zip(requests, made, strict=True):
            call = Call(self.stage, "generate", request.prompt, request=request, generation=one)
            self.asked.append(call)
        return made

    def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
        made = super().train(jobs)
        for job in jobs:
            for prompt, target in job.pairs:
                self.asked.append(Call(self.stage, "train", prompt, (target,), job=job))
        return made

    def outside(self, messages: Sequence[Message]) -> None:
        """Record a stage's question to a model outside the engine."""
        self.asked.append(Call(self.stage, "outside", Prompt(tuple(messages))))


def shown(
    spec: Spec,
    sample: str | None = None,
    *,
    all_stages: bool = False,
    watcher: Watcher | None = None,
) -> dict[str, JSON]:
    """Run Algorithm 1 on one sample (None: the first) and report what the model was shown.

    With `all_stages` a certain sample is adapted as well. Raises UsageError if there is no such
    sample, and whatever the engine raises when it is loaded.
    """
    assemble.check(spec)
    chosen = _choose(spec, sample)
    engine, seed = assemble.engine(spec), spec.seeds[0]
    recorder = Recorder(engine, watcher)
    # With a budget the whole run decides which samples are adapted; here this one always is.
    forced = all_stages or spec.budget is not None
    try:
        assemble.load(engine, watcher)
        solution, forced = _run(spec, recorder, chosen, seed, forced)
        found = _Account(engine).tell(recorder.asked)
        about = engine.describe()
    finally:
        engine.close()
    estimate = solution.estimate
    return {
        "name": spec.name,
        "cell": dict(spec.cell),
        "sample": chosen.id,
        "seed": seed,
        "model": spec.model["id"],
        "engine": about,
        "confidence": None if estimate is None else estimate.confidence,
        "uncertain": None if estimate is None else estimate.uncertain and not forced,
        "adapted": solution.adapted is not None,
        "forced": forced,
        "note": solution.note,
        "error": solution.error,
        "rejected": [asdict(each) for each in solution.rejected.kept],
        **found,
    }


def templates(spec: Spec, sample: str | None = None) -> dict[str, JSON]:
    """Return the templates that are in force for one sample (None: the first), by their spec key.

    No model is loaded. A plugin that has no template is left out.
    """
    assemble.check(spec)
    task = _choose(spec, sample)
    plugins = {
        "benchmark.instruction": assemble.benchmark(spec),
        "generator.template": assemble.stages(spec).generator,
    }
    found = {
        key: plugin.template_for(task)
        for key, plugin in plugins.items()
        if isinstance(plugin, HasTemplate)
    }
    return {"name": spec.name, "sample": task.id, "templates": found}


def _choose(spec: Spec, name: str | None) -> Task:
    samples = {sample.id: sample.task for sample in assemble.benchmark(spec).samples()}
    where = f"benchmark {spec.benchmark.name}, with the spec's options"
    if not samples:
        raise UsageError("There are no samples.", where=where, cure="Raise benchmark.limit.")
    if name is None:
        return next(iter(samples.values()))
    if name not in samples:
        cure = did_you_mean(name, samples, noun="samples")
        raise UsageError(f"There is no sample {name!r}.", where=where, cure=cure)
    return samples[name]


def _run(
    spec: Spec, recorder: Recorder, task: Task, seed: int, forced: bool
) -> tuple[Solution, bool]:
    """Return the task's solution, and whether it was adapted although it is certain."""
    parts = assemble.stages(spec)

    def once(known: Mapping[str, Known]) -> Solution:
        pipeline = Pipeline(parts, recorder, seed=seed, baseline=spec.baseline, watcher=recorder)
        with hearing(recorder.outside):
            (solution,) = pipeline.solve([task], known)
        return solution

    solution = once({})
    estimate = solution.estimate
    if not forced or estimate is None or estimate.uncertain:
        return solution, False
    # Keep the estimate and the answer, and run only the stages of an uncertain sample.
    uncertain = replace(estimate, uncertain=True)
    return once({task.id: Known(uncertain, solution.base, solution.costs)}), True


# ---------------------------------------------------------------- the report


class _Account:
    """Calls as JSON. Each chat is listed once and numbered, because stages often share one."""

    def __init__(self, engine: Engine) -> None:
        self._renders = engine if isinstance(engine, Renders) else None
        self._numbers: dict[str, int] = {}
        self._chats: list[dict[str, JSON]] = []

    def tell(self, calls: Sequence[Call]) -> dict[str, JSON]:
        stages: dict[str, list[JSON]] = {}
        for call in calls:
            stages.setdefault(call.stage, []).append(self._call(call))
        told = [{"stage": stage, "calls": some} for stage, some in stages.items()]
        return {"rendered": self._renders is not None, "prompts": self._chats, "stages": told}

    def _call(self, call: Call) -> dict[str, JSON]:
        told: dict[str, JSON] = {"kind": call.kind, "prompt": self._number(call)}
        if call.prompt.opening:
            told["opening"] = self._text(call.prompt.opening)
        if call.kind == "score":
            pairs = zip(call.texts, call.likelihoods, strict=True)
            told["continuations"] = [self._text(t) | {"logprob": f.logprob} for t, f in pairs]
        if call.request is not None and call.generation is not None:
            told |= _asked(call.request) | {"answer": _answer(call.generation)}
        if call.job is not None:
            told["target"] = self._text(call.texts[0], end=True)
            told["active_from"] = call.job.recipe.active_from
        return told

    def _number(self, call: Call) -> int:
        """Return the chat's number, from 1."""
        prompt, outside = replace(call.prompt, opening=""), call.kind == "outside"
        chat: dict[str, JSON] = {
            "messages": [{"role": m.role, "content": m.content} for m in prompt.messages]
        }
        if self._renders is not None and not outside:
            chat |= _rendered(self._renders.rendered(prompt))
        # By what is read, so that a thought that a template does not know makes no other chat.
        key = json_digest([outside, chat, [asdict(tool) for tool in prompt.tools]])
        if key not in self._numbers:
            self._chats.append(chat)
            self._numbers[key] = len(self._chats)
        return self._numbers[key]

    def _text(self, text: str, *, end: bool = False) -> dict[str, JSON]:
        told: dict[str, JSON] = {"text": text}
        if self._renders is not None:
            told |= _rendered(self._renders.rendered_text(text, end=end))
        return told


def _rendered(found: Rendered) -> dict[str, JSON]:
    pieces = [{"text": text, "control": control} for text, control in found.pieces]
    return {"pieces": pieces, "tokens": found.tokens}


def _asked(request: Request) -> dict[str, JSON]:
    sampling, adapter = request.sampling, request.adapter
    return {
        "sampling": {name: getattr(sampling, name) for name in sampling.__dataclass_fields__},
        "seed": request.seed,
        "grammar": None if request.grammar is None else dict(request.grammar),
        "adapter": None if adapter is None else adapter.digest,
    }


def _answer(made: Generation) -> dict[str, JSON]:
    return {
        "text": made.text,
        "prompt_tokens": made.prompt_tokens,
        "tokens": made.completion_tokens,
        "finish": made.finish,
    }


def tools_of(grammar: JSON) -> Iterator[str]:
    """Yield the names of the tools that a grammar of calls allows, in order."""
    if isinstance(grammar, Mapping):
        name = grammar.get("properties", {}).get("name", {})
        if isinstance(name, Mapping) and "enum" in name:
            yield from name["enum"]
            return
    values = grammar.values() if isinstance(grammar, Mapping) else grammar
    for value in values if isinstance(grammar, Mapping | list) else ():
        yield from tools_of(value)
