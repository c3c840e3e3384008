"""`ttsi serve`: an OpenAI-compatible endpoint whose model adapts to each request."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from ttsi.cli import add_settings, settings

KEY = "TTSI_SERVE_KEY"

EPILOG = """\
The spec is that of `ttsi eval`, and needs no benchmark: model, engine, estimator, generator,
learner and inference count. The model NAME adapts to a request where it is uncertain, and NAME:base
never does; each answer says under "ttsi" what was done for it.

Only this machine reaches the server, unless --host says otherwise. With a key in the environment
variable TTSI_SERVE_KEY clients have to send it (Authorization: Bearer KEY); it is kept nowhere.

SIGTERM and ctrl-C end the server once it has answered what it has begun; a second signal ends it at
once. docs/serving.md has clients, costs, and when votes are the better buy.

examples:
  ttsi serve specs/serve-smollm2.json
  ttsi serve specs/serve-smollm2.json --port 9000 --set estimator.threshold=0.5 --deadline 20
  ttsi serve specs/serve-smollm2.json --journal served.jsonl --feedback rows.jsonl
  curl http://127.0.0.1:8000/v1/models
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "serve",
        help="an OpenAI-compatible endpoint whose model adapts to each request",
        description="Load the model of a spec and answer requests of any OpenAI client: "
        "/v1/chat/completions, /v1/completions, /v1/models, /v1/feedback, /health, /metrics.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("spec", metavar="SPEC", help="a JSON spec (see `ttsi schema spec`)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port; 0: any free one (8000)")
    parser.add_argument("--name", help="the model's name (default: the spec's)")
    parser.add_argument("--model", metavar="ID", help="another model: Hub id, folder, .gguf")
    add_settings(parser, "change any key of the spec, such as estimator.threshold=0.5")
    parser.add_argument(
        "--prompt",
        choices=["paper", "native"],
        help="who writes the tools into the prompt: ttsi, or the model's chat template (default: "
        "as the spec's benchmark, or paper)",
    )
    parser.add_argument(
        "--wave", type=int, help="most requests solved together (default: the spec's executor's)"
    )
    parser.add_argument(
        "--window", type=float, default=20, metavar="MS", help="how long a wave waits for more (20)"
    )
    parser.add_argument(
        "--queue", type=int, default=64, metavar="N", help="most requests that wait (64); then 429"
    )
    parser.add_argument(
        "--deadline",
        type=float,
        metavar="SECONDS",
        help="after this time the base model's answer is given (default: none); a request's header "
        "X-TTSI-Deadline wins",
    )
    parser.add_argument("--journal", metavar="FILE", help="append requests and answers as lines")
    parser.add_argument(
        "--feedback", metavar="FILE", help="append what /v1/feedback tells, as labelled rows"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ttsi._common.console import note, warn
    from ttsi.solving.solver import solvable
    from ttsi.spec import effective_options

    changed = settings(args.settings, example="--set estimator.threshold=0.5")
    if args.model is not None:
        changed["model.id"] = args.model
    _check(args)
    spec = solvable(Path(args.spec), changed)
    server, served = _modules()
    wave = args.wave or effective_options(spec, "executor").get("wave") or 16
    chosen = server.Settings(
        host=args.host,
        port=args.port,
        wave=wave,
        window=args.window / 1000,
        queue=args.queue,
        deadline=args.deadline,
        journal=args.journal and Path(args.journal),
        feedback=args.feedback and Path(args.feedback),
        key=os.environ.get(KEY) or None,
    )
    if chosen.key is None and not server.is_local(args.host):
        warn(f"Whoever reaches {args.host} can use this server: there is no {KEY}.")
    own = served.Served.of(spec, name=args.name, prompt=args.prompt)

    def ready(address: str, end: Callable[[], None]) -> None:
        note(f"{own.name} and {own.name}:base are served at {address}/v1")

    server.serve(spec, own, chosen, ready)
    return 0


def _modules() -> tuple[Any, Any]:
    """Import the server. Raises MissingAsset if its packages are not installed."""
    from ttsi.errors import MissingAsset

    try:
        from ttsi.serving import served, server
    except ModuleNotFoundError as error:
        raise MissingAsset(
            f"`ttsi serve` needs the package {error.name!r}.",
            where="ttsi serve",
            cure="pip install 'ttsi[serve]'",
        ) from error
    return server, served


def _check(args: argparse.Namespace) -> None:
    """Raise UsageError for a number that makes no sense."""
    from ttsi.errors import UsageError

    least = {"wave": 1, "window": 0, "queue": 1, "deadline": 0, "port": 0}
    for name, low in least.items():
        value = getattr(args, name)
        if value is not None and not low <= value < 10**9:
            raise UsageError(f"--{name} takes {low} or more, not {value}.", cure=f"--{name} {low}")
