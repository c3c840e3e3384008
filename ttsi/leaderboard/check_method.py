"""Checks of records against the spec's method: H's estimates, G's examples, T's receipts.

The results of ttsi's own plugins are computed again from the definitions, not by the plugins' code.
For a third party's plugin, only what holds for every method is checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ttsi.answers import form_of
from ttsi.answers.objects import find_object
from ttsi.digests import draw_seed, json_digest
from ttsi.leaderboard.check_records import Case
from ttsi.leaderboard.faults import Fault, shown
from ttsi.leaderboard.publishing import is_withheld, parts, repeats
from ttsi.leaderboard.submission import Seed
from ttsi.records.journal import SAMPLES
from ttsi.records.lines import whole_task
from ttsi.solving.budget import share_out
from ttsi.types import Answer, Demonstrations, Example

_WITH_THRESHOLD = (
    "rss_margin",
    "entropy",
    "mutual_information",
    "perplexity",
    "self_consistency",
    "call_agreement",
    "call_likelihood",
    "call_support",
)
_OF_NAMES = ("rss_margin", "entropy", "mutual_information")
_KINDS = {"lora_sft": "lora", "sft": "lora", "icl": "demonstrations", "icl_train": "demonstrations"}
_WITHOUT_EXAMPLES = ("sft", "icl_train", "nearest")
NO_CALLS = Answer.of([])
"""The answer to a request that no tool serves, which `evidence` may make examples of."""
_GENERATORS = ("self", "teacher", "evidence")


def method_faults(case: Case) -> Iterator[Fault]:
    """Yield the faults of one record's estimate (H), examples (G) and receipt (T)."""
    if case.record.error:
        return
    yield from _estimate(case)
    for at, example in enumerate(case.record.examples):
        yield from _example(case, at, example)
    yield from _examples(case)
    if case.record.receipt is not None:
        yield from _receipt(case, case.record.receipt)


def seed_faults(seed: Seed) -> Iterator[Fault]:
    """Yield the faults that show only in all records of a seed: the budget, a shared adapter."""
    where = f"{seed.name}/{SAMPLES}"
    budget = seed.spec["budget"]
    if budget is not None and not any(record.error for record in seed.records):
        chosen = share_out(seed.records, budget)
        wrong = [r.id for r in seed.records if r.id in chosen and chosen[r.id] != r]
        if wrong:
            what = f"not the least confident {budget:.0%} are uncertain; first {wrong[0]}."
            yield Fault("estimate", where, what, "Restore the estimates from the run.")
    receipts = [each["receipt"] for each in parts(seed.rows) if each["receipt"] is not None]
    shared = seed.spec["learner"]["name"] == "sft"
    if shared and len({(each["digest"], each.get("source")) for each in receipts}) > 1:
        what = "sft trains one adapter for all samples, and the receipts name several."
        yield Fault("receipt", where, what, "Restore the receipts from the run.")


# ---------------------------------------------------------------- H


def _estimate(case: Case) -> Iterator[Fault]:
    estimate = case.record.estimate
    if estimate is None:
        return
    name = case.spec["estimator"]["name"]
    if not _scores_fit(case, list(estimate.scores)):
        yield case.fault("estimate", f"the scores are not of the names that {name} scores.")
        return
    expected = _confidence(case, estimate.scores)
    if expected is not None and not math.isclose(
        expected, estimate.confidence, rel_tol=1e-9, abs_tol=1e-9
    ):
        what = f"{name} makes a confidence of {expected:.6g} here, not {estimate.confidence:.6g}."
        yield case.fault("estimate", what)
    threshold = _threshold(case)
    if threshold is None and name in _WITH_THRESHOLD and case.spec["budget"] is None:
        yield case.fault("estimate", f"the spec does not say the threshold of {name}.")
    if threshold is not None and estimate.uncertain != (estimate.confidence < threshold):
        word = "uncertain" if estimate.uncertain else "certain"
        what = f"a confidence of {estimate.confidence:.6g} is {word}; the threshold is {threshold}."
        yield case.fault("estimate", what)


def _threshold(case: Case) -> float | None:
    """Return the confidence below which a sample is uncertain, or None where it is not known."""
    name = case.spec["estimator"]["name"]
    if case.spec["budget"] is not None:
        return None
    if name in ("always", "never"):
        return 0.5
    found = case.option("estimator", "rate" if name == "random" else "threshold")
    return found if name in (*_WITH_THRESHOLD, "random") and _is_number(found) else None


def _confidence(case: Case, scores: Mapping[str, float]) -> float | None:
    """Return u computed from the stored scores or the seed, or None where that is impossible."""
    name, values = case.spec["estimator"]["name"], list(scores.values())
    if name in ("always", "never"):
        return 0.0 if name == "always" else 1.0
    if name == "random":
        return draw_seed(case.record.seed, case.record.id, "estimate") / 2**63
    made = {"rss_margin": _margin, "entropy": _one_less_evenness}.get(name)
    return made(values) if made and len(scores) == len(_candidates(case)) else None


def _candidates(case: Case) -> tuple[str, ...]:
    decline = bool(case.option("estimator", "no_call_candidate"))
    task = case.sample.task
    found = form_of(task).candidates(task, "bare", decline=decline)
    return found.names if found else ()


def _scores_fit(case: Case, names: Sequence[str]) -> bool:
    """Return whether the scores are for the task's candidates, each name once and in order."""
    if case.spec["estimator"]["name"] not in _OF_NAMES:
        return True
    return list(names) == list(dict.fromkeys(_candidates(case)))


def _margin(values: Sequence[float]) -> float:
    """Return p(1) - p(2), the two largest of p = softmax(values) (Eq. 3, 4); 1 for one value."""
    first, second = sorted(_softmax(values), reverse=True)[:2] if len(values) > 1 else (1.0, 0.0)
    return first - second


def _one_less_evenness(values: Sequence[float]) -> float:
    """Return 1 - H(p) / log n with p = softmax(values), n values; 1 for fewer than two."""
    if len(values) < 2:
        return 1.0
    return 1 + math.fsum(p * math.log(p) for p in _softmax(values) if p > 0) / math.log(len(values))


def _softmax(values: Sequence[float]) -> list[float]:
    top = max(values)
    weights = [math.exp(value - top) for value in values]
    whole = math.fsum(weights)
    return [weight / whole for weight in weights]


# ---------------------------------------------------------------- G


def _examples(case: Case) -> Iterator[Fault]:
    """Yield faults in the number of examples, and where the receipt lists other ones."""
    record, name = case.record, case.spec["generator"]["name"]
    digests = [example["digest"] for example in case.row["examples"]]
    if record.receipt is not None and list(record.receipt["examples"]) != digests:
        yield case.fault("receipt", "the receipt is of other examples than those stored.")
    most = case.option("generator", "samples")
    if name in _GENERATORS and not (_is_number(most) and len(digests) <= most):
        yield case.fault("example", f"has {len(digests)} examples; the spec asks for {most}.")
    learner = case.spec["learner"]["name"]
    if _kind(case) and record.receipt and bool(digests) == (learner in _WITHOUT_EXAMPLES):
        word = "with" if digests else "without"
        yield case.fault("example", f"{learner} was adapted {word} examples.")


def _example(case: Case, at: int, example: Example) -> Iterator[Fault]:
    stored, task, builtin = (
        case.row["examples"][at],
        case.sample.task,
        case.spec["generator"]["name"] in _GENERATORS,
    )
    most = case.option("generator", "attempts")
    if builtin and not (_is_number(most) and example.attempts <= most):
        yield case.fault("example", f"took {example.attempts} attempts; the spec allows {most}.")
    if is_withheld(stored):
        return
    if stored["digest"] != example.digest:
        yield case.fault("example", f"example {at} is not what its digest says.")
    if repeats(stored["input"], task) or repeats(stored["text"], task):
        what = f"example {at} repeats a piece of the benchmark, which is not published."
        cure = "Submit with `ttsi leaderboard submit`, which withholds it."
        yield case.fault("benchmark-text", what, cure)
    if builtin and not _is_read_from_text(case, example):
        yield case.fault("example", f"example {at} is not what its text says.")
    if example.answer == NO_CALLS and case.option("generator", "no_call"):
        return
    if builtin and form_of(task).faults(whole_task(example, task), example.answer):
        yield case.fault("example", f"example {at} has an answer that its task does not allow.")


def _is_read_from_text(case: Case, example: Example) -> bool:
    made = find_object(example.text, ("input", "output"))
    if made is None or not isinstance(made["input"], str):
        return False
    task = whole_task(example, case.sample.task)
    again = NO_CALLS if made["output"] == [] else form_of(task).read(task, made["output"])
    stored = example.answer
    same = json_digest([again.value, again.work]) == json_digest([stored.value, stored.work])
    return same and made["input"].strip() == example.task.input


# ---------------------------------------------------------------- T


def _receipt(case: Case, receipt: Mapping[str, Any]) -> Iterator[Fault]:
    name, kind = case.spec["learner"]["name"], _kind(case)
    if receipt["kind"] != (kind or receipt["kind"]):
        yield case.fault("receipt", f"{name} does not make {receipt['kind']}.")
    steps = receipt.get("steps")
    for key in ("losses", "learning_rates"):
        if key in receipt and len(receipt[key]) != steps:
            what = f"has {len(receipt[key])} {key.replace('_', ' ')} for {steps} steps."
            yield case.fault("receipt", what)
    if "gate" in receipt and case.spec["inference"]["name"] == "gated":
        yield from _gate(case, receipt["gate"])
    if name == "lora_sft":
        yield from _training(case, receipt)
    if name == "icl" and not any(map(is_withheld, case.row["examples"])):
        yield from _demonstrations(case, receipt)
    config = receipt.get("config", {})
    for key, said in (
        ("r", case.option("learner", "rank")),
        ("lora_alpha", case.option("learner", "alpha")),
        ("lora_dropout", case.option("learner", "dropout")),
        ("base_model_name_or_path", case.spec["model"]["id"]),
    ):
        if kind and key in config and config[key] != said:
            what = f"the adapter's {key} is {shown(config[key])}; the spec says {shown(said)}."
            yield case.fault("receipt", what)


def _kind(case: Case) -> str | None:
    """Return the kind of adaptation that the spec's learner makes; None of a third party's."""
    name = case.spec["learner"]["name"]
    if name == "nearest":
        return "lora" if case.option("learner", "mode") == "pairs" else "demonstrations"
    return _KINDS.get(name)


def _gate(case: Case, gate: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a fault where the verdict is not what its own values and the spec's margin say."""
    better, margin = gate["adapted"] - gate["base"], case.option("inference", "margin")
    if gate["by"] != case.option("inference", "by") or gate["kept"] != (better > margin):
        what = f"the gate's verdict {shown(dict(gate))} is not what its values say."
        yield case.fault("receipt", what)


def _training(case: Case, receipt: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield faults in the number of training steps and their learning rates (F.3)."""
    epochs, peak, ratio = (
        case.option("learner", name) for name in ("epochs", "learning_rate", "warmup_ratio")
    )
    said, steps = receipt.get("learning_rates"), receipt.get("steps")
    examples = len(case.record.examples)
    if said is None or "losses" not in receipt:
        yield case.fault("receipt", "has no losses or no learning rates.")
    elif not all(map(_is_number, (epochs, peak, ratio))):
        yield case.fault("receipt", "the spec does not say by what recipe it was trained.")
    elif steps != epochs * max(1, examples - (case.option("learner", "held_out") or 0)):
        yield case.fault("receipt", f"says {steps} steps, which the recipe does not take.")
    elif len(said) == steps:
        rates = learning_rates(steps, peak, ratio)
        for step in [at for at in range(steps) if not _close(said[at], rates[at])][:1]:
            what = f"the learning rate of step {step} is {said[step]:g}, not {rates[step]:g}."
            yield case.fault("receipt", what)


def learning_rates(steps: int, peak: float, warmup_ratio: float) -> list[float]:
    """Return the learning rate of each of `steps` steps.

    It rises linearly from 0 over ceil(warmup_ratio * steps) steps, then falls along half a cosine,
    which reaches 0 after the last step.
    """
    warmup = math.ceil(min(warmup_ratio, 1) * steps)
    rising = [peak * step / warmup for step in range(warmup)]
    left = steps - warmup
    return rising + [peak * 0.5 * (1 + math.cos(math.pi * step / left)) for step in range(left)]


def _demonstrations(case: Case, receipt: Mapping[str, Any]) -> Iterator[Fault]:
    base, target = case.record.base, case.option("learner", "target")
    if base is None and target == "as_answered":
        # What the base model answered to a step of an episode is not kept.
        return
    if case.sample.task.bare is not None and target == "tool_call":
        # Written by the model's chat template, which is not at hand here.
        return
    like = base.text if base is not None and target == "as_answered" else None
    task = case.sample.task
    wholes = [(whole_task(each, task), each.answer) for each in case.record.examples]
    shown = [(each.said, form_of(task).write(each, answer, like)) for each, answer in wholes]
    if receipt["digest"] != Demonstrations.of(shown).digest:
        yield case.fault("receipt", "the demonstrations are not made of the stored examples.")


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-15)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
