"""`ttsi prompts`: print what the model reads for one sample, at every stage."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from ttsi.cli import add_cells, add_settings, wanted_cells

EPILOG = """\
H, G and T and the answers run as in a run, on one sample, and nothing is kept. What is printed is
what the engine tokenised: after the chat template, and with the tokens counted.

  │ begins each line of a prompt, so that line breaks can be told from what is around them
  ⟦ ⟧ stand around control tokens, such as those that begin and end turns, and around tokens of
      calls and thoughts; a control token's text without them is plain text
  \\x1b and the like are characters that a terminal would not show

A prompt is printed once, where it is asked for the first time, and called by its number after that.
Of an engine that cannot say what its model reads, the messages are shown. What G wrote and was
rejected is told at the end, with the reason.

A sample of which the model is certain goes no further than its answer, and so do its prompts.
--all-stages adapts to it all the same. Of a spec with a matrix, the first cell is shown; with a
budget, which the whole run shares out, every sample is adapted to. A teacher is asked, and paid, as
in a run; its answers are kept, and the run takes them from there.

--templates prints what the system turn and G's request are made from, with their places in braces,
and loads no model. Changed, they are the spec's keys benchmark.instruction and generator.template.

examples:
  ttsi prompts specs/quickstart.json
  ttsi prompts specs/quickstart.json --sample quickstart/3 --all-stages
  ttsi prompts specs/sealtool-smollm2.json --set learner=icl --set model.date=2025-01-31
  ttsi prompts specs/study/sealtool.json --cell method=tt-si
  ttsi prompts specs/quickstart.json --templates
  ttsi prompts specs/quickstart.json --json > prompts.json
"""

_GUTTER = "  │ "
_PAIRS_SHOWN = 3


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "prompts",
        help="what the model is shown of one sample, at every stage",
        description="Run the spec's method on one sample and print exactly what the model is "
        "shown: by H, for the answers, by G, and in T's training pairs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("spec", metavar="SPEC", help="a JSON spec (see `ttsi schema spec`)")
    parser.add_argument("--sample", metavar="ID", help="a sample's id (default: the first sample)")
    parser.add_argument("--model", metavar="ID", help="another model: Hub id, folder, .gguf")
    add_settings(parser, "change any key of the spec, such as generator.prompt=seed_first")
    add_cells(parser)
    parser.add_argument(
        "--all-stages", action="store_true", help="adapt to the sample even if it is certain"
    )
    parser.add_argument(
        "--templates",
        action="store_true",
        help="print the templates of the system turn and of G's request, to word them anew",
    )
    parser.add_argument("--json", action="store_true", help="print it all as one JSON object")
    parser.set_defaults(run=run, limit=None, wave=None, seeds=None)


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from ttsi._common import console
    from ttsi.cli.eval import overrides
    from ttsi.running.progress import Lines, Silent
    from ttsi.solving.prompts import shown, templates
    from ttsi.spec import load_spec
    from ttsi.spec.choosing import chosen

    specs = load_spec(Path(args.spec), overrides(args))
    spec, *others = chosen(specs, wanted_cells(args.cells))
    if args.templates:
        _print(templates(spec, args.sample), template_lines, as_json=args.json)
        return 0
    watcher = Silent() if args.quiet or args.json else Lines()
    found = shown(spec, args.sample, all_stages=args.all_stages, watcher=watcher)
    if others and not args.json:
        console.note(f"The first of {len(others) + 1} cells is shown; --cell chooses another.")
    _print(found, lines, as_json=args.json)
    return 1 if found["error"] else 0


def _print(
    found: dict[str, Any], told: Callable[[dict[str, Any]], Iterator[str]], *, as_json: bool
) -> None:
    from ttsi._common import console

    if as_json:
        console.print_json(found)
        return
    for line in told(found):
        console.say(line)


def template_lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that show templates."""
    for key, text in found["templates"].items():
        yield f"{key}, in force for sample {found['sample']}"
        yield from _lined(visible(text))


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield the result of `ttsi.solving.prompts.shown` as lines of text."""
    from ttsi.running.progress import LABELS
    from ttsi.running.summary import engine_remarks

    yield f"{found['name']}, sample {found['sample']}, seed {found['seed']}, {found['model']}"
    if found["confidence"] is not None:
        sure = "uncertain" if found["uncertain"] else "certain"
        yield f"H is {sure}: confidence {found['confidence']:.3f}"
    yield from engine_remarks(found["engine"])
    if not found["rendered"]:
        yield "This engine does not say what its model reads: messages are shown as they are asked."
    seen: set[int] = set()
    for stage in found["stages"]:
        yield ""
        yield LABELS.get(stage["stage"], stage["stage"]).strip()
        for call, times in _alike(stage["calls"]):
            yield from _call(call, times, found["prompts"], seen)
    yield ""
    yield from _rejected(found["rejected"])
    yield from _ending(found)


def _rejected(outputs: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each reason why outputs of G are no examples, with how many it holds for."""
    reasons = Counter((each["reason"], each["detail"]) for each in outputs)
    for (reason, detail), count in reasons.items():
        whose = (
            "An output of G is no example"
            if count == 1
            else f"{count} outputs of G are no examples"
        )
        yield f"{whose}, {reason}: {visible(detail)}"


def _ending(found: dict[str, Any]) -> Iterator[str]:
    if found["error"]:
        yield f"It ended in an error: {found['error']}"
    elif found["note"]:
        yield f"No adaptation: {found['note']}."
    elif found["forced"]:
        yield "The model is certain: a run would have stopped at its answer."
    elif not found["adapted"]:
        yield "The model is certain, so nothing is adapted. --all-stages goes on all the same."
    else:
        yield "The sample was adapted to, as in a run."


def _alike(calls: list[dict[str, Any]]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Group calls that differ only in seed and answer: (first call, all calls), in order.

    Of training pairs only the first _PAIRS_SHOWN are kept; a call of kind "more" counts the rest.
    """
    together: dict[str, list[dict[str, Any]]] = {}
    for call in calls:
        asked = {k: v for k, v in call.items() if k not in ("answer", "seed")}
        together.setdefault(repr(asked), []).append(call)
    groups = [(some[0], some) for some in together.values()]
    pairs = [group for group in groups if group[0]["kind"] == "train"]
    left_out = len(pairs) - _PAIRS_SHOWN
    if left_out <= 0:
        return groups
    kept = [group for group in groups if group not in pairs[_PAIRS_SHOWN:]]
    return [*kept, ({"kind": "more", "pairs": left_out}, [])]


def _call(
    call: dict[str, Any], same: list[dict[str, Any]], chats: list[dict[str, Any]], seen: set[int]
) -> Iterator[str]:
    if call["kind"] == "more":
        yield f"  and {call['pairs']} more pairs to train on (--json has all)"
        return
    number = call["prompt"]
    chat = chats[number - 1]
    again = number in seen
    yield f"  prompt {number}{_tokens(chat)}{', shown above' if again else ''}"
    if not again:
        seen.add(number)
        yield from _chat(chat)
    if "opening" in call:
        yield f"  opening of the answer{_tokens(call['opening'])}"
        yield from _text(call["opening"])
    yield from _rest(call, same)


def _rest(call: dict[str, Any], same: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the part of a call after its prompt, and its results."""
    if call["kind"] == "outside":
        yield "  asked of a model outside the engine, as messages"
    if call["kind"] == "score":
        yield "  continuations, with their log-likelihoods"
        for each in call["continuations"]:
            (text,) = list(_text(each)) or [_GUTTER]
            yield f"{text}   {each['logprob']:.3f}{_tokens(each)}"
    if call["kind"] == "train":
        yield f"  target{_tokens(call['target'])}, trained from {_place(call['active_from'])}"
        yield from _text(call["target"])
    if call["kind"] == "generate":
        under = ", under the adapter" if call["adapter"] else ""
        yield f"  drawn: {_drawing(call['sampling'])}{_grammar(call['grammar'])}{under}"
        for at, one in enumerate(same, start=1):
            which = f" {at} of {len(same)}" if len(same) > 1 else ""
            cut = ", cut at its length" if one["answer"]["finish"] == "length" else ""
            yield f"  answer{which}{_tokens(one['answer'])}{cut}"
            yield from _lined(visible(one["answer"]["text"]))


def _place(active_from: str) -> str:
    return "its user turn on" if active_from == "user_turn" else "its start on"


def _tokens(part: dict[str, Any]) -> str:
    count = part.get("tokens")
    return "" if count is None else f", {count} token{'s' if count != 1 else ''}"


def _drawing(sampling: dict[str, Any]) -> str:
    most = f"{sampling['max_tokens']} tokens at most"
    if not sampling["temperature"]:
        return f"greedy, {most}"
    return (
        f"temperature {sampling['temperature']:g}, top-p {sampling['top_p']:g}, top-k "
        f"{sampling['top_k']}, penalty {sampling['repetition_penalty']:g}, {most}"
    )


def _grammar(grammar: dict[str, Any] | None) -> str:
    from ttsi.solving.prompts import tools_of

    if grammar is None:
        return ""
    tools = list(dict.fromkeys(tools_of(grammar)))
    kind = grammar.get("title") or grammar.get("type") or "value"
    of_tools = f" with calls of {', '.join(tools)}" if tools else ""
    return f"; held to a grammar: JSON {kind}{visible(of_tools)}"


def _chat(chat: dict[str, Any]) -> Iterator[str]:
    if "pieces" in chat:
        yield from _text(chat)
        return
    for message in chat["messages"]:
        yield f"  {message['role']}:"
        yield from _lined(visible(message["content"]))


def _text(part: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a text, with its control tokens marked where they are known."""
    pieces = part.get("pieces", [{"text": part.get("text", ""), "control": False}])
    marked = (
        f"⟦{visible(each['text'])}⟧" if each["control"] else visible(each["text"])
        for each in pieces
    )
    yield from _lined("".join(marked))


def _lined(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield _GUTTER + line


def visible(text: str) -> str:
    """Return `text` with unprintable characters and the marks ⟦ ⟧ as escape sequences."""
    return "".join(
        each
        if each in "\n\t" or (each.isprintable() and each not in "⟦⟧")
        else each.encode("unicode_escape").decode()
        for each in text
    )
