"""Make the adapter of any sample again from its record, as a folder in PEFT's format.

A run discards an adapter after its answer. The record keeps its inputs (the synthetic examples, the
unadapted answer), and the receipt keeps its digest, which identifies the remade adapter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttsi._common.suggest import did_you_mean
from ttsi.errors import CorruptAsset, StorageError, UsageError, VerificationError
from ttsi.records import provenance
from ttsi.records.identity import model_of
from ttsi.results.remaking import Remade, has_adapter, remake
from ttsi.results.runs import Run, SeedRun, run_name
from ttsi.types import JSON, Adapter, Record

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def export(
    run: Run, sample: str, folder: Path, *, seed: int | None = None, allow_mismatch: bool = False
) -> dict[str, JSON]:
    """Write the adapter of `sample` to `folder`, which has to be new or empty.

    Returns the content of receipt.json. `seed` may be omitted if the run has only one. Raises
    UsageError (no such sample, or it has no adapter), VerificationError (the record was changed, or
    the digest differs from the recorded one without `allow_mismatch`), and what the engine raises.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        cure = "Name a new folder for the adapter, or empty this one."
        raise UsageError("The folder is not empty.", where=str(folder), cure=cure)
    found = _seed_run(run, seed)
    record = _adapted(found, sample)
    if not found.identity:
        what = "The run has no identity.json: nothing says what made its records."
        raise CorruptAsset(what, where=str(found.folder), cure="Run its spec again.")
    _check_record(run, found, record)
    remade = remake(run, found, record)
    if not remade.equal and not allow_mismatch:
        raise _mismatch(run, remade)
    receipt = {
        "schema": "ttsi.adapter/1",
        "run": run_name(run.folder),
        "sample": record.id,
        "seed": found.seed,
        "digest": remade.adapter.digest,
        "recorded": remade.recorded.get("digest"),
        "equal": remade.equal,
        "beside": list(remade.beside),
        "losses_apart": remade.losses_apart,
        "model": model_of(run.spec["model"], found.identity),
        "receipt": dict(remade.recorded),
        "environment": provenance.environment({}),
    }
    _write(folder, remade.adapter, receipt)
    return receipt


# ---------------------------------------------------------------- what a record must be


def _seed_run(run: Run, seed: int | None) -> SeedRun:
    seeds = {each.seed: each for each in run.seeds}
    if seed is None and len(seeds) == 1:
        return run.seeds[0]
    if seed in seeds:
        return seeds[seed]
    listed = ", ".join(map(str, seeds))
    what = f"The run has the seeds {listed}." if seed is None else f"The run has no seed {seed}."
    raise UsageError(what, where=str(run.folder), cure=f"--seed N, with N one of {listed}.")


def _adapted(found: SeedRun, sample: str) -> Record:
    """Return the record of `sample`. Raises UsageError if it has no adapter."""
    records = {record.id: record for record in found.records}
    if sample not in records:
        what = f"The run has no sample {sample!r}."
        raise UsageError(
            what, where=str(found.folder), cure=did_you_mean(sample, records, noun="samples")
        )
    record = records[sample]
    if has_adapter(record):
        return record
    if record.error:
        why = f"it ended in an error: {record.error}"
    elif record.receipt is not None:
        why = "it was adapted by demonstrations in its prompt"
    else:
        why = record.note or "the base model was certain and answered it"
    some = [record.id for record in found.records if has_adapter(record)][:5]
    cure = f"Samples with an adapter: {', '.join(some)}." if some else "No sample has one."
    raise UsageError(f"{sample} has no adapter: {why}.", where=str(found.folder), cure=cure)


def _check_record(run: Run, found: SeedRun, record: Record) -> None:
    """Raise VerificationError, naming it, for any part that is not what the adapter was made of."""
    sample = run.samples.get(record.id)
    if sample is None or sample.digest != record.digest:
        what = (
            f"{record.id} is not what it was in the run: prompt, tools, form or reference changed."
        )
        raise _changed(found, what if sample else f"The benchmark has no {record.id} any more.")
    wanted = (record.receipt or {}).get("examples", ())
    if len(wanted) != len(record.examples):
        counts = f"{len(record.examples)} examples, and its receipt {len(wanted)}"
        raise _changed(found, f"The record of {record.id} has {counts}.")
    for example, digest in zip(record.examples, wanted, strict=True):
        if example.digest != digest:
            what = f"The example {example.task.id} was changed after the run: its input or answer."
            raise _changed(found, f"{what} Its digest is {example.digest}, the receipt's {digest}.")


def _changed(found: SeedRun, what: str) -> VerificationError:
    cure = "Get back what the run had, or run its spec again."
    return VerificationError(what, where=str(found.folder), cure=cure)


def _mismatch(run: Run, remade: Remade) -> VerificationError:
    """Report the two digests, the difference of the losses, and what else has changed."""
    now = provenance.environment({})
    differing = [
        f"{key} was {run.environment.get(key)}, is {now[key]}"
        for key in ("ttsi", "python", "processor", "packages")
        if run.environment.get(key) != now[key]
    ]
    apart = remade.losses_apart
    losses = "" if apart is None else f"; its losses differ by {apart:.1g} of their size at most"
    return VerificationError(
        "The adapter was made again, and its bytes are not those of the run. How far its weights "
        f"are apart cannot be known{losses}.",
        where=f"digest {remade.adapter.digest}, recorded {remade.recorded.get('digest')}; "
        + ("; ".join(differing) or "packages and processor are those of the run"),
        cure="Sums are rounded differently by other devices and numbers of threads, in a run that "
        "was resumed, and in waves that were halved. --allow-mismatch writes it as it is.",
    )


# ---------------------------------------------------------------- what is written


def _write(folder: Path, adapter: Adapter, receipt: Mapping[str, JSON]) -> None:
    texts = {
        CONFIG: _pretty(_loadable(adapter.config, receipt["model"])),
        "receipt.json": _pretty(receipt),
        "README.md": _card(adapter, receipt),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS).write_bytes(adapter.safetensors)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        what = f"The adapter cannot be written: {error.strerror or error}."
        cure = "Free some space, or name another folder."
        raise StorageError(what, where=str(folder), cure=cure) from error


def _loadable(config: Mapping[str, JSON], model: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return `config` with a base model that PEFT finds anywhere: a Hub id or absolute path."""
    name = str(model["id"])
    path = Path(name).expanduser()
    if path.exists():
        return {**config, "base_model_name_or_path": str(path.absolute())}
    return {**config, "base_model_name_or_path": name, "revision": model.get("revision")}


def _card(adapter: Adapter, receipt: Mapping[str, JSON]) -> str:
    equal = "the one" if receipt["equal"] else "not the one"
    taught = receipt["receipt"].get("source") or "synthetic examples, for that input alone"
    lines = [
        "# An adapter for one input",
        f"Made by `ttsi export-adapter` from the record of `{receipt['sample']}`, seed "
        f"{receipt['seed']}, of the run `{receipt['run']}`. It was trained on {taught}.",
        f"Its digest is {equal} that the run recorded: `{receipt['digest']}`.",
        f"The base model is `{receipt['model']['id']}`:",
        "```python\npeft.PeftModel.from_pretrained(base_model, THIS_FOLDER)\n```",
    ]
    if adapter.config.get("alora_invocation_tokens"):
        lines.append(
            "It is an activated LoRA (aLoRA): it acts from the last user turn on, not before. "
            "What reads it as plain LoRA gives other answers."
        )
    return "\n\n".join(lines) + "\n"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
