"""Engines and executors that are wrong in one way; see wrong.py."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wrong import fails

from ttsi.errors import RunError
from ttsi.testing import FakeEngine
from ttsi.types import (
    Adapter,
    Generation,
    Likelihood,
    Played,
    Prompt,
    Record,
    Request,
    Token,
    TrainJob,
)
from ttsi_plugins.executors.local import Local

# ---------------------------------------------------------------- engines


@fails("capabilities", "not the likelihood of a text", "engines")
class Likely(FakeEngine):
    def loglikelihoods(self, prompts: Any, continuations: Any) -> list[list[Likelihood]]:
        made = super().loglikelihoods(prompts, continuations)
        return [[replace(item, logprob=-item.logprob) for item in some] for some in made]


@fails("capabilities", "0 tokens in a Generation of", "engines")
class Untold(FakeEngine):
    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        return [replace(each, tokens=()) for each in super().generate(requests)]


@fails("capabilities", "tokens whose log-probabilities sum up to", "engines")
class Hot(FakeEngine):
    """Tells log-probabilities after the temperature."""

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        return [
            replace(each, tokens=tuple(replace(t, logprob=t.logprob / 2) for t in each.tokens))
            for each in super().generate(requests)
        ]


@fails("capabilities", "tokens with the text", "engines")
class Clean(FakeEngine):
    """Leaves spaces out of the tokens."""

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        made = super().generate(requests)
        return [replace(each, tokens=tuple(map(_spaceless, each.tokens))) for each in made]


@fails("capabilities", "what it wrote under a grammar is not valid", "engines")
class Ungrammatical(FakeEngine):
    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        return super().generate([replace(request, grammar=None) for request in requests])


@fails("refusals", "activated, which it does not announce, raised NotImplementedError", "engines")
class Untrained(FakeEngine):
    def __init__(self, model: Mapping[str, Any]) -> None:
        super().__init__(model, capabilities=frozenset({"loglikelihood", "generate", "grammar"}))

    def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
        raise NotImplementedError


@fails("refusals", "grammar, which it does not announce, was done all the same", "engines")
class Modest(FakeEngine):
    def __init__(self, model: Mapping[str, Any]) -> None:
        super().__init__(model)
        self.capabilities = self.capabilities - {"grammar"}

    def _need(self, capability: str) -> None: ...


@fails("determinism", "the same job gave the adapters", "engines")
class Counting(FakeEngine):
    def train(self, jobs: Sequence[TrainJob]) -> list[Adapter]:
        made = super().train(jobs)
        return [
            replace(each, safetensors=each.safetensors + bytes([self.calls["train"] % 256]))
            for each in made
        ]


@fails("wave", "all together and one at a time, it gave", "engines")
class Batched(FakeEngine):
    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        share = 0.1 / len(requests)
        return [_less_likely(each, share) for each in super().generate(requests)]


def _spaceless(token: Token) -> Token:
    return replace(token, text=token.text.replace(" ", ""))


def _less_likely(made: Generation, by: float) -> Generation:
    first, *others = made.tokens
    tokens = (replace(first, logprob=first.logprob - by), *others)
    return replace(made, logprob=made.logprob - by, tokens=tokens)


class Learnt(FakeEngine):
    """Remembers whether it was ever used under an adapter."""

    learnt = False

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.learnt = self.learnt or any(request.adapter for request in requests)
        return super().generate(requests)


@fails("adapters", "the weights' digest was sha256:.*, and then changed", "engines")
class Merged(Learnt):
    def digest(self) -> str:
        return "changed" if self.learnt else super().digest()


@fails("adapters", "before and after the use of adapters, it gave", "engines")
class Keeps(Learnt):
    def loglikelihoods(self, prompts: Sequence[Prompt], continuations: Any) -> Any:
        made = super().loglikelihoods(prompts, continuations)
        return [[replace(i, logprob=i.logprob - self.learnt) for i in some] for some in made]


@fails("identity", "identity.. has no tokenizer_digest", "engines")
class Anonymous(FakeEngine):
    def identity(self) -> dict[str, Any]:
        return {k: v for k, v in super().identity().items() if k != "tokenizer_digest"}


@fails("identity", "identity.. is not JSON", "engines")
class Unwritten(FakeEngine):
    def identity(self) -> dict[str, Any]:
        return super().identity() | {"dtype": object}


@fails("identity", "has the weights' digest sha256:0, digest.. sha256:", "engines")
class Stranger(FakeEngine):
    def identity(self) -> dict[str, Any]:
        return super().identity() | {"weights_digest": "sha256:0"}


@fails("identity", "differs before and after it was put to work: device", "engines")
class Moving(FakeEngine):
    def identity(self) -> dict[str, Any]:
        return super().identity() | {"device": "cuda" if self.calls["train"] else "cpu"}


@fails("identity", "differs of two instances: memory", "engines")
class Personal(FakeEngine):
    def identity(self) -> dict[str, Any]:
        return super().identity() | {"memory": str(id(self))}


@fails("forget", "after load, and after forget.., it gave", "engines")
class Remembers(FakeEngine):
    """Rounds depending on how much it has read, even after `forget`."""

    def loglikelihoods(self, prompts: Sequence[Prompt], continuations: Any) -> Any:
        made = super().loglikelihoods(prompts, continuations)
        share = 1e-9 * self.calls["loglikelihoods"]
        return [[replace(i, logprob=i.logprob - share) for i in some] for some in made]


@fails("errors", "a model that is not there raised KeyError", "engines")
class Keyed(FakeEngine):
    def load(self) -> None:
        _ = {"fake": 1}[self.model["id"]]


@fails(
    "errors",
    "longer than any model's context raised ValueError: too long, not EngineError",
    "engines",
)
class Short(FakeEngine):
    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        if any(request.sampling.max_tokens > 10_000 for request in requests):
            raise ValueError("too long")
        return super().generate(requests)


@fails("close", "raised RuntimeError: closed already", "engines")
class Once(FakeEngine):
    def close(self) -> None:
        super().close()
        if self.closed > 1:
            raise RuntimeError("closed already")


# ---------------------------------------------------------------- executors


@dataclass
class Told:
    """A session with other callbacks."""

    run: Any
    deliver: Callable[[Any], None]

    def admit(self, worker: str, identity: Mapping[str, Any]) -> None:
        self.run.admit(worker, identity)

    def enough(self) -> bool:
        return bool(self.run.enough())

    def warn(self, text: str) -> None:
        self.run.warn(text)


class Runs(Local):
    """`local`, except for how the subclasses call it."""

    def given(
        self, factory: Any, samples: Any, session: Any, deliver: Callable[[Any], None]
    ) -> Any:
        return super().run(factory, samples, Told(session, deliver), None)


@fails("once", "no record of fake/22 was delivered", "executors")
class Drops(Runs):
    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        def all_but_the_last(record: Record) -> None:
            if record.id != samples[-1].id:
                session.deliver(record)

        return self.given(factory, samples, session, all_but_the_last)


@fails("once", "more than one record of fake/0 was delivered", "executors", also=("steps",))
class Repeats(Runs):
    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        return self.given(factory, [*samples, *samples[:1]], session, session.deliver)


@fails("steps", "not every step of fake/0, fake/1, fake/2 was delivered once", "executors")
class KeepsRecords(Runs):
    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        def without_steps(made: Record | Played) -> None:
            if isinstance(made, Record):
                session.deliver(made)

        return self.given(factory, samples, session, without_steps)


@fails("steps", "before the record", "executors")
class Postpones(Runs):
    """Delivers the steps after all records."""

    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        late: list[Played] = []

        def records_first(made: Record | Played) -> None:
            if isinstance(made, Played):
                late.append(made)
            else:
                session.deliver(made)

        closed = self.given(factory, samples, session, records_first)
        for step in late:
            session.deliver(step)
        return closed


@fails("delivery", "in another process or thread", "executors")
class Elsewhere(Runs):
    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        made: list[Record] = []
        closed = self.given(factory, samples, session, made.append)

        def deliver() -> None:
            with contextlib.suppress(KeyboardInterrupt):
                for record in made:
                    session.deliver(record)

        thread = threading.Thread(target=deliver)
        thread.start()
        thread.join()
        return closed


@fails("failures", "when fake/3 and fake/17 failed, no record of fake/10, fake/11", "executors")
class GivesUp(Runs):
    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        given_up: list[Record] = []

        def until_one_fails(made: Record | Played) -> None:
            if not given_up:
                session.deliver(made)
            if isinstance(made, Record) and made.error:
                given_up.append(made)

        return self.given(factory, samples, session, until_one_fails)


@fails("failures", "delivered as failed were", "executors")
class Hides(Runs):
    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        def silent(made: Record | Played) -> None:
            session.deliver(replace(made, error="") if isinstance(made, Record) else made)

        return self.given(factory, samples, session, silent)


@fails("fatal", "RunError did not end the run", "executors")
class GoesOn(Runs):
    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        try:
            return super().run(factory, samples, session, watcher)
        except RunError:
            if not session.records:
                raise
            return [{}]


@fails("workers", r"run.. returned \[\], not a list of what", "executors")
class LeavesOpen(Runs):
    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        closed = super().run(factory, samples, session, watcher)
        return [] if session.records else closed


@fails("workers", "a worker was closed twice", "executors")
class ClosesTwice(Runs):
    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        closed = super().run(factory, samples, session, watcher)
        return [*closed, *closed]


class ByHand(Local):
    """`local` as separate steps, one of which each subclass gets wrong."""

    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        runner = factory(watcher)
        try:
            self.admit(session, runner)
            for record in runner.run_wave(self.wanted(session, samples)):
                session.deliver(record)
            self.admit_late(session, runner)
            return [runner.close()]
        except BaseException:
            self.give_up(runner)
            raise

    def admit(self, session: Any, runner: Any) -> None:
        session.admit("the only one", runner.identity())

    def admit_late(self, session: Any, runner: Any) -> None: ...

    def wanted(self, session: Any, samples: Any) -> Any:
        return () if session.enough() else samples

    def give_up(self, runner: Any) -> None:
        runner.abandon()


@fails("admission", r"admit.. was told of \[\], not of a worker", "executors")
class AdmitsAll(ByHand):
    def admit(self, session: Any, runner: Any) -> None: ...


@fails("admission", "a worker that was not admitted delivered records", "executors")
class AdmitsLate(ByHand):
    def admit(self, session: Any, runner: Any) -> None: ...

    def admit_late(self, session: Any, runner: Any) -> None:
        super().admit(session, runner)


@fails("nothing", "without samples, run.. returned ", "executors")
class Idle(Local):
    def run(self, factory: Any, samples: Any, session: Any, watcher: Any = None) -> Any:
        return super().run(factory, samples, session, watcher) if samples else []


@fails("enough", "23 samples were run although the session had said", "executors")
class NeverHasEnough(ByHand):
    def wanted(self, session: Any, samples: Any) -> Any:
        return samples


@fails("open", "after a fatal error a runner was neither closed nor abandoned", "executors")
class Leaks(ByHand):
    def give_up(self, runner: Any) -> None: ...
