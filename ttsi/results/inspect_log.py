"""Write a run as a log of Inspect, so that `inspect view` and its data frames read it.

A seed is an epoch, and a sample has two scores: `base`, where the unadapted model answered, and
`final`. Texts of the benchmark's samples are read from the benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from ttsi._common.files import storage, writing
from ttsi.errors import MissingAsset
from ttsi.results.runs import Run, SeedRun, known_samples, open_run, run_name
from ttsi.results.table import COLUMNS, Source, examples, receipts, row, shown, writable
from ttsi.types import AnswerStatus, Completion, Message, Record, Sample, Score

_EPOCH = "1970-01-01T00:00:00+00:00"
_SCORES = ("final", "base")
# Columns that have a place of their own in the log.
_ELSEWHERE = ("run", "benchmark", "model", "id", "error", "final_text", "final_detail")


def write_inspect(folder: Path, path: Path) -> str:
    """Write the log of a run and return why it has no requests and references, or "".

    Raises MissingAsset where inspect_ai is not installed.
    """
    if find_spec("inspect_ai") is None:
        what = "A log of Inspect needs the package inspect-ai, which is not installed."
        raise MissingAsset(what, cure="pip install 'ttsi[inspect]', or --to csv")
    from inspect_ai.log import write_eval_log

    run = open_run(folder)
    samples, trouble = known_samples(run)
    log = _log(run, samples or {})
    with storage(path), TemporaryDirectory() as place:
        made = Path(place) / "log.eval"
        write_eval_log(log, made)
        data = made.read_bytes()
    with writing(path) as file:
        file.write(data)
    return trouble


def _log(run: Run, samples: Mapping[str, Sample]) -> Any:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalResults, EvalSpec, EvalStats

    spec = _clean(run.spec)
    model, benchmark = spec["model"]["id"], spec["benchmark"]["name"]
    name = writable(run_name(run.folder))
    source = partial(Source, run=name, benchmark=benchmark, model=model)
    epochs = enumerate(run.seeds, start=1)
    made = [
        _sample(source(record), epoch, samples.get(record.id))
        for epoch, seed in epochs
        for record in seed.records
    ]
    ids = list(dict.fromkeys(sample.id for sample in made))
    started, finished = _times(run)
    return EvalLog(
        status="success" if all(seed.complete for seed in run.seeds) else "cancelled",
        eval=EvalSpec(
            created=started,
            task=spec["name"],
            task_id=name,
            run_id=name,
            eval_id=name,
            task_args=spec,
            dataset=EvalDataset(name=benchmark, samples=len(ids), sample_ids=ids),
            model=model,
            config=EvalConfig(epochs=len(run.seeds)),
            packages={"ttsi": writable(str(run.environment.get("ttsi")))},
            metadata={"seeds": [seed.seed for seed in run.seeds]},
        ),
        results=EvalResults(
            total_samples=len(made),
            completed_samples=sum(sample.error is None for sample in made),
            scores=[each for of in _SCORES if (each := _summary(run, of)) is not None],
        ),
        stats=EvalStats(
            started_at=started, completed_at=finished, model_usage={model: _sum_of_usage(made)}
        ),
        samples=made,
    )


def _times(run: Run) -> tuple[str, str]:
    """Return when the run began and ended, as far as its sessions say."""
    begun = _time((run.sessions[0] if run.sessions else {}).get("started"), _EPOCH)
    return begun, _time(run.environment.get("finished"), begun)


def _time(said: Any, otherwise: str) -> str:
    """Return a time that a file says, or `otherwise` if it says anything else."""
    try:
        return datetime.fromisoformat(said).astimezone(UTC).isoformat()
    except (TypeError, ValueError, OverflowError):
        return otherwise


def _summary(run: Run, name: str) -> Any:
    """Return the accuracy over the seeds; None for a base model that did not answer every one."""
    from inspect_ai.log import EvalMetric, EvalScore

    outcomes = [_outcome(seed, name) for seed in run.seeds]
    if not all(outcome and outcome["accuracy"] is not None for outcome in outcomes):
        return None
    accuracy = fmean(outcome["accuracy"] for outcome in outcomes)
    return EvalScore(
        name=name,
        scorer=name,
        reducer="mean" if len(outcomes) > 1 else None,
        params={"scorer": run.spec["scorer"]["name"]},
        scored_samples=sum(outcome["samples"] - outcome["errors"] for outcome in outcomes),
        unscored_samples=sum(outcome["errors"] for outcome in outcomes),
        metrics={"accuracy": EvalMetric(name="accuracy", value=accuracy)},
    )


def _outcome(seed: SeedRun, name: str) -> Any:
    return seed.results if name == "final" else seed.results["base"]


# ---------------------------------------------------------------- samples


def _sample(source: Source, epoch: int, sample: Sample | None) -> Any:
    from inspect_ai.log import EvalError, EvalSample
    from inspect_ai.model import ModelOutput

    record = source.record
    if sample is not None and sample.digest != record.digest:
        sample = None
    cells = dict(zip((column.name for column in COLUMNS), row(source), strict=True))
    asked, error = _asked(sample), None
    if record.error:
        error = EvalError(message=cells["error"], traceback="", traceback_ansi="")
    output = ModelOutput.from_content(source.model, cells["final_text"] or "")
    output.usage = _usage(record)
    return EvalSample(
        id=cells["id"],
        epoch=epoch,
        input=asked or "(the benchmark no longer has this sample)",
        target=_target(sample),
        messages=[*asked, *_answered(record, bool(asked))],
        output=output,
        scores={
            name: _score(score, answer)
            for name, score, answer in (
                ("final", record.final_score, record.final),
                ("base", record.base_score, record.base),
            )
            if score is not None and answer is not None
        },
        metadata=_metadata(record, cells),
        model_usage={source.model: _usage(record)},
        total_time=cells["seconds"],
        error=error,
    )


def _asked(sample: Sample | None) -> list[Any]:
    """Return the turns that the sample begins with, as Inspect's messages."""
    return _messages(sample.task.messages if sample else ())


def _messages(turns: Sequence[Message]) -> list[Any]:
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageTool,
        ChatMessageUser,
    )

    kinds: dict[str, Any] = {
        "system": ChatMessageSystem,
        "user": ChatMessageUser,
        "assistant": ChatMessageAssistant,
        "tool": ChatMessageTool,
    }
    return [kinds[turn.role](content=writable(turn.content)) for turn in turns]


def _answered(record: Record, begun: bool) -> list[Any]:
    """Return the answer, or an episode's steps; `begun`: what was said first is known already."""
    from inspect_ai.model import ChatMessageAssistant

    turns: list[Any] = []
    for number, step in enumerate(record.steps):
        if number or not begun:
            turns += _messages(step.said)
        turns.append(ChatMessageAssistant(content=writable(step.answer.text)))
    if record.final and not turns:
        turns.append(ChatMessageAssistant(content=writable(record.final.text)))
    return turns


def _target(sample: Sample | None) -> str:
    if sample is None or sample.reference.status is not AnswerStatus.OK:
        return ""
    return writable(shown(Completion("", sample.reference)) or "")


def _score(score: Score, completion: Completion) -> Any:
    from inspect_ai.scorer import CORRECT, INCORRECT
    from inspect_ai.scorer import Score as InspectScore

    return InspectScore(
        value=CORRECT if score.correct else INCORRECT,
        answer=writable(shown(completion) or completion.answer.status.value),
        explanation=writable(": ".join(filter(None, (score.reason, score.detail)))) or None,
    )


def _metadata(record: Record, cells: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: cell for name, cell in cells.items() if cell is not None}
    for name in _ELSEWHERE:
        told.pop(name, None)
    more: dict[str, Any] = {
        "synthetic": [
            {"input": each.task.input, "answer": each.answer.value} for each in examples(record)
        ],
        "receipts": receipts(record),
    }
    return told | {name: _clean(some) for name, some in more.items() if some}


def _clean(value: Any) -> Any:
    """Return a JSON value with all its texts `writable`."""
    if isinstance(value, str):
        return writable(value)
    if isinstance(value, Mapping):
        return {writable(key): _clean(each) for key, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list | tuple) else value


def _usage(record: Record) -> Any:
    from inspect_ai.model import ModelUsage

    costs = record.costs.values()
    read = round(sum(cost.prompt_tokens for cost in costs))
    written = round(sum(cost.completion_tokens for cost in costs))
    return ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written)


def _sum_of_usage(samples: list[Any]) -> Any:
    from inspect_ai.model import ModelUsage

    used = [usage for sample in samples for usage in sample.model_usage.values()]
    return sum(used, ModelUsage())
