"""The command line: `ttsi VERB ...`.

Only the requested verb's module is imported, and its dependencies only when it runs: `ttsi --help`
loads no plugin and no package outside the standard library but ttsi itself.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ttsi._common import console
from ttsi._common.version import __version__
from ttsi.cli import add_common

if TYPE_CHECKING:
    from ttsi.errors import TtsiError

VERBS = {
    "eval": "run a spec: estimate, adapt, answer, score; run again to resume",
    "validate": "check specs and tell all their problems at once",
    "serve": "an OpenAI-compatible endpoint whose model adapts to each request",
    "prompts": "what the model is shown of one sample, at every stage",
    "runs": "list runs, with what tells them apart",
    "report": "runs as one HTML page that needs no network",
    "compare": "runs over the same samples, paired, and accuracy against cost",
    "calibrate": "what other thresholds would have done, from one set of estimates",
    "judge": "label accuracy of synthetic examples, by a stronger model",
    "score": "score predictions that you already have, without a model",
    "export": "a run's records as CSV, Parquet, or a log that `inspect view` opens",
    "export-adapter": "the adapter of one sample, as a folder that PEFT loads",
    "leaderboard": "submit runs, verify submissions, render boards",
    "plugins": "list what is installed, or check that a plugin keeps its contract",
    "new-plugin": "write a package to start a plugin from",
    "schema": "print a JSON Schema: of specs, results, records",
}

_HELP = """\
usage: ttsi [--version] [--help] [--debug] [-q] VERB ...

Test-time self-improvement of LLM agents: for each input that the model is unsure about, it makes
its own training examples, adapts to them, answers, and forgets. `ttsi eval` measures that.

verbs:
{verbs}
  (`ttsi VERB --help` tells more)

examples:
  ttsi validate specs/quickstart.json     all problems at once, in a moment
  ttsi eval specs/quickstart.json         a run on a small model; repeat it to resume
  ttsi plugins estimators                 what can stand under "estimator" in a spec

options:
  --debug      show tracebacks (before or after the verb)
  -q, --quiet  say only what is asked for, and what goes wrong
  --version    print the version

environment (the command line wins over it, and it wins over the spec):
  TTSI_MODEL, TTSI_LIMIT, TTSI_SEEDS, TTSI_WAVE   model.id, benchmark.limit, seeds, executor.wave
  TTSI_LOAD_PLUGINS   third-party packages to load, by comma; empty: none; unset: all
  TTSI_DATA_DIR       local copies of benchmark data
  TTSI_CACHE_DIR      where downloads and converted models are kept
  TTSI_OFFLINE        1: never touch a network
  TTSI_TEACHER_URL, TTSI_TEACHER_KEY   a teacher's endpoint, and the key for it alone
  TTSI_SERVE_KEY      the key that clients of `ttsi serve` have to send
  NO_COLOR            no colour

exit codes:
  0 done   1 failed   2 bad spec or usage   3 finished with errored samples
  4 results are not what they claim   5 a dependency, plugin or asset is missing
  6 stopped where the spec's "stop_at" says   130 interrupted
"""


class _Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError, so that all errors look the same."""

    def error(self, message: str) -> NoReturn:
        self._fail(message, f"{self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            from ttsi._common.suggest import nearest

            meant = nearest(str(value), map(str, action.choices or ()))
            help = f"{self.prog} --help"
            self._fail(str(error), f'Did you mean "{meant}"? {help}' if meant else help)

    def _fail(self, message: str, cure: str) -> NoReturn:
        from ttsi.errors import UsageError

        raise UsageError(f"{message[:1].upper()}{message[1:]}.", cure=cure)

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse's own method hides write errors, such as a full disk.
        (file or sys.stderr).write(message)


class _TopParser(_Parser):
    def format_help(self) -> str:
        return _HELP.format(verbs="\n".join(f"  {verb:<15} {does}" for verb, does in VERBS.items()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Raises only SystemExit, for --help and --version, and KeyboardInterrupt with --debug.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    console.prepare()
    try:
        code = _run(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        if debug:
            raise
        console.note("interrupted")
        return 130
    except BrokenPipeError:  # the reader has closed the pipe and needs no message
        console.give_up()
        return 1
    except Exception as error:  # the outermost handler: turns failures into messages and exit codes
        return _report(error, debug=debug)
    finally:
        console.be_quiet(False)
        console.flush()
    return code


def _run(argv: list[str]) -> int:
    parser = _TopParser(prog="ttsi", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"ttsi {__version__}")
    add_common(parser, default=False)
    if any("\0" in word for word in argv):
        from ttsi.errors import UsageError

        raise UsageError(
            "An argument holds a NUL, which no name can.", cure=f"{parser.prog} --help"
        )
    verb = next((word for word in argv if not word.startswith("-")), None)
    if verb is None and not {"-h", "--help", "--version"} & set(argv):
        console.note(parser.format_help())
        return 2
    of_verb = _add_verb(parser, verb) if verb is not None else parser
    try:
        args, unknown = parser.parse_known_args(argv)
    except SystemExit:  # after --help or --version: flushing shows whether their output was written
        sys.stdout.flush()
        raise
    if unknown:
        _refuse(unknown[0], of_verb)
    console.be_quiet(args.quiet)
    code: int = args.run(args)
    return code


def _add_verb(parser: argparse.ArgumentParser, verb: str) -> argparse.ArgumentParser:
    """Add the requested verb to `parser` and return the verb's parser.

    Raises UsageError where there is no such verb.
    """
    if verb not in VERBS:
        from ttsi._common.suggest import did_you_mean
        from ttsi.errors import UsageError

        what = f'There is no verb "{verb}".'
        raise UsageError(what, cure=did_you_mean(verb, VERBS, noun="verbs"))
    subparsers = parser.add_subparsers(dest="verb", parser_class=_Parser)
    module = verb.replace("-", "_")
    importlib.import_module(f"ttsi.cli.{module}").add_parser(subparsers)
    of_verb: argparse.ArgumentParser = subparsers.choices[verb]
    of_verb.allow_abbrev = False
    # Suppressed, so that the verb's parser does not reset flags given before the verb.
    add_common(of_verb, default=argparse.SUPPRESS)
    return of_verb


def _refuse(word: str, parser: argparse.ArgumentParser) -> NoReturn:
    from ttsi._common.suggest import did_you_mean
    from ttsi.errors import UsageError

    flags = [flag for flag in parser._option_string_actions if flag.startswith("--")]
    what = f'{parser.prog} takes no "{word}".'
    raise UsageError(what, cure=did_you_mean(word.partition("=")[0], flags, noun="options"))


def _report(error: Exception, *, debug: bool) -> int:
    from ttsi.errors import TtsiError

    if debug:
        import traceback

        traceback.print_exception(error)
    known = error if isinstance(error, TtsiError) else _as_ours(error)
    if known is not None:
        console.error(str(known))
        return known.exit_code
    console.error(
        f"internal error: {type(error).__name__}: {str(error)[:500]}\n"
        "  cure:  run again with --debug, and please report what it prints"
    )
    return 1


def _as_ours(error: Exception) -> TtsiError | None:
    """Return an OSError as a StorageError with a cure; None for any other error."""
    import errno

    from ttsi._common.inputs import shown
    from ttsi.errors import StorageError

    if not isinstance(error, OSError):
        return None
    another = "Choose another place."
    cures = {
        errno.ENOSPC: "Free some space, or write to another disk.",
        errno.EDQUOT: "Free some of your quota, or write to another disk.",
        errno.EACCES: "Get the right to use it (ls -l shows who has it), or choose another.",
        errno.EROFS: "Choose a place that can be written to.",
        errno.ELOOP: "The link leads back to itself: choose what it should lead to.",
        errno.ENAMETOOLONG: "Choose a shorter name.",
        errno.EISDIR: "Choose a file in that folder, or move the folder away.",
        errno.ENOTDIR: "Choose a folder, or move the file away that stands in its place.",
        errno.EMFILE: "Let the process open more files: ulimit -n 4096",
    }
    where = shown(error.filename) if error.filename is not None else ""
    what = f"{error.strerror or error}."
    return StorageError(what, where=where, cure=cures.get(error.errno or 0, another))
